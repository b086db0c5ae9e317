"""Settles whose a row is where the answer stands elsewhere: the model ahead, the root thread."""

from __future__ import annotations

import polars as pl

from tallybook.schema import COUNTED_KINDS

_WHO = ("source", "thread_id")


def attribute(rows: pl.DataFrame) -> pl.DataFrame:
    """Fills `model` from the next record of the file that names one, `caller` and `root_thread_id`.

    Rows must be in the order of their files' records.
    """
    return rows.pipe(_with_model_ahead).pipe(_with_caller).pipe(with_root)


def _with_model_ahead(rows: pl.DataFrame) -> pl.DataFrame:
    if not rows["model_ahead"].any():
        return rows
    found = pl.col("model_ahead") & pl.col("model").is_null()
    ahead = pl.col("model").backward_fill().over("source", "path")
    return rows.with_columns(model=pl.when(found).then(ahead).otherwise(pl.col("model")))


def _with_caller(rows: pl.DataFrame) -> pl.DataFrame:
    lead = pl.col("kind").is_in(COUNTED_KINDS) & pl.col("caller").is_null()
    return rows.with_columns(caller=pl.when(lead).then(pl.lit("lead")).otherwise("caller"))


def with_root(rows: pl.DataFrame) -> pl.DataFrame:
    """The stated root, else the end of the chain of parents, else the thread itself.

    Each source has its own: what a program that drives a thread calls its root is not what the
    thread's own log does.
    """
    parent = pl.when(~pl.col("is_copy")).then(pl.coalesce("root_thread_id", "parent_thread_id"))
    said = rows.select(*_WHO, "root_thread_id", parent=parent)
    # A log says the same of all its rows.
    said = said.with_columns(stretch=pl.struct(pl.all()).rle_id())
    few = said.unique("stretch", keep="first", maintain_order=True).rows()
    parents: dict[tuple[str, str], str] = {}
    for source, thread, _, above, _ in few:
        if thread is not None and above is not None:  # of several that are stated the smallest
            parents[source, thread] = min(above, parents.get((source, thread), above))
    roots = [
        _end(source, thread, parents) if root is None else root
        for source, thread, root, _, _ in few
    ]
    found = pl.DataFrame({"root": pl.Series(roots, dtype=pl.String)})
    return rows.with_columns(root_thread_id=found[said["stretch"]]["root"])


def _end(source: str, thread: str | None, parents: dict[tuple[str, str], str]) -> str | None:
    seen = {thread}
    while thread is not None and (parent := parents.get((source, thread))) not in {None, *seen}:
        seen.add(parent)
        thread = parent
    return thread
