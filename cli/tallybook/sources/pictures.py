"""Passes over pictures in a log: a text of base64 without end, of which no reader needs a byte.

A run of such characters is replaced by its length and a digest, so that records which differ in
nothing but their pictures still differ.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final

LONG: Final = 64 << 10  # bytes from which on a run is passed over; ids and keys are far shorter
_STEP: Final = LONG // 2
_LOOK: Final = 1 << 10
_BASE64: Final = (string.ascii_letters + string.digits + "+/=_-").encode()


class _Run:
    """A run of which the end is not seen yet; nothing of it is held."""

    def __init__(self, begun: bytes) -> None:
        self._digest = blake2b(begun, digest_size=12)
        self._length = len(begun)

    def add(self, more: bytes) -> None:
        self._digest.update(more)
        self._length += len(more)

    def word(self) -> bytes:
        return f"[{self._length}:{self._digest.hexdigest()}]".encode()


def shortened(content: bytes) -> bytes:
    """The content without its pictures."""
    return content if len(content) < LONG else b"".join(without_pictures([content]))


def without_pictures(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces without pictures, wherever they are cut; holds one piece and 64 KB at most."""
    begun = b""  # a run at the end of what came so far, short as yet
    run: _Run | None = None
    for piece in pieces:
        data = begun + piece
        begun = b""
        if run is not None:
            rest = data.lstrip(_BASE64)
            run.add(data[: len(data) - len(rest)])
            if not rest:
                continue
            yield run.word()
            run, data = None, rest
        body = data.rstrip(_BASE64)
        begun = data[len(body) :]
        if len(begun) >= LONG:
            run, begun = _Run(begun), b""
        if body:
            yield _without_runs(body)
    if run is not None:
        yield run.word()
    if begun:
        yield begun


def _without_runs(body: bytes) -> bytes:
    """Looks at every 32 KB: a long run has one of these places in it, with some bytes behind."""
    kept: list[bytes] = []
    begin = at = 0
    while at + _LOOK <= len(body):
        if body[at : at + _LOOK].translate(None, _BASE64):
            at += _STEP
            continue
        first = max(begin, at - _STEP)
        start = first + len(body[first:at].rstrip(_BASE64))
        end = _end_of_run(body, at)
        if end - start >= LONG:
            kept += (body[begin:start], _Run(body[start:end]).word())
            begin = end
        at = end + 1
    return b"".join((*kept, body[begin:])) if kept else body


def _end_of_run(body: bytes, at: int) -> int:
    while here := body[at : at + _STEP]:
        rest = here.lstrip(_BASE64)
        at += len(here) - len(rest)
        if rest:
            break
    return at
