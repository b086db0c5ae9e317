"""The sums of a report's rows: of usage, and of sums of usage."""

from __future__ import annotations

import polars as pl

from tallybook.report.fields import COSTS, COUNTS, UNKNOWN
from tallybook.schema import ORIGINS


def sums() -> list[pl.Expr]:
    """The sums of a group of USAGE rows, under the names of the report's fields."""
    # The parts of a cost that is unknown as a whole stay out: parts add up to the cost.
    priced = pl.col("cost").is_not_null()
    unpriced = pl.col("total_tokens").filter(~priced)
    return [
        *(_stated(pl.col(name), name) for name in COUNTS if name != "unsplit_input_tokens"),
        pl.col("unsplit_input_tokens").sum(),
        *(_stated(pl.col(column).filter(priced), name) for name, column in COSTS.items()),
        _stated(pl.col("reported_cost_usd"), "reported_cost_usd"),
        unpriced.sum().alias("unpriced_tokens"),
        *(_count(pl.col(name).is_null(), f"unknown {name}") for name in UNKNOWN),
        *(_count(pl.col("origin") == name, f"origin {name}") for name in ORIGINS),
        _count(pl.col("calls").is_null(), "records_without_calls"),
        pl.col("lower_bound").any(),
    ]


def sums_of_sums(groups: pl.DataFrame) -> list[pl.Expr]:
    """The sums of several groups, under the same names."""
    names = [name for name in groups.columns if groups.schema[name].is_numeric()]
    return [*(_stated(pl.col(name), name) for name in names), pl.col("lower_bound").any()]


def _stated(value: pl.Expr, name: str) -> pl.Expr:
    return pl.when(value.count() > 0).then(value.sum()).alias(name)


def _count(condition: pl.Expr, name: str) -> pl.Expr:
    return condition.sum().cast(pl.Int64).alias(name)
