"""Finds the candidate lines of a JSONL block by a byte marker, and the lines that are broken."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from tallybook.schema import PROBLEM, Reported
from tallybook.values import decode

_OPENER, _CLOSER = b"{}"
_BOM = b"\xef\xbb\xbf"
HEAD_BYTES = 256 << 10  # what a source recognises a file by
_LOOKED_AT = 128  # lines; no source looks at more of them


class Head:
    """The first bytes of a file, its first lines split and decoded once for all who look at it.

    `lines` are those that are not blank; the last one may be cut off.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content[:HEAD_BYTES].removeprefix(_BOM)
        found = self.content.split(b"\n", _LOOKED_AT)[:_LOOKED_AT]
        self.lines = [line for line in found if line and not line.isspace()]
        self._values: list[object] = []

    def values(self, most: int) -> Iterator[object]:
        """The JSON values of the first lines; None for a line that holds none."""
        for number, line in enumerate(self.lines[:most]):
            if number == len(self._values):
                self._values.append(decode(line))
            yield self._values[number]

    def objects(self, most: int) -> Iterator[dict[str, Any]]:
        """Those of the first lines' values that are objects."""
        return (value for value in self.values(most) if isinstance(value, dict))


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


def unreadable(record: int, line: bytes, *, is_last: bool) -> Reported:
    """The problem row of a line that is no JSON object: torn at the file's end, else bad."""
    code = "torn-line" if is_last else "bad-line"
    return problem(record, code, f"not a JSON object ({len(line)} bytes)")


def broken(block: bytes, first: int, seen: Collection[int] = ()) -> Iterator[Reported]:
    """Problem rows of the lines that are no JSON object, but for the records in `seen`."""
    if block.isspace():
        return
    begin, record, size = 0, first, len(block)
    find = block.find
    while begin < size:
        end = find(b"\n", begin)
        is_last = end < 0
        if is_last:
            end = size
        # Whole lines are told by their first and last byte, which takes no copy of them.
        has_ends = block[begin] == _OPENER and block[end - 1] == _CLOSER
        if not has_ends and record not in seen and not is_object(block, begin, end):
            yield unreadable(record, block[begin:end], is_last=is_last)
        record += 1
        begin = end + 1


def is_object(block: bytes, begin: int, end: int) -> bool:
    """Whether a line has the ends of a JSON object, or is blank."""
    text = block[begin:end].strip()
    return not text or (text.startswith(b"{") and text.endswith(b"}"))
