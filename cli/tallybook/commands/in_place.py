"""`tallybook backfill --in-place` and `--restore`: what was proved, in 9router's own files."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from tallybook.backfill.ninerouter.backup import backups, require_writable
from tallybook.backfill.ninerouter.change import (
    DAY_REASONS,
    REASONS,
    AppliedChanges,
    Correction,
    PlannedChanges,
)
from tallybook.backfill.ninerouter.database import apply as apply_to_database
from tallybook.backfill.ninerouter.database import plan_changes
from tallybook.backfill.ninerouter.database import restore as restore_database
from tallybook.backfill.ninerouter.document import apply_document, plan_document, restore_document
from tallybook.backfill.plan import BackfillPlan
from tallybook.commands import terminal
from tallybook.errors import TallybookError, words_of
from tallybook.files.sqlite import connect, is_database
from tallybook.ledger.open import find
from tallybook.names import path_of, text_of
from tallybook.urls import ObjectPath, as_path

Row = dict[str, Any]
_SOURCE = "9router"
# What becomes of a file: the words of `state`.
_WOULD_CHANGE, _CHANGED, _RESTORED = "would-change", "changed", "restored"
_NOTHING, _LEFT_ALONE = "nothing-to-change", "left-alone"


def write(plan: BackfillPlan, *, apply: bool) -> tuple[list[Row], set[str]]:
    """Write the corrections into the files that their calls stand in, each after a backup.

    Without `apply` only say what would change. A file that cannot be written is left alone, and
    the others go on. Returns what became of each file, and the calls whose rows changed.
    """
    files: list[Row] = []
    changed: set[str] = set()
    for path, (corrections, calls) in _by_file(plan):
        row = _file(path, calls=len(set(calls.values())))
        files.append(row)
        with _left_alone(row):
            changes = _planned(path, corrections)
            if not apply:
                _say_rows(row, _WOULD_CHANGE, len(changes.rows), changes)
                continue
            put = apply_to_database if is_database(path) else apply_document
            applied = put(_opened(path), changes)
            _say_rows(row, _CHANGED, applied.rows, applied)
            changed.update(calls[record] for record in applied.records)
    return files, changed


def restore(paths: list[Path] | None) -> list[Row]:
    """Take back what was written into the files that have a backup beside them.

    Returns what became of each file. Raises TallybookError where there is none.
    """
    search = find(paths or None, os.environ, terminal.home_folder(os.environ))
    files = [path for path, _ in search.files if backups(_opened(path))]
    if not files:
        raise TallybookError("no file has a backup beside it", hint="name the file or its folder")
    rows = []
    for path in files:
        row = _file(path)
        rows.append(row)
        with _left_alone(row):
            take_back = restore_database if is_database(path) else restore_document
            restored = take_back(_opened(path))
            _say_rows(row, _RESTORED, restored.rows, restored)
    return rows


@contextmanager
def _left_alone(row: Row) -> Iterator[None]:
    """Note on a file's row why it is left alone, where it is."""
    try:
        yield
    except TallybookError as error:
        row |= {"state": _LEFT_ALONE, "error": ". ".join(filter(None, [error.message, error.hint]))}
    except (OSError, sqlite3.Error) as error:
        row |= {"state": _LEFT_ALONE, "error": words_of(error)}


def _opened(path: Path) -> Path:
    """The file that a path of the ledger names; see `names`."""
    return Path(path_of(str(path)))


def _file(path: Path, calls: int | None = None) -> Row:
    return {
        "path": str(path),
        "state": _NOTHING,
        "calls": calls,
        "rows": 0,
        "days": 0,
        "days_left": [],
        "skipped": [],
        "backup": None,
        "passed_over": [],
        "lost": False,
        "other_names": 0,
        "error": None,
    }


def _say_rows(row: Row, state: str, count: int, found: PlannedChanges | AppliedChanges) -> None:
    row |= {
        "state": state if count else _NOTHING,
        "rows": count,
        "days": found.days,
        "days_left": [
            {"day": day, "reason": reason, "meaning": DAY_REASONS[reason]}
            for day, reason in found.days_left
        ],
        "skipped": [
            {"reason": reason, "rows": rows, "meaning": REASONS[reason]}
            for reason, rows in sorted(Counter(each.reason for each in found.skipped).items())
        ],
    }
    if isinstance(found, AppliedChanges):
        row |= {
            "backup": text_of(str(found.backup)) if found.backup else None,
            "passed_over": [text_of(str(each)) for each in found.passed_over],
            "lost": found.lost,
            "other_names": found.names,
        }


def _by_file(plan: BackfillPlan) -> list[tuple[Path, tuple[list[Correction], dict[int, str]]]]:
    """Of each file of 9router the corrections of its calls, and the call of each record."""
    places = plan.before.filter(pl.col("source") == _SOURCE)
    here = plan.corrections.join(places.select("call_id", "path", "record", "part"), on="call_id")
    names = list(Correction.__struct_fields__)
    return [
        (
            as_path(str(path)),
            (
                [Correction(**row) for row in group.select(names).iter_rows(named=True)],
                dict(group.select("record", "call_id").iter_rows()),
            ),
        )
        for (path,), group in here.sort("path", "record", "direction").group_by(
            "path", maintain_order=True
        )
    ]


def _planned(path: Path, corrections: list[Correction]) -> PlannedChanges:
    """What would change. Raises TallybookError where it plainly could not be written."""
    if isinstance(path, ObjectPath):
        raise TallybookError("an object of storage is not written to")
    if is_database(path):
        with connect(path) as connection:
            changes = plan_changes(connection, corrections)
    else:
        changes = plan_document(_opened(path).read_bytes(), corrections)
    if changes.rows:
        require_writable(_opened(path))
    return changes
