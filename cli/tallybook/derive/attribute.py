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
    roots = _roots(rows)
    if roots.is_empty():
        return rows.with_columns(root_thread_id=pl.coalesce("root_thread_id", "thread_id"))
    found = rows.select(*_WHO).join(roots, on=_WHO, how="left", maintain_order="left")["root"]
    return rows.with_columns(root_thread_id=pl.coalesce("root_thread_id", found, "thread_id"))


def _roots(rows: pl.DataFrame) -> pl.DataFrame:
    """`root` by source and thread, where it is another than the thread."""
    stated = ("root_thread_id", "parent_thread_id")
    parent = pl.when(~pl.col("is_copy")).then(pl.coalesce(stated))
    links = rows.select(*_WHO, parent=parent)
    # A log says the same of all its rows.
    is_new = pl.any_horizontal(pl.all().ne_missing(pl.all().shift()))
    links = links.filter(pl.col("parent").is_not_null() & is_new).drop_nulls("thread_id").unique()
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
