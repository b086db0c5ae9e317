"""Decides of every row, once all else is known of it, whether more was used than it states."""

from __future__ import annotations

from typing import Final

import polars as pl

from tallybook.derive.normalize import dialect_holds
from tallybook.schema import PERHAPS_MORE, PLACEHOLDER_OUTPUT

NOTHING: Final = pl.lit(0, pl.Int64)
NOBODY: Final = pl.lit(None, pl.String)


def with_bounds(
    rows: pl.LazyFrame, perhaps_output: pl.Expr = NOTHING, perhaps_output_of: pl.Expr = NOBODY
) -> pl.LazyFrame:
    """Adds `input_lower_bound`, `output_lower_bound`, and `lower_bound` where one of them is true.

    A prompt is a lower bound where the dialect counts a part of it outside of the rest and the row
    does not state that part, or where nothing tells whether it does. A part inside of the rest may
    be missing: the sum holds it. Where the
    prompt may be larger by its cache and by nothing else, that is its `perhaps_uncached_tokens`;
    where nothing tells how much more was used, the row is `unbounded`. Of an output that never came
    whole, `perhaps_output` says how much more of it there may be at most, where that is known, and
    `perhaps_output_of` what total says so: all of its calls together have no more.
    """
    prompt = pl.col("uncached_input_tokens").is_not_null() | (
        pl.col("unsplit_input_tokens").is_not_null()
    )
    cached = pl.col("cached_input_tokens").is_not_null()
    creation = pl.col("cache_creation_input_tokens").is_not_null()
    whole = (
        prompt
        & (cached | dialect_holds("input_holds_cached"))
        & (creation | dialect_holds("input_holds_cache_creation"))
    )
    is_open = pl.col("problems").list.contains("ambiguous-dialect").fill_null(value=False)
    whole &= cached | ~is_open
    doubted = [pl.col("problems").list.contains(code) for code in PERHAPS_MORE]
    perhaps = pl.when(pl.any_horizontal(doubted).fill_null(value=False)).then(
        pl.sum_horizontal("cached_input_tokens", "cache_creation_input_tokens")
    )
    placeholder = pl.col("problems").list.contains(PLACEHOLDER_OUTPUT).fill_null(value=False)
    endless = placeholder & (perhaps_output == 0)
    return rows.with_columns(
        perhaps_uncached_tokens=perhaps.fill_null(0),
        perhaps_output_tokens=perhaps_output,
        perhaps_output_of=perhaps_output_of,
        output_lower_bound=pl.col("output_tokens").is_null() | placeholder,
        unbounded=~whole | pl.col("output_tokens").is_null() | endless,
    ).with_columns(
        input_lower_bound=~whole | (pl.col("perhaps_uncached_tokens") > 0),
        lower_bound=pl.col("unbounded")
        | (pl.col("perhaps_uncached_tokens") > 0)
        | (pl.col("perhaps_output_tokens") > 0),
    )
