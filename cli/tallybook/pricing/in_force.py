"""Finds the rates in force when many calls were made: few distinct situations, each once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, Final, NamedTuple

import msgspec
import polars as pl

from tallybook.pricing import media, rules, tools
from tallybook.pricing.rates import LATEST, MONDAY, Rates
from tallybook.pricing.table import DAY, EVERY_DAY, RATES, WEEK, Rate, holds_at
from tallybook.pricing.tariff import Key, Layer, Tariff, tier_of_prompt

KEY_COLUMNS: Final = ("provider", "model", "service_tier", "speed", "inference_geo")
_INPUT_RATES: Final = ("uncached", "cached", "creation_5m", "creation_1h")
_CACHED, _CREATION_5M, _CREATION_1H, _SEARCH = (
    RATES.index(name) for name in ("cached", "creation_5m", "creation_1h", "search")
)
_BORROWING: Final = ("cached", "creation_5m", "creation_1h")

SCHEMA: Final[dict[str, Any]] = {
    **dict.fromkeys(RATES, pl.Int64),
    **{f"{name}_low": pl.Int64 for name in (*RATES, "input")},
    **{f"{name}_high": pl.Int64 for name in (*RATES, "input")},
    **{f"{name}_borrowed": pl.Boolean for name in _BORROWING},
    "tier_open": pl.Boolean,
    "free": pl.Boolean,
    "assumed": pl.Boolean,
    "perhaps_dearer": pl.Boolean,
    "too_early": pl.Boolean,
    "price_model": pl.String,
    "price_provider": pl.String,
    "price_from": pl.Datetime("us", "UTC"),
}


class _Grid(msgspec.Struct, frozen=True):
    """Every instant, second of the week and prompt size at which any of the tariffs changes.

    A situation is a tariff with a place on each axis. A place is the number of the last edge at or
    before it, 0 being before the first; what lies beyond the last place is `unknown`.
    """

    tariffs: tuple[Tariff, ...]
    instants: tuple[int, ...]
    seconds: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def axes(self) -> tuple[tuple[int, ...], ...]:
        """The edges, in the order in which a situation is numbered."""
        return self.instants, self.seconds, self.sizes


def add_rates(calls: pl.DataFrame, rates: Rates) -> pl.DataFrame:
    """Add the columns of SCHEMA to `calls`, in their order."""
    named = calls.select(KEY_COLUMNS)
    # A number is found sooner than five texts, and there are few keys.
    keys = named.hash_rows()
    firsts = keys.arg_unique()
    firsts = firsts.gather(keys.gather(firsts).arg_sort())
    tariffs = tuple(rates.tariff(Key(*row)) for row in named[firsts].iter_rows())
    grid = _grid(tariffs)
    tariff = keys.gather(firsts).search_sorted(keys).cast(pl.Int64)
    situation = _situations(calls, tariff, grid)
    numbers = situation.unique().sort()
    found = [_situated(number, grid) for number in numbers]
    columns: list[pl.Series] = []
    for schema, part, is_needed in (
        (SCHEMA, _rates, True),
        (media.SCHEMA, _media, media.are_stated(calls)),
        (tools.SCHEMA, _fees, tools.are_stated(calls)),
    ):
        if is_needed:
            values = [tuple(part(each)) for each in found]
            columns += pl.DataFrame(values, schema=schema, orient="row").get_columns()
    return calls.hstack(_taken(columns, numbers.search_sorted(situation)))


def _taken(columns: Sequence[pl.Series], place: pl.Series) -> list[pl.Series]:
    """What stands in each column at the places; most bounds are the rates, and taken once."""
    like: dict[Any, str] = {}
    names = {each.name: like.setdefault((each.dtype, *each), each.name) for each in columns}
    taken = pl.DataFrame([each for each in columns if each.name in like.values()])[place]
    return [taken[one].alias(name) for name, one in names.items()]


def _grid(tariffs: tuple[Tariff, ...]) -> _Grid:
    edges = [_edges(tariff) for tariff in tariffs]
    instants, seconds, sizes = (
        tuple(sorted({edge for own in edges for edge in own[axis]})) for axis in range(3)
    )
    return _Grid(tariffs, instants, seconds, sizes)


def _edges(tariff: Tariff) -> tuple[set[int], set[int], set[int]]:
    """The instants, seconds of the week and prompt sizes at which the tariff's rates change."""
    rows = [row for layer in tariff.layers for row in layer.rates]
    ends = [(each.valid_from, each.valid_to) for each in rows]
    ends += [(fee.valid_from, fee.valid_to) for fee in tariff.fees]
    instants = {time for period in ends for time in period if time is not None}
    seconds = {
        day * DAY + edge
        for row in rows
        if (row.day_from, row.day_to, row.weekdays) != (0, DAY, EVERY_DAY)
        for day in range(7)
        for edge in (row.day_from, row.day_to % DAY)
    }
    return instants, seconds, {row.above for row in rows if row.above}


def _situations(calls: pl.DataFrame, tariff: pl.Series, grid: _Grid) -> pl.Series:
    """One number for everything that decides the rates: tariff, period, window, prompt size."""
    time = second = pl.col("timestamp").dt.timestamp("us")
    if grid.seconds:
        second = (time // 1_000_000 + MONDAY) % WEEK
    places = (
        _place(time, grid.instants, "right"),
        _place(second, grid.seconds, "right"),
        _place(_largest_prompt(), grid.sizes, "left"),
    )
    number = own = pl.lit(tariff)
    for axis, (edges, place) in enumerate(zip(grid.axes, places, strict=True)):
        width = len(edges) + 2
        number = number * width + pl.lit(_own_places(grid, axis)).gather(own * width + place)
    return calls.select(number * 2 + pl.col("context_tokens").is_null()).to_series()


def _place(values: pl.Expr, edges: tuple[int, ...], side: Any) -> pl.Expr:
    if not edges:
        return values.is_null().cast(pl.Int64)
    found = pl.lit(pl.Series(edges, dtype=pl.Int64)).search_sorted(values, side).cast(pl.Int64)
    return pl.when(values.is_null()).then(len(edges) + 1).otherwise(found)


def _own_places(grid: _Grid, axis: int) -> pl.Series:
    """For every tariff and place, the first place between which and it the tariff does not change.

    Without it a model would have as many situations as all models have changes.
    """
    edges = grid.axes[axis]
    places: list[int] = []
    for tariff in grid.tariffs:
        own = _edges(tariff)[axis]
        first = 0
        places.append(first)
        for place, edge in enumerate(edges, 1):
            first = place if edge in own else first
            places.append(first)
        places.append(len(edges) + 1)
    return pl.Series(places, dtype=pl.Int64)


def _largest_prompt() -> pl.Expr:
    """The prompt size, or where unknown the most it can have been.

    A sum over several requests holds no request larger than the whole of it.
    """
    whole = pl.when(~pl.col("input_lower_bound")).then("input_tokens")
    return pl.coalesce("context_tokens", whole, pl.lit(LATEST))


class _Situation(NamedTuple):
    """A tariff at an instant, and the rates in force then of the tier of a prompt."""

    tariff: Tariff
    instant: int
    layer: Layer | None
    rows: tuple[Rate, ...]


def _situated(situation: int, grid: _Grid) -> _Situation:
    left, is_open = divmod(situation, 2)
    places = []
    for edges in reversed(grid.axes):
        left, place = divmod(left, len(edges) + 2)
        places.append(place)
    size, window, period = places
    tariff = grid.tariffs[left]
    instant = _instant(period, grid)
    layer, rows = tariff.in_force(instant, _second(window, grid))
    largest = grid.sizes[size - 1] + 1 if size else 0
    return _Situation(tariff, instant, layer, tier_of_prompt(rows, largest, is_exact=not is_open))


def _rates(found: _Situation) -> Iterable[Any]:
    """Values of SCHEMA."""
    if found.layer is None or not found.rows:
        return _unknown(found.tariff, found.instant)
    return _priced(found.tariff, found.layer, found.rows)


def _media(found: _Situation) -> Iterable[Any]:
    """Values of media.SCHEMA."""
    if found.layer is None or not found.rows:
        return [None] * len(media.SCHEMA)
    base = _base(found.rows)
    others = [row for row in found.rows if row is not base]
    return media.rates_of([base, *others], found.tariff.provider, found.tariff.model)


def _fees(found: _Situation) -> Iterable[Any]:
    """Values of tools.SCHEMA."""
    return tools.fees_of([fee for fee in found.tariff.fees if holds_at(fee, found.instant)])


def _instant(period: int, grid: _Grid) -> int:
    if period > len(grid.instants):
        return LATEST
    if period == 0:
        return grid.instants[0] - 1 if grid.instants else 0
    return grid.instants[period - 1]


def _second(window: int, grid: _Grid) -> int | None:
    if window > len(grid.seconds):
        return None
    return grid.seconds[window - 1] if window else 0


def _unknown(tariff: Tariff, instant: int) -> Iterable[Any]:
    """Values of SCHEMA where no rate is in force."""
    rows = [row for layer in tariff.layers for row in layer.rates]
    starts = [row.valid_from for row in rows if row.valid_from is not None]
    values = dict.fromkeys(SCHEMA)
    values |= {
        "too_early": any(start > instant for start in starts),
        "price_model": tariff.model,
        "price_provider": tariff.provider,
    }
    return values.values()


def _priced(tariff: Tariff, layer: Layer, rows: tuple[Rate, ...]) -> Iterable[Any]:
    """Values of SCHEMA: the lowest tier's rates, bounds over all `rows`."""
    base = _base(rows)
    rates = [getattr(base, name) for name in RATES]
    bounds = [_known(rows, (name,)) for name in RATES] + [_known(rows, _INPUT_RATES)]
    since = base.valid_from
    low = [min(bound, default=None) for bound in bounds]
    high = [max(bound, default=None) for bound in bounds]
    _bound_borrowed(base, tariff, low, high)
    if base.doubt:
        least, most = (Fraction(thousandths, 1000) for thousandths in base.doubt)
        low, high = _times(low, least), _times(high, most)
    if layer.least != 1:
        low = [None if rate is None else round(rate * layer.least) for rate in low]
    if tariff.provider in rules.SOME_SEARCHES_FREE and rates[_SEARCH] is not None:
        low[_SEARCH] = 0
    yield from rates
    yield from low
    yield from high
    yield from (name in base.borrowed for name in _BORROWING)
    yield len({row.above for row in rows}) > 1
    yield base.uncached == 0 and not any(rates)
    yield layer.assumed or bool(base.doubt)
    yield not layer.is_bounded
    yield False
    yield tariff.model
    yield tariff.provider
    yield since


def _times(rates: list[int | None], factor: Fraction) -> list[int | None]:
    """The rates of tokens so many times as high."""
    return [
        rate if rate is None or place == _SEARCH else round(rate * factor)
        for place, rate in enumerate(rates)
    ]


def _bound_borrowed(
    base: Rate, tariff: Tariff, low: list[int | None], high: list[int | None]
) -> None:
    """Widen the bounds of cache rates that the list leaves out, in place.

    What was read from or written to a cache without a listed price may have cost nothing, and to
    write may have cost as much more than a prompt as any maker asks; of Claude, double for an hour.
    Where a seller that asks nothing for writes lists reads alone, they cost what a prompt does.
    """
    is_listed = "cached" not in base.borrowed
    if base.uncached is None or (is_listed and tariff.provider in rules.WRITES_FOR_NOTHING):
        return
    if not is_listed:
        low[_CACHED] = 0
    if "creation_5m" in base.borrowed:
        low[_CREATION_5M] = low[_CREATION_1H] = 0
        high[_CREATION_5M] = _most(high[_CREATION_5M], base.uncached * rules.WRITTEN)
    if "creation_1h" in base.borrowed:
        hour = (
            base.uncached * rules.WRITTEN_FOR_AN_HOUR if rules.is_claude(tariff.model or "") else 0
        )
        high[_CREATION_1H] = _most(high[_CREATION_1H], high[_CREATION_5M] or 0, hour)


def _most(known: int | None, *others: Fraction | int) -> int:
    return round(max(known or 0, *others))


def _base(rows: tuple[Rate, ...]) -> Rate:
    """The row of the lowest tier that holds for the most of the day."""
    lowest = [row for row in rows if row.above == rows[0].above]
    return max(lowest, key=lambda row: row.day_to - row.day_from)


def _known(rows: tuple[Rate, ...], names: tuple[str, ...]) -> list[int]:
    found = (getattr(row, name) for row in rows for name in names)
    return [rate for rate in found if rate is not None]
