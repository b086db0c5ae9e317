"""What a report is asked for; checked here, without loading a data frame library."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from tallybook.errors import UsageError

# Key on the command line -> field of a report's row.
KEYS: Final[Mapping[str, str]] = {
    "model": "model",
    "provider": "provider",
    "thread": "thread_id",
    "root-thread": "root_thread_id",
    "source": "source",
    "project": "project",
    "caller": "caller",
    "hour": "hour",
    "day": "day",
    "week": "week",
    "month": "month",
}
TIME_KEYS: Final = ("hour", "day", "week", "month")
FILTERS: Final = ("source", "provider", "model", "thread", "project", "caller")
PAGE_ROWS: Final = 2000  # no browser sorts a hundred thousand

_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)|(\d{4})(\d\d)(\d\d)", re.ASCII)
_DAYS = re.compile(r"(\d{1,6})d", re.ASCII)


class Query(msgspec.Struct, frozen=True):
    """One question.

    `since` and `until` are inclusive days in `timezone` (IANA name). `filters` maps a word of
    `FILTERS` to the values that pass, as they were typed; `matched` to the names that they stand
    for where that is another. Without `sort`, time keys ascend and the rest follows cost, dearest
    first; `reverse` turns any order round. `limit` folds all rows but the first n into one, of rows
    in order of time all but the last. `last` leaves the newest n periods of the first time key. No
    `paths` are the known places, with `everything` all that the ledger holds.
    """

    by: tuple[str, ...] = ("model",)
    since: date | None = None
    until: date | None = None
    timezone: str = "UTC"
    filters: Mapping[str, tuple[str, ...]] = {}
    matched: Mapping[str, tuple[str, ...]] = {}
    sort: str | None = None
    reverse: bool = False
    limit: int | None = None
    last: int | None = None
    paths: tuple[str, ...] | None = None
    everything: bool = False
    as_recorded: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """The key fields of a row, in the order asked for."""
        return tuple(KEYS[key] for key in self.by)

    @property
    def whose(self) -> tuple[str, ...]:
        """What a row says of a thread beside its sums, where rows are threads."""
        return whose(self.by)

    @property
    def dated(self) -> bool:
        """Whether only some days are asked for."""
        return self.since is not None or self.until is not None

    @property
    def is_filtered(self) -> bool:
        """Whether only some rows are asked for."""
        return bool(self.filters) or self.dated

    def for_page(self) -> Query:
        """The query with rows that a page can show: those after the first PAGE_ROWS are one."""
        return self if self.limit is not None else replace(self, limit=PAGE_ROWS)

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """The names that pass, by what they are of."""
        return {**self.filters, **self.matched}

    @property
    def time_keys(self) -> list[str]:
        """The keys that are times, in the order asked for."""
        return [key for key in self.by if key in TIME_KEYS]

    @property
    def ascends(self) -> bool:
        """Whether the rows come in the order of time, the newest last."""
        return not self.reverse and (self.sort == "time" or bool(not self.sort and self.time_keys))

    def document(self) -> dict[str, Any]:
        """The `query` object of the JSON document."""
        return {
            "by": list(self.by),
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
            "timezone": self.timezone,
            "paths": None if self.paths is None else list(self.paths),
            "all": self.everything,
            "as_recorded": self.as_recorded,
            "filters": {name: list(values) for name, values in self.filters.items()},
            "matched": {name: list(values) for name, values in self.matched.items()},
            "sort": self.sort,
            "reverse": self.reverse,
            "limit": self.limit,
            "last": self.last,
        }


class Unmatched(msgspec.Struct, frozen=True):
    """A filter's value that stands for no one name of a counted row, with those that there are.

    Where `is_short` it is the beginning of several, and `known` has these only.
    """

    name: str
    value: str
    known: list[str]
    is_short: bool = False


def is_pattern(value: str) -> bool:
    """Whether a filter's value may stand for several names."""
    return "*" in value or "…" in value


def names_of(value: str, known: Sequence[str]) -> list[str]:
    """The names among the sorted `known` that a filter's value stands for.

    Its own, else with `*` all that fit the pattern, else those that begin so. The sign for what was
    cut in a table is as good as `*`. The threads of sub-agents begin with that of their session,
    which alone is meant then.
    """
    if value in known:
        return [value]
    if is_pattern(value):
        pattern = re.compile(".*".join(map(re.escape, re.split("[*…]", value))), re.DOTALL)
        return [name for name in known if pattern.fullmatch(name)]
    found = [name for name in known if name.startswith(value)]
    whole = [name for name in found[:1] if all(f"{each}/".startswith(f"{name}/") for each in found)]
    return whole or found


def whose(by: Collection[str]) -> tuple[str, ...]:
    """The fields of a row that tell whose the thread is and from when; none without a thread."""
    if not {"thread", "root-thread"} & set(by):
        return ()
    return tuple(name for name in ("project", "first_day", "last_day") if name not in by)


def parse_keys(words: Iterable[str]) -> tuple[str, ...]:
    """Read `model,day`; a key named twice counts once. Raises UsageError for an unknown key."""
    keys = [key.strip() for word in words for key in word.split(",")]
    for key in keys:
        if key not in KEYS:
            raise UsageError(f"--by has no key {key!r}", hint=f"keys: {', '.join(KEYS)}")
    return tuple(dict.fromkeys(keys))


def parse_day(text: str, today: date, option: str) -> date:
    """Read `2026-11-01`, `20261101` or `7d`, the first of the seven days that end today."""
    days = _DAYS.fullmatch(text)
    try:
        if days and int(days[1]) > 0:
            return today - timedelta(days=int(days[1]) - 1)
        written = _DATE.fullmatch(text)
        if written:
            return date(*(int(part) for part in written.groups() if part))
    except (ValueError, OverflowError):
        pass
    raise UsageError(
        f"{option} {text!r} is not a date", hint="write 2026-11-01, 20261101, or 7d for seven days"
    )


def check_days(since: date | None, until: date | None) -> None:
    """Raise UsageError where no day can lie between the two."""
    if since and until and since > until:
        raise UsageError(f"--since {since} is after --until {until}")
