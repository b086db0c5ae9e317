"""Settles sums that a log states over a series of calls against the calls that are on record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from tallybook.derive.beside import beside, instead, mark
from tallybook.derive.normalize import normalize
from tallybook.derive.problems import with_problems, without_problems
from tallybook.derive.series import Calls, Series, Stated, Tokens, settle
from tallybook.schema import (
    ASSERTION,
    BUCKETS,
    CALL,
    IN_SUM,
    LOG,
    MEDIA_COUNTS,
    SAID_OF_COUNTED,
    STATE,
    SUBCOUNTS,
    SUM,
)

_KEY: Final = ("source", "series")
_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, tzinfo=UTC)
_FREE: Final = pl.col("duplicate_of").is_null()
_STATED: Final = (
    *_KEY,
    "evidence",
    "call_id",
    "thread_id",
    "parent_thread_id",
    "timestamp",
    "model",
    "caller",
    "calls",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "problems",
    "finished",
)
_CHANGE: Final[dict[str, Any]] = {
    "_kind": pl.String,
    "_duplicate_of": pl.String,
    "_input": pl.Int64,
    "_cached": pl.Int64,
    "_output": pl.Int64,
    "_caller": pl.String,
    "_model": pl.String,
    "_calls": pl.Int64,
    "_detail": pl.String,
}
_NOT_IN_A_REST: Final = (
    "reported_cache_creation_tokens",
    "reported_cache_creation_5m_tokens",
    "reported_cache_creation_1h_tokens",
    "reported_reasoning_tokens",
)
_RENEWED: Final = (
    *_NOT_IN_A_REST,
    "reported_input_tokens",
    "reported_cached_tokens",
    "reported_output_tokens",
    "reported_total_tokens",
    "difference",
    *BUCKETS,
    *SUBCOUNTS,
    *MEDIA_COUNTS,
    *(f"{name}_origin" for name in (*BUCKETS, *SUBCOUNTS)),
    "input_tokens",
    "total_tokens",
)


def settle_sums(rows: pl.DataFrame) -> pl.DataFrame:
    """Leaves of each sum over a series what its calls do not state; `rows` are deduplicated.

    A sum whose calls are all on record is an assertion, flagged `total-mismatch` where it does not
    hold; of another the rest counts, without the model where that was a guess. Answers in a saved
    state, which name no series, are put into the one that ran at their time, and count only where
    they fit in its sums, or came after them: those of a run that has not ended are a snapshot.
    """
    over = (pl.col("kind") == SUM) & pl.col("series").is_not_null() & ~pl.col("running")
    if rows["series"].null_count() == rows.height:
        return rows
    sums = rows.select("row", "root_thread_id", *_STATED, _over=over & _FREE).filter("_over")
    if sums.is_empty():
        return rows
    in_place = _in_place(rows, sums)
    # Of two changes of a row the later one holds.
    changes = {
        change.row: change for series in _series(in_place, sums) for change in settle(series)
    }
    if not changes:
        return rows
    schema = {"row": sums.schema["row"], **_CHANGE}
    frame = pl.DataFrame(list(changes.values()), schema=schema, orient="row")
    return rows.pipe(_with_rests, frame).pipe(_with_changes, frame)


def _in_place(rows: pl.DataFrame, sums: pl.DataFrame) -> pl.DataFrame:
    """The rows, those from a saved state with the series that they belong to.

    That is the one whose own record of a task states the same, else the one that had begun last in
    their thread. Where a time is missing some series of the thread must do: nothing may count
    beside its sums that could be in them.
    """
    from_state = (pl.col("evidence") == STATE) & pl.col("series").is_null()
    time, who = pl.col("timestamp"), ("source", "root_thread_id")
    states = rows.filter(from_state).select("row", *who, time.fill_null(_LAST))
    own = (pl.col("evidence") == LOG) & pl.col("parent_thread_id").is_null()
    begun = sums.filter(own).select(*who, time.fill_null(_FIRST), found="series")
    placed = (
        states.sort("timestamp", "row")
        .join_asof(
            begun.sort("timestamp", "found"),
            on="timestamp",
            by=who,
            check_sortedness=False,
        )
        .select("row", "found")
    )
    if placed.is_empty():
        return rows
    placed = placed.update(_with_their_tasks(rows.filter(from_state), sums), on="row")
    return beside(rows, placed).with_columns(series=pl.coalesce("series", "found")).drop("found")


def _with_their_tasks(states: pl.DataFrame, sums: pl.DataFrame) -> pl.DataFrame:
    """The series of the tasks in a saved state that are on record as well; `row` and `found`."""
    same = ("source", "thread_id", "input_tokens", "output_tokens")
    tasks = sums.filter(pl.col("evidence") == LOG, pl.col("parent_thread_id").is_not_null())
    recorded = tasks.sort("series").unique(same, keep="first", maintain_order=True)
    told = states.filter(pl.col("kind") == SUM).select("row", *same)
    return told.join(recorded.select(*same, found="series"), on=same).select("row", "found")


def _series(rows: pl.DataFrame, sums: pl.DataFrame) -> Iterable[Series]:
    """Every series that has a sum, with what else is said of it."""
    found = {(source, series): Series() for source, series in sums.select(_KEY).iter_rows()}
    keys = sums.select(_KEY).unique()
    within = rows.join(keys, on=_KEY, how="semi")
    for stated in _sums(within, sums):
        series = found[stated.source, stated.series]
        (series.tasks if stated.is_task else series.sums).append(stated)
    for source, name, calls in _calls(within):
        found[source, name].calls.append(calls)
    for source, name, calls in _answers_in_states(within):
        found[source, name].states.append(calls)
    for source, name, inputs, outputs in _repeated(within):
        found[source, name].repeats.add((inputs, outputs))
    for source, name, caller, tokens in _asserted(within):
        found[source, name].callers[caller] = tokens
    return found.values()


def _sums(rows: pl.DataFrame, sums: pl.DataFrame) -> Iterator[Stated]:
    """The sums over a series, and those of tasks that a saved state has."""
    states = (pl.col("evidence") == STATE) & (pl.col("kind") == SUM)
    extra = rows.filter(states, _FREE).select("row", *_STATED)
    for values in pl.concat([sums.select("row", *_STATED), extra]).iter_rows():
        yield Stated(*values)


def _calls(rows: pl.DataFrame) -> Iterator[tuple[str, str, Calls]]:
    """Per series, model and caller the calls on record that count."""
    cached = pl.col("cached_input_tokens")
    groups = (
        rows.filter(pl.col("kind") == CALL, pl.col("evidence") != STATE, _FREE)
        .group_by(*_KEY, "caller", "model")
        .agg(
            pl.col("calls").sum(),
            pl.col("input_tokens").sum(),
            cached=pl.when(cached.is_not_null().all()).then(cached.sum()),
            output=pl.col("output_tokens").sum(),
        )
        .sort(*_KEY, "model", "caller")
    )
    for source, series, caller, model, number, inputs, cached_in, output in groups.iter_rows():
        yield source, series, Calls(model, Tokens(inputs, cached_in, output), number, caller)


def _answers_in_states(rows: pl.DataFrame) -> Iterator[tuple[str, str, Calls]]:
    """The calls of a saved state that count, one by one in the order of their times."""
    counts = (pl.col(name).fill_null(0) for name in ("input_tokens", "output_tokens"))
    found = (
        rows.filter(pl.col("kind") == CALL, pl.col("evidence") == STATE, _FREE)
        .sort("timestamp", "row", nulls_last=True)
        .select(*_KEY, "row", "model", "caller", "cached_input_tokens", *counts)
    )
    for source, series, row, model, caller, cached, inputs, output in found.iter_rows():
        yield source, series, Calls(model, Tokens(inputs, cached, output), 1, caller, row)


def _repeated(rows: pl.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Per series what a file's records add up to where repeated ones are added as well."""
    return (
        rows.filter(pl.col("kind") == CALL, pl.col("evidence") != STATE)
        .group_by(*_KEY, "path")
        .agg(
            pl.col("input_tokens").sum(),
            pl.col("output_tokens").sum(),
            repeats=pl.col("duplicate_of").is_not_null().any(),
        )
        .filter("repeats")
        .select(*_KEY, "input_tokens", "output_tokens")
        .iter_rows()
    )


def _asserted(rows: pl.DataFrame) -> Iterator[tuple[Any, ...]]:
    """What a log states of single callers within a series, as totals."""
    total = pl.col("reported_total_tokens")
    of_caller = (pl.col("kind") == ASSERTION) & pl.col("caller").is_not_null() & total.is_not_null()
    return (
        rows.filter(of_caller, ~pl.col("running"))
        .group_by(*_KEY, "caller")
        .agg(total.max())
        .sort(*_KEY, "caller")
        .iter_rows()
    )


def _with_rests(rows: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """Puts the rests in place of their sums, split into buckets anew."""
    rests = changes.filter(pl.col("_kind") == SUM)
    if rests.is_empty():
        return rows
    anew = (
        rows.join(rests, on="row", how="inner")
        .with_columns(
            *(pl.lit(None, pl.Int64).alias(name) for name in _NOT_IN_A_REST),
            reported_input_tokens="_input",
            reported_cached_tokens="_cached",
            reported_output_tokens="_output",
            reported_total_tokens=pl.col("_input") + pl.col("_output"),
            difference=pl.lit(value=True),
        )
        .pipe(normalize)
    )
    return instead(rows, anew.select("row", *_RENEWED))


def _with_changes(rows: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    of = pl.col("_duplicate_of")
    joined = beside(rows, changes).pipe(mark, of.is_not_null(), of, IN_SUM)
    is_rest = pl.col("_kind") == SUM
    touched = pl.col("_kind").is_not_null() | of.is_not_null()
    return (
        joined.pipe(without_problems, touched, SAID_OF_COUNTED)
        .with_columns(
            kind=pl.coalesce("_kind", "kind"),
            caller=pl.coalesce("_caller", "caller"),
            model=pl.when(is_rest).then("_model").otherwise("model"),
            calls=pl.when(is_rest).then("_calls").otherwise("calls"),
            detail=pl.coalesce("_detail", "detail"),
        )
        .pipe(
            with_problems,
            ("total-mismatch", pl.col("_detail").is_not_null()),
            ("no-model", is_rest & pl.col("model").is_null()),
            ("no-time", is_rest & pl.col("timestamp").is_null()),
            ("uncounted-calls", is_rest & pl.col("calls").is_null()),
        )
        .drop(_CHANGE)
    )
