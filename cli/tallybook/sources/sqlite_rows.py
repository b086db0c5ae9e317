"""Looks into a database: what tables there are, and their rows in order, past what is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from tallybook.schema import Reported
from tallybook.sources.contract import Tables
from tallybook.sources.lines import problem

BATCH_ROWS: Final = 5_000  # as many as a processor's cache holds with what becomes of them
_START: Final = -(2**63)
_LAST: Final = 2**63 - 1
_DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_TOOBIG,  # a value that no log has, or the length of one is damaged
    }
)
_OUT_OF_ORDER: Final = "its rows are not in order"
_BAD: Final = -1  # as the answer of a probe


class Gap(NamedTuple):
    """Rows that cannot be read: those behind `after` and before `before`, None being the end."""

    after: int | None
    before: int | None
    words: str


def tables_of(connection: sqlite3.Connection) -> Tables:
    """The columns of every table that can be looked at and whose rows have numbers.

    Columns that are worked out as they are read are none. Raises sqlite3.Error.
    """
    return {name: columns for name, columns, is_read in _named(connection) if is_read}


def others_of(connection: sqlite3.Connection) -> Tables:
    """The columns of what is no such table: a view, which may be without end, rows without numbers.

    Raises sqlite3.Error.
    """
    return {name: columns for name, columns, is_read in _named(connection) if not is_read}


def _named(connection: sqlite3.Connection) -> Iterator[tuple[str, frozenset[str], bool]]:
    with _any_text(connection):
        named = connection.execute(
            "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')"
        )
        for name, kind in named.fetchall():
            try:
                columns = connection.execute(
                    "SELECT name, type, pk FROM pragma_table_info(?)", (name,)
                ).fetchall()
                is_read = kind == "table" and _is_numbered(connection, name, columns)
            # A view on a missing table, a module that is not loaded; or the same in bad UTF-8.
            except (sqlite3.Error, UnicodeDecodeError):
                continue
            yield name, frozenset(column for column, _, _ in columns), is_read


def _is_numbered(connection: sqlite3.Connection, name: str, columns: Sequence[Any]) -> bool:
    """Whether `rowid` is the number of a row, and not nothing or a column of that name."""
    if any(str(column).lower() == "rowid" for column, _, _ in columns):
        return False
    quoted = name.replace('"', '""')
    try:
        connection.execute(f'SELECT rowid FROM "{quoted}" LIMIT 0')  # noqa: S608 - quoted
    except sqlite3.OperationalError:
        return False
    return True


@contextmanager
def _any_text(connection: sqlite3.Connection) -> Iterator[None]:
    """Has bad UTF-8 in texts replaced, which takes longer and otherwise ends the query."""
    usual, connection.text_factory = connection.text_factory, _text
    try:
        yield
    finally:
        connection.text_factory = usual


def batches(
    connection: sqlite3.Connection, select: str, size: int = BATCH_ROWS
) -> Iterator[list[Any] | Gap]:
    """Rows in lists of up to `size`, and gaps where a page is damaged.

    `select` gives the row number first, has the parameters `:after` and `:size`, and is ordered by
    that number. No statement stays open between two batches, so that no writer has to wait. It ends
    in whatever state the database is: a row whose number does not grow is damage. Raises
    sqlite3.Error for anything but damage.
    """
    after = _START
    while True:
        rows, damage = _fetch(connection, select, after, size)
        if rows:
            yield rows
            after = rows[-1][0]
        if damage is not None:
            before = _next_readable(connection, select, after)
            yield Gap(None if after == _START else after, before, damage)
            if before is None:
                return
            after = before - 1
        elif len(rows) < size:
            return


def rows_of(
    connection: sqlite3.Connection,
    table: str,
    columns: Iterable[str],
    gaps: list[Reported],
    size: int = BATCH_ROWS,
) -> Iterator[list[Any]]:
    """The rows of a table as `batches` has them, row number first; problem rows go to `gaps`."""
    select = (
        f'SELECT rowid, {", ".join(columns)} FROM "{table}" '  # noqa: S608 - names of our own
        "WHERE rowid > :after ORDER BY rowid LIMIT :size"
    )
    for batch in batches(connection, select, size):
        if isinstance(batch, Gap):
            gaps.append(lost(batch, table))
        else:
            yield batch


def lost(gap: Gap, table: str) -> Reported:
    """The problem row of a gap, at the first row number that is missing."""
    first = 1 if gap.after is None else gap.after + 1
    end = "on" if gap.before is None else f"to {gap.before - 1}"
    row = problem(first, "truncated", f"{table} from row {first} {end}: {gap.words}")
    row.part = table
    return row


def _fetch(
    connection: sqlite3.Connection, select: str, after: int, size: int
) -> tuple[list[Any], str | None]:
    """The next rows, and the words for what broke them off."""
    try:
        rows = connection.execute(select, {"after": after, "size": size}).fetchall()
        if not rows or (rows[0][0] > after and rows[-1][0] - rows[0][0] >= len(rows) - 1):
            return rows, None
    except sqlite3.DatabaseError as error:
        if not (_is_damage(error) or _is_bad_text(error)):
            raise
    with _any_text(connection):
        return _one_by_one(connection, select, after, size)


def _one_by_one(
    connection: sqlite3.Connection, select: str, after: int, size: int
) -> tuple[list[Any], str | None]:
    """A cursor looks ahead, and damage there would take the row before with it."""
    rows: list[Any] = []
    try:
        while len(rows) < size:
            row = connection.execute(select, {"after": after, "size": 1}).fetchone()
            if row is None:
                break
            # A page that is gone is one of zeros, and so are its rows and their numbers.
            if row[0] <= after or row[0] == 0:
                return rows, _OUT_OF_ORDER
            rows.append(row)
            after = row[0]
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        return rows, str(error)
    return rows, None


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _next_readable(connection: sqlite3.Connection, select: str, after: int) -> int | None:
    """The first row number that can be read again; None where there is none.

    Looks ever farther ahead, then back to the edge of the damage.
    """
    start, step = max(after, 0), 1
    while (found := _probe(connection, select, min(start + step, _LAST))) == _BAD:
        if start + step >= _LAST:
            return None
        step *= 2
    bad, good = start + step // 2, min(start + step, _LAST)
    while good - bad > 1:
        middle = (bad + good) // 2
        nearer = _probe(connection, select, middle)
        if nearer == _BAD:
            bad = middle
        else:
            good, found = middle, nearer
    return found


def _probe(connection: sqlite3.Connection, select: str, number: int) -> int | None:
    """The first row from `number` on, None where there is none, `_BAD` where that is unreadable."""
    try:
        row = connection.execute(select, {"after": number - 1, "size": 1}).fetchone()
    except sqlite3.DatabaseError as error:
        if _is_bad_text(error):
            return number
        if not _is_damage(error):
            raise
        return _BAD
    if row is None:
        return None
    return int(row[0]) if row[0] >= number else _BAD


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def _is_bad_text(error: sqlite3.Error) -> bool:
    return "UTF-8" in str(error)
