"""Checks the totals that a tool asserts of a conversation against the calls that were counted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from tallybook.derive.normalize import add_problem
from tallybook.derive.running_totals import Snapshot, in_order, settle
from tallybook.schema import ASSERTION

_COMPARED = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
)
_KEY = ("source", "thread", "model")


def reconcile(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Puts `total-mismatch` on the last assertion of a conversation and model that does not hold.

    Asserted are running totals per root thread and model: an assertion record, or a capture that
    yielded to the thread's own log. Nothing is repaired.
    """
    asserted = _asserted(rows)
    if asserted.is_empty():
        return rows
    counted = (
        rows.filter(pl.col("duplicate_of").is_null(), pl.col("kind").is_in(["call", "sum"]))
        .group_by("source", pl.col("root_thread_id").alias("thread"), "model")
        .agg(pl.col(name).sum().alias(f"counted_{name}") for name in _COMPARED)
    )
    differs = pl.any_horizontal(
        pl.col(name).is_not_null() & (pl.col(name) != pl.col(f"counted_{name}").fill_null(0))
        for name in _COMPARED
    )
    failed = (
        asserted.lazy()
        .join(counted, on=_KEY, how="left")
        .filter(differs)
        .select("row", _detail=_words())
    )
    return (
        rows.join(failed, on="row", how="left", maintain_order="left")
        .with_columns(
            problems=add_problem(("total-mismatch", pl.col("_detail").is_not_null())),
            detail=pl.coalesce("_detail", "detail"),
        )
        .drop("_detail")
    )


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
        for name in _COMPARED
    ]
    return pl.concat_str(parts, separator="; ", ignore_nulls=True)


def _asserted(rows: pl.LazyFrame) -> pl.DataFrame:
    """Per conversation and model the last asserting row and the sum that it stands for."""
    yielded = (pl.col("duplicate_reason") == "capture") & pl.col("running")
    asserting = (
        rows.filter((pl.col("kind") == ASSERTION) | yielded)
        .filter(pl.col("model").is_not_null(), pl.col("running"))
        .select("row", "source", "thread_id", "model", "kind", "series", *_COMPARED)
        .collect()
    )
    found = [
        (*key, *_sum(group)) for key, group in asserting.group_by("source", "thread_id", "model")
    ]
    schema = pl.Schema(
        {
            **dict.fromkeys(_KEY, pl.String()),
            "row": asserting.schema["row"],
            **dict.fromkeys(_COMPARED, pl.Int64()),
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
        steps = [step[3:] for step in settle(_processes(group)) if step[2] is None]
    sums = [_total(column) for column in zip(*steps, strict=True)]
    return (group["row"].max(), *sums)


def _processes(group: pl.DataFrame) -> list[list[Snapshot]]:
    processes: dict[str, list[Snapshot]] = {}
    for row, _source, _thread, _model, _kind, series, *counts in group.sort("row").iter_rows():
        processes.setdefault(series, []).append(Snapshot(row, tuple(counts)))
    return sorted(processes.values(), key=in_order)


def _total(values: Iterable[int | None]) -> int | None:
    stated = [value for value in values if value is not None]
    return sum(stated) if stated else None
