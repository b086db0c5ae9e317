"""What would be changed in place, and what was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from tallybook.inplace.change import Change, Skipped

DAY_REASONS: Final[Mapping[str, str]] = {
    "unreadable": "its sums cannot be read",
    "other-rows": "its sums are not those of the rows that are there",
}


class DayLeft(NamedTuple):
    """A day whose sums were not adjusted to its rows; `reason` is a key of DAY_REASONS."""

    day: str
    reason: str


@dataclass(slots=True)
class Changes:
    """What would change, row by row, and the records left as they are with the reason.

    `days` counts the sums that follow, `days_left` are those that cannot.
    """

    rows: list[Change] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    days: int = 0
    days_left: list[DayLeft] = field(default_factory=list)


@dataclass(slots=True)
class Done:
    """What was changed: the records of the rows, and how many days' sums followed.

    `backup` is the copy that was made, or the one that the file was given back. `passed_over` are
    copies that are not whole; where `lost`, the oldest is one of them, and what was changed before
    the next cannot be taken back. `names` are those that the file has beside the one it was
    changed under: these still lead to what was there.
    """

    backup: Path | None = None
    records: list[int] = field(default_factory=list)
    days: int = 0
    days_left: list[DayLeft] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)
    lost: bool = False
    names: int = 0

    @property
    def rows(self) -> int:
        """How many rows were changed."""
        return len(self.records)
