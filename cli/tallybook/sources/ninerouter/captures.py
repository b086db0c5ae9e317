"""Reads the answers of providers as 9router logs them on request, a folder for each request.

They alone keep what the provider streamed. A folder is named by the formats of client and provider,
the model, and the local time at which the request came in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tallybook.dialects.responses import find_usage
from tallybook.dialects.streams import merge_stream, stream_events
from tallybook.dialects.usage import put_usage, read_usage
from tallybook.schema import EVENT, RESPONSE, Reported
from tallybook.sources import jsonl
from tallybook.sources.ninerouter import STREAM
from tallybook.sources.ninerouter.details import BODY, HINTS
from tallybook.values import decode, instant

_FOLDER: Final = re.compile(r"([^_]+)_([^_]+)_(.+)_(\d{8}_\d{6}_\d{3})")
_REFUSED: Final = 400  # HTTP status of refusals, from here on


def read_answer(content: bytes, name: str, folder: str) -> list[Reported]:
    """The row of a logged answer, evidence for the usage row of its request."""
    if name == STREAM:
        events = list(stream_events(content))
        return [_row(merge_stream(events) or _own(events), folder, "stream", None)]
    logged = decode(content)
    if logged is None:
        return [jsonl.unreadable(1, content, is_last=True)]
    logged = logged if isinstance(logged, dict) else {}
    body = logged.get("body")
    row = _row(body if isinstance(body, Mapping) else None, folder, "whole", logged)
    status = logged.get("status")
    if isinstance(status, int) and status >= _REFUSED:
        row.kind, row.rule, row.problems = EVENT, "log/error", None
    return [row]


def _own(events: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The last counts in a stream of a format that only this router knows, as a body."""
    found: dict[str, Any] | None = None
    for event in events:
        totals, metered = event.get("totalUsage"), event.get("tokenUsage")
        if event.get("type") == "finish" and isinstance(totals, Mapping):
            found = {"usage": totals}
        if isinstance(metered, Mapping):
            # Kiro's counts are Bedrock's, under another name where the cache is left out.
            usage = {"inputTokens": metered.get("uncachedInputTokens"), **metered}
            usage.pop("uncachedInputTokens", None)
            found = {"usage": usage, "stopReason": None}
    return found


def _row(
    body: Mapping[str, Any] | None, folder: str, how: str, logged: Mapping[str, Any] | None
) -> Reported:
    named = _FOLDER.fullmatch(folder)
    client, upstream, model, begun = named.groups() if named else ("?", "?", None, None)
    found = find_usage(body) if body else None
    row = Reported(
        record=1,
        part=BODY,
        kind=RESPONSE,
        calls=None,
        model=(found.model if found else None) or model,
        identity=f"log-{folder}" if named else None,
        record_id=f"log-{folder}" if named else None,
        route=f"{_format(client)}>{_format(upstream)} {how}",
        timestamp=instant(logged.get("timestamp")) if logged else None,
        detail=f"begun at local time {begun}" if begun else None,
    )
    usage = None
    if found is not None and found.usage is not None:
        usage = read_usage(found.usage, found.provider or HINTS.get(_format(upstream)))
    if found is not None:
        row.response_id, row.finished = found.response_id, found.finished
        row.timestamp = row.timestamp or found.created
    if usage is None:
        row.rule, row.problems = "log/silent", ["no-counts"]
        return row
    put_usage(row, usage)
    row.rule = f"log/{usage.rule}"
    return row


def _format(name: str) -> str:
    """The name of a format as routes have it."""
    return {"openai-responses": "responses", "openai-response": "responses"}.get(name, name)
