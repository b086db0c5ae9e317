"""Writes what backfill proved into the usage history of 9router itself, and takes it back.

The one part of the program that changes a file of the user's: after a copy beside it, all or
nothing, and only rows that it knows.
"""

from __future__ import annotations

from tallybook.inplace.change import REASONS, Change, Correction, Skipped
from tallybook.inplace.database import apply, plan_changes, restore
from tallybook.inplace.document import apply_document, plan_document, restore_document
from tallybook.inplace.done import Changes, Done

__all__ = [
    "REASONS",
    "Change",
    "Changes",
    "Correction",
    "Done",
    "Skipped",
    "apply",
    "apply_document",
    "plan_changes",
    "plan_document",
    "restore",
    "restore_document",
]
