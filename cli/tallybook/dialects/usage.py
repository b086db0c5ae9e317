"""Reads a usage object of any provider into counts, and the calls within it that they leave out."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from tallybook.dialects.containment import StatedCounts, decide
from tallybook.dialects.served import is_claude
from tallybook.dialects.shape import Paths, Shape, fetch, follow
from tallybook.dialects.shapes import SHAPES
from tallybook.dialects.tools import tools_in_usage
from tallybook.dialects.two_namings import is_named_twice, one_naming, said_first
from tallybook.schema import TOOL_FEES, Reported
from tallybook.values import MONEY_SCALE, count, money, text

_KEY_SETS: Final = 1024  # one log has a handful of them; in a foreign object keys may be anything
_COUNTS: Final = {
    "reported_input_tokens": "input",
    "reported_cached_tokens": "cached",
    "reported_cache_creation_tokens": "creation",
    "reported_cache_creation_5m_tokens": "creation_5m",
    "reported_cache_creation_1h_tokens": "creation_1h",
    "reported_output_tokens": "output",
    "reported_reasoning_tokens": "reasoning",
    "reported_total_tokens": "total",
    "web_search_requests": "web_searches",
}
_TEXTS: Final = ("service_tier", "speed", "inference_geo")


class ShapePaths(NamedTuple):
    """A shape with the paths that lead somewhere, by the field of `Usage` that they fill."""

    shape: Shape
    counts: tuple[tuple[str, Paths], ...]
    texts: tuple[tuple[str, Paths], ...]
    added_input: Paths
    uncached: Paths
    is_completed: bool  # some count may follow from others
    is_named_twice: bool  # the keys are of two namings of the same counts
    cost: Paths
    media: tuple[Paths, ...]  # none, or one for each of schema.MEDIA_COUNTS


def shape_paths(usage: Mapping[str, Any]) -> ShapePaths | None:
    """How to read `usage`; None where its keys are those of no shape."""
    for found in _shape_paths(frozenset(usage)):
        if _tells(found.shape, usage):
            return found
    return None


def _tells(shape: Shape, usage: Mapping[str, Any]) -> bool:
    if shape.agree:
        one, other = (follow(usage, path) for path in shape.agree)
        return one is not None and bool(one == other)
    return not shape.within or fetch(usage, shape.within) is not None


@lru_cache(maxsize=_KEY_SETS)
def _shape_paths(keys: frozenset[str]) -> tuple[ShapePaths, ...]:
    return tuple(_paths_of(shape, keys) for shape in SHAPES if shape.may_have(keys))


def _paths_of(shape: Shape, keys: frozenset[str]) -> ShapePaths:
    def here(name: str) -> Paths:
        return tuple(path for path in getattr(shape, name) if path[0] in keys)

    counts = ((column, here(name)) for column, name in _COUNTS.items())
    texts = ((name, here(name)) for name in _TEXTS)
    added, uncached = here("added_input"), here("uncached")
    media = tuple(tuple(path for path in paths if path[0] in keys) for paths in shape.media)
    return ShapePaths(
        shape=shape,
        counts=tuple((column, paths) for column, paths in counts if paths),
        texts=tuple((name, paths) for name, paths in texts if paths),
        added_input=added,
        uncached=uncached,
        is_completed=bool(added or uncached or shape.tools) or shape.total_tells_output,
        is_named_twice=is_named_twice(keys),
        cost=here("cost"),
        media=media if any(media) else (),
    )


# Counted in the answer's own usage; where a fallback model answered, the usage is that model's.
_FALLBACK: Final = "fallback_message"
_WITHIN: Final = frozenset({"message", _FALLBACK})
_PROMPT: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class Iteration(NamedTuple):
    """A model call within an answer. `usage` is for `read_usage`; no model is the answer's own."""

    part: str  # place in the usage object, e.g. "iterations[1]"
    kind: str  # e.g. "compaction", "advisor_message"
    model: str | None
    usage: Mapping[str, Any]


def left_out(usage: Mapping[str, Any]) -> list[Iteration]:
    """The iterations that are calls of their own beside the counts of `usage`, in their order.

    Where a fallback answered, an attempt before it that produced output is one: it is billed at
    the rates of the model that made it. An attempt without output is not billed.
    """
    answering = fallback_model(usage)
    return [
        Iteration(f"iterations[{index}]", kind, text(entry.get("model")), entry)
        for index, kind, entry in _entries(usage)
        if kind not in _WITHIN or (answering and _is_attempt(entry, answering))
    ]


def _is_attempt(entry: Mapping[str, Any], answering: str) -> bool:
    model = text(entry.get("model"))
    return model not in {None, answering} and bool(count(entry.get("output_tokens"), []))


def fallback_model(usage: Mapping[str, Any]) -> str | None:
    """The model that answered in the place of the one that was asked; None where none did.

    A stream begins with the name of the model that was asked.
    """
    answered = [text(entry.get("model")) for _, kind, entry in _entries(usage) if kind == _FALLBACK]
    return answered[-1] if answered else None


def largest_prompt(usage: Mapping[str, Any]) -> int | None:
    """The largest prompt of one request, where the counts of `usage` are a sum over several."""
    prompts = [_prompt(entry) for _, kind, entry in _entries(usage) if kind == "message"]
    known = [tokens for tokens in prompts if tokens is not None]
    return max(known) if len(prompts) > 1 and known else None


def _entries(usage: Mapping[str, Any]) -> list[tuple[int, str, Mapping[str, Any]]]:
    entries = usage.get("iterations")
    return [
        (index, kind, entry)
        for index, entry in enumerate(entries if isinstance(entries, list) else ())
        if isinstance(entry, Mapping) and (kind := text(entry.get("type")))
    ]


def _prompt(entry: Mapping[str, Any]) -> int | None:
    stated = [count(entry.get(key), []) for key in _PROMPT]
    known = [tokens for tokens in stated if tokens is not None]
    return sum(known) if known else None


# Vertex's words for what the others call a service tier.
_TRAFFIC: Final = {
    "ON_DEMAND": "standard",
    "ON_DEMAND_PRIORITY": "priority",
    "ON_DEMAND_FLEX": "flex",
}


class Usage(msgspec.Struct, kw_only=True):
    """The counts of one usage object; fields are named as in `Reported`, absent is None.

    `rule` names the declaration that read it. `assumed` names the directions where neither the
    keys nor the arithmetic prove the reading; `problems` says what is odd about the object.
    """

    dialect: str
    rule: str
    reported_input_tokens: int | None = None
    reported_cached_tokens: int | None = None
    reported_cache_creation_tokens: int | None = None
    reported_cache_creation_5m_tokens: int | None = None
    reported_cache_creation_1h_tokens: int | None = None
    reported_output_tokens: int | None = None
    reported_reasoning_tokens: int | None = None
    reported_total_tokens: int | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    web_search_requests: int | None = None
    tool_counts: list[int | None] | None = None
    media_counts: list[int | None] | None = None
    context_tokens: int | None = None
    reported_cost_usd: Decimal | None = None
    assumed: list[str] | None = None
    problems: list[str] | None = None


def put_usage(row: Reported, usage: Usage) -> Reported:
    """Put the counts of `usage` on `row`, adding to its problems; returns `row`.

    Claude's cache writes have a price of their own. Where a framework folds them into the input
    and the object does not state them, what is left of the input may be either kind.
    """
    for name in usage.__struct_fields__:
        value = getattr(usage, name)
        if value is None:
            continue
        if name == "problems":
            value = [*(row.problems or []), *value]
        setattr(row, name, value)
    if usage.dialect == _INSIDE and usage.rule in _FOLDS and is_claude(row.model):
        writes = (getattr(row, name) for name in _WRITES)
        if row.reported_cached_tokens is not None and all(count is None for count in writes):
            row.dialect = _WRITES_WITHIN
    return row


_INSIDE: Final = "openai"
_WRITES_WITHIN: Final = "writes-within"
_FOLDS: Final = frozenset(shape.rule for shape in SHAPES if shape.folds_writes)
_WRITES: Final = (
    "reported_cache_creation_tokens",
    "reported_cache_creation_5m_tokens",
    "reported_cache_creation_1h_tokens",
)


def read_usage(
    usage: Mapping[str, Any], provider: str | None = None, dialect: str | None = None
) -> Usage | None:
    """The counts of a usage object, told by its keys and arithmetic, else by `provider`.

    `provider` is a hint: who served the request ("anthropic", "google"), or the tool that wrote
    the object ("langchain", "litellm", "9router"). It decides only what the object leaves open.
    `dialect` is for a caller that knows, say by the version of its log, which count holds which.
    None where the object has no key of any known usage shape.
    """
    raw = usage.get("raw")
    if isinstance(raw, Mapping) and (inner := read_usage(raw, provider, dialect)) is not None:
        return inner  # the AI SDK keeps what the provider said
    found = shape_paths(usage)
    if found is None:
        return None
    doubted: list[str] = []
    if found.is_named_twice:
        usage, doubted = one_naming(usage)
        found = shape_paths(usage) or found
    problems: list[str] = []
    read = _stated(usage, found, problems)
    if found.is_completed:
        _complete(read, usage, found, problems)
    if dialect is not None:
        read.dialect = dialect
    else:
        _settle(read, found, provider, problems)
    if doubted:
        read.assumed = sorted({*(read.assumed or ()), *doubted})
    read.problems = sorted(set(problems)) if problems else None
    return read


def _stated(usage: Mapping[str, Any], found: ShapePaths, problems: list[str]) -> Usage:
    shape = found.shape
    read = Usage(dialect=shape.dialects[0], rule=shape.rule)
    for column, paths in found.counts:
        value = said_first(usage, paths)
        if value is not None:
            setattr(read, column, count(value, problems))
    for column, paths in found.texts:
        stated = text(fetch(usage, paths))
        if stated is not None:
            setattr(read, column, _TRAFFIC.get(stated, stated))
    if found.media:
        media = [count(fetch(usage, paths), problems) for paths in found.media]
        read.media_counts = media if any(n is not None for n in media) else None
    if found.cost:
        read.reported_cost_usd = _cost(usage, found, problems)
    if "iterations" in usage:
        read.context_tokens = largest_prompt(usage)
    return read


def _complete(
    read: Usage, usage: Mapping[str, Any], found: ShapePaths, problems: list[str]
) -> None:
    """Puts in what the other counts prove."""
    added = count(fetch(usage, found.added_input), problems)
    if added and read.reported_input_tokens is not None:
        read.reported_input_tokens += added
    if found.shape.tools:
        ran = tools_in_usage(found.shape.tools, usage, problems)
        read.tool_counts = ran.counts
        if ran.others:
            problems.append(TOOL_FEES)
    uncached = count(fetch(usage, found.uncached), problems)
    if uncached is not None:
        _put_cached(read, uncached)
    if found.shape.total_tells_output and read.reported_output_tokens is None:
        others = (read.reported_input_tokens or 0) + (read.reported_reasoning_tokens or 0)
        if read.reported_total_tokens is not None and read.reported_total_tokens == others:
            read.reported_output_tokens = 0


def _put_cached(read: Usage, uncached: int) -> None:
    """Puts in the one of input, cached and uncached that is not stated."""
    written = read.reported_cache_creation_tokens or 0
    if read.reported_input_tokens is None:
        read.reported_input_tokens = uncached + (read.reported_cached_tokens or 0) + written
    elif read.reported_cached_tokens is None:
        rest = read.reported_input_tokens - uncached - written
        read.reported_cached_tokens = rest if rest >= 0 else None


def _settle(read: Usage, found: ShapePaths, provider: str | None, problems: list[str]) -> None:
    """Puts in the dialect; the input stays whole where it is in doubt."""
    if len(found.shape.dialects) == 1:
        return
    verdict = decide(found.shape, _counts(read), provider)
    read.dialect = verdict.dialect
    read.assumed = list(verdict.assumed) or None
    if verdict.ambiguous:
        problems.append("ambiguous-dialect")
        for name in ("reported_cached_tokens", *_WRITES):
            setattr(read, name, None)


def _counts(read: Usage) -> StatedCounts:
    written = read.reported_cache_creation_tokens
    if not written:
        five, hour = read.reported_cache_creation_5m_tokens, read.reported_cache_creation_1h_tokens
        written = (five or 0) + (hour or 0) or written
    return StatedCounts(
        read.reported_input_tokens,
        read.reported_cached_tokens,
        written,
        read.reported_output_tokens,
        read.reported_reasoning_tokens,
        read.reported_total_tokens,
    )


def _cost(usage: Mapping[str, Any], found: ShapePaths, problems: list[str]) -> Decimal | None:
    shape = found.shape
    cost = money(fetch(usage, found.cost), problems)
    if cost is None:
        return None
    if shape.own_key and fetch(usage, shape.own_key) is True:
        # The fee alone; the model was paid for with the user's own key.
        return cost + (money(fetch(usage, shape.own_key_cost), problems) or 0)
    return (cost * shape.cost_unit).quantize(MONEY_SCALE)
