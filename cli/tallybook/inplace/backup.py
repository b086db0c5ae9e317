"""Makes a copy beside a file before it is changed, and finds it again."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from tallybook.errors import TallybookError

SUFFIX: Final = ".before-tallybook"
_ROOM: Final = 1.1  # what has to be free, as a multiple of what is copied


def backups(path: Path) -> list[Path]:
    """The copies beside a file, the oldest first."""
    found = path.parent.glob(f"{path.name}{SUFFIX}-*")
    numbered = [(each.name.rpartition("-")[2], each) for each in found]
    return [each for number, each in sorted(numbered, key=_number) if number.isdigit()]


def _number(named: tuple[str, Path]) -> int:
    return int(named[0]) if named[0].isdigit() else 0


def next_backup(path: Path) -> Path:
    """The name of the next copy; none is ever written over."""
    made = backups(path)
    number = int(made[-1].name.rpartition("-")[2]) + 1 if made else 1
    return path.with_name(f"{path.name}{SUFFIX}-{number}")


def copy_database(path: Path, connection: sqlite3.Connection, target: Path) -> None:
    """Copy a database with what its log holds, and make sure that the copy is whole.

    Raises TallybookError where it is not, or where there is no room for it; then no copy is left.
    """
    _make_room(path, target)
    _create(path, target)
    try:
        connection.execute("BEGIN")
        try:
            before = _marks(connection)
            with closing(sqlite3.connect(target)) as copy:
                connection.backup(copy)
        finally:
            connection.rollback()
        with closing(sqlite3.connect(f"{target.as_uri()}?immutable=1", uri=True)) as copy:
            sound = copy.execute("PRAGMA integrity_check").fetchall()
            same = _marks(copy) == before
        if sound != [("ok",)] or not same:
            raise TallybookError(f"{path}: the backup is not whole", "Nothing was changed.")
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _marks(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    """How many rows every table has, and what the counts of the usage rows add up to."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    counted = [
        (name, *connection.execute(f'SELECT count(*) FROM "{_quoted(name)}"').fetchone())  # noqa: S608 - quoted
        for (name,) in names.fetchall()
    ]
    sums = connection.execute(
        "SELECT max(id), total(promptTokens), total(completionTokens), total(cost)"
        " FROM usageHistory"
    )
    return [*counted, sums.fetchone()]


def _quoted(name: str) -> str:
    return name.replace('"', '""')


def copy_document(path: Path, content: bytes, target: Path) -> None:
    """Copy a document whose content was just read. Raises TallybookError where there is no room."""
    _make_room(path, target)
    _create(path, target)
    try:
        with target.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if target.read_bytes() != content:
            raise TallybookError(f"{path}: the backup is not whole", "Nothing was changed.")
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _make_room(path: Path, target: Path) -> None:
    needed, free = path.stat().st_size * _ROOM, shutil.disk_usage(target.parent).free
    if free < needed:
        hint = f"It takes {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free."
        raise TallybookError(f"{target.parent}: no room for a backup", hint)


def _create(path: Path, target: Path) -> None:
    """An empty file that only those may read who may read the original: it holds the same keys."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, path.stat().st_mode & 0o777))
