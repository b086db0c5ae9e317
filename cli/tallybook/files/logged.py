"""Looks into logs once more, at the records of rows: the usage objects as they stand there.

Of a record no more leaves this module than numbers under keys of usage.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tallybook.dialects.streams import merge_stream, stream_events
from tallybook.dialects.usage_objects import Shown, usage_objects
from tallybook.files.blocks import (
    DAMAGE,
    MAX_DOCUMENT_BYTES,
    TooLong,
    beginning,
    document,
    open_log,
    whole_lines,
)
from tallybook.files.objects import at_hand
from tallybook.files.sqlite import connect, is_database
from tallybook.sources import Source, sources
from tallybook.sources.contract import Unpack
from tallybook.sources.lines import Head
from tallybook.sources.sqlite_rows import tables_of
from tallybook.urls import as_path
from tallybook.values import begins, decode

# What became of a log since it was read.
THERE: Final = "there"
GONE: Final = "gone"
UNREAD: Final = "unread"  # it, or the record, cannot be read (again)

_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]|\[([^\]]+)\]")
_BLANKS: Final = re.compile(r"\s*")
_DATA: Final = b"data:"
_BEGUN: Final = b'"message_start"'
_ENDED: Final = b'"message_delta"'
_OPENERS: Final = ("{", "[")


class Record(NamedTuple):
    """Where a row stands: the source, the record in the file, and the part of it."""

    source: str
    record: int
    part: str | None


class Logged(NamedTuple):
    """What a log has at a record: THERE, GONE or UNREAD, why, and the usage objects."""

    state: str
    words: str
    usage: tuple[Shown, ...] = ()


def logged(path: str, records: Iterable[Record]) -> dict[Record, Logged]:
    """What a log has at its records; never raises for what the file is or holds.

    The path is one as rows have it. The log is read once, whatever the number of records.
    """
    wanted = list(dict.fromkeys(records))
    place = as_path(path)
    try:
        found = dict(_read(place, wanted))
    except FileNotFoundError:
        return dict.fromkeys(wanted, Logged(GONE, "the log is gone"))
    except (*DAMAGE, sqlite3.Error, TooLong) as error:
        words = getattr(error, "strerror", None) or type(error).__name__
        return dict.fromkeys(wanted, Logged(UNREAD, f"the log cannot be read: {words}"))
    return {each: _shown(found.get(each)) for each in wanted}


def _shown(value: object) -> Logged:
    if value is None:
        return Logged(UNREAD, "nothing of JSON stands at the record")
    usage = tuple(usage_objects(value))
    return Logged(THERE, "" if usage else "the record has no usage object by itself", usage)


def _read(path: Path, wanted: Sequence[Record]) -> Iterator[tuple[Record, object]]:
    """The values of the records, those of their parts where these can be told."""
    if is_database(path):
        yield from _rows(path, wanted)
        return
    with open_log(path) as read:
        first, pieces, _ = beginning(read)
        source = sources().get(wanted[0].source)
        if source is None or not source.whole(Head(first)):
            values = _lines(pieces, {each.record for each in wanted})
        else:
            values = _values(document(pieces), source)
    missing = [each for each in wanted if values.get(each.record) is None]
    if missing and source is not None:
        with open_log(path) as read:
            values |= _values(document(beginning(read)[1]), source)
    for each in wanted:
        yield each, _part(values.get(each.record), each.part)


def _lines(pieces: Iterable[bytes], numbers: set[int]) -> dict[int, Any]:
    """The values of lines by their number, an event of a stream without what is in front of it."""
    found: dict[int, Any] = {}
    line, last = 0, max(numbers)
    begun: Any = None
    for block in whole_lines(pieces):
        for content in block.removesuffix(b"\n").split(b"\n"):
            line += 1
            if _BEGUN in content:
                begun = decode(content.strip().removeprefix(_DATA))
            if line in numbers:
                value = decode(content.strip().removeprefix(_DATA))
                found[line] = _with_begin(value, begun) if _ENDED in content else value
        if line >= last:
            break
    return found


def _with_begin(value: Any, begun: Any) -> Any:
    """The last counts of a stream of Claude's with its first ones, which have the prompt."""
    return {"message_start": begun, "message_delta": value} if begun is not None else value


def _values(content: bytes, source: Source) -> dict[int, Any]:
    """The records of documents: entries of their lists, else by the line on which they begin."""
    text = content.decode("utf-8", "replace").lstrip("\ufeff")
    found: dict[int, Any] = {}
    position, number = 0, 1
    while (start := _next(text, position)) < len(text):
        known = begins(text, start)
        if known is None:
            position = text.find("\n", start) + 1 or len(text)
            continue
        value, end = known
        line = text.count("\n", 0, start) + 1
        for entry in _entries(value, source):
            found.setdefault(number, entry)
            found.setdefault(line, entry)
            number, line = number + 1, line + 1
        position = end
    return found


def _next(text: str, position: int) -> int:
    blanks = _BLANKS.match(text, position)
    return blanks.end() if blanks else position


def _entries(value: Any, source: Source) -> list[Any]:
    if isinstance(value, list):
        return value
    lists = (value.get(name) for name in source.lists) if isinstance(value, Mapping) else ()
    return next((each for each in lists if isinstance(each, list)), [value])


def _rows(path: Path, wanted: Sequence[Record]) -> Iterator[tuple[Record, object]]:
    with at_hand(path) as copy, connect(copy) as connection:
        connection.text_factory = bytes
        there = tables_of(connection)
        for each in wanted:
            head = re.split(r"[.\[]", each.part or "")[0]
            source = sources().get(each.source)
            tables = [head, *(dict(source.tables).get(head, ()) if source else ())]
            for name in (name for name in tables if name in there):
                row = _row(connection, name, each.record, source.unpack if source else None)
                if row is not None:
                    yield each, _part(row, each.part, name)
                    break


def _row(
    connection: sqlite3.Connection, table: str, number: int, unpack: Unpack | None
) -> dict[str, Any] | None:
    select = f'SELECT * FROM "{table}" WHERE rowid = ?'  # noqa: S608 - a name of ours
    cursor = connection.execute(select, (number,))
    row = cursor.fetchone()
    names = [column[0] for column in cursor.description]
    return None if row is None else {n: _cell(v, unpack) for n, v in zip(names, row, strict=True)}


def _cell(value: Any, unpack: Unpack | None) -> Any:
    """A number, or what a text or a blob holds; other texts are nothing."""
    if not isinstance(value, bytes):
        return value
    if value[:1] in {b"{", b"["} and len(value) <= MAX_DOCUMENT_BYTES:
        return decode(value)
    try:
        return unpack(value) if unpack else None
    except ValueError:
        return None


def _part(value: Any, part: str | None, *skipped: str) -> Any:
    """What a row's `part` of a record names, as far as its steps lead; else the whole record."""
    if part is None or value is None:
        return value
    here = value
    for key, number, name in _STEP.findall(part):
        inner: Any = None
        if key in skipped:
            continue
        if isinstance(here, Mapping):
            # Names of models have dots in them.
            inner = here.get(key or name)
            inner = _longest(here, part) if inner is None else inner
        elif isinstance(here, list) and number and int(number) < len(here):
            inner = here[int(number)]
        inner = _opened(inner)
        if inner is None:
            break
        here = inner
    return here


def _longest(value: Mapping[str, Any], part: str) -> Any:
    return next((each for key, each in value.items() if key and part.endswith(f".{key}")), None)


def _opened(value: Any) -> Any:
    """What a text within a record holds: JSON, or a stream of events."""
    if not isinstance(value, str):
        return value
    if value.lstrip()[:1] in _OPENERS:
        return decode(value)
    return merge_stream(stream_events(value.encode("utf-8", "replace")))
