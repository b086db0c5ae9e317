"""The flat rate table: providers, their models, and what each cost when, in whole femto-dollars."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Final

import msgspec

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
# Keys of a price file for the rates of MEDIA_COUNTS, in their order.
MEDIA_KEYS: Final = (
    "input_audio",
    "cache_read_audio",
    "input_image",
    "cache_read_image",
    "output_audio",
    "output_image",
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

    def holds_at(self, instant: int) -> bool:
        """Whether `instant` (microseconds) lies in the period."""
        started = self.valid_from is None or self.valid_from <= instant
        return started and (self.valid_to is None or instant < self.valid_to)

    def holds_in_week(self, second: int) -> bool:
        """Whether `second` of the UTC week (from Monday) lies in the window."""
        day, of_day = divmod(second, DAY)
        return bool(self.weekdays >> day & 1) and self.day_from <= of_day < self.day_to


NO_RATE: Final = Rate(None, None, None, None, None, None)


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

    def holds_at(self, instant: int) -> bool:
        """Whether `instant` (microseconds) lies in the period."""
        started = self.valid_from is None or self.valid_from <= instant
        return started and (self.valid_to is None or instant < self.valid_to)


class Provider(msgspec.Struct, frozen=True, array_like=True):
    """A seller: how it is called, which bare model names are its own, whose models it resells."""

    id: str
    named: Clause | None
    owns: Clause | None
    resells: tuple[str, ...]
    models: tuple[Model, ...]
    fees: tuple[Fee, ...] = ()


def femto_per_token(dollars_per_million: Decimal) -> int:
    """Femto-dollars per token; what lies below a femto-dollar is float dust and is rounded off."""
    return round(dollars_per_million * _FEMTO_PER_MILLIONTH)


def femto_per_request(dollars_per_thousand: Decimal) -> int:
    """Femto-dollars per request."""
    return round(dollars_per_thousand * _FEMTO_PER_THOUSANDTH)


def per_million(femto: int | None) -> Decimal | None:
    """Dollars per million tokens, exact."""
    return None if femto is None else Decimal(femto).scaleb(-9)


def borrow(rates: dict[str, int | None]) -> tuple[str, ...]:
    """Fill missing cache rates from the next broader one, in place; returns which were filled.

    A provider that lists no cache price bills cached prompt tokens as prompt tokens.
    """
    filled = []
    for name, source in (
        ("cached", "uncached"),
        ("creation_5m", "uncached"),
        ("creation_1h", "creation_5m"),
    ):
        if rates[name] is None and rates[source] is not None:
            rates[name] = rates[source]
            filled.append(name)
    return tuple(filled)


def media_rates(rates: Iterable[int | None]) -> tuple[int | None, ...]:
    """The `media` of a rate; a cached token without a rate of its own costs what a fresh one does.

    Takes one for each of MEDIA_COUNTS, and gives nothing where none is stated.
    """
    audio, cached_audio, image, cached_image, *made = rates
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
