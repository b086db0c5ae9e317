"""From paths to priced usage: remembers what was read, reads what is new, derives the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallybook.ledger.asked import Asked

if TYPE_CHECKING:
    from tallybook.ledger.backfilling import Plan, corrections_table, fill, make_plan, stated
    from tallybook.ledger.chain import derive
    from tallybook.ledger.merging import merge
    from tallybook.ledger.open import find, usage, usage_batches, with_usage
    from tallybook.ledger.proved import append_corrections, clear_corrections, corrections
    from tallybook.ledger.reading import Reading
    from tallybook.ledger.upkeep import Disagreement, compact, forget, status, verify

__all__ = [
    "Asked",
    "Disagreement",
    "Plan",
    "Reading",
    "append_corrections",
    "clear_corrections",
    "compact",
    "corrections",
    "corrections_table",
    "derive",
    "fill",
    "find",
    "forget",
    "make_plan",
    "merge",
    "stated",
    "status",
    "usage",
    "usage_batches",
    "verify",
    "with_usage",
]

_HOMES = {
    "Disagreement": "upkeep",
    "Plan": "backfilling",
    "Reading": "reading",
    "append_corrections": "proved",
    "clear_corrections": "proved",
    "compact": "upkeep",
    "corrections": "proved",
    "corrections_table": "backfilling",
    "forget": "upkeep",
    "merge": "merging",
    "status": "upkeep",
    "verify": "upkeep",
    "derive": "chain",
    "fill": "backfilling",
    "find": "open",
    "make_plan": "backfilling",
    "stated": "backfilling",
    "usage": "open",
    "usage_batches": "open",
    "with_usage": "open",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is asked for: an answer that is kept needs none of them."""
    if name not in _HOMES:
        raise AttributeError(name)
    from importlib import import_module  # noqa: PLC0415 - as above

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
