"""Opens one log, decompresses it, and cuts it into blocks of whole lines."""

from __future__ import annotations

import gzip
import itertools
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import SEEK_END, BytesIO, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tallybook.files.regular import open_named, opened_at_once
from tallybook.names import path_of
from tallybook.urls import is_url

if TYPE_CHECKING:
    import pyarrow as pa

    from tallybook.files.objects import ObjectStream

BLOCK_BYTES = 4 << 20  # larger ones read no faster
# A line longer than this is cut short, and so reported as bad. Reading one takes up to four times
# its length: the line, its copy out of the block, and what is decoded of it.
MAX_LINE_BYTES = 64 << 20
# A document that is read as a whole and longer than this is not read. Reading one takes twice its
# length where it is texts, and up to twelve times where it is nothing but counts.
MAX_DOCUMENT_BYTES = 128 << 20
_STUB_BYTES = 1 << 10
# A damaged stream gives all pieces before the one that fails, so small pieces lose little.
_PIECE_BYTES = 64 << 10
_OPENERS = (b"{", b"[")  # of JSON: no blank line, mark or compression is in front
_FLAGS: Final[int] = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_BOM = b"\xef\xbb\xbf"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SKIPPED, _SKIPPED_FIRST = b"\x2a\x4d\x18", bytes(range(0x50, 0x60))  # a frame to pass over

# The allocator gives large blocks back to the system one by one, and the next one then costs a page
# fault for each 4 KB, more than reading it. Glibc keeps memory of the size that was freed last as a
# mapping of its own, up to 32 MB; this one is never touched, so it costs nothing.
bytes(31 << 20)

Read = Callable[[], bytes]  # the next piece of plain content, empty at the end
DAMAGE = (OSError, EOFError, zlib.error)


class TooLong(Exception):  # noqa: N818 - the file is sound
    """A document has more than MAX_DOCUMENT_BYTES."""


class Beginning(NamedTuple):
    """The first bytes that are not blank, and the chunks of the file, in which they are held.

    Blank lines in front of them, `passed` in number, stand for themselves but for their spaces.
    """

    head: bytes
    chunks: Iterator[bytes]
    passed: int


@contextmanager
def open_log(path: str | Path) -> Iterator[Read]:
    """What reads the file's plain content piece by piece; its first bytes tell the compression.

    Raises one of `DAMAGE` where the file cannot be opened, and the pieces do where it is damaged.
    """
    with open_named(path) as stream:
        head = stream.read(len(_ZSTD))
        stream.seek(0)
        if head.startswith(_GZIP):
            with gzip.open(stream) as plain:
                yield lambda: plain.read1(_PIECE_BYTES)
        elif _is_zstd(head):
            pieces = _zstd_pieces(path)
            yield lambda: next(pieces, b"")
        else:
            yield reading(stream)


def at_once(path: str | Path) -> bytes | None:
    """What a small file of JSON holds, read in one go; None of any other, which `open_log` opens.

    Of very many small files opening them so takes half the time.
    """
    text = os.fspath(path)
    if is_url(text):
        return None
    try:
        file = opened_at_once(path_of(text), _FLAGS)
        try:
            state = os.fstat(file)
            is_small = stat.S_ISREG(state.st_mode) and state.st_size < min(
                _PIECE_BYTES, BLOCK_BYTES
            )
            content = os.read(file, _PIECE_BYTES) if is_small else b""
        finally:
            os.close(file)
    except OSError:
        return None
    return content if content[:1] in _OPENERS and len(content) == state.st_size else None


def reading(stream: FileIO | ObjectStream) -> Read:
    """What reads on in a plain file, in blocks.

    No more is asked for than there is: room is made for it, and given back, which would take longer
    than reading a small file does.
    """
    size = os.fstat(stream.fileno()).st_size if isinstance(stream, FileIO) else stream.size
    left = size - stream.tell()
    most = min(BLOCK_BYTES, max(left, _PIECE_BYTES) + 1)
    return lambda: stream.read(most)


def is_compressed(path: str | Path) -> bool:
    """Whether the file begins as a compressed stream does. Raises OSError."""
    with open_named(path) as stream:
        head = stream.read(len(_ZSTD))
    return head.startswith(_GZIP) or _is_zstd(head)


def _is_zstd(head: bytes) -> bool:
    """Whether a zstd stream begins so; some programs put a frame of their own words in front."""
    return head == _ZSTD or (head[1:] == _SKIPPED and head[:1] in _SKIPPED_FIRST)


def _zstd_pieces(path: str | Path) -> Iterator[bytes]:
    """Pieces of plain content, up to the last byte that a damaged stream still gives."""
    import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s, and much is done without it

    done = 0
    try:
        with pa.CompressedInputStream(open_named(path), "zstd") as plain:
            while piece := plain.read(_PIECE_BYTES):
                done += len(piece)
                yield piece
    except OSError:
        # A read that fails gives nothing, so what is left is read again byte by byte.
        with pa.CompressedInputStream(open_named(path), "zstd") as plain:
            while done:
                done -= len(plain.read(min(done, _PIECE_BYTES)))
            yield from _single_bytes(plain)
        raise


def _single_bytes(plain: pa.CompressedInputStream) -> Iterator[bytes]:
    rest = bytearray()
    try:
        while byte := plain.read(1):
            rest += byte
    except OSError:
        pass
    if rest:
        yield bytes(rest)


def beginning(read: Read) -> Beginning:
    """What a format is told by. Chunks of blank lines are counted, never held."""
    pieces = chunks(read)
    passed = 0
    for head in pieces:
        if not head.isspace():
            everything = itertools.chain(_blank_lines(passed), [head], pieces)
            return Beginning(head, everything, passed)
        passed += head.count(b"\n")
    return Beginning(b"", iter(()), passed)


def _blank_lines(count: int) -> Iterator[bytes]:
    while count:
        here = min(count, BLOCK_BYTES)
        yield b"\n" * here
        count -= here


def document(pieces: Iterator[bytes]) -> bytes:
    """All chunks as one. Raises TooLong."""
    held = BytesIO(next(pieces, b""))  # gives its bytes back without a copy of them
    size = held.seek(0, SEEK_END)
    for piece in pieces:
        size += len(piece)
        if size > MAX_DOCUMENT_BYTES:
            raise TooLong
        held.write(piece)
    return held.getvalue()


def blocks(read: Read) -> Iterator[bytes]:
    """Blocks of whole lines in order; the last may lack its line end. A leading BOM is left out.

    Memory is bounded by the block or the longest line. What was read before damage is given
    before the error is raised.
    """
    return whole_lines(chunks(read))


def whole_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Chunks cut anew at the ends of lines; the last may lack its line end."""
    rest = BytesIO()  # gives its bytes back without a copy of them
    is_cut = False
    damage: Exception | None = None
    try:
        for piece in pieces:
            chunk = piece[max(piece.find(b"\n"), 0) :] if is_cut else piece
            if is_cut and not chunk.startswith(b"\n"):
                continue
            is_cut = False
            end = chunk.rfind(b"\n") + 1
            if end == len(chunk) and not rest.tell():
                yield chunk
                continue
            if end:
                rest.write(memoryview(chunk)[:end])
                yield _taken(rest)
            rest.write(memoryview(chunk)[end:])
            if rest.tell() > MAX_LINE_BYTES:
                # With its end it might be whole again, as another line than it was.
                rest = BytesIO(rest.getvalue()[:_STUB_BYTES])
                is_cut = rest.seek(0, SEEK_END) > 0
    except DAMAGE as error:
        damage = error
    if rest.tell():
        yield _taken(rest)
    if damage:
        raise damage


def _taken(held: BytesIO) -> bytes:
    """What was written; nothing is held then, for a long line is not to be held twice."""
    whole = held.getvalue()
    held.seek(0)
    held.truncate()
    return whole


def chunks(read: Read) -> Iterator[bytes]:
    """Pieces joined to the size of a block, the last ones even where the next piece fails."""
    pieces: list[bytes] = []
    size = 0
    damage: Exception | None = None
    start = _BOM
    while True:
        try:
            piece = read()
        except DAMAGE as error:
            damage, piece = error, b""
        if piece:
            pieces.append(piece.removeprefix(start))
            size += len(piece)
            start = b""
        if pieces and (size >= BLOCK_BYTES or not piece):
            yield b"".join(pieces) if len(pieces) > 1 else pieces[0]
            pieces, size = [], 0
        if not piece:
            break
    if damage:
        raise damage
