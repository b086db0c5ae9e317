"""From paths to priced usage: remembers what was read, reads what is new, derives the rest."""

from __future__ import annotations

from tallybook.ledger.chain import derive
from tallybook.ledger.corrections import append_corrections, clear_corrections, corrections
from tallybook.ledger.fill import Plan, corrections_table, make_plan, proposed
from tallybook.ledger.open import Asked, find, usage, usage_batches
from tallybook.ledger.reading import Reading

__all__ = [
    "Asked",
    "Plan",
    "Reading",
    "append_corrections",
    "clear_corrections",
    "corrections",
    "corrections_table",
    "derive",
    "find",
    "make_plan",
    "proposed",
    "usage",
    "usage_batches",
]
