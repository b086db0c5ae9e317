"""The columns that backfill looks at: of a call as they are, of its evidence with a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from tallybook.normalize import dialect_holds

# Short name -> bucket of a row.
COUNTS: Final = {
    "uncached": "uncached_input_tokens",
    "cached": "cached_input_tokens",
    "creation": "cache_creation_input_tokens",
    "creation_1h": "cache_creation_1h_input_tokens",
    "unsplit": "unsplit_input_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_output_tokens",
}
INPUT_COUNTS: Final = ("uncached", "cached", "creation", "creation_1h", "unsplit")
OUTPUT_COUNTS: Final = ("output", "reasoning")
SEEN: Final = "seen_"  # prefix of what the evidence states


def said(name: str) -> pl.Expr:
    """What the call's own record states."""
    return pl.col(name)


def seen(name: str) -> pl.Expr:
    """What the evidence states."""
    return pl.col(f"{SEEN}{name}")


def or_zero(count: pl.Expr) -> pl.Expr:
    """The count, or nothing where none is stated."""
    return count.fill_null(0)


def true(condition: pl.Expr) -> pl.Expr:
    """The condition, false where it cannot be told."""
    return condition.fill_null(value=False)


def has_problem(code: str, column: str = "problems") -> pl.Expr:
    """Whether a row carries the problem."""
    return true(pl.col(column).list.contains(code))


def recorded(names: tuple[str, ...]) -> pl.Expr:
    """The counts of a direction in one text, `14/-/-/-/0`; a dash is a count not stated."""
    return pl.concat_str(
        [pl.col(name).cast(pl.String).fill_null("-") for name in names], separator="/"
    )


def whole_prompt(names: Mapping[str, str] | None = None) -> pl.Expr:
    """Whether every token of the prompt is stated, be it as a sum; `names` are the columns'."""
    uncached, cached, creation, unsplit = (
        pl.col(names[name] if names else name)
        for name in ("uncached", "cached", "creation", "unsplit")
    )
    split = uncached.is_not_null() & cached.is_not_null() & creation.is_not_null()
    return split | (dialect_holds("input_holds_cached") & unsplit.is_not_null())
