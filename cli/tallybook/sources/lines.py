"""What all readers need of a file's bytes: its head, its lines by a marker, a problem's row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from tallybook.schema import PROBLEM, Reported
from tallybook.values import decode

_BOM = b"\xef\xbb\xbf"
HEAD_BYTES = 256 << 10  # what a source recognises a file by
_LOOKED_AT = 128  # lines; no source looks at more of them
# An array of objects. Another bracket begins a line of words, as wrappers of a program print them.
ARRAY = re.compile(rb"\s*\[\s*(?:[{\]]|\Z)")


class Head:
    """The first bytes of a file, its first lines decoded once for all who look at it."""

    def __init__(self, content: bytes) -> None:
        self._block = content  # of which a copy, once a file, would take longer than a look at it
        self._begin = len(_BOM) if content.startswith(_BOM) else 0
        self._end = min(len(content), HEAD_BYTES)
        self._values: list[object] = []
        self._undecoded = _lines(content, self._begin, self._end)

    @cached_property
    def content(self) -> bytes:
        """The bytes themselves."""
        return self._block[self._begin : self._end]

    def begins(self, mark: re.Pattern[bytes]) -> bool:
        """Whether the file begins as a mark does."""
        return mark.match(self._block, self._begin, self._end) is not None

    @cached_property
    def lines(self) -> list[bytes]:
        """The first lines that are not blank; the last one may be cut off."""
        return list(_lines(self._block, self._begin, self._end))

    def values(self, most: int) -> Iterator[object]:
        """The JSON values of the first lines; None for a line that holds none."""
        for number in range(most):
            if number == len(self._values):
                line = next(self._undecoded, None)
                if line is None:
                    return
                self._values.append(decode(line))
            yield self._values[number]

    def objects(self, most: int) -> Iterator[dict[str, Any]]:
        """Those of the first lines' values that are objects."""
        return (value for value in self.values(most) if isinstance(value, dict))


def _lines(block: bytes, begin: int, limit: int) -> Iterator[bytes]:
    """The first lines that are not blank, one by one: the first tells most files.

    No head is held by them, which nothing would let go of before the garbage is looked for.
    """
    for _ in range(_LOOKED_AT):
        end = block.find(b"\n", begin, limit)
        line = block[begin : end if end >= 0 else limit]
        if line and not line.isspace():
            yield line
        if end < 0:
            return
        begin = end + 1


def scan(block: bytes, marker: re.Pattern[bytes], first: int) -> Iterator[tuple[int, bytes]]:
    """(record, line) of each line that holds `marker`; `first` is the record of the first line."""
    start, position, record = 0, 0, first
    while hit := marker.search(block, position):
        begin = block.rfind(b"\n", start, hit.start()) + 1 or start
        end = block.find(b"\n", hit.end())
        if end < 0:
            end = len(block)
        record += block.count(b"\n", start, begin)
        yield record, block[begin:end]
        start, position = begin, end


def line_count(block: bytes) -> int:
    """How many lines the block has, the last one counted even without its line end."""
    return block.count(b"\n") + (not block.endswith(b"\n") and bool(block))


def problem(record: int, code: str, detail: str) -> Reported:
    """A row that stands for a record which could not be read."""
    return Reported(record=record, kind=PROBLEM, calls=None, problems=[code], detail=detail)
