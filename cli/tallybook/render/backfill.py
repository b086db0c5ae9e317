"""What backfill plans and has done, as people read it: calls to fill, and files of 9router."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any, Final

from tallybook.render.cells import NULL, UNKNOWN, at_least, count, dollars, ends, names
from tallybook.render.formats import priced_by
from tallybook.render.table import Column, table
from tallybook.render.text import keep_head, keep_tail
from tallybook.wording import counted

Row = Mapping[str, Any]

SHOWN_CHANGES: Final = 20
_BEFORE, _AFTER = "lower_bound_before", "lower_bound_after"
_MOVED: Final = (("Input", "input_tokens"), ("Cached", "cached_input_tokens"))
_SHOWN_DAYS: Final = 5
_CHANGED: Final[Mapping[str, str]] = {
    "would-change": "would change",
    "changed": "changed",
    "restored": "restored to what they stated before the first run",
}


def plan_text(answer: Row, width: int | None, *, details: bool, colour: bool) -> str:
    """The plan, the calls that cannot be filled, and with `details` the largest changes."""
    parts = []
    if answer["rows"]:
        parts.append(_filled(answer, width, colour=colour))
    if details and answer["changes"]:
        parts.append(_changes(answer["changes"], width, colour=colour))
    if answer["unrecoverable"]:
        parts.append(_left(answer["unrecoverable"], width, colour=colour))
    if parts:
        parts.append(f"{priced_by(answer)}\n")
    return "\n".join(parts)


def summary_line(answer: Row) -> str:
    """The whole plan in one line."""
    calls = sum(row["calls"] for row in answer["rows"])
    left = sum(row["calls"] for row in answer["unrecoverable"])
    cost = f"{_cost(answer['before'])} → {_cost(answer['after'])}"
    before = answer.get("recorded_before")
    known = f" ({before:,} of them recorded before)" if before else ""
    bounded = sum(row["calls"] for row in answer.get("bounded", ()))
    bounds = f" ({bounded:,} of them bounded)" if bounded else ""
    parts = [
        f"{counted(calls, 'call')} to fill{known}",
        f"{left:,} stay unknown{bounds}",
        f"cost of all calls {cost}",
    ]
    low, high = answer["after"]["cost_low_usd"], answer["after"]["cost_high_usd"]
    changed = calls or bounded
    if changed and high is None and low != answer["after"]["cost_usd"]:
        parts.append(f"still at least {dollars(low)}")
    elif changed and high is not None and low != high:
        parts.append(f"still between {' and '.join(ends(low, high))}")
    unused = answer["coverage"]["unused"]
    if unused:
        parts.append(f"{counted(unused, 'answer belongs', 'answers belong')} to no call")
    return " · ".join(parts)


def _filled(answer: Row, width: int | None, *, colour: bool) -> str:
    rows = answer["rows"]
    columns = [
        names("Source", (row["source"] for row in rows), "Total"),
        names("From", (row["method"] for row in rows)),
        _counts("Calls", rows, "calls", 0),
        _counts("Tokens", rows, "tokens_before", 3, least=_BEFORE),
        _counts("→ Tokens", rows, "tokens_after", 2, least=_AFTER),
        _counts("Cached", rows, "cached_before", 5),
        _counts("→ Cached", rows, "cached_after", 4),
        _money("Cost", rows, "cost_before_usd", least=[row[_BEFORE] for row in rows]),
        _money("→ Cost", rows, "cost_after_usd", least=[row[_AFTER] for row in rows]),
        _difference(rows),
    ]
    return "To fill\n\n" + table(columns, width, totals=True, colour=colour)


def _changes(changes: Sequence[Row], width: int | None, *, colour: bool) -> str:
    shown = changes[:SHOWN_CHANGES]
    columns = [
        names("Time", ((row["timestamp"] or NULL)[:19] for row in shown)),
        names("Model", (row["model"] or UNKNOWN for row in shown)),
        names("From", (row["method"] for row in shown)),
        *(_moved(words, name, shown) for words, name in _MOVED),
        _money("Cost", shown, "cost_before_usd", least=_of(shown, "before"), total=False),
        _money("→ Cost", shown, "cost_after_usd", least=_of(shown, "after"), total=False),
        names("Evidence", map(_place, shown), rank=3, cut=keep_tail),
    ]
    left = len(changes) - len(shown)
    more = f"… and {left:,} more; --json lists them\n" if left else ""
    return "Largest changes\n\n" + table(columns, width, colour=colour) + more


def _left(rows: Sequence[Row], width: int | None, *, colour: bool) -> str:
    columns = [
        names("Source", (row["source"] for row in rows)),
        names("Reason", (row["reason"] for row in rows)),
        _counts("Calls", rows, "calls", 0, total=False),
        names("", (row["meaning"] for row in rows), rank=1, cut=keep_head),
    ]
    return "Not recoverable\n\n" + table(columns, width, colour=colour)


def _moved(words: str, name: str, changes: Sequence[Row]) -> Column:
    """A count before and after."""
    cells = [f"{count(row['before'][name])} → {count(row['after'][name])}" for row in changes]
    return Column(words, cells, rank=2)


def _place(change: Row) -> str:
    part = f" {change['evidence_part']}" if change["evidence_part"] else ""
    return f"{change['evidence_path']}:{change['evidence_record']}{part}"


def _of(changes: Sequence[Row], side: str) -> list[bool]:
    """Whether each call is a lower bound, `before` or `after`."""
    return [change[side]["lower_bound"] for change in changes]


def _counts(  # noqa: PLR0913 - what the column shows, and how
    title: str, rows: Sequence[Row], name: str, rank: int, *, least: str = "", total: bool = True
) -> Column:
    """Counts, those of rows where the field `least` is true as lower bounds."""
    marks = [at_least(least and row[least]) for row in rows]
    cells = [count(row[name], mark) for row, mark in zip(rows, marks, strict=True)]
    whole = f"{max(marks, default='')}{sum(row[name] or 0 for row in rows):,}" if total else ""
    return Column(title, cells, whole, rank)


def _money(
    title: str, rows: Sequence[Row], name: str, *, least: Sequence[bool], total: bool = True
) -> Column:
    """Costs, those of the rows that `least` says as lower bounds."""
    stated = [Decimal(row[name]) for row in rows if row[name] is not None]
    whole = dollars(sum(stated, Decimal()), mark=at_least(any(least))) if total and stated else ""
    cells = [dollars(row[name], mark=at_least(low)) for row, low in zip(rows, least, strict=True)]
    return Column(title, cells, whole)


def _cost(totals: Row) -> str:
    mark = at_least(totals["lower_bound"] or totals["unpriced_tokens"])
    return dollars(totals["cost_usd"], mark=mark)


def _difference(rows: Sequence[Row]) -> Column:
    found = [_apart(row) for row in rows]
    stated = [apart for apart in found if apart is not None]
    cells = [NULL if apart is None else _signed(apart) for apart in found]
    return Column("Difference", cells, _signed(sum(stated, Decimal())) if stated else "", rank=1)


def _apart(row: Row) -> Decimal | None:
    before, after = row["cost_before_usd"], row["cost_after_usd"]
    return None if before is None or after is None else Decimal(after) - Decimal(before)


def _signed(value: Decimal) -> str:
    return dollars(abs(value), mark="−" if value < 0 else "+")


def file_lines(row: Row) -> Iterator[str]:
    """What became of one file, and what in it was left; see `files` of the JSON document."""
    if row["state"] == "left-alone":
        yield f"{row['path']}: left alone: {row['error']}"
        return
    days = f", with the sums of {counted(row['days'], 'day')}" if row["days"] else ""
    done = _CHANGED.get(row["state"], "to change")
    yield f"{row['path']}: {counted(row['rows'], 'row')} {done}{days}"
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
        yield f"  the sums of {counted(len(days), 'day')} stay as they are ({named}): {meaning}"


def _more(row: Row) -> Iterator[str]:
    for backup in row["passed_over"]:
        yield f"  passed over, for it is not whole: {backup}"
    if row["lost"]:
        yield "  what was changed before the backup was made cannot be taken back"
    if row["other_names"]:
        names = counted(row["other_names"], "other name")
        yield f"  {names} of the file (hard links) still lead to what it was before"


def applied_line(applied: Row, bounded: int = 0) -> str:
    """What `--apply` did, in the calls that the plan speaks of; some are only `bounded`."""
    parts = []
    if applied["in_files"]:
        parts.append(f"{counted(applied['in_files'], 'call')} now stated by 9router's own files")
    if applied["recorded"]:
        parts.append(f"corrections of {counted(applied['recorded'], 'call')} recorded")
    if applied["recorded_before"]:
        before = applied["recorded_before"]
        parts.append(f"those of {counted(before, 'call')} were recorded before")
    if bounded:
        parts.append(f"bounds of {counted(bounded, 'call')} recorded")
    return " · ".join(parts) or "there is nothing to record"
