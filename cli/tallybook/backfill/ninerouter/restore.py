"""Works out how what runs changed is taken back, and keeps what each of them changes for that."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from tallybook.backfill.ninerouter.backup import NOTHING_CHANGED, record_beside
from tallybook.backfill.ninerouter.change import (
    AppliedChanges,
    Change,
    Row,
    RowState,
    Skipped,
    is_sound,
)
from tallybook.errors import TallybookError

Key = tuple[Any, ...]  # what a row is known by, wherever it stands by now
_VERSION: Final = 1


class Changed(NamedTuple):
    """A row that a run changed: its record then, and what it stated before and after."""

    record: int
    before: RowState
    after: RowState


class _Record(msgspec.Struct):
    version: int
    rows: list[Changed]


class Copy(msgspec.Struct, frozen=True):
    """A whole copy: what its rows stated, and what the run made of those that it changed.

    `made` is None where nobody recorded that; the run may then have changed any row.
    """

    path: Path
    stated: Mapping[Key, Row]
    made: Mapping[Key, RowState] | None


def encode(changes: Iterable[Change]) -> bytes:
    """The record of a run. It holds counts and cost only."""
    rows = [Changed(each.row.record, each.row.state, each.after) for each in changes]
    return msgspec.json.encode(_Record(_VERSION, rows))


def recorded(backup: Path) -> list[Changed] | None:
    """What the run changed that made a copy; None where that is not known."""
    try:
        found = msgspec.json.decode(record_beside(backup).read_bytes(), type=_Record)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found.rows if found.version == _VERSION else None


def made_of(
    changed: Sequence[Changed] | None, key_of: Mapping[int, Key], stated: Mapping[Key, Row]
) -> Mapping[Key, RowState] | None:
    """What became of the rows of a copy, by their keys. Raises ValueError where the two differ."""
    if changed is None:
        return None
    for each in changed:
        key = key_of.get(each.record)
        if key is not None and stated[key].state != each.before:
            raise ValueError("the copy does not state what the run changed")
    return {key: each.after for each in changed if (key := key_of.get(each.record)) is not None}


Reader = Callable[[Path, Sequence[Changed] | None], Copy]


def way_back(
    backups: Sequence[Path], read: Reader, now: Callable[[Key], Row | None], applied: AppliedChanges
) -> list[Change]:
    """The changes that make the rows what they were before the oldest whole backup's run.

    `read` gives what a backup states, with what its run changed where that is known: behind a copy
    that is not whole it is not. `now` gives the row of a key as it is. What is left out is put into
    `applied`. Raises TallybookError where there is no backup, or none is whole.
    """
    if not backups:
        raise TallybookError("there is no backup beside it")
    copies = _whole(backups, read, applied)
    back, left = _taken_back(copies, now)
    applied.skipped += left
    applied.backup = copies[0].path
    return back


def _whole(backups: Sequence[Path], read: Reader, applied: AppliedChanges) -> list[Copy]:
    """The whole ones of the backups, the oldest first."""
    copies: list[Copy] = []
    is_known = True  # whether the next run's changes are known
    for backup in reversed(backups):
        try:
            copies.append(read(backup, recorded(backup) if is_known else None))
            is_known = True
        except (sqlite3.Error, OSError, ValueError, TallybookError):
            applied.passed_over.append(backup)
            is_known = False
    if not copies:
        names = ", ".join(backup.name for backup in backups)
        raise TallybookError(f"no backup beside it is whole ({names})", NOTHING_CHANGED)
    applied.lost = not is_known
    return copies[::-1]


def _taken_back(
    copies: Sequence[Copy], now: Callable[[Key], Row | None]
) -> tuple[list[Change], list[Skipped]]:
    """The changes, and the records that stay as they are.

    The runs are taken back one after the other, the last first. What a run made of a row goes back
    to what the row was before; a row that states anything else by now was changed by others and
    is left.
    """
    rows: dict[Key, Row | None] = {}
    states: dict[Key, RowState] = {}
    first: dict[Key, Row] = {}
    for copy in reversed(copies):
        for key in copy.stated if copy.made is None else copy.made:
            row = rows[key] if key in rows else rows.setdefault(key, now(key))
            first[key] = copy.stated[key]
            if row is None or not is_sound(row):
                continue
            if copy.made is None or states.get(key, row.state) == copy.made[key]:
                states[key] = copy.stated[key].state
    back, left = [], []
    for key, then in first.items():
        row = rows[key]
        if row is None:
            left.append(Skipped(then.record, "gone"))
            continue
        state = states.get(key, row.state)
        if state != row.state:
            back.append(Change(row, state))
        if state != then.state:
            left.append(Skipped(row.record, "changed-since"))
    return sorted(back, key=lambda each: each.row.record), sorted(left)
