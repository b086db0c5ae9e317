"""Calls that a router and a client may both have logged, though nothing pairs them."""

from __future__ import annotations

import polars as pl

from tallybook.schema import AT_CLIENT, AT_ROUTER

_BY = ("end", "hour", "model")


def ends(rows: pl.LazyFrame, *by: str) -> pl.LazyFrame:
    """The calls and tokens of USAGE rows at each end of a route, by hour and model."""
    found = rows.filter(pl.col("route_end").is_not_null(), pl.col("duplicate_of").is_null())
    stated = found.select(
        *by,
        pl.col("calls").fill_null(0),
        end="route_end",
        hour=pl.col("timestamp").dt.truncate("1h"),
        # A client may name the model with the prefix that chose the route.
        model=pl.col("model").str.replace(r"^.*/", "").str.to_lowercase(),
        tokens=pl.col("total_tokens").fill_null(0),
    )
    return added(stated, *by)


def added(found: pl.LazyFrame, *by: str) -> pl.LazyFrame:
    """Several such frames as one."""
    return found.group_by(*by, *_BY).agg(pl.col("calls", "tokens").sum())


def perhaps_twice(found: pl.DataFrame) -> dict[str, int]:
    """How many `calls` and `tokens` may be counted twice at most: those that both ends have.

    In an hour and of a model there are no more of them than the lesser end has.
    """
    one, other = (found.filter(pl.col("end") == end) for end in (AT_ROUTER, AT_CLIENT))
    both = one.join(other, on=["hour", "model"])
    least = {name: pl.min_horizontal(name, f"{name}_right").sum() for name in ("calls", "tokens")}
    return both.select(**least).row(0, named=True)
