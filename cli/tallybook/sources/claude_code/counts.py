"""Turns usage objects, costs and times as Claude Code writes them into columns of a row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from tallybook.schema import MOST_AT_BEGIN
from tallybook.sources.claude_code.shapes import inside
from tallybook.values import count, instant, text

DIALECT: Final = "anthropic"
SYNTHETIC: Final = "<synthetic>"  # the model of lines the client wrote itself

_CLOUDS: Final = (("msg_bdrk_", "aws"), ("msg_vrtx_", "google"))

# From here on a response has a stop reason as soon as its counts are final.
_SAYS_WHEN_FINAL: Final = (2, 1, 92)
_VERSION: Final = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?!\d)", re.ASCII)

# Members of a running total per model; the oldest transcript lines use the same names.
TOTALS: Final = {
    "reported_input_tokens": "inputTokens",
    "reported_cached_tokens": "cacheReadInputTokens",
    "reported_cache_creation_tokens": "cacheCreationInputTokens",
    "reported_output_tokens": "outputTokens",
    "reported_reasoning_tokens": "thinkingTokens",
    "web_search_requests": "webSearchRequests",
}


def usage_counts(usage: object, problems: list[str]) -> dict[str, Any]:
    """Count columns of an API usage object; what it does not state is None."""
    written = inside(usage, "cache_creation")
    thinking = inside(inside(usage, "output_tokens_details"), "thinking_tokens")
    stated = {
        "reported_input_tokens": inside(usage, "input_tokens"),
        "reported_cached_tokens": inside(usage, "cache_read_input_tokens"),
        "reported_cache_creation_tokens": inside(usage, "cache_creation_input_tokens"),
        "reported_cache_creation_5m_tokens": inside(written, "ephemeral_5m_input_tokens"),
        "reported_cache_creation_1h_tokens": inside(written, "ephemeral_1h_input_tokens"),
        "reported_output_tokens": inside(usage, "output_tokens"),
        "reported_reasoning_tokens": thinking,
    }
    return {column: count(value, problems) for column, value in stated.items()}


def terms(usage: object, problems: list[str]) -> dict[str, Any]:
    """Columns of what else a usage object says that the price depends on."""
    searches = inside(inside(usage, "server_tool_use"), "web_search_requests")
    return {
        "service_tier": text(inside(usage, "service_tier")),
        "speed": text(inside(usage, "speed")),
        "inference_geo": text(inside(usage, "inference_geo")),
        "web_search_requests": count(searches, problems),
    }


def total_counts(total: object, problems: list[str]) -> dict[str, Any]:
    """Count columns of one model's entry in `modelUsage`."""
    if not isinstance(total, dict):
        problems.append("bad-number")
    return {column: count(inside(total, key), problems) for column, key in TOTALS.items()}


def prompt(usage: object) -> int | None:
    """Tokens of the whole prompt of one request, as far as stated; None if nothing is."""
    counts = usage_counts(usage, [])
    written = counts["reported_cache_creation_tokens"] or _sum(
        [counts["reported_cache_creation_5m_tokens"], counts["reported_cache_creation_1h_tokens"]]
    )
    return _sum([counts["reported_input_tokens"], counts["reported_cached_tokens"], written])


def _sum(numbers: Sequence[int | None]) -> int | None:
    stated = [number for number in numbers if number is not None]
    return sum(stated) if stated else None


def finished(stop_reason: object, output: int | None, version: object) -> bool | None:
    """Whether the counts of a response are final: True where it says why it stopped.

    Older builds leave that null on most finished responses. There it is False only where the output
    is no more than a stream begins with, and None where it is more.
    """
    if stop_reason is not None:
        return None if stop_reason is msgspec.UNSET else True
    few = output is not None and output <= MOST_AT_BEGIN
    return False if few or (isinstance(version, str) and _says_when_final(version)) else None


@lru_cache(maxsize=64)
def _says_when_final(version: str) -> bool:
    found = _VERSION.match(version)
    return found is not None and tuple(map(int, found.groups())) >= _SAYS_WHEN_FINAL


def moment(value: object, problems: list[str]) -> datetime | None:
    """A time in UTC; None with `no-time` where there is none."""
    time = instant(value, problems)
    if time is None:
        problems.append("no-time")
    return time


def provider(model: str | None, message_id: str | None = None) -> str | None:
    """Who served the response, where its id or the model's name tells."""
    for prefix, cloud in _CLOUDS:
        if message_id and message_id.startswith(prefix):
            return cloud
    return "anthropic" if model and model.startswith("claude") else None


def codes(problems: list[str]) -> list[str] | None:
    """Each problem once, in a fixed order; None for none."""
    return sorted(set(problems)) or None
