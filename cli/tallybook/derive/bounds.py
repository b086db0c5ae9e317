"""Decides of every row, once all else is known of it, whether more was used than it states."""

from __future__ import annotations

import polars as pl

from tallybook.derive.normalize import dialect_holds
from tallybook.schema import PLACEHOLDER_OUTPUT


def with_bounds(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Adds `input_lower_bound`, `output_lower_bound`, and `lower_bound` where one of them is true.

    A prompt is a lower bound where the dialect counts a part of it outside of the rest and the row
    does not state that part. A part inside of the rest may be missing: the sum holds it.
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
    placeholder = pl.col("problems").list.contains(PLACEHOLDER_OUTPUT).fill_null(value=False)
    return rows.with_columns(
        input_lower_bound=~whole,
        output_lower_bound=pl.col("output_tokens").is_null() | placeholder,
    ).with_columns(lower_bound=pl.col("input_lower_bound") | pl.col("output_lower_bound"))
