"""Reads the request details of a database, without the texts that make up most of it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from tallybook.schema import Reported
from tallybook.sources.contract import Tables
from tallybook.sources.lines import problem
from tallybook.sources.ninerouter.details import BARE, CUT, Detail, can_tell, is_alone, opened, rows
from tallybook.sources.ninerouter.sniff import detail_tables
from tallybook.sources.sqlite_rows import rows_of, tables_of
from tallybook.values import begins, decode, text

PLACEHOLDER: Final = "[Streaming - raw response not captured]"
_NOTHING: Final = msgspec.Raw()
_Part = TypeVar("_Part", bound=msgspec.Struct)


class Inside(msgspec.Struct):
    """What of a part of an answer, a request or an envelope is looked at."""

    usage: Any = None
    usageMetadata: Any = None  # noqa: N815 - the key of the log
    responseId: Any = None  # noqa: N815
    modelVersion: Any = None  # noqa: N815
    id: Any = None
    model: Any = None
    user_id: Any = None


class Body(Inside):
    """What of a provider's answer is looked at: never its texts."""

    type: Any = None
    object: Any = None
    created: Any = None
    created_at: Any = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    prompt_eval_cached_count: Any = None
    done: Any = None
    response: msgspec.Raw = _NOTHING
    data: msgspec.Raw = _NOTHING
    preview: Any = msgspec.field(default=None, name="_preview")


class Request(msgspec.Struct):
    """What of a client's request, or of the provider's, is looked at."""

    metadata: msgspec.Raw = _NOTHING
    messages: msgspec.Raw = _NOTHING
    input: msgspec.Raw = _NOTHING
    client_metadata: msgspec.Raw = _NOTHING
    prompt_cache_key: Any = None
    type: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None


class Item(msgspec.Struct):
    """What of a message or an item of a request is looked at."""

    type: Any = None
    role: Any = None
    call_id: Any = None
    tool_call_id: Any = None
    tool_use_id: Any = None
    thread_id: Any = None
    content: msgspec.Raw = _NOTHING


class Record(msgspec.Struct):
    """A stored request."""

    id: Any = None
    provider: Any = None
    model: Any = None
    connectionId: Any = None  # noqa: N815 - the key of the log
    timestamp: Any = None
    status: Any = None
    latency: Any = None
    tokens: Any = None
    request: msgspec.Raw = _NOTHING
    providerRequest: msgspec.Raw = _NOTHING  # noqa: N815
    providerResponse: msgspec.Raw = _NOTHING  # noqa: N815
    response: msgspec.Raw = _NOTHING


_RECORD: Final = msgspec.json.Decoder(Record)
_BODY: Final = msgspec.json.Decoder(Body)
_PARTS: Final[dict[type[msgspec.Struct], msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Inside, Request, Item)
}
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_RESULTS: Final = frozenset({"function_call_output", "custom_tool_call_output", "tool_result"})
_OF_MODEL: Final = frozenset({"function_call", "custom_tool_call", "reasoning"})
_MOST_ITEMS: Final = 64  # behind the last answer of the model


def decode_detail(number: int, content: bytes) -> Detail | None:
    """The detail that a JSON document states; None where it is none."""
    found = decode(content, _RECORD)
    if found is None:
        return None
    detail = _detail(number, partial(getattr, found))
    detail.connection = text(found.connectionId)
    take_answer(detail, bytes(found.providerResponse).strip())
    take_request(detail, found.request, found.providerRequest, found.response)
    return detail


def _detail(number: int, stated: Callable[[str], Any]) -> Detail:
    """The detail with what is `stated` under the names that a document has for it too."""
    known: dict[str, Any] = {name: stated(name) for name in ("timestamp", "latency", "tokens")}
    known |= {name: text(stated(name)) for name in ("id", "provider", "model", "status")}
    return Detail(record=number, **known)


def take_answer(detail: Detail, answer: bytes) -> None:
    """Puts in what the provider's answer says of its call; `answer` is JSON."""
    detail.is_placeholder = PLACEHOLDER.encode() == answer.strip(b'"')
    detail.body, detail.body_state = opened(_body(answer))
    if answer == b"{}":
        detail.body_state = BARE


def take_request(
    detail: Detail, request: msgspec.Raw, sent: msgspec.Raw, response: msgspec.Raw
) -> None:
    """Puts in who asked, and how the client was answered."""
    asked, forwarded = (_part_of_document(part, Request) for part in (request, sent))
    users = (_part_of_document(part.metadata, Inside).user_id for part in (asked, forwarded))
    detail.user_id = next(filter(None, users), None)
    named = _part_of_document(forwarded.client_metadata, Item).thread_id
    detail.cache_key = text(named) or forwarded.prompt_cache_key
    bodies = (asked.messages, asked.input, forwarded.messages, forwarded.input)
    detail.tool_ids = next(filter(None, map(_newest_results, bodies)), None)
    limits = (
        (r.max_tokens, r.max_completion_tokens, r.max_output_tokens) for r in (forwarded, asked)
    )
    detail.limit = next((each for some in limits for each in some if each is not None), None)
    detail.kind = text(_part_of_document(response, Request).type)


def _newest_results(items: msgspec.Raw) -> list[str] | None:
    """The tool calls whose results the request brings, which the model has not answered yet."""
    every = decode(bytes(items), _ITEMS)
    found: list[Any] = []
    for raw in reversed(every[-_MOST_ITEMS:] if isinstance(every, list) else []):
        item = _part_of_document(raw, Item)
        if item.role == "assistant" or item.type in _OF_MODEL:
            break
        found += [item.tool_call_id, item.call_id if item.type in _RESULTS else None]
        blocks = decode(bytes(item.content), _ITEMS)
        for each in blocks if isinstance(blocks, list) else []:
            block = _part_of_document(each, Item)
            found.append(block.tool_use_id if block.type in _RESULTS else None)
    return [name for name in map(text, found) if name] or None


def _begun_detail(number: int, head: bytes) -> Detail:
    """The detail as far as the beginning of its document says; texts come behind the counts."""
    return _detail(number, partial(_after, head.decode("utf-8", "replace")))


def _after(beginning: str, key: str) -> Any:
    """The value behind a key in the beginning of a document that breaks off somewhere."""
    found = re.search(rf'"{key}"\s*:\s*', beginning)
    value = begins(beginning, found.end()) if found else None
    return value[0] if value else None


def _part_of_document(raw: msgspec.Raw, kind: type[_Part]) -> _Part:
    """What of a part is looked at; nothing where it is not there, or something else."""
    found = decode(bytes(raw), _PARTS[kind])
    return found if isinstance(found, kind) else kind()


def _body(answer: bytes) -> dict[str, Any]:
    """What of an answer is looked at, as it was nested; nothing where it is a text."""
    body = decode(answer, _BODY)
    if body is None:
        return {}
    found = _stated(body)
    for name in ("response", "data"):
        found[name] = _stated(_part_of_document(found[name], Inside)) or None
    if "preview" in found:
        found["_preview"] = found.pop("preview")
    return {name: value for name, value in found.items() if value is not None}


def _stated(part: Inside) -> dict[str, Any]:
    return {key: value for key, value in msgspec.structs.asdict(part).items() if value is not None}


_BATCH_ROWS: Final = 200
_HEAD_BYTES: Final = 64 << 10  # the counts stand before the texts
_LARGEST: Final = 32 << 20  # more than four texts of the largest size that can be set
_LARGEST_STREAMED: Final = 8 << 20  # the request of one tells who asked
_DOCUMENT: Final = "data"
# The parts of a detail that has a column for each.
_SMALL: Final = ("id", "provider", "model", "connection", "timestamp", "status")
_LATENCY, _TOKENS = "latency", "tokens"
_REQUEST, _SENT, _ANSWER, _RESPONSE = (
    "request",
    "provider_request",
    "provider_response",
    "response",
)


class Layout(NamedTuple):
    """A table of details, with the columns that hold what is small and those that hold JSON."""

    table: str
    small: tuple[str, ...]  # id, provider, model, connection, timestamp, status
    parts: tuple[str, ...]


class _Place(NamedTuple):
    """Where details are read from; `usage` is where it can be told which have no usage row."""

    connection: sqlite3.Connection
    layout: Layout
    is_copy: bool
    usage: sqlite3.Connection | None


def _layouts(found: Tables) -> Iterator[Layout]:
    for name, is_document in detail_tables(found).items():
        columns = found[name]
        link = "connectionId" if "connectionId" in columns else "connection_id"
        wanted = ("id", "provider", "model", link, "timestamp", "status")
        small = tuple(column if column in columns else "NULL" for column in wanted)
        named = (_LATENCY, _TOKENS, _REQUEST, _SENT, _ANSWER, _RESPONSE)
        parts = tuple(part for part in named if part in columns)
        yield Layout(name, small, (_DOCUMENT,) if is_document else parts)


def detail_rows(
    connection: sqlite3.Connection,
    found: Tables,
    gaps: list[Reported],
    beside: sqlite3.Connection,
    *,
    is_copy: bool,
) -> Iterator[list[Reported]]:
    """The rows of every detail; texts are passed over, and never more than one is in memory.

    `beside` holds the usage rows that lie beside a database which has none.
    """
    places = ((connection, found), (beside, tables_of(beside)))
    usage = next((rows for rows, there in places if can_tell(rows, there)), None)
    for layout in _layouts(found):
        place = _Place(connection, layout, is_copy, usage)
        for batch in rows_of(connection, layout.table, layout.small, gaps, _BATCH_ROWS):
            yield [row for each in batch for row in _rows(place, each)]


def _rows(place: _Place, values: Sequence[Any]) -> list[Reported]:
    number, *small = values
    words = (*map(text, small[:4]), small[4], text(small[5]))
    known: dict[str, Any] = dict(zip(_SMALL, words, strict=True))
    try:
        if place.layout.parts == (_DOCUMENT,):
            detail, is_whole = _from_document(place, number, known)
        else:
            detail, is_whole = _from_parts(place, number, known), True
        for name, value in known.items():
            setattr(detail, name, value if value is not None else getattr(detail, name))
        detail.is_alone = place.usage is not None and is_alone(place.usage, detail)
    except sqlite3.DatabaseError as error:
        table = place.layout.table
        row = problem(number, "truncated", f"{table} row {number}: {error}")
        row.part = table
        return [row]
    detail.is_copy = place.is_copy
    made = rows(detail)
    if not is_whole:
        for row in made:
            row.problems = [*(row.problems or []), "bad-line"]
    return made


def _from_document(place: _Place, number: int, known: dict[str, Any]) -> tuple[Detail, bool]:
    """The detail of a row with one document, and whether that is sound as far as it was read.

    Of a very long one only the beginning is read; the answer to a stream is a text anyway.
    """
    connection, name = place.connection, place.layout.table
    with connection.blobopen(name, _DOCUMENT, number, readonly=True) as blob:
        head, size = blob.read(_HEAD_BYTES), len(blob)
        streamed = Detail(record=number, id=known["id"]).streamed
        is_too_long = size > (_LARGEST_STREAMED if streamed else _LARGEST)
        whole = None if is_too_long else decode_detail(number, head + blob.read())
    if whole is not None:
        return whole, True
    detail = _begun_detail(number, head)
    has_text = streamed and size > _HEAD_BYTES
    detail.body_state = None if has_text else CUT
    return detail, (is_too_long or has_text) and detail.tokens is not None


def _from_parts(place: _Place, number: int, known: dict[str, Any]) -> Detail:
    """The detail of a row with a JSON text for each of its parts, cut short by some builds."""
    detail = Detail(record=number, **known)
    connection, layout, streamed = place.connection, place.layout, detail.streamed
    read = {
        part: _part(connection, layout.table, part, number)
        for part in layout.parts
        if part in (_LATENCY, _TOKENS, _RESPONSE) or not (streamed and part == _ANSWER)
    }
    detail.latency, detail.tokens = _json(read.get(_LATENCY)), _json(read[_TOKENS])
    answer = read.get(_ANSWER)
    if answer is None:
        answer = _part(connection, layout.table, _ANSWER, number, most=_HEAD_BYTES)
    take_answer(detail, answer.strip())
    if answer and not streamed and _json(answer) is None:
        detail.body_state = CUT
    take_request(
        detail, *(msgspec.Raw(read.get(part, b"")) for part in (_REQUEST, _SENT, _RESPONSE))
    )
    return detail


def _part(
    connection: sqlite3.Connection, name: str, part: str, number: int, most: int = _LARGEST
) -> bytes:
    """The beginning of one column, all of it where it is no longer than `most`; empty for NULL."""
    try:
        with connection.blobopen(name, part, number, readonly=True) as blob:
            return blob.read(most)
    except sqlite3.OperationalError as error:
        if "null" in str(error):
            return b""
        raise


def _json(content: bytes | None) -> Any:
    return decode(content) if content else None
