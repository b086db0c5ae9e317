"""How complete a reading is: what was read, what was left out, what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from tallybook.report.selection import counted, origin, recorded
from tallybook.schema import BACKFILLED

LISTED_PROBLEMS: Final = 1000


def coverage(table: pl.DataFrame, files: int) -> dict[str, Any]:
    """The `coverage` object of the JSON document, over the whole reading before any filter."""
    calls = pl.col("calls").filter(counted()).sum()
    backfilled = counted() & (origin() == BACKFILLED)
    counts = table.select(
        records=recorded().sum(),
        calls=calls,
        duplicates=(recorded() & pl.col("duplicate_of").is_not_null()).sum(),
        backfilled=backfilled.sum(),
    ).row(0, named=True)
    problems = _problems(table)
    by_code = problems.group_by("code").len().sort("code")
    return {
        "files": files,
        **counts,
        "problems": dict(by_code.iter_rows()),
        "problem_list": problems.head(LISTED_PROBLEMS).to_dicts(),
    }


def shortfalls(totals: Mapping[str, Any], seen: Mapping[str, Any]) -> list[str]:
    """Why a report is incomplete, one phrase a reason; `totals` and `coverage` of the report."""
    reasons = (
        (sum(seen["problems"].values()), "problem", ""),
        (seen["undated"], "record", " without a time left out"),
        (totals["unpriced_tokens"], "token", " unpriced"),
    )
    found = [f"{n:,} {what}{'s' if n > 1 else ''}{state}" for n, what, state in reasons if n]
    if totals["cost_low_usd"] != totals["cost_high_usd"]:
        found.append(f"cost between {totals['cost_low_usd']} and {totals['cost_high_usd']} USD")
    return [*found, "a sum is a lower bound"] if totals["lower_bound"] else found


def _problems(table: pl.DataFrame) -> pl.DataFrame:
    """One row a problem: path, record, code, detail; in the order of the files."""
    return (
        table.lazy()
        .filter(pl.col("problems").list.len() > 0)
        .select("path", "record", "part", pl.col("problems").alias("code"), "detail")
        .explode("code")
        .sort("path", "record", "part", "code", "detail")
        .drop("part")
        .collect()
    )
