"""What models cost: every rate with its period, tier and source, and how a name leads to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final

import msgspec
import polars as pl
from msgspec.structs import replace

from tallybook.pricing.cost import BEFORE_FIRST_PRICE, UNPRICED
from tallybook.pricing.rates import LATEST, Rates, week_second
from tallybook.pricing.table import (
    BATCH,
    CORRECTION,
    DAY,
    FAST,
    FLEX,
    LIST,
    OVERRIDE,
    PRIORITY,
    RATES,
    RULE,
    STANDARD,
    TOKEN_RATES,
    Fee,
    Rate,
    holds_at,
    micros,
    per_million,
)
from tallybook.pricing.tariff import Key, Layer, Tariff
from tallybook.report.fields import plain
from tallybook.report.query import Query
from tallybook.report.sums import selected
from tallybook.schema import MEDIA_COUNTS
from tallybook.values import names_in

Row = dict[str, Any]

NEAR: Final = 6  # names that are offered where nothing has the one that was asked for
# How a request may be served, and what of it decides the rates.
SERVED: Final[Mapping[str, Mapping[str, str]]] = {
    STANDARD: {},
    FAST: {"speed": "fast"},
    PRIORITY: {"service_tier": "priority"},
    FLEX: {"service_tier": "flex"},
    BATCH: {"service_tier": "batch"},
    "us": {"inference_geo": "us"},
}
# Words of the fields of a rate; what a later table has more stands under its own name.
_WORDS: Final = {
    "uncached": "uncached_input",
    "cached": "cached_input",
    "creation_5m": "cache_creation_5m",
    "creation_1h": "cache_creation_1h",
    "search": "web_search",
}
_WEEK: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_THOUSAND: Final = 1000
OPEN: Final = ".."  # an end of a period that is not there


def field_of(name: str) -> str:
    """The field of the document for a rate of the table."""
    unit = "million_tokens" if name in TOKEN_RATES else "thousand"
    return f"{_WORDS.get(name, name)}_usd_per_{unit}"


RATE_FIELDS: Final = tuple(map(field_of, RATES))
MEDIA_FIELDS: Final = tuple(
    f"{name.removesuffix('_tokens')}_usd_per_million_tokens" for name in MEDIA_COUNTS
)
FIELDS: Final = (
    *names_in(
        "provider model served above_tokens valid_from valid_to periods utc_from utc_to weekdays"
    ),
    *RATE_FIELDS,
    *MEDIA_FIELDS,
    *names_in("fallback basis source stated_by reason assumed notes"),
)


class Span(msgspec.Struct, frozen=True):
    """The time that is asked about, UTC: from `first` to before `last`, or the one instant."""

    first: datetime
    last: datetime | None = None


def of_model(rates: Rates, key: Key, span: Span | None = None) -> list[Row]:
    """A row a rate of a model (FIELDS), the standard ones first; none where it has no price.

    A way of being served is left out where it costs the same. Without `span` all periods.
    """
    standard = _rates(rates.tariff(key), span)
    found = _rows(rates, key, STANDARD, standard)
    for served, asked in SERVED.items():
        other = _rates(rates.tariff(replace(key, **asked)), span)
        if _money(other) != _money(standard):
            found += _rows(rates, key, served, other)
    return found


def of_all(rates: Rates, span: Span, provider: str | None = None) -> list[Row]:
    """The standard rates of every model in `span`, by provider and model."""
    keys = sorted({(key.provider or "", key.model or "") for key in rates.listed()})
    if provider is not None:
        wanted = {provider.lower(), rates.provider_id(provider)}
        keys = [key for key in keys if key[0] in wanted]
    found = []
    for seller, model in keys:
        key = Key(seller or None, model)
        found += _rows(rates, key, STANDARD, _rates(rates.tariff(key), span))
    return found


def fees_of(rates: Rates, key: Key, span: Span | None = None) -> list[Row]:
    """A row a fee of a tool beside the tokens, in `span`, by tool and time."""
    fees = rates.tariff(key).fees
    if span is not None:
        first, last = micros(span.first), micros(span.last) if span.last else None
        fees = tuple(fee for fee in fees if _holds_in(fee, first, last))
    return [
        {
            "tool": fee.tool,
            "usd_per_thousand": usd(fee.per_call, fee.tool),
            "at_most_usd_per_thousand": usd(fee.most, fee.tool),
            "valid_from": time_of(fee.valid_from),
            "valid_to": time_of(fee.valid_to),
            "stated_by": fee.source or None,
            "reason": fee.reason or None,
        }
        for fee in fees
    ]


def _holds_in(period: Rate | Fee, first: int, last: int | None) -> bool:
    """Whether a period has a part between two instants, or holds the one."""
    if last is None:
        return holds_at(period, first)
    begins = period.valid_from is None or period.valid_from < last
    return begins and (period.valid_to is None or period.valid_to > first)


def near(rates: Rates, model: str) -> list[str]:
    """Names of models with a price that are spelt much like `model`, the nearest first."""
    names = sorted({key.model or "" for key in rates.listed()})
    return get_close_matches(model.strip().lower(), names, n=NEAR, cutoff=0.7)


def usd(femto: int | None, name: str) -> str | None:
    """A rate of the table in dollars, per million tokens or per thousand of what is no token."""
    per = per_million(femto)
    if per is not None and name not in TOKEN_RATES:
        per /= _THOUSAND
    return None if per is None else plain(per)


def source_of(rates: Rates, rate: Rate) -> str:
    """Where a rate comes from, in the words of the document's `prices.sources`."""
    listed, *others = rates.sources
    named = {name.partition(" ")[0]: name for name in others}
    return {
        LIST: listed,
        RULE: f"{listed}, by a rule",
        CORRECTION: named.get("corrections", CORRECTION),
        OVERRIDE: named.get("prices", OVERRIDE),
    }.get(rate.basis, rate.basis)


def time_of(instant: int | None) -> str | None:
    """Microseconds since 1970 as a time of the document; a whole day as its date."""
    if instant is None:
        return None
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant)
    text = at.isoformat().replace("+00:00", "Z")
    return text.removesuffix("T00:00:00Z")


def _rates(tariff: Tariff, span: Span | None) -> list[tuple[Layer, Rate]]:
    """The rates that apply in `span`, each with its layer and no longer than that layer holds."""
    found = sorted(_effective(tariff), key=lambda each: _place(each[1]))
    if span is None:
        return found
    first = micros(span.first)
    if span.last is None:
        second = week_second(first)
        return [e for e in found if holds_at(e[1], first) and e[1].holds_in_week(second)]
    last = micros(span.last)
    return [(layer, rate) for layer, rate in found if _holds_in(rate, first, last)]


def _effective(tariff: Tariff) -> Iterator[tuple[Layer, Rate]]:
    """Every rate of a tariff in the time in which no layer before its own has one."""
    rates = [rate for layer in tariff.layers for rate in layer.rates]
    edges = sorted({t for rate in rates for t in (rate.valid_from, rate.valid_to) if t is not None})
    begins = [None, *edges]
    periods: dict[tuple[int, Rate], list[Rate]] = {}
    for begin, end in zip(begins, [*edges, None], strict=True):
        instant = begin if begin is not None else (end or 0) - 1
        layer, held = tariff.in_force(instant, None)
        for rate in held if layer else ():
            same = periods.setdefault((tariff.layers.index(layer), rate), [])
            if same and same[-1].valid_to == begin:
                same[-1] = rate.during(same[-1].valid_from, end)
            else:
                same.append(rate.during(begin, end))
    for (number, _), found in periods.items():
        yield from ((tariff.layers[number], rate) for rate in found)


def _place(rate: Rate) -> tuple[int, ...]:
    begin = -1 if rate.valid_from is None else rate.valid_from
    return begin, rate.day_from, rate.weekdays, rate.above


def _money(found: Iterable[tuple[Layer, Rate]]) -> list[tuple[Any, ...]]:
    return [
        (*(getattr(rate, name) for name in RATES), rate.media, *_place(rate)) for _, rate in found
    ]


def _rows(rates: Rates, key: Key, served: str, found: Iterable[tuple[Layer, Rate]]) -> list[Row]:
    return [_row(rates, key, served, layer, same) for layer, same in _folded(found)]


def _folded(found: Iterable[tuple[Layer, Rate]]) -> Iterator[tuple[Layer, list[Rate]]]:
    """The rates, which come in the order of time, with those as one that differ in their days.

    One entry may have some days as exceptions, and holds on them and between them; what another
    entry interrupts stays apart.
    """
    same: dict[tuple[Any, ...], tuple[Layer, list[Rate]]] = {}
    stretches: dict[tuple[Any, ...], tuple[int, int]] = {}  # the number of one, and its end so far
    for layer, rate in found:
        entry = (id(layer), rate.source, rate.reason)
        begin = -1 if rate.valid_from is None else rate.valid_from
        number, end = stretches.get(entry, (0, begin))
        number += begin > end
        until = LATEST if rate.valid_to is None else rate.valid_to
        stretches[entry] = number, max(end, until)
        alike = rate.during(None, None) if rate.source else rate
        same.setdefault((*entry, number, alike), (layer, []))[1].append(rate)
    yield from same.values()


def _row(rates: Rates, key: Key, served: str, layer: Layer, same: Sequence[Rate]) -> Row:
    rate = same[0].during(same[0].valid_from, same[-1].valid_to)
    tariff = rates.tariff(key)
    is_whole = (rate.day_from, rate.day_to) == (0, DAY)
    return {
        "provider": tariff.provider,
        "model": tariff.model,
        "served": served,
        "above_tokens": rate.above,
        "valid_from": time_of(rate.valid_from),
        "valid_to": time_of(rate.valid_to),
        "periods": [f"{_end(each.valid_from)}/{_end(each.valid_to)}" for each in same],
        "utc_from": None if is_whole else _clock(rate.day_from),
        "utc_to": None if is_whole else _clock(rate.day_to),
        "weekdays": [name for bit, name in enumerate(_WEEK) if rate.weekdays >> bit & 1],
        **{field_of(name): usd(getattr(rate, name), name) for name in RATES},
        **dict.fromkeys(MEDIA_FIELDS),
        **dict(zip(MEDIA_FIELDS, (usd(each, TOKEN_RATES[0]) for each in rate.media), strict=False)),
        "fallback": [field_of(name) for name in rate.borrowed],
        "basis": rate.basis,
        "source": source_of(rates, rate),
        "stated_by": rate.source or None,
        "reason": rate.reason or None,
        "assumed": layer.assumed or bool(rate.doubt),
        "notes": list(layer.notes),
    }


def _end(instant: int | None) -> str:
    """An end of a period as ISO 8601 has it."""
    return time_of(instant) or OPEN


def _clock(second: int) -> str:
    return f"{second // 3600:02}:{second // 60 % 60:02}"


UNPRICED_FIELDS: Final = names_in("provider model calls unpriced_tokens reason first last near")


def unpriced(batches: Iterable[pl.DataFrame], query: Query, rates: Rates) -> list[Row]:
    """A row a model of priced USAGE rows with tokens that have no price, most tokens first.

    `reason` is the `price_status`; `near` are names that have a price.
    """
    without = pl.col("price_status").is_in([UNPRICED, BEFORE_FIRST_PRICE])
    by = ["provider", "model", pl.col("price_status").alias("reason")]
    sums = [
        pl.col("calls").sum(),
        pl.col("total_tokens").sum().alias("unpriced_tokens"),
        pl.col("timestamp").min().alias("first"),
        pl.col("timestamp").max().alias("last"),
    ]
    found = [
        selected(rows.lazy(), query).filter(without).group_by(by).agg(sums).collect()
        for rows in batches
    ]
    again = [pl.col("calls", "unpriced_tokens").sum(), pl.col("first").min(), pl.col("last").max()]
    groups = pl.concat(found).group_by("provider", "model", "reason").agg(again)
    ordered = groups.sort(
        "unpriced_tokens", "model", "provider", "reason", descending=[True, False, False, False]
    )
    return [_without_price(row, rates) for row in ordered.iter_rows(named=True)]


def _without_price(group: Row, rates: Rates) -> Row:
    times = {name: at and micros(at) for name, at in group.items() if name in {"first", "last"}}
    near_names = near(rates, group["model"]) if group["model"] else []
    row = group | {name: time_of(at) for name, at in times.items()} | {"near": near_names}
    return {name: row[name] for name in UNPRICED_FIELDS}
