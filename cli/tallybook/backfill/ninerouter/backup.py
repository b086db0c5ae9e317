"""Makes a copy beside a file before it is changed, never half and never over another."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from stat import S_IMODE
from typing import Final

from tallybook.errors import TallybookError
from tallybook.private import new_aside, sweep, sync_folder

SUFFIX: Final = ".before-tallybook"
_RECORD: Final = ".changed-by-tallybook"
_ROOM: Final = 1.1  # what has to be free, as a multiple of what is copied
NOTHING_CHANGED: Final = "Nothing was changed."


def backups(path: Path) -> list[Path]:
    """The copies beside a file, or beside the one that a link leads to; the oldest first."""
    real = path.resolve()
    return [real.with_name(f"{real.name}{SUFFIX}-{each}") for each in _numbers(real, SUFFIX)]


def record_beside(backup: Path) -> Path:
    """Where the record of a run is kept that made this copy first."""
    name, _, number = backup.name.rpartition("-")
    return backup.with_name(f"{name.removesuffix(SUFFIX)}{_RECORD}-{number}")


def _numbers(path: Path, suffix: str) -> list[int]:
    begin = f"{path.name}{suffix}-"  # which may hold what a pattern would mean
    names = (each.name for each in path.parent.iterdir() if each.name.startswith(begin))
    behind = (name.removeprefix(begin) for name in names)
    return sorted(int(each) for each in behind if each.isascii() and each.isdigit())


def _next(path: Path) -> Path:
    """The name of the next copy: behind all that there are, and all that there were."""
    made = [0, *_numbers(path, SUFFIX), *_numbers(path, _RECORD)]
    return path.with_name(f"{path.name}{SUFFIX}-{max(made) + 1}")


def copy_database(path: Path, connection: sqlite3.Connection) -> Path:
    """Copy a database with what its log holds, and make sure that the copy is whole.

    Raises TallybookError where it is not, or where there is no room for it; then no copy is left.
    """
    real = path.resolve()
    require_room(real.parent, _size(connection))
    with _aside(real) as aside:
        connection.execute("BEGIN")
        try:
            before = _marks(connection)
            with closing(sqlite3.connect(aside)) as copy:
                copy.execute("PRAGMA journal_mode = OFF")  # half a copy is thrown away
                connection.backup(copy)
        finally:
            connection.rollback()
        with closing(sqlite3.connect(f"{aside.as_uri()}?immutable=1", uri=True)) as copy:
            sound = copy.execute("PRAGMA integrity_check").fetchall()
            same = _marks(copy) == before
        if sound != [("ok",)] or not same:
            raise TallybookError("the backup is not whole", NOTHING_CHANGED)
        return _named(aside, real)


def copy_document(path: Path, content: bytes) -> Path:
    """Copy a document whose content was just read. Raises TallybookError where there is no room."""
    real = path.resolve()
    require_room(real.parent, 2 * len(content))  # the new document is written aside as well
    with _aside(real) as aside:
        aside.write_bytes(content)
        if aside.read_bytes() != content:
            raise TallybookError("the backup is not whole", NOTHING_CHANGED)
        return _named(aside, real)


def put_record(path: Path, backup: Path, content: bytes) -> None:
    """Keep the record of a run beside its copy. Raises OSError."""
    with _aside(path.resolve()) as aside:
        aside.write_bytes(content)
        _sync(aside)
        keep_rights(backup, aside, must=False)
        aside.replace(record_beside(backup))


def put_in_place(path: Path, content: bytes, check: Callable[[], None]) -> None:
    """Replace a file in one step, under its owner, group and rights; `check` has the last word.

    Raises TallybookError and OSError; then the file is as it was.
    """
    real = path.resolve()
    with _aside(real) as aside:
        aside.write_bytes(content)
        _sync(aside)
        keep_rights(real, aside, must=True)
        check()
        aside.replace(real)
        sync_folder(real.parent)


def take_away(backup: Path) -> None:
    """Remove the copy and the record of a run that changed nothing."""
    for each in (record_beside(backup), backup):
        each.unlink(missing_ok=True)


def row_counts(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """How many rows every table has. Raises sqlite3.Error."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return [
        (name, *connection.execute(f'SELECT count(*) FROM "{_quoted(name)}"').fetchone())  # noqa: S608 - quoted
        for (name,) in names.fetchall()
    ]


def require_room(folder: Path, size: int) -> None:
    """Raise TallybookError where a folder has no room for so many bytes more."""
    needed, free = size * _ROOM, shutil.disk_usage(folder).free
    if free < needed:
        hint = f"It takes {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free. {NOTHING_CHANGED}"
        raise TallybookError(f"no room for a backup in {folder}", hint)


def require_writable(path: Path) -> None:
    """Raise TallybookError where a file, or a copy beside it, plainly cannot be written."""
    real = path.resolve()
    for each in (real, real.parent):
        if not os.access(each, os.W_OK):
            raise TallybookError(f"{each} cannot be written to", NOTHING_CHANGED)
    require_room(real.parent, real.stat().st_size)


def keep_rights(of: Path, on: Path, *, must: bool) -> None:
    """Give a file the owner, group and rights of another.

    Where the owner or the group cannot be given, a copy is for its owner alone; a file that `must`
    have them raises TallybookError.
    """
    state = of.stat()
    shutil.copystat(of, on)
    os.utime(on)  # it was made now
    there = on.stat()
    if not hasattr(os, "chown") or (there.st_uid, there.st_gid) == (state.st_uid, state.st_gid):
        return
    try:
        os.chown(on, state.st_uid, state.st_gid)
        on.chmod(S_IMODE(state.st_mode) & 0o777)  # a change of owner may take rights away
    except OSError as error:
        if must:
            raise TallybookError("its owner cannot be kept", NOTHING_CHANGED) from error
        on.chmod(S_IMODE(state.st_mode) & 0o600)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """An empty file beside another that only its owner may read; gone in the end."""
    begin = f".{path.name}{SUFFIX}."
    sweep(path.parent, begin)
    aside = new_aside(path.parent, begin)
    try:
        yield aside
    finally:
        aside.unlink(missing_ok=True)


def _named(aside: Path, path: Path) -> Path:
    """Give a finished copy the next name that is free, and the rights of the original."""
    _sync(aside)
    keep_rights(path, aside, must=False)
    while True:
        target = _next(path)
        try:
            _put(aside, target)
        except FileExistsError:  # another run took the name
            continue
        sync_folder(path.parent)
        return target


def _put(aside: Path, target: Path) -> None:
    """Move a file to a name that must be free. Raises FileExistsError."""
    try:
        os.link(aside, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        aside.replace(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(connection: sqlite3.Connection) -> int:
    """The bytes of a database with what its log holds."""
    pages = [connection.execute(f"PRAGMA page_{each}").fetchone()[0] for each in ("count", "size")]
    return int(pages[0]) * int(pages[1])


def _marks(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    """How many rows every table has, and what the counts of the usage rows add up to."""
    sums = connection.execute(
        "SELECT max(id), total(promptTokens), total(completionTokens), total(cost)"
        " FROM usageHistory"
    )
    return [*row_counts(connection), sums.fetchone()]


def _quoted(name: str) -> str:
    return name.replace('"', '""')
