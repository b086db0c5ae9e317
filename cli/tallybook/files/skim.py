"""Shows a format the keys of a first record that is longer than the head of its file.

Long texts are left out, so that keys are seen wherever they stand, and nothing is held of content.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tallybook.files.blocks import chunks, open_log
from tallybook.sources.lines import HEAD_BYTES, Head

_TEXT: Final = 300  # bytes of a text that is shown; a longer one is no id, name or time
_MOST: Final = 1 << 30  # bytes that are looked at
_BEGINS: Final = re.compile(rb"\s*(?:[\[{]|data:|event:|id:|retry:|:)")
_OPENERS, _CLOSERS = b"[{", b"]}"


def skim(pieces: Iterable[bytes]) -> bytes:
    """The first record of JSON, lines of JSON or of a stream, its long texts empty.

    Empty where the file begins as none of these. Of an array the first element is the record.
    """
    skimming = _Skimming()
    seen = 0
    for piece in pieces:
        if not seen and not _BEGINS.match(piece):
            return b""
        seen += len(piece)
        if skimming.add(piece) or seen > _MOST:
            break
    return bytes(skimming.kept)


class _Skimming:
    """Where in a record a skimming is; `kept` is what it shows."""

    def __init__(self) -> None:
        self.kept = bytearray()
        self._depth = 0
        self._is_begun = False  # a record is open, or an array around them
        self._text: bytearray | None = None  # the text that is open, as far as it may be shown
        self._is_escaped = False  # the next byte belongs to a sign of the text

    def add(self, piece: bytes) -> bool:
        """Take the next piece; whether the record ended."""
        at = 0
        while at < len(piece):
            if self._text is not None:
                at = self._in_text(piece, at)
                continue
            quote = piece.find(b'"', at)
            outside = piece[at : quote if quote >= 0 else len(piece)]
            if self._is_over(outside) or len(self.kept) > HEAD_BYTES:
                return True
            if quote < 0:
                return False
            self._text = bytearray()
            at = quote + 1
        return False

    def _in_text(self, piece: bytes, at: int) -> int:
        """Go to the end of the text, or of the piece."""
        begin = at
        if self._is_escaped:
            self._is_escaped = False
            at += 1
        quote = piece.find(b'"', at)
        while (slash := piece.find(b"\\", at, quote if quote >= 0 else len(piece))) >= 0:
            at = slash + 2
            if 0 <= quote < at:
                quote = piece.find(b'"', at)
        end = quote if quote >= 0 else len(piece)
        self._is_escaped = quote < 0 and at > len(piece)
        text = self._text or bytearray()
        text += piece[begin : min(end, begin + _TEXT + 1 - len(text))]
        self._text = text
        if quote < 0:
            return len(piece)
        self.kept += b'"%b"' % bytes(text if len(text) <= _TEXT else b"")
        self._text = None
        return end + 1

    def _is_over(self, outside: bytes) -> bool:
        """Keep what stands between texts; whether the record ends in it."""
        for index, byte in enumerate(outside):
            if byte in _OPENERS:
                # The elements of an array are records.
                is_array = not self._is_begun and byte == _OPENERS[0]
                self._depth += not is_array
                self._is_begun = True
            elif byte in _CLOSERS:
                self._depth -= 1
                if self._depth <= 0:
                    self.kept += outside[: index + 1]
                    return True
        self.kept += outside
        return False


def is_longer(first: bytes) -> bool:
    """Whether the first record of a file with these first bytes is longer than a head."""
    head = first[:HEAD_BYTES]
    if len(first) <= HEAD_BYTES or not _BEGINS.match(head):
        return False
    return not _Skimming().add(head)


def skimmed(path: str | Path, first: bytes) -> Head | None:
    """The keys of a first record that is longer than a head; None where it is not.

    Raises one of `DAMAGE` where the file cannot be read so far.
    """
    if not is_longer(first):
        return None
    with open_log(path) as read:
        return Head(skim(chunks(read)))
