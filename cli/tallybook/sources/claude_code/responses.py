"""Builds the rows of one response: the call, and what other models did within it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from tallybook.dialects.usage import fallback_model, left_out
from tallybook.schema import EVENT, MOST_AT_BEGIN, RUNNING_COUNTS, Reported
from tallybook.sources.claude_code.lines import Line, Message
from tallybook.sources.claude_code.threads import identity
from tallybook.values import count, inside, instant, money, text

DIALECT: Final = "anthropic"
REFUSAL: Final = "refusal"  # a stop reason; without any output nothing is billed
SYNTHETIC: Final = "<synthetic>"  # the model of lines the client wrote itself

_CLOUDS: Final = {"msg_bdrk_": "aws", "msg_vrtx_": "google"}
_CLOUD: Final = len("msg_bdrk_")

# From here on a response has a stop reason as soon as its counts are final.
_SAYS_WHEN_FINAL: Final = (2, 1, 92)
_VERSION: Final = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?!\d)", re.ASCII)

_NOTHING: Final[dict[str, Any]] = {}
PROMPT_COUNTS: Final = RUNNING_COUNTS[:3]
_PROMPT: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
# Members of a running total per model; the oldest transcript lines use the same names.
TOTALS: Final = {
    "reported_input_tokens": "inputTokens",
    "reported_cached_tokens": "cacheReadInputTokens",
    "reported_cache_creation_tokens": "cacheCreationInputTokens",
    "reported_cache_creation_5m_tokens": "cacheCreationEphemeral5mInputTokens",
    "reported_cache_creation_1h_tokens": "cacheCreationEphemeral1hInputTokens",
    "reported_output_tokens": "outputTokens",
    "reported_reasoning_tokens": "thinkingTokens",
    "web_search_requests": "webSearchRequests",
}


def _members(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else _NOTHING


def put_counts(row: Reported, usage: object, problems: list[str]) -> None:
    """Put on a row what an API usage object counts; what it does not state is None."""
    stated = _members(usage).get
    written, details = _members(stated("cache_creation")).get, stated("output_tokens_details")
    row.reported_input_tokens = count(stated("input_tokens"), problems)
    row.reported_cached_tokens = count(stated("cache_read_input_tokens"), problems)
    row.reported_cache_creation_tokens = count(stated("cache_creation_input_tokens"), problems)
    row.reported_cache_creation_5m_tokens = count(written("ephemeral_5m_input_tokens"), problems)
    row.reported_cache_creation_1h_tokens = count(written("ephemeral_1h_input_tokens"), problems)
    row.reported_output_tokens = count(stated("output_tokens"), problems)
    row.reported_reasoning_tokens = count(inside(details, "thinking_tokens"), problems)


def counted(usage: object) -> Reported:
    """A row with nothing but what an API usage object counts."""
    row = Reported(record=0)
    put_counts(row, usage, [])
    return row


def prompt_counts(usage: object) -> list[int | None]:
    """What the prompt of a response took: input, cache reads, cache writes."""
    stated = _members(usage).get
    return [count(stated(key), []) for key in _PROMPT]


def put_terms(row: Reported, usage: object, problems: list[str]) -> None:
    """Put on a row what else a usage object says that the price depends on."""
    stated = _members(usage).get
    searches = inside(stated("server_tool_use"), "web_search_requests")
    row.service_tier = text(stated("service_tier"))
    row.speed = text(stated("speed"))
    row.inference_geo = text(stated("inference_geo"))
    row.web_search_requests = count(searches, problems)


def total_counts(total: object, problems: list[str]) -> dict[str, Any]:
    """Count columns of one model's entry in `modelUsage`."""
    if not isinstance(total, dict):
        problems.append("bad-number")
    return {column: count(inside(total, key), problems) for column, key in TOTALS.items()}


def prompt(usage: object) -> int | None:
    """Tokens of the whole prompt of one request, as far as stated; None if nothing is."""
    row = counted(usage)
    split = [row.reported_cache_creation_5m_tokens, row.reported_cache_creation_1h_tokens]
    written = row.reported_cache_creation_tokens or _sum(split)
    return _sum([row.reported_input_tokens, row.reported_cached_tokens, written])


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
    says = isinstance(version, str) and is_older(version, _SAYS_WHEN_FINAL) is False
    return False if few or says else None


@lru_cache(maxsize=64)
def is_older(version: str, other: tuple[int, int, int]) -> bool | None:
    """Whether a client's version is before another one; None where it is none."""
    found = _VERSION.match(version)
    return None if found is None else tuple(map(int, found.groups())) < other


def moment(value: object, problems: list[str]) -> datetime | None:
    """A time in UTC; None with `no-time` where there is none."""
    time = instant(value, problems)
    if time is None:
        problems.append("no-time")
    return time


def provider(model: str | None, message_id: str | None = None) -> str | None:
    """Who served the response, where its id or the model's name tells."""
    cloud = _CLOUDS.get(message_id[:_CLOUD]) if message_id else None
    return cloud or ("anthropic" if model and model.startswith("claude") else None)


def codes(problems: list[str]) -> list[str] | None:
    """Each problem once, in a fixed order; None for none."""
    return sorted(set(problems)) if problems else None


_ADVISOR: Final = "advisor_message"
_COMPACTION: Final = "compaction"
_ATTEMPT: Final = "message"  # of the model that was asked, before a fallback answered
_COUNTED: Final = (None, _ATTEMPT, "fallback_message")
_CALLERS: Final = {_ADVISOR: "advisor", _COMPACTION: "compact"}
_NO_LINE: Final = Line()
_TIME_PROBLEMS: Final = ("no-time", "assumed-time")


def response(
    row: Reported,
    message: Message,
    timestamp: object,
    elsewise: str | None = None,
    line: Line = _NO_LINE,
) -> list[Reported]:
    """The row of a response and a row of each iteration that its own counts leave out.

    `row` says whose it is, and holds the ids of the record; `elsewise` tells responses apart that
    have none; `line` says what a transcript has beside the message.
    """
    row.dialect = DIALECT
    if message.model == SYNTHETIC:
        return [_event(row, message, timestamp)]
    message_id, usage = text(message.id), message.usage
    _put_call(row, message, message_id, timestamp, line)
    row.identity = identity(message_id, row.request_id, row.chain_id, elsewise)
    if row.identity == message_id:
        row.response_id = message_id
    entries = inside(usage, "iterations")
    if not isinstance(entries, list):
        return [row]
    row.context_tokens = _context(entries)
    row.model = fallback_model({"iterations": entries}) or row.model
    return [row, *_iterations(row, entries, text(line.advisor_model), message_id)]


def within(part: str | None, inner: str) -> str:
    """The place of `inner` in a record, or in the part of it that is being read."""
    return f"{part}.{inner}" if part else inner


def _put_call(
    row: Reported, message: Message, message_id: str | None, timestamp: object, line: Line
) -> None:
    problems: list[str] = [] if isinstance(message.usage, dict) else ["bad-number"]
    row.model = text(message.model)
    row.provider = provider(row.model, message_id)
    put_counts(row, message.usage, problems)
    put_terms(row, message.usage, problems)
    row.timestamp = moment(timestamp, problems)
    row.reported_cost_usd = money(line.cost, problems)
    row.finished = finished(message.stop_reason, row.reported_output_tokens, line.version)
    row.refused = message.stop_reason == REFUSAL and row.reported_output_tokens == 0
    row.problems = codes(problems)


def _event(row: Reported, message: Message, timestamp: object) -> Reported:
    """A line that the client wrote in the model's place: no request, so it has no identity."""
    problems: list[str] = []
    row.kind, row.calls, row.model = EVENT, None, SYNTHETIC
    row.timestamp = moment(timestamp, problems)
    put_counts(row, message.usage, problems)
    row.problems = codes(problems)
    return row


def _context(entries: list[Any]) -> int | None:
    """The largest prompt, where the response's own counts are the sum of several requests."""
    prompts = [prompt(entry) for entry in entries if inside(entry, "type") == "message"]
    known = [tokens for tokens in prompts if tokens is not None]
    return max(known) if len(prompts) > 1 and known else None


def _iterations(
    row: Reported, entries: list[Any], advisor_model: str | None, message_id: str | None
) -> list[Reported]:
    """Rows of the iterations that are not in the response's counts.

    Those hold the messages, or where a fallback model answered, what that one counted.
    """
    kept = {inner.part for inner in left_out({"iterations": entries})}
    return [
        _iteration(row, entry, part, advisor_model, message_id)
        for index, entry in enumerate(entries)
        if (part := f"iterations[{index}]") in kept or inside(entry, "type") not in _COUNTED
    ]


def _iteration(
    row: Reported, entry: object, part: str, advisor_model: str | None, message_id: str | None
) -> Reported:
    kind = str(inside(entry, "type"))
    problems = [code for code in row.problems or () if code in _TIME_PROBLEMS]
    stand_in = advisor_model if kind == _ADVISOR else row.model
    model = text(inside(entry, "model")) or stand_in
    caller = row.caller if kind == _ATTEMPT else _CALLERS.get(kind, kind)
    extra = msgspec.structs.replace(
        row,
        part=within(row.part, part),
        caller=caller,
        model=model,
        provider=provider(model, message_id),
        identity=row.identity and f"{row.identity}/{part}",
        # The response's own id names its own row.
        response_id=row.response_id and f"{row.response_id}/{part}",
        finished=True,
        context_tokens=None,
        reported_cost_usd=None,
        requested_model=row.requested_model if model == row.model else None,
    )
    put_counts(extra, entry, problems)
    put_terms(extra, entry, problems)
    # Tier and region are the request's; another model may run at another speed.
    extra.service_tier = extra.service_tier or row.service_tier
    extra.inference_geo = extra.inference_geo or row.inference_geo
    extra.speed = extra.speed or (None if kind == _ADVISOR else row.speed)
    extra.web_search_requests = None  # the response's own row has those of all iterations
    extra.problems = codes(problems)
    return extra
