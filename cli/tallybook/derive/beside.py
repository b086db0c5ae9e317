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


def instead(rows: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """The rows, those that `found` has a `row` of with its columns in the place of theirs."""
    if found.is_empty():
        return rows
    is_found = rows["row"].is_in(found["row"].implode())
    more = rows["row"].to_frame().join(found, on="row", how="left", maintain_order="left")
    return rows.with_columns(
        pl.when(is_found).then(more[name]).otherwise(name).alias(name)
        for name in found.columns
        if name != "row"
    )
