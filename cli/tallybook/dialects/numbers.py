"""Token counts and money as they stand in JSON: exact numbers, or a problem."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

MAX_COUNT: Final = 2**53  # past this a JSON number is no exact count in any tool that writes logs
MONEY_SCALE: Final = Decimal("1e-15")  # the scale of money columns


def count(value: object, problems: list[str]) -> int | None:
    """A token count: a whole number from 0; anything else is None and a `bad-number`.

    An absent value (None) is no problem. `12.0` counts as 12, and so does `"12"`: headers and
    OTLP's JSON have no other way to write it.
    """
    if value is None:
        return None
    number = _whole(value)
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
