"""Decides of every row, once all else is known of it, whether more was used than it states."""

from __future__ import annotations

from functools import cache
from typing import Final

import polars as pl

from tallybook.derive.normalize import dialect_holds
from tallybook.derive.problems import has_problem
from tallybook.schema import PERHAPS_MORE, PERHAPS_RESTARTED, PLACEHOLDER_OUTPUT

NOTHING: Final = pl.lit(0, pl.Int64)
NOBODY: Final = pl.lit(None, pl.String)


def with_bounds(
    rows: pl.DataFrame, perhaps_output: pl.Expr = NOTHING, perhaps_output_of: pl.Expr = NOBODY
) -> pl.DataFrame:
    """Adds `input_lower_bound`, `output_lower_bound`, and `lower_bound` where one of them is true.

    A prompt is a lower bound where the dialect counts a part of it outside of the rest and the row
    does not state that part, or where nothing tells whether it does. A part inside of the rest may
    be missing: the sum holds it. A total that may have begun at zero is one throughout. Where the
    prompt may be larger by its cache and by nothing else, that is its `perhaps_uncached_tokens`;
    where nothing tells how much more was used, the row is `unbounded`. Of an output that never came
    whole, `perhaps_output` says how much more of it there may be at most, where that is known, and
    `perhaps_output_of` what total says so: all of its calls together have no more.
    """
    output, uncached = pl.col("output_tokens"), pl.col("perhaps_uncached_tokens")
    found = rows.with_columns(*_signs(), perhaps_output_tokens=perhaps_output).select(
        "_whole",
        "perhaps_uncached_tokens",
        "perhaps_output_tokens",
        perhaps_output_of=perhaps_output_of,
        output_lower_bound=output.is_null() | pl.col("_begun") | has_problem(PERHAPS_RESTARTED),
        unbounded=~pl.col("_whole")
        | output.is_null()
        | (pl.col("_begun") & (pl.col("perhaps_output_tokens") == 0)),
    )
    found = found.with_columns(
        input_lower_bound=~pl.col("_whole") | (uncached > 0),
        lower_bound=pl.col("unbounded") | (uncached > 0) | (pl.col("perhaps_output_tokens") > 0),
    )
    return rows.with_columns(found.drop("_whole").get_columns())


@cache
def _signs() -> tuple[pl.Expr, ...]:
    """What the bounds follow from; made once, it is dear."""
    prompt = pl.any_horizontal(
        pl.col("uncached_input_tokens", "unsplit_input_tokens").is_not_null()
    )
    cached = pl.col("cached_input_tokens").is_not_null()
    creation = pl.col("cache_creation_input_tokens").is_not_null()
    whole = (
        prompt
        & (cached | (dialect_holds("input_holds_cached") & ~has_problem("ambiguous-dialect")))
        & (creation | dialect_holds("input_holds_cache_creation"))
        & ~has_problem(PERHAPS_RESTARTED)
    )
    cache_twice = pl.sum_horizontal("cached_input_tokens", "cache_creation_input_tokens")
    perhaps = (
        pl.when(pl.any_horizontal(map(has_problem, PERHAPS_MORE))).then(cache_twice).otherwise(0)
    )
    return (
        whole.alias("_whole"),
        perhaps.alias("perhaps_uncached_tokens"),
        has_problem(PLACEHOLDER_OUTPUT).alias("_begun"),
    )
