"""Decodes Erlang's external term format into plain values.

A run store rewrites a run's row, transcript and all, with every update. Its reader therefore looks
at the key of each row and builds the value of the last one only, which is why the decoder is one
that can stop and go on anywhere.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from tallybook.schema import SUMMARY, Reported
from tallybook.sources import lines
from tallybook.sources.symphony.runs import part_of_run, run_row, totals_row
from tallybook.sources.symphony.state import State
from tallybook.sources.symphony.transcripts import event_rows

VERSION: Final = 131  # first byte of every encoded term
_COMPRESSED: Final = 80
_U16, _U32 = struct.Struct(">H"), struct.Struct(">I")
_I32, _F64 = struct.Struct(">i"), struct.Struct(">d")
_WORDS: Final = {"nil": None, "undefined": None, "true": True, "false": False}
_MAX_PLAIN: Final = 256 << 20  # a compressed term that claims more is damaged


class TermError(ValueError):
    """The bytes are no encoded term, or only its beginning."""


class Opaque:
    """A process, port, reference or function: nothing that a count could depend on."""


class Cursor:
    """Reads terms one after the other from `data`; raises TermError where there is none.

    Atoms and binaries become text (`nil` and `undefined` None, `true` and `false` booleans),
    tuples tuples, lists lists, maps dicts; a list of small numbers, which is also how Erlang
    writes text, stays a list.
    """

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    def term(self) -> Any:
        """The next term, built whole."""
        try:
            return self._term()
        except TermError:
            raise
        except (IndexError, struct.error, RecursionError, OverflowError, ValueError) as error:
            raise TermError(type(error).__name__) from error

    def begins_tuple(self) -> bool:
        """Whether the next term is a tuple."""
        return self.data[self.position : self.position + 1] in (b"h", b"i")

    def tuple_size(self) -> int:
        """The number of elements of the tuple that begins here; the cursor moves to the first."""
        tag = self._byte()
        if tag in (104, 105):
            return self._byte() if tag == 104 else self._unpack(_U32)
        raise TermError(f"no tuple but tag {tag}")

    def list_size(self) -> int:
        """The same for a list; an empty one has no elements and no tail."""
        tag = self._byte()
        if tag in (106, 108):
            return 0 if tag == 106 else self._unpack(_U32)
        raise TermError(f"no list but tag {tag}")

    def _byte(self) -> int:
        position = self.position
        if position >= len(self.data):
            raise TermError("the term ends early")
        self.position = position + 1
        return self.data[position]

    def _unpack(self, form: struct.Struct) -> Any:
        return form.unpack(self._take(form.size))[0]

    def _take(self, size: int) -> bytes:
        position = self.position
        self.position = position + size
        if self.position > len(self.data):
            raise TermError("the term ends early")
        return self.data[position : self.position]

    def _term(self) -> Any:
        tag = self._byte()
        read = _READERS.get(tag)
        if read is None:
            raise TermError(f"unknown tag {tag}")
        return read(self)

    def _terms(self, size: int) -> list[Any]:
        term = self._term
        return [term() for _ in range(size)]

    def _atom(self, size: int) -> str | bool | None:
        name = self._take(size).decode("utf-8", "replace")
        return _WORDS.get(name, name)

    def _list(self) -> list[Any]:
        items = self._terms(self._unpack(_U32))
        tail = self._term()
        return items if tail == [] else [*items, tail]

    def _map(self) -> dict[Any, Any]:
        pairs = ((hashable(self._term()), self._term()) for _ in range(self._unpack(_U32)))
        return dict(pairs)

    def _integer(self, size: int) -> int:
        negative = self._byte()
        value = int.from_bytes(self._take(size), "little")
        return -value if negative else value

    def _opaque(self, size: int) -> Opaque:
        """A node's name and `size` bytes of numbers."""
        self._term()
        self._take(size)
        return Opaque()

    def _reference(self, creation: int) -> Opaque:
        words = self._unpack(_U16)
        return self._opaque(creation + 4 * words)

    def _function(self) -> Opaque:
        self._take(self._unpack(_U32) - 4)
        return Opaque()

    def _export(self) -> Opaque:
        self._terms(3)
        return Opaque()


_READERS: Final[dict[int, Callable[[Cursor], Any]]] = {
    70: lambda cursor: cursor._unpack(_F64),
    77: lambda cursor: (cursor._unpack(_U32), cursor._byte(), Opaque())[2],
    88: lambda cursor: cursor._opaque(12),
    89: lambda cursor: cursor._opaque(8),
    90: lambda cursor: cursor._reference(4),
    97: Cursor._byte,
    98: lambda cursor: cursor._unpack(_I32),
    99: lambda cursor: float(cursor._take(31).rstrip(b"\0")),
    100: lambda cursor: cursor._atom(cursor._unpack(_U16)),
    102: lambda cursor: cursor._opaque(5),
    103: lambda cursor: cursor._opaque(9),
    104: lambda cursor: tuple(cursor._terms(cursor._byte())),
    105: lambda cursor: tuple(cursor._terms(cursor._unpack(_U32))),
    106: lambda _: [],
    107: lambda cursor: list(cursor._take(cursor._unpack(_U16))),
    108: Cursor._list,
    109: lambda cursor: cursor._take(cursor._unpack(_U32)).decode("utf-8", "replace"),
    110: lambda cursor: cursor._integer(cursor._byte()),
    111: lambda cursor: cursor._integer(cursor._unpack(_U32)),
    112: Cursor._function,
    113: Cursor._export,
    114: lambda cursor: cursor._reference(1),
    115: lambda cursor: cursor._atom(cursor._byte()),
    116: Cursor._map,
    118: lambda cursor: cursor._atom(cursor._unpack(_U16)),
    119: lambda cursor: cursor._atom(cursor._byte()),
    120: lambda cursor: cursor._opaque(12),
}


def hashable(key: Any) -> Any:
    """The key of a map or a row; a tuple may hold a list or a map at any depth."""
    try:
        hash(key)
    except TypeError:
        return repr(key)
    return key


def opened(encoded: bytes) -> Cursor:
    """A cursor at the one term that `encoded` holds behind its version byte."""
    if encoded[:1] != bytes([VERSION]):
        raise TermError("no encoded term")
    if encoded[1:2] != bytes([_COMPRESSED]):
        return Cursor(encoded, 1)
    size = int.from_bytes(encoded[2:6], "big")
    if size > _MAX_PLAIN:
        raise TermError("a compressed term of an impossible size")
    try:
        return Cursor(zlib.decompressobj().decompress(encoded[6:], size))
    except zlib.error as error:
        raise TermError(str(error)) from error


_ITEM: Final = b"bWLA"
_HEAD: Final = 8
_LARGE: Final = 65528  # from this size on a digest of the size stands between head and content
_DIGEST: Final = 16


class Item(NamedTuple):
    """The place of an item in the file, counted from 1, and its content; None where damaged."""

    number: int
    content: bytes | None


def items(data: bytes) -> Iterator[Item]:
    """The items in order. Behind damage the search goes on at the next item's mark."""
    position, number = _HEAD, 0
    while position < len(data):
        number += 1
        content, after = _item(data, position)
        yield Item(number, content)
        if content is None:
            # Bytes of an unfinished write lie behind the last item of a log that was left open.
            mark = data.find(_ITEM, position + _HEAD)
            after = mark - 4 if mark >= 0 else len(data)
        position = after


def _item(data: bytes, position: int) -> tuple[bytes | None, int]:
    """The content of the item at `position` and where the next begins."""
    if data[position + 4 : position + _HEAD] != _ITEM:
        return None, position
    size = int.from_bytes(data[position : position + 4], "big")
    start = position + _HEAD + (_DIGEST if size >= _LARGE else 0)
    content = data[start : start + size]
    return (content, start + size) if len(content) == size else (None, position)


_NAME: Final = b"symphony_run_store_"
_RUNS: Final = "symphony_run_store_runs"
_EVALS: Final = "symphony_run_store_eval_logs"
_TOTALS: Final = "symphony_run_store_totals"
_TABLES: Final = frozenset({_RUNS, _EVALS, _TOTALS})
_COMMIT: Final = 8  # elements of a transaction in the log that is not yet carried over
_CHANGE: Final = 3  # elements of a change: what of, the row, what was done
_BEFORE_CHANGES: Final = 3  # elements of a transaction between its name and the changes on disk


class TableRowPosition(NamedTuple):
    """Where a table's row stands: its item and the position in that item's content."""

    record: int
    change: int | None  # place among the changes of a transaction
    position: int
    content: bytes

    def part(self, name: str | None = None) -> str | None:
        """What a row of `name` inside of this one is called."""
        names = (None if self.change is None else f"changes[{self.change}]", name)
        return ".".join(filter(None, names)) or None


def read_store(block: bytes, state: State) -> Iterator[Reported]:
    """The rows of one file of the store.

    Every write states a run anew, so of each key the last one counts. A run that was deleted later
    was paid for all the same. Several files of a store that state one run are settled as any
    records of one run are.
    """
    last: dict[Any, TableRowPosition] = {}
    for item in items(block):
        state.records = item.number
        try:
            last.update(_written(item))
        except TermError as error:
            yield lines.problem(item.number, "bad-record", f"no term of Erlang's: {error}")
    for (table, _), place in sorted(last.items(), key=lambda written: written[1]):
        yield from _rows(table, place)


def _written(item: Item) -> Iterator[tuple[tuple[str, Any], TableRowPosition]]:
    """Table and key of every row of ours that the item writes, and where the row stands."""
    if item.content is None:
        raise TermError("the item is cut off or damaged")
    if _NAME not in item.content:
        return
    cursor = opened(item.content)
    begin = cursor.position
    size = cursor.tuple_size()
    inner = cursor.position
    first = cursor.term()
    if isinstance(first, str) and first in _TABLES:
        yield (
            (first, hashable(cursor.term())),
            TableRowPosition(item.number, None, begin, cursor.data),
        )
    elif size == _CHANGE and isinstance(first, tuple):
        yield from _changed(Cursor(cursor.data, inner), item.number, None)
    elif size == _COMMIT and first == "commit":
        yield from _committed(cursor, item.number)


def _committed(cursor: Cursor, record: int) -> Iterator[tuple[tuple[str, Any], TableRowPosition]]:
    for _ in range(_BEFORE_CHANGES):
        cursor.term()
    size = cursor.list_size()
    for change in range(size):
        if cursor.tuple_size() != _CHANGE:
            raise TermError("no change of a table")
        yield from _changed(cursor, record, change)
        if change < size - 1:
            # The row, which may be overwritten later, and what was done with it.
            cursor.term()
            cursor.term()


def _changed(
    cursor: Cursor, record: int, change: int | None
) -> Iterator[tuple[tuple[str, Any], TableRowPosition]]:
    """A change, read up to its row; what deletes writes the key alone in the row's place."""
    what = cursor.term()
    if not isinstance(what, tuple) or len(what) != 2:
        return
    table, key = what
    if not isinstance(table, str) or table not in _TABLES:
        return
    row = Cursor(cursor.data, cursor.position)
    if row.begins_tuple() and row.tuple_size() > 2:
        yield (table, hashable(key)), TableRowPosition(record, change, cursor.position, cursor.data)


def _rows(table: str, place: TableRowPosition) -> Iterator[Reported]:
    try:
        row = Cursor(place.content, place.position).term()
    except TermError as error:
        yield lines.problem(place.record, "bad-record", f"no term of Erlang's: {error}")
        return
    stated = row[-1] if isinstance(row, tuple) and row else None
    if not isinstance(stated, Mapping):
        yield lines.problem(place.record, "bad-record", "a row without its map")
        return
    for made in _stated(table, stated, place):
        if made is not None:
            made.block_index = made.block_index or place.change
            yield made


def _stated(
    table: str, stated: Mapping[str, Any], place: TableRowPosition
) -> Iterator[Reported | None]:
    record, part = place.record, place.part
    if table == _TOTALS:
        yield totals_row(stated, record, part(), None)
        return
    yield run_row(stated, record, part(), SUMMARY)
    if table == _RUNS:
        inside = part("reviewer_tokens") or ""
        yield part_of_run(stated, "reviewer_tokens", record, inside, "reviewer")
        events = stated.get("transcript_buffer")
        yield from event_rows(stated, events, record, part("transcript_buffer") or "")
