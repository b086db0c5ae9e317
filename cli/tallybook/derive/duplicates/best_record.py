"""Which of the records of one call counts, and which is the original: copies and archives yield."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import polars as pl

from tallybook.derive.problems import has_problem
from tallybook.schema import EVIDENCE, LOG
from tallybook.sources import sources

_NEEDED: Final = (
    "row",
    "path",
    "evidence",
    "sidechain",
    "is_copy",
    "request_id",
    "output_tokens",
    "problems",
    "reported_cached_tokens",
    "reported_cache_creation_tokens",
    "model",
    "timestamp",
    "block_index",
    "finished",
    "record",
    "thread_id",
)


def several(rows: pl.DataFrame, which: pl.Expr) -> pl.DataFrame:
    """Those of the rows `which` holds for that are of one call, with what ranks them.

    Numbers stand in place of long texts: every window over them looks at each.
    """
    call = pl.when(which).then(pl.col("call_id").hash())
    numbered = rows.select(*_NEEDED, _call=call)
    return numbered.filter(pl.col("_call").is_not_null() & pl.col("_call").is_duplicated())


def judged(rows: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
    """The numbers of the rows that yield to another record of their call, and the `owners`.

    `rows` are those of `several`. Most records are followed in their file by one that is as good
    and later, to which they yield; of few calls more than one record is left to be ranked.
    """
    yields = rows.select(_yields_to_next()).to_series()
    left = rows["_call"].filter(~yields)
    again = left.filter(left.is_duplicated())
    if again.is_empty():
        return rows["row"].filter(yields), rows.clear().select("row", giver="row")
    is_open = rows["_call"].is_in(again.implode())
    ranked = rows.filter(is_open).with_columns(_path=pl.col("path").hash())
    won = _winners(ranked)
    is_lost = (yields | is_open) & ~rows["row"].is_in(won.implode())
    return rows["row"].filter(is_lost), _owners(ranked, won)


def _yields_to_next() -> pl.Expr:
    """Whether the next row is a record of the same call in the same place, and as good or better.

    As is the case in `_ranks`, where all but the last of them compare so.
    """
    alike = [
        each.eq_missing(each.shift(-1))
        for each in (
            pl.col("_call", "path", "thread_id", "sidechain", "is_copy", "evidence"),
            pl.col("model", "reported_cached_tokens", "reported_cache_creation_tokens").is_null(),
        )
    ]
    better = [
        pl.col(name).is_null() | (pl.col(name) <= pl.col(name).shift(-1)).fill_null(value=False)
        for name in ("output_tokens", "block_index", "finished")
    ]
    odd = pl.col("problems").list.len().fill_null(0)
    certain = (odd + odd.shift(-1)) == 0
    later = pl.col("record") < pl.col("record").shift(-1)
    return pl.all_horizontal(*alike, *better, certain, later).fill_null(value=False)


def _winners(rows: pl.DataFrame) -> pl.Series:
    """The row of the best witness of each call.

    Best evidence first. A sidechain that repeats a response of the main conversation under another
    request id is a replay with a prompt of its own. Among the rest the highest output is the final
    one; a certain reading beats one in doubt, a row that splits the prompt by cache one that does
    not, and one with its model one that lost what stood beside it; then the original beats the
    copy, and the later block the earlier.
    """
    return _sorted(rows, _ranks(rows)).unique("_call", keep="first", maintain_order=True)["row"]


def _owners(rows: pl.DataFrame, won: pl.Series) -> pl.DataFrame:
    """Of the rows that `won`, those that are copies, each with its `giver`, the original's row.

    The best witness gives the counts, but thread and caller are those where the response was made.
    """
    copied = rows.filter(pl.col("sidechain") | pl.col("is_copy"))
    copies = copied.filter(pl.col("row").is_in(won.implode())).select("row", "_call", "thread_id")
    if copies.is_empty():
        return copies.select("row", giver="row")
    related = rows.join(copies, on="_call", how="semi", maintain_order="left")
    first = (
        _sorted(related, [(_place(), False), *_originals(related)])
        .unique("_call", keep="first", maintain_order=True)
        .select("_call", giver="row", _thread="thread_id")
    )
    strayed = pl.col("thread_id").ne_missing(pl.col("_thread"))
    found = copies.join(first, on="_call", maintain_order="left").filter(strayed)
    return found.select("row", "giver")


_Rank = tuple[pl.Expr, bool]


def _sorted(rows: pl.DataFrame, ranks: Sequence[_Rank]) -> pl.DataFrame:
    """The rows by call, those of one by the ranks, of which most are the same for all."""
    names = [str(n) for n in range(len(ranks))]
    by = rows.select(each.alias(name) for name, (each, _) in zip(names, ranks, strict=True))
    differ = by.select(pl.all().ne_missing(pl.all().first()).any())
    telling = [each.name for each in differ if each.sum()]
    return rows.select("row", "_call", "thread_id", *by.select(telling)).sort(
        *("_call", *telling),
        descending=[False, *(ranks[int(name)][1] for name in telling)],
        nulls_last=True,
        maintain_order=True,
    )


def _place() -> pl.Expr:
    return pl.col("evidence").replace_strict({name: at for at, name in enumerate(EVIDENCE)})


def _originals(rows: pl.DataFrame) -> list[_Rank]:
    """The original before the copy: the main conversation, and what was there first."""
    first: list[_Rank] = []
    if rows["is_copy"].any():
        # Builds wrote a branch twice, the second time without the word that it is a copy.
        first = [(pl.col("is_copy").any().over("_call", "_path"), False)]
    if rows["_path"].n_unique() == 1:
        return [*first, (pl.col("sidechain"), False)]
    return [
        *first,
        (pl.col("sidechain"), False),
        (pl.col("timestamp").min().over("_call", "_path"), False),
        # An archived file yields to one that is still in its place.
        (_is_archived(), False),
        (pl.col("path"), False),
    ]


def _ranks(rows: pl.DataFrame) -> list[_Rank]:
    """What rows of one call are sorted by, and whether the highest comes first."""
    splits = (
        pl.col("reported_cached_tokens").is_not_null()
        | pl.col("reported_cache_creation_tokens").is_not_null()
    )
    return [
        (_place(), False),
        *([(_is_replay(), False)] if rows["sidechain"].any() else []),
        (pl.col("output_tokens"), True),
        (has_problem("ambiguous-dialect"), False),
        (splits, True),
        (pl.col("model").is_not_null(), True),
        *_originals(rows),
        (pl.col("block_index"), True),
        (pl.col("finished"), True),
        (pl.col("record"), True),
    ]


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
