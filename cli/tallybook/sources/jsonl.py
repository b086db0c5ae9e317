"""The fold of a file with a JSON object a line: which lines are read, and which are broken.

Decoding takes nearly all of the time, so a line is decoded only where it is a candidate: it has the
marker of its format in it, or may hide one behind an escape, or it lacks the ends of an object.
What else a line holds, and where in the file it stands, decides nothing. So a broken line is one
problem at any place, but for one that has both ends of an object and no marker: it is passed over
like a whole one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import msgspec

from tallybook.schema import Reported
from tallybook.sources.lines import problem
from tallybook.values import decode

_OPENER, _CLOSER = b"{}"
CLOSERS: Final = b"}\r"
# A letter or an underscore as an escape, as no client writes it.
_ESCAPE: Final = rb"\u00"  # looked for first: a pattern takes four times as long
ESCAPED: Final = re.compile(rb"\\u00(?:[46][1-9a-fA-F]|5[0-9aAfF]|7[0-9aA])")
ANYTHING: Final = re.compile(rb"\S")  # the marker of a format of which every line is read
SPACE: Final = ord(" ")  # and what sorts before it
_BLANKS: Final = re.compile(rb"\s*\n")
# A record, where its line begins and ends in the block, and whether it is sure to be a candidate.
Spans: TypeAlias = Iterable[tuple[int, int, int, bool]]
Look: TypeAlias = Callable[[int, int, int], None]  # at a record, where it begins and ends


class Counting(Protocol):
    """A reader's state; `records` is how many lines of the file were read."""

    records: int


def spans(block: bytes, state: Counting) -> Iterator[tuple[int, int, int, bool]]:
    """Each line that is not blank; counts all of them."""
    begin, record, size = 0, state.records, len(block)
    while begin < size:
        end = block.find(b"\n", begin)
        record += 1
        if end < 0:  # the last one of its file, which may be cut behind any brace
            end = size
            yield record, begin, end, True
        elif block[begin] <= SPACE and (blank := blanks(block, begin)):
            end, more = blank
            record += more
        else:
            yield record, begin, end, False
        begin = end + 1
    state.records = record


def blanks(block: bytes, begin: int) -> tuple[int, int] | None:
    """Where the last of some blank lines ends, and how many follow the first, which begins there.

    None where none does. Gigabytes of them cost no more than to unpack them.
    """
    found = _BLANKS.match(block, begin)
    return found and (found.end() - 1, block.count(b"\n", begin, found.end() - 1))


def candidates(
    block: bytes, marker: re.Pattern[bytes], found: Spans, look: Look | None = None
) -> Iterator[tuple[int, int, int]]:
    """The record, begin and end of each candidate among the lines of `found`; `look` at the others.

    A line that ends where the block does has no line end: it is the last one of its file.
    """
    search = marker.search
    for record, begin, end, is_sure in found:
        if (
            is_sure
            or search(block, begin, end)
            or not _has_ends(block, begin, end)
            or hides(block, begin, end)
        ):
            yield record, begin, end
        elif look is not None:
            look(record, begin, end)


def hides(block: bytes, begin: int, end: int) -> bool:
    """Whether a line may have a key or a word in it that does not show in its bytes."""
    return block.find(_ESCAPE, begin, end) >= 0 and bool(ESCAPED.search(block, begin, end))


def _has_ends(block: bytes, begin: int, end: int) -> bool:
    """Whether a line has the ends of an object, or is blank."""
    if begin < end and block[begin] == _OPENER and block[end - 1] == _CLOSER:
        return True
    line = block[begin:end].strip()
    return not line or (line.startswith(b"{") and line.endswith(b"}"))


def unreadable(record: int, line: bytes, *, is_last: bool) -> Reported:
    """The problem row of a line that is no JSON object: torn at the file's end, else bad."""
    code = "torn-line" if is_last else "bad-line"
    return problem(record, code, f"not a JSON object ({len(line)} bytes)")


RowsOf: TypeAlias = Callable[[dict[str, Any], int], Iterable[Reported]]


def rows(
    block: bytes,
    state: Counting,
    rows_of: RowsOf,
    marker: re.Pattern[bytes] = ANYTHING,
    look: Look = lambda *_: None,
) -> Iterator[Reported]:
    """What `rows_of(object, record)` makes of the candidates, and a problem for each broken one.

    It is for `look` to say what an object is of which no row is made.
    """
    for record, begin, end in candidates(block, marker, spans(block, state), look):
        value = decode(block[begin:end])
        if isinstance(value, dict):
            found = list(rows_of(value, record))
            if not found:
                look(record, begin, end)
            yield from found
        else:
            yield unreadable(record, block[begin:end], is_last=end == len(block))


class Lines(msgspec.Struct, array_like=True):
    """The state of a format in which each line says all that there is to know of it."""

    records: int = 0


class Fold(NamedTuple):
    """The three functions of a `Source`."""

    begin: Callable[[object], Lines]
    read: Callable[[bytes, Lines], tuple[list[Reported], Lines]]
    finish: Callable[[Lines], list[Reported]]


def fold(rows_of: RowsOf, marker: re.Pattern[bytes] = ANYTHING) -> Fold:
    """The fold of such a format, by what one object states."""

    def read(block: bytes, state: Lines) -> tuple[list[Reported], Lines]:
        after = Lines(state.records)
        return list(rows(block, after, rows_of, marker)), after

    return Fold(lambda _: Lines(), read, lambda _: [])
