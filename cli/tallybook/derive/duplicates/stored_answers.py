"""Pairs a router's row with the stored answer to its request: both tell of one call."""

from __future__ import annotations

from typing import Final, NamedTuple

import polars as pl

from tallybook.derive.duplicates.meeting import (
    LONGEST_ANSWER_MS,
    OUTPUT,
    STORED,
    WHEN,
    at_answer,
    at_router,
    is_router,
)
from tallybook.schema import CALL, PROBABLY_SAME, WITNESS

_TOLERANCE_MS: Final = 2_000
_BUCKETS: Final = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "unsplit_input_tokens",
)


class Answered(NamedTuple):
    """A router's row and the answer that was stored; which of the two counts, where either may."""

    router: int
    answer: int
    is_answer_better: bool


def answered(rows: pl.LazyFrame) -> list[Answered]:
    """The pairs of one model, prompt and output whose answer began before its row was written.

    Where several fit, the nearest in time: whichever it is, there is one call less than records.
    The row's own prompt may be a sum, or lack what was cached; then the answer knows better.
    """
    free = pl.col("duplicate_of").is_null()
    yielded = pl.col("duplicate_reason").is_in([WITNESS, PROBABLY_SAME])
    stored = (pl.col("kind") == CALL) & (pl.col("source") == STORED)
    found = rows.select((is_router().any() & stored.any()).alias("both")).collect()
    if not found["both"].item():
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
        .collect()
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
