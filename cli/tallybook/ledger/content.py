"""Files that are named by their content, so that damage shows whenever one is read."""

from __future__ import annotations

import hashlib
import os
from io import BytesIO
from pathlib import Path

from tallybook.names import is_utf8
from tallybook.private import sync_folder

_SUFFIX = ".parquet"


def put_in_place(aside: Path) -> str:
    """Give a complete file its name, once its content is on the disk. Raises OSError."""
    with aside.open("rb+") as file:
        os.fsync(file.fileno())
    name = _name(aside)
    aside.replace(aside.with_name(name))
    sync_folder(aside.parent)
    return name


def is_whole(path: Path) -> bool:
    """Whether a file holds what was written. Raises OSError."""
    return path.name == _name(path)


def _name(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    return f"{digest.hexdigest()}{_SUFFIX}"


def openable(path: Path) -> Path | BytesIO:
    """What polars and pyarrow can read: they take a name for UTF-8. Raises OSError."""
    return path if is_utf8(str(path)) else BytesIO(path.read_bytes())
