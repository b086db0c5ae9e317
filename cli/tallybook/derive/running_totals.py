"""Turns running totals, which say what a thread has used so far, into what each record adds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import polars as pl
import polars.selectors as cs

from tallybook.schema import ASSERTION, RUNNING_COUNTS

COUNTS = (*RUNNING_COUNTS, "web_search_requests", "reported_cost_usd")
Total = tuple[int | Decimal | None, ...]


class Snapshot(NamedTuple):
    """One running total: the row it stands in and its counts in the order of `COUNTS`."""

    row: int
    total: Total
    turn: list[int | None] | None = None  # what its last turn took, where that is known


def settle_running(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Replaces running totals of a `series` by differences; `rows` carry a unique `row` number.

    The first total of a process counts in full. Another file of the same series goes on from the
    last total where none of its counts is lower and the last turn fits into the increase, else it
    starts anew: for years a process that resumed a session began at zero. A total that was seen
    before becomes a repeat. Assertions stay as they are: nobody adds them up.
    """
    running = (
        rows.filter(pl.col("running"), pl.col("kind") != ASSERTION)
        .select("row", "source", "series", "path", "turn_counts", *COUNTS)
        .collect()
    )
    if running.is_empty():
        return rows
    settled = pl.DataFrame(
        [change for group in _series(running) for change in settle(group)],
        schema={
            "row": running.schema["row"],
            "_difference": pl.Boolean,
            "_repeat": pl.String,
            **{f"_{name}": running.schema[name] for name in COUNTS},
        },
        orient="row",
    ).lazy()
    return _replace(rows, settled)


def _replace(rows: pl.LazyFrame, settled: pl.LazyFrame) -> pl.LazyFrame:
    touched = pl.col("_difference").is_not_null()
    return (
        rows.join(settled, on="row", how="left", maintain_order="left")
        .with_columns(
            *(pl.when(touched).then(f"_{name}").otherwise(name).alias(name) for name in COUNTS),
            difference=pl.col("difference") | pl.col("_difference").fill_null(value=False),
            repeat=pl.coalesce("repeat", "_repeat"),
        )
        .drop(cs.starts_with("_"))
    )


def _series(running: pl.DataFrame) -> Iterable[list[list[Snapshot]]]:
    """The snapshots of each series, a list a file, in the order in which the files went on."""
    for _, group in running.group_by("source", "series", maintain_order=True):
        files: dict[str, list[Snapshot]] = {}
        for row, _source, _series_id, path, turn, *counts in group.iter_rows():
            if any(value is not None for value in counts):
                files.setdefault(path, []).append(Snapshot(row, tuple(counts), turn))
        yield sorted(files.values(), key=in_order)


def in_order(file: Sequence[Snapshot]) -> Any:
    """Sort key of one process: the highest total it reached, then all of its totals."""
    totals = [tuple(value or 0 for value in snapshot.total) for snapshot in file]
    return max(totals), totals


def settle(files: list[list[Snapshot]]) -> Iterable[tuple[Any, ...]]:
    """Of every snapshot its row, whether it is a difference, its repeat, and what it adds."""
    last: Total | None = None
    seen: set[Total] = set()
    for file in files:
        if last is not None and file[0].total not in seen and _is_lower(file[0].total, last):
            last = None
        for snapshot in file:
            if snapshot.total in seen:
                yield (snapshot.row, False, "same-record", *snapshot.total)
                continue
            if last is not None and not _goes_on(snapshot, last):
                last = None
            yield (snapshot.row, last is not None, None, *_minus(snapshot.total, last))
            last = snapshot.total
            seen.add(snapshot.total)


def _goes_on(snapshot: Snapshot, last: Total) -> bool:
    rise = _minus(snapshot.total, last)
    return not _is_lower(snapshot.total, last) and not any(
        took is not None and more is not None and more < took
        for took, more in zip(snapshot.turn or (), rise, strict=False)
    )


def _is_lower(total: Total, last: Total) -> bool:
    return any(
        value is not None and before is not None and value < before
        for value, before in zip(total, last, strict=True)
    )


def _minus(total: Total, last: Total | None) -> Total:
    if last is None:
        return total
    return tuple(
        value if value is None or before is None else value - before
        for value, before in zip(total, last, strict=True)
    )
