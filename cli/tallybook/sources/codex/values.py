"""Reads single values of a log line: texts, points in time, and the time inside a UUIDv7."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

MILLISECONDS_FROM: Final = 10**10  # as seconds this would be the year 2286
UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_UUID_VERSION: Final = 14  # index of the digit that states the version


def text(value: Any) -> str | None:
    """A text that says something; anything else is None."""
    return value if isinstance(value, str) and value.strip() else None


def whole(value: Any) -> int | None:
    """A whole number; anything else is None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def seconds(value: Any) -> float | None:
    """Unix seconds of a number in seconds or milliseconds; anything else is None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value / 1000 if value > MILLISECONDS_FROM else float(value)


def instant(value: Any, problems: list[str]) -> datetime | None:
    """The UTC time of an RFC 3339 text or a Unix number; None where it is neither.

    Text without an offset is taken as UTC, which `assumed-time` says.
    """
    try:
        if not isinstance(value, str):
            number = seconds(value)
            return None if number is None else datetime.fromtimestamp(number, UTC)
        is_plain = value[-1:] == "Z" and value[10:11] == "T"
        stated = datetime.fromisoformat(value if is_plain else value.strip().upper())
        if stated.tzinfo is UTC:
            return stated
        if stated.tzinfo is None:
            problems.append("assumed-time")
            return stated.replace(tzinfo=UTC)
        return stated.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def minted(identifier: str | None) -> int | None:
    """Unix milliseconds inside a UUIDv7; None for every other identifier."""
    if identifier is None or not UUID.fullmatch(identifier):
        return None
    if identifier[_UUID_VERSION] != "7":
        return None
    return int(identifier[:8] + identifier[9:13], 16)
