"""Tells whether a write-ahead log of SQLite holds anything that was committed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

from tallybook.files.regular import open_regular

_HEADER: Final = struct.Struct(">8I")  # magic, version, page size, number, two salts, checksum
_FRAME: Final = struct.Struct(">6I")  # page, size of the database after a commit, salts, checksum
_MAGIC: Final = 0x377F0682  # the last bit says in which byte order checksums are taken
_WORD: Final = 0xFFFFFFFF
Sum = tuple[int, int]


def holds_commit(log: Path) -> bool:
    """Whether a transaction in the log is whole, so that the database is incomplete without it.

    Raises OSError. Looks no further than the first one.
    """
    with BufferedReader(open_regular(log)) as stream:
        return any(size for size in _valid_frames(stream))


def _valid_frames(stream: BinaryIO) -> Iterator[int]:
    """The size that each frame says it commits, 0 for none, up to the first that does not hold."""
    head = stream.read(_HEADER.size)
    if len(head) < _HEADER.size:
        return
    magic, _, page, _, *salts, one, two = _HEADER.unpack(head)
    order = ">" if magic & 1 else "<"
    summed = _add(head[:24], (0, 0), order)
    if magic & ~1 != _MAGIC or summed != (one, two):
        return
    while len(frame := stream.read(_FRAME.size + page)) == _FRAME.size + page:
        _, size, *found, one, two = _FRAME.unpack_from(frame)
        summed = _add(frame[:8] + frame[_FRAME.size :], summed, order)
        if found != salts or summed != (one, two):
            return
        yield size


def _add(content: bytes, summed: Sum, order: str) -> Sum:
    one, two = summed
    for first, second in struct.iter_unpack(f"{order}2I", content):
        one = (one + first + two) & _WORD
        two = (two + second + one) & _WORD
    return one, two
