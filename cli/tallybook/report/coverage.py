"""How complete a reading is: what was read, what was left out, what is wrong with it."""

from __future__ import annotations

from typing import Final

import polars as pl

from tallybook.report.selection import counted, origin, recorded
from tallybook.schema import BACKFILLED

LISTED_PROBLEMS: Final = 1000


def counts() -> list[pl.Expr]:
    """The sums over USAGE rows that tell what was read, whatever a query asks for."""
    backfilled = counted() & (origin() == BACKFILLED)
    return [
        recorded().sum().cast(pl.Int64).alias("records"),
        pl.col("calls").filter(counted()).sum().alias("calls"),
        (recorded() & pl.col("duplicate_of").is_not_null())
        .sum()
        .cast(pl.Int64)
        .alias("duplicates"),
        backfilled.sum().cast(pl.Int64).alias("backfilled"),
    ]


def problems(rows: pl.LazyFrame) -> pl.LazyFrame:
    """One row a problem: component, path, record, part, code, detail; in the order of the files."""
    return (
        rows.filter(pl.col("problems").list.len() > 0)
        .select("component", "path", "record", "part", pl.col("problems").alias("code"), "detail")
        .explode("code")
        .sort("path", "record", "part", "code", "detail")
    )
