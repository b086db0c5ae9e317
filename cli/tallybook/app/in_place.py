"""`tallybook backfill --in-place` and `--restore`: what was proved, in 9router's own files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tallybook.app import terminal
from tallybook.app.output import say
from tallybook.errors import TallybookError

if TYPE_CHECKING:
    import polars as pl

    from tallybook.inplace import Changes, Correction, Done
    from tallybook.ledger import Plan

_SOURCE = "9router"


def write(plan: Plan, *, apply: bool) -> list[str]:
    """Write the corrections into the files that their calls stand in, each after a backup.

    Without `apply` only say what would change. Returns the ids of the calls whose files now state
    it themselves; a file that is refused is said, and the others go on.
    """
    written: list[str] = []
    found = _by_file(plan)
    for path, (corrections, calls) in found:
        try:
            changes = _planned(path, corrections)
            if not apply:
                say(*_words(path, changes.rows, changes.skipped, "would change"))
                continue
            done = _applied(path, changes)
            say(*_words(path, done.rows, done.skipped, "changed"), *_backup(done))
            written += calls
        except (TallybookError, OSError) as error:
            say(f"{path}: left alone: {_reason(error)}")
    if not found:
        say("nothing to write in place: no call of a 9router file can be filled")
    return written


def restore(paths: list[Path] | None) -> None:
    """Give the files that have a backup beside them what it states. Raises TallybookError."""
    from tallybook.files.database import is_database  # noqa: PLC0415 - loads the readers
    from tallybook.inplace import restore, restore_document  # noqa: PLC0415
    from tallybook.inplace.backup import backups  # noqa: PLC0415
    from tallybook.ledger import find  # noqa: PLC0415

    search = find(paths or None, os.environ, terminal.home_folder(os.environ))
    files = [path for path, _ in search.files if backups(path)]
    if not files:
        raise TallybookError("no file has a backup beside it", hint="name the file or its folder")
    for path in files:
        done = restore(path) if is_database(path) else restore_document(path)
        say(*_words(path, done.rows, done.skipped, "restored"), *_backup(done))


def _by_file(plan: Plan) -> list[tuple[Path, tuple[list[Correction], list[str]]]]:
    """Of each file of 9router the corrections of its calls, and the calls."""
    import polars as pl  # noqa: PLC0415 - after the logs are read

    from tallybook.inplace import Correction  # noqa: PLC0415

    places = plan.before.filter(pl.col("source") == _SOURCE)
    here = plan.corrections.join(places.select("call_id", "path", "record", "part"), on="call_id")
    names = list(Correction.__dataclass_fields__)
    return [
        (
            Path(str(path)),
            (
                [Correction(**row) for row in _dicts(group.select(names))],
                group["call_id"].unique(maintain_order=True).to_list(),
            ),
        )
        for (path,), group in here.sort("path", "record", "direction").group_by(
            "path", maintain_order=True
        )
    ]


def _dicts(frame: pl.DataFrame) -> Iterator[dict[str, Any]]:
    yield from frame.iter_rows(named=True)


def _planned(path: Path, corrections: list[Correction]) -> Changes:
    from tallybook.files.database import connect, is_database  # noqa: PLC0415 - as above
    from tallybook.inplace import plan_changes, plan_document  # noqa: PLC0415

    if not is_database(path):
        return plan_document(path.read_bytes(), corrections)
    with connect(path) as connection:
        return plan_changes(connection, corrections)


def _applied(path: Path, changes: Changes) -> Done:
    from tallybook.files.database import is_database  # noqa: PLC0415 - as above
    from tallybook.inplace import apply, apply_document  # noqa: PLC0415

    return apply(path, changes) if is_database(path) else apply_document(path, changes)


def _words(path: Path, rows: Any, skipped: Any, what: str) -> Iterator[str]:
    """What became of the rows, and of those that were left, by reason."""
    from tallybook.inplace import REASONS  # noqa: PLC0415 - as above

    count = rows if isinstance(rows, int) else len(rows)
    yield f"{path}: {count:,} {'row' if count == 1 else 'rows'} {what}"
    for reason, left in sorted(Counter(each.reason for each in skipped).items()):
        yield f"  {left:,} × {REASONS[reason]}"


def _backup(done: Done) -> Iterator[str]:
    if done.backup is not None:
        yield f"  backup: {done.backup}"


def _reason(error: Exception) -> str:
    if isinstance(error, TallybookError):
        return " ".join(filter(None, [error.message, error.hint]))
    return getattr(error, "strerror", None) or str(error)
