"""Of the several members of one piece of evidence, the one that speaks for each direction."""

from __future__ import annotations

from typing import Final

import polars as pl

from tallybook.backfill.agreement import AGREES, DIFFERS, MISSING
from tallybook.backfill.columns import INPUT_COUNTS, OUTPUT_COUNTS, or_zero
from tallybook.backfill.words import METHODS, TWIN

INPUT_FILLS: Final = tuple(f"fill_{name}" for name in INPUT_COUNTS)
OUTPUT_FILLS: Final = tuple(f"fill_{name}" for name in OUTPUT_COUNTS)
_PLACE: Final = ("evidence", "seen_method")
_GUARDS: Final = {AGREES: 0, MISSING: 1, DIFFERS: 2}


def edges(pairs: pl.DataFrame) -> pl.DataFrame:
    """One row for each call and record of evidence, from judged pairs of call and member.

    `input_fill` and `output_fill` are what would be filled, and from where; the first is null where
    nothing follows. `fills` is all of it in one text, by which two answers are told apart.
    """
    ruled = pl.col("rule").is_not_null()
    # Two do not contradict where one merely knows less: no lifetime of the writes, or no writes.
    positive = ruled & (pl.col("_cache") > 0)
    split = pl.concat_str("fill_uncached", "fill_cached", separator="/").filter(positive)
    written = pl.col("fill_creation").filter(positive).drop_nulls()
    by_reach: list[str | pl.Expr] = [
        pl.col("_cache") == 0,
        pl.col("fill_creation").is_null(),
        pl.col("fill_creation_1h").is_null(),
        "_rank",
        "evidence",
    ]
    return (
        _ranked(pairs)
        .sort("call", "seen_group", *by_reach)
        .group_by("call", "seen_group", maintain_order=True)
        .agg(
            pl.struct(*INPUT_FILLS, "rule", *_PLACE).filter(ruled).first().alias("input_fill"),
            pl.struct(*OUTPUT_FILLS, *_PLACE).filter(_output_known()).first().alias("output_fill"),
            pl.col("_input_rank").min(),
            pl.col("_output_rank").min(),
            pl.col("distance").abs().min(),
            pl.col("time", "seen_time").first(),
            clash=(split.n_unique() > 1) | (written.n_unique() > 1),
            torn=pl.col("torn").any(),
            is_twin=(pl.col("seen_method") == TWIN).all(),
            # The prompt may be the same number and yet be read in another way on both sides.
            contradicts=(
                ~ruled
                & ~pl.col("open")
                & ~pl.col("seen_open")
                & pl.all_horizontal(pl.col("seen_uncached", "seen_cached").is_not_null())
            ).any(),
            unproved=(
                (pl.col("open") | pl.col("seen_open")) & pl.col("seen_cached").is_not_null()
            ).any(),
            codes=pl.col("seen_problems").list.explode(empty_as_null=False).unique(),
        )
        .with_columns(input_fill=pl.when(~pl.col("clash")).then("input_fill"))
        .with_columns(fills=_fills())
        .collect()
    )


def _ranked(pairs: pl.DataFrame) -> pl.LazyFrame:
    return pairs.lazy().with_columns(
        # A member that lost the cached count states a zero or nothing, so more is better.
        _cache=or_zero(pl.col("fill_cached")) + or_zero(pl.col("fill_creation")),
        _rank=pl.col("seen_method").replace_strict({m: n for n, m in enumerate(METHODS)}),
        _input_rank=pl.col("input_guard").replace_strict(_GUARDS, return_dtype=pl.Int64),
        _output_rank=pl.col("output_guard").replace_strict(_GUARDS, return_dtype=pl.Int64),
    )


def _output_known() -> pl.Expr:
    return pl.col("fill_output").is_not_null()


def _fills() -> pl.Expr:
    texts = [
        pl.col("input_fill").struct.field(name).cast(pl.String).fill_null("-")
        for name in INPUT_FILLS
    ] + [
        pl.col("output_fill").struct.field(name).cast(pl.String).fill_null("-")
        for name in OUTPUT_FILLS
    ]
    return pl.concat_str(texts, separator="/")


def agrees(direction: str) -> pl.Expr:
    """Whether call and evidence state the same of a direction."""
    return pl.col(f"_{direction}_rank") == _GUARDS[AGREES]


def differs(direction: str) -> pl.Expr:
    """Whether call and evidence contradict each other in a direction."""
    return pl.col(f"_{direction}_rank") == _GUARDS[DIFFERS]
