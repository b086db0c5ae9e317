"""Writes proved corrections into a database of 9router, and takes them back."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tallybook.backfill.ninerouter import daily
from tallybook.backfill.ninerouter.backup import (
    NOTHING_CHANGED,
    backups,
    copy_database,
    put_record,
    row_counts,
    take_away,
)
from tallybook.backfill.ninerouter.change import (
    AppliedChanges,
    Change,
    Correction,
    DayLeft,
    PlannedChanges,
    Row,
    RowState,
    Skipped,
    by_record,
    is_count,
    is_sound,
    plan_rows,
)
from tallybook.backfill.ninerouter.rates import Overrides, Rates
from tallybook.backfill.ninerouter.restore import (
    Changed,
    Copy,
    Key,
    encode,
    made_of,
    recorded,
    way_back,
)
from tallybook.errors import TallybookError
from tallybook.sources.ninerouter.prices import overrides_in_database
from tallybook.values import instant, names_in

_BUSY_SECONDS: Final = 10.0
_COLUMNS: Final = names_in(  # of a row, in the order of `_made`
    "id timestamp provider model connectionId apiKey endpoint tokens promptTokens completionTokens"
    " cost"
)
_NEEDED: Final = {"usageHistory": frozenset(_COLUMNS), "usageDaily": frozenset({"dateKey", "data"})}
_TABLES: Final = frozenset(name.casefold() for name in _NEEDED)
_MENTIONED: Final = re.compile(rf"\b({'|'.join(_NEEDED)})\b", re.IGNORECASE)
_VIRTUAL: Final = re.compile(r"\s*create\s+virtual\b", re.IGNORECASE)
_ROW: Final = f"SELECT {', '.join(_COLUMNS)} FROM usageHistory"  # noqa: S608 - names of our own
_UPDATE: Final = (
    "UPDATE usageHistory SET tokens = ?, promptTokens = ?, completionTokens = ?, cost = ?"
    " WHERE id = ? AND tokens IS ? AND promptTokens IS ? AND completionTokens IS ? AND cost IS ?"
)
_AROUND: Final = timedelta(hours=38)  # a local day and what offsets may shift it by


def plan_changes(
    connection: sqlite3.Connection, corrections: Iterable[Correction]
) -> PlannedChanges:
    """What the corrections make of the rows; nothing is written.

    Raises TallybookError for a database that is not laid out as 9router lays it out.
    """
    wanted, skipped = by_record(corrections)
    changes = PlannedChanges(skipped=skipped)
    if not wanted:
        return changes
    connection.text_factory = _text
    _require_layout(connection)
    overrides = _overrides(connection)
    plan_rows(changes, wanted, lambda record: _row(connection, record), overrides)
    sums, changes.days_left = daily.adjusted(_days(connection, changes.rows), changes.rows)
    changes.days = len(sums)
    return changes


def apply(path: Path, changes: PlannedChanges) -> AppliedChanges:
    """Write the changes, after a backup beside the database, in one transaction.

    9router may be running. A row that it, or anything else, changed since the plan is left. Raises
    TallybookError where the database cannot be written to; then nothing is changed.
    """
    applied = AppliedChanges(skipped=list(changes.skipped))
    if not changes.rows:
        return applied
    with _opened(path) as connection:
        _require_layout(connection)
        backup = copy_database(path, connection)
        try:
            _write(connection, changes.rows, applied, lambda w: put_record(path, backup, encode(w)))
        except BaseException:
            if _is_unchanged(connection, changes.rows):
                take_away(backup)
            raise
        if applied.rows:
            applied.backup = backup
        else:  # there is nothing to take back
            take_away(backup)
    return applied


def _is_unchanged(connection: sqlite3.Connection, changes: Iterable[Change]) -> bool:
    """Whether no change has come into the database; False where nobody can tell."""
    try:
        return not any(
            row is not None and row.state == change.after
            for change in changes
            for row in (_row(connection, change.row.record),)
        )
    except sqlite3.Error:
        return False


def restore(path: Path) -> AppliedChanges:
    """Take back what all runs changed: the rows state again what they did before the first.

    Rows that came since stay, and count in their days; what others changed since is left. Raises
    TallybookError where there is no whole backup, or the database cannot be written to.
    """
    found, applied = backups(path), AppliedChanges()
    with _opened(path) as connection:
        _require_layout(connection)
        named = {each.record for backup in found for each in recorded(backup) or ()}

        def read(backup: Path, changed: Sequence[Changed] | None) -> Copy:
            return _copy(connection, backup, changed, named)

        back = way_back(found, read, lambda key: _row_of(connection, key), applied)
        if back:
            _write(connection, back, applied, lambda _: None)
    return applied


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that may write; the busy program is waited for. Raises TallybookError."""
    address = f"{path.resolve().as_uri()}?mode=rw"
    try:
        with closing(
            sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
        ) as connection:
            connection.text_factory = _text
            yield connection
    except sqlite3.Error as error:
        hint = f"{NOTHING_CHANGED} If 9router is busy, try again."
        raise TallybookError(str(error), hint) from error
    except OSError as error:
        raise TallybookError(error.strerror or str(error), NOTHING_CHANGED) from error


def _text(stored: bytes) -> str | bytes:
    """A text of the database; bytes that are none stay bytes, and cost their row only."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored


def _require_layout(connection: sqlite3.Connection) -> None:
    columns = "SELECT name FROM pragma_table_info(?)"
    for name, needed in _NEEDED.items():
        there = {column for (column,) in connection.execute(columns, (name,))}
        if not needed <= there:
            missing = ", ".join(sorted(needed - there)) if there else "the table itself"
            raise _unknown_layout(f"{name}: not laid out as known ({missing} missing)")
    listed = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
    for kind, name, table, sql in listed.fetchall():
        if kind == "trigger" and str(table).casefold() in _TABLES:
            raise _unknown_layout(f"{table} has a trigger, {name}")
        if kind == "view" and _MENTIONED.search(f"{name} {sql}"):
            raise _unknown_layout(f"there is a view on the tables, {name}")
        if kind == "table" and str(name).casefold() in _TABLES and _VIRTUAL.match(str(sql)):
            raise _unknown_layout(f"{name} is a virtual table")


def _unknown_layout(words: str) -> TallybookError:
    hint = f"{NOTHING_CHANGED} Only databases of released versions are written to."
    return TallybookError(words, hint)


def _overrides(connection: sqlite3.Connection) -> Overrides:
    names = ("input", "output", "cached", "reasoning", "cache_creation")  # in the order of `Rates`
    return {
        who: Rates(*(stated.get(name, 0.0) for name in names))
        for who, stated in overrides_in_database(connection).items()
    }


def _row(connection: sqlite3.Connection, record: int) -> Row | None:
    found = connection.execute(f"{_ROW} WHERE id = ?", (record,)).fetchone()
    return None if found is None else _made(found)


def _made(found: Sequence[Any]) -> Row:
    record, timestamp, provider, model, connection, key, endpoint, *state = found
    words = (str(timestamp), provider or "", model or "", connection, key, endpoint)
    return Row(record, *words, RowState(*state))


def _write(
    connection: sqlite3.Connection,
    rows: Sequence[Change],
    applied: AppliedChanges,
    before_commit: Callable[[Sequence[Change]], None],
) -> None:
    """All or nothing: the rows that are still as planned, and the sums of their days."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        counts, changed = row_counts(connection), connection.total_changes
        days = _days(connection, rows)
        written = []
        for change in rows:
            old, new = change.row.state, change.after
            where = (change.row.record, *old)
            if connection.execute(_UPDATE, (*new, *where)).rowcount == 1:
                written.append(change)
            else:
                applied.skipped.append(Skipped(change.row.record, "changed-since"))
        sums, applied.days_left = daily.adjusted(days, written)
        texts = [(daily.json_text(data), day) for day, data in sums]
        connection.executemany("UPDATE usageDaily SET data = ? WHERE dateKey = ?", texts)
        applied.days = len(sums)
        same = row_counts(connection) == counts
        if not same or connection.total_changes - changed != len(written) + applied.days:
            raise TallybookError("other rows than the planned ones would change", NOTHING_CHANGED)
        if written:
            before_commit(written)
        connection.execute("COMMIT")
        applied.records = [change.row.record for change in written]
    except BaseException:
        if connection.in_transaction:  # an error of the disk has ended it already
            connection.execute("ROLLBACK")
        raise


def _days(connection: sqlite3.Connection, rows: Iterable[Change]) -> list[daily.DaySum | DayLeft]:
    """The sums in which the rows are counted, or why those of a day cannot be told."""
    select = "SELECT data FROM usageDaily WHERE dateKey = ?"
    near = {key for change in rows for key in daily.days_near(instant(change.row.timestamp))}
    return [
        daily.day_sum(key, _object(stored[0]), _known(connection, key))
        for key in sorted(near)
        if (stored := connection.execute(select, (key,)).fetchone()) is not None
    ]


def _known(connection: sqlite3.Connection, day: str) -> list[daily.Known]:
    middle = datetime.fromisoformat(day) + timedelta(hours=12)
    bounds = [(middle + sign * _AROUND).isoformat() for sign in (-1, 1)]
    stored = connection.execute(
        "SELECT timestamp, promptTokens, completionTokens FROM usageHistory"
        " WHERE timestamp BETWEEN ? AND ?",
        bounds,
    )
    return sorted(
        daily.Known(time, prompt if is_count(prompt) else 0, output if is_count(output) else 0)
        for stamp, prompt, output in stored
        if (time := instant(stamp))
    )


def _object(text: Any) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
        daily.json_text(found)
    except (TypeError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _row_of(connection: sqlite3.Connection, key: Key) -> Row | None:
    """The row of a key, which is its id and time; an id is given anew in another database."""
    record, time = key
    row = _row(connection, record)
    return row if row is not None and row.timestamp == time else None


def _copy(
    connection: sqlite3.Connection,
    backup: Path,
    changed: Sequence[Changed] | None,
    named: Collection[int],
) -> Copy:
    """What a copy states; raises sqlite3.Error, ValueError, TallybookError where it is not whole.

    Where it is not known what its run changed, that is what is otherwise now, or is `named`.
    """
    with closing(sqlite3.connect(f"{backup.as_uri()}?immutable=1", uri=True)) as copy:
        copy.text_factory = _text
        if copy.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            raise ValueError("damaged")
        _require_layout(copy)
        if changed is not None:
            rows = [row for each in changed if (row := _row(copy, each.record)) is not None]
        else:
            every = map(_made, copy.execute(f"{_ROW} ORDER BY id"))
            rows = [r for r in every if r.record in named or _differs(connection, r)]
    stated: dict[Key, Row] = {(row.record, row.timestamp): row for row in rows}
    keys: dict[int, Key] = {row.record: (row.record, row.timestamp) for row in rows}
    return Copy(backup, stated, made_of(changed, keys, stated))


def _differs(connection: sqlite3.Connection, then: Row) -> bool:
    now = _row_of(connection, (then.record, then.timestamp))
    return now is not None and is_sound(now) and is_sound(then) and now.state != then.state
