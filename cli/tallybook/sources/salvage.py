"""Looks into a database: what tables there are, and their rows in order, past what is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tallybook.schema import PROBLEM, Reported
from tallybook.sources.contract import Tables

BATCH_ROWS: Final = 5_000  # as many as a processor's cache holds with what becomes of them
_START: Final = -(2**63)
_FARTHEST: Final = 2**62
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR})
_BAD: Final = -1  # as the answer of a probe


class Gap(NamedTuple):
    """Rows that cannot be read: those behind `after` and before `before`, None being the end."""

    after: int | None
    before: int | None
    words: str


def tables_of(connection: sqlite3.Connection) -> Tables:
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


def batches(
    connection: sqlite3.Connection, select: str, size: int = BATCH_ROWS
) -> Iterator[list[Any] | Gap]:
    """Rows in lists of up to `size`, and gaps where a page is damaged.

    `select` gives the row number first, has the parameters `:after` and `:size`, and is ordered by
    that number. No statement stays open between two batches, so that no writer has to wait. Raises
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


def lost(gap: Gap, table: str) -> Reported:
    """The problem row of a gap, at the first row number that is missing."""
    first = 1 if gap.after is None else gap.after + 1
    end = "on" if gap.before is None else f"to {gap.before - 1}"
    return Reported(
        record=first,
        part=table,
        kind=PROBLEM,
        calls=None,
        problems=["truncated"],
        detail=f"{table} from row {first} {end}: {gap.words}",
    )


def _fetch(
    connection: sqlite3.Connection, select: str, after: int, size: int
) -> tuple[list[Any], str | None]:
    """The next rows, and the words for what broke them off."""
    try:
        return connection.execute(select, {"after": after, "size": size}).fetchall(), None
    except sqlite3.DatabaseError as error:
        if not (_is_damage(error) or _is_bad_text(error)):
            raise
    usual, connection.text_factory = connection.text_factory, _text
    rows: list[Any] = []
    try:
        # One by one: a cursor looks ahead, and damage there would take the row before with it.
        while len(rows) < size:
            row = connection.execute(select, {"after": after, "size": 1}).fetchone()
            if row is None:
                break
            rows.append(row)
            after = row[0]
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        return rows, str(error)
    finally:
        connection.text_factory = usual
    return rows, None


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _next_readable(connection: sqlite3.Connection, select: str, after: int) -> int | None:
    """The first row number that can be read again; None where there is none.

    Looks ever farther ahead, then back to the edge of the damage.
    """
    start, step = max(after, 0), 1
    while (found := _probe(connection, select, start + step)) == _BAD:
        step *= 2
        if step > _FARTHEST:
            return None
    bad, good = start + step // 2, start + step
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
    return None if row is None else int(row[0])


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def _is_bad_text(error: sqlite3.Error) -> bool:
    return "UTF-8" in str(error)
