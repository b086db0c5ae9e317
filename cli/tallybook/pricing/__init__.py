"""What calls cost: dated list prices, name resolution and the stage that adds the cost columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallybook.pricing.overrides import PriceFileError
from tallybook.pricing.plan import Key
from tallybook.pricing.rates import Quote, Rates, load
from tallybook.pricing.table import per_million, per_thousand

if TYPE_CHECKING:
    from datetime import datetime

    import polars as pl

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
