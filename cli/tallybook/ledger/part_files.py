"""Files of parts: a part that is kept is named by its content, so that damage shows.

What only looks at them needs no library of tables.
"""

from __future__ import annotations

import hashlib
import os
from io import BytesIO
from pathlib import Path
from typing import Final

from tallybook.names import is_utf8
from tallybook.private import open_regular, sync_folder

_SUFFIX: Final = ".parquet"
_ASIDE: Final = ".arrow"  # of a part that only the run reads which wrote it


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
    with open_regular(path) as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    return f"{digest.hexdigest()}{_SUFFIX}"


def openable(path: Path) -> Path | BytesIO:
    """What polars and pyarrow can read: they take a name for UTF-8. Raises OSError."""
    return path if is_utf8(str(path)) else BytesIO(path.read_bytes())


def put_aside(aside: Path) -> str:
    """Give a complete file a name by which it is known as one that is not kept."""
    name = f"{os.urandom(16).hex()}{_ASIDE}"
    aside.replace(aside.with_name(name))
    return name


def is_aside(name: str) -> bool:
    """Whether a part of this name is read by the run alone that wrote it."""
    return name.endswith(_ASIDE)
