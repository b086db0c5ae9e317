"""The user's price file in TOML: prices, aliases, discounts, free providers, kinds of money."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from tallybook.errors import UsageError
from tallybook.pricing.table import (
    MEDIA_KEYS,
    OVERRIDE,
    RATE_KEYS,
    RATES,
    Rate,
    femto,
    micros,
    new_rate,
    scale,
)

_PERIOD: Final = ("valid_from", "valid_to")
# Every section with its keys; `note` is for its user alone.
KEYS: Final[Mapping[str, Sequence[str]]] = {
    "price": ("provider", "model", *_PERIOD, "tiers", "currency", "note", *RATE_KEYS, *MEDIA_KEYS),
    "alias": ("from", "provider", "to", "note"),
    "discount": ("provider", "factor", *_PERIOD, "note"),
    "free": ("provider", "note"),
    "currency": ("code", "usd", *_PERIOD, "note"),
    "credit": ("provider", "usd", *_PERIOD, "note"),
}
TIER_KEYS: Final = ("above", *RATE_KEYS)
_DOLLARS: Final = "USD"
_CREDITS: Final = "CREDITS"
_MONEY: Final = ("currency", "credit")
_FINEST: Final = Decimal("1e-9")
_DEAREST: Final = Decimal(1_000_000)
_LONGEST: Final = 10**12  # tokens of a prompt, far more than any model takes
_FACTOR_HINT: Final = "0.85 is fifteen per cent off."
_SHOWN: Final = 40  # characters of a value in a message
_SHOWN_BITS: Final = 128  # Python does not even print an integer of thousands of digits
_ENDLESS: Final = re.compile(rb"^([^\n=#]*)=[^\n]*?[0-9_]{4000}", re.MULTILINE)


class PriceFileError(UsageError):
    """The price file cannot be used: which file, which key, what is wrong with it."""


class Price(msgspec.Struct, frozen=True):
    """A price the user states for one model."""

    model: str  # lower case
    provider: str | None  # lower case, as logged or as in the price list
    rates: tuple[Rate, ...]  # base tier first


class Alias(msgspec.Struct, frozen=True):
    """`source` as logged is priced as `target`, at `provider` where given."""

    source: str  # lower case
    provider: str | None
    target: str


class Discount(msgspec.Struct, frozen=True):
    """What everything at a provider is multiplied with; of several in force the last holds."""

    provider: str
    factor: Fraction
    valid_from: int | None = None  # microseconds since 1970 UTC
    valid_to: int | None = None


class _Currency(msgspec.Struct, frozen=True):
    """What one of it costs in dollars, from and until an instant; credits are of one provider."""

    code: str
    provider: str | None
    dollars: Fraction
    valid_from: int | None
    valid_to: int | None


class Overrides(msgspec.Struct, frozen=True):
    """Everything a price file says; of entries that contradict each other the later holds."""

    name: str | None = None
    digest: str = ""
    prices: tuple[Price, ...] = ()
    aliases: tuple[Alias, ...] = ()
    discounts: tuple[Discount, ...] = ()
    free: frozenset[str] = frozenset()
    content: str = ""


def read_overrides(path: Path | None, read: Callable[[Path], bytes] = Path.read_bytes) -> Overrides:
    """Read a price file; no path is no overrides. Raises PriceFileError.

    `read` gives the content of a price file, or what another program's file says as one.
    """
    if path is None:
        return Overrides()
    import tomllib  # noqa: PLC0415 - most runs have no such file

    try:
        content = read(path)
        document = tomllib.loads(content.decode("utf-8-sig"), parse_float=_decimal)
    except OSError as error:
        raise PriceFileError(f"{path}: {error.strerror or error}", "Check the path.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PriceFileError(f"{path}: not valid TOML: {error}") from error
    except RecursionError as error:
        raise PriceFileError(f"{path}: tables or lists are nested too deep") from error
    except ValueError as error:  # by now only that of a whole number too long for Python
        key = _ENDLESS.search(content)
        name = key[1].decode("utf-8", "replace").strip() if key else "some key"
        raise PriceFileError(f"{path}: {name}: a number of thousands of digits") from error
    try:
        return _overrides(path, document, content)
    except _Mistake as mistake:
        line = _line(path, content, mistake.where, mistake.key)
        place = f"line {line}: " if line else ""
        raise PriceFileError(f"{path}: {place}{mistake.problem}", mistake.hint) from None


def _overrides(path: Path, document: Mapping[str, Any], content: bytes) -> Overrides:
    sections = {name: _entries(document, name) for name in KEYS}
    _refuse_unknown(_Entry("", document), KEYS)
    for name, entries in sections.items():
        for entry in entries:
            _refuse_unknown(entry, KEYS[name])
    currencies = [_currency(entry) for name in _MONEY for entry in sections[name]]
    return Overrides(
        name=path.name,
        digest=sha256(content).hexdigest(),
        prices=tuple(_price(entry, currencies) for entry in sections["price"]),
        aliases=tuple(
            Alias(entry.text("from").lower(), entry.optional("provider"), entry.text("to"))
            for entry in sections["alias"]
        ),
        discounts=tuple(_discount(entry) for entry in sections["discount"]),
        free=frozenset(entry.text("provider").lower() for entry in sections["free"]),
        content=content.decode("utf-8-sig"),
    )


def _line(path: Path, content: bytes, where: str, key: str) -> int | None:
    """The line of the file that a mistake is on; None where the file itself says otherwise.

    Another program's file is read as a price file, and has other lines than that.
    """
    try:
        if path.read_bytes() != content:
            return None
    except OSError:
        return None
    lines = content.decode("utf-8-sig").splitlines()
    section, _, number = where.partition(".")[0].partition("[")
    head = re.compile(rf"\s*\[\[\s*{re.escape(section)}\s*\]\]") if section else None
    heads = [n for n, line in enumerate(lines, 1) if head is None or head.match(line)]
    if not heads:
        return None
    at = heads[int(number.rstrip("]") or 1) - 1] if head else 1
    until = next((n for n in heads if n > at), len(lines) + 1) if head else len(lines) + 1
    stated = re.compile(rf"""(?:^|[\s{{,\[])["']?{re.escape(key)}["']?\s*[=\].]""")
    places = (n for n in range(at, until) if stated.search(lines[n - 1]))
    return next(places, at)


class _Mistake(Exception):  # noqa: N818 - an error of the user's, which is told as another
    def __init__(self, where: str, key: str, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.where, self.key, self.problem, self.hint = where, key, problem, hint


def _decimal(digits: str) -> Decimal | str:
    """A number with a point or an exponent; as text, which is no price, where none has that much.

    `1e-99999999` is a decimal and costs nothing as long as nobody makes a fraction of it.
    """
    try:
        return Decimal(digits)
    except InvalidOperation:
        return digits


def _shown(value: Any) -> str:
    """A value for a message, no longer than a line has room for."""
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return f"a number of {value.bit_length()} bits"
    shown = str(value) if isinstance(value, int | Decimal) else repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"


class _Entry:
    """A table of the file that knows where it stands, for the messages."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        self.where, self.values = where, values

    def fail(self, key: str, problem: str, hint: str = "") -> NoReturn:
        name = f"{self.where}.{key}" if self.where else key
        model = self.values.get("model")
        # Another program's file has no numbered entries, but models.
        whose = f", of model {_shown(model)}" if isinstance(model, str) and key in RATE_KEYS else ""
        raise _Mistake(self.where, key, f"{name}: {problem}{whose}", hint)

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or not value.strip():
            self.fail(key, "has to be a name in quotes" if key in self.values else "is missing")
        return value.strip()

    def optional(self, key: str) -> str | None:
        return self.text(key).lower() if key in self.values else None

    def number(self, key: str, what: str, hint: str) -> Decimal:
        """A number from 0 to a million, with nine decimals at most."""
        value = self.values[key]
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            self.fail(key, f"has to be a number, not {_shown(value)}", hint)
        is_endless = isinstance(value, Decimal) and not value.is_finite()
        if is_endless or not 0 <= value <= _DEAREST:
            self.fail(key, f"{_shown(value)} is not {what}", hint)
        number = Decimal(value)
        if number != number.quantize(_FINEST):
            self.fail(key, f"{_shown(number)} has more than nine decimals")
        return number


def _entries(document: Mapping[str, Any], name: str) -> list[_Entry]:
    found = document.get(name, [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        hint = f"Write [[{name}]] above each entry."
        raise _Mistake("", name, f"{name}: has to be a list of tables", hint)
    return [_Entry(f"{name}[{n}]", entry) for n, entry in enumerate(found, 1)]


def _refuse_unknown(entry: _Entry, known: Iterable[str]) -> None:
    for key in entry.values:
        if key not in known:
            entry.fail(key, "is not a key of a price file", f"Known here: {', '.join(known)}.")


def _price(entry: _Entry, currencies: Sequence[_Currency]) -> Price:
    base = _rates(entry)
    if all(rate is None for rate in base.values()):
        entry.fail("input", "is missing", f"State at least one of {', '.join(RATE_KEYS)}.")
    tiers = {0: base, **dict(_tiers(entry, base))}
    start, end = _instant(entry, "valid_from"), _instant(entry, "valid_to")
    if start is not None and end is not None and start >= end:
        entry.fail("valid_to", "has to be later than valid_from")
    media = [_rate(entry, key) for key in MEDIA_KEYS]
    period = {"valid_from": start, "valid_to": end, "basis": OVERRIDE}
    rows = [new_rate(tiers[above], media, above=above, **period) for above in sorted(tiers)]
    in_dollars = tuple(_in_dollars(entry, rows, currencies))
    return Price(entry.text("model").lower(), entry.optional("provider"), in_dollars)


def _in_dollars(
    entry: _Entry, rows: Sequence[Rate], currencies: Sequence[_Currency]
) -> Iterator[Rate]:
    """The rates in dollars, at what the currency cost from day to day."""
    sign = entry.text("currency").upper() if "currency" in entry.values else _DOLLARS
    if sign == _DOLLARS:
        yield from rows
        return
    periods = _currencies(entry, sign, currencies)
    for row in rows:
        for each in periods:
            start = max(filter(None, (row.valid_from, each.valid_from)), default=None)
            end = min(filter(None, (row.valid_to, each.valid_to)), default=None)
            if start is None or end is None or start < end:
                yield scale(row.during(start, end), each.dollars, names=RATES)


def _currencies(entry: _Entry, sign: str, currencies: Sequence[_Currency]) -> Sequence[_Currency]:
    """The periods of a price's currency; a credit is worth what its provider asks for it."""
    found = [each for each in currencies if each.code == sign]
    if sign == _CREDITS:
        provider = entry.optional("provider")
        own = [each for each in found if each.provider == provider]
        found = own or [each for each in found if each.provider is None]
        if not found:
            whose = f" of provider {_shown(provider)}" if provider else ""
            entry.fail("currency", f"there is no [[credit]]{whose}")
    if not found:
        entry.fail("currency", f"there is no [[currency]] with the code {_shown(sign)}")
    return found


def _currency(entry: _Entry) -> _Currency:
    is_credit = entry.where.startswith("credit[")
    if "usd" not in entry.values:
        entry.fail("usd", "is missing", "What one of it costs in dollars.")
    usd = entry.number("usd", "a price", "What one of it costs in dollars.")
    start, end = _instant(entry, "valid_from"), _instant(entry, "valid_to")
    if is_credit:
        return _Currency(_CREDITS, entry.optional("provider"), Fraction(usd), start, end)
    return _Currency(entry.text("code").upper(), None, Fraction(usd), start, end)


def _tiers(entry: _Entry, base: dict[str, int | None]) -> list[tuple[int, dict[str, int | None]]]:
    if "tiers" not in entry.values:
        return []
    found = []
    for tier in _entries(entry.values, "tiers"):
        inner = _Entry(f"{entry.where}.{tier.where}", tier.values)
        _refuse_unknown(inner, TIER_KEYS)
        above = inner.values.get("above")
        if isinstance(above, bool) or not isinstance(above, int) or not 0 < above <= _LONGEST:
            inner.fail("above", "has to be a whole number of tokens")
        stated = {name: rate for name, rate in _rates(inner).items() if rate is not None}
        found.append((above, {**base, **stated}))
    return found


def _rates(entry: _Entry) -> dict[str, int | None]:
    return {name: _rate(entry, key) for key, name in RATE_KEYS.items()}


def _rate(entry: _Entry, key: str) -> int | None:
    if key not in entry.values:
        return None
    number = entry.number(key, "a price", "Dollars per million tokens, 0 or more.")
    return femto(RATE_KEYS.get(key, key), number)


def _instant(entry: _Entry, key: str) -> int | None:
    if key not in entry.values:
        return None
    value = entry.values[key]
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            entry.fail(key, f"{_shown(value)} is not a date", "Like 2026-11-20.")
    if not isinstance(value, date):
        entry.fail(key, f"{_shown(value)} is not a date", "Like 2026-11-20.")
    return micros(value)


def _discount(entry: _Entry) -> Discount:
    if "factor" not in entry.values:
        entry.fail("factor", "is missing", _FACTOR_HINT)
    factor = entry.number("factor", "a factor", _FACTOR_HINT)
    start, end = _instant(entry, "valid_from"), _instant(entry, "valid_to")
    return Discount(entry.text("provider").lower(), Fraction(factor), start, end)
