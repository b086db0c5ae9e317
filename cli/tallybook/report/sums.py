"""The sums of a report's rows: of usage, and of sums of usage."""

from __future__ import annotations

import polars as pl

from tallybook.report.fields import AT_LEAST, COSTS, COUNTS, UNKNOWN
from tallybook.schema import ORIGINS


def sums() -> list[pl.Expr]:
    """The sums of a group of USAGE rows, under the names of the report's fields."""
    # The parts of a cost that is unknown as a whole stay out: parts add up to the cost.
    priced = pl.col("cost").is_not_null()
    unpriced = pl.col("total_tokens").filter(~priced)
    least = _at_least()
    costs = {name: _stated(pl.col(column).filter(priced), name) for name, column in COSTS.items()}
    return [
        *(_stated(pl.col(name), name) for name in COUNTS if name != "unsplit_input_tokens"),
        pl.col("unsplit_input_tokens").sum(),
        *_bounded(costs, least["total_tokens"]),
        _stated(pl.col("reported_cost_usd"), "reported_cost_usd"),
        unpriced.sum().alias("unpriced_tokens"),
        *(_count(_unknown(name), f"unknown {name}") for name in UNKNOWN),
        *(_count(pl.col("origin") == name, f"origin {name}") for name in ORIGINS),
        _count(pl.col("calls").is_null(), "records_without_calls"),
        *(condition.any().alias(f"least {name}") for name, condition in least.items()),
    ]


def sums_of_sums(groups: pl.DataFrame) -> list[pl.Expr]:
    """The sums of several groups, under the same names."""
    names = [name for name in groups.columns if groups.schema[name].is_numeric()]
    added = {name: _stated(pl.col(name), name) for name in names}
    return [
        *_bounded(added, pl.col("least total_tokens")),
        *(pl.col(f"least {name}").any() for name in AT_LEAST),
    ]


def _unknown(name: str) -> pl.Expr:
    """Whether a row does not state a bucket, or no more than what had come of it."""
    unstated = pl.col(name).is_null()
    return unstated | pl.col("output_lower_bound") if name == "output_tokens" else unstated


def _at_least() -> dict[str, pl.Expr]:
    """Of each count of AT_LEAST, whether a row makes its sum a lower bound.

    Of a prompt that is split without cache writes, its log's way of counting has none.
    """
    found = {name: _unknown(name) for name in UNKNOWN}
    is_split = pl.col("uncached_input_tokens").is_not_null() & ~pl.col("input_lower_bound")
    found["cache_creation_input_tokens"] &= ~is_split
    found["input_tokens"] = pl.col("input_lower_bound")
    found["total_tokens"] = pl.col("lower_bound")
    return {name: found[name] for name in AT_LEAST}


def _bounded(added: dict[str, pl.Expr], least: pl.Expr) -> list[pl.Expr]:
    """The sums, without the highest cost where there is a lower bound among what is added."""
    name = "cost_high_usd"
    return [*(added | {name: pl.when(~least.any()).then(added[name]).alias(name)}).values()]


def _stated(value: pl.Expr, name: str) -> pl.Expr:
    return pl.when(value.count() > 0).then(value.sum()).alias(name)


def _count(condition: pl.Expr, name: str) -> pl.Expr:
    return condition.sum().cast(pl.Int64).alias(name)
