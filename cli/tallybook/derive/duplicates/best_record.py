"""Which of the records of one call counts, and which is the original: copies and archives yield."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import polars as pl

from tallybook.derive.problems import has_problem
from tallybook.schema import EVIDENCE, LOG
from tallybook.sources import sources

_PLACE: Final = ("path", "thread_id", "sidechain", "is_copy")
_NEEDED: Final = (
    "row",
    "call_id",
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

    Numbers stand in place of long texts. `_is_spread`: not all records of the call lie in the same
    file and thread, and as originals.
    """
    call = pl.when(which).then(pl.col("call_id").hash())
    numbered = rows.select(*_NEEDED, _call=call)
    found = numbered.filter(pl.col("_call").is_not_null() & pl.col("_call").is_duplicated())
    place = found.select("_call", _place=found.select(_PLACE).hash_rows()).group_by("_call")
    ends = place.agg(first=pl.col("_place").min(), last=pl.col("_place").max())
    spread = ends.filter(pl.col("first") != pl.col("last"))["_call"]
    return found.with_columns(_is_spread=pl.col("_call").is_in(spread.implode()))


def winners(rows: pl.DataFrame) -> pl.DataFrame:
    """Each `row`, and as `_winner` that of the best witness of its call.

    Best evidence first. A sidechain that repeats a response of the main conversation under another
    request id is a replay with a prompt of its own. Among the rest the highest output is the final
    one; a certain reading beats one in doubt, a row that splits the prompt by cache one that does
    not, and one with its model one that lost what stood beside it; then the original beats the
    copy, and the later block the earlier.
    """
    spread = _numbered(rows.filter("_is_spread"))
    ordered = [
        _sorted(spread, _ranks([_is_replay()], _originals(spread))),
        _sorted(rows, _ranks(), ~pl.col("_is_spread")),
    ]
    is_first = pl.col("_call").ne_missing(pl.col("_call").shift())
    return pl.concat(
        each.select("row", _winner=pl.when(is_first).then("row").forward_fill()) for each in ordered
    )


def owners(rows: pl.DataFrame, won: pl.Series) -> pl.DataFrame:
    """Of the rows that `won`, those that are copies, each with its `_owner`, the original's row.

    The best witness gives the counts, but thread and caller are those where the response was made.
    """
    copied = rows.filter("_is_spread", pl.col("sidechain") | pl.col("is_copy"))
    copies = copied.filter(pl.col("row").is_in(won.implode())).select("row", "_call", "thread_id")
    if copies.is_empty():
        return copies.select("row", _owner="row")
    related = _numbered(rows.join(copies, on="_call", how="semi", maintain_order="left"))
    first = (
        _sorted(related, [(_place(), False), *_originals(related)])
        .unique("_call", keep="first", maintain_order=True)
        .select("_call", _owner="row", _thread="thread_id")
    )
    strayed = pl.col("thread_id").ne_missing(pl.col("_thread"))
    found = copies.join(first, on="_call", maintain_order="left").filter(strayed)
    return found.select("row", "_owner")


def _numbered(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with a number for their path."""
    return rows.with_columns(_path=pl.col("path").hash())


_Rank = tuple[pl.Expr, bool]


def _sorted(
    rows: pl.DataFrame, ranks: Sequence[_Rank], which: pl.Expr | None = None
) -> pl.DataFrame:
    """The rows (of `which`) by call, those of one by the ranks, most of which are alike for all."""
    names = [str(n) for n in range(len(ranks))]
    by = rows.select(
        *("row", "_call", "thread_id", "_is_spread"),
        *(expression.alias(name) for name, (expression, _) in zip(names, ranks, strict=True)),
    )
    by = by if which is None else by.filter(which)
    differ = by.select(pl.col(names).ne_missing(pl.col(names).first()).any())
    telling = [each.name for each in differ if each.sum()]
    return by.select("row", "_call", "thread_id", *telling).sort(
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


def _ranks(replays: Sequence[pl.Expr] = (), originals: Sequence[_Rank] = ()) -> list[_Rank]:
    """What rows of one call are sorted by, and whether the highest comes first."""
    splits = (
        pl.col("reported_cached_tokens").is_not_null()
        | pl.col("reported_cache_creation_tokens").is_not_null()
    )
    return [
        (_place(), False),
        *((each, False) for each in replays),
        (pl.col("output_tokens"), True),
        (has_problem("ambiguous-dialect"), False),
        (splits, True),
        (pl.col("model").is_not_null(), True),
        *originals,
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
