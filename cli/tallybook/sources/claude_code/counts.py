"""Turns usage objects, costs and times as Claude Code writes them into columns of a row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from tallybook.sources.claude_code.shapes import inside, text
from tallybook.sources.lines import count

DIALECT: Final = "anthropic"
SYNTHETIC: Final = "<synthetic>"  # the model of lines the client wrote itself

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM: Final = 10**10  # as seconds this is the year 2286
_CENT_DUST: Final = Decimal("1e-15")  # the scale of money columns
_CLOUDS: Final = (("msg_bdrk_", "aws"), ("msg_vrtx_", "google"))

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


def money(value: object, problems: list[str]) -> Decimal | None:
    """US dollars as logged, to 15 decimal places; None with a `bad-number` if it is no amount."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        try:
            # The shortest text that reads back as this float is what the log had.
            return Decimal(repr(value)).quantize(_CENT_DUST)
        except InvalidOperation:
            pass
    problems.append("bad-number")
    return None


def moment(value: object, problems: list[str]) -> datetime | None:
    """A time in UTC from RFC 3339 text or a Unix time; None with `no-time` where there is none.

    Text without an offset is taken as UTC, which `assumed-time` says.
    """
    time = _from_text(value) if isinstance(value, str) else _from_number(value)
    if time is None:
        problems.append("no-time")
    elif time.tzinfo is None:
        problems.append("assumed-time")
        return time.replace(tzinfo=UTC)
    return time


def _from_text(value: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(value.strip().upper())
        return time.astimezone(UTC) if time.tzinfo else time
    except (ValueError, OverflowError):
        return None


def _from_number(value: object) -> datetime | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        seconds = value / 1000 if value > _MILLISECONDS_FROM else value
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return None


def provider(model: str | None, message_id: str | None = None) -> str | None:
    """Who served the response, where its id or the model's name tells."""
    for prefix, cloud in _CLOUDS:
        if message_id and message_id.startswith(prefix):
            return cloud
    return "anthropic" if model and model.startswith("claude") else None


def codes(problems: list[str]) -> list[str] | None:
    """Each problem once, in a fixed order; None for none."""
    return sorted(set(problems)) or None
