"""Folders and files that are their user's alone, whatever the umask, written aside and renamed."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

_FOLDER: Final = 0o700
OWN: Final = 0o600  # a file's
_OTHERS: Final = 0o077
_SUFFIX: Final = ".aside"
# The number of the run that writes it, and what tells it from others of that run. The builds before
# put the number alone, or none.
_ASIDE: Final = re.compile(
    r"(?:.*[.-])?(\d+)-[0-9a-f]{16}\.aside|(?:.*[.-])?(\d+)\.aside", re.DOTALL
)
# Numbers of runs come again: after a restart, and in each container from 1.
_ABANDONED_SECONDS: Final = 3600
# Never through a link that somebody else has put there; and bytes as they are, on Windows.
_NEW: Final = (
    os.O_CREAT
    | os.O_EXCL
    | os.O_RDWR
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_READ: Final = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for the user alone. Raises OSError."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(_FOLDER)
        folder.chmod(_FOLDER)  # the umask may have taken some of the owner's own
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def tighten(folder: Path) -> None:
    """Take from others the rights to a folder of ours and to our files in it, if they had any.

    Links are not followed, and what is another user's is left as it is. Windows keeps such rights
    in another way, and gives none to others in a user's own folders.
    """
    if sys.platform == "win32":
        return
    with suppress(OSError):
        state = os.lstat(folder)
        if not stat.S_ISDIR(state.st_mode):
            return
        _tighten_one(str(folder), state)
        with os.scandir(folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    state = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(state.st_mode):
                        _tighten_one(entry.path, state)


def _tighten_one(path: str, state: os.stat_result) -> None:
    """By a handle, so that it is the same that was looked at."""
    if state.st_uid != os.geteuid() or not state.st_mode & _OTHERS:
        return
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        there = os.fstat(handle)
        if (there.st_dev, there.st_ino) == (state.st_dev, state.st_ino):
            os.fchmod(handle, stat.S_IMODE(there.st_mode) & ~_OTHERS)
    finally:
        os.close(handle)


def open_own(path: Path) -> int:
    """A handle for a file of ours, made where it is missing. Raises OSError, also for a link."""
    handle = os.open(path, _NEW & ~os.O_EXCL, OWN)
    with suppress(OSError):
        if sys.platform != "win32" and os.fstat(handle).st_uid == os.geteuid():
            os.fchmod(handle, OWN)
    return handle


def open_regular(path: Path) -> BufferedReader:
    """A file to read; no link, and nothing that one could wait for or that has no end.

    Raises OSError.
    """
    try:
        handle = os.open(path, _READ)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a link", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(handle, "rb")


def read_own(path: Path) -> bytes:
    """What a file of ours holds. Raises OSError, also where another thing stands in its place."""
    with open_regular(path) as stream:
        return stream.read()


@contextmanager
def aside(folder: Path, begin: str = "", rights: int = OWN) -> Iterator[Path]:
    """A new, empty file in a folder, to be written and renamed; it is removed where that fails.

    Its name begins as given. Raises OSError.
    """
    path = new_aside(folder, begin, rights)
    try:
        yield path
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def new_aside(folder: Path, begin: str = "", rights: int = OWN) -> Path:
    """A new, empty file in a folder that whoever asks for it renames or removes. Raises OSError.

    Other `rights` than the owner's are given as far as the umask lets them.
    """
    path = folder / f"{begin}{os.getpid()}-{os.urandom(8).hex()}{_SUFFIX}"
    os.close(os.open(path, _NEW, rights))
    if rights == OWN:
        path.chmod(rights)
    return path


def write_aside(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write beside and rename; as `writing_aside`."""
    with writing_aside(path, sync=sync) as file:
        file.write(content)


@contextmanager
def writing_aside(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """A file to write beside, which is renamed then; with `sync` its content is on the disk before.

    Raises OSError; nothing is left behind then.
    """
    with aside(path.parent) as beside:
        with beside.open("wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        beside.replace(path)
    if sync:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sweep(folder: Path, begin: str = "") -> None:
    """Remove what killed runs have left aside in a folder, of names that begin as given.

    Among files that are all ours (without `begin`) also those whose name tells no run. One that is
    taken from a run that still writes it costs that run only what it wanted to keep.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(begin) and entry.name.endswith(_SUFFIX):
                with suppress(OSError):
                    if _is_abandoned(entry, begin):
                        Path(entry.path).unlink()


def _is_abandoned(entry: os.DirEntry[str], begin: str) -> bool:
    state = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(state.st_mode):
        return False
    found = _ASIDE.fullmatch(entry.name.removeprefix(begin))
    if found is None:
        return not begin
    number = int((found[1] or found[2])[-18:])
    if number != os.getpid() and not _is_running(number):
        return True
    return state.st_mtime < time.time() - _ABANDONED_SECONDS


def _is_running(number: int) -> bool:
    if sys.platform == "win32":
        return True  # the question itself would end it there
    try:
        os.kill(number, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
