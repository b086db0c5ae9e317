"""Decides which rows are the same call and marks all but one of them; no row is ever removed."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from tallybook.history import replayed
from tallybook.normalize import add_problem
from tallybook.reuse import reused_identities
from tallybook.schema import (
    BEFORE_TURN,
    CALL,
    CAPTURE_LINE,
    CAPTURE_TOTAL,
    COPY,
    COUNTED_KINDS,
    EVIDENCE,
    INHERITED,
    LOG,
    SUM,
    THREAD,
)
from tallybook.witness import mark_witnesses

_COUNTED = pl.col("kind").is_in(COUNTED_KINDS)
_FREE = _COUNTED & pl.col("duplicate_of").is_null()


def deduplicate(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Adds `call_id`, `duplicate_of` (null: the row counts) and `duplicate_reason`.

    `rows` are in the order of their files' records and carry a unique `row`. Identity never
    contains a path, so copies of a file in another folder change nothing but the duplicates.
    """
    rows = rows.with_columns(
        duplicate_of=pl.lit(None, dtype=pl.String), duplicate_reason=pl.lit(None, dtype=pl.String)
    ).pipe(_with_call_id)
    stages: tuple[Callable[[pl.LazyFrame], pl.LazyFrame], ...] = (
        _mark_repeats,
        _mark_replayed_history,
        _mark_same_call,
        _mark_captures,
        mark_witnesses,
        _mark_threads_with_counts,
    )
    for stage in stages:
        rows = stage(rows).collect().lazy()
    return rows.pipe(_flag)


def _with_call_id(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Names the call a row speaks of: the log's identity, else the place in the thread's counters.

    A row with neither is known by its thread, record, time and counts, so that a copy of the whole
    file is still recognised.
    """
    rows = rows.pipe(_with_shared_records).pipe(reused_identities)
    counters = ("source", "thread_id", "segment_id", "sequence")
    # The same counter state can come back after a reset; the nth time in one file is one call.
    times = pl.int_range(pl.len()).over("path", *counters)
    counter = pl.concat_str(
        pl.col("thread_id").fill_null("?"),
        pl.concat_str(pl.lit(":"), "segment_id").fill_null(""),
        pl.lit(":"),
        "sequence",
        pl.when(times > 0).then(pl.format(".{}", times)).otherwise(pl.lit("")),
    )
    content = pl.concat_str(
        [
            pl.col(name).cast(pl.String).fill_null("")
            for name in (
                "thread_id",
                "kind",
                "record",
                "part",
                "series",
                "timestamp",
                "model",
                "input_tokens",
                "output_tokens",
            )
        ],
        separator="/",
    )
    thread = pl.when(pl.col("kind") == THREAD).then(pl.concat_str(pl.lit("thread:"), "thread_id"))
    key = pl.coalesce(thread, "identity", counter, content)
    return rows.with_columns(call_id=pl.concat_str("source", pl.lit(":"), key))


def _with_shared_records(rows: pl.LazyFrame) -> pl.LazyFrame:
    """A record keeps its own id when it is copied, whatever other ids the copy was given."""
    shared = pl.col("identity").min().over("source", "record_id", "part")
    found = pl.col("record_id").is_not_null() & pl.col("identity").is_not_null()
    return rows.with_columns(identity=pl.when(found).then(shared).otherwise("identity"))


def _mark(rows: pl.LazyFrame, when: pl.Expr, of: pl.Expr, reason: pl.Expr | str) -> pl.LazyFrame:
    why = pl.lit(reason) if isinstance(reason, str) else reason
    return rows.with_columns(
        duplicate_of=pl.when(when).then(of).otherwise("duplicate_of"),
        duplicate_reason=pl.when(when).then(why).otherwise("duplicate_reason"),
    )


def _mark_repeats(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Rows whose reader saw that they say again what the last call of the file said."""
    said = pl.when(pl.col("repeat").is_null() & _COUNTED).then("call_id")
    last = pl.coalesce(said.forward_fill().over("source", "path"), "call_id")
    return _mark(rows, _FREE & pl.col("repeat").is_not_null(), last, pl.col("repeat"))


def _mark_replayed_history(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Rows that a fork or sub-agent copied from its parent; the parent's file counts them."""
    verdicts = replayed(rows)
    if verdicts.is_empty():
        return rows
    copied = rows.select(copied_row="row", _copied="call_id")
    joined = rows.join(verdicts.lazy(), on="row", how="left", maintain_order="left").join(
        copied, on="copied_row", how="left", maintain_order="left"
    )
    is_replay = pl.col("owner_is_read").is_not_null()
    of = pl.coalesce(
        "_copied",
        pl.when(pl.col("identity").is_not_null()).then("call_id"),
        pl.concat_str("source", pl.lit(":"), pl.col("owner").fill_null("?")),
    )
    orphan = is_replay & ~pl.col("owner_is_read")
    first = orphan & (orphan.cum_sum().over("source", "path") == 1)
    return (
        joined.with_columns(problems=add_problem(("parent-missing", first)))
        .pipe(_mark, _FREE & is_replay, of, "replayed-history")
        .pipe(_mark_replayed_repeats)
        .drop("_copied", "copied_row", "owner", "owner_is_read")
    )


def _mark_replayed_repeats(rows: pl.LazyFrame) -> pl.LazyFrame:
    """What repeats a replayed row is replayed as well."""

    def last(column: str) -> pl.Expr:
        stated = pl.when(pl.col("repeat").is_null() & _COUNTED).then(pl.col(column).fill_null(""))
        return stated.forward_fill().over("source", "path")

    replayed_before = last("duplicate_reason") == "replayed-history"
    inherited = pl.col("history").is_in([BEFORE_TURN, INHERITED])
    repeats = pl.col("repeat").is_not_null() & inherited & replayed_before
    return _mark(rows, repeats.fill_null(value=False), last("duplicate_of"), "replayed-history")


def _mark_same_call(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Of the free rows with one call id, keeps the best witness as a whole row, never a mix."""
    order = rows.filter(_FREE).pipe(_ranked).select("row", "_winner")
    lost = _FREE & (pl.col("row") != pl.col("_winner"))
    reason = (
        pl.when(pl.col("sequence").is_not_null())
        .then(pl.lit("same-record"))
        .otherwise(pl.lit("same-response"))
    )
    return (
        rows.join(order, on="row", how="left", maintain_order="left")
        .pipe(_mark, lost.fill_null(value=False), pl.col("call_id"), reason)
        .drop("_winner")
    )


def _ranked(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Adds the row that wins each call.

    Best evidence first. A sidechain that repeats a response of the main conversation under another
    request id is a replay with a prompt of its own. Among the rest the highest output is the final
    one; a row that splits the prompt by cache beats one that does not, and one with its model one
    that lost what stood beside it; then the original beats the copy, and the later block the
    earlier.
    """
    main = ~pl.col("sidechain") & (pl.col("evidence") == LOG)
    main_request = pl.col("request_id").filter(main).first().over("call_id")
    replay = (
        pl.col("sidechain")
        & main.any().over("call_id")
        & pl.col("request_id").ne_missing(main_request)
    )
    splits = (
        pl.col("reported_cached_tokens").is_not_null()
        | pl.col("reported_cache_creation_tokens").is_not_null()
    )
    ranks = (
        pl.col("evidence").replace_strict(dict(zip(EVIDENCE, range(4), strict=True))),
        replay,
        pl.col("output_tokens"),
        splits,
        pl.col("model").is_not_null(),
        # Builds wrote a branch twice, the second time without the word that it is a copy.
        pl.col("is_copy").any().over("call_id", "path"),
        pl.col("sidechain"),
        pl.col("timestamp").min().over("call_id", "path"),
        # An archived file yields to one that is still in its place.
        pl.col("path").str.contains(r"[/\\]archived_"),
        pl.col("path"),
        pl.col("block_index"),
        pl.col("finished"),
        pl.col("record"),
    )
    downwards = [
        False,
        False,
        True,
        True,
        True,
        False,
        False,
        False,
        False,
        False,
        True,
        True,
        True,
    ]
    return (
        rows.sort(*ranks, descending=downwards, nulls_last=True)
        .with_columns(_winner=pl.col("row").first().over("call_id"))
        .sort("row")
    )


def _is_capture(column: str) -> pl.Expr:
    return pl.col(column).is_in([CAPTURE_TOTAL, CAPTURE_LINE])


def _mark_captures(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Saved standard output of a thread yields to the thread's own log, lines yield to totals.

    A total that is stated once for the run, not per model, yields to the lines.
    """
    thread = pl.coalesce("root_thread_id", "thread_id")

    def has(condition: pl.Expr) -> pl.Expr:
        return (_FREE & condition).any().over("source", thread)

    line, total = pl.col("evidence") == CAPTURE_LINE, pl.col("evidence") == CAPTURE_TOTAL
    better = (
        pl.when(
            _is_capture("evidence") & has((pl.col("evidence") == LOG) & (pl.col("kind") == CALL))
        )
        .then(True)
        .when(line & has(total & pl.col("running")))
        .then(True)
        .when(total & ~pl.col("running") & has(line | (total & pl.col("running"))))
        .then(True)
        .otherwise(False)
    )
    known = thread.is_not_null()
    of = pl.concat_str("source", pl.lit(":"), thread)
    return _mark(rows, _FREE & known & better, of, "capture")


def _mark_threads_with_counts(rows: pl.LazyFrame) -> pl.LazyFrame:
    """A thread without counts is no thread without counts where another file counts it."""
    holder = pl.coalesce("log_source", "source")
    counts = (_FREE & pl.col("kind").is_in([CALL, SUM])).any().over(holder, "thread_id")
    of = pl.concat_str("source", pl.lit(":"), "thread_id")
    return _mark(rows, _FREE & (pl.col("kind") == THREAD) & counts, of, "same-record")


def _flag(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Puts on the counted rows what only the settled calls can tell."""
    whole = pl.col("finished").fill_null(value=False).any().over("call_id")
    stated = pl.col("kind").is_in([CALL, SUM])
    no_time = pl.col("timestamp").is_null()
    return rows.with_columns(
        problems=add_problem(
            ("no-model", _FREE & stated & pl.col("model").is_null()),
            ("no-time", _FREE & no_time),
            (
                "placeholder-output",
                _FREE
                & ~pl.col("finished").fill_null(value=True)
                & ~whole
                & pl.col("reported_cost_usd").is_null(),
            ),
            ("only-copy", _FREE & (pl.col("evidence") == COPY)),
        )
    ).pipe(_without_what_is_stated_elsewhere)


def _without_what_is_stated_elsewhere(rows: pl.LazyFrame) -> pl.LazyFrame:
    """What a duplicate leaves unsaid is no problem: the row that counts says it or is flagged."""
    kept = ~pl.element().is_in(["no-time", "assumed-time", "no-model", "no-counts"])
    stated = pl.col("problems").list.eval(pl.element().filter(kept))
    duplicate = pl.col("duplicate_of").is_not_null()
    return rows.with_columns(problems=pl.when(duplicate).then(stated).otherwise("problems"))
