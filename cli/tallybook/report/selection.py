"""Which USAGE rows a query is about, and the columns that it groups them by."""

from __future__ import annotations

from functools import reduce
from operator import and_

import polars as pl

from tallybook.report.query import KEYS, TIME_KEYS, Query
from tallybook.schema import (
    ASSUMED,
    BACKFILLED,
    BUCKETS,
    COUNTED_KINDS,
    DERIVED,
    REPORTED_ORIGIN,
    SUBCOUNTS,
)

_TIME_FORMATS = {"hour": "%Y-%m-%dT%H:00", "day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}


def recorded() -> pl.Expr:
    """Rows that state usage, duplicates included."""
    return pl.col("kind").is_in(COUNTED_KINDS)


def counted() -> pl.Expr:
    """Rows that are summed."""
    return recorded() & pl.col("duplicate_of").is_null()


def origin() -> pl.Expr:
    """The weakest evidence that a row rests on."""
    stated = [pl.col(f"{bucket}_origin") for bucket in (*BUCKETS, *SUBCOUNTS)]
    return (
        pl.when(pl.any_horizontal(column == ASSUMED for column in stated))
        .then(pl.lit(ASSUMED))
        .when(pl.any_horizontal(column == BACKFILLED for column in stated))
        .then(pl.lit(BACKFILLED))
        .when(pl.col("difference"))
        .then(pl.lit(DERIVED))
        .otherwise(pl.lit(REPORTED_ORIGIN))
    )


def matching(usage: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    """Counted rows that pass the filters by value; dates are not looked at."""
    passing = [
        pl.col(KEYS[name]).is_in(list(values)) for name, values in query.filters.items() if values
    ]
    return usage.filter(reduce(and_, passing, counted()))


def selected(usage: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    """Counted rows that pass the filters and lie between the days; undated rows lie nowhere."""
    rows = matching(usage, query)
    day = _local(query).dt.date()
    if query.since:
        rows = rows.filter(day >= query.since)
    if query.until:
        rows = rows.filter(day <= query.until)
    return rows


def with_keys(rows: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    """Add the columns of the time keys: text in the query's time zone, null without a time."""
    asked = [key for key in TIME_KEYS if key in query.by]
    return rows.with_columns(
        _local(query).dt.strftime(_TIME_FORMATS[key]).alias(KEYS[key]) for key in asked
    )


def _local(query: Query) -> pl.Expr:
    return pl.col("timestamp").dt.convert_time_zone(query.timezone)
