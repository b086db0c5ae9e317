"""Builds the rows of one response: the call, and what other models did within it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tallybook.schema import CALL, EVENT, Reported
from tallybook.sources.claude_code.counts import (
    DIALECT,
    SYNTHETIC,
    codes,
    finished,
    moment,
    prompt,
    provider,
    terms,
    usage_counts,
)
from tallybook.sources.claude_code.identity import identity, is_minted
from tallybook.sources.claude_code.shapes import Line, Message, inside
from tallybook.values import money, text

_ADVISOR: Final = "advisor_message"
_COMPACTION: Final = "compaction"
_COUNTED: Final = (None, "message", "fallback_message")
_CALLERS: Final = {_ADVISOR: "advisor", _COMPACTION: "compact"}
_NO_LINE: Final = Line()
_TIME_PROBLEMS: Final = ("no-time", "assumed-time")


def response(
    message: Message,
    *,
    timestamp: object,
    elsewise: str | None,
    line: Line = _NO_LINE,
    **columns: Any,
) -> list[Reported]:
    """The row of a response and a row of each iteration that its own counts leave out.

    `elsewise` tells responses apart that have no ids; `line` says what a transcript has beside the
    message; `columns` are those of the record itself.
    """
    if text(message.model) == SYNTHETIC:
        return [_event(message, timestamp, columns)]
    row = _call(message, timestamp, line, columns)
    message_id = text(message.id)
    row.identity = identity(message_id, row.request_id, row.chain_id, elsewise)
    row.response_id = message_id if message_id and is_minted(message_id) else None
    entries = inside(message.usage, "iterations")
    if not isinstance(entries, list):
        return [row]
    row.context_tokens = _context(entries)
    return [row, *_iterations(row, entries, text(line.advisor_model), text(message.id))]


def within(part: str | None, inner: str) -> str:
    """The place of `inner` in a record, or in the part of it that is being read."""
    return f"{part}.{inner}" if part else inner


def _call(message: Message, timestamp: object, line: Line, columns: dict[str, Any]) -> Reported:
    problems: list[str] = [] if isinstance(message.usage, dict) else ["bad-number"]
    model, counts = text(message.model), usage_counts(message.usage, problems)
    row = Reported(
        **columns,
        **counts,
        **terms(message.usage, problems),
        kind=CALL,
        dialect=DIALECT,
        model=model,
        provider=provider(model, text(message.id)),
        timestamp=moment(timestamp, problems),
        reported_cost_usd=money(line.cost, problems),
        finished=finished(message.stop_reason, counts["reported_output_tokens"], line.version),
    )
    row.problems = codes(problems)
    return row


def _event(message: Message, timestamp: object, columns: dict[str, Any]) -> Reported:
    """A line that the client wrote in the model's place: no request, so it has no identity."""
    problems: list[str] = []
    row = Reported(
        **columns,
        **usage_counts(message.usage, problems),
        kind=EVENT,
        calls=None,
        dialect=DIALECT,
        model=SYNTHETIC,
        timestamp=moment(timestamp, problems),
    )
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
    return [
        _iteration(row, entry, f"iterations[{index}]", advisor_model, message_id)
        for index, entry in enumerate(entries)
        if inside(entry, "type") not in _COUNTED
    ]


def _iteration(
    row: Reported, entry: object, part: str, advisor_model: str | None, message_id: str | None
) -> Reported:
    kind = str(inside(entry, "type"))
    problems = [code for code in row.problems or () if code in _TIME_PROBLEMS]
    stand_in = advisor_model if kind == _ADVISOR else row.model
    model = text(inside(entry, "model")) or stand_in
    own = terms(entry, problems)
    extra = msgspec.structs.replace(
        row,
        **usage_counts(entry, problems),
        part=within(row.part, part),
        caller=_CALLERS.get(kind, kind),
        model=model,
        provider=provider(model, message_id),
        identity=row.identity and f"{row.identity}/{part}",
        # The response's own id names its own row.
        response_id=row.response_id and f"{row.response_id}/{part}",
        finished=True,
        context_tokens=None,
        # Tier and region are the request's; another model may run at another speed.
        service_tier=own["service_tier"] or row.service_tier,
        inference_geo=own["inference_geo"] or row.inference_geo,
        speed=own["speed"] or (None if kind == _ADVISOR else row.speed),
        web_search_requests=None,  # the response's own row has those of all iterations
        reported_cost_usd=None,
    )
    extra.problems = codes(problems)
    return extra
