"""What a file tells of the builds that wrote its rows: whether a cache count of 0 is one."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from tallybook.values import decode

Version = tuple[int, ...]

# From these builds on more places are looked at where a cache count may stand. Of a database only
# the build that had it last is told, so a row must be proved to be of them.
NO_BUILD: Final = (0,)  # every build since there are canonical rows
NESTED: Final = (0, 5, 59)  # in streams that were translated
WHOLE: Final = (0, 5, 69)  # in whole answers: of OpenAI to Claude's client, of Responses to its own
NEVER: Final = (9,)  # in whole answers of a provider that only streams
_NESTED_DAY: Final = "2026-08-29"  # when the first of them came out
# A folder with a copy: what for, the build that made it, and when, in a local time of no zone.
_FOLDER: Final = re.compile(r"(.+)-(\d+(?:\.\d+)+)-(\d{8}-\d{6})", re.ASCII)
_STAMP: Final = "%Y%m%d-%H%M%S"
_WESTERNMOST: Final = timedelta(hours=12)  # local time is behind UTC by no more
_MIGRATED: Final = "migrate-from-json"


class Builds(msgspec.Struct):
    """The builds of a file. `last` is the one that had it last; a row is of no later one.

    `since` are builds with the times (ISO texts) after which no earlier one wrote a row, `until`
    builds with the times up to which no later one did. `seen` is the time of the first row that
    itself shows that its build reads nested counts.
    """

    last: Version | None = None
    since: tuple[tuple[str, Version], ...] = ()
    until: tuple[tuple[str, Version], ...] = ()
    seen: str | None = None

    def show(self, timestamp: Any) -> None:
        """Note the time of a row that states a count which only newer builds find."""
        if str(timestamp) >= _NESTED_DAY and (self.last is None or self.last >= NESTED):
            self.seen = min(self.seen or str(timestamp), str(timestamp))

    def wrote(self, timestamp: Any) -> Version:
        """The build that wrote a row of this time at the least."""
        time = str(timestamp)
        if time < _NESTED_DAY:
            return NO_BUILD
        known = [build for start, build in self.since if start < time]
        if self.seen is not None and self.seen <= time:
            known.append(NESTED)
        most = [build for end, build in self.until if time <= end]
        return min(max(known, default=NO_BUILD), self.last or NEVER, *most)


class Copy(msgspec.Struct):
    """What a copy of a database says: the build that had it last, and the time of its last row."""

    build: str | None = None
    last: str | None = None


_COPY: Final = msgspec.json.Decoder(Copy)


def glance(connection: sqlite3.Connection) -> bytes:
    """What is to be known of a copy. Raises sqlite3.Error."""
    stated = connection.execute("SELECT value FROM _meta WHERE key = 'appVersion'").fetchone()
    last = connection.execute("SELECT max(timestamp) FROM usageHistory").fetchone()
    return msgspec.json.encode(
        Copy(*(str(row[0]) if row and row[0] else None for row in (stated, last)))
    )


def builds_of(meta: Mapping[str, Any], copies: Sequence[tuple[str, bytes]]) -> Builds:
    """The builds of a database, by its own `_meta` and by the copies that were made of it.

    The router makes one before it changes the schema (older builds at each new version): rows that
    are not in it are of that version or a later one, those in it of none later than its own. With
    the driver that needs no building it makes an empty folder, whose name tells the time.
    """
    since, until = [], []
    for folder, content in copies:
        named = _FOLDER.fullmatch(folder)
        if named is None:
            continue
        maker = version(named[2]) or NO_BUILD
        if named[1] == _MIGRATED and meta.get("migratedAt"):
            since.append((str(meta["migratedAt"]), maker))
        copy = decode(content, _COPY)
        if copy is None:
            since.append((_after(named[3]), maker))
            continue
        since.append((copy.last or "", maker))
        build = version(copy.build)
        if build and copy.last:
            until.append((copy.last, build))
    return Builds(version(meta.get("appVersion")), tuple(since), tuple(until))


def _after(stamp: str) -> str:
    """A time (ISO text) that is after a stamp wherever it was made; never, where it is none."""
    try:
        return (datetime.strptime(stamp, _STAMP) + _WESTERNMOST).isoformat()  # noqa: DTZ007 - see above
    except ValueError:
        return "9"


def version(text: Any) -> Version | None:
    """The numbers of a version; None where it is none."""
    parts = str(text or "").split("-")[0].split(".")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else None
