"""Writes proved corrections into 9router's old `usage.json`, and takes them back."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from tallybook.errors import TallybookError
from tallybook.inplace.backup import backups, copy_document, next_backup
from tallybook.inplace.change import Change, Correction, Row, Skipped, State, by_record, change_row
from tallybook.inplace.daily import Known, adjusted, day_of
from tallybook.inplace.done import Changes, Done
from tallybook.inplace.rates import Overrides
from tallybook.values import instant

Document = dict[str, Any]
_HINT = "Nothing was changed."


def plan_document(
    content: bytes, corrections: Iterable[Correction], overrides: Overrides | None = None
) -> Changes:
    """What the corrections make of the rows of a document. Raises TallybookError for another."""
    history = _history(_document(content))
    wanted, skipped = by_record(corrections)
    changes = Changes(skipped=skipped)
    for record, own in wanted.items():
        row = _row(history, record)
        if row is None:
            changes.skipped.append(Skipped(record, "gone"))
            continue
        change, skipped = change_row(row, own, overrides or {})
        changes.skipped += skipped
        if change is not None:
            changes.rows.append(change)
    return changes


def apply_document(path: Path, changes: Changes, backup: Path | None = None) -> Done:
    """Write the changes aside, after a backup, and put the document in its place.

    9router keeps the document in memory and must not be running. Raises TallybookError where the
    document changed meanwhile, or cannot be written; then it is as it was.
    """
    done = Done(skipped=list(changes.skipped))
    if not changes.rows:
        return done
    content, before = _read(path)
    target = backup or next_backup(path)
    after = _changed(content, changes.rows, done)
    if not done.rows:
        return done
    copy_document(path, content, target)
    try:
        _replace(path, after, before)
    except BaseException:
        target.unlink()
        raise
    done.backup = target
    return done


def restore_document(path: Path, backup: Path | None = None) -> Done:
    """Give the rows back what they stated in the backup; by default the last one."""
    made = backups(path)
    source = backup or (made[-1] if made else None)
    if source is None or not source.is_file():
        raise TallybookError(f"{path}: there is no backup beside it")
    content, before = _read(path)
    now, then = (_history(_document(each)) for each in (content, source.read_bytes()))
    back = []
    for record in range(1, len(then) + 1):
        old, new = _row(then, record), _row(now, record)
        same = old is not None and new is not None and old[1:5] == new[1:5]
        if old is not None and new is not None and same and old.state != new.state:
            back.append(Change(new, old.state))
    done = Done(backup=source)
    after = _changed(content, back, done)
    if done.rows:
        _replace(path, after, before)
    return done


def _read(path: Path) -> tuple[bytes, tuple[int, int]]:
    try:
        return path.read_bytes(), _mark(path)
    except OSError as error:
        raise TallybookError(f"{path}: {error.strerror or error}", _HINT) from error


def _mark(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _document(content: bytes) -> Document:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TallybookError(f"not a document of 9router: {error}", _HINT) from error
    if not isinstance(found, dict) or not isinstance(found.get("history"), list):
        raise TallybookError("not a document of 9router", _HINT)
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
    prompt = tokens.get("prompt_tokens") or tokens.get("input_tokens") or 0
    completion = tokens.get("completion_tokens") or tokens.get("output_tokens") or 0
    text = msgspec.json.encode(tokens).decode()
    return Row(record, *words, *links, State(text, prompt, completion, row.get("cost")))


def _changed(content: bytes, rows: Sequence[Change], done: Done) -> bytes:
    """The document with the changes of those rows that are still as planned, and of their days."""
    document = _document(content)
    history = _history(document)
    days = _days(document, rows)
    written = []
    for change in rows:
        record = change.row.record
        if _row(history, record) != change.row:
            done.skipped.append(Skipped(record, "changed-since"))
            continue
        written.append(change)
        history[record - 1]["tokens"] = json.loads(change.after.tokens or "{}")
        if change.after.cost is None:
            history[record - 1].pop("cost", None)
        else:
            history[record - 1]["cost"] = change.after.cost
    done.rows = len(written)
    _put_days(document, days, written, done)
    return _encoded(document)


def _encoded(document: Document) -> bytes:
    """The document as 9router writes it."""
    text = json.dumps(document, ensure_ascii=False, indent=2)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can only escape
        return json.dumps(document, indent=2).encode()


def _days(
    document: Document, rows: Iterable[Change]
) -> dict[str, tuple[datetime, datetime] | None]:
    stored = document.get("dailySummary")
    if not isinstance(stored, dict) or not rows:
        return {}
    known = sorted(
        Known(time, row.state.prompt or 0, row.state.completion or 0)
        for record in range(1, len(_history(document)) + 1)
        if (row := _row(_history(document), record)) and (time := instant(row.timestamp))
    )
    return {key: day_of(key, data, known) for key, data in stored.items() if isinstance(data, dict)}


def _put_days(
    document: Document,
    days: dict[str, tuple[datetime, datetime] | None],
    written: Sequence[Change],
    done: Done,
) -> None:
    counted: set[int] = set()
    for key, bounds in days.items():
        if bounds is None:
            continue
        inside = [
            c for c in written if (t := instant(c.row.timestamp)) and bounds[0] <= t < bounds[1]
        ]
        counted |= {change.row.record for change in inside}
        after = adjusted(document["dailySummary"][key], inside)
        done.days += after != document["dailySummary"][key]
        document["dailySummary"][key] = after
    near = {str(c.row.timestamp)[:10] for c in written if c.row.record not in counted}
    done.days_left = sorted(key for key, bounds in days.items() if bounds is None and key in near)


def _replace(path: Path, content: bytes, before: tuple[int, int]) -> None:
    """Put the document in its place in one step, unless somebody else changed it meanwhile."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        aside = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            aside.chmod(path.stat().st_mode & 0o777)
            if _mark(path) != before:
                raise TallybookError(f"{path}: changed meanwhile", _HINT)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise TallybookError(f"{path}: {error.strerror or error}", _HINT) from error
