"""From paths to priced usage: remembers what was read, reads what is new, derives the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallybook.ledger.asked import Asked

if TYPE_CHECKING:
    from tallybook.ledger.chain import derive
    from tallybook.ledger.merging import merge
    from tallybook.ledger.open import find, usage, usage_batches, with_usage
    from tallybook.ledger.proved import append_corrections, clear_corrections, corrections
    from tallybook.ledger.reading import Reading
    from tallybook.ledger.upkeep import Disagreement, compact, forget, status, verify

__all__ = [
    "Asked",
    "Disagreement",
    "Reading",
    "append_corrections",
    "clear_corrections",
    "compact",
    "corrections",
    "derive",
    "find",
    "forget",
    "merge",
    "status",
    "usage",
    "usage_batches",
    "verify",
    "with_usage",
]

_HOMES = {
    "Disagreement": "upkeep",
    "Reading": "reading",
    "compact": "upkeep",
    "forget": "upkeep",
    "merge": "merging",
    "status": "upkeep",
    "verify": "upkeep",
    "append_corrections": "proved",
    "clear_corrections": "proved",
    "corrections": "proved",
    "derive": "chain",
    "find": "open",
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
