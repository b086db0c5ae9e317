"""Writes proved corrections into 9router's old `usage.json`, and takes them back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tallybook.backfill.ninerouter.backup import (
    NOTHING_CHANGED,
    backups,
    copy_document,
    put_in_place,
    put_record,
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
    is_sound,
    plan_rows,
)
from tallybook.backfill.ninerouter.daily import DaySum, Known, adjusted, day_sum, json_text
from tallybook.backfill.ninerouter.restore import Changed, Copy, Key, encode, made_of, way_back
from tallybook.errors import TallybookError
from tallybook.values import count, instant

Document = dict[str, Any]
_Mark = tuple[int, int, int]


def plan_document(content: bytes, corrections: Iterable[Correction]) -> PlannedChanges:
    """What the corrections make of the rows of a document. Raises TallybookError for another."""
    wanted, skipped = by_record(corrections)
    changes = PlannedChanges(skipped=skipped)
    if not wanted:
        return changes
    history = _history(_document(content))
    plan_rows(changes, wanted, lambda record: _row(history, record), {})
    applied = AppliedChanges()
    _changed(content, changes.rows, applied)
    changes.days, changes.days_left = applied.days, applied.days_left
    return changes


def apply_document(path: Path, changes: PlannedChanges) -> AppliedChanges:
    """Write the changes aside, after a backup, and put the document in its place.

    A link stays one; what it leads to is replaced. 9router keeps the document in memory and must
    not be running. Raises TallybookError where the document changed meanwhile, or cannot be
    written; then it is as it was.
    """
    applied = AppliedChanges(skipped=list(changes.skipped))
    if not changes.rows:
        return applied
    content, before = _read(path)
    document, written = _changed(content, changes.rows, applied)
    if not written:
        return applied
    try:
        backup = copy_document(path, content)
        try:
            put_record(path, backup, encode(written))
            _replace(path, document, before, applied)
        except BaseException:
            take_away(backup)
            raise
    except OSError as error:
        raise TallybookError(error.strerror or str(error), NOTHING_CHANGED) from error
    applied.backup = backup
    return applied


def restore_document(path: Path) -> AppliedChanges:
    """Take back what all runs changed: the rows state again what they did before the first.

    Rows that came since stay, and count in their days; what others changed since is left. Raises
    TallybookError where there is no whole backup, or the document cannot be written.
    """
    found, applied = backups(path), AppliedChanges()
    content, before = _read(path)
    now = _keyed(_history(_document(content)))
    back = way_back(found, _copy, now.get, applied)
    if back:
        document, _ = _changed(content, back, applied)
        try:
            _replace(path, document, before, applied)
        except OSError as error:
            raise TallybookError(error.strerror or str(error), NOTHING_CHANGED) from error
    return applied


def _read(path: Path) -> tuple[bytes, _Mark]:
    """The content, and a mark by which a change since would show."""
    try:
        before = _mark(path)  # first: what changes while it is read shows as well
        return path.read_bytes(), before
    except OSError as error:
        raise TallybookError(error.strerror or str(error), NOTHING_CHANGED) from error


def _mark(path: Path) -> _Mark:
    state = path.stat()
    return state.st_size, state.st_mtime_ns, state.st_ino


def _document(content: bytes) -> Document:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TallybookError("not a document of 9router", NOTHING_CHANGED) from error
    if not isinstance(found, dict) or not isinstance(found.get("history"), list):
        raise TallybookError("not a document of 9router", NOTHING_CHANGED)
    return found


def _history(document: Document) -> list[Any]:
    history: list[Any] = document["history"]
    return history


def _row(history: Sequence[Any], record: int) -> Row | None:
    row = history[record - 1] if 0 < record <= len(history) else None
    if not isinstance(row, dict) or not isinstance(row.get("tokens"), dict):
        return None
    words = (str(row.get("timestamp")), row.get("provider") or "", row.get("model") or "")
    links = row.get("connectionId"), row.get("apiKey"), row.get("endpoint")
    tokens = row["tokens"]
    try:
        text = msgspec.json.encode(tokens).decode()
    except (ValueError, TypeError, OverflowError, RecursionError):
        text = None  # half a surrogate pair, or a number of a thousand digits
    prompt = _count(tokens.get("prompt_tokens") or tokens.get("input_tokens"))
    completion = _count(tokens.get("completion_tokens") or tokens.get("output_tokens"))
    return Row(record, *words, *links, RowState(text, prompt, completion, row.get("cost")))


def _count(value: object) -> int:
    return count(value, []) or 0


def _keyed(history: Sequence[Any]) -> dict[Key, Row]:
    """The rows by what each is known by: its time, model and account, and its place from behind.

    The oldest rows of a document go when there are too many, so that a record is another by and by.
    """
    found: dict[Key, Row] = {}
    seen: Counter[Key] = Counter()
    for record in range(len(history), 0, -1):
        row = _row(history, record)
        if row is not None:
            name = tuple(map(str, row[1:5]))
            seen[name] += 1
            found[(*name, seen[name])] = row
    return found


def _copy(backup: Path, changed: Sequence[Changed] | None) -> Copy:
    """What a copy states. Raises OSError, ValueError, TallybookError where it is not whole."""
    every = _keyed(_history(_document(backup.read_bytes())))
    stated = {key: row for key, row in every.items() if is_sound(row)}
    keys = {row.record: key for key, row in stated.items()}
    return Copy(backup, stated, made_of(changed, keys, stated))


def _changed(
    content: bytes, rows: Sequence[Change], applied: AppliedChanges
) -> tuple[Document, Sequence[Change]]:
    """The document with the changes of those rows that are still as planned, and of their days."""
    document = _document(content)
    history = _history(document)
    days = _days(document) if rows else []
    written = []
    for change in rows:
        record = change.row.record
        if _row(history, record) != change.row:
            applied.skipped.append(Skipped(record, "changed-since"))
            continue
        written.append(change)
        history[record - 1]["tokens"] = json.loads(change.after.tokens or "{}")
        if change.after.cost is None:
            history[record - 1].pop("cost", None)
        else:
            history[record - 1]["cost"] = change.after.cost
    applied.records = [change.row.record for change in written]
    sums, applied.days_left = adjusted(days, written)
    applied.days = len(sums)
    document |= {"dailySummary": document["dailySummary"] | dict(sums)} if sums else {}
    return document, written


def _days(document: Document) -> list[DaySum | DayLeft]:
    """The sums of each day, or why they cannot be told."""
    stored = document.get("dailySummary")
    if not isinstance(stored, dict):
        return []
    known = sorted(
        Known(time, row.state.prompt or 0, row.state.completion or 0)
        for record in range(1, len(_history(document)) + 1)
        if (row := _row(_history(document), record)) and (time := instant(row.timestamp))
    )
    return [day_sum(day, data, known) for day, data in sorted(stored.items())]


def _replace(path: Path, document: Document, before: _Mark, applied: AppliedChanges) -> None:
    """Put the document in its place, unless somebody else changed it meanwhile. Raises OSError."""

    def check() -> None:
        if _mark(path) != before:
            raise TallybookError("changed meanwhile", NOTHING_CHANGED)

    try:
        content = json_text(document, indent=2).encode()
    except (ValueError, RecursionError) as error:
        words = "holds what JSON cannot be written of"
        raise TallybookError(words, NOTHING_CHANGED) from error
    names = path.stat().st_nlink - 1
    put_in_place(path, content, check)
    applied.names = names
