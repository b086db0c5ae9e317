"""Reads the request details of a database, without the texts that make up most of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from tallybook.schema import PROBLEM, Reported
from tallybook.sources.contract import Tables
from tallybook.sources.ninerouter.bodies import CUT
from tallybook.sources.ninerouter.detailjson import (
    begun_detail,
    decode_detail,
    take_answer,
    take_request,
)
from tallybook.sources.ninerouter.details import Detail, rows
from tallybook.sources.ninerouter.orphans import can_tell, is_alone
from tallybook.sources.salvage import Gap, batches, lost
from tallybook.values import decode, text

if TYPE_CHECKING:
    pass

_BATCH_ROWS: Final = 200
_HEAD_BYTES: Final = 64 << 10  # the counts stand before the texts
_LARGEST: Final = 32 << 20  # more than four texts of the largest size that can be set
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
    """Where details are read from; `tells`: it can be told which of them have no usage row."""

    connection: sqlite3.Connection
    layout: Layout
    is_copy: bool
    tells: bool


def detail_layouts(found: Tables) -> list[Layout]:
    """The tables of details in a database, of the present form and of the one before."""
    layouts = []
    for name in ("requestDetails", "request_details"):
        columns = found.get(name, frozenset())
        link = "connectionId" if "connectionId" in columns else "connection_id"
        wanted = ("id", "provider", "model", link, "timestamp", "status")
        small = tuple(column if column in columns else "NULL" for column in wanted)
        if {"id", "timestamp", _DOCUMENT} <= columns:
            layouts.append(Layout(name, small, (_DOCUMENT,)))
        elif {"id", "timestamp", _TOKENS, _ANSWER} <= columns:
            named = (_LATENCY, _TOKENS, _REQUEST, _SENT, _ANSWER, _RESPONSE)
            layouts.append(Layout(name, small, tuple(part for part in named if part in columns)))
    return layouts


def detail_rows(
    connection: sqlite3.Connection, found: Tables, gaps: list[Reported], *, is_copy: bool
) -> Iterator[list[Reported]]:
    """The rows of every detail; texts are passed over, and never more than one is in memory."""
    tells = can_tell(connection, found)
    for layout in detail_layouts(found):
        place = _Place(connection, layout, is_copy, tells)
        select = (
            f'SELECT rowid, {", ".join(layout.small)} FROM "{layout.table}" '  # noqa: S608 - our own
            "WHERE rowid > :after ORDER BY rowid LIMIT :size"
        )
        for batch in batches(connection, select, _BATCH_ROWS):
            if isinstance(batch, Gap):
                gaps.append(lost(batch, layout.table))
            else:
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
        detail.is_alone = place.tells and is_alone(place.connection, detail)
    except sqlite3.DatabaseError as error:
        return [_unreadable(number, place.layout.table, str(error))]
    detail.is_copy = place.is_copy
    made = rows(detail)
    if not is_whole:
        for row in made:
            row.problems = [*(row.problems or []), "bad-line"]
    return made


def _unreadable(number: int, name: str, words: str) -> Reported:
    said = f"{name} row {number}: {words}"
    return Reported(
        record=number, part=name, kind=PROBLEM, calls=None, problems=["truncated"], detail=said
    )


def _from_document(place: _Place, number: int, known: dict[str, Any]) -> tuple[Detail, bool]:
    """The detail of a row with one document, and whether that is sound as far as it was read.

    Of a long one only the beginning is read, if the answer was streamed: a text is all it has.
    """
    connection, name = place.connection, place.layout.table
    with connection.blobopen(name, _DOCUMENT, number, readonly=True) as blob:
        head, size = blob.read(_HEAD_BYTES), len(blob)
        is_short = size <= _HEAD_BYTES
        streamed = Detail(record=number, id=known["id"]).streamed
        if not is_short and (streamed or size > _LARGEST):
            detail = begun_detail(number, head)
            detail.body_state = None if streamed else CUT
            return detail, detail.tokens is not None
        content = head + blob.read()
    whole = decode_detail(number, content)
    return (whole, True) if whole is not None else (begun_detail(number, head), False)


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
