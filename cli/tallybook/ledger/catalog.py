"""The catalogue of a ledger: an entry for each file, and where its reader goes on, in one database.

What a run changes is one transaction, so whatever is killed, a reader finds the state before or the
state after. SQLite notices damage to its own structure alone: a digest of all entries shows any
change of them, and one of each row tells then which are sound.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from tallybook.errors import words_of
from tallybook.files import sqlite
from tallybook.ledger import older
from tallybook.ledger.manifest import Damaged, Entry, Foreign, Manifest, name_once
from tallybook.names import text_of
from tallybook.private import aside, open_regular, sync_folder

NAME: Final = "catalog.sqlite"
JOURNAL: Final = f"{NAME}-journal"
PARTS: Final = "parts"  # a folder
FORMAT: Final = 2  # 1 was a file that was written anew with each change
_MAGIC: Final = b"SQLite format 3\0"
_APPLICATION: Final = 0x74627963  # in the header, by which it is known as ours
_TABLES: Final = f"""
    PRAGMA application_id = {_APPLICATION};
    CREATE TABLE ledger (content BLOB NOT NULL, digest BLOB NOT NULL);
    CREATE TABLE file (path TEXT PRIMARY KEY, entry BLOB NOT NULL, digest BLOB NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE state (file_id TEXT PRIMARY KEY, state BLOB NOT NULL, digest BLOB NOT NULL)
        WITHOUT ROWID;
"""
_BUSY_SECONDS: Final = 30.0
_SYNCHRONOUS: Final = "EXTRA"  # what is committed is on the disk, whatever happens then
_AT_ONCE: Final = 256  # rows
_MOST_ENTRIES_BYTES: Final = 256 << 20
# Of so many entries one is changed, at least, where it pays to look for states that nobody needs.
_MANY: Final = 8
# What keeps a database from being read now, and says nothing of what it holds.
_PASSING: Final = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_NOMEM,
    )
)


class _Version(msgspec.Struct, array_like=True):
    """What any version says of a ledger before all else."""

    format: int


class _Head(_Version, array_like=True):
    """What is said of the ledger as a whole; `total` is the digest of all its files."""

    generation: int
    total: bytes
    corrections: list[str] = []
    before: list[str] = []


_decoded = msgspec.msgpack.Decoder(Entry).decode
_encoded = msgspec.msgpack.Encoder().encode


def load(folder: Path) -> tuple[Manifest, str | None]:
    """What a ledger holds, and a word where that was damaged; an empty one where there is none.

    What is damaged or lost is made up from the parts; see `recovered`. Raises OSError where it
    cannot be read now, Damaged where another thing or that of another version stands in its place.
    """
    manifest, damage, _ = _found(folder)
    return manifest, damage


def prepared(folder: Path) -> tuple[Manifest, str | None]:
    """As `load`, for a run that alone may write: what it gives is what the catalogue now holds.

    What a killed run had begun to write is put back, and that of an older version taken over.
    Raises Damaged, OSError.
    """
    if os.path.lexists(folder / JOURNAL):
        with suppress(OSError), _writing(folder / NAME):
            pass
    manifest, damage, is_kept = _found(folder)
    if not is_kept:
        save(folder, manifest)
    return manifest, damage


def _found(folder: Path) -> tuple[Manifest, str | None, bool]:
    """As `load`, with whether the catalogue itself holds all of it."""
    path, damage, manifest = folder / NAME, None, None
    try:
        if _is_there(path):
            return _read(path), None, True
        manifest, damage = older.load(folder)
    except Foreign:
        raise
    except Damaged as error:
        damage = f"{path}: {error}"
    if manifest is None and (damage or any((folder / PARTS).glob("*.parquet"))):
        from tallybook.ledger.recovery import recovered  # noqa: PLC0415 - imports polars

        manifest = recovered(folder)
        if manifest.entries:
            damage = damage or f"{path}: missing"
    return manifest or Manifest(), damage, False


def _is_there(path: Path) -> bool:
    """Whether a file has anything in it: a run that is killed may have made it and no more."""
    try:
        with open_regular(path) as file:
            return bool(file.read(1))
    except FileNotFoundError:
        return False


def is_catalog(path: Path) -> bool:
    """Whether a file begins as a catalogue does. Raises OSError."""
    try:
        with open_regular(path) as file:
            header = file.read(100)
    except FileNotFoundError:
        return False
    return header.startswith(_MAGIC) and header[68:72] == _APPLICATION.to_bytes(4, "big")


def _read(path: Path) -> Manifest:
    with _reading(path) as base:
        head = _head(base)
        entries: dict[str, Entry] = {}
        texts: dict[str, str] = {}
        held, total = texts.setdefault, _Total()
        for rows in _files(base):
            total.add(rows)
            for name, content in rows:
                entry = entries[name] = _decoded(content)
                entry.path = name
                entry.encoded_place = entry.encoded_place.copy()
                entry.code = held(entry.code, entry.code)
                name_once(entry.rows, texts)
                if entry.tentative or entry.deleted:
                    name_once(entry.tentative + entry.deleted, texts)
    if total.digest() != head.total:
        raise Damaged("damaged")
    return Manifest(
        generation=head.generation,
        entries=entries,
        corrections=head.corrections,
        before=head.before,
    )


def _files(base: sqlite3.Connection) -> Iterator[list[tuple[str, bytes]]]:
    """The paths and entries of all files in their order, so many at once."""
    cursor = base.execute("SELECT path, entry FROM file ORDER BY path")
    while rows := cursor.fetchmany(_AT_ONCE):
        yield rows


class _Total:
    """The digest of all files. Of many at once it takes a third of what it does one by one."""

    def __init__(self) -> None:
        self._paths, self._entries = blake2b(digest_size=16), blake2b(digest_size=16)

    def add(self, rows: Sequence[tuple[str, bytes]]) -> None:
        """Take the next files in the order of their paths."""
        self._paths.update("\n".join([*(path for path, _ in rows), ""]).encode())
        self._entries.update(b"".join([content for _, content in rows]))

    def digest(self) -> bytes:
        """That of all that was taken."""
        return self._paths.digest() + self._entries.digest()


def _total(base: sqlite3.Connection) -> bytes:
    total = _Total()
    for rows in _files(base):
        total.add(rows)
    return total.digest()


def _head(base: sqlite3.Connection) -> _Head:
    rows = base.execute("SELECT content, digest FROM ledger").fetchall()
    if len(rows) != 1 or _digest("", rows[0][0]) != rows[0][1]:
        raise Damaged("damaged")
    told = msgspec.msgpack.decode(rows[0][0], type=_Version)
    if told.format != FORMAT:
        raise Foreign(f"written by another version of tallybook (format {told.format})")
    return msgspec.msgpack.decode(rows[0][0], type=_Head)


def _digest(name: str, content: bytes) -> bytes:
    return blake2b(name.encode() + content, digest_size=8).digest()


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The database as of one moment. Raises OSError where that cannot be now, Damaged."""
    try:
        _check(path)
        with sqlite.connect(Path(text_of(str(path)))) as base:
            base.execute("BEGIN")
            yield base
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
            raise OSError(errno.EIO, str(error), str(path)) from error
        raise Damaged("damaged") from error
    except (msgspec.MsgspecError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise Damaged("damaged") from error


def _check(path: Path) -> None:
    """Raise OSError where a catalogue, or what SQLite opens beside it, is a link or no file.

    It would wait for a pipe without end.
    """
    with open_regular(path):
        pass
    for suffix in ("-journal", "-wal"):
        with suppress(FileNotFoundError), open_regular(path.with_name(path.name + suffix)):
            pass


class Rows:
    """What can be read of a catalogue that may be damaged, or made up: nothing of it is believed.

    `files` have the entries of the rows whose digest holds, by path. Raises Damaged, OSError.
    """

    def __init__(self, path: Path) -> None:
        self.files: dict[str, bytes] = {}
        self.corrections: list[str] = []
        self.generation = 0
        with _reading(path) as base:
            head = _head_or_none(base)
            if head is not None:
                self.corrections, self.generation = head.corrections, head.generation
            # What is beyond a page that cannot be read is met from behind.
            for order in ("ASC", "DESC"):
                self._take(base, order)
            self.is_whole = head is not None and self._is_total(head)

    def _take(self, base: sqlite3.Connection, order: str) -> None:
        """Take rows up to one that cannot be read."""
        left = _MOST_ENTRIES_BYTES
        columns = "CAST(path AS BLOB), CAST(entry AS BLOB), CAST(digest AS BLOB)"
        with suppress(sqlite3.Error):
            for name, content, digest in base.execute(
                f"SELECT {columns} FROM file ORDER BY path {order}"  # noqa: S608 - no words of others
            ):
                left -= len(content)
                if left < 0:
                    raise Damaged(f"entries of more than {_MOST_ENTRIES_BYTES:,} bytes")
                with suppress(UnicodeDecodeError):
                    if digest == _digest(name.decode(), content):
                        self.files.setdefault(name.decode(), content)

    def _is_total(self, head: _Head) -> bool:
        total = _Total()
        total.add(sorted(self.files.items()))
        return total.digest() == head.total


def _head_or_none(base: sqlite3.Connection) -> _Head | None:
    try:
        return _head(base)
    except Foreign:
        raise
    except (Damaged, sqlite3.Error, msgspec.MsgspecError, TypeError, ValueError):
        return None


def entry_of(path: str, content: bytes) -> Entry:
    """The entry of a row. Raises Damaged."""
    try:
        entry = _decoded(content)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Damaged(str(error)) from error
    entry.path = path
    return entry


def save(
    folder: Path,
    manifest: Manifest,
    before: Manifest | None = None,
    states: Mapping[str, bytes] | None = None,
) -> None:
    """Put the next state in place of the one `before`, which `prepared` gave or was saved last.

    What one of both has and the other has not is written, and the `states` of readers by file id.
    Without `before`, all is written anew. Raises OSError.
    """
    if before is None:
        _write_whole(folder, manifest)
        return
    manifest.before = sorted({*before.parts()} - {*manifest.parts()})
    with _writing(folder / NAME) as base:
        head = _head(base)
        if head.generation != before.generation:
            raise OSError(errno.EBUSY, "another run has written the ledger", str(folder / NAME))
        # What is damaged since it was read would be in the next digest as if it were sound.
        if head.total != _total(base):
            raise Damaged("damaged")
        old, new = _differing(before.entries, manifest.entries)
        base.executemany("DELETE FROM file WHERE path = ?", ((path,) for path in old))
        _put(base, new)
        _put_head(base, manifest)
        _put_states(base, states or {})
        _drop_states(base, before, manifest, old)


def _differing(
    before: Mapping[str, Entry], after: Mapping[str, Entry]
) -> tuple[list[str], list[Entry]]:
    """The paths whose entries go, and the entries that come; those that are both are as they were.

    In the order of their paths, as they lie in the database.
    """
    new = [entry for path, entry in after.items() if before.get(path) is not entry]
    old = set(before.keys() - after.keys())
    old |= {entry.path for entry in new if entry.path in before}
    return sorted(old), sorted(new, key=lambda entry: entry.path)


def _put(base: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    rows = ((each.path, _encoded(msgspec.structs.replace(each, path=""))) for each in entries)
    digested = ((path, content, _digest(path, content)) for path, content in rows)
    base.executemany("INSERT INTO file VALUES (?, ?, ?)", digested)


def _put_head(base: sqlite3.Connection, manifest: Manifest) -> None:
    """Say what the ledger is, once its files are put."""
    names = manifest.corrections, manifest.before
    content = _encoded(_Head(FORMAT, manifest.generation, _total(base), *names))
    base.execute("DELETE FROM ledger")
    base.execute("INSERT INTO ledger VALUES (?, ?)", (content, _digest("", content)))


def _put_states(base: sqlite3.Connection, states: Mapping[str, bytes]) -> None:
    rows = ((name, states[name], _digest(name, states[name])) for name in sorted(states))
    base.executemany("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", rows)


def _drop_states(
    base: sqlite3.Connection, before: Manifest, after: Manifest, old: list[str]
) -> None:
    """Drop states that nobody goes on from; where much is new, also those of killed runs."""
    live = {entry.file_id for entry in after.entries.values() if entry.has_state}
    named = [before.entries[path].file_id for path in old]
    if len(old) * _MANY >= len(after.entries):
        named = [name for (name,) in base.execute("SELECT file_id FROM state")]
    gone = ((name,) for name in named if name not in live)
    base.executemany("DELETE FROM state WHERE file_id = ?", gone)


def keep_states(folder: Path, states: Mapping[str, bytes]) -> None:
    """Keep states of readers by file id, for a run that may have too many to hold. Raises OSError.

    Nothing refers to them until the run has ended.
    """
    with _writing(folder / NAME) as base:
        _put_states(base, states)


def states(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The states that are kept by these file ids, but for what is damaged: it costs time only."""
    found: dict[str, bytes] = {}
    with suppress(OSError, Damaged), _reading(folder / NAME) as base:
        for name in names:
            query = "SELECT state, digest FROM state WHERE file_id = ?"
            for state, digest in base.execute(query, (name,)):
                if _digest(name, state) == digest:
                    found[name] = state
    return found


@contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction, which a run that alone may write makes. Raises OSError.

    The journal goes last: until then, a run that finds it puts all back. What is deleted is
    overwritten, so that no page holds an entry that was to be forgotten or gives it again.
    """
    try:
        _check(path)
        address = f"{path.resolve().as_uri()}?mode=rw"
        with closing(
            sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
        ) as base:
            base.execute("PRAGMA journal_mode = DELETE")
            base.execute(f"PRAGMA synchronous = {_SYNCHRONOUS}")
            base.execute("PRAGMA secure_delete = ON")
            base.execute("BEGIN IMMEDIATE")
            try:
                yield base
                base.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    base.execute("ROLLBACK")
                raise
    except (sqlite3.Error, Damaged) as error:
        raise OSError(errno.EIO, words_of(error), str(path)) from error


def _write_whole(folder: Path, manifest: Manifest) -> None:
    with aside(folder) as path:
        try:
            _write_aside(path, manifest)
        except sqlite3.Error as error:
            raise OSError(errno.EIO, str(error), str(path)) from error
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        # Whoever opened the new one beside it would put back what the old one was.
        (folder / JOURNAL).unlink(missing_ok=True)
        path.replace(folder / NAME)
        sync_folder(folder)
    older.remove(folder)


def _write_aside(path: Path, manifest: Manifest) -> None:
    address = f"{path.resolve().as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as base:
        base.execute("PRAGMA journal_mode = OFF")
        base.execute("PRAGMA synchronous = OFF")
        base.executescript(_TABLES)
        base.execute("BEGIN")
        _put(base, (manifest.entries[path] for path in sorted(manifest.entries)))
        _put_head(base, manifest)
        base.execute("COMMIT")
