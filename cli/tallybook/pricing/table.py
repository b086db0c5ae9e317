"""The flat rate table: providers, their models, and what each cost when, in whole femto-dollars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, Final, TypeAlias

import msgspec

from tallybook.values import names_in

# Raise it when the meaning of the stored table changes; caches of another version are rebuilt.
TABLE_VERSION: Final = 5

# 1e-15 USD. A rate of one dollar per million tokens is a thousand million of them per token, so
# list prices, their halves and their tenths all stay whole numbers.
_FEMTO_PER_MILLIONTH: Final = 10**9
_FEMTO_PER_THOUSANDTH: Final = 10**12

DAY: Final = 86_400
WEEK: Final = 7 * DAY
EVERY_DAY: Final = 0b1111111

# Variants of a price.
STANDARD: Final = "standard"
FAST: Final = "fast"
PRIORITY: Final = "priority"
FLEX: Final = "flex"
BATCH: Final = "batch"
ULTRAFAST: Final = "ultrafast"

# Why a rate is what it is.
LIST: Final = "list"  # the provider's list price
RULE: Final = "rule"  # derived from the list price by a documented rule
OVERRIDE: Final = "override"  # stated by the user
CORRECTION: Final = "correction"  # the list is wrong or silent, and `source` says so

TOKEN_RATES: Final = ("uncached", "cached", "creation_5m", "creation_1h", "output")
RATES: Final = (*TOKEN_RATES, "search")
# Keys of a price file, with the rates that they state.
RATE_KEYS: Final = {
    "input": "uncached",
    "cache_read": "cached",
    "cache_write_5m": "creation_5m",
    "cache_write_1h": "creation_1h",
    "output": "output",
    "web_search": "search",
}
# Those for the rates of MEDIA_COUNTS, in their order.
MEDIA_KEYS: Final = names_in(
    "input_audio cache_read_audio input_image cache_read_image output_audio output_image"
)


class Rate(msgspec.Struct, frozen=True, array_like=True):
    """What one model costs within one variant, period, daily window and prompt size.

    Rates are femto-dollars per token (`search`: per request); None is no price. Times are
    microseconds since 1970 UTC, None is unbounded; `valid_to` and `day_to` are exclusive. The tier
    holds for prompts of strictly more than `above` tokens, 0 being the base tier. Where sources
    contradict each other, `doubt` is how many thousandths of the rates were paid at least and at
    most.
    """

    uncached: int | None
    cached: int | None
    creation_5m: int | None
    creation_1h: int | None
    output: int | None
    search: int | None
    above: int = 0
    variant: str = STANDARD
    valid_from: int | None = None
    valid_to: int | None = None
    day_from: int = 0  # seconds of the UTC day
    day_to: int = DAY
    weekdays: int = EVERY_DAY  # bit 0 is Monday
    borrowed: tuple[str, ...] = ()  # rates that are another rate's, for want of their own
    basis: str = LIST
    source: str = ""  # who says so, where it is not the list itself
    reason: str = ""  # what was wrong, or which rule it follows
    media: tuple[int | None, ...] = ()  # per token, one for each of MEDIA_COUNTS; or none at all
    doubt: tuple[int, ...] = ()

    def during(self, begin: int | None, end: int | None) -> Rate:
        """The same rate in another period."""
        return msgspec.structs.replace(self, valid_from=begin, valid_to=end)

    def holds_in_week(self, second: int) -> bool:
        """Whether `second` of the UTC week (from Monday) lies in the window."""
        day, of_day = divmod(second, DAY)
        return bool(self.weekdays >> day & 1) and self.day_from <= of_day < self.day_to


def holds_at(period: Any, instant: int) -> bool:
    """Whether `instant` (microseconds) lies in what has a `valid_from` and a `valid_to`."""
    started = period.valid_from is None or period.valid_from <= instant
    return started and (period.valid_to is None or instant < period.valid_to)


class Clause(msgspec.Struct, frozen=True, array_like=True):
    """A condition: `=`, `^` (starts with), `$` (ends), `~` (contains), `r` (regex), `|`, `&`."""

    operator: str
    text: str = ""
    parts: tuple[Clause, ...] = ()


class Model(msgspec.Struct, frozen=True, array_like=True):
    """A model as one provider sells it; without `rates` it is known but has no price."""

    id: str
    equals: tuple[str, ...]  # lower case
    clauses: tuple[Clause, ...]
    rates: tuple[Rate, ...]


class Fee(msgspec.Struct, frozen=True, array_like=True):
    """What a seller asks for a call of a tool beside the tokens: one of schema.TOOL_COUNTS.

    `models` are ids, none of them where the fee is that of all. Femto-dollars and microseconds as
    in `Rate`; what a call cost at most is `most`.
    """

    tool: str
    per_call: int
    most: int
    models: tuple[str, ...] = ()
    valid_from: int | None = None
    valid_to: int | None = None
    source: str = ""
    reason: str = ""


class Provider(msgspec.Struct, frozen=True, array_like=True):
    """A seller: how it is called, which bare model names are its own, whose models it resells."""

    id: str
    named: Clause | None
    owns: Clause | None
    resells: tuple[str, ...]
    models: tuple[Model, ...]
    fees: tuple[Fee, ...] = ()


class Listed(msgspec.Struct, frozen=True, array_like=True, dict=True):
    """A provider as a table states it; few are asked, and to decode all models takes 10 ms."""

    id: str
    named: Clause | None
    owns: Clause | None
    resells: tuple[str, ...]
    stated: msgspec.Raw
    fees: tuple[Fee, ...] = ()

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """Its models. Raises MsgspecError."""
        return msgspec.json.decode(self.stated, type=tuple[Model, ...])


Seller: TypeAlias = Provider | Listed


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def micros(at: date) -> int:
    """Microseconds since 1970 UTC of a time (without an offset in UTC), or where a day begins."""
    moment = at if isinstance(at, datetime) else datetime.combine(at, time())
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def femto(name: str, dollars: Decimal | None) -> int | None:
    """What a rate of RATES is in the table; stated per thousand of searches, per million tokens."""
    if dollars is None:
        return None
    return femto_per_request(dollars) if name == "search" else femto_per_token(dollars)


def femto_per_token(dollars_per_million: Decimal) -> int:
    """Femto-dollars per token; what lies below a femto-dollar is float dust and is rounded off."""
    return round(dollars_per_million * _FEMTO_PER_MILLIONTH)


def femto_per_request(dollars_per_thousand: Decimal) -> int:
    """Femto-dollars per request."""
    return round(dollars_per_thousand * _FEMTO_PER_THOUSANDTH)


def per_million(femto: int | None) -> Decimal | None:
    """Dollars per million tokens, exact."""
    return None if femto is None else Decimal(femto).scaleb(-9)


def new_rate(
    rates: Mapping[str, int | None], media: Iterable[int | None] = (), **more: Any
) -> Rate:
    """A rate of RATES and of MEDIA_COUNTS, none of which has to be stated; `more` as in Rate.

    A missing cache rate is borrowed from the next broader one: a provider that lists no cache price
    bills cached prompt tokens as prompt tokens.
    """
    found: dict[str, Any] = dict.fromkeys(RATES) | dict(rates)
    filled = []
    for name, source in (
        ("cached", "uncached"),
        ("creation_5m", "uncached"),
        ("creation_1h", "creation_5m"),
    ):
        if found[name] is None and found[source] is not None:
            found[name] = found[source]
            filled.append(name)
    return Rate(**found, borrowed=tuple(filled), media=media_rates(media), **more)


def media_rates(rates: Iterable[int | None]) -> tuple[int | None, ...]:
    """The `media` of a rate; a cached token without a rate of its own costs what a fresh one does.

    Takes one for each of MEDIA_COUNTS, and gives nothing where none is stated.
    """
    audio, cached_audio, image, cached_image, *made = tuple(rates) or (None,) * len(MEDIA_KEYS)
    found = (
        audio,
        audio if cached_audio is None else cached_audio,
        image,
        image if cached_image is None else cached_image,
        *made,
    )
    return found if any(rate is not None for rate in found) else ()


def scale(
    row: Rate, factor: Fraction, basis: str | None = None, names: tuple[str, ...] = TOKEN_RATES
) -> Rate:
    """The same rate with the rates of `names` times `factor`."""
    if factor == 1:
        return row
    rates = {name: getattr(row, name) for name in names}
    scaled = {name: None if r is None else round(r * factor) for name, r in rates.items()}
    media = tuple(None if rate is None else round(rate * factor) for rate in row.media)
    return msgspec.structs.replace(row, **scaled, media=media, basis=basis or row.basis)
