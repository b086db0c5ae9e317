"""Carries corrected rows into the sums that 9router keeps of each day."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Final, NamedTuple

from tallybook.backfill.ninerouter.change import Change, DayLeft, Row, RowState
from tallybook.sources.ninerouter import tokens as shapes
from tallybook.values import instant

_QUARTER: Final = timedelta(minutes=15)
_WEST: Final = timedelta(hours=-12)
_EAST: Final = timedelta(hours=14)
_FIRST: Final = datetime.min.replace(tzinfo=UTC) + timedelta(days=3)
_LAST: Final = datetime.max.replace(tzinfo=UTC) - timedelta(days=3)
_DECIMALS: Final = 12
Day = dict[str, Any]


class Known(NamedTuple):
    """A row as a day's sum counts it."""

    time: datetime  # UTC
    prompt: int
    completion: int


def day_of(
    day: str, data: Mapping[str, Any], rows: Sequence[Known]
) -> tuple[datetime, datetime] | None:
    """The UTC times between which a local day lies; None where no offset explains its sums.

    `rows` are those from half a day before to half a day behind, as they are stored, in the order
    of time. The server's zone is not stored, but only one makes the sums what they are; several
    that differ by hours without requests are as good as one.
    """
    try:
        begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
    except ValueError:
        return None
    if not _FIRST < begin < _LAST:
        return None
    want = tuple(data.get(name) for name in ("requests", "promptTokens", "completionTokens"))
    times = [row.time for row in rows]
    prompts = [0, *accumulate(row.prompt for row in rows)]
    completions = [0, *accumulate(row.completion for row in rows)]
    for start, end in _offsets(begin):
        first, last = bisect_left(times, start), bisect_left(times, end)
        sums = last - first, prompts[last] - prompts[first], completions[last] - completions[first]
        if sums == want:
            return start, end
    return None


class DaySum(NamedTuple):
    """The sums of a day and the UTC times between which it lies."""

    day: str
    data: Day
    bounds: tuple[datetime, datetime]


def day_sum(day: str, data: Any, rows: Sequence[Known]) -> DaySum | DayLeft:
    """The sums of a day that are those of its rows, see `day_of`; or why they cannot be told."""
    if not isinstance(data, dict):
        return DayLeft(day, "unreadable")
    bounds = day_of(day, data, rows)
    return DayLeft(day, "other-rows") if bounds is None else DaySum(day, data, bounds)


def days_near(time: datetime | None) -> set[str]:
    """The local days, as keys of sums, in which a time may lie, wherever the server stands."""
    if time is None or not _FIRST < time < _LAST:
        return set()
    return {(time + each).date().isoformat() for each in (_WEST, timedelta(), _EAST)}


def _offsets(begin: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Where a day may begin and end in UTC, the likeliest first; it may have 23 or 25 hours."""
    offsets = [_WEST + _QUARTER * step for step in range((_EAST - _WEST) // _QUARTER + 1)]
    for hours in (24, 23, 25):
        for offset in sorted(offsets, key=lambda each: (each % timedelta(hours=1), abs(each))):
            yield begin - offset, begin - offset + timedelta(hours=hours)


def adjusted(
    days: Sequence[DaySum | DayLeft], changes: Sequence[Change]
) -> tuple[list[tuple[str, Day]], list[DayLeft]]:
    """The days whose sums change, with the new ones, and the days of changes that have none."""
    known = [each for each in days if isinstance(each, DaySum)]
    own, near = _by_day(changes, {each.day: each.bounds for each in known})
    sums = [
        (each.day, data)
        for each in known
        if (data := _with_changes(each.data, own[each.day])) != each.data
    ]
    return sums, [each for each in days if isinstance(each, DayLeft) and each.day in near]


def _with_changes(day: Day, changes: Iterable[Change]) -> Day:
    """The sums of a day with the changes of its rows; the day itself is left as it is."""
    copied = {
        name: {key: dict(c) if isinstance(c, dict) else c for key, c in value.items()}
        if name.startswith("by") and isinstance(value, dict)
        else value
        for name, value in day.items()
    }
    for change in changes:
        difference = _difference(change)
        _add(copied, difference)
        for group, key in _keys(change.row):
            counters = copied.get(group)
            counter = counters.get(key) if isinstance(counters, dict) else None
            if isinstance(counter, dict):
                _add(counter, difference)
    return copied


def _by_day(
    changes: Sequence[Change], bounds: Mapping[str, tuple[datetime, datetime]]
) -> tuple[dict[str, list[Change]], set[str]]:
    """The changes of each day by the UTC times between which it lies, and the days of the others.

    The latter are all in which one of them may be counted.
    """
    found: dict[str, list[Change]] = {}
    counted: set[int] = set()
    for day, (begin, end) in bounds.items():
        found[day] = [c for c in changes if (t := instant(c.row.timestamp)) and begin <= t < end]
        counted |= {change.row.record for change in found[day]}
    others = (change.row for change in changes if change.row.record not in counted)
    return found, {day for row in others for day in days_near(instant(row.timestamp))}


def json_text(value: Any, indent: int | None = None) -> str:
    """A value as 9router writes it. Raises ValueError where JSON has no way to."""
    separators = (",", ":") if indent is None else (",", ": ")
    form = {"indent": indent, "separators": separators, "allow_nan": False}
    text = json.dumps(value, ensure_ascii=False, **form)  # type: ignore[arg-type] # as above
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can only escape
        return json.dumps(value, **form)  # type: ignore[arg-type] # as above
    return text


def _keys(row: Row) -> Iterator[tuple[str, str]]:
    """The counters of a day in which a row is counted."""
    who = f"{row.model}|{row.provider or 'unknown'}"
    if row.provider:
        yield "byProvider", row.provider
    yield "byModel", f"{row.model}|{row.provider}" if row.provider else row.model
    if row.connection:
        yield "byAccount", row.connection
    yield "byApiKey", f"{row.key or 'local-no-key'}|{who}"
    yield "byEndpoint", f"{row.endpoint or 'Unknown'}|{who}"


def _difference(change: Change) -> dict[str, float]:
    before, after = change.row.state, change.after
    return {
        "promptTokens": (after.prompt or 0) - (before.prompt or 0),
        "completionTokens": (after.completion or 0) - (before.completion or 0),
        "cachedTokens": _cached(after) - _cached(before),
        "cost": (after.cost or 0) - (before.cost or 0),
    }


def _cached(state: RowState) -> int:
    """What a day counts as cached of a row: reads, whatever their key."""
    tokens = shapes.decode(state.tokens or "null", [])
    return (tokens.cached_tokens or tokens.cache_read_input_tokens or 0) if tokens else 0


def _add(counter: dict[str, Any], difference: Mapping[str, float]) -> None:
    for name, value in difference.items():
        if value:
            found = counter.get(name, 0)
            stated = found if isinstance(found, int | float) else 0
            counter[name] = round(stated + value, _DECIMALS) if name == "cost" else stated + value
