"""Decodes the values that LangGraph stores: msgpack with constructors, none of which is called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

# Extension codes: 0 to 5 name a class and hold what to build it from, 7 holds a wrapped value.
_CONSTRUCTORS: Final = range(6)
_SNAPSHOT: Final = 7
_ARGUMENTS: Final = 2  # place of the arguments, behind module and class
_TIME: Final = re.compile(
    rb"\xa2ts(?:\xd9.|[\xa0-\xbf])(\d{4}-\d\d-\d\dT[\d:.]+(?:[+-]\d\d:\d\d|Z)?)", re.DOTALL
)


def unpack(value: bytes) -> Any:
    """The plain value; objects are the mappings they would be built from. Raises ValueError."""
    try:
        return msgspec.msgpack.decode(value, ext_hook=_extension)
    except (msgspec.DecodeError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _extension(code: int, data: memoryview) -> Any:
    if code == _SNAPSHOT:
        return msgspec.msgpack.decode(data, ext_hook=_extension)
    if code not in _CONSTRUCTORS:
        return None
    parts = msgspec.msgpack.decode(data, ext_hook=_extension)
    return parts[_ARGUMENTS] if isinstance(parts, list) and len(parts) > _ARGUMENTS else None


def messages(value: Any) -> Iterator[dict[str, Any]]:
    """The messages of a write: one or a list of them."""
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, dict) and "type" in part:
            yield part


def stamped(beginning: bytes) -> str | None:
    """The time that a stored checkpoint states near its beginning."""
    found = _TIME.search(beginning)
    return found[1].decode("ascii") if found else None
