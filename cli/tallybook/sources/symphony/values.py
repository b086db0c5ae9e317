"""Reads values of a record as Elixir has them: maps, times that are maps, the start of a run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tallybook.values import instant, text

_PARTS: Final = ("year", "month", "day", "hour", "minute", "second")


def mapping(value: object) -> Mapping[str, Any]:
    """A map; anything else is an empty one."""
    return value if isinstance(value, Mapping) else {}


def moment(value: object) -> datetime | None:
    """The UTC time of any value, or of Elixir's `DateTime` map; None where it is neither."""
    if not isinstance(value, Mapping):
        return instant(value)
    try:
        return instant(_wall_clock(value))
    except (ValueError, OverflowError, TypeError, KeyError):
        return None


def _wall_clock(value: Mapping[str, Any]) -> datetime:
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
    issue, started = text(run.get("issue_id")), moment(run.get("started_at"))
    return f"{issue}@{started:%Y-%m-%dT%H:%M:%S}" if issue and started else None
