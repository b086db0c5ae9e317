"""Applies the corrections that come with the package to a price list, when the table is built."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import msgspec

from tallybook.pricing.installed import CORRECTIONS
from tallybook.pricing.table import (
    CORRECTION,
    DAY,
    EVERY_DAY,
    MEDIA_KEYS,
    RATE_KEYS,
    STANDARD,
    TOKEN_RATES,
    Clause,
    Fee,
    Model,
    Provider,
    Rate,
    femto,
    femto_per_request,
    media_rates,
    micros,
    new_rate,
)
from tallybook.schema import TOOL_COUNTS

_WORKDAYS: Final = 0b0011111


class Stated(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Rates in dollars per million tokens, `web_search` per thousand; None is not stated."""

    input: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write_5m: Decimal | None = None
    cache_write_1h: Decimal | None = None
    output: Decimal | None = None
    web_search: Decimal | None = None
    input_audio: Decimal | None = None
    cache_read_audio: Decimal | None = None
    input_image: Decimal | None = None
    cache_read_image: Decimal | None = None
    output_audio: Decimal | None = None
    output_image: Decimal | None = None

    def rates(self) -> dict[str, int]:
        """What is stated, in femto-dollars by the names of the table."""
        rates = ((name, femto(name, getattr(self, key))) for key, name in RATE_KEYS.items())
        return {name: rate for name, rate in rates if rate is not None}

    def media(self, base: Stated | None = None) -> tuple[int | None, ...]:
        """The rates of what is not text; what is not stated here is that of `base`."""
        own = [femto(key, getattr(self, key)) for key in MEDIA_KEYS]
        of_base = base.media() if base else ()
        pairs = zip(own, of_base or (None,) * len(own), strict=True)
        return media_rates(other if rate is None else rate for rate, other in pairs)


class Tier(Stated, kw_only=True):
    """Rates of prompts of more than `above` tokens; what is not stated is that of the base."""

    above: int


class Peak(Stated, kw_only=True):
    """Rates of some hours of workdays (UTC, `01:00-04:00`), none of them on a day of `but`."""

    hours: tuple[str, ...]
    but: tuple[date, ...] = ()


class Fact(Stated, kw_only=True):
    """What is true of one model on some days, who says so, and what was wrong without it."""

    provider: str
    model: str
    source: str
    reason: str
    valid_from: Any = None  # a date or a time with an offset, as TOML has them
    valid_to: Any = None

    def __post_init__(self) -> None:
        for moment in (self.valid_from, self.valid_to):
            if moment is not None and not isinstance(moment, date):
                raise ValueError(f"{self.model}: {moment} is not a date")


class Price(Fact, kw_only=True):
    """The whole price of the days: what the list has for them is dropped.

    `names` are further names of a model. A variant of the list (batch, flex, priority) keeps its
    ratio to the standard rates. `variant` is for a variant that the list does not have. Where other
    sources state other prices, these are `at_least_times` and `at_most_times` as high.
    """

    names: tuple[str, ...] = ()
    variant: str = STANDARD
    tiers: tuple[Tier, ...] = ()
    peaks: tuple[Peak, ...] = ()
    at_least_times: Decimal = Decimal(1)
    at_most_times: Decimal = Decimal(1)

    @property
    def doubt(self) -> tuple[int, ...]:
        """As the table has it, in thousandths."""
        found = tuple(int(times * 1000) for times in (self.at_least_times, self.at_most_times))
        return () if found == (1000, 1000) else found


class Change(Fact, kw_only=True):
    """The rates stated are these in the base tier; tiers and variants keep their ratio to it.

    Rates of audio and images are stated all together, and are the same in all tiers and variants.
    """


class Name(Fact, kw_only=True):
    """Further `names` of a model that the list has."""

    names: tuple[str, ...]


class NoPrice(Fact, kw_only=True):
    """The list has a price that this seller never asked."""


class Seller(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A provider that the list does not have, or has wrong.

    `owns` begins the names of the models of one that the list lacks. `own_prices_for` are makers
    whose models the list has it sell at their prices, which it does not.
    """

    id: str
    owns: tuple[str, ...] = ()
    own_prices_for: tuple[str, ...] = ()
    source: str
    reason: str


class ToolFee(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a provider asks for a thousand calls of a tool, and at most for some of them."""

    provider: str
    tool: str
    per_thousand: Decimal
    at_most: Decimal | None = None
    models: tuple[str, ...] = ()
    valid_from: Any = None
    valid_to: Any = None
    source: str
    reason: str

    def __post_init__(self) -> None:
        if self.tool not in TOOL_COUNTS:
            raise ValueError(f"{self.tool} is no count of tools")

    def made(self) -> Fee:
        """The fee as the table has it."""
        own = femto_per_request(self.per_thousand)
        most = own if self.at_most is None else femto_per_request(self.at_most)
        times = instant(self.valid_from), instant(self.valid_to)
        return Fee(self.tool, own, most, self.models, *times, self.source, self.reason)


class Corrections(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Everything that the file says, each section in its order."""

    looked_at: date
    provider: tuple[Seller, ...] = ()
    no_price: tuple[NoPrice, ...] = ()
    name: tuple[Name, ...] = ()
    price: tuple[Price, ...] = ()
    change: tuple[Change, ...] = ()
    fee: tuple[ToolFee, ...] = ()


def read_corrections(path: Path = CORRECTIONS) -> Corrections:
    """The corrections of a file. Raises msgspec.ValidationError, naming the key."""
    document = tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
    return msgspec.convert(document, Corrections)


def correct(providers: Iterable[Provider], corrections: Corrections) -> tuple[Provider, ...]:
    """The providers of a list with the corrections applied.

    A price for a model that the list does not have adds the model; a fact of another kind about
    one is passed over, for a later list may have dropped the model.
    """
    known = {provider.id: provider for provider in providers}
    for seller in corrections.provider:
        known[seller.id] = _provider(seller, known.get(seller.id))
    facts: tuple[Any, ...] = (
        *corrections.no_price,
        *corrections.name,
        *corrections.price,
        *corrections.change,
    )
    for fact in facts:
        provider = known[fact.provider]
        models = {model.id: model for model in provider.models}
        if fact.model in models:
            models[fact.model] = _corrected(models[fact.model], fact)
        elif isinstance(fact, Price):
            # In front, so that no broader clause of the list takes the name for another model.
            new = Model(fact.model, (fact.model.lower(),), (), ())
            models = {fact.model: _corrected(new, fact), **models}
        known[provider.id] = msgspec.structs.replace(provider, models=tuple(models.values()))
    for fee in corrections.fee:
        provider = known[fee.provider]
        fees = (*provider.fees, fee.made())
        known[provider.id] = msgspec.structs.replace(provider, fees=fees)
    return tuple(known.values())


def _provider(seller: Seller, listed: Provider | None) -> Provider:
    if listed is not None:
        left = tuple(maker for maker in listed.resells if maker not in seller.own_prices_for)
        return msgspec.structs.replace(listed, resells=left)
    owns = tuple(Clause("^", name) for name in seller.owns)
    return Provider(seller.id, Clause("=", seller.id), Clause("|", parts=owns), (), ())


def _corrected(model: Model, fact: Fact) -> Model:
    if isinstance(fact, NoPrice):
        return msgspec.structs.replace(model, rates=())
    if isinstance(fact, Name | Price):
        model = msgspec.structs.replace(model, equals=(*model.equals, *fact.names))
    rates: list[Rate] = []
    for start, end in _periods(model.rates, fact):
        rows = [row.during(start, end) for row in model.rates if _overlaps(row, start, end)]
        if isinstance(fact, Name) or not _within(fact, start):
            rates += rows
        elif isinstance(fact, Change):
            rates += _changed(rows, fact)
        elif isinstance(fact, Price):
            rates += _replaced(rows, fact, start, end)
    return msgspec.structs.replace(model, rates=tuple(_joined(rates)))


def _periods(rows: Sequence[Rate], fact: Fact) -> Iterator[tuple[int | None, int | None]]:
    """The periods in which nothing changes, neither of the rows nor of the fact."""
    edges = {edge for row in rows for edge in (row.valid_from, row.valid_to)}
    edges |= {instant(fact.valid_from), instant(fact.valid_to)}
    if isinstance(fact, Price):
        days = (day for peak in fact.peaks for day in peak.but)
        edges |= {edge for day in days for edge in (micros(day), micros(day) + _DAY)}
    ordered = sorted(edge for edge in edges if edge is not None)
    yield from zip([None, *ordered], [*ordered, None], strict=True)


_DAY: Final = DAY * 1_000_000


def instant(stated: date | None) -> int | None:
    """Microseconds since 1970 of a date (its first moment in UTC) or of a time with an offset."""
    return None if stated is None else micros(stated)


def _within(fact: Fact, start: int | None) -> bool:
    since, until = instant(fact.valid_from), instant(fact.valid_to)
    if since is not None and (start is None or start < since):
        return False
    return until is None or start is None or start < until


def _overlaps(row: Rate, start: int | None, end: int | None) -> bool:
    begins = row.valid_from is None or end is None or row.valid_from < end
    return begins and (row.valid_to is None or start is None or start < row.valid_to)


def _changed(rows: Sequence[Rate], fact: Change) -> Iterator[Rate]:
    stated = fact.rates()
    base = _base(rows, STANDARD)
    for row in rows:
        changed = {name: _in_ratio(rate, name, row, base) for name, rate in stated.items()}
        media = fact.media() if any(fact.media()) else row.media
        yield _told(msgspec.structs.replace(row, media=media), changed, fact)


def _replaced(
    rows: Sequence[Rate], fact: Price, start: int | None, end: int | None
) -> Iterator[Rate]:
    own = [row.during(start, end) for row in _own_rows(fact, start)]
    yield from own
    if fact.variant != STANDARD:
        yield from (row for row in rows if row.variant != fact.variant)
        return
    base = _base(rows, STANDARD)
    for variant in dict.fromkeys(row.variant for row in rows if row.variant != STANDARD):
        sold = _base(rows, variant)
        for row in own:
            rates = {name: _in_ratio(getattr(row, name), name, sold, base) for name in TOKEN_RATES}
            yield _told(row, rates, fact, variant)


def _base(rows: Sequence[Rate], variant: str) -> Rate | None:
    """The row of the base tier that holds for the most of the day."""
    found = [row for row in rows if row.variant == variant and row.above == 0]
    return max(found, key=lambda row: row.day_to - row.day_from, default=None)


def _in_ratio(rate: int | None, name: str, row: Rate | None, base: Rate | None) -> int | None:
    """`rate` times what the list has under `name` for `row`, in relation to that of `base`."""
    listed, of = getattr(row, name, None), getattr(base, name, None)
    if rate is None or listed is None or not of:
        return rate
    return round(Fraction(rate * listed, of))


def _told(row: Rate, rates: dict[str, int | None], fact: Fact, variant: str | None = None) -> Rate:
    return msgspec.structs.replace(
        row,
        **rates,
        variant=variant or row.variant,
        borrowed=tuple(name for name in row.borrowed if name not in rates),
        basis=CORRECTION,
        source=fact.source,
        reason=fact.reason,
    )


def _own_rows(fact: Price, start: int | None) -> Iterator[Rate]:
    """The rows of a whole price, in its tiers and windows, without a period."""
    day = None if start is None else start - start % _DAY
    peaks = [peak for peak in fact.peaks if day not in [*map(micros, peak.but)]]
    windows = [(hours, peak) for peak in peaks for hours in map(_seconds, peak.hours)]
    base = fact.rates()
    for above, tier in ((0, None), *((tier.above, tier) for tier in fact.tiers)):
        rates = {**base, **(tier.rates() if tier else {})}
        media = tier.media(fact) if tier else fact.media()
        row = _own_row(rates, fact, above, media)
        if not windows:
            yield row
            continue
        for hours in _between([hours for hours, _ in windows]):
            yield _in_window(row, hours, EVERY_DAY)
        for hours, peak in windows:
            dear = _own_row({**rates, **peak.rates()}, fact, above, media)
            yield _in_window(dear, hours, _WORKDAYS)
            yield _in_window(row, hours, EVERY_DAY & ~_WORKDAYS)


def _seconds(hours: str) -> tuple[int, int]:
    start, end = (time.fromisoformat(clock) for clock in hours.split("-"))
    return start.hour * 3600 + start.minute * 60, end.hour * 3600 + end.minute * 60 or DAY


def _between(taken: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    at = 0
    for start, end in [*sorted(taken), (DAY, DAY)]:
        if at < start:
            yield at, start
        at = end


def _own_row(
    stated: dict[str, int], fact: Price, above: int, media: tuple[int | None, ...]
) -> Rate:
    return new_rate(
        stated,
        media,
        above=above,
        variant=fact.variant,
        basis=CORRECTION,
        source=fact.source,
        reason=fact.reason,
        doubt=fact.doubt,
    )


def _in_window(row: Rate, hours: tuple[int, int], weekdays: int) -> Rate:
    return msgspec.structs.replace(row, day_from=hours[0], day_to=hours[1], weekdays=weekdays)


def _joined(rows: Sequence[Rate]) -> Iterator[Rate]:
    """The rows with those made one that follow each other and say the same."""
    open_rows: dict[Rate, Rate] = {}  # what a row says without its period, and the row so far
    for row in rows:
        same = row.during(None, None)
        before = open_rows.get(same)
        if before is not None and before.valid_to == row.valid_from is not None:
            open_rows[same] = row.during(before.valid_from, row.valid_to)
            continue
        if before is not None:
            yield before
        open_rows[same] = row
    yield from open_rows.values()
