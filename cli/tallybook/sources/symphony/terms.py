"""Decodes Erlang's external term format into plain values.

A run store rewrites a run's row, transcript and all, with every update. Its reader therefore looks
at the key of each row and builds the value of the last one only, which is why the decoder is one
that can stop and go on anywhere.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any, Final, NoReturn

VERSION: Final = 131  # first byte of every encoded term
_COMPRESSED: Final = 80
_U16, _U32 = struct.Struct(">H"), struct.Struct(">I")
_I32, _F64 = struct.Struct(">i"), struct.Struct(">d")
_WORDS: Final[dict[str, bool | None]] = {"nil": None, "undefined": None, "true": True}
_WORDS["false"] = False
_MAX_PLAIN: Final = 256 << 20  # a compressed term that claims more is damaged


class TermError(ValueError):
    """The bytes are no encoded term, or only its beginning."""


class Opaque:
    """A process, port, reference or function: nothing that a count could depend on."""


class Cursor:
    """Reads terms one after the other from `data`; raises TermError where there is none.

    Atoms and binaries become text (`nil` and `undefined` None, `true` and `false` booleans),
    tuples tuples, lists lists, maps dicts; a list of small numbers, which is also how Erlang
    writes text, stays a list.
    """

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    def term(self) -> Any:
        """The next term, built whole."""
        try:
            return self._term()
        except TermError:
            raise
        except (IndexError, struct.error, RecursionError, OverflowError, ValueError) as error:
            raise TermError(type(error).__name__) from error

    def begins_tuple(self) -> bool:
        """Whether the next term is a tuple."""
        return self.data[self.position : self.position + 1] in (b"h", b"i")

    def tuple_size(self) -> int:
        """The number of elements of the tuple that begins here; the cursor moves to the first."""
        tag = self._byte()
        if tag in (104, 105):
            return self._byte() if tag == 104 else self._unpack(_U32)
        raise TermError(f"no tuple but tag {tag}")

    def list_size(self) -> int:
        """The same for a list; an empty one has no elements and no tail."""
        tag = self._byte()
        if tag in (106, 108):
            return 0 if tag == 106 else self._unpack(_U32)
        raise TermError(f"no list but tag {tag}")

    def _byte(self) -> int:
        position = self.position
        if position >= len(self.data):
            raise TermError("the term ends early")
        self.position = position + 1
        return self.data[position]

    def _unpack(self, form: struct.Struct) -> Any:
        position = self.position
        self.position = position + form.size
        if self.position > len(self.data):
            raise TermError("the term ends early")
        return form.unpack_from(self.data, position)[0]

    def _take(self, size: int) -> bytes:
        position = self.position
        self.position = position + size
        if self.position > len(self.data):
            raise TermError("the term ends early")
        return self.data[position : self.position]

    def _term(self) -> Any:
        tag = self._byte()
        read = _READERS.get(tag)
        return read(self) if read else _unknown(tag)

    def _terms(self, size: int) -> list[Any]:
        term = self._term
        return [term() for _ in range(size)]

    def _atom(self, size: int) -> str | bool | None:
        name = self._take(size).decode("utf-8", "replace")
        return _WORDS.get(name, name)

    def _list(self) -> list[Any]:
        items = self._terms(self._unpack(_U32))
        tail = self._term()
        return items if tail == [] else [*items, tail]

    def _map(self) -> dict[Any, Any]:
        pairs = ((hashable(self._term()), self._term()) for _ in range(self._unpack(_U32)))
        return dict(pairs)

    def _integer(self, size: int) -> int:
        negative = self._byte()
        value = int.from_bytes(self._take(size), "little")
        return -value if negative else value

    def _opaque(self, size: int) -> Opaque:
        """A node's name and `size` bytes of numbers."""
        self._term()
        self._take(size)
        return Opaque()

    def _reference(self, creation: int) -> Opaque:
        words = self._unpack(_U16)
        return self._opaque(creation + 4 * words)

    def _function(self) -> Opaque:
        self._take(self._unpack(_U32) - 4)
        return Opaque()

    def _export(self) -> Opaque:
        self._terms(3)
        return Opaque()


_READERS: Final[dict[int, Callable[[Cursor], Any]]] = {
    70: lambda cursor: cursor._unpack(_F64),
    77: lambda cursor: (cursor._unpack(_U32), cursor._byte(), Opaque())[2],
    88: lambda cursor: cursor._opaque(12),
    89: lambda cursor: cursor._opaque(8),
    90: lambda cursor: cursor._reference(4),
    97: Cursor._byte,
    98: lambda cursor: cursor._unpack(_I32),
    99: lambda cursor: float(cursor._take(31).rstrip(b"\0")),
    100: lambda cursor: cursor._atom(cursor._unpack(_U16)),
    102: lambda cursor: cursor._opaque(5),
    103: lambda cursor: cursor._opaque(9),
    104: lambda cursor: tuple(cursor._terms(cursor._byte())),
    105: lambda cursor: tuple(cursor._terms(cursor._unpack(_U32))),
    106: lambda _: [],
    107: lambda cursor: list(cursor._take(cursor._unpack(_U16))),
    108: Cursor._list,
    109: lambda cursor: cursor._take(cursor._unpack(_U32)).decode("utf-8", "replace"),
    110: lambda cursor: cursor._integer(cursor._byte()),
    111: lambda cursor: cursor._integer(cursor._unpack(_U32)),
    112: Cursor._function,
    113: Cursor._export,
    114: lambda cursor: cursor._reference(1),
    115: lambda cursor: cursor._atom(cursor._byte()),
    116: Cursor._map,
    118: lambda cursor: cursor._atom(cursor._unpack(_U16)),
    119: lambda cursor: cursor._atom(cursor._byte()),
    120: lambda cursor: cursor._opaque(12),
}


def _unknown(tag: int) -> NoReturn:
    raise TermError(f"unknown tag {tag}")


def hashable(key: Any) -> Any:
    """The key of a map or a row; a tuple may hold a list or a map at any depth."""
    try:
        hash(key)
    except TypeError:
        return repr(key)
    return key


def opened(encoded: bytes) -> Cursor:
    """A cursor at the one term that `encoded` holds behind its version byte."""
    if encoded[:1] != bytes([VERSION]):
        raise TermError("no encoded term")
    if encoded[1:2] != bytes([_COMPRESSED]):
        return Cursor(encoded, 1)
    size = int.from_bytes(encoded[2:6], "big")
    if size > _MAX_PLAIN:
        raise TermError("a compressed term of an impossible size")
    try:
        return Cursor(zlib.decompressobj().decompress(encoded[6:], size))
    except zlib.error as error:
        raise TermError(str(error)) from error
