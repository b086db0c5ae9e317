"""Which of the records of one call counts, and which is the original: copies and archives yield."""

from __future__ import annotations

import re

import polars as pl

from tallybook.schema import EVIDENCE, LOG
from tallybook.sources import sources


def winners(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Adds `_winner`: of the rows with one `call_id` the `row` of the best witness.

    Best evidence first. A sidechain that repeats a response of the main conversation under another
    request id is a replay with a prompt of its own. Among the rest the highest output is the final
    one; a certain reading beats one in doubt, a row that splits the prompt by cache one that does
    not, and one with its model one that lost what stood beside it; then the original beats the
    copy, and the later block the earlier.
    """
    by, descending = zip(*_ranks(), strict=True)
    return (
        _numbered(rows)
        .sort("_call", *by, descending=[False, *descending], nulls_last=True, maintain_order=True)
        .with_columns(_winner=pl.col("row").first().over("_call"))
    )


def owners(rows: pl.LazyFrame, won: pl.DataFrame) -> pl.DataFrame:
    """Of the rows that `won`, those that are copies, each with its `_owner`, the original's row.

    The best witness gives the counts, but thread and caller are those where the response was made.
    """
    copies = (
        rows.filter(pl.col("row").is_in(won["row"].implode()))
        .filter(pl.col("sidechain") | pl.col("is_copy"))
        .select("row", "call_id", "thread_id")
        .collect()
    )
    if copies.is_empty():
        return copies.select("row", _owner="row")
    by, descending = zip(*((_place(), False), *_originals()), strict=True)
    first = (
        _numbered(rows.join(copies.lazy(), on="call_id", how="semi"))
        .sort("_call", *by, descending=[False, *descending], nulls_last=True, maintain_order=True)
        .group_by("call_id", maintain_order=True)
        .agg(_owner=pl.col("row").first(), _thread=pl.col("thread_id").first())
    )
    strayed = pl.col("thread_id").ne_missing(pl.col("_thread"))
    found = copies.lazy().join(first, on="call_id").filter(strayed)
    return found.select("row", "_owner").collect()


def _numbered(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Numbers in place of long texts: every window over them looks at each."""
    return rows.with_columns(
        _call=pl.col("call_id").cast(pl.Categorical).to_physical(),
        _path=pl.col("path").cast(pl.Categorical).to_physical(),
    )


def _place() -> pl.Expr:
    return pl.col("evidence").replace_strict({name: at for at, name in enumerate(EVIDENCE)})


def _originals() -> tuple[tuple[pl.Expr, bool], ...]:
    """The original before the copy: the main conversation, and what was there first."""
    return (
        # Builds wrote a branch twice, the second time without the word that it is a copy.
        (pl.col("is_copy").any().over("_call", "_path"), False),
        (pl.col("sidechain"), False),
        (pl.col("timestamp").min().over("_call", "_path"), False),
        # An archived file yields to one that is still in its place.
        (_is_archived(), False),
        (pl.col("path"), False),
    )


def _ranks() -> tuple[tuple[pl.Expr, bool], ...]:
    """What rows of one call are sorted by, and whether the highest comes first."""
    splits = (
        pl.col("reported_cached_tokens").is_not_null()
        | pl.col("reported_cache_creation_tokens").is_not_null()
    )
    doubtful = pl.col("problems").list.contains("ambiguous-dialect").fill_null(value=False)
    return (
        (_place(), False),
        (_is_replay(), False),
        (pl.col("output_tokens"), True),
        (doubtful, False),
        (splits, True),
        (pl.col("model").is_not_null(), True),
        *_originals(),
        (pl.col("block_index"), True),
        (pl.col("finished"), True),
        (pl.col("record"), True),
    )


def _is_archived() -> pl.Expr:
    """Whether a file or a folder of the path is named as those that a source puts away."""
    named = sorted({re.escape(name) for each in sources().values() for name in each.archives})
    return pl.col("path").str.contains(rf"[/\\](?:{'|'.join(named)})")


def _is_replay() -> pl.Expr:
    main = ~pl.col("sidechain") & (pl.col("evidence") == LOG)
    main_request = pl.col("request_id").filter(main).first().over("_call")
    return (
        pl.col("sidechain")
        & main.any().over("_call")
        & pl.col("request_id").ne_missing(main_request)
    )
