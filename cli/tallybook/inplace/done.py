"""What would be changed in place, and what was."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tallybook.inplace.change import Change, Skipped


@dataclass(slots=True)
class Changes:
    """What would change, row by row, and the records left as they are with the reason."""

    rows: list[Change] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


@dataclass(slots=True)
class Done:
    """What was changed. `days_left` are days whose sums could not be told apart from others'."""

    backup: Path | None = None
    rows: int = 0
    days: int = 0
    days_left: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
