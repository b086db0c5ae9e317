"""Writes what backfill proved into the usage history of 9router itself, and takes it back.

The one part of the program that changes a file of the user's: after a copy beside it, all or
nothing, and only rows that it knows.
"""

from __future__ import annotations

from tallybook.inplace.backup import backups, require_writable
from tallybook.inplace.change import REASONS, Change, Correction, Skipped
from tallybook.inplace.database import apply, plan_changes, restore
from tallybook.inplace.document import apply_document, plan_document, restore_document
from tallybook.inplace.done import DAY_REASONS, Changes, DayLeft, Done

__all__ = [
    "DAY_REASONS",
    "REASONS",
    "Change",
    "Changes",
    "Correction",
    "DayLeft",
    "Done",
    "Skipped",
    "apply",
    "apply_document",
    "backups",
    "plan_changes",
    "plan_document",
    "require_writable",
    "restore",
    "restore_document",
]
