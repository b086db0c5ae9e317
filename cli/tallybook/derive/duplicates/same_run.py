"""Of several kinds of records of one run, all by the tool that ran it, finds those that count."""

from __future__ import annotations

import polars as pl

from tallybook.schema import LOG, RUN_RECORDS, SNAPSHOT, SUMMARY, TRANSCRIPT

TELLING = (TRANSCRIPT, SUMMARY, SNAPSHOT)
# Whose rows together are one telling of a run; of the others each row is one.
_LISTS = (LOG, TRANSCRIPT)


def lesser_records_of_run(rows: pl.DataFrame) -> pl.DataFrame:
    """Columns `row` and `run` of the rows whose telling of a run yields to a better one.

    `rows` are those that count so far, no call of them twice. Better is the telling that has more
    output, for counters of a run can miss what they did not see but never add to it; then the one
    that splits the input; then the better evidence. It counts as a whole: rows of two tellings are
    never mixed.
    """
    told = _told(rows)
    if told.is_empty():
        return told.select("row", run="root_thread_id")
    groups = (
        told.pipe(_with_run)
        .filter(pl.col("run").is_not_null())
        .filter(pl.col("evidence").is_in(TELLING).any().over("source", "run"))
        .with_columns(
            telling=pl.when(pl.col("evidence").is_in(_LISTS))
            .then(pl.concat_str("evidence", pl.col("parent_thread_id").fill_null("")))
            .otherwise(pl.coalesce("series", "call_id"))
        )
    )
    best = _best(groups)
    return (
        groups.join(best, on=["source", "run"])
        .filter(pl.col("telling") != pl.col("best"))
        .select("row", "run")
    )


def _told(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the sources that keep more than one kind of record of a run."""
    several = pl.col("evidence").is_in(TELLING).any().over("source")
    splits = (
        pl.col("reported_cached_tokens").is_not_null()
        | pl.col("reported_cache_creation_tokens").is_not_null()
    )
    return rows.filter(pl.col("evidence").is_in(RUN_RECORDS) & several).select(
        "row",
        "source",
        "root_thread_id",
        "parent_thread_id",
        "thread_id",
        "call_id",
        "series",
        "evidence",
        "output_tokens",
        # In a log it is a chain of records, which says nothing of runs.
        chain_id=pl.when(pl.col("evidence").is_in(TELLING)).then("chain_id"),
        splits=splits,
    )


def _with_run(told: pl.DataFrame) -> pl.DataFrame:
    """Adds `run`, one name for all rows of a run.

    A run that a row names as its thread's parent is believed. Rows that name none are tied to one
    by what they were begun for and when (`chain_id`), else by their thread, whose root is the run
    where another row says so.
    """
    named = pl.col("root_thread_id").ne_missing(pl.col("thread_id"))
    begun = (
        told.filter(pl.col("chain_id").is_not_null())
        .sort("parent_thread_id", ~named, "root_thread_id", nulls_last=True)
        .group_by("source", "chain_id", maintain_order=True)
        .agg(_begun=pl.coalesce("parent_thread_id", "root_thread_id").drop_nulls().first())
    )
    return told.join(begun, on=["source", "chain_id"], how="left").with_columns(
        run=pl.coalesce("parent_thread_id", "_begun", "root_thread_id")
    )


def _best(groups: pl.DataFrame) -> pl.DataFrame:
    rank = pl.col("evidence").replace_strict(
        {evidence: place for place, evidence in enumerate(RUN_RECORDS)}, return_dtype=pl.Int64
    )
    output = pl.col("output_tokens")
    return (
        groups.group_by("source", "run", "telling")
        .agg(
            pl.when(output.is_not_null().any()).then(output.sum()).alias("output"),
            pl.col("splits").all(),
            rank.min().alias("rank"),
        )
        .sort(
            "output",
            "splits",
            "rank",
            "telling",
            descending=[True, True, False, False],
            nulls_last=True,
        )
        .group_by("source", "run", maintain_order=True)
        .agg(best=pl.col("telling").first())
    )
