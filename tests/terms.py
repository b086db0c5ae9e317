"""Writes Erlang terms and the disk_log files that Mnesia keeps them in, for tests."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from typing import Any

CLOSED, OPEN = b"\x63\x58\x4d\x0b", b"\x06\x07\x08\x09"
LARGE = 65528


class Atom(str):
    """An atom, as against the binary that plain text becomes."""

    __slots__ = ()


def encode(term: Any) -> bytes:
    """A term behind its version byte, as OTP 26 and later write it."""
    return b"\x83" + _encode(term)


def _encode(term: Any) -> bytes:
    if isinstance(term, str):
        data = term.encode()
        is_atom = isinstance(term, Atom)
        head = struct.pack(">BB", 119, len(data)) if is_atom else struct.pack(">BI", 109, len(data))
        return head + data
    return _integer(term) if isinstance(term, int) else _container(term)


def _integer(term: int) -> bytes:
    if 0 <= term < 256:
        return struct.pack(">BB", 97, term)
    if -(2**31) <= term < 2**31:
        return struct.pack(">Bi", 98, term)
    size = (abs(term).bit_length() + 7) // 8
    return struct.pack(">BBB", 110, size, term < 0) + abs(term).to_bytes(size, "little")


def _container(term: Any) -> bytes:
    if isinstance(term, dict):
        pairs = b"".join(_encode(key) + _encode(value) for key, value in term.items())
        return struct.pack(">BI", 116, len(term)) + pairs
    inside = b"".join(map(_encode, term))
    if isinstance(term, tuple):
        return struct.pack(">BB", 104, len(term)) + inside
    return struct.pack(">BI", 108, len(term)) + inside + b"j" if term else b"j"


def item(content: bytes) -> bytes:
    """An item of a disk_log: size, mark, a digest of a large size, content."""
    size = struct.pack(">I", len(content))
    digest = hashlib.md5(size, usedforsecurity=False).digest() if len(content) >= LARGE else b""
    return size + b"bWLA" + digest + content


def disk_log(kind: str, terms: Iterable[Any], *, open_: bool = False) -> bytes:
    """A file of the given kind of log, closed or left open, with its header item."""
    header = (
        *(Atom("log_header"), Atom(kind), "1.0", "4.21.3"),
        *(Atom("nonode@nohost"), (1795, 295087, 145867)),
    )
    state = OPEN if open_ else CLOSED
    return b"\1\2\3\4" + state + b"".join(item(encode(term)) for term in [header, *terms])
