"""Counts the lines of a log that another source would claim: nothing of them is read."""

from __future__ import annotations

import msgspec

from tallybook.schema import Reported
from tallybook.sources import claims, sources
from tallybook.sources.jsonl import Look
from tallybook.sources.lines import Head, problem
from tallybook.values import decode
from tallybook.wording import counted

OTHER = "other-format"


class Strays(msgspec.Struct, array_like=True):
    """How many such lines there are, and whose the first one is."""

    count: int = 0
    first: int = 0  # its record
    source: str = ""

    def rows(self) -> list[Reported]:
        """The problem that they are, once the file has been read."""
        if not self.count:
            return []
        more = self.count - 1
        lines = f"this one and {counted(more, 'more line')}"
        return [problem(self.first, OTHER, f"{lines if more else 'a line'} of {self.source}")]


def watch(strays: Strays, block: bytes, own: str, keys: tuple[bytes, ...]) -> Look:
    """Looks at lines of a block that say nothing to the source `own`, and counts the strays.

    A line with one of the quoted `keys` in it is its own; few lines have none of them.
    """
    find = block.find

    def look(record: int, begin: int, end: int) -> None:
        for key in keys:
            if find(key, begin, end) >= 0:
                return
        line = block[begin:end]
        if isinstance(decode(line), dict) and (name := _claimed(Head(line), own, strays.source)):
            if not strays.count:
                strays.first, strays.source = record, name
            strays.count += 1

    return look


def _claimed(line: Head, own: str, likely: str) -> str | None:
    """Which other source alone claims a line; `likely` the one that the last stray was of."""
    if likely and sources()[likely].sniff(line):
        return None if sources()[own].sniff(line) else likely
    names = claims(line)
    return names[0] if len(names) == 1 and names != [own] else None
