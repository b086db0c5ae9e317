"""Marks what another source states of a call or thread that one source measured better."""

from __future__ import annotations

import polars as pl

from tallybook.schema import ASSUMED, CALL, COUNTED_KINDS, LOG

# Shorter ids are counters or test data; what a provider hands out to name one answer is longer.
_ID_LENGTH = 16
_FREE = pl.col("kind").is_in(COUNTED_KINDS) & pl.col("duplicate_of").is_null()
_MEASURED = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
)


def mark_stated_elsewhere(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Marks free rows as duplicates for the reason `witness`, on proof by ids only.

    A thread that its own source's log counts call by call is not counted again where a program
    that drove it reports it (`log_source`). A call whose response id two sources state is counted
    where it is measured better. Equal numbers prove nothing.
    """
    return rows.pipe(_mark_threads).pipe(_mark_responses)


def _mark_threads(rows: pl.LazyFrame) -> pl.LazyFrame:
    own = _FREE & (pl.col("kind") == CALL) & (pl.col("evidence") == LOG)
    logged = (own & pl.col("log_source").is_null()).fill_null(value=False)
    of = pl.concat_str("log_source", pl.lit(":"), "thread_id")
    # The thread's sub-agents name it as their root; what drove it may call another thread its root.
    names = rows.filter(logged).select("source", "thread_id", "root_thread_id").unique().collect()
    known = {f"{source}:{name}" for source, *named in names.iter_rows() for name in named if name}
    return _mark(rows, _FREE & of.is_in(known).fill_null(value=False), of)


def _mark_responses(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Of the calls that several sources state under one response id, keeps the best measured."""
    usable = (
        _FREE & (pl.col("kind") == CALL) & (pl.col("response_id").str.len_chars() >= _ID_LENGTH)
    )
    # An id that one source gives to several calls names none of them.
    single = (pl.len() == pl.col("source").n_unique()).over("response_id")
    shared = rows.filter(usable).filter(single, pl.len().over("response_id") > 1)
    winners = shared.pipe(_ranked).select("row", _winner="winner")
    lost = pl.col("_winner").is_not_null() & (pl.col("_winner") != pl.col("call_id"))
    return (
        rows.join(winners, on="row", how="left", maintain_order="left")
        .pipe(_mark, lost.fill_null(value=False), pl.col("_winner"))
        .drop("_winner")
    )


def _ranked(shared: pl.LazyFrame) -> pl.LazyFrame:
    """Adds the call that wins each response id.

    A finished response beats one whose end was not seen, a row that states more beats one that
    states less, a reading that is proved one that is assumed. Then comes the row that knows its
    thread, and the higher output.
    """
    stated = pl.sum_horizontal(pl.col(name).is_not_null().cast(pl.Int8) for name in _MEASURED)
    assumed = pl.any_horizontal(
        (pl.col(f"{name}_origin") == ASSUMED).fill_null(value=False) for name in _MEASURED
    )
    ranks = (
        ~pl.col("finished").fill_null(value=True),
        -stated,
        assumed,
        pl.col("thread_id").is_null(),
        -pl.col("output_tokens"),
        pl.col("source"),
        pl.col("row"),
    )
    return shared.sort(*ranks, nulls_last=True).with_columns(
        winner=pl.col("call_id").first().over("response_id")
    )


def _mark(rows: pl.LazyFrame, when: pl.Expr, of: pl.Expr) -> pl.LazyFrame:
    return rows.with_columns(
        duplicate_of=pl.when(when).then(of).otherwise("duplicate_of"),
        duplicate_reason=pl.when(when).then(pl.lit("witness")).otherwise("duplicate_reason"),
    )
