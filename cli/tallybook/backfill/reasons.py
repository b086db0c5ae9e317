"""Says of each call that stays unknown what stood in the way."""

from __future__ import annotations

from typing import Final

import polars as pl

from tallybook.backfill.choosing import differs
from tallybook.backfill.columns import true
from tallybook.backfill.pairing import elsewhere, miscounted
from tallybook.backfill.search import Search
from tallybook.backfill.words import INPUT

# Problems of the evidence that explain what it lacks, the most telling first.
_OF_EVIDENCE: Final = ("estimated", "truncated-body", "body-altered")


def reasons(calls: pl.DataFrame, search: Search) -> pl.DataFrame:
    """The calls with their `reason`, the first that applies."""
    found = [
        *(edges.select("call", reason=_of_match()) for edges in search.matched),
        *(_all(edges, "ambiguous-match") for edges in search.refused),
        *(_all(edges, "input-disagrees") for edges in search.rejected),
        *(edges.select("call", reason=_of_match()) for edges in search.silent),
        _all(miscounted(calls, search.evidence), "output-disagrees"),
        _all(elsewhere(calls, search.evidence), "outside-tolerance"),
    ]
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
