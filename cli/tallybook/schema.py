"""What a log says of one request, `Reported`, and the words that the columns of a row may hold."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import cache
from types import NoneType
from typing import Final, get_args

import msgspec
from msgspec.structs import fields

# The five disjoint buckets, and the two counts that are a part of one of them.
# What a record states, before it is split into buckets.
REPORTED_COUNTS: Final = (
    "reported_input_tokens",
    "reported_cached_tokens",
    "reported_cache_creation_tokens",
    "reported_cache_creation_5m_tokens",
    "reported_cache_creation_1h_tokens",
    "reported_output_tokens",
    "reported_reasoning_tokens",
    "reported_total_tokens",
)
BUCKETS: Final = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "unsplit_input_tokens",
    "output_tokens",
)
SUBCOUNTS: Final = ("cache_creation_1h_input_tokens", "reasoning_output_tokens")
# Counts of what is not text, each a part of the prompt or of the output, in the order of
# `Reported.media_counts`. What comes out of a cache is a part of the one before it.
MEDIA_COUNTS: Final = (
    "audio_input_tokens",
    "cached_audio_input_tokens",
    "image_input_tokens",
    "cached_image_input_tokens",
    "audio_output_tokens",
    "image_output_tokens",
)

# Calls of tools that a provider runs and charges for one by one, besides searches of the web, and
# requests that cost by how much of the web they look at; in the order of `Reported.tool_counts`.
TOOL_COUNTS: Final = (
    "code_execution_calls",
    "file_search_calls",
    "search_queries",
    "x_search_calls",
    "x_posts_fetched",
    "x_users_fetched",
    "low_context_requests",
    "medium_context_requests",
    "high_context_requests",
)

# The two directions; the buckets of one are filled together or not at all.
INPUT: Final = "input"
OUTPUT: Final = "output"

# The method of a correction that only says how much an output may be at most.
BOUND: Final = "bound"

# Origins of a bucket, from the best evidence to the weakest.
REPORTED_ORIGIN: Final = "reported"
DERIVED: Final = "derived"
BACKFILLED: Final = "backfilled"
ASSUMED: Final = "assumed"
ORIGINS: Final = (REPORTED_ORIGIN, DERIVED, BACKFILLED, ASSUMED)

# What a row is.
CALL: Final = "call"  # one request to a model
SUM: Final = "sum"  # a statement over several requests, e.g. a client's total per model
THREAD: Final = "thread"  # a conversation whose log states no counts at all
ASSERTION: Final = "assertion"  # the log's own total: checked, never counted
EVENT: Final = "event"  # a usage-shaped record that is no request: synthetic rows, fillers
RESPONSE: Final = "response"  # stored evidence of a call that another record states
PROBLEM: Final = "problem"  # a record or file that could not be read
RUNNING_COUNTS: Final = (
    "reported_input_tokens",
    "reported_cached_tokens",
    "reported_cache_creation_tokens",
    "reported_output_tokens",
    "reported_reasoning_tokens",
)
COUNTED_KINDS: Final = (CALL, SUM, THREAD)

# Output tokens that the first event of a stream states at most, by every client that was watched.
# What was written before the last event came keeps them.
MOST_AT_BEGIN: Final = 8

# The problem of an output that the log never replaced by the final count.
PLACEHOLDER_OUTPUT: Final = "placeholder-output"

# The problem of a stated total that is not the sum of its parts.
TOTAL_MISMATCH: Final = "total-mismatch"

# Problems of a prompt that may hold its cache once more, or once less, than is taken of it: by as
# much as the cache it may be larger.
CACHE_TWICE: Final = "cache-perhaps-twice"
CACHE_BESIDE: Final = "cache-perhaps-beside"
PERHAPS_MORE: Final = (CACHE_TWICE, CACHE_BESIDE)
TOOL_FEES: Final = "tool-fees"  # what a provider charged for by the call, and nothing counts
WITNESS: Final = "witness"  # why a row does not count: another source states the same
IN_SUM: Final = "in-sum"  # or a sum that counts holds it
# Two records that are one call by all that can be seen, though nothing proves it: the reason why
# one of them does not count, and a problem of it.
PROBABLY_SAME: Final = "probably-same-call"
# Calls with signs of a router on its own side and on a client's, which may be the same ones.
MAY_BE_TWICE: Final = "may-be-counted-twice"
# Who asks where a conversation is shortened, and how the identity of such a call begins of which a
# log says no more than that it was made.
COMPACT: Final = "compact"
COMPACTED: Final = "compacted:"
# How that of a call begins of which a log says no more than that its answer broke off.
BROKEN_OFF: Final = "broken-off:"
# How the identity begins of a call whose usage was not stated, and of an answer in the log of a
# thread that states no counts at all.
SILENT_CALL: Final = "silent:"
SILENT_ANSWER: Final = "answered:"

AT_ROUTER: Final = "router"
AT_CLIENT: Final = "client"

# Problems of a total that goes on from one that was stated elsewhere, or nowhere: it holds more
# than its run took, or may do so.
EARLIER_USAGE: Final = "earlier-usage"
PERHAPS_INHERITED: Final = "perhaps-inherited"
# The other way round: one that may have begun at zero, though it is no lower than the one before.
PERHAPS_RESTARTED: Final = "perhaps-restarted"

# Problems of what a row leaves unsaid, which matter where it counts and nowhere else.
SAID_OF_COUNTED: Final = (
    "no-time",
    "assumed-time",
    "no-model",
    "assumed-model",
    "no-counts",
    "uncounted-calls",
    EARLIER_USAGE,
    PERHAPS_INHERITED,
    PERHAPS_RESTARTED,
)

# The parts of a record, kept as evidence, that tell what the last response of an agent took: the
# result of its tool, and the word of one that ran in the background, which states a total only.
AGENT_END: Final = "toolUseResult"
AGENT_NOTICE: Final = "task-notification"
AGENT_ENDS: Final = (AGENT_END, AGENT_NOTICE)

# How good a witness of a call the record is, best first.
LOG: Final = "log"  # the tool's own log
TRANSCRIPT: Final = "transcript"  # messages of an agent that another tool kept of its run
SUMMARY: Final = "summary"  # a tool's record of a run as a whole
SNAPSHOT: Final = "snapshot"  # a run's counts so far, as they were served, sent or logged once
CAPTURE_TOTAL: Final = "capture-total"  # running totals in saved standard output
CAPTURE_LINE: Final = "capture-line"  # single messages in saved standard output
CAPTURE_LAST: Final = "capture-last"  # a call that only the result of its run tells of
STATE: Final = "state"  # in a saved state of the thread, not tied to a run
COPY: Final = "copy"  # embedded in a record of another thread
RUN_RECORDS: Final = (LOG, TRANSCRIPT, SUMMARY, SNAPSHOT)  # that may all tell of one run
EVIDENCE: Final = (*RUN_RECORDS, CAPTURE_TOTAL, CAPTURE_LINE, CAPTURE_LAST, STATE, COPY)

# Whose past a row belongs to, in a file that may begin with another thread's history.
OWN: Final = "own"  # proved to be the thread's own
INHERITED: Final = "inherited"  # proved to be another thread's
BEFORE_TURN: Final = "before-turn"  # no own turn has begun yet; undecided
AFTER_TURN: Final = "after-turn"  # an own turn has begun; undecided only by numbers


class Reported(msgspec.Struct, kw_only=True, gc=False):
    """One record of a log as it states itself; counts are never rearranged, absent is None.

    Fields are the columns of `tables.REPORTED`, in its order.
    """

    record: int  # line or row in the file, from 1; 0 is the file as a whole
    part: str | None = None  # place inside the record, e.g. "iterations[1]"
    kind: str = CALL
    evidence: str = LOG
    dialect: str | None = None  # key of dialects.DIALECTS
    rule: str | None = None  # name of the rule, by era or evidence, that read the counts so
    assumed: list[str] | None = None  # directions ("input", "output") whose reading is a guess
    # Who and where.
    thread_id: str | None = None
    parent_thread_id: str | None = None  # the thread that spawned this one
    root_thread_id: str | None = None  # only where the log states it
    caller: str | None = None  # None is the lead
    project: str | None = None
    provider: str | None = None
    model: str | None = None
    requested_model: str | None = None  # as the client asked for it, where it says so
    model_ahead: bool = False  # the model may be named by the next record that has one
    timestamp: datetime | None = None  # UTC
    calls: int | None = 1
    # Identity: equal `identity` within a source is one call; the rest is evidence for doubt.
    identity: str | None = None
    request_id: str | None = None
    response_id: str | None = None  # the provider's own id of its answer, the same in every log
    log_source: str | None = None  # the source whose own log holds `thread_id`, if that is another
    connection_id: str | None = None  # account or key the request went out with, hashed if secret
    route: str | None = None  # how the request was forwarded, e.g. "claude>openai stream"
    routed: bool = False  # the client's record has signs of a router between it and the provider
    # Tool calls that the response asks for; of a stored request, those it brings the results of.
    tool_ids: list[str] | None = None
    record_id: str | None = None  # the log's own id of the record
    chain_id: str | None = None  # first record of an unbroken chain of records
    segment_id: str | None = None  # one of several files that together are the thread
    sequence: str | None = None  # digest of the running counters at this record
    history: str = OWN
    history_thread_ids: list[str] | None = None  # threads whose past the file may begin with
    foreign_history: bool = False  # another thread's header was seen before this record
    fresh_counter: bool = False  # the running total equals this call: nothing was inherited
    running_total: list[int | None] | None = None  # the log's running counters, for comparison only
    repeat: str | None = None  # the record says again what an earlier one said; how
    is_copy: bool = False  # the record says that it was copied from elsewhere
    sidechain: bool = False
    finished: bool | None = None  # the counts of the response are final; None where nobody can tell
    refused: bool = False  # before any output, of which the provider bills nothing
    block_index: int | None = None  # place among the records of one response
    # RUNNING_COUNTS of a running total's last turn; with its web searches behind them where they
    # lack nothing that the total has risen by.
    turn_counts: list[int | None] | None = None
    running: bool = False  # counts run up over `series`, they are not those of one call
    series: str | None = None  # the process, turn or run that counts run up or are summed over
    # Counts as logged; `dialect` says which contains which.
    reported_input_tokens: int | None = None
    reported_cached_tokens: int | None = None
    reported_cache_creation_tokens: int | None = None
    reported_cache_creation_5m_tokens: int | None = None
    reported_cache_creation_1h_tokens: int | None = None
    reported_output_tokens: int | None = None
    reported_reasoning_tokens: int | None = None
    reported_total_tokens: int | None = None
    media_counts: list[int | None] | None = None  # MEDIA_COUNTS, where any of them is stated
    difference: bool = False  # the counts are a difference of two running totals
    context_tokens: int | None = None  # prompt size a tier is judged by, where not the whole input
    # What the price depends on besides the counts.
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    web_search_requests: int | None = None
    tool_counts: list[int | None] | None = None  # TOOL_COUNTS, where any of them is stated
    reported_cost_usd: Decimal | None = None
    problems: list[str] | None = None
    detail: str | None = None


DEFAULTS: Final = dict(
    zip(reversed(Reported.__struct_fields__), reversed(Reported.__struct_defaults__), strict=False)
)


@cache
def read_types() -> dict[str, type]:
    """The columns of the rows of a file, with where they come from, each by its type.

    Any may be null in a column, whatever its field says.
    """
    kinds = {each.name: each.type for each in fields(Reported)}
    own = {n: k if (some := get_args(k))[1:] != (NoneType,) else some[0] for n, k in kinds.items()}
    return {"source": str, "path": str} | own
