"""What calls cost: dated list prices, name resolution and the stage that adds the cost columns."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    import polars as pl

    from tallybook.pricing.overrides import PriceFileError
    from tallybook.pricing.plan import Key
    from tallybook.pricing.rates import Quote, Rates, load
    from tallybook.pricing.table import per_million, per_thousand

__all__ = [
    "Key",
    "PriceFileError",
    "Quote",
    "Rates",
    "load",
    "per_million",
    "per_thousand",
    "price",
]


def price(frame: pl.LazyFrame, rates: Rates, now: datetime | None = None) -> pl.LazyFrame:
    """Add the cost columns to a USAGE frame; see `tallybook.pricing.cost.price`."""
    # polars takes 0.2 s to import, and looking up a rate does without it.
    from tallybook.pricing import cost  # noqa: PLC0415

    return cost.price(frame, rates, now)


_HOMES = {
    "Key": "plan",
    "PriceFileError": "overrides",
    "Quote": "rates",
    "Rates": "rates",
    "load": "rates",
    "per_million": "table",
    "per_thousand": "table",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is asked for: telling the version of the list needs none."""
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
