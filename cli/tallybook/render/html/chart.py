"""Stacked bars over time as SVG: what a bar stands for, and which shapes stand where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from math import ceil
from typing import Any, Final

WIDTH: Final = 960
HEIGHT: Final = 260
LEFT: Final = 64
BOTTOM: Final = 28
TOP: Final = 10
_LABELS: Final = 8  # names below the bars, at most
_LINES: Final = 4  # lines across, about
# Longest span in days that is still drawn with a bar a day, a bar a week.
_DAYS: Final = 92
_WEEKS: Final = 730
_WRITTEN: Final = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
_FIRST_DAY: Final[Mapping[str, Callable[[str], date]]] = {
    "day": date.fromisoformat,
    "week": lambda week: date.fromisocalendar(int(week[:4]), int(week[6:]), 1),
    "month": lambda month: date.fromisoformat(f"{month}-01"),
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle of the series `series` (its place in the legend) and the words on it."""

    x: float
    y: float
    width: float
    height: float
    series: int
    words: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A line across or a name below, at one coordinate."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """All that a template has to write down."""

    bars: Sequence[Bar]
    lines: Sequence[Mark]
    names: Sequence[Mark]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    base: int = HEIGHT - BOTTOM


def chart(
    times: Sequence[str],
    series: Sequence[tuple[str, Sequence[Decimal]]],
    sign: str,
) -> Chart | None:
    """Bars for values from 0 (one a time in each series); None where there is nothing to draw.

    `sign` stands before a value: "$", or nothing for a count.
    """
    tops = [sum(values, Decimal()) for values in zip(*(bars for _, bars in series), strict=True)]
    highest = max(tops, default=Decimal())
    if not highest:
        return None
    step = _step(highest / _LINES)
    steps = ceil(highest / step)
    scale = (HEIGHT - BOTTOM - TOP) / float(step * steps)
    return Chart(
        bars=_bars(times, series, sign, scale),
        lines=[
            Mark(_r(HEIGHT - BOTTOM - float(step * n) * scale), _words(step * n, sign))
            for n in range(steps + 1)
        ],
        names=_names(times),
    )


def _step(least: Decimal) -> Decimal:
    """The next 1, 2 or 5 times a power of ten."""
    power = Decimal(1).scaleb(least.adjusted())
    return next(power * n for n in (1, 2, 5, 10) if power * n >= least)


def _bars(
    times: Sequence[str], series: Sequence[tuple[str, Sequence[Decimal]]], sign: str, scale: float
) -> list[Bar]:
    slot = (WIDTH - LEFT) / len(times)
    width = min(slot * 0.8, 48)
    bars = []
    for place, time in enumerate(times):
        below = float(HEIGHT - BOTTOM)
        for number, (name, values) in enumerate(series):
            height = float(values[place]) * scale
            if height:
                below -= height
                x = LEFT + place * slot + (slot - width) / 2
                words = f"{time} · {name} · {_words(values[place], sign)}"
                bars.append(Bar(_r(x), _r(below), _r(width), _r(height), number, words))
    return bars


def _names(times: Sequence[str]) -> list[Mark]:
    slot = (WIDTH - LEFT) / len(times)
    every = -(-len(times) // _LABELS)
    return [Mark(_r(LEFT + (n + 0.5) * slot), t) for n, t in enumerate(times) if n % every == 0]


def _words(value: Decimal, sign: str) -> str:
    if value == value.to_integral_value():
        return f"{sign}{value:,.0f}"
    least = Decimal("0.01") if value * 100 >= 1 else Decimal("0.0001")
    return f"{sign}{value.quantize(least):,}"


def _r(value: float) -> float:
    return round(value, 2)


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
