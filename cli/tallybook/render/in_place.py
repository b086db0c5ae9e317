"""What became of 9router's own files, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

Row = Mapping[str, Any]
_SHOWN_DAYS: Final = 5
_CHANGED: Final[Mapping[str, str]] = {
    "would-change": "would change",
    "changed": "changed",
    "restored": "restored to what they stated before the first run",
}


def file_lines(row: Row) -> Iterator[str]:
    """What became of one file, and what in it was left; see `files` of the JSON document."""
    if row["state"] == "left-alone":
        yield f"{row['path']}: left alone: {row['error']}"
        return
    days = f", with the sums of {_number(row['days'], 'day')}" if row["days"] else ""
    done = _CHANGED.get(row["state"], "to change")
    yield f"{row['path']}: {_number(row['rows'], 'row')} {done}{days}"
    if row["backup"]:
        yield f"  backup: {row['backup']}"
    yield from (f"  {left['rows']:,} × {left['meaning']}" for left in row["skipped"])
    yield from _days(row["days_left"])
    yield from _more(row)


def _days(left: Sequence[Row]) -> Iterator[str]:
    def meaning_of(day: Row) -> str:
        return str(day["meaning"])

    for meaning, group in groupby(sorted(left, key=meaning_of), key=meaning_of):
        days = [day["day"] for day in group]
        named = ", ".join([*days[:_SHOWN_DAYS], *(["…"] if days[_SHOWN_DAYS:] else [])])
        yield f"  the sums of {_number(len(days), 'day')} stay as they are ({named}): {meaning}"


def _more(row: Row) -> Iterator[str]:
    for backup in row["passed_over"]:
        yield f"  passed over, for it is not whole: {backup}"
    if row["lost"]:
        yield "  what was changed before the backup was made cannot be taken back"
    if row["other_names"]:
        names = _number(row["other_names"], "other name")
        yield f"  {names} of the file (hard links) still lead to what it was before"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def applied_line(applied: Row) -> str:
    """What `--apply` did, in the calls that the plan speaks of."""
    parts = []
    if applied["in_files"]:
        parts.append(f"{_calls(applied['in_files'])} now stated by 9router's own files")
    if applied["recorded"]:
        parts.append(f"corrections of {_calls(applied['recorded'])} recorded")
    if applied["recorded_before"]:
        before = applied["recorded_before"]
        parts.append(f"those of {_calls(before)} were recorded before")
    return " · ".join(parts) or "there is nothing to record"


def _calls(count: int) -> str:
    return _number(count, "call")
