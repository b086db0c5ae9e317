"""Checks the totals that a tool asserts of a conversation against the calls that were counted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from tallybook.derive.beside import Frame, beside
from tallybook.derive.problems import has_problem, with_problems
from tallybook.derive.running_totals import Snapshot, Statement, in_order, settle
from tallybook.schema import (
    ASSERTION,
    CALL,
    COMPACTED,
    PLACEHOLDER_OUTPUT,
    PROBABLY_SAME,
    TOTAL_MISMATCH,
    WITNESS,
)

COMPARED = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
)
_KEY = ("source", "thread", "model")
ASSERTED = ("source", "thread_id", "model", "kind", "series", *COMPARED)


def reconcile(rows: pl.DataFrame) -> pl.DataFrame:
    """Puts `total-mismatch` on the last assertion of a conversation and model that does not hold.

    Asserted are running totals per root thread and model: an assertion record, else a capture that
    yielded to the thread's own log. A fork may begin with the totals of the thread that it copied.
    Nothing is repaired.
    """
    if not rows["running"].any():
        return rows
    asserting = best_of(running_totals(rows).select("row", *ASSERTED))
    if asserting.is_empty():
        return rows
    facts = ("source", "root_thread_id", "call_id", "model", "requested_model", *COMPARED)
    is_call = is_counted() & pl.col("kind").is_in(["call", "sum"])
    calls = rows.select(*facts, _is_call=is_call).filter("_is_call").pipe(by_either_model)
    counted = _sums(calls.with_columns(thread="root_thread_id"), "counted")
    differing = asserted(asserting).join(counted, on=_KEY, how="left").filter(_differs())
    if differing.is_empty():
        return rows
    explained = _inherited(differing, rows, calls, asserting)
    failed = (
        differing.join(explained, on="row", how="anti")
        .join(_gaps(rows), on=("source", "thread"), how="left")
        .select("row", _detail=pl.concat_str(_words(), _reasons(), ignore_nulls=True))
    )
    return (
        beside(rows, failed)
        .pipe(with_problems, (TOTAL_MISMATCH, pl.col("_detail").is_not_null()))
        .with_columns(detail=pl.coalesce("_detail", "detail"))
        .drop("_detail")
    )


def is_counted() -> pl.Expr:
    """Whether a log itself has a call, be it that another source's record of them counts."""
    elsewhere = pl.col("duplicate_reason").is_in([WITNESS, PROBABLY_SAME])
    return pl.col("duplicate_of").is_null() | elsewhere


def by_either_model(calls: pl.DataFrame) -> pl.DataFrame:
    """The calls by the model that answered, and by the one that was asked for where it is another.

    A client adds up by the latter.
    """
    asked = pl.col("requested_model")
    others = calls.filter(asked != pl.col("model")).with_columns(model=asked)
    return pl.concat([calls.with_columns(model=pl.coalesce("model", asked)), others])


def _sums(rows: pl.DataFrame, prefix: str) -> pl.DataFrame:
    sums = [pl.col(name).sum().alias(f"{prefix}_{name}") for name in COMPARED]
    return rows.group_by(_KEY).agg(sums)


def _differs(more: str | None = None) -> pl.Expr:
    """Whether what is asserted is not what was counted, together with the columns of `more`."""
    return pl.any_horizontal(
        pl.col(name).is_not_null()
        & (
            pl.col(name)
            != pl.col(f"counted_{name}").fill_null(0)
            + (pl.col(f"{more}_{name}").fill_null(0) if more else 0)
        )
        for name in COMPARED
    )


def _inherited(
    differing: pl.DataFrame, rows: pl.DataFrame, calls: pl.DataFrame, asserting: pl.DataFrame
) -> pl.DataFrame:
    """The `row` of each total that holds with what its thread had taken over from another one.

    That are the calls whose copies lie in the thread, or a total that their owner asserted: it may
    hold calls of which there is no line to copy.
    """
    copied = pl.col("is_copy") & pl.col("duplicate_of").is_not_null()
    copies = rows.filter(copied).select("source", "call_id", thread="root_thread_id").unique()
    owned = calls.select("source", "call_id", "model", *COMPARED, owner="root_thread_id")
    taken = copies.join(owned, on=("source", "call_id")).filter(pl.col("thread") != pl.col("owner"))
    stated = asserting.select(
        "source",
        "model",
        *(pl.col(name).alias(f"taken_{name}") for name in COMPARED),
        owner="thread_id",
    )
    owners = taken.select("source", "thread", "owner").unique()
    by_calls = differing.join(_sums(taken, "taken"), on=_KEY)
    by_total = differing.join(owners, on=("source", "thread")).join(
        stated, on=("source", "owner", "model")
    )
    held = [each.filter(~_differs("taken")).select("row") for each in (by_calls, by_total)]
    return pl.concat(held).unique()


def _words() -> pl.Expr:
    """What is asserted and what was counted, for each count that differs."""
    parts = [
        pl.when(pl.col(name) != pl.col(f"counted_{name}").fill_null(0)).then(
            pl.format(
                "{} {} asserted, {} counted",
                pl.lit(name.removesuffix("_tokens").replace("_", " ")),
                pl.col(name),
                pl.col(f"counted_{name}").fill_null(0),
            )
        )
        for name in COMPARED
    ]
    return pl.concat_str(parts, separator="; ", ignore_nulls=True)


def _gaps(rows: pl.DataFrame) -> pl.DataFrame:
    """Per conversation how many calls are known to be there that lack counts, or their last one."""
    compacted = pl.col("identity").str.starts_with(COMPACTED)
    begun = has_problem(PLACEHOLDER_OUTPUT)
    return (
        rows.filter(pl.col("duplicate_of").is_null(), pl.col("kind") == CALL)
        .group_by("source", thread="root_thread_id")
        .agg(compacted=compacted.sum(), begun=begun.sum())
    )


def _reasons() -> pl.Expr:
    """Which calls the log is known to lack; that there are some, where it does not say which."""
    compacted, begun = pl.col("compacted").fill_null(0), pl.col("begun").fill_null(0)
    lacks = pl.any_horizontal(
        pl.col(name) > pl.col(f"counted_{name}").fill_null(0) for name in COMPARED[:-1]
    )
    return pl.concat_str(
        pl.when(compacted > 0).then(pl.format("; without counts: {} x compaction", compacted)),
        pl.when(begun > 0).then(pl.format("; with a first count of the output: {}", begun)),
        pl.when(lacks & (compacted == 0)).then(
            pl.lit("; the log lacks calls: side requests, or attempts that broke off")
        ),
        ignore_nulls=True,
    )


def running_totals(rows: Frame) -> Frame:
    """The rows with running totals of a model: assertions, and captures that yielded to a log."""
    yielded = (pl.col("duplicate_reason") == "capture") & pl.col("running")
    return rows.filter((pl.col("kind") == ASSERTION) | yielded).filter(
        pl.col("model").is_not_null(), pl.col("running")
    )


def best_of(totals: pl.DataFrame) -> pl.DataFrame:
    """Of each conversation and model the assertions; captures say the same once more."""
    is_assertion = pl.col("kind") == ASSERTION
    return totals.filter(is_assertion | ~is_assertion.any().over("source", "thread_id", "model"))


def asserted(asserting: pl.DataFrame) -> pl.DataFrame:
    """Per conversation and model the last asserting `row` and the sum that it stands for.

    `asserting` has `row` and the columns ASSERTED, of rows in the order of their files.
    """
    found = [
        (*key, *_sum(group)) for key, group in asserting.group_by("source", "thread_id", "model")
    ]
    schema = pl.Schema(
        {
            **dict.fromkeys(_KEY, pl.String()),
            "row": asserting.schema["row"],
            **dict.fromkeys(COMPARED, pl.Int64()),
        }
    )
    return pl.DataFrame(found, schema=schema, orient="row")


def _sum(group: pl.DataFrame) -> tuple[Any, ...]:
    """The last row and what its snapshots add up to over all processes of the conversation.

    Captures were turned into differences before, so theirs are added as they stand.
    """
    if group["kind"][0] != ASSERTION:
        steps = [row[6:] for row in group.rows()]
    else:
        steps = [step.counts for step in settle(_processes(group)) if step.repeat is None]
    sums = [_total(column) for column in zip(*steps, strict=True)]
    return (group["row"].max(), *sums)


def _processes(group: pl.DataFrame) -> list[list[Statement]]:
    processes: dict[str, list[Statement]] = {}
    for row, _source, _thread, _model, _kind, series, *counts in group.sort("row").iter_rows():
        processes.setdefault(series, []).append({"": Snapshot(row, tuple(counts))})
    return sorted(processes.values(), key=in_order)


def _total(values: Iterable[int | None]) -> int | None:
    stated = [value for value in values if value is not None]
    return sum(stated) if stated else None
