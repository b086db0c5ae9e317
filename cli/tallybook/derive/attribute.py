"""Settles whose a row is where the answer stands elsewhere: the model ahead, the root thread."""

from __future__ import annotations

import polars as pl

from tallybook.schema import COUNTED_KINDS

_SEPARATOR = " "  # stands in no name of a source


def attribute(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Fills `model` from the next record of the file that names one, `caller` and `root_thread_id`.

    Rows must be in the order of their files' records.
    """
    return rows.pipe(_with_model_ahead).pipe(_with_caller).pipe(_with_root)


def _with_model_ahead(rows: pl.LazyFrame) -> pl.LazyFrame:
    found = pl.col("model_ahead") & pl.col("model").is_null()
    if not rows.select(found.any()).collect().item():
        return rows
    ahead = pl.col("model").backward_fill().over("source", "path")
    return rows.with_columns(model=pl.when(found).then(ahead).otherwise(pl.col("model")))


def _with_caller(rows: pl.LazyFrame) -> pl.LazyFrame:
    counted = pl.col("kind").is_in(COUNTED_KINDS)
    return rows.with_columns(
        caller=pl.when(counted).then(pl.col("caller").fill_null("lead")).otherwise("caller")
    )


def _with_root(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The stated root, else the end of the chain of parents, else the thread itself.

    Each source has its own: what a program that drives a thread calls its root is not what the
    thread's own log does.
    """
    roots = _roots(rows)
    found = _of_source("thread_id").replace_strict(roots, default=None, return_dtype=pl.String)
    return rows.with_columns(root_thread_id=pl.coalesce("root_thread_id", found, "thread_id"))


def _of_source(column: str) -> pl.Expr:
    return pl.concat_str("source", pl.lit(_SEPARATOR), column).alias(column)


def _roots(rows: pl.LazyFrame) -> dict[str, str]:
    """Root by source and thread."""
    links = (
        rows.filter(pl.col("thread_id").is_not_null(), ~pl.col("is_copy"))
        .with_columns(parent=pl.coalesce("root_thread_id", "parent_thread_id"))
        .filter(pl.col("parent").is_not_null())
        .select(_of_source("thread_id"), parent=_of_source("parent"))
        .unique()
        .sort("thread_id", "parent", descending=True)
        .collect()
    )
    # Sorted downwards and written over, the smallest of several stated parents wins every time.
    parents = dict(links.iter_rows())
    return {thread: _end(thread, parents).partition(_SEPARATOR)[2] for thread in parents}


def _end(thread: str, parents: dict[str, str]) -> str:
    seen = {thread}
    while (parent := parents.get(thread)) is not None and parent not in seen:
        seen.add(parent)
        thread = parent
    return thread
