"""Reads a raw usage object, of whatever provider, as the counts of one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from tallybook.dialects.shape import COUNTS, Path, Shape, fetch
from tallybook.dialects.shapes import SHAPES
from tallybook.dialects.values import MONEY_SCALE, count, money
from tallybook.dialects.verdict import Counts, decide
from tallybook.schema import Reported

# Vertex's words for what the others call a service tier.
_TRAFFIC = {
    "ON_DEMAND": "standard",
    "ON_DEMAND_PRIORITY": "priority",
    "ON_DEMAND_FLEX": "flex",
}
_KEY_SETS = 1024  # usage objects of one log have a handful; keys may be anything in a foreign one


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
    reported_cost_usd: Decimal | None = None
    assumed: list[str] | None = None
    problems: list[str] | None = None


def state(row: Reported, usage: Usage) -> Reported:
    """Put the counts of `usage` on `row`, adding to its problems; returns `row`."""
    for name in usage.__struct_fields__:
        value = getattr(usage, name)
        if value is None:
            continue
        if name == "problems":
            value = [*(row.problems or []), *value]
        setattr(row, name, value)
    return row


def read_usage(usage: Mapping[str, Any], provider: str | None = None) -> Usage | None:
    """The counts of a usage object, told by its keys and arithmetic, else by `provider`.

    `provider` is a hint: who served the request ("anthropic", "google"), or the tool that wrote
    the object ("langchain", "litellm", "9router"). It decides only what the object leaves open.
    None where the object has no key of any known usage shape.
    """
    raw = usage.get("raw")
    if isinstance(raw, Mapping) and (inner := read_usage(raw, provider)) is not None:
        return inner  # the AI SDK keeps what the provider said
    keys = frozenset(usage)
    for plan in _plans(keys):
        if not plan.within or fetch(usage, plan.within) is not None:
            return _read(usage, plan, provider)
    return None


@lru_cache(maxsize=_KEY_SETS)
def _plans(keys: frozenset[str]) -> tuple[Shape, ...]:
    """The shapes that an object with these keys may have, without the paths it cannot have."""
    found = [shape for shape in SHAPES if shape.fits(keys)]
    return tuple(_pruned(shape, keys) for shape in found)


def _pruned(shape: Shape, keys: frozenset[str]) -> Shape:
    paths: dict[str, Any] = {
        name: tuple(path for path in getattr(shape, name) if path[0] in keys) for name in COUNTS
    }
    return replace(shape, **paths)


def _read(usage: Mapping[str, Any], plan: Shape, provider: str | None) -> Usage:
    problems: list[str] = []

    def number(paths: tuple[Path, ...]) -> int | None:
        return count(fetch(usage, paths), problems) if paths else None

    read = Usage(
        dialect=plan.dialects[0],
        rule=plan.rule,
        reported_input_tokens=number(plan.input),
        reported_cached_tokens=number(plan.cached),
        reported_cache_creation_tokens=number(plan.creation),
        reported_cache_creation_5m_tokens=number(plan.creation_5m),
        reported_cache_creation_1h_tokens=number(plan.creation_1h),
        reported_output_tokens=number(plan.output),
        reported_reasoning_tokens=number(plan.reasoning),
        reported_total_tokens=number(plan.total),
        web_search_requests=number(plan.web_searches),
        service_tier=_tier(fetch(usage, plan.service_tier)),
        speed=_text(fetch(usage, plan.speed)),
        inference_geo=_text(fetch(usage, plan.inference_geo)),
    )
    if plan.cost:
        read.reported_cost_usd = _cost(usage, plan, problems)
    _complete(read, number(plan.added_input), number(plan.uncached), plan)
    _settle(read, plan, provider, problems)
    read.problems = sorted(set(problems)) if problems else None
    return read


def _complete(read: Usage, added: int | None, uncached: int | None, plan: Shape) -> None:
    """Puts in what the other counts prove: nothing is left out of a sum but zeros."""
    if added and read.reported_input_tokens is not None:
        read.reported_input_tokens += added
    if uncached is not None:
        written = read.reported_cache_creation_tokens or 0
        if read.reported_input_tokens is None:
            read.reported_input_tokens = uncached + (read.reported_cached_tokens or 0) + written
        elif read.reported_cached_tokens is None:
            rest = read.reported_input_tokens - uncached - written
            read.reported_cached_tokens = rest if rest >= 0 else None
    if plan.total_tells_output and read.reported_output_tokens is None:
        others = (read.reported_input_tokens or 0) + (read.reported_reasoning_tokens or 0)
        if read.reported_total_tokens is not None and read.reported_total_tokens == others:
            read.reported_output_tokens = 0


def _settle(read: Usage, plan: Shape, provider: str | None, problems: list[str]) -> None:
    """Puts in the dialect; the input stays whole where it is in doubt."""
    if len(plan.dialects) == 1:
        return
    verdict = decide(plan, _counts(read), provider)
    read.dialect = verdict.dialect
    read.assumed = list(verdict.assumed) or None
    if verdict.ambiguous:
        problems.append("ambiguous-dialect")
        read.reported_cached_tokens = None
        read.reported_cache_creation_tokens = None
        read.reported_cache_creation_5m_tokens = None
        read.reported_cache_creation_1h_tokens = None


def _counts(read: Usage) -> Counts:
    written = read.reported_cache_creation_tokens
    if not written:
        five, hour = read.reported_cache_creation_5m_tokens, read.reported_cache_creation_1h_tokens
        written = (five or 0) + (hour or 0) or written
    return Counts(
        read.reported_input_tokens,
        read.reported_cached_tokens,
        written,
        read.reported_output_tokens,
        read.reported_reasoning_tokens,
        read.reported_total_tokens,
    )


def _cost(usage: Mapping[str, Any], plan: Shape, problems: list[str]) -> Decimal | None:
    cost = money(fetch(usage, plan.cost), problems)
    if cost is None:
        return None
    if plan.own_key and fetch(usage, plan.own_key) is True:
        # The fee alone; the model was paid with the user's own key.
        return cost + (money(fetch(usage, plan.own_key_cost), problems) or 0)
    return (cost * plan.cost_unit).quantize(MONEY_SCALE)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _tier(value: object) -> str | None:
    text = _text(value)
    return _TRAFFIC.get(text, text) if text else None
