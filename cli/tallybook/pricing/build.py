"""Evaluates genai-prices once, at every date, window, tier and variant, into the flat table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec

from tallybook.pricing import table
from tallybook.values import names_in

if TYPE_CHECKING:
    from genai_prices import types as g

# The first context that a model has prices for is the variant's.
_CONTEXTS: Final[Mapping[str, tuple[dict[str, str], ...]]] = {
    table.FAST: ({"speed": "fast"}, {"service_tier": "fast"}, {"service_tier": "priority"}),
    table.PRIORITY: ({"service_tier": "priority"}, {"service_tier": "fast"}),
    table.FLEX: ({"service_tier": "flex"},),
    table.BATCH: ({"processing": "batch"},),
}
_PRICE_KEYS: Final = {
    "uncached": ("input_mtok",),
    "cached": ("cache_read_mtok",),
    "creation_5m": ("cache_write_5m_mtok", "cache_write_mtok"),
    "creation_1h": ("cache_write_1h_mtok",),
    "output": ("output_mtok",),
    "search": ("web_searches_kcount",),
}
# One for each of schema.MEDIA_COUNTS.
_MEDIA_KEYS: Final = names_in(
    "input_audio_mtok cache_audio_read_mtok input_image_mtok cache_image_read_mtok"
    " output_audio_mtok output_image_mtok"
)
_OPERATORS: Final = {
    "equals": "=",
    "starts_with": "^",
    "ends_with": "$",
    "contains": "~",
    "regex": "r",
    "or_": "|",
    "and_": "&",
}
_LONG_AGO: Final = date(2000, 1, 1)


def build_providers() -> tuple[table.Provider, ...]:
    """The whole of the installed genai-prices. Importing it takes most of a second."""
    from genai_prices.data import providers  # noqa: PLC0415 - nobody else may pay for it

    return tuple(_provider(provider) for provider in providers)


def _provider(provider: g.Provider) -> table.Provider:
    return table.Provider(
        id=provider.id,
        named=_clause(provider.provider_match) if provider.provider_match else None,
        owns=_clause(provider.model_match) if provider.model_match else None,
        resells=tuple(provider.fallback_model_providers or ()),
        models=tuple(_model(model) for model in provider.models),
    )


def _model(model: g.ModelInfo) -> table.Model:
    clause = _clause(model.match)
    clauses = clause.parts if clause.operator == "|" else (clause,)
    return table.Model(
        id=model.id,
        equals=tuple(c.text for c in clauses if c.operator == "="),
        clauses=tuple(c for c in clauses if c.operator != "="),
        rates=tuple(_rates(model)),
    )


def _clause(match: object) -> table.Clause:
    ((field, value),) = vars(match).items()
    operator = _OPERATORS[field]
    if operator in "|&":
        return table.Clause(operator, parts=tuple(_clause(part) for part in value))
    return table.Clause(operator, value if operator == "r" else value.lower())


def _rates(model: g.ModelInfo) -> Iterator[table.Rate]:
    """All rates of a model, periods without a change joined."""
    if not any(vars(prices) for prices in _price_sets(model)):
        return
    starts = _starts(model)
    before = starts[0] - timedelta(days=1) if starts else _LONG_AGO
    for variant, context in [(table.STANDARD, None), *_variants(model)]:
        periods: list[tuple[int | None, list[table.Rate]]] = []
        for start in (None, *starts):
            rows = list(_windows(model, variant, context, start or before))
            if not periods or periods[-1][1] != rows:
                periods.append((None if start is None else table.micros(start), rows))
        ends = [start for start, _ in periods[1:]] + [None]
        for (start_at, rows), end in zip(periods, ends, strict=True):
            yield from (row.during(start_at, end) for row in rows)


def _price_sets(model: g.ModelInfo) -> list[g.ModelPrice]:
    if isinstance(model.prices, list):
        return [conditional.prices for conditional in model.prices]
    return [model.prices]


def _constraints(model: g.ModelInfo) -> Iterator[object]:
    conditional = model.prices if isinstance(model.prices, list) else []
    for item in (*conditional, *(model.price_variants or ())):
        if item.constraint is not None:
            yield item.constraint


def _starts(model: g.ModelInfo) -> list[date]:
    found = (getattr(constraint, "start_date", None) for constraint in _constraints(model))
    return sorted({start for start in found if start is not None})


def _variants(model: g.ModelInfo) -> Iterator[tuple[str, dict[str, str]]]:
    known = [variant.when for variant in model.price_variants or () if vars(variant.prices)]
    for variant, contexts in _CONTEXTS.items():
        for context in contexts:
            if context in known:
                yield variant, context
                break


def _windows(
    model: g.ModelInfo, variant: str, context: dict[str, str] | None, day: date
) -> Iterator[table.Rate]:
    edges = {0, table.DAY}
    for constraint in _constraints(model):
        for name in ("start_time", "end_time"):
            if (clock := getattr(constraint, name, None)) is not None:
                edges.add(_seconds(clock))
    ordered = sorted(edges)
    for day_from, day_to in pairwise(ordered):
        instant = datetime.combine(day, time(), UTC) + timedelta(seconds=day_from)
        for row in _tiers(model, variant, context, instant):
            yield msgspec.structs.replace(row, day_from=day_from, day_to=day_to)


def _tiers(
    model: g.ModelInfo, variant: str, context: dict[str, str] | None, instant: datetime
) -> Iterator[table.Rate]:
    standard = model.get_prices(instant)
    if context is None:
        yield from _rows(variant, standard)
    elif _started(model, context, instant):
        yield from _rows(variant, model.get_prices(instant, context))
    else:
        yield from _projected(model, variant, context, instant)


def _started(model: g.ModelInfo, context: dict[str, str], instant: datetime) -> bool:
    return any(
        variant.when == context
        and (variant.constraint is None or variant.constraint.active(instant))
        for variant in model.price_variants or ()
    )


def _projected(
    model: g.ModelInfo, variant: str, context: dict[str, str], instant: datetime
) -> Iterator[table.Rate]:
    """A variant before the date from which its price is known: its surcharge on the price of then.

    The variants of most models are recorded from the day they were looked up, not from the day
    they were first sold; the standard price of that time would be half the truth.
    """
    first = next(start for start in _starts(model) if _started(model, context, _at(start, instant)))
    known = _at(first, instant)
    standard, then, sold = (
        model.get_prices(instant),
        model.get_prices(known),
        model.get_prices(known, context),
    )
    for above in _thresholds(standard, then, sold):
        now, base, target = (_values(prices, above) for prices in (standard, then, sold))
        rates = {name: _ratio(now[name], base[name], target[name]) for name in table.TOKEN_RATES}
        triples = zip(*(_media(prices, above) for prices in (standard, then, sold)), strict=True)
        media = [_ratio(*triple) for triple in triples]
        rates["search"] = now["search"]
        yield table.new_rate(rates, media, above=above, variant=variant, basis=table.RULE)


def _at(day: date, instant: datetime) -> datetime:
    return datetime.combine(day, instant.timetz())


def _ratio(now: int | None, base: int | None, target: int | None) -> int | None:
    if now is None or not base or target is None or now == base:
        return target
    return round(Fraction(now * target, base))


def _rows(variant: str, prices: g.ModelPrice) -> Iterator[table.Rate]:
    for above in _thresholds(prices):
        rates, media = _values(prices, above), _media(prices, above)
        yield table.new_rate(rates, media, above=above, variant=variant)


def _thresholds(*price_sets: g.ModelPrice) -> list[int]:
    starts = {0}
    for prices in price_sets:
        for keys in _PRICE_KEYS.values():
            for key in keys:
                starts.update(tier.start for tier in getattr(vars(prices).get(key), "tiers", ()))
    return sorted(starts)


def _values(prices: g.ModelPrice, above: int) -> dict[str, int | None]:
    values: dict[str, int | None] = {}
    for name in table.RATES:
        found = (_price(prices, key, above) for key in _PRICE_KEYS[name])
        values[name] = table.femto(
            name, next((price for price in found if price is not None), None)
        )
    return values


def _media(prices: g.ModelPrice, above: int) -> list[int | None]:
    return [table.femto(key, _price(prices, key, above)) for key in _MEDIA_KEYS]


def _price(prices: g.ModelPrice, key: str, above: int) -> Decimal | None:
    stored = vars(prices).get(key)
    if stored is None or isinstance(stored, Decimal):
        return stored
    price: Decimal = stored.base
    for tier in stored.tiers:
        if above >= tier.start:
            price = tier.price
    return price


def _seconds(clock: time) -> int:
    utc = datetime.combine(_LONG_AGO, clock if clock.tzinfo else clock.replace(tzinfo=UTC))
    utc = utc.astimezone(UTC)
    return utc.hour * 3600 + utc.minute * 60 + utc.second
