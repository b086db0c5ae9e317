"""Counts what a client logged without counts by what its own total leaves to it."""

from __future__ import annotations

from typing import Final

import polars as pl

from tallybook.derive.beside import beside, instead, mark
from tallybook.derive.corrections import at_begin
from tallybook.derive.duplicates.deduplicate import is_compaction
from tallybook.derive.normalize import normalize
from tallybook.derive.problems import with_problems, without_problems
from tallybook.derive.reconcile import ASSERTED, asserted, by_either_model, is_counted
from tallybook.schema import (
    ASSERTION,
    BROKEN_OFF,
    BUCKETS,
    CALL,
    COMPACTED,
    COUNTED_KINDS,
    IN_SUM,
    PLACEHOLDER_OUTPUT,
    SAID_OF_COUNTED,
    SUBCOUNTS,
    SUM,
)

_WHO: Final = ("source", "thread")
_KEY: Final = (*_WHO, "model")
_ONE_HOUR: Final = "cache_creation_1h_input_tokens"
# Each count of a total with the column that a record states it in.
_STATED: Final = {
    "uncached_input_tokens": "reported_input_tokens",
    "cached_input_tokens": "reported_cached_tokens",
    "cache_creation_input_tokens": "reported_cache_creation_tokens",
    "output_tokens": "reported_output_tokens",
    _ONE_HOUR: "reported_cache_creation_1h_tokens",
}
_FIVE_MINUTES: Final = "reported_cache_creation_5m_tokens"
_WHOLE: Final = tuple(_STATED)[:4]
_PROMPT: Final = _WHOLE[:3]
_WRITTEN: Final = _PROMPT[-1]
_FREE: Final = pl.col("duplicate_of").is_null()
_RENEWED: Final = (
    *_STATED.values(),
    _FIVE_MINUTES,
    "difference",
    "kind",
    "calls",
    *(name for bucket in (*BUCKETS, *SUBCOUNTS) for name in (bucket, f"{bucket}_origin")),
    "input_tokens",
    "total_tokens",
)


def settle_without_counts(rows: pl.DataFrame) -> pl.DataFrame:
    """Gives the last such call of a conversation and model what the client's total has beyond it.

    These are compactions, and answers that broke off before a line of them was written. The total
    holds whatever else the client asked for and did not log, such as side questions. So what it
    leaves is a sum, of nobody knows how many calls, and the earlier ones are in it. It must hold
    the context that was shortened: a process that was killed leaves its calls out of the total,
    which then leaves too little. Of an answer that broke off the client knows no more of the output
    than had come.
    """
    if not rows["running"].any():  # most clients save no total
        return rows
    made = rows.select(
        "row", "source", "path", "call_id", "model", "context_tokens",
        thread="root_thread_id", broken_off=~is_compaction(),
        _is_made=_FREE & (pl.col("kind") == CALL) & _is_open(),
    ).filter("_is_made")  # fmt: skip
    found = made.drop("_is_made").drop_nulls(["model", "thread"])
    if found.is_empty():
        return rows
    rests = _rests(rows, found)
    if rests.is_empty():
        return rows
    sums = found.join(rests, on="row", how="semi").select(*_KEY, _of="call_id")
    others = found.join(rests, on="row", how="anti").join(sums, on=_KEY)
    return rows.pipe(_with_rests, rests).pipe(_in_the_sums, others.select("row", "_of"))


def _is_open() -> pl.Expr:
    """A call of which the log says that it was made, and no counts."""
    begins = [pl.col("identity").str.starts_with(each) for each in (COMPACTED, BROKEN_OFF)]
    return pl.any_horizontal(begins).fill_null(value=False)


def _rests(rows: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """What totals leave: the `row` that takes it, _KEY, the counts of _STATED, `broken_off`."""
    last = found.group_by(_KEY).agg(
        pl.col("row").max(),
        pl.col("path").last(),
        pl.col("broken_off").any(),
        needed=pl.col("context_tokens").sum(),
    )
    totals = (
        _totals(rows, found)
        .join(last, on=(*_KEY, "path"))
        .filter(pl.col("stated_at") > pl.col("row"))
    )
    given = ("row", *_KEY, *_STATED, "broken_off")
    if totals.is_empty():  # most clients save none
        return totals.select(given)
    within = rows.with_columns(thread="root_thread_id").join(totals, on=_WHO, how="semi")
    return (
        totals.join(_whole_threads(within), on=_WHO)
        .join(_sums(within), on=_KEY, how="left")
        .with_columns(pl.col(name) - _counted(name) for name in _STATED)
        .with_columns(pl.when(pl.col(_ONE_HOUR).is_between(0, _WRITTEN)).then(_ONE_HOUR))
        .filter(
            *(pl.col(name) >= 0 for name in _WHOLE),
            pl.sum_horizontal(_PROMPT) >= pl.max_horizontal("needed", 1),
        )
        .select(given)
    )


def _counted(name: str) -> pl.Expr:
    """What the calls on record come to; null where one of them does not state it."""
    return pl.when(pl.col("calls_on_record").is_not_null()).then(f"counted_{name}").otherwise(0)


def _totals(rows: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """The last total that a client saved of each conversation and model, and where it stands.

    Of the conversations of `found`, that is.
    """
    is_saved = (pl.col("kind") == ASSERTION) & pl.col("running") & pl.col("model").is_not_null()
    named = ("row", "path", _ONE_HOUR, *ASSERTED)
    saved = rows.select(*named, thread="root_thread_id", _is_saved=is_saved).filter("_is_saved")
    held = saved.join(found, on=_WHO, how="semi").select(named)
    several = held.group_by("source", "thread_id", "model").agg(
        _one=pl.col("series").n_unique() == 1
    )
    return (
        asserted(held.select("row", *ASSERTED))
        .join(held.select("row", "path", _ONE_HOUR), on="row")
        .join(several.rename({"thread_id": "thread"}), on=_KEY)
        .with_columns(pl.when("_one").then(_ONE_HOUR).alias(_ONE_HOUR))
        .rename({"row": "stated_at"})
        .drop("_one")
    )


def _whole_threads(rows: pl.DataFrame) -> pl.DataFrame:
    """The conversations of which nothing else is unknown.

    One that begins with another's, or whose calls another program may have logged too, is none.
    """
    unknown = at_begin() | pl.any_horizontal(pl.col(name).is_null() for name in _WHOLE)
    is_call = _FREE & pl.col("kind").is_in(COUNTED_KINDS) & ~_is_open()
    odd = pl.col("is_copy") | (is_call & (unknown | pl.col("routed")))
    return rows.group_by(_WHO).agg(odd=odd.any()).filter(~pl.col("odd")).drop("odd")


def _sums(rows: pl.DataFrame) -> pl.DataFrame:
    """What the calls of each conversation and model come to; null where one does not state it."""
    calls = rows.filter(is_counted(), pl.col("kind").is_in([CALL, SUM]), ~_is_open())
    known = [
        pl.when(pl.col(name).is_not_null().all()).then(pl.col(name).sum()).alias(f"counted_{name}")
        for name in _STATED
    ]
    return calls.pipe(by_either_model).group_by(_KEY).agg(known, calls_on_record=pl.len())


def _with_rests(rows: pl.DataFrame, rests: pl.DataFrame) -> pl.DataFrame:
    """Puts the rests in place of what was not stated, split into buckets as every count is."""
    given = rests.select(
        "row", *(pl.col(name).alias(f"_{name}") for name in _STATED), _begun="broken_off"
    )
    written, long = (pl.col(f"_{name}") for name in (_WRITTEN, _ONE_HOUR))
    anew = (
        rows.join(given, on="row", how="inner")
        .with_columns(
            *(pl.col(f"_{name}").alias(column) for name, column in _STATED.items()),
            (written - long).alias(_FIVE_MINUTES),
            kind=pl.lit(SUM),
            calls=pl.lit(None, pl.Int64),
            difference=pl.lit(value=True),
        )
        .pipe(normalize)
    )
    is_rest, is_begun = (
        pl.col("row").is_in(some["row"].implode()) for some in (anew, anew.filter("_begun"))
    )
    return (
        instead(rows, anew.select("row", *_RENEWED))
        .pipe(without_problems, is_rest, SAID_OF_COUNTED)
        .pipe(with_problems, ("uncounted-calls", is_rest), (PLACEHOLDER_OUTPUT, is_begun))
    )


def _in_the_sums(rows: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """The rows, of which `held`, each with the sum that it is `_of`, are no calls of their own."""
    is_held = pl.col("_of").is_not_null()
    return (
        beside(rows, held)
        .pipe(without_problems, is_held, SAID_OF_COUNTED)
        .pipe(mark, is_held, pl.col("_of"), IN_SUM)
        .drop("_of")
    )
