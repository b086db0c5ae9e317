"""Reads the request details of a database, without the texts that make up most of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from tallybook.schema import Reported
from tallybook.sources.contract import Tables
from tallybook.sources.ninerouter.bodies import BARE, CUT, opened
from tallybook.sources.ninerouter.details import Detail, rows
from tallybook.sources.rows import table
from tallybook.sources.salvage import Gap, batches, lost

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS: Final = 200
_HEAD_BYTES: Final = 4096  # the token object stands before the texts
PLACEHOLDER: Final = "[Streaming - raw response not captured]"
_OF_BODY: Final = (
    "id",
    "type",
    "object",
    "model",
    "modelVersion",
    "responseId",
    "created",
    "created_at",
    "usage",
    "usageMetadata",
    "prompt_eval_count",
    "eval_count",
    "prompt_eval_cached_count",
    "done",
    "response.usageMetadata",
    "response.responseId",
    "response.modelVersion",
    "data.usage",
    "data.id",
    "data.model",
    "_preview",
)
_STATES: Final = {"object": BARE, "cut": CUT}
_decode: Final = json.JSONDecoder().raw_decode


class Layout(NamedTuple):
    """A table of details: expressions for what `Detail` needs, in the order of `_NAMES`."""

    table: str
    expressions: tuple[str, ...]


_NAMES: Final = (
    "record",
    "id",
    "provider",
    "model",
    "connection",
    "timestamp",
    "status",
    "tokens",
    "latency",
    "user_id",
    "cache_key",
    "kind",
    "body",
    "body_type",
    "is_placeholder",
    "head",
)


def detail_layouts(found: Tables) -> list[Layout]:
    """The tables of details in a database, of the present form and of the one before."""
    layouts = []
    for name in ("requestDetails", "request_details"):
        columns = found.get(name, frozenset())
        if {"id", "timestamp", "data"} <= columns:
            connection = "connectionId" if "connectionId" in columns else "connection_id"
            layouts.append(Layout(name, _of_documents(columns, connection)))
        elif {"id", "timestamp", "tokens", "provider_response"} <= columns:
            layouts.append(Layout(name, _of_columns(columns)))
    return layouts


def _of_documents(columns: frozenset[str], connection: str) -> tuple[str, ...]:
    """One JSON document a row; what cannot be parsed still shows its beginning."""

    def inside(path: str) -> str:
        return f"CASE WHEN json_valid(data) THEN json_extract(data, '$.{path}') END"

    answer = "json_extract(data, '$.providerResponse')"
    body = ", ".join(f"'$.providerResponse.{path}'" for path in _OF_BODY)
    return (
        "rowid",
        "id",
        *_or_null(columns, "provider", "model", connection),
        "timestamp",
        *_or_null(columns, "status"),
        inside("tokens"),
        inside("latency"),
        inside("request.metadata.user_id"),
        inside("providerRequest.prompt_cache_key"),
        inside("response.type"),
        f"CASE WHEN json_valid(data) THEN json_extract(data, {body}) END",
        _type("data", "'$.providerResponse'"),
        f"CASE WHEN json_valid(data) THEN {answer} = '{PLACEHOLDER}' END",
        f"CASE WHEN NOT json_valid(data) THEN substr(data, 1, {_HEAD_BYTES}) END",
    )


def _of_columns(columns: frozenset[str]) -> tuple[str, ...]:
    """A column for each part of a detail, JSON text each, cut short by the first builds."""

    def inside(column: str, path: str) -> str:
        if column not in columns:
            return "NULL"
        return f"CASE WHEN json_valid({column}) THEN json_extract({column}, '$.{path}') END"

    body = ", ".join(f"'$.{path}'" for path in _OF_BODY)
    return (
        "rowid",
        "id",
        *_or_null(columns, "provider", "model", "connection_id"),
        "timestamp",
        *_or_null(columns, "status", "tokens", "latency"),
        inside("request", "metadata.user_id"),
        inside("provider_request", "prompt_cache_key"),
        inside("response", "type"),
        f"CASE WHEN json_valid(provider_response) THEN json_extract(provider_response, {body}) END",
        _type("provider_response", "'$'"),
        f"provider_response = '\"{PLACEHOLDER}\"'",
        "NULL",
    )


def _type(column: str, path: str) -> str:
    """`object` where the answer is an empty object, `cut` where its column is no JSON."""
    empty = f"json_extract({column}, {path}) = '{{}}'"
    return (
        f"CASE WHEN {column} IS NULL THEN NULL WHEN NOT json_valid({column}) THEN 'cut'"
        f" WHEN {empty} THEN json_type({column}, {path}) END"
    )


def _or_null(columns: frozenset[str], *names: str) -> tuple[str, ...]:
    return tuple(f'"{name}"' if name in columns else "NULL" for name in names)


def detail_rows(
    connection: sqlite3.Connection, found: Tables, gaps: list[Reported], *, is_copy: bool
) -> Iterator[pa.Table]:
    """The rows of every detail; only what says something of the call is taken out of its texts."""
    for layout in detail_layouts(found):
        select = (
            f'SELECT {", ".join(layout.expressions)} FROM "{layout.table}" '  # noqa: S608 - our own
            "WHERE rowid > :after ORDER BY rowid LIMIT :size"
        )
        for batch in batches(connection, select, _BATCH_ROWS):
            if isinstance(batch, Gap):
                gaps.append(lost(batch, layout.table))
            else:
                yield table([row for each in batch for row in _rows(each, is_copy=is_copy)])


def _rows(values: Sequence[Any], *, is_copy: bool) -> list[Reported]:
    given: dict[str, Any] = dict(zip(_NAMES, values, strict=True))
    head = given.pop("head")
    for name in ("tokens", "latency"):
        given[name] = _json(given[name]) if head is None else _after(head, name)
    given["is_placeholder"] = bool(given["is_placeholder"])
    body, state = opened(_nested(given["body"]))
    body_type = given.pop("body_type")
    given["body"] = body
    given["body_state"] = _STATES.get(body_type, state)
    found = rows(Detail(**given, is_copy=is_copy))
    if head is not None:
        for row in found:
            row.problems = [*(row.problems or []), "bad-line"]
    return found


def _nested(text: Any) -> dict[str, Any]:
    """What of an answer says something of its call, nested as it was."""
    stated = _json(text)
    body: dict[str, Any] = {}
    for path, value in zip(_OF_BODY, stated, strict=True) if isinstance(stated, list) else ():
        if value is not None:
            outer, _, inner = path.rpartition(".")
            (body.setdefault(outer, {}) if outer else body)[inner] = value
    return body


def _json(text: Any) -> Any:
    if not isinstance(text, (str, bytes)):
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def _after(head: str, key: str) -> Any:
    """The object behind a key in the beginning of a document that breaks off somewhere."""
    place = head.find(f'"{key}":')
    try:
        return _decode(head, place + len(key) + 3)[0] if place >= 0 else None
    except (ValueError, RecursionError):
        return None
