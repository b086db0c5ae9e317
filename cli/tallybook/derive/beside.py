"""Puts what was found of some rows beside all of them, by their number."""

from __future__ import annotations

from typing import TypeVar

import polars as pl

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


def beside(rows: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """The rows with the columns of `found`, which has a `row` for some; null for the others.

    A join would copy all of the eighty columns, only to put them in the same place.
    """
    more = rows["row"].to_frame().join(found, on="row", how="left", maintain_order="left")
    return rows.hstack([each for each in more.iter_columns() if each.name != "row"])
