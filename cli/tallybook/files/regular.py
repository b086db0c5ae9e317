"""Tells what is there, and opens what holds a log: nothing that a reading could wait for for ever.

Before Python 3.14 `pathlib` raises an error where something cannot be looked at, as below a folder
that is closed to the user; for who asks here nothing is there then.
"""

from __future__ import annotations

import os
import stat
from errno import EINVAL, ENXIO
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tallybook.names import path_of
from tallybook.urls import is_url

if TYPE_CHECKING:
    from tallybook.files.objects import ObjectStream

NOT_REGULAR: Final = "not a regular file"
# A pipe is opened without waiting for somebody to write to it. Regular files know no difference.
_AT_ONCE: Final[int] = getattr(os, "O_NONBLOCK", 0)


def is_there(path: Path) -> bool:
    """Whether something is there."""
    return os.path.exists(path)  # noqa: PTH110 - see above


def is_file(path: Path) -> bool:
    """Whether it is a regular file."""
    return os.path.isfile(path)  # noqa: PTH113 - see above


def is_folder(path: Path) -> bool:
    """Whether it is a folder."""
    return os.path.isdir(path)  # noqa: PTH112 - see above


class NotRegularError(OSError):
    """A pipe, a socket or a device stands where a file is expected."""

    def __init__(self, path: str | Path, words: str = NOT_REGULAR) -> None:
        super().__init__(EINVAL, words, str(path))


def open_regular(path: str | Path) -> FileIO:
    """The file's bytes, unbuffered. Raises OSError, NotRegularError where it is no regular file.

    What is asked is what was opened, not the path: another file may take its place in between.
    """
    try:
        stream = FileIO(path, "rb", opener=opened_at_once)
    except OSError as error:
        if error.errno == ENXIO:  # a socket cannot be opened
            raise NotRegularError(path) from error
        raise
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise NotRegularError(path)
    return stream


def open_named(path: str | Path) -> FileIO | ObjectStream:
    """The same of a file that is named by text, see `names`, or of an object by its URL."""
    text = os.fspath(path)
    if is_url(text):
        from tallybook.files.objects import open_object  # noqa: PLC0415 - few name a URL

        return open_object(text)
    return open_regular(path_of(text))


def opened_at_once(path: str, flags: int) -> int:
    """An opener that does not wait for a pipe to be written to."""
    return os.open(path, flags | _AT_ONCE)
