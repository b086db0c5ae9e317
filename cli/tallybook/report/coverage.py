"""How complete a reading is: what was read, what was left out, what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from tallybook.report.selection import counted, origin, recorded
from tallybook.schema import BACKFILLED


def counts(older: Collection[str] = ()) -> list[pl.Expr]:
    """The sums over USAGE rows that tell what was read, whatever a query asks for.

    `older` are the paths of files that another program has read.
    """
    is_older = pl.col("path").is_in(list(older)) if older else pl.lit(value=False)
    backfilled = counted() & (origin() == BACKFILLED)
    return [
        recorded().sum().cast(pl.Int64).alias("records"),
        pl.col("calls").filter(counted()).sum().alias("calls"),
        pl.col("calls").filter(counted() & is_older).sum().alias("older_calls"),
        (recorded() & pl.col("duplicate_of").is_not_null())
        .sum()
        .cast(pl.Int64)
        .alias("duplicates"),
        backfilled.sum().cast(pl.Int64).alias("backfilled"),
    ]
