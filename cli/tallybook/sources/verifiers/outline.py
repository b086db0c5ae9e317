"""The outermost members of a JSON object of which only the beginning may be at hand."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[{}\[\]:,]', re.DOTALL)
_OPENING, _CLOSING = b"{[", b"}]"
_SPACE: Final = b" \t\r\n"


class Outline(NamedTuple):
    """Keys with the first byte of their values, where the last whole member ends, and the rest."""

    members: dict[bytes, bytes]
    whole: int  # offset behind the last member that is followed by another or by the end
    is_closed: bool


def outline(head: bytes, start: int = 0) -> Outline:
    """The outline of the object that begins at `start` (there stands a brace)."""
    members: dict[bytes, bytes] = {}
    depth, whole, key = 0, start + 1, b""
    for token in _TOKEN.finditer(head, start):
        sign = token[0]
        if sign in _OPENING:
            depth += 1
        elif sign in _CLOSING:
            depth -= 1
            if depth <= 0:
                return Outline(members, token.start(), is_closed=True)
        elif depth != 1:
            continue
        elif sign == b":":
            members[key[1:-1]] = _next(head, token.end())
        elif sign == b",":
            whole = token.start()
        else:
            key = sign
    return Outline(members, whole, is_closed=False)


def _next(head: bytes, position: int) -> bytes:
    while head[position : position + 1] in _SPACE and position < len(head):
        position += 1
    return head[position : position + 1]


def whole_members(head: bytes) -> bytes:
    """The object that `head` begins with, closed behind the last member that is there in full."""
    start = head.find(b"{")
    return head[start : outline(head, start).whole] + b"}" if start >= 0 else b"{}"
