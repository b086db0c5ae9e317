"""Marks what another source states of a call or thread: who logged or stored it better counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import polars as pl

from tallybook.derive.beside import beside, instead, mark, take_whose
from tallybook.derive.duplicates.forwarded import Pair, pairs
from tallybook.derive.duplicates.routes import (
    LONGEST_ANSWER_MS,
    OUTPUT,
    STORED,
    WHEN,
    at_answer,
    at_router,
    is_router,
)
from tallybook.derive.duplicates.silent_threads import Silent, silent_threads
from tallybook.derive.duplicates.workspaces import is_run
from tallybook.derive.problems import with_problems, without_problems
from tallybook.schema import (
    ASSUMED,
    AT_CLIENT,
    AT_ROUTER,
    CALL,
    COUNTED_KINDS,
    LOG,
    PROBABLY_SAME,
    WITNESS,
)

# Shorter ids are counters or test data; what a provider hands out to name one answer is longer.
_ID_LENGTH = 16
_FREE = pl.col("kind").is_in(COUNTED_KINDS) & pl.col("duplicate_of").is_null()
_MEASURED = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
)
_GIVERS = {"row": pl.get_index_type(), "giver": pl.get_index_type()}
_PAIRED = {
    "row": pl.get_index_type(),
    "_of": pl.get_index_type(),
    "_reason": pl.String,
    "_words": pl.String,
}
_TOLERANCE_MS: Final = 2_000
_BUCKETS: Final = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "unsplit_input_tokens",
)


def mark_stated_elsewhere(rows: pl.DataFrame) -> pl.DataFrame:
    """Marks free rows as duplicates for the reason `witness`, on proof by ids only.

    A thread that its own source's log counts call by call is not counted again where a program
    that drove it reports it (`log_source`); a run's sum may hold other threads as well. A call
    whose response id two sources state is counted where it is measured better. Equal numbers prove
    nothing.
    """
    return rows.pipe(_mark_threads).pipe(_mark_responses)


def _mark_threads(rows: pl.DataFrame) -> pl.DataFrame:
    if rows["log_source"].null_count() == rows.height:
        return rows
    own = _FREE & (pl.col("kind") == CALL) & (pl.col("evidence") == LOG) & ~is_router()
    logged = (own & pl.col("log_source").is_null()).fill_null(value=False)
    of = pl.concat_str("log_source", pl.lit(":"), "thread_id")
    # The thread's sub-agents name it as their root; what drove it may call another thread its root.
    names = (
        rows.select("source", "thread_id", "root_thread_id", _logged=logged)
        .filter("_logged")
        .unique()
    )
    known = {
        f"{source}:{name}" for source, *named, _ in names.iter_rows() for name in named if name
    }
    # What a router forwarded is paired call by call.
    is_thread = _FREE & ~is_router() & ~is_run()
    return mark(rows, is_thread & of.is_in(known).fill_null(value=False), of, WITNESS)


def _mark_responses(rows: pl.DataFrame) -> pl.DataFrame:
    """Of the calls that several sources state under one response id, keeps the best measured.

    The others lend it what they alone know: whose it is, and when it was.
    """
    usable = (
        _FREE & (pl.col("kind") == CALL) & (pl.col("response_id").str.len_chars() >= _ID_LENGTH)
    )
    ids = rows.select("source", pl.when(usable).then("response_id").alias("response_id"))
    # An id that one source gives to several calls names none of them.
    single = (pl.len() == pl.col("source").n_unique()) & (pl.len() > 1)
    stated = ids.drop_nulls("response_id").group_by("response_id").agg(single=single)
    several = stated.filter("single")["response_id"]
    if several.is_empty():
        return rows
    shared = rows.filter(usable, pl.col("response_id").is_in(several.implode()))
    winners = shared.pipe(_ranked, _disputed(rows))
    lost = pl.col("_winner").is_not_null() & (pl.col("_winner") != pl.col("call_id"))
    return (
        rows.pipe(_lend, _givers(winners))
        .pipe(_timed, winners)
        .pipe(beside, winners.select("row", "_winner"))
        .pipe(mark, lost.fill_null(value=False), pl.col("_winner"), WITNESS)
        .drop("_winner")
    )


def _givers(ranked: pl.DataFrame) -> pl.DataFrame:
    """For each winning row the first of the others that knows its thread."""
    won = ranked.filter(pl.col("_winner") == pl.col("call_id")).select("row", "response_id")
    knowing = ranked.filter(pl.col("thread_id").is_not_null()).select("response_id", giver="row")
    met = won.join(knowing, on="response_id", maintain_order="left_right")
    return met.unique("row", keep="first", maintain_order=True).select(list(_GIVERS))


def _timed(rows: pl.DataFrame, ranked: pl.DataFrame) -> pl.DataFrame:
    """The rows, those without a time with that of another record of the same response."""
    when = (
        ranked.join(rows.select("row", "timestamp"), on="row", maintain_order="left")
        .with_columns(_when=pl.col("timestamp").drop_nulls().first().over("response_id"))
        .filter(pl.col("timestamp").is_null() & pl.col("_when").is_not_null())
        .select("row", timestamp="_when")
    )
    is_timed = pl.col("row").is_in(when["row"].implode())
    return instead(rows, when).pipe(without_problems, is_timed, ["no-time"])


def _disputed(rows: pl.DataFrame) -> pl.DataFrame:
    """The response ids of which stored answers that are whole state different counts."""
    whole = pl.col("finished").fill_null(value=True) & pl.col("response_id").is_not_null()
    counts = pl.col(_MEASURED).drop_nulls().n_unique() > 1
    return (
        rows.filter(whole, pl.col("kind") == CALL, pl.col("source") == STORED)
        .group_by("response_id")
        .agg(counts.name.keep())
        .filter(pl.any_horizontal(_MEASURED))
        .select("response_id", _disputed=True)
    )


def _ranked(shared: pl.DataFrame, disputed: pl.DataFrame) -> pl.DataFrame:
    """The rows in the order of their worth, each with the call that wins its response id.

    A stored answer that another one contradicts proves nothing. A finished response beats one whose
    end was not seen, any counts beat mere zeros, a row that states more beats one that states less,
    a reading that is proved one that is assumed. Then comes the row that knows its thread, and the
    higher output.
    """
    stated = pl.sum_horizontal(pl.col(name).is_not_null().cast(pl.Int8) for name in _MEASURED)
    assumed = pl.any_horizontal(
        (pl.col(f"{name}_origin") == ASSUMED).fill_null(value=False) for name in _MEASURED
    )
    nothing = pl.sum_horizontal(_MEASURED) == 0  # zeros that no stream's end ever replaced
    ranks = (
        pl.col("_disputed").fill_null(value=False) & (pl.col("source") == STORED),
        ~pl.col("finished").fill_null(value=True),
        nothing,
        -stated,
        assumed,
        pl.col("thread_id").is_null(),
        -pl.col("output_tokens"),
        pl.col("source"),
        pl.col("row"),
    )
    return (
        shared.join(disputed, on="response_id", how="left")
        .sort(*ranks, nulls_last=True)
        .select(
            "row",
            "call_id",
            "response_id",
            "thread_id",
            _winner=pl.col("call_id").first().over("response_id"),
        )
    )


def mark_forwarded(rows: pl.DataFrame) -> pl.DataFrame:
    """Marks one of each two rows by which a router and its client tell of one call.

    The client's counts, unless it was shown others than the provider's; then the router's, with the
    client's thread and project. A thread that logged no counts yields to the router's rows as a
    whole. A stored answer of the call is one record of it more. `route_end` says of the calls that
    are left, and that may be one call all the same, which end of a route they are.
    """
    if rows["route"].null_count() == rows.height:
        return _with_ends(rows, pl.lit(value=True))
    rows = _with_pairs(rows.with_columns(_settled=pl.lit(value=False)))
    return rows.pipe(_with_ends, ~pl.col("_settled")).drop("_settled")


def _with_pairs(rows: pl.DataFrame) -> pl.DataFrame:
    found = pairs(rows)
    if found:
        givers = [(pair.router, pair.client) for pair in found]
        rows = rows.pipe(_lend, pl.DataFrame(givers, schema=_GIVERS, orient="row"))
        rows = _settle(rows, map(_loser, found))
    silent = silent_threads(rows)
    if silent:
        rows = _give_counts(rows, silent)
    stored = answered(rows)
    return _settle(rows, map(_lesser, stored)) if stored else rows


def _give_counts(rows: pl.DataFrame, silent: list[Silent]) -> pl.DataFrame:
    """Marks what has no counts where the router has them; its rows get the thread's names."""
    givers = [(row, each.yields[0][0]) for each in silent for row in each.lent]
    losers = [
        (row, router, PROBABLY_SAME if each.words else WITNESS, each.words)
        for each in silent
        for row, router in each.yields
    ]
    calls = {
        row: number
        for each in silent
        for (row, _), number in zip(each.yields, each.calls, strict=True)
    }
    routers = [row for each in silent for row in each.routers]
    rows = rows.pipe(_lend, pl.DataFrame(givers, schema=_GIVERS, orient="row"))
    return _settle(rows, losers).with_columns(
        calls=pl.col("row").replace_strict(calls, default=pl.col("calls"), return_dtype=pl.Int64),
        _settled=pl.col("_settled") | pl.col("row").is_in(routers),
    )


def _settle(rows: pl.DataFrame, losers: Iterable[tuple[int, int, str, str | None]]) -> pl.DataFrame:
    """Marks rows as duplicates of others: both rows, why, and what it rests on if not on proof."""
    paired = pl.DataFrame(list(losers), schema=_PAIRED, orient="row")
    named = rows.select(_of="row", _call=pl.coalesce("duplicate_of", "call_id"))
    winners = paired["_of"].implode()
    lost = pl.col("_call").is_not_null()
    return (
        beside(rows, paired.join(named, on="_of"))
        .pipe(with_problems, (PROBABLY_SAME, pl.col("_words").is_not_null()))
        .pipe(mark, lost, pl.col("_call"), pl.col("_reason"))
        .with_columns(
            detail=pl.coalesce("_words", "detail"),
            _settled=pl.col("_settled") | lost | pl.col("row").is_in(winners),
        )
        .drop("_call", "_of", "_reason", "_words")
    )


def _lesser(pair: Answered) -> tuple[int, int, str, None]:
    one, other = (pair.router, pair.answer) if pair.is_answer_better else (pair.answer, pair.router)
    return one, other, WITNESS, None


def _loser(pair: Pair) -> tuple[int, int, str, str | None]:
    """The row that does not count, that which does, why, and what that rests on."""
    one, other = pair.client, pair.router
    if not pair.is_router_better:
        one, other = other, one
    return one, other, PROBABLY_SAME if pair.words else WITNESS, pair.words


def _lend(rows: pl.DataFrame, givers: pl.DataFrame) -> pl.DataFrame:
    """Puts the client's thread, caller and project on a router's row that has no thread."""
    knows = rows["thread_id"].is_not_null()
    knowing, lacking = (rows["row"].filter(each).implode() for each in (knows, ~knows))
    return take_whose(
        rows, givers.filter(pl.col("giver").is_in(knowing), pl.col("row").is_in(lacking))
    )


def _with_ends(rows: pl.DataFrame, is_left: pl.Expr) -> pl.DataFrame:
    left = _FREE & is_left
    return rows.with_columns(
        route_end=pl.when(left & is_router())
        .then(pl.lit(AT_ROUTER))
        .when(left & pl.col("routed") & (pl.col("kind") == CALL) & (pl.col("evidence") == LOG))
        .then(pl.lit(AT_CLIENT))
    )


class Answered(NamedTuple):
    """A router's row and the answer that was stored; which of the two counts, where either may."""

    router: int
    answer: int
    is_answer_better: bool


def answered(rows: pl.DataFrame) -> list[Answered]:
    """The pairs of one model, prompt and output whose answer began before its row was written.

    Where several fit, the nearest in time: whichever it is, there is one call less than records.
    The row's own prompt may be a sum, or lack what was cached; then the answer knows better.
    """
    free = pl.col("duplicate_of").is_null()
    yielded = pl.col("duplicate_reason").is_in([WITNESS, PROBABLY_SAME])
    stored = (pl.col("kind") == CALL) & (pl.col("source") == STORED)
    if not rows.select(stored.any()).item():
        return []
    forwarded = at_router(rows.filter(free | yielded)).select(
        OUTPUT, WHEN, *_facts("r"), router="row", r_ms="_ms", yielded=~free
    )
    answers = at_answer(rows.filter(free)).select(
        OUTPUT, WHEN, *_facts("a"), answer="row", a_ms="_ms"
    )
    took = pl.col("r_ms") - pl.col("a_ms")
    one, other = pl.col("r_model"), pl.col("a_model")
    dash = pl.lit("-")
    same_model = (
        (one == other) | other.str.starts_with(one + dash) | one.str.starts_with(other + dash)
    )
    differs = pl.any_horizontal(
        pl.col(f"r_{name}").fill_null(0) != pl.col(f"a_{name}").fill_null(0) for name in _BUCKETS
    )
    edges = (
        forwarded.join(answers, on=[OUTPUT, WHEN])
        .filter(took.is_between(-_TOLERANCE_MS, LONGEST_ANSWER_MS), same_model)
        .filter(pl.col("r_input_tokens") == pl.col("a_input_tokens"))
        .select(
            "router",
            "answer",
            took.abs().alias("apart"),
            (differs & ~pl.col("yielded")).alias("is_better"),
        )
        .unique()
        .sort("apart", "router", "answer")
    )
    taken: dict[int, Answered] = {}
    rows_taken: set[int] = set()
    for router, answer, _, is_better in edges.iter_rows():
        if answer not in taken and router not in rows_taken:
            taken[answer] = Answered(router, answer, is_better)
            rows_taken.add(router)
    return list(taken.values())


def _facts(short: str) -> list[pl.Expr]:
    """The model without a vendor before it, and the prompt."""
    model = pl.col("model").str.replace(r"^.*/", "").str.to_lowercase().alias(f"{short}_model")
    return [model, *(pl.col(n).alias(f"{short}_{n}") for n in ("input_tokens", *_BUCKETS))]
