"""Puts what was found of some rows beside all of them, or in the place of what they say."""

from __future__ import annotations

from typing import TypeVar

import polars as pl

WHOSE = ("thread_id", "parent_thread_id", "root_thread_id", "caller", "project")
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


def take_whose(rows: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Puts on the `row` of each pair whose the row `giver` is: thread, caller, project."""
    if pairs.is_empty():
        return rows
    given = rows.select(*WHOSE, giver="row")
    return instead(rows, pairs.join(given, on="giver").select("row", *WHOSE))


def mark(rows: pl.DataFrame, when: pl.Expr, of: pl.Expr, reason: pl.Expr | str) -> pl.DataFrame:
    """Marks the rows for which `when` holds as duplicates: of what, and for what reason."""
    why = pl.lit(reason) if isinstance(reason, str) else reason
    return rows.with_columns(
        duplicate_of=pl.when(when).then(of).otherwise("duplicate_of"),
        duplicate_reason=pl.when(when).then(why).otherwise("duplicate_reason"),
    )
