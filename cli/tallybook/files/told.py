"""Tells which source a file is of: by how it begins, else by what most of its first lines are."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from tallybook.errors import FAILURES
from tallybook.files.blocks import BLOCK_BYTES, DAMAGE, Read, beginning, blocks, open_log
from tallybook.files.file_names import logical_text
from tallybook.files.skim import skimmed
from tallybook.sources import claims
from tallybook.sources.lines import HEAD_BYTES, Head
from tallybook.values import decode

_VOTERS: Final = 16  # lines
_MOST: Final = 1 << 30  # bytes that are looked at
_OPENS: Final = re.compile(rb"^[ \t]*\{", re.MULTILINE)


class Told(NamedTuple):
    """The beginning of a file, and the names of the sources that claim it."""

    head: Head
    claimed: list[str]


def told(path: str | Path, first: bytes, content: str | Path | None = None) -> Told:
    """What a file is told by, which begins with the bytes `first`; `content` is where it lies.

    Where its beginning tells nobody's or more than one's, it is of the source which claims most of
    its first lines: what stands in front of them may be broken, or another's.

    Raises one of `DAMAGE` where the file cannot be read so far.
    """
    head, place = Head(first), content or path
    name = logical_text(os.fspath(path))
    claimed = claims(head, name)
    if not claimed and (keys := skimmed(place, first)) is not None:
        claimed = claims(keys, name)
    if len(claimed) != 1 and _OPENS.search(first):
        claimed = _elected(place) or claimed
    return Told(head, claimed)


def is_claimed(path: Path) -> bool | None:
    """Whether a source claims the file; None where it cannot be read."""
    try:
        with open_log(path) as read:
            first = beginning(read).head
        return bool(told(path, first).claimed)
    except DAMAGE:
        return None
    except Exception:  # the reading meets it again, and says so
        if FAILURES.raised:
            raise
        return None


def _elected(path: str | Path) -> list[str]:
    """The source that claims most of the first lines, more than nobody claims; two if they tie."""
    votes: Counter[str] = Counter()
    nobody = 0
    for line in islice(_voters(path), _VOTERS):
        claimed = claims(Head(line))
        votes.update(claimed)
        nobody += not claimed
    most = max(votes.values(), default=0)
    return [name for name, count in votes.items() if count == most > nobody]


def _voters(path: str | Path) -> Iterator[bytes]:
    """The first lines that begin like an object which says something; one may be of any length."""
    looked_at = 0
    with open_log(path) as read:
        for block in blocks(_at_most(_MOST, read)):
            for opens in _OPENS.finditer(block):
                end = block.find(b"\n", opens.end())
                line = block[opens.start() : end if end >= 0 else len(block)]
                looked_at += min(len(line), HEAD_BYTES)
                if looked_at > BLOCK_BYTES:
                    return
                if len(line) > HEAD_BYTES or decode(line) != {}:
                    yield line[:HEAD_BYTES]


def _at_most(size: int, read: Read) -> Read:
    """A reader that ends when it has given so many bytes, or few more."""
    left = size

    def some() -> bytes:
        nonlocal left
        piece = read() if left > 0 else b""
        left -= len(piece)
        return piece

    return some
