"""Opens one log, decompresses it, and cuts it into blocks of whole lines."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

BLOCK_BYTES = 4 << 20  # larger ones read no faster
# A line longer than this is no record of any source; it is cut short, and so reported as bad.
MAX_LINE_BYTES = 256 << 20
_STUB_BYTES = 1 << 10
# A damaged stream gives all pieces before the one that fails, so small pieces lose little.
_PIECE_BYTES = 64 << 10
_BOM = b"\xef\xbb\xbf"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

# The allocator gives large blocks back to the system one by one, and the next one then costs a page
# fault for each 4 KB, more than reading it. Glibc keeps memory of the size that was freed last as a
# mapping of its own, up to 32 MB; this one is never touched, so it costs nothing.
bytes(31 << 20)

Read = Callable[[], bytes]  # the next piece of plain content, empty at the end
DAMAGE = (OSError, EOFError, zlib.error)


@contextmanager
def open_log(path: Path) -> Iterator[Read]:
    """What reads the file's plain content piece by piece; its first bytes tell the compression.

    Raises one of `DAMAGE` where the file cannot be opened, and the pieces do where it is damaged.
    """
    with path.open("rb", buffering=0) as stream:
        head = stream.read(len(_ZSTD))
        stream.seek(0)
        if head.startswith(_GZIP):
            with gzip.open(stream) as plain:
                yield lambda: plain.read1(_PIECE_BYTES)
        elif head == _ZSTD:
            pieces = _zstd_pieces(path)
            yield lambda: next(pieces, b"")
        else:
            yield lambda: stream.read(BLOCK_BYTES)


def _zstd_pieces(path: Path) -> Iterator[bytes]:
    """Pieces of plain content, up to the last byte that a damaged stream still gives."""
    done = 0
    try:
        with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as plain:
            while piece := plain.read(_PIECE_BYTES):
                done += len(piece)
                yield piece
    except OSError:
        # A read that fails gives nothing, so what is left is read again byte by byte.
        with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as plain:
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


def blocks(read: Read) -> Iterator[bytes]:
    """Blocks of whole lines in order; the last may lack its line end. A leading BOM is left out.

    Memory is bounded by the block or the longest line. What was read before damage is given
    before the error is raised.
    """
    rest: list[bytes] = []
    held = 0
    damage: Exception | None = None
    try:
        for chunk in _chunks(read):
            end = chunk.rfind(b"\n") + 1
            if end:
                yield b"".join([*rest, chunk[:end]]) if rest or end < len(chunk) else chunk
                rest, held = [], 0
            if end < len(chunk):
                held += len(chunk) - end
                rest.append(chunk[end:])
            if held > MAX_LINE_BYTES:
                # The tail of an endless line is dropped; its start still shows that it was there.
                rest = [rest[0][:_STUB_BYTES]]
    except DAMAGE as error:
        damage = error
    if rest:
        yield b"".join(rest)
    if damage:
        raise damage


def _chunks(read: Read) -> Iterator[bytes]:
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
