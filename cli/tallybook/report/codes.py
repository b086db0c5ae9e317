"""What each problem code means and does to the figures; naming them loads no data frame library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Code(NamedTuple):
    """What is odd, and what becomes of it in the figures: two phrases of one line."""

    means: str
    effect: str


_REST_IS_MISSING: Final = "what comes after it is missing"
_RECORD_IS_MISSING: Final = "it is missing from the figures"
_SPLIT_UNKNOWN: Final = "the split of the prompt is unknown or assumed"

# A code of any module stands here; a test reads the modules for them.
CODES: Final[Mapping[str, Code]] = {
    # Of a file.
    "unclaimed": Code("no source knows this file", "nothing in it counts"),
    "ambiguous": Code("more than one source claims this file", "nothing in it counts"),
    "unreadable": Code("a file or folder cannot be read", "nothing in it counts"),
    "truncated": Code("a file, table or document breaks off", _REST_IS_MISSING),
    "lost": Code("a file is gone and its rows in the ledger are damaged", "its calls are missing"),
    "reader-failed": Code("tallybook itself failed on this file", _REST_IS_MISSING),
    # Of a record that cannot be read.
    "torn-line": Code("the last line of a file is cut off", _RECORD_IS_MISSING),
    "bad-line": Code("a record cannot be read, or not to its end", _RECORD_IS_MISSING),
    "bad-record": Code("a stored term cannot be read", _RECORD_IS_MISSING),
    "bad-value": Code("a stored value cannot be read", "the counts in it are missing"),
    "other-format": Code("lines of another tool stand in a log", "nothing in them counts"),
    "unknown-version": Code("a record of a version that is not known", _RECORD_IS_MISSING),
    "broken-chain": Code(
        "an audit record does not follow the one before", "records may be missing or changed"
    ),
    # Of what a record leaves unsaid.
    "no-time": Code("a record has no time", "left out where days are asked for; price assumed"),
    "assumed-time": Code("a time without its zone, or of the start only", "the day may be another"),
    "no-model": Code("a record names no model", "its tokens have no price"),
    "assumed-model": Code("the model is the lead's, others may be in it", "cost may be off"),
    "no-counts": Code("a call or thread states no tokens", "its tokens are unknown, not zero"),
    "uncounted-calls": Code("a sum does not say over how many calls", "calls are at least so many"),
    # Of its counts.
    "bad-number": Code("a count or cost is no sound number", "it is taken as unknown"),
    "bad-tokens": Code("a token object cannot be read", "the columns beside it count instead"),
    "ambiguous-dialect": Code("nothing tells if the input holds what was cached", _SPLIT_UNKNOWN),
    "negative-bucket": Code("parts are larger than what holds them", "that direction is unknown"),
    "total-mismatch": Code("a stated total is not the sum of its parts", "the parts count"),
    "cache-split-mismatch": Code(
        "cache writes by lifetime are not their stated sum", "the lifetimes are assumed"
    ),
    "input-disagrees": Code("a stated input is not the sum of its parts", "the parts count"),
    "placeholder-output": Code("only a first count of the output was kept", "output is too low"),
    "estimated": Code("the tool estimated the counts", "they count, as assumed"),
    "perhaps-estimated": Code("the tool may have estimated the counts", "they count, as assumed"),
    "input-lost": Code("a router dropped the count of the prompt", "the input is unknown"),
    "cache-not-read": Code("a router did not keep what was cached", _SPLIT_UNKNOWN),
    "cache-perhaps-twice": Code(
        "a router may have added the cache twice", "it counts once; the input is a lower bound"
    ),
    "cache-perhaps-beside": Code(
        "a router's input may hold its cache, or not", "it counts once; the input is a lower bound"
    ),
    "truncated-body": Code("a stored answer was cut before its counts", _SPLIT_UNKNOWN),
    "body-altered": Code("the counts were taken out of a stored answer", _SPLIT_UNKNOWN),
    "mixed-agents": Code("a run of one agent ends in a thread of another", "its split may be off"),
    "mixed-streams": Code("only the highest count of several turns is kept", "tokens are too low"),
    "repeated-lines": Code("usage was added once for each line", "tokens may be too high"),
    "tool-fees": Code(
        "the provider ran tools that it charges for by the call",
        "these fees are not in the cost; nothing bounds it",
    ),
    # Of its place among the others.
    "only-copy": Code("a call is known from a copy in another thread only", "it counts"),
    "parent-missing": Code(
        "a copied history whose owner is not on disk", "the history is left out"
    ),
    "undecided-history": Code(
        "nothing proves whose history a record is", "it is taken for copied, and left out"
    ),
    "probably-same-call": Code(
        "a router and its client seem to have logged one call",
        "one of them counts; --as-recorded counts both",
    ),
    "earlier-usage": Code(
        "a saved total holds what was used before its run", "what the run took counts"
    ),
    "perhaps-inherited": Code(
        "a saved total may go on from another thread's", "it counts in full; tokens may be too high"
    ),
    "perhaps-restarted": Code(
        "a total may have begun at zero where its thread went on",
        "what it has beyond the one before counts; a lower bound",
    ),
    "may-be-counted-twice": Code(
        "a run's sum and the logs of its agents differ either way", "both count"
    ),
    "stale-correction": Code("a recorded correction no longer fits its call", "it is not used"),
}

# What makes another's figures differ from ours, as the line of its sum says it.
CAUSES: Final[Mapping[str, str]] = {
    "duplicates": "it counts records that are left out here",
    "cache-convention": "it counts the cache in another way",
    "reasoning": "it counts reasoning in another way",
    "placeholder": "our log never got the final output",
    "price": "another price",
    "tier": "another tier of the price",
    "time-zone": "its days begin at another hour",
    "missing-source": "one side does not have the log",
    "unknown": "no cause gives its figures",
}

# Why a record does not count: the reason for which it yields to another, or what it is.
REASONS: Final[Mapping[str, str]] = {
    "same-response": "another record of the same response counts",
    "same-record": "the same record counts already",
    "re-emission": "the log wrote the counter again without a new call",
    "stale-total": "the log wrote an older total again",
    "twin": "the call stands in the log in another form too",
    "replayed-history": "history that was copied from the thread that made the call",
    "capture": "saved output of a thread whose own log counts",
    "same-run": "a lesser record of a run that another record counts",
    "witness": "another source states the same call",
    "probably-same-call": "the same call as another by all that can be seen, without proof",
    "in-sum": "a sum that counts holds it",
    "assertion": "a total that the log asserts: checked, never counted",
    "event": "no request to a model",
    "response": "a stored answer: evidence of a call that another record counts",
}
