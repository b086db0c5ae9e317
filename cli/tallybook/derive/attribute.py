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
    stated = ("root_thread_id", "parent_thread_id")
    parent = pl.when(~pl.col("is_copy")).then(pl.coalesce(stated))
    said = rows.select(*_WHO, "root_thread_id", parent=parent)
    # A log says the same of all its rows.
    stretch = said.select(pl.struct(pl.all()).rle_id()).to_series()
    few = said[stretch.arg_unique()]
    roots = few.join(_roots(few), on=_WHO, how="left", maintain_order="left")
    root = roots.select(pl.coalesce("root_thread_id", "root", "thread_id")).to_series()
    return rows.with_columns(root_thread_id=root.gather(stretch))


def _roots(said: pl.DataFrame) -> pl.DataFrame:
    """`root` by source and thread, where it is another than the thread."""
    links = said.select(*_WHO, "parent").drop_nulls(["thread_id", "parent"]).unique()
    links = links.sort("thread_id", "parent", descending=True)
    # Sorted downwards and written over, the smallest of several stated parents wins every time.
    parents = {(source, thread): parent for source, thread, parent in links.iter_rows()}
    ends = ((*who, _end(*who, parents)) for who in parents)
    found = [(source, thread, end) for source, thread, end in ends if end != thread]
    return pl.DataFrame(found, schema=dict.fromkeys([*_WHO, "root"], pl.String), orient="row")


def _end(source: str, thread: str, parents: dict[tuple[str, str], str]) -> str:
    seen = {thread}
    while (parent := parents.get((source, thread))) is not None and parent not in seen:
        seen.add(parent)
        thread = parent
    return thread
