r"""Names of files as text that can be kept and shown, and that leads back to the file.

A system takes nearly any bytes for a name, and Python hands on those that are no UTF-8 as halves of
surrogate pairs, which nothing can store or print. As text they are written out: `caf\xe9.jsonl`.
Where a name itself has letters like these, their backslash is written as `\x5c`, so that no two
names share a text. All paths of logs are such texts, and `path_of` stands where one is opened.
"""

from __future__ import annotations

import os
import re
from typing import Final

_HALF: Final = 0xDC00  # added to a byte that is no UTF-8
_UNTOLD: Final = re.compile(r"[\udc80-\udcff]|\\(?=x[0-9a-f]{2})")
_TOLD: Final = re.compile(r"\\x([0-9a-f]{2})")
# Windows keeps text for a name, and parts folders by the backslash.
_IS_BYTES: Final = os.sep == "/"
_NO_PAIR: Final = re.compile("[\ud800-\udfff]")


def text_of(path: str) -> str:
    """A path as text, the same for the same path."""
    if path.isascii() and "\\" not in path:
        return path
    return _UNTOLD.sub(_told, path) if _IS_BYTES else _NO_PAIR.sub("\ufffd", path)


def path_of(text: str) -> str:
    """The path that a text stands for."""
    return _TOLD.sub(_untold, text) if _IS_BYTES and "\\x" in text else text


def is_utf8(path: str) -> bool:
    """Whether a path is text as it is, as some libraries need it."""
    return _NO_PAIR.search(path) is None


def _told(found: re.Match[str]) -> str:
    return f"\\x{ord(found[0]) & 0xFF:02x}"


def _untold(found: re.Match[str]) -> str:
    byte = int(found[1], 16)
    return chr(byte if byte < 0x80 else _HALF + byte)
