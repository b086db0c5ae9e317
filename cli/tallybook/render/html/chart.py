"""Stacked bars over time as SVG: what a bar stands for, and which shapes stand where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from math import ceil
from typing import Any, Final, NamedTuple

_LABELS: Final = 8  # names below the bars, at most
# So many stand in a narrow window as well; of more every third does.
_NARROW: Final = 4
_NARROW_STEP: Final = 3
_LINES: Final = 4  # lines across, about
_FULL: Final = 0.8  # of its slot, what a bar takes
_WIDEST: Final = 6.0  # per cent, a bar of few
_EDGE: Final = 6.0  # per cent, where the middle of a name below would leave the chart
_UNITS: Final = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))
# Longest span in days that is still drawn with a bar a day, a bar a week.
_DAYS: Final = 92
_WEEKS: Final = 730
_WRITTEN: Final = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
_FIRST_DAY: Final[Mapping[str, Callable[[str], date]]] = {
    "day": date.fromisoformat,
    "week": lambda week: date.fromisocalendar(int(week[:4]), int(week[6:]), 1),
    "month": lambda month: date.fromisoformat(f"{month}-01"),
}


class Bar(NamedTuple):
    """What the series `series` (its place in the legend) has in a stack; from the top, per cent."""

    y: float
    height: float
    series: int


class Stack(NamedTuple):
    """The bars of one time, where they stand in per cent of the width, and the words on them."""

    left: float
    slot: float
    x: float
    width: float
    bars: Sequence[Bar]
    words: str


class Line(NamedTuple):
    """A line across, in per cent of the height from the top."""

    at: float
    text: str


class Name(NamedTuple):
    """The name of a time, in per cent of the width; not `is_main`: only where there is room."""

    at: float
    text: str
    anchor: str
    is_main: bool


class Chart(NamedTuple):
    """All that a template has to write down; per cents, so that it fits a window of any width."""

    stacks: Sequence[Stack]
    lines: Sequence[Line]
    names: Sequence[Name]


def chart(
    times: Sequence[str], series: Sequence[tuple[str, Sequence[Decimal]]], sign: str
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
    whole = step * steps
    places = _places(step, sign)
    words = [_told(time, n, series, sign) for n, time in enumerate(times)]
    bars = [_stack([values[n] for _, values in series], whole) for n in range(len(times))]
    lines = [
        Line(_r(100 - 100 * n / steps), _brief(step * n, sign, places)) for n in range(steps + 1)
    ]
    return Chart(_stacks(bars, words), lines, _names(times))


def shares(times: Sequence[str], values: Sequence[Decimal | None], words: Sequence[str]) -> Chart:
    """Bars of parts of a whole (0 to 1; None: not known), with the words on them."""
    bars = [_stack([value or Decimal()], Decimal(1)) for value in values]
    lines = [Line(_r(100.0 - part), f"{part} %") for part in (0, 50, 100)]
    told = [f"{time}: {each}" for time, each in zip(times, words, strict=True)]
    return Chart(_stacks(bars, told), lines, _names(times))


def _step(least: Decimal) -> Decimal:
    """The next 1, 2 or 5 times a power of ten."""
    power = Decimal(1).scaleb(least.adjusted())
    return next(power * n for n in (1, 2, 5, 10) if power * n >= least)


def _stack(values: Sequence[Decimal], whole: Decimal) -> list[Bar]:
    """The values on one another; what is nothing has no bar."""
    bars, below = list[Bar](), 100.0
    for number, value in enumerate(values):
        height = float(100 * value / whole)
        if height:
            below -= height
            bars.append(Bar(_r(below), _r(height), number))
    return bars


def _stacks(bars: Sequence[list[Bar]], words: Sequence[str]) -> list[Stack]:
    slot = 100 / len(bars)
    width = min(slot * _FULL, _WIDEST)
    return [
        Stack(_r(n * slot), _r(slot), _r(n * slot + (slot - width) / 2), _r(width), own, told)
        for n, (own, told) in enumerate(zip(bars, words, strict=True))
    ]


def _told(time: str, place: int, series: Sequence[tuple[str, Sequence[Decimal]]], sign: str) -> str:
    """What a time has of each series, the largest first, and of all."""
    own = [(name, values[place]) for name, values in series if values[place]]
    own.sort(key=lambda each: -each[1])
    parts = [f"{name} {_words(value, sign)}" for name, value in own]
    whole = _words(sum((value for _, value in own), Decimal()), sign)
    more = [f"{whole} = "] if len(parts) > 1 else []
    return f"{time}: {''.join(more)}{' + '.join(parts) or whole}"


def _names(times: Sequence[str]) -> list[Name]:
    slot = 100 / len(times)
    every = -(-len(times) // _LABELS)
    named = range(0, len(times), every)
    found = []
    for place, n in enumerate(named):
        at = (n + 0.5) * slot
        # To the left the numbers of the lines leave room for the half of a name.
        is_last = at > 100 - _EDGE
        is_main = len(named) <= _NARROW or place % _NARROW_STEP == 0
        at, anchor = ((n + 1) * slot, "end") if is_last else (at, "middle")
        found.append(Name(_r(at), times[n], anchor, is_main))
    return found


def _words(value: Decimal, sign: str) -> str:
    if value == value.to_integral_value():
        return f"{sign}{value:,.0f}"
    least = Decimal("0.01") if value * 100 >= 1 else Decimal("0.0001")
    return f"{sign}{value.quantize(least):,}"


def _places(step: Decimal, sign: str) -> int:
    """Decimals that all lines have: of money none, or two and more."""
    places = max(-step.normalize().adjusted(), 0)
    return max(places, 2) if sign and places else places


def _brief(value: Decimal, sign: str, places: int) -> str:
    """A round number in a few cells: `$20`, `$0.05`, `500M`."""
    for unit, letter in _UNITS:
        if value >= unit:
            return f"{sign}{(value / unit).normalize():f}{letter}"
    return f"{sign}{value:.{places}f}"


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
