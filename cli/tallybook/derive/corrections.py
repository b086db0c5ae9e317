"""Puts corrections in the place of what the log states; the facts themselves stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl
import polars.selectors as cs

from tallybook.derive.bounds import with_bounds
from tallybook.derive.normalize import dialect_holds
from tallybook.derive.problems import has_problem, with_problems, without_problems
from tallybook.schema import (
    BACKFILLED,
    BOUND,
    CALL,
    COUNTED_KINDS,
    DERIVED,
    INPUT,
    OUTPUT,
    PERHAPS_MORE,
    PLACEHOLDER_OUTPUT,
    REPORTED_ORIGIN,
)

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


def of_call(name: str) -> pl.Expr:
    """What the call's own record states."""
    return pl.col(name)


def of_evidence(name: str) -> pl.Expr:
    """What the evidence states."""
    return pl.col(f"{SEEN}{name}")


def or_zero(count: pl.Expr) -> pl.Expr:
    """The count, or nothing where none is stated."""
    return count.fill_null(0)


def true(condition: pl.Expr) -> pl.Expr:
    """The condition, false where it cannot be told."""
    return condition.fill_null(value=False)


def at_begin() -> pl.Expr:
    """Whether a row states no more than its stream began with, or zeros that nothing replaced."""
    buckets = list(COUNTS.values())
    zeros = (pl.sum_horizontal(buckets) == 0) & true(pl.col(COUNTS["output"]) == 0)
    return has_problem(PLACEHOLDER_OUTPUT) | zeros


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
    written = creation.is_not_null() | dialect_holds("input_holds_cache_creation")
    split = uncached.is_not_null() & cached.is_not_null() & written
    return split | (dialect_holds("input_holds_cached") & unsplit.is_not_null())


_DIRECTIONS: Final = {INPUT: INPUT_COUNTS, OUTPUT: OUTPUT_COUNTS}
# Problems of a direction that are none any more when it is filled.
_ANSWERED: Final = {
    INPUT: ("ambiguous-dialect", "cache-not-read", "input-lost", *PERHAPS_MORE),
    OUTPUT: (PLACEHOLDER_OUTPUT,),
}
_PLACES: Final = ("backfill_method", "backfill_path", "backfill_record")


def apply(rows: pl.DataFrame, corrections: pl.DataFrame) -> pl.DataFrame:
    """USAGE rows with the corrected directions and their evidence: `backfill_method`, `_path`, ...

    A correction holds only for what it was proved of: where the row now states other counts it is
    left out, and the row says `stale-correction`.
    """
    for direction in _DIRECTIONS:
        rows = _beside(rows, corrections, direction)
    return (
        rows.with_columns(_filled(INPUT), _filled(OUTPUT))
        .with_columns(_output_bounded=pl.col("_output_filled") & _is_bound())
        .with_columns(_output_filled=pl.col("_output_filled") & ~pl.col("_output_bounded"))
        .pipe(with_problems, ("stale-correction", _is_stale()))
        .with_columns(
            *(_value(d, name) for d, names in _DIRECTIONS.items() for name in names),
            *(_origin(d, name) for d, names in _DIRECTIONS.items() for name in names),
            *(_place(name) for name in _PLACES),
            _input_before=pl.col("input_tokens"),
        )
        .pipe(_with_sums)
        .pipe(with_bounds, _perhaps_output(), _perhaps_output_of())
        .drop(cs.starts_with("_input_", "_output_"))
    )


def _beside(rows: pl.DataFrame, corrections: pl.DataFrame, direction: str) -> pl.DataFrame:
    """The row's correction in a direction, as columns `_<direction>_<name>`."""
    names = {COUNTS[name]: f"_{direction}_{name}" for name in _DIRECTIONS[direction]}
    found = corrections.filter(pl.col("direction") == direction).select(
        "call_id",
        pl.col("recorded").alias(f"_{direction}_recorded"),
        pl.col("method").alias(f"_{direction}_method"),
        pl.col("evidence_path").alias(f"_{direction}_path"),
        pl.col("evidence_record").alias(f"_{direction}_record"),
        pl.col("evidence_part").alias(f"_{direction}_part"),
        *(pl.col(bucket).alias(name) for bucket, name in names.items()),
    )
    found = found.unique("call_id", keep="last", maintain_order=True)
    return rows.join(found, on="call_id", how="left", maintain_order="left")


def _counts() -> pl.Expr:
    """Whether a row is the call itself; evidence that lies in its record has its id as well."""
    return pl.col("duplicate_of").is_null() & pl.col("kind").is_in(COUNTED_KINDS)


def _asked(direction: str) -> pl.Expr:
    return _counts() & pl.col(f"_{direction}_recorded").is_not_null()


def _states(direction: str) -> pl.Expr:
    """What the row states of a direction, written as a correction writes it."""
    buckets = [COUNTS[name] for name in _DIRECTIONS[direction]]
    return pl.concat_str(
        [pl.col(bucket).cast(pl.String).fill_null("-") for bucket in buckets], separator="/"
    )


def _filled(direction: str) -> pl.Expr:
    same = pl.col(f"_{direction}_recorded") == _states(direction)
    return (_asked(direction) & true(same)).alias(f"_{direction}_filled")


def _is_bound() -> pl.Expr:
    """Whether a correction fills nothing, and only says how much an output may be at most."""
    return true(pl.col("_output_method") == BOUND)


def _perhaps_output() -> pl.Expr:
    most = pl.col("_output_output") - pl.col(COUNTS["output"])
    return pl.when("_output_bounded").then(most).otherwise(0)


def _perhaps_output_of() -> pl.Expr:
    place = pl.concat_str("_output_path", "_output_record", "_output_part", separator=" ")
    return pl.when("_output_bounded").then(place)


def _stale(direction: str) -> pl.Expr:
    return _asked(direction) & ~pl.col(f"_{direction}_filled")


def _is_stale() -> pl.Expr:
    """Whether a correction does not fit; a bound of a call that has its last count is over."""
    over = _is_bound() & ~at_begin()
    return _stale(INPUT) | (_stale(OUTPUT) & ~pl.col("_output_bounded") & ~over)


def _value(direction: str, name: str) -> pl.Expr:
    filled = pl.when(f"_{direction}_filled").then(f"_{direction}_{name}")
    return filled.otherwise(COUNTS[name]).alias(COUNTS[name])


def _origin(direction: str, name: str) -> pl.Expr:
    """What the evidence merely repeats keeps its origin; a guess is one no longer."""
    bucket, found = COUNTS[name], pl.col(f"_{direction}_{name}")
    origin = pl.col(f"{bucket}_origin")
    kept = (found == pl.col(bucket)) & origin.is_in([REPORTED_ORIGIN, DERIVED])
    proved = pl.when(true(kept)).then(origin).when(found.is_not_null()).then(pl.lit(BACKFILLED))
    return pl.when(f"_{direction}_filled").then(proved).otherwise(origin).alias(f"{bucket}_origin")


def _place(name: str) -> pl.Expr:
    """Where the evidence lies; that of the prompt where both directions have one."""
    field = name.removeprefix("backfill_")
    places = [
        pl.when(f"_{part}").then(f"_{direction}_{field}")
        for direction, part in (
            (INPUT, "input_filled"),
            (OUTPUT, "output_filled"),
            (OUTPUT, "output_bounded"),
        )
    ]
    return pl.coalesce(places).alias(name)


def _with_sums(rows: pl.DataFrame) -> pl.DataFrame:
    """What follows from the buckets, worked out again where they were filled."""
    filled = pl.col("_input_filled") | pl.col("_output_filled")
    inputs = [COUNTS[name] for name in INPUT_COUNTS if name != "creation_1h"]
    total = pl.sum_horizontal(inputs)
    known = pl.any_horizontal(pl.col(bucket).is_not_null() for bucket in inputs)
    tier = pl.col("context_tokens").is_null() | (
        pl.col("context_tokens") == pl.col("_input_before")
    )
    single = (pl.col("kind") == CALL) & (pl.col("calls") == 1) & ~pl.col("difference")
    for direction, answered in _ANSWERED.items():
        rows = without_problems(rows, pl.col(f"_{direction}_filled"), answered)
    return rows.with_columns(
        input_tokens=pl.when("_input_filled").then(total).otherwise("input_tokens")
    ).with_columns(
        total_tokens=pl.when(filled & (known | pl.col("output_tokens").is_not_null()))
        .then(pl.sum_horizontal("input_tokens", "output_tokens"))
        .otherwise("total_tokens"),
        context_tokens=pl.when(pl.col("_input_filled") & single & tier)
        .then("input_tokens")
        .otherwise("context_tokens"),
    )
