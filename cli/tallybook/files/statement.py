"""Reads a file in which another says what was used; its form is for `report.statements` to know."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tallybook.names import path_of

MAX_BYTES: Final = 256 << 20  # a call a line, millions of lines


def read_statement(path: Path) -> bytes:
    """The content of a file or pipe. Raises OSError, also where it is too long to be one."""
    # Its user named it, and may have piped the other tool's answer into it.
    with Path(path_of(os.fspath(path))).open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(0, f"more than {MAX_BYTES >> 20} MB")
    return content
