"""What a page shows beside the answer itself: the same usage over time, by model, by thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from tallybook.report.query import Query
from tallybook.report.summary import Report

ROWS: Final = 2000  # rows of the table that is asked for; no browser sorts a hundred thousand
THREADS: Final = 500  # rows of the thread table; the rest is one row
# Longest span in days that is still drawn with a bar a day, a bar a week.
_DAYS: Final = 92
_WEEKS: Final = 730
_WRITTEN: Final = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
_FIRST_DAY: Final[Mapping[str, Callable[[str], date]]] = {
    "day": date.fromisoformat,
    "week": lambda week: date.fromisocalendar(int(week[:4]), int(week[6:]), 1),
    "month": lambda month: date.fromisoformat(f"{month}-01"),
}


def shown(query: Query) -> Query:
    """The query with rows that a page can show: those after the first ROWS are one."""
    return query if query.limit is not None else replace(query, limit=ROWS)


def sections(answer: Callable[[Query], Report], query: Query) -> dict[str, Report]:
    """The reports under `time` (a time key and the model), `models` and `threads`."""
    plain = replace(query, sort=None, limit=None)
    days = answer(replace(plain, by=("day",)))
    return {
        "time": answer(replace(plain, by=(unit([row["day"] for row in days.rows]), "model"))),
        "models": answer(replace(plain, by=("model",))),
        "threads": answer(replace(plain, by=("root-thread",), limit=THREADS)),
    }


def unit(days: Sequence[str | None]) -> str:
    """The time key that divides the days (ISO, null: undated) into a number of bars to look at."""
    dated = [date.fromisoformat(day) for day in days if day]
    span = (max(dated) - min(dated)).days + 1 if dated else 1
    return "day" if span <= _DAYS else "week" if span <= _WEEKS else "month"


def stacks(rows: Sequence[Mapping[str, Any]], key: str, measure: str, most: int) -> dict[str, Any]:
    """The rows of `time` as bars: {"times": [...], "series": [(model, [value a time])]}.

    The `most` largest models stand alone, the others are one series named None. Values are
    Decimal or int; what a row does not know adds nothing, and undated rows are left out.
    """
    times = between(key, sorted({row[key] for row in rows if row[key]}))
    sums: dict[str, Decimal] = {}
    for row in rows:
        value = Decimal(row[measure] or 0)
        sums[row["model"] or ""] = sums.get(row["model"] or "", Decimal()) + value
    named = sorted(sums, key=lambda model: (-sums[model], model))[:most]
    series = {model: dict.fromkeys(times, Decimal()) for model in [*named, None]}
    for row in rows:
        if row[key]:
            model = row["model"] or ""
            series[model if model in named else None][row[key]] += Decimal(row[measure] or 0)
    drawn = [(model, list(bars.values())) for model, bars in series.items() if any(bars.values())]
    return {"times": times, "series": drawn}


def between(key: str, times: Sequence[str]) -> list[str]:
    """Every day, week or month from the first to the last of `times` (sorted), idle ones too."""
    if not times:
        return []
    day, last, written = _FIRST_DAY[key](times[0]), times[-1], [times[0]]
    while written[-1] < last:
        day += timedelta(days=1)
        time = day.strftime(_WRITTEN[key])
        if time != written[-1]:
            written.append(time)
    return written
