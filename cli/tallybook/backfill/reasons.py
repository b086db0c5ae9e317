"""Says of each call that stays unknown what stood in the way."""

from __future__ import annotations

from typing import Final

import polars as pl

from tallybook.backfill.choosing import differs
from tallybook.backfill.columns import true
from tallybook.backfill.pairing import elsewhere, miscounted
from tallybook.backfill.words import INPUT

# Problems of the evidence that explain what it lacks, the most telling first.
_OF_EVIDENCE: Final = ("estimated", "truncated-body", "body-altered")


def reasons(
    calls: pl.DataFrame,
    matched: pl.DataFrame | None,
    refused: list[pl.DataFrame],
    rejected: list[pl.DataFrame],
    evidence: pl.DataFrame,
) -> pl.DataFrame:
    """`call_id`, `source` and `reason` of every call given; the first reason that applies."""
    found = []
    if matched is not None:
        found.append(matched.select("call", reason=_of_match()))
    found += [_all(edges, "ambiguous-match") for edges in refused]
    found += [_all(edges, "input-disagrees") for edges in rejected]
    found.append(_all(miscounted(calls, evidence), "output-disagrees"))
    found.append(_all(elsewhere(calls, evidence), "outside-tolerance"))
    first = pl.concat(found).unique("call", keep="first", maintain_order=True)
    return calls.join(first, on="call", how="left", maintain_order="left").with_columns(
        reason=pl.col("reason").fill_null(_of_call())
    )


def _all(edges: pl.DataFrame, reason: str) -> pl.DataFrame:
    return edges.select("call", reason=pl.lit(reason))


def _of_match() -> pl.Expr:
    """Why evidence that belongs to the call does not fill it."""
    states = {
        "evidence-disagrees": pl.col("clash"),
        "input-disagrees": (differs(INPUT) | pl.col("contradicts")) & ~pl.col("torn"),
        **{code: true(pl.col("codes").list.contains(code)) for code in _OF_EVIDENCE},
        "ambiguous-dialect": pl.col("torn") | pl.col("unproved"),
    }
    found = [pl.when(holds).then(pl.lit(reason)) for reason, holds in states.items()]
    return pl.coalesce(*found, pl.lit("response-without-counts"))


def _of_call() -> pl.Expr:
    estimated = true(pl.col("problems").list.contains("estimated"))
    return pl.when(estimated).then(pl.lit("estimated")).otherwise(pl.lit("no-response-kept"))
