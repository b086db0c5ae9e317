"""Stacked bars over time as SVG: which shapes stand where, in the units of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import Final

WIDTH: Final = 960
HEIGHT: Final = 260
LEFT: Final = 64
BOTTOM: Final = 28
TOP: Final = 10
_LABELS: Final = 8  # names below the bars, at most
_LINES: Final = 4  # lines across, about


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
