"""Lets a stage work on the columns that it needs, beside those that it only passes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl


def changed(
    rows: pl.DataFrame,
    stage: Callable[[pl.LazyFrame], pl.LazyFrame],
    columns: Sequence[str],
) -> pl.DataFrame:
    """`rows` with `columns` as `stage` makes them; it must keep the rows in their order.

    Only what the stage looks at is sorted and joined for it, not all of the eighty columns.
    """
    found = stage(rows.lazy()).select(columns).collect()
    return rows.with_columns(found.get_columns())
