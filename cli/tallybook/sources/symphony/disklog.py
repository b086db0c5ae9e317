"""Cuts a disk_log file, as Mnesia keeps its tables in, into the encoded terms it holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

MAGIC: Final = b"\x01\x02\x03\x04"
_STATES: Final = (b"\x63\x58\x4d\x0b", b"\x06\x07\x08\x09")  # closed, still open or left so
_ITEM: Final = b"bWLA"
_HEAD: Final = 8
_LARGE: Final = 65528  # from this size on a digest of the size stands between head and content
_DIGEST: Final = 16


class Item(NamedTuple):
    """The place of an item in the file, counted from 1, and its content; None where damaged."""

    number: int
    content: bytes | None


def is_disk_log(data: bytes) -> bool:
    """Whether the bytes begin as a disk_log file does."""
    return data.startswith(MAGIC) and data[4:_HEAD] in _STATES


def items(data: bytes) -> Iterator[Item]:
    """The items in order. Behind damage the search goes on at the next item's mark."""
    position, number = _HEAD, 0
    while position < len(data):
        number += 1
        content, after = _item(data, position)
        if content is None:
            # Bytes of an unfinished write lie behind the last item of a log that was left open.
            yield Item(number, None)
            mark = data.find(_ITEM, position + _HEAD)
            after = mark - 4 if mark >= 0 else len(data)
        else:
            yield Item(number, content)
        position = after


def _item(data: bytes, position: int) -> tuple[bytes | None, int]:
    """The content of the item at `position` and where the next begins."""
    if data[position + 4 : position + _HEAD] != _ITEM:
        return None, position
    size = int.from_bytes(data[position : position + 4], "big")
    start = position + _HEAD + (_DIGEST if size >= _LARGE else 0)
    content = data[start : start + size]
    return (content, start + size) if len(content) == size else (None, position)
