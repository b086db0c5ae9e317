"""What a file tells of the builds that wrote its rows: whether a cache count of 0 is one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

Version = tuple[int, ...]

# From these builds on more places are looked at where a cache count may stand. Of a database only
# the build that had it last is told, so a row must be proved to be of them.
NO_BUILD: Final = (0,)  # every build since there are canonical rows
NESTED: Final = (0, 5, 59)  # in streams that were translated
WHOLE: Final = (0, 5, 69)  # in whole answers: of OpenAI to Claude's client, of Responses to its own
NEVER: Final = (9,)  # in whole answers of a provider that only streams
_NESTED_DAY: Final = "2026-08-29"  # when the first of them came out


class Builds(msgspec.Struct):
    """The builds of a file. `last` is the one that had it last; a row is of no later one.

    `since` are builds with the times (ISO texts) from which on no earlier one wrote a row. `seen`
    is the time of the first row that itself shows that its build reads nested counts.
    """

    last: Version | None = None
    since: tuple[tuple[str, Version], ...] = ()
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
        known = [build for start, build in self.since if start <= time]
        if self.seen is not None and self.seen <= time:
            known.append(NESTED)
        return min(max(known, default=NO_BUILD), self.last or NEVER)


def latest(builds: Iterable[Version]) -> Version:
    """The latest of the builds that are asked for, any where none is."""
    return max(builds, default=NO_BUILD)
