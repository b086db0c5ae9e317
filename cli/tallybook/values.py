"""Reads single values as logs have them, the same for every source and dialect.

A format's own oddity (a map for a time, bytes for a text) stays with the format, which calls these.
What each makes of a value; `bad` is None with the problem `bad-number`, `-` is None:

| logged                             | text      | count | money | instant                      |
|------------------------------------|-----------|-------|-------|------------------------------|
| null, or not at all                | -         | -     | -     | -                            |
| `12`, `12.0`, `1.2e1`              | -         | 12    | 12    | - (a duration, a counter)    |
| `"12"`, `" 12.0 "`, `"1.2e1"`      | as it is  | 12    | 12    | -                            |
| `0`, `-0`, `-0.0`, `"0"`           | (a text)  | 0     | 0     | -                            |
| `0.25`, `"0.25"`                   | (a text)  | bad   | 0.25  | -                            |
| negative, NaN, infinite            | -         | bad   | bad   | -                            |
| above 10^13, of 30 or 5,000 digits | -         | bad   | bad   | - (but for nanoseconds)      |
| true, false, lists, objects        | -         | bad   | bad   | -                            |
| `""`, `"  "`                       | -         | bad   | bad   | -                            |
| `"NaN"`, `"1,000"`, `"$1"`, `"abc"`| as it is  | bad   | bad   | -                            |
| `1763640000` (`...000`, and so on) | -         | it    | it    | 2025-11-20T12:00:00Z         |
| `"1763640000"`, also with `.5`     | as it is  | it    | it    | 2025-11-20T12:00:00Z         |
| `"2025-11-20T12:00:00Z"`           | as it is  | bad   | bad   | it                           |
| `"2025-11-20 12:00:00"`            | as it is  | bad   | bad   | the same, `assumed-time`     |
| `"Thu, 20 Nov 2025 12:00:00 GMT"`  | as it is  | bad   | bad   | it                           |
| `"1970-01-01T00:00:00Z"` or before | as it is  | bad   | bad   | -                            |

Of a key that stands twice in an object the last one holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any, Final, TypeVar, overload

import msgspec

MAX_COUNT: Final = 10**13  # nobody counts more, and a million such rows add up within 64 bits
MONEY_SCALE: Final = Decimal("1e-15")  # the scale of money columns
_DEAREST: Final = 10**13  # dollars; with 15 decimals still within the digits that Decimal keeps
_LONGEST: Final = 40  # characters of a number written as text
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,2})?", re.ASCII)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FINER_FROM: Final = 10**10  # as seconds this is the year 2286, as milliseconds April 1970
_LATEST: Final = 2286  # the year, in text as well
_FINEST: Final = 10**9  # nanoseconds
_EARLIEST: Final = 10**9  # seconds: 2001; smaller numbers are durations, counters, other clocks
_UNIX: Final = re.compile(r"\d{10,19}(?:\.\d+)?", re.ASCII)

UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_UUID_VERSION: Final = 14  # index of the digit that states the version
_UUID_6_BEGINS: Final = 12_219_292_800 * 10**6  # microseconds from 1582, where it counts from

# Words with a few digits at most behind each: keys of an interface have letters behind digits.
_ERROR_NAME: Final = re.compile(
    r"[A-Za-z]{0,40}\d{0,6}(?:[_.:/-][A-Za-z]{0,40}\d{0,6}){0,12}", re.ASCII
)

T = TypeVar("T")
# What a strict decoder raises for what is no JSON, or JSON as only some programs write it.
UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
_ANYTHING: Final = msgspec.json.Decoder()
_OTHER_SHAPE: Final = "Expected"  # how the decoder's words begin where the JSON itself is sound
# A number that no reader takes for one: what NaN, infinities and endless digits become.
_BEYOND: Final = 1e308
_DIGITS: Final = 20  # a longer integer is beyond all that can be stored
_STORED: Final = 2**63
_DEEPEST: Final = 200  # levels; no log is half as deep, and decoders give up at some 900
# A text that nothing closes goes on to the end, so that it is looked at once only.
_SIGNS: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def names_in(listed: str) -> tuple[str, ...]:
    """The names in a long list of them, which stand apart by spaces."""
    return tuple(listed.split())


def inside(value: object, key: str) -> Any:
    """The member of an object; None where there is no object or no such member."""
    return value.get(key) if isinstance(value, dict) else None


def text(value: object) -> str | None:
    """A text that says something; anything else is None."""
    return value if isinstance(value, str) and value and not value.isspace() else None


def error_name(value: object) -> str | None:
    """The name or number of an error, as providers have them; None for a sentence.

    A sentence may quote the conversation, or the key that was wrong.
    """
    name = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return name if name and _ERROR_NAME.fullmatch(name) else None


def party(value: object) -> str | None:
    """The name of a provider, as `text`; of an address that stands for it no more than its host.

    User, password, path and query may be what lets one in.
    """
    name = text(value)
    if name is None or "://" not in name:
        return name
    address = name.partition("://")[2]
    return re.split(r"[/?#\\]", address, maxsplit=1)[0].rpartition("@")[2] or None


def count(value: object, problems: list[str]) -> int | None:
    """A token count: a whole number from 0 to `MAX_COUNT`; anything else is a `bad-number`.

    An absent value (None) is no problem. Numbers may stand as text: headers and OTLP's JSON have no
    other way to write them.
    """
    if value.__class__ is int and 0 <= value <= MAX_COUNT:
        return value  # nearly always
    if value is None:
        return None
    number = _number(value) if isinstance(value, str) else value
    if isinstance(number, (float, Decimal)) and 0 <= number <= MAX_COUNT and number == int(number):
        return int(number)
    problems.append("bad-number")
    return None


def money(value: object, problems: list[str]) -> Decimal | None:
    """US dollars from 0 up to 15 decimal places; anything else is None and a `bad-number`."""
    if value is None:
        return None
    number = _number(value) if isinstance(value, str) else value
    is_number = isinstance(number, (float, int, Decimal)) and not isinstance(number, bool)
    if is_number and 0 <= number < _DEAREST:  # type: ignore[operator] # a number
        # The shortest text that reads back as this float is what the log had.
        return abs(Decimal(str(number))).quantize(MONEY_SCALE)
    problems.append("bad-number")
    return None


def _number(value: str) -> Decimal | None:
    """A number written as text; None for any other text."""
    stated = value.strip()
    if len(stated) > _LONGEST or not _NUMBER.fullmatch(stated):
        return None
    return Decimal(stated)


def instant(value: object, problems: list[str] | None = None) -> datetime | None:
    """A time in UTC, from RFC 3339 text, a date header or a Unix time; None for anything else.

    Text without an offset is taken as UTC, as all providers mean it; `assumed-time` says so.
    1970 itself and what lies before it is written where no time is known, and is none. Nor is what
    lies centuries ahead: it is a number of another kind, or a word for never.
    """
    if value.__class__ is float and _EARLIEST <= value <= _FINER_FROM:
        return datetime.fromtimestamp(value, UTC)
    try:
        time = _from_text(value) if isinstance(value, str) else _from_other(value)
        if time is None:
            return None
        if time.tzinfo is not UTC:
            if time.tzinfo is None and problems is not None:
                problems.append("assumed-time")
            time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        return time if time > EPOCH and time.year <= _LATEST else None
    except (ValueError, OverflowError):
        return None


def _from_text(value: str) -> datetime | None:
    if value[4:5] == "-":
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass  # perhaps only because of its case
    stated = value.strip().upper()
    if stated[:1].isalpha():
        return _from_header(stated)
    if _UNIX.fullmatch(stated):
        return _from_number(float(stated) if "." in stated else int(stated))
    return datetime.fromisoformat(stated)


def _from_header(stated: str) -> datetime | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - few logs have such dates

    try:
        return parsedate_to_datetime(stated)
    except (TypeError, IndexError):  # what it raises for some texts that are no date
        return None


def _from_other(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return _from_number(value)
    return None


def _from_number(value: float) -> datetime | None:
    """Seconds, or thousandths of them to the third power, as the size tells."""
    unit = 1
    while value > _FINER_FROM * unit and unit < _FINEST:
        unit *= 1000
    if value < _EARLIEST * unit:
        return None
    if isinstance(value, int):
        return EPOCH + timedelta(microseconds=value * 1_000_000 // unit)
    return EPOCH + timedelta(seconds=value / unit)


def uuid_time(value: object) -> datetime | None:
    """The time inside a UUID of version 6 or 7; None for every other value."""
    if not isinstance(value, str) or value[_UUID_VERSION : _UUID_VERSION + 1] not in ("6", "7"):
        return None
    return _uuid_time(value)


@lru_cache(256)  # each line of a turn or a thread names it
def _uuid_time(value: str) -> datetime | None:
    if not UUID.fullmatch(value):
        return None
    digits = value.replace("-", "")
    if digits[12] == "7":
        microseconds = int(digits[:12], 16) * 1000
    else:
        microseconds = int(digits[:12] + digits[13:16], 16) // 10 - _UUID_6_BEGINS
    try:
        return EPOCH + timedelta(microseconds=microseconds) if microseconds > 0 else None
    except OverflowError:
        return None


@overload
def decode(content: bytes | str) -> Any: ...
@overload
def decode(content: bytes | str, decoder: msgspec.json.Decoder[T]) -> T | None: ...
def decode(content: bytes | str, decoder: msgspec.json.Decoder[Any] = _ANYTHING) -> Any:
    """The JSON value of a line, a document or a text inside of one; None where it is no JSON.

    What only some programs write is read as well, see `lenient`. None also where the value has not
    the shape that `decoder` asks for.
    """
    try:
        return decoder.decode(content)
    except UNDECODABLE as error:
        if isinstance(error, msgspec.ValidationError) and str(error).startswith(_OTHER_SHAPE):
            return None
    try:
        return decoder.decode(encode(lenient(content)))
    except UNDECODABLE:
        return None


def lenient(content: bytes | str) -> Any:
    """The JSON value, with what no strict decoder takes; None where it is no JSON.

    That is bad UTF-8, which is replaced; raw control characters; NaN, infinities and integers that
    nothing can store, which become a number beyond every bound; and what is nested more than
    some hundred levels deep, which becomes None. Halves of surrogates are left to `encode`.
    """
    stated = content if isinstance(content, str) else content.decode("utf-8", "replace")
    try:
        return _lenient(stated)
    except RecursionError:
        return _lenient(_shallow(stated))


def encode(value: Any) -> bytes:
    """A value of `lenient` as JSON that every decoder takes.

    Half a surrogate pair, which JavaScript writes where it cuts a text, becomes a question mark.
    """
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def storable(value: Any, levels: int = 50) -> Any:
    """A decoded value as a saved state can hold it.

    Integers beyond 64 bits become a number that is none for any reader, and None what is nested
    deeper than `levels`.
    """
    if value.__class__ is int:
        return value if -_STORED < value < _STORED else _BEYOND
    if isinstance(value, (dict, list)) and not levels:
        return None
    if isinstance(value, dict):
        return {key: storable(inner, levels - 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [storable(inner, levels - 1) for inner in value]
    return value


def begins(content: str, position: int) -> tuple[Any, int] | None:
    """The JSON value that begins at `position` and where it ends; None where none does.

    What follows may be cut off, or something else. The value is one of `decode`.
    """
    try:
        value, end = _LENIENT.raw_decode(content, position)
    except (ValueError, RecursionError):
        return None
    return decode(encode(value)), end


def one_by_one(content: str, before: re.Pattern[str]) -> Iterator[Any]:
    """The JSON values of a text in their order, as far as it goes, as `decode` has them.

    `before` matches all that may stand in front of one.
    """
    position = 0
    while more := before.match(content, position):
        found = begins(content, more.end())
        if found is None:
            return
        value, position = found
        yield value


def _lenient(content: str) -> Any:
    try:
        return _LENIENT.decode(content)
    except ValueError:
        return None


def _whole(digits: str) -> float:
    return int(digits) if len(digits) <= _DIGITS else _BEYOND


def _finite(digits: str) -> float:
    number = float(digits)
    return number if isfinite(number) else _BEYOND


_LENIENT: Final = json.JSONDecoder(
    parse_constant=lambda _: _BEYOND, parse_float=_finite, parse_int=_whole, strict=False
)


def _shallow(content: str) -> str:
    """The JSON with null for what is nested too deep."""
    kept, depth, begin = list[str](), 0, 0
    for sign in _SIGNS.finditer(content):
        if sign[0] in ("[", "{"):
            depth += 1
            if depth == _DEEPEST + 1:
                kept += (content[begin : sign.start()], "null")
                begin = len(content)
        elif sign[0] in ("]", "}"):
            if depth == _DEEPEST + 1:
                begin = sign.end()
            depth -= 1
    return "".join((*kept, content[begin:]))
