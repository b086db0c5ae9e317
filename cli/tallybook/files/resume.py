"""Where in a file a reading ended, and whether a file still begins with what was read of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from io import RawIOBase
from pathlib import Path
from typing import Final

import msgspec

from tallybook.files.blocks import DAMAGE, beginning, blocks, open_log, reading
from tallybook.files.regular import open_named
from tallybook.files.sqlite import is_database
from tallybook.files.told import Told, told
from tallybook.sources import Source
from tallybook.sources.lines import HEAD_BYTES

# A state that is larger holds most of a document; reading that again costs less than keeping it.
MAX_STATE_BYTES: Final = 256 << 10
_PRINT_BYTES: Final = 4096  # long enough for ids and times, which no two logs share
_BOM: Final = b"\xef\xbb\xbf"


class ReadPosition(msgspec.Struct, array_like=True):
    """What it takes to go on reading a file where it ended, or to know it under another name.

    `offset` counts plain bytes of whole lines, `end` all plain bytes that were seen, a byte order
    mark left out; `state` is empty where the file can only be read afresh.
    """

    source: str | None = None
    version: int = 0  # never set: older ledgers had that of the source here
    is_database: bool = False
    begun: bytes = b""  # digest of the first state: what name and neighbour had to say
    offset: int = 0
    end: int = 0
    head_length: int = 0
    head: bytes = b""  # digest of the first bytes
    tail_length: int = 0
    tail: bytes = b""  # digest of the last bytes before `end`
    state: bytes = b""

    @staticmethod
    def digest(content: bytes) -> bytes:
        """A digest that no two contents share."""
        return blake2b(content, digest_size=16).digest()


class Trail:
    """The first and last bytes of what was read, for their digests.

    `met` gives, for each offset asked for as (offset, length), the digest of the bytes before it.
    """

    def __init__(
        self, after: ReadPosition | None = None, probes: Iterable[tuple[int, int]] = ()
    ) -> None:
        self._length = after.offset if after else 0
        self._head = b""
        self._tail = b""
        self._after = after
        self._probes = list(probes)
        self.met: dict[tuple[int, int], bytes] = {}

    def add(self, lines: bytes) -> None:
        """Take the next bytes."""
        if self._after is None and len(self._head) < _PRINT_BYTES:
            self._head += lines[: _PRINT_BYTES - len(self._head)]
        for offset, length in self._probes:
            here = offset - self._length
            if 0 < here <= len(lines):
                before = (self._tail + lines[max(here - length, 0) : here])[-length:]
                self.met[offset, length] = ReadPosition.digest(before)
        end = bytes(lines[-_PRINT_BYTES:])
        self._tail = end if len(end) == _PRINT_BYTES else (self._tail + end)[-_PRINT_BYTES:]
        self._length += len(lines)

    def settle(self, place: ReadPosition, state: bytes) -> None:
        """Write into `place` where the whole lines end, and the state there."""
        place.state = state if len(state) <= MAX_STATE_BYTES else b""
        place.offset = self._length

    def close(self, place: ReadPosition) -> None:
        """Write into `place` how to know again what was read."""
        if self._after is None:
            place.head, place.head_length = ReadPosition.digest(self._head), len(self._head)
        if self._tail:
            place.tail, place.tail_length = ReadPosition.digest(self._tail), len(self._tail)
            place.end = self._length


class _NoTrail(Trail):
    """Of readings that nobody goes on from."""

    def add(self, lines: bytes) -> None:
        """Let them pass."""

    def settle(self, place: ReadPosition, state: bytes) -> None:
        """Say nothing."""

    def close(self, place: ReadPosition) -> None:
        """Say nothing."""


NO_TRAIL: Final = _NoTrail()


def encoded(state: object) -> bytes:
    """A state as bytes."""
    return msgspec.msgpack.encode(state)


@contextmanager
def rest_of(path: Path, after: ReadPosition) -> Iterator[Iterator[bytes]]:
    """Blocks of what a plain file holds behind `after`."""
    with open_named(path) as stream:
        stream.seek(_mark_length(stream.read(len(_BOM))) + after.offset)
        yield blocks(reading(stream))


def is_continued(path: Path, after: ReadPosition, source: Source) -> bool:
    """Whether a plain file still begins with what was read of it, and its source claims it yet."""
    with open_named(path) as stream:
        mark = _mark_length(stream.read(len(_BOM)))
        if not _holds(stream, mark, after):
            return False
        # A byte order mark in the midst is a fault of its line; at the start of a block it is none.
        stream.seek(mark + after.offset)
        if stream.read(len(_BOM)) == _BOM:
            return False
    return after.offset >= HEAD_BYTES or _is_claimed(path, source)


def head_of(path: Path) -> bytes:
    """The first plain bytes of a file, a byte order mark left out; empty where it has none."""
    try:
        with open_log(path) as read:
            content = b""
            while len(content) < _PRINT_BYTES + len(_BOM) and (piece := read()):
                content += piece
    except DAMAGE:
        return b""
    return content.removeprefix(_BOM)[:_PRINT_BYTES]


def _holds(stream: RawIOBase, mark: int, after: ReadPosition) -> bool:
    def digest(offset: int, length: int) -> bytes:
        stream.seek(mark + offset)
        return ReadPosition.digest(stream.read(length) or b"")

    return (
        digest(0, after.head_length) == after.head
        and digest(after.end - after.tail_length, after.tail_length) == after.tail
    )


def _mark_length(start: bytes) -> int:
    return len(_BOM) if start == _BOM else 0


def _is_claimed(path: Path, source: Source) -> bool:
    """Whether the longer beginning of a short file is still this source's, and still lines."""
    head, claimed = _told(path)
    return claimed == [source.name] and not source.whole(head)


def _told(path: Path) -> Told:
    with open_log(path) as read:
        first = beginning(read).head
    return told(path, first)


def is_log(path: Path) -> bool:
    """Whether a file is one that a source reads, or any SQLite database; unknown is no."""
    try:
        return is_database(path) or bool(_told(path).claimed)
    except DAMAGE:
        return False
