"""The rows of an export in typed columns: one a counted call, or those of a report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import polars as pl

from tallybook.pricing.cost import dollars
from tallybook.report.fields import COSTS, COUNTS, FLAT, flat
from tallybook.report.query import Query
from tallybook.report.summary import Report, Row
from tallybook.report.sums import selected
from tallybook.schema import BUCKETS, SUBCOUNTS
from tallybook.values import names_in

EXPORT_VERSION: Final = 1
UNDATED: Final = "__HIVE_DEFAULT_PARTITION__"  # what readers of a lake take for null
_SLICE: Final = 10_000
_DAYS: Final = ("day", "first_day", "last_day")

_ORIGINS: Final = tuple(f"{name}_origin" for name in COUNTS if name in {*BUCKETS, *SUBCOUNTS})
_WHO: Final = names_in("call_id source provider model thread_id root_thread_id caller project")
COLUMNS: Final = (
    *_WHO,
    "timestamp",
    *COUNTS,
    *_ORIGINS,
    "lower_bound",
    *COSTS,
    *names_in("price_status reported_cost_usd problems path record part"),
)
# Text that this program chose, or a number written as text; all other text comes out of a log.
DIGEST: Final = "price_digest"
OWN_TEXT: Final = frozenset(
    {"timestamp", "price_status", "reported_cost_usd", DIGEST, *_ORIGINS, *COSTS}
)


def calls(usage: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    """The counted rows of priced USAGE rows that `query` selects, in the columns of an export.

    Tokens are Int64, money Decimal(38, 15) US dollars, times UTC microseconds, problems a list.
    """
    money = [dollars(pl.col(column)).alias(name) for name, column in COSTS.items()]
    nothing = pl.lit([], dtype=pl.List(pl.String))
    rows = selected(usage, query).with_columns(*money, pl.col("problems").fill_null(nothing))
    return rows.select(COLUMNS)


def tables(report: Report) -> Iterator[pl.DataFrame]:
    """The rows of a report in frames of some thousands, at least one, without nesting.

    Keys are text, counts Int64, money Decimal(38, 15).
    """
    rows = iter(report.rows)
    part = list(islice(rows, _SLICE))
    yield _table(report.query, part)
    while part := list(islice(rows, _SLICE)):
        yield _table(report.query, part)


def with_digest(frame: pl.DataFrame, digest: str) -> pl.DataFrame:
    """The rows with the digest of the prices that their money is told by, for each to keep."""
    return frame.with_columns(pl.lit(digest).alias(DIGEST))


def typed(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows of a report for a file with types: days are dates, an hour is its beginning.

    An hour is a time of day in the zone of the report, as a day is a day there.
    """
    days = pl.col(name for name in _DAYS if name in frame.columns)
    hours = pl.col(name for name in ("hour",) if name in frame.columns)
    return frame.with_columns(
        days.str.to_date("%Y-%m-%d"), hours.str.to_datetime("%Y-%m-%dT%H:%M", time_unit="us")
    )


def by_month(frame: pl.DataFrame, zone: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """The calls of each month in a zone, `2026-11`, in order; UNDATED without a time."""
    month = pl.col("timestamp").dt.convert_time_zone(zone).dt.strftime("%Y-%m")
    dated = frame.with_columns(month.fill_null(UNDATED).alias("month"))
    parts = dated.partition_by("month", as_dict=True, include_key=False)
    for (name,) in sorted(parts):
        yield name, parts[name,]


def _table(query: Query, rows: Iterable[Row]) -> pl.DataFrame:
    money = [*COSTS, "reported_cost_usd"]
    schema = {
        **dict.fromkeys(query.fields, pl.String),
        **dict.fromkeys(COUNTS, pl.Int64),
        **dict.fromkeys(money, pl.String),
        "unpriced_tokens": pl.Int64,
        "records_without_calls": pl.Int64,
        "lower_bound": pl.Boolean,
        **dict.fromkeys(FLAT, pl.Int64),
        **dict.fromkeys(query.whose, pl.String),
    }
    found = [[row[name] for name in schema] for row in map(flat, rows)]
    frame = pl.DataFrame(found, schema, orient="row")
    return frame.with_columns(pl.col(money).cast(pl.Decimal(38, 15)))
