"""Opens and reads databases so that neither they nor their folder change."""

from __future__ import annotations

import itertools
import re
import shutil
import sqlite3
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from tallybook.files.objects import at_hand, folders
from tallybook.files.regular import NOT_REGULAR, NotRegularError, open_named, open_regular
from tallybook.names import path_of, text_of
from tallybook.schema import Reported
from tallybook.sources import FileFacts, Source, sources
from tallybook.sources.contract import Rows, Tables
from tallybook.sources.lines import problem
from tallybook.sources.sqlite_rows import others_of, tables_of
from tallybook.urls import ObjectPath

_HEADER: Final = struct.Struct(">8I")  # magic, version, page size, number, two salts, checksum
_FRAME: Final = struct.Struct(">6I")  # page, size of the database after a commit, salts, checksum
_LOG_MAGIC: Final = 0x377F0682  # the last bit says in which byte order checksums are taken
_WORD: Final = 0xFFFFFFFF
Sum = tuple[int, int]


def holds_commit(log: Path) -> bool:
    """Whether a transaction in the log is whole, so that the database is incomplete without it.

    Raises OSError. Looks no further than the first one.
    """
    with BufferedReader(open_regular(log)) as stream:
        return any(size for size in _valid_frames(stream))


def _valid_frames(stream: BinaryIO) -> Iterator[int]:
    """The size that each frame says it commits, 0 for none, up to the first that does not hold."""
    head = stream.read(_HEADER.size)
    if len(head) < _HEADER.size:
        return
    magic, _, page, _, *salts, one, two = _HEADER.unpack(head)
    order = ">" if magic & 1 else "<"
    summed = _add(head[:24], (0, 0), order)
    if magic & ~1 != _LOG_MAGIC or summed != (one, two):
        return
    while len(frame := stream.read(_FRAME.size + page)) == _FRAME.size + page:
        _, size, *found, one, two = _FRAME.unpack_from(frame)
        summed = _add(frame[:8] + frame[_FRAME.size :], summed, order)
        if found != salts or summed != (one, two):
            return
        yield size


def _add(content: bytes, summed: Sum, order: str) -> Sum:
    one, two = summed
    for first, second in struct.iter_unpack(f"{order}2I", content):
        one = (one + first + two) & _WORD
        two = (two + second + one) & _WORD
    return one, two


_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_WAL_VERSION: Final = 2  # byte 18 of the header: the journal is a write-ahead log
_BUSY_SECONDS: Final = 5.0
# The file systems of SQLite that take no locks. Only with one of them can a connection that may not
# write keep the index of a write-ahead log in its own memory instead of in a file beside it.
_LOCKLESS: Final = "win32-none" if sys.platform == "win32" else "unix-none"
_IN_MEMORY: Final = "PRAGMA locking_mode = exclusive"
_NO_CHECKPOINT_ON_CLOSE: Final = 1006  # sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE
_LOOK: Final = "SELECT count(*) FROM sqlite_master"
# Where a name or a text of the database begins in an error.
_QUOTED: Final = re.compile(r"""near |[:("']""")
# Steps of SQLite's machine for each byte of a database, and besides. A reading takes a few for each
# row; in a damaged table, which may lead back to itself, it would take them for ever.
_STEPS_PER_BYTE: Final = 10
_STEPS: Final = 20_000_000
_STEPS_AT_ONCE: Final = 100_000
_MOST_BYTES: Final = 64 << 20  # of one value
# Makes SQLite read on in a file that is shorter than its header says.
_SALVAGE: Final = "PRAGMA writable_schema = 1"


class Unclaimed(Exception):  # noqa: N818 - it is an answer
    """No source, or more than one, recognises the tables; `names` are those that do."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self.names = names


class _Way(msgspec.Struct, frozen=True):
    """How a database is opened. `alone`: nothing but this connection is thought to use it."""

    options: str
    first: str | None = None
    alone: bool = False


def is_database(path: Path) -> bool:
    """Whether the file begins as a SQLite database does. Raises OSError."""
    with open_named(path) as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def may_be_database(first: bytes) -> bool:
    """Whether a file with these first plain bytes is one, if they are not packed."""
    return first.startswith(_MAGIC)


def read_database(
    path: Path, facts: Callable[[Source, Path], FileFacts]
) -> Iterator[tuple[str, Rows]]:
    """Name of the source and some rows, again and again. Raises Unclaimed, sqlite3.Error."""
    with connect(path) as connection:
        found, others = tables_of(connection), others_of(connection)
        source = _claimed(found) or _claimed({**others, **found})
        if source is None or source.query is None:
            raise Unclaimed([])
        if source.recognise(found):
            for rows in source.query(connection, facts(source, path)):
                yield source.name, rows
        if passed_over := _passed_over(source, found, others):
            yield source.name, passed_over
        if missing := _missing(_real(path)):
            yield source.name, [problem(0, "truncated", missing)]


def copies_beside(source: Source, path: Path) -> tuple[tuple[str, bytes], ...]:
    """What earlier states of a database say, by the names of the folders that they lie in.

    Nothing where one cannot be read: as a log of its own it says so itself.
    """
    folder = source.copies(path.name) if source.copies else None
    if folder is None or source.glance is None:
        return ()
    try:
        names = sorted(_folders(path.parent / folder))
    except OSError:
        return ()
    return tuple((name, _glance(source, path.parent / folder / name / path.name)) for name in names)


def _folders(path: Path) -> list[str]:
    """The names of the folders in one, as texts. Raises OSError."""
    if isinstance(path, ObjectPath):
        return folders(str(path))
    return [text_of(each.name) for each in _real(path).iterdir() if each.is_dir()]


def _glance(source: Source, path: Path) -> bytes:
    try:
        with at_hand(path) as copy, connect(copy) as connection:
            return source.glance(connection) if source.glance else b""
    except (OSError, sqlite3.Error):
        return b""


def _claimed(found: Tables) -> Source | None:
    """The source whose tables these are, None for none. Raises Unclaimed for more than one."""
    claimed = [source for source in sources().values() if source.recognise(found)]
    if len(claimed) > 1:
        raise Unclaimed([source.name for source in claimed])
    return claimed[0] if claimed else None


def _passed_over(source: Source, found: Tables, others: Tables) -> list[Reported]:
    """A problem for each thing of a source's that is not a table as it writes them."""
    alone = [name for name, columns in others.items() if source.recognise({name: columns})]
    names = alone or ([] if source.recognise(found) else sorted(others))
    rows = [problem(0, "unreadable", f"{name} is a view, or has no row numbers") for name in names]
    for row, name in zip(rows, names, strict=True):
        row.part = name
    return rows


@contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, with the rows of the write-ahead log in view.

    Neither the database nor a file beside it is changed or made. Only where a writer died in the
    middle of a change, and its journal has to be rolled back, is a copy made and read. Raises
    OSError and sqlite3.Error, at the end also where the file changed under a reading that took no
    locks.
    """
    path = _real(path).resolve()  # the log lies beside the file that a link leads to
    _check_beside(path)
    with ExitStack() as stack:
        way = _way(path)
        try:
            connection = _open(path, way)
        except sqlite3.OperationalError as error:
            if not _needs_copy(path, error):
                raise
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tallybook-"))
            way = _Way("mode=rw")
            connection = _open(_copied(path, Path(folder)), way)
        stack.enter_context(closing(connection))
        before = _mark(path)
        yield connection
        if way.alone and _mark(path) != before:
            raise sqlite3.OperationalError("the database changed while it was read")


def _check_beside(path: Path) -> None:
    """SQLite opens what stands for its journals whatever it is, and would wait for a pipe."""
    for suffix in ("-wal", "-shm", "-journal"):
        beside = _beside(path, suffix)
        if beside.exists() and not beside.is_file():
            raise NotRegularError(beside, f"{text_of(beside.name)} is {NOT_REGULAR}")


def _way(path: Path) -> _Way:
    """The one way to open a database, as it lies there, that changes nothing.

    An ordinary open makes or rewrites the index of a write-ahead log, and an immutable one passes
    over the log.
    """
    if not _keeps_log(path):
        return _Way("mode=ro")
    if _beside(path, "-shm").exists():
        return _Way("mode=ro&readonly_shm=1")
    # Without a transaction in the log SQLite would take it for done with, and remove it.
    if _size(_beside(path, "-wal")) and holds_commit(_beside(path, "-wal")):
        return _Way(f"mode=ro&vfs={_LOCKLESS}", _IN_MEMORY, alone=True)
    return _Way("immutable=1", alone=True)


def _open(path: Path, way: _Way) -> sqlite3.Connection:
    address = f"{path.as_uri()}?{way.options}"
    connection = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)
    connection.set_progress_handler(_end_after(_size(path)), _STEPS_AT_ONCE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
    try:
        if way.first:
            _keep_log(connection)
            connection.execute(way.first)
        try:
            connection.execute(_LOOK).fetchone()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if isinstance(error, sqlite3.Error) and _code(error) != sqlite3.SQLITE_CORRUPT:
                raise
            connection.execute(_SALVAGE)
            connection.execute(_LOOK).fetchone()
        connection.execute("PRAGMA query_only = 1")
    except UnicodeDecodeError as error:  # in the words of SQLite's error, which quote the schema
        connection.close()
        raise sqlite3.DatabaseError("malformed database schema") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _end_after(size: int) -> Callable[[], bool]:
    """Tells from when on a database of so many bytes is to be read no farther.

    No line of Python is in it: the interpreter would raise an interrupt there, and SQLite take it
    for its word to end.
    """
    times = (_STEPS + _STEPS_PER_BYTE * size) // _STEPS_AT_ONCE
    return itertools.chain(itertools.repeat(False, times), itertools.repeat(True)).__next__


def words(error: sqlite3.Error) -> str:
    """What an error says, without what it quotes of the database."""
    if _code(error) == sqlite3.SQLITE_INTERRUPT:
        return "its tables lead back to themselves, or there is no end to them"
    return _QUOTED.split(str(error), maxsplit=1)[0].strip() or type(error).__name__


def is_passing(error: sqlite3.Error) -> bool:
    """Whether the same database may be readable at another time."""
    is_ended = _code(error) == sqlite3.SQLITE_INTERRUPT
    return isinstance(error, sqlite3.OperationalError) and not is_ended


def _keep_log(connection: sqlite3.Connection) -> None:
    """Have the log left alone in the end; Python 3.11 cannot ask for that.

    There what prevents it is that the database is open for reading only.
    """
    configure = getattr(connection, "setconfig", None)
    if configure is not None:
        configure(_NO_CHECKPOINT_ON_CLOSE, True)


def _needs_copy(path: Path, error: sqlite3.OperationalError) -> bool:
    """Whether a journal waits to be rolled back, or a log cannot be read where it lies."""
    if error.sqlite_errorcode == sqlite3.SQLITE_READONLY_ROLLBACK:
        return True
    busy = _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return bool(_keeps_log(path) and _size(_beside(path, "-wal")) and not busy)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _copied(path: Path, folder: Path) -> Path:
    copy = folder / "copy.sqlite"
    # The log before the database: a checkpoint in between then costs nothing.
    for suffix in ("-wal", "-journal", ""):
        if _beside(path, suffix).exists():
            shutil.copyfile(_beside(path, suffix), _beside(copy, suffix))
    return copy


def _header(path: Path) -> bytes:
    with open_regular(path) as stream:
        return stream.read(_HEADER_BYTES)


def _keeps_log(path: Path) -> bool:
    return _header(path)[18:19] == bytes([_WAL_VERSION])


def _missing(path: Path) -> str | None:
    """What is said of a file that has fewer pages than its header states; None where it has all.

    Pages that only the write-ahead log holds are no loss, so a file with a log is not judged. Nor
    is one from a version that did not keep the number.
    """
    header = _header(path)
    kept = len(header) == _HEADER_BYTES and header[24:28] == header[92:96]
    if not kept or _size(_beside(path, "-wal")):
        return None
    page = int.from_bytes(header[16:18], "big")
    page = 1 << 16 if page == 1 else page
    stated, there = int.from_bytes(header[28:32], "big"), _size(path) // max(page, 1)
    return f"the file has {there} of its {stated} pages" if there < stated else None


def _real(path: Path) -> Path:
    return Path(path_of(str(path)))


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _mark(path: Path) -> tuple[int, int]:
    """Size and time of the database, by which a change would show."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns
