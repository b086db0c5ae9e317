"""Writes proved corrections into a database of 9router, and takes them back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tallybook.errors import TallybookError
from tallybook.inplace.backup import backups, copy_database, next_backup
from tallybook.inplace.change import Change, Correction, Row, Skipped, State, by_record, change_row
from tallybook.inplace.daily import Known, adjusted, day_of
from tallybook.inplace.done import Changes, Done
from tallybook.inplace.rates import Overrides
from tallybook.inplace.table import Rates
from tallybook.sources.ninerouter.prices import overrides_in_database
from tallybook.values import instant

_BUSY_SECONDS: Final = 10.0
_NEEDED: Final = {
    "usageHistory": frozenset(
        {
            "id",
            "timestamp",
            "provider",
            "model",
            "connectionId",
            "apiKey",
            "endpoint",
            "promptTokens",
            "completionTokens",
            "cost",
            "tokens",
        }
    ),
    "usageDaily": frozenset({"dateKey", "data"}),
}
_ROW: Final = (
    "SELECT id, timestamp, provider, model, connectionId, apiKey, endpoint, tokens, promptTokens,"
    " completionTokens, cost FROM usageHistory"
)
_UPDATE: Final = (
    "UPDATE usageHistory SET tokens = ?, promptTokens = ?, completionTokens = ?, cost = ?"
    " WHERE id = ? AND tokens IS ? AND promptTokens IS ? AND completionTokens IS ? AND cost IS ?"
)
_AROUND: Final = timedelta(hours=38)  # a local day and what offsets may shift it by


def plan_changes(connection: sqlite3.Connection, corrections: Iterable[Correction]) -> Changes:
    """What the corrections make of the rows; nothing is written.

    Raises TallybookError for a database that is not laid out as 9router lays it out.
    """
    _require_layout(connection)
    overrides = _overrides(connection)
    wanted, skipped = by_record(corrections)
    changes = Changes(skipped=skipped)
    for record, own in wanted.items():
        row = _row(connection, record)
        if row is None:
            changes.skipped.append(Skipped(record, "gone"))
            continue
        change, skipped = change_row(row, own, overrides)
        changes.skipped += skipped
        if change is not None:
            changes.rows.append(change)
    return changes


def apply(path: Path, changes: Changes, backup: Path | None = None) -> Done:
    """Write the changes, after a backup beside the database, in one transaction.

    9router may be running. A row that it, or anything else, changed since the plan is left. Raises
    TallybookError where the database cannot be written to; then nothing is changed.
    """
    done = Done(skipped=list(changes.skipped))
    if not changes.rows:
        return done
    target = backup or next_backup(path)
    with _opened(path) as connection:
        _require_layout(connection)
        copy_database(path, connection, target)
        try:
            _write(connection, changes.rows, done)
        finally:
            if not done.rows:  # nothing was changed that it could give back
                target.unlink()
        done.backup = target if done.rows else None
    return done


def restore(path: Path, backup: Path | None = None) -> Done:
    """Give the rows back what they stated when the backup was made; by default the last one.

    Rows that came since stay, and count in their days.
    """
    made = backups(path)
    source = backup or (made[-1] if made else None)
    if source is None or not source.is_file():
        raise TallybookError(f"{path}: there is no backup beside it")
    done = Done(backup=source)
    with _opened(path) as connection:
        _require_layout(connection)
        back = _differences(connection, source)
        if back:
            _write(connection, back, done)
    return done


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that may write; the busy program is waited for. Raises TallybookError."""
    address = f"{path.resolve().as_uri()}?mode=rw"
    try:
        with closing(
            sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
        ) as connection:
            yield connection
    except sqlite3.Error as error:
        hint = "Nothing was changed. If 9router is busy, try again."
        raise TallybookError(f"{path}: {error}", hint) from error


def _require_layout(connection: sqlite3.Connection) -> None:
    columns = "SELECT name FROM pragma_table_info(?)"
    for name, needed in _NEEDED.items():
        there = {column for (column,) in connection.execute(columns, (name,))}
        if not needed <= there:
            missing = ", ".join(sorted(needed - there)) if there else "the table itself"
            raise TallybookError(
                f"{name}: not laid out as known ({missing} missing)",
                "Nothing was changed; only databases of released versions are written to.",
            )


def _overrides(connection: sqlite3.Connection) -> Overrides:
    return {
        who: Rates(
            stated.get("input", 0.0),
            stated.get("output", 0.0),
            stated.get("cached", 0.0),
            stated.get("reasoning", 0.0),
            stated.get("cache_creation", 0.0),
        )
        for who, stated in overrides_in_database(connection).items()
    }


def _row(connection: sqlite3.Connection, record: int) -> Row | None:
    found = connection.execute(f"{_ROW} WHERE id = ?", (record,)).fetchone()
    return None if found is None else _made(found)


def _made(found: Sequence[Any]) -> Row:
    record, timestamp, provider, model, connection, key, endpoint, *state = found
    words = (str(timestamp), provider or "", model or "", connection, key, endpoint)
    return Row(record, *words, State(*state))


def _write(connection: sqlite3.Connection, rows: Sequence[Change], done: Done) -> None:
    """All or nothing: the rows that are still as planned, and the sums of their days."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        days = _days(connection, rows)
        written = []
        for change in rows:
            old, new = change.row.state, change.after
            where = (change.row.record, *old)
            if connection.execute(_UPDATE, (*new, *where)).rowcount == 1:
                written.append(change)
            else:
                done.skipped.append(Skipped(change.row.record, "changed-since"))
        _write_days(connection, days, written, done)
        connection.execute("COMMIT")
        done.rows = len(written)
    except BaseException:
        connection.execute("ROLLBACK")
        raise


@dataclass(slots=True)
class _DaySum:
    key: str
    data: dict[str, Any]
    bounds: tuple[datetime, datetime]


def _days(connection: sqlite3.Connection, rows: Iterable[Change]) -> list[_DaySum | str]:
    """The sums in which the rows are counted; of a day that cannot be told only its key."""
    found: list[_DaySum | str] = []
    for key in sorted({key for change in rows for key in _near_days(change.row)}):
        stored = connection.execute(
            "SELECT data FROM usageDaily WHERE dateKey = ?", (key,)
        ).fetchone()
        if stored is None:
            continue
        data = _object(stored[0])
        bounds = day_of(key, data, _known(connection, key)) if data is not None else None
        found.append(key if data is None or bounds is None else _DaySum(key, data, bounds))
    return found


def _near_days(row: Row) -> list[str]:
    time = instant(row.timestamp)
    if time is None:
        return []
    return [(time + timedelta(days=step)).date().isoformat() for step in (-1, 0, 1)]


def _known(connection: sqlite3.Connection, day: str) -> list[Known]:
    middle = datetime.fromisoformat(day) + timedelta(hours=12)
    bounds = [(middle + sign * _AROUND).isoformat() for sign in (-1, 1)]
    stored = connection.execute(
        "SELECT timestamp, promptTokens, completionTokens FROM usageHistory"
        " WHERE timestamp BETWEEN ? AND ?",
        bounds,
    )
    rows = ((instant(stamp), prompt or 0, output or 0) for stamp, prompt, output in stored)
    return sorted(Known(time, prompt, output) for time, prompt, output in rows if time)


def _write_days(
    connection: sqlite3.Connection,
    days: Iterable[_DaySum | str],
    written: Sequence[Change],
    done: Done,
) -> None:
    counted: set[int] = set()
    unknown: set[str] = set()
    for day in days:
        if isinstance(day, str):
            unknown.add(day)
            continue
        begin, end = day.bounds
        inside = [c for c in written if (t := instant(c.row.timestamp)) and begin <= t < end]
        counted |= {change.row.record for change in inside}
        data = adjusted(day.data, inside)
        if data != day.data:
            text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
            update = "UPDATE usageDaily SET data = ? WHERE dateKey = ?"
            connection.execute(update, (text, day.key))
            done.days += 1
    left = [change for change in written if change.row.record not in counted]
    done.days_left = sorted({key for c in left for key in _near_days(c.row)} & unknown)


def _object(text: Any) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _differences(connection: sqlite3.Connection, source: Path) -> list[Change]:
    """The changes that make the rows what they are in the backup."""
    address = f"{source.resolve().as_uri()}?immutable=1"
    with closing(sqlite3.connect(address, uri=True)) as copy:
        if copy.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            raise TallybookError(f"{source}: the backup is damaged", "Nothing was changed.")
        _require_layout(copy)
        found = []
        for values in copy.execute(f"{_ROW} ORDER BY id"):
            then = _made(values)
            now = _row(connection, then.record)
            same_row = now is not None and now.timestamp == then.timestamp
            if now is not None and same_row and now.state != then.state:
                found.append(Change(now, then.state))
    return found
