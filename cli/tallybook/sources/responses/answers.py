"""Makes the rows of one response: its call, and the calls within it that its counts leave out."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from tallybook.dialects.responses import Response, find_usage
from tallybook.dialects.served import mapping
from tallybook.dialects.usage import Iteration, fallback_model, left_out, put_usage, read_usage
from tallybook.schema import EVENT, MEDIA_COUNTS, REPORTED_COUNTS, TOOL_FEES, Reported
from tallybook.sources.pictures import shortened
from tallybook.sources.responses.exchange import Exchange
from tallybook.values import error_name, money

_CALLERS: Final = {"advisor_message": "advisor", "compaction": "compact", "message": None}
_IMAGES_MADE: Final = MEDIA_COUNTS.index("image_output_tokens")
_FAILED: Final = 400  # HTTP status of refusals, from here on
_OWN_ID: Final = 20  # characters; servers on one's own machine number their answers to 999


def answer_rows(found: Exchange, record: int, saved: bytes, before: str = "") -> list[Reported]:
    """The rows of a response; none where the record is neither one nor a dump of an exchange.

    The digest of what was saved, and of what came `before` it, stands in for a missing id.
    """
    response = find_usage(found.body, found.headers)
    if response is None:
        return [_without_answer(found, record, saved, before)] if found.part else []
    if response.usage is None and (response.is_error or (found.status or 0) >= _FAILED):
        return [_refusal(response, found, record)]
    row = _row(response, found, record)
    row.identity = _identity(row, saved, before)
    _put_counts(row, response, found)
    if response.usage:
        row.model = fallback_model(response.usage) or row.model
    if found.is_from_cache:
        row.kind, row.calls, row.detail = EVENT, None, "answered from the proxy's cache"
        return [row]
    inner = left_out(response.usage) if response.usage else []
    return [row, *(_iteration(row, each) for each in inner)]


def digest_of(content: bytes, before: str = "") -> str:
    """Digest of what was saved, continued from that of what came before it."""
    return blake2b(shortened(content), digest_size=12, key=before.encode()).hexdigest()


def _row(response: Response, found: Exchange, record: int) -> Reported:
    provider = found.provider or response.provider
    # A name on Bedrock tells the region too, and with it the price; the model does not know it.
    model = found.model if provider == "aws" and found.model else response.model
    return Reported(
        record=record,
        part=found.part,
        provider=provider,
        model=model or found.model,
        timestamp=response.created or found.time,
        response_id=response.response_id,
        request_id=response.request_id or found.request_id,
        thread_id=response.thread_id,
        finished=response.finished,
    )


def _refusal(response: Response, found: Exchange, record: int) -> Reported:
    """A provider's error: it was asked, but no model answered."""
    row = _row(response, found, record)
    row.kind, row.calls, row.finished = EVENT, None, None
    error = mapping(found.body.get("error"))
    names = (error_name(error[key]) for key in ("type", "code", "status") if error.get(key))
    kind = next(filter(None, names), None)
    row.detail = f"refused: {kind or found.status or 'no reason stated'}"
    return row


def _without_answer(found: Exchange, record: int, saved: bytes, before: str) -> Reported:
    """An exchange whose body is no answer: refused, lost on the way, or about something else."""
    nothing = Response()
    if (found.status or 0) >= _FAILED:
        return _refusal(nothing, found, record)
    row = _row(nothing, found, record)
    row.identity = _identity(row, saved, before)
    if row.model or (found.silence and row.provider):
        row.problems = ["no-counts"]
        row.detail = f"the body is {found.silence or 'no answer of a model'}"
    else:
        row.kind, row.calls, row.detail = EVENT, None, "an exchange that asks no model"
    return row


def _put_counts(row: Reported, response: Response, found: Exchange) -> None:
    usage = read_usage(response.usage, row.provider) if response.usage else None
    if usage is not None:
        put_usage(row, usage)
    if _is_of_images(found.body):
        _put_images(row)
    row.refused = response.is_refusal and row.reported_output_tokens == 0
    if row.web_search_requests is None:
        row.web_search_requests = response.searches
    if response.tools is not None and row.tool_counts is None:
        row.tool_counts = response.tools.counts
        if response.tools.others:
            row.problems = sorted({*(row.problems or []), TOOL_FEES})
    row.service_tier = response.service_tier or row.service_tier
    if row.reported_cost_usd is None:
        problems: list[str] = []
        row.reported_cost_usd = money(found.cost, problems)
        row.problems = [*(row.problems or []), *problems] or None
    if all(getattr(row, name) is None for name in REPORTED_COUNTS):
        row.problems = [*(row.problems or []), "no-counts"]


def _is_of_images(body: Mapping[str, Any]) -> bool:
    """Whether the answer is one of OpenAI's Images API, or the last event of such a stream."""
    kind = body.get("type")
    if isinstance(kind, str) and kind.startswith("image_") and kind.endswith(".completed"):
        return True
    data = body.get("data")
    first = mapping(data[0]) if isinstance(data, list) and data else {}
    return "b64_json" in first or ("url" in first and "object" not in body)


def _put_images(row: Reported) -> None:
    """All that the Images API puts out is images, where it does not say that some is text."""
    counts = row.media_counts or [None] * len(MEDIA_COUNTS)
    if counts[_IMAGES_MADE] is None and row.reported_output_tokens is not None:
        counts[_IMAGES_MADE] = row.reported_output_tokens
        row.media_counts = counts


def _identity(row: Reported, saved: bytes, before: str) -> str:
    named = row.response_id
    if named is None:
        place = "" if row.timestamp else f":{row.record}"
        return f"content:{digest_of(saved, before)}{place}"
    if len(named) < _OWN_ID:
        return f"response:{named}:{row.model}:{row.timestamp}"
    return f"response:{named}"


def _iteration(row: Reported, inner: Iteration) -> Reported:
    """The row of a call within an answer: at the answer's tier and place, with its own counts."""
    extra = Reported(
        record=row.record,
        part=f"{row.part}.{inner.part}" if row.part else inner.part,
        caller=_CALLERS.get(inner.kind, inner.kind),
        identity=f"{row.identity}/{inner.part}",
        # The response's own id names its own row.
        response_id=row.response_id and f"{row.response_id}/{inner.part}",
        model=inner.model or row.model,
        service_tier=row.service_tier,
        inference_geo=row.inference_geo,
        speed=row.speed if inner.model is None else None,
    )
    for name in ("provider", "timestamp", "request_id", "thread_id"):
        setattr(extra, name, getattr(row, name))
    usage = read_usage(inner.usage, "anthropic")
    return put_usage(extra, usage) if usage else extra
