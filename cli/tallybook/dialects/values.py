"""Token counts, money and times as they stand in JSON: exact, or a problem."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Final

MAX_COUNT: Final = 2**53  # past this a JSON number is no exact count in any tool that writes logs
MONEY_SCALE: Final = Decimal("1e-15")  # the scale of money columns
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM: Final = 10**10  # as seconds this is the year 2286


def count(value: object, problems: list[str]) -> int | None:
    """A token count: a whole number from 0; anything else is None and a `bad-number`.

    An absent value (None) is no problem. `12.0` counts as 12, and so does `"12"`: headers and
    OTLP's JSON have no other way to write it.
    """
    if value is None:
        return None
    number = value if value.__class__ is int else _whole(value)
    if number is not None and 0 <= number <= MAX_COUNT:
        return number
    problems.append("bad-number")
    return None


def _whole(value: object) -> int | None:
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 16:
        return int(value)
    return None


def money(value: object, problems: list[str]) -> Decimal | None:
    """US dollars from 0 up to 15 decimal places; anything else is None and a `bad-number`."""
    if value is None:
        return None
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            # The shortest text that reads back as this float is what the log had.
            amount = Decimal(value if isinstance(value, str) else repr(value)).quantize(MONEY_SCALE)
        except InvalidOperation:
            amount = Decimal(-1)
        if amount >= 0:
            return amount
    problems.append("bad-number")
    return None


def text(value: object) -> str | None:
    """A text that says something."""
    return value if isinstance(value, str) and value else None


def instant(value: object) -> datetime | None:
    """A time in UTC, from RFC 3339 text, a date header or a Unix time; None for anything else.

    Text without an offset is taken as UTC, as all providers mean it.
    """
    try:
        if isinstance(value, str):
            time = _from_text(value.strip())
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            seconds = value / 1000 if value > _MILLISECONDS_FROM else value
            return _EPOCH + timedelta(seconds=seconds)
        else:
            return None
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _from_text(value: str) -> datetime:
    if value[:1].isalpha():
        return parsedate_to_datetime(value)
    return datetime.fromisoformat(value.upper())
