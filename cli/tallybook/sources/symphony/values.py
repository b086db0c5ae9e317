"""Reads single values of a record: texts, points in time, the ids of issues and runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PARTS: Final = ("year", "month", "day", "hour", "minute", "second")


def text(value: object) -> str | None:
    """A text that says something; anything else is None."""
    return value if isinstance(value, str) and value.strip() else None


def mapping(value: object) -> Mapping[str, Any]:
    """A map; anything else is an empty one."""
    return value if isinstance(value, Mapping) else {}


def instant(value: object) -> datetime | None:
    """The UTC time of an ISO 8601 text or of Elixir's `DateTime` map; None where it is neither."""
    try:
        if isinstance(value, Mapping):
            return _moment(value)
        if isinstance(value, str):
            stated = datetime.fromisoformat(value.strip().upper())
            return stated.replace(tzinfo=stated.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError, TypeError, KeyError):
        pass
    return None


def _moment(value: Mapping[str, Any]) -> datetime:
    """Elixir's struct: wall clock, microseconds with their precision, offsets in seconds."""
    fraction = value.get("microsecond")
    micros = fraction[0] if isinstance(fraction, tuple | list) and fraction else 0
    year, month, day, hour, minute, second = (value[part] for part in _PARTS)
    wall = datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
    return wall - timedelta(seconds=value.get("utc_offset", 0) + value.get("std_offset", 0))


def dispatch(run: Mapping[str, Any]) -> str | None:
    """Issue and second of its start: the same in every record of one run, with run id or without.

    Interfaces cut the time to whole seconds, so the store's microseconds are left out as well.
    """
    issue, started = text(run.get("issue_id")), instant(run.get("started_at"))
    return f"{issue}@{started:%Y-%m-%dT%H:%M:%S}" if issue and started else None
