"""What a backfill would change, in the fields of its JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import polars as pl

from tallybook.backfill.plan import BackfillPlan
from tallybook.report.query import Query
from tallybook.report.summary import Row, money, summarise_batches
from tallybook.schema import BOUND, BUCKETS, SUBCOUNTS

_COUNTS: Final = (*BUCKETS, *SUBCOUNTS)
# What is said of a call, once as it was recorded and once as it is filled.
_BOTH: Final = (*_COUNTS, "input_tokens", "total_tokens", "cost", "lower_bound")


class Comparison(msgspec.Struct, frozen=True):
    """The `rows`, `bounded`, `unrecoverable`, `changes`, `before` and `after` of the document."""

    rows: list[Row]
    bounded: list[Row]
    unrecoverable: list[Row]
    changes: list[Row]
    before: Row
    after: Row


def compare(plan: BackfillPlan, *, details: bool = True) -> Comparison:
    """Compare what is recorded with what would be; the largest of the `changes` comes first.

    There are none without `details`.
    """
    fills = plan.corrections.filter(pl.col("method") != BOUND)
    changed = _changed(fills, plan.before, plan.after)
    return Comparison(
        rows=_by_method(changed),
        bounded=_bounded(plan.corrections.join(fills, on="call_id", how="anti")),
        unrecoverable=_by_reason(plan.unrecoverable, plan.reasons),
        changes=[_change(row) for row in changed.iter_rows(named=True)] if details else [],
        before=summarise_batches((plan.before, plan.rest), Query(), {}).totals,
        after=summarise_batches((plan.after, plan.rest), Query(), {}).totals,
    )


def _changed(corrections: pl.DataFrame, before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """One row a call that changes: where its evidence lies, and its counts on both sides."""
    places = corrections.sort("call_id", "direction").group_by("call_id", maintain_order=True)
    # The evidence of the prompt, which is first in this order, is that of the call.
    found = places.agg(
        pl.col("method", "evidence_path", "evidence_record", "evidence_part", "rule").first()
    )
    who = ["call_id", "source", "model", "timestamp", "path", "record", *_BOTH]
    then = after.select("call_id", *(pl.col(name).alias(f"{name} after") for name in _BOTH))
    beside = found.join(before.select(who), on="call_id").join(then, on="call_id")
    more = (pl.col("cost after") - pl.col("cost")).abs()
    tokens = (pl.col("total_tokens after") - pl.col("total_tokens").fill_null(0)).abs()
    by = {"_cost": more, "_tokens": tokens}
    return (
        beside.with_columns(**by)
        .sort(*by, "call_id", descending=[True, True, False], nulls_last=True)
        .drop(*by)
    )


def _bounded(corrections: pl.DataFrame) -> list[Row]:
    groups = corrections.group_by("source").agg(pl.len().alias("calls"))
    return list(groups.sort("source").iter_rows(named=True))


def _by_method(changed: pl.DataFrame) -> list[Row]:
    moved = {
        name: (pl.col(name).ne_missing(pl.col(f"{name} after"))).sum().alias(f"moved {name}")
        for name in _COUNTS
    }
    sums = [
        pl.col(f"{name}{side}").sum().alias(f"{name}{side}")
        for name in (*_COUNTS, "total_tokens", "input_tokens", "cost")
        for side in ("", " after")
    ]
    least = [pl.col(f"lower_bound{side}").any() for side in ("", " after")]
    groups = changed.group_by("source", "method").agg(
        pl.len().alias("calls"), *moved.values(), *sums, *least
    )
    return [_group(row) for row in groups.sort("source", "method").iter_rows(named=True)]


def _group(row: Row) -> Row:
    return {
        "source": row["source"],
        "method": row["method"],
        "calls": row["calls"],
        "buckets": (moved := {name: n for name in _COUNTS if (n := row[f"moved {name}"])}),
        "before": {name: row[name] for name in moved},
        "after": {name: row[f"{name} after"] for name in moved},
        "tokens_before": row["total_tokens"],
        "tokens_after": row["total_tokens after"],
        "cached_before": row["cached_input_tokens"],
        "cached_after": row["cached_input_tokens after"],
        "cost_before_usd": money(row["cost"]),
        "cost_after_usd": money(row["cost after"]),
        "lower_bound_before": row["lower_bound"],
        "lower_bound_after": row["lower_bound after"],
    }


def _by_reason(unrecoverable: pl.DataFrame, reasons: Mapping[str, str]) -> list[Row]:
    groups = unrecoverable.group_by("source", "reason").agg(pl.len().alias("calls"))
    ordered = groups.sort("source", "calls", "reason", descending=[False, True, False])
    return [{**row, "meaning": reasons[row["reason"]]} for row in ordered.iter_rows(named=True)]


def _change(row: Row) -> dict[str, Any]:
    def counts(side: str) -> Row:
        return {name: row[f"{name}{side}"] for name in (*_COUNTS, "input_tokens", "lower_bound")}

    stamp = row["timestamp"]
    return {
        "call_id": row["call_id"],
        "source": row["source"],
        "model": row["model"],
        "timestamp": stamp and stamp.isoformat(),
        "path": row["path"],
        "record": row["record"],
        "method": row["method"],
        "rule": row["rule"],
        "evidence_path": row["evidence_path"],
        "evidence_record": row["evidence_record"],
        "evidence_part": row["evidence_part"],
        "before": counts(""),
        "after": counts(" after"),
        "cost_before_usd": money(row["cost"]),
        "cost_after_usd": money(row["cost after"]),
    }
