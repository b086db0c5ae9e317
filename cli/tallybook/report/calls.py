"""The rows of an export: one a counted call, in typed columns that keep what is unknown null."""

from __future__ import annotations

from typing import Final

import polars as pl

from tallybook.pricing.cost import dollars
from tallybook.report.query import Query
from tallybook.report.selection import selected
from tallybook.report.summary import COSTS
from tallybook.schema import BUCKETS, SUBCOUNTS

EXPORT_VERSION: Final = 1

_BUCKETS: Final = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_1h_input_tokens",
    "unsplit_input_tokens",
    "input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "total_tokens",
)
_ORIGINS: Final = tuple(f"{name}_origin" for name in _BUCKETS if name in {*BUCKETS, *SUBCOUNTS})
_WHO: Final = (
    "call_id",
    "source",
    "provider",
    "model",
    "thread_id",
    "root_thread_id",
    "caller",
    "project",
)
COLUMNS: Final = (
    *_WHO,
    "timestamp",
    "calls",
    *_BUCKETS,
    *_ORIGINS,
    *COSTS,
    "price_status",
    "reported_cost_usd",
    "problems",
    "path",
    "record",
    "part",
)
# Text that this program chose, or a number written as text; all other text comes out of a log.
OWN_TEXT: Final = frozenset({"timestamp", "price_status", "reported_cost_usd", *_ORIGINS, *COSTS})


def calls(usage: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    """The counted rows of priced USAGE rows that `query` selects, in the columns of an export.

    Tokens are Int64, money Decimal(38, 15) US dollars, times UTC microseconds, problems a list.
    """
    money = [dollars(pl.col(column)).alias(name) for name, column in COSTS.items()]
    nothing = pl.lit([], dtype=pl.List(pl.String))
    rows = selected(usage, query).with_columns(*money, pl.col("problems").fill_null(nothing))
    return rows.select(COLUMNS)
