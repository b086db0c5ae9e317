"""Opens a SQLite database so that neither it nor its folder changes, and has it read."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tallybook.sources import FileFacts, Source, sources

if TYPE_CHECKING:
    import pyarrow as pa

    from tallybook.sources.contract import Tables

_MAGIC = b"SQLite format 3\0"
_WAL_VERSION = 2  # byte 18 of the header: the journal is a write-ahead log


class Unclaimed(Exception):  # noqa: N818 - it is an answer
    """No source, or more than one, recognises the tables; `names` are those that do."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self.names = names


def is_database(path: Path) -> bool:
    """Whether the file begins as a SQLite database does. Raises OSError."""
    with path.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def read_database(
    path: Path, facts: Callable[[Source, Path], FileFacts]
) -> Iterator[tuple[str, pa.Table]]:
    """Name of the source and a table of rows, again and again. Raises Unclaimed, sqlite3.Error."""
    with connect(path) as connection:
        found = tables(connection)
        claimed = [source for source in sources().values() if source.recognise(found)]
        if len(claimed) != 1 or claimed[0].query is None:
            raise Unclaimed([source.name for source in claimed])
        for rows in claimed[0].query(connection, facts(claimed[0], path)):
            yield claimed[0].name, rows


def tables(connection: sqlite3.Connection) -> Tables:
    """The columns of every table and view that can be looked at."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
    found = {}
    for (name,) in names.fetchall():
        try:
            columns = connection.execute("SELECT name FROM pragma_table_info(?)", (name,))
            found[name] = frozenset(column for (column,) in columns)
        except sqlite3.Error:  # a view on a missing table, a module that is not loaded
            continue
    return found


@contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, with the rows of the write-ahead log in view.

    An immutable open passes over the log, an ordinary one leaves a file beside it; so a log that
    lies there without its index is read from a copy.
    """
    log, index = Path(f"{path}-wal"), Path(f"{path}-shm")
    if not _keeps_log(path):
        options = "mode=ro"
    elif log.exists() and index.exists():
        options = "mode=ro&readonly_shm=1"
    elif log.exists() and log.stat().st_size:
        with tempfile.TemporaryDirectory(prefix="tallybook-") as folder:
            copy = Path(folder) / "copy.sqlite"
            shutil.copyfile(log, f"{copy}-wal")
            shutil.copyfile(path, copy)
            with closing(_open(copy, "mode=ro")) as connection:
                yield connection
        return
    else:
        options = "immutable=1"
    with closing(_open(path, options)) as connection:
        yield connection


def _keeps_log(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(20)[18:19] == bytes([_WAL_VERSION])


def _open(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?{options}", uri=True, timeout=5)
    connection.execute("PRAGMA query_only = 1")
    return connection
