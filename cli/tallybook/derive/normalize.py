"""Turns reported counts into disjoint buckets with origins: the one place that subtracts."""

from __future__ import annotations

from functools import cache
from typing import Final

import polars as pl

from tallybook.derive.problems import each_once, with_problems
from tallybook.dialects.containment import DIALECTS
from tallybook.schema import (
    ASSUMED,
    BUCKETS,
    CACHE_TWICE,
    DERIVED,
    INPUT,
    MEDIA_COUNTS,
    OUTPUT,
    REPORTED_COUNTS,
    REPORTED_ORIGIN,
    SUBCOUNTS,
)

_INPUT = pl.col("reported_input_tokens")
_CACHED = pl.col("reported_cached_tokens")
_FLAT = pl.col("reported_cache_creation_tokens")
_5M = pl.col("reported_cache_creation_5m_tokens")
_1H = pl.col("reported_cache_creation_1h_tokens")
_OUTPUT = pl.col("reported_output_tokens")
_REASONING = pl.col("reported_reasoning_tokens")
_TOTAL = pl.col("reported_total_tokens")
_NEEDED: Final = (
    "dialect",
    "kind",
    "calls",
    "difference",
    "assumed",
    "problems",
    "media_counts",
    "context_tokens",
    *REPORTED_COUNTS,
)
_GIVEN: Final = (
    "cache_creation_1h_input_tokens",
    *BUCKETS,
    "reasoning_output_tokens",
    *(f"{bucket}_origin" for bucket in (*BUCKETS, *SUBCOUNTS)),
    "input_tokens",
    "total_tokens",
    *MEDIA_COUNTS,
    "problems",
    "context_tokens",
)
# The facts of a dialect that count here, and whether they hold where the row has none.
_FACTS: Final = {
    "input_holds_cached": False,
    "input_holds_cache_creation": False,
    "output_holds_reasoning": True,
    "total_is_sum": False,
    "total_holds_hidden": False,
    "uses_cache": True,
    "input_hides_cache_creation": False,
}


def normalize(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds the buckets, an `<bucket>_origin` each, `input_tokens`, `total_tokens`.

    A count that the row does not state stays null. Where parts are larger than what should hold
    them the buckets of that direction are null and `negative-bucket` is added to `problems`, which
    is a list from here on, of each code once.
    """
    found = rows.select(_NEEDED).with_columns(problems=each_once(rows["problems"]))
    for step in _steps():
        found = found.with_columns(step)
    found = with_problems(_with_media(found), *_problems())
    return rows.with_columns(found.select(_GIVEN).get_columns())


def dialect_holds(flag: str, column: str = "dialect", *, unknown: bool = False) -> pl.Expr:
    """A fact of the row's dialect, `unknown` where the row has none."""
    facts = {name: getattr(dialect, flag) for name, dialect in DIALECTS.items()}
    return pl.col(column).replace_strict(facts, default=unknown, return_dtype=pl.Boolean)


@cache
def _steps() -> tuple[list[pl.Expr], ...]:
    """What is added to the rows, each step from what is there by then; to make them is dear."""
    return (
        [_facts(), *_guesses(), _nested()],
        [_hidden(), *_cache_creation()],
        _without_cache(),
        [_one_hour(), _held()],
        _input(),
        _output(),
        [_reasoning(), *_origins(), _input_sum()],
        [_total()],
        [_context()],
    )


def _facts() -> pl.Expr:
    """The facts of the row's dialect as one number."""
    known = {
        name: sum(1 << n for n, flag in enumerate(_FACTS) if getattr(dialect, flag))
        for name, dialect in DIALECTS.items()
    }
    unknown = sum(1 << n for n, holds in enumerate(_FACTS.values()) if holds)
    facts = pl.col("dialect").replace_strict(known, default=unknown, return_dtype=pl.UInt8)
    return facts.alias("_facts")


def _holds(flag: str) -> pl.Expr:
    return pl.col("_facts") & (1 << [*_FACTS].index(flag)) > 0


def _guesses() -> list[pl.Expr]:
    return [
        pl.col("assumed").list.contains(direction).fill_null(value=False).alias(f"_{direction}")
        for direction in (INPUT, OUTPUT)
    ]


def _nested() -> pl.Expr:
    stated = _5M.is_not_null() | _1H.is_not_null()
    return pl.when(stated).then(_5M.fill_null(0) + _1H.fill_null(0)).alias("_nested")


def _hidden() -> pl.Expr:
    """Reasoning that only the total shows; null where the total shows none."""
    rest = _TOTAL - _INPUT - _OUTPUT
    shown = _holds("total_holds_hidden") & _REASONING.is_null() & (rest > 0)
    return pl.when(shown).then(rest).alias("_hidden")


def _cache_creation() -> list[pl.Expr]:
    """Settles the flat number of cache writes against its split by lifetime.

    Builds that write 0 into the flat number while the split states writes exist, so a flat 0 gives
    way to a positive split. Gateways do the opposite and leave zeros in the split.
    """
    nested = pl.col("_nested")
    from_nested = (_FLAT.fill_null(0) == 0) & (nested > 0)
    return [
        pl.when(from_nested).then(nested).otherwise(pl.coalesce(_FLAT, nested)).alias("_creation"),
        from_nested.fill_null(value=False).alias("_creation_is_nested"),
        (~_holds("uses_cache") & _INPUT.is_not_null()).alias("_cacheless"),
    ]


def _without_cache() -> list[pl.Expr]:
    """Where there is no cache, nothing of a stated input was read from or written to one."""
    none, creation = pl.col("_cacheless"), pl.col("_creation")
    return [
        pl.when(none & _CACHED.is_null()).then(0).otherwise(_CACHED).alias("_cached"),
        pl.when(none & creation.is_null()).then(0).otherwise(creation).alias("_creation"),
    ]


def _one_hour() -> pl.Expr:
    creation, nested = pl.col("_creation"), pl.col("_nested")
    return (
        pl.when(creation == 0)
        .then(0)
        .when(_1H.is_not_null())
        .then(pl.min_horizontal(_1H, creation))
        .when(nested == creation)
        .then(0)
        .alias("_1h")
    )


def _held() -> pl.Expr:
    """What of the stated input is in buckets of its own."""
    cached, creation = pl.col("_cached").fill_null(0), pl.col("_creation").fill_null(0)
    held = pl.when(_holds("input_holds_cached")).then(cached).otherwise(0)
    held += pl.when(_holds("input_holds_cache_creation")).then(creation).otherwise(0)
    # Of a cache that was perhaps added twice the least is taken: the prompt without both.
    twice = pl.col("problems").list.contains(CACHE_TWICE)
    return pl.when(twice).then(2 * held).otherwise(held).alias("_held")


def _input() -> list[pl.Expr]:
    is_sound = ~_is_negative()
    hidden = _holds("input_hides_cache_creation") & pl.col("_creation").is_null()
    known = ~_holds("input_holds_cached") | pl.col("_cached").is_not_null()
    split = _INPUT.is_not_null() & known & ~hidden
    rest = _INPUT - pl.col("_held")
    unsplit = pl.when(split).then(0).otherwise(rest)
    return [
        pl.when(is_sound).then("_1h").alias("cache_creation_1h_input_tokens"),
        pl.when(split & is_sound).then(rest).alias("uncached_input_tokens"),
        pl.when(is_sound).then("_cached").alias("cached_input_tokens"),
        pl.when(is_sound).then("_creation").alias("cache_creation_input_tokens"),
        pl.when(is_sound & _INPUT.is_not_null()).then(unsplit).alias("unsplit_input_tokens"),
    ]


def _is_negative() -> pl.Expr:
    return (pl.col("_held") > _INPUT).fill_null(value=False)


def _output() -> list[pl.Expr]:
    """The output with the reasoning that lies outside of the stated one, or in the total only."""
    reasoning = pl.coalesce(_REASONING, "_hidden")
    outside = ~_holds("output_holds_reasoning") | pl.col("_hidden").is_not_null()
    beside = pl.when(outside).then(reasoning.fill_null(0)).otherwise(0)
    return [
        (_OUTPUT + beside).alias("output_tokens"),
        (outside & (beside > 0)).alias("_output_is_sum"),
        (~outside & (reasoning > _OUTPUT)).fill_null(value=False).alias("_negative_reasoning"),
    ]


def _reasoning() -> pl.Expr:
    within = ~pl.col("_negative_reasoning")
    reasoning = pl.when(within).then(pl.coalesce(_REASONING, "_hidden"))
    return reasoning.alias("reasoning_output_tokens")


def _origins() -> list[pl.Expr]:
    holds_cached, cacheless = _holds("input_holds_cached"), pl.col("_cacheless")
    creation = pl.col("_creation")
    holds_creation = _holds("input_holds_cache_creation")
    derived_when = {
        "uncached_input_tokens": holds_cached | (holds_creation & creation.is_not_null()),
        "cached_input_tokens": cacheless & _CACHED.is_null(),
        "cache_creation_input_tokens": pl.col("_creation_is_nested")
        | (cacheless & pl.col("_nested").is_null() & _FLAT.is_null()),
        "cache_creation_1h_input_tokens": _1H.is_null(),
        "unsplit_input_tokens": (pl.col("unsplit_input_tokens") == 0)
        | (creation.fill_null(0) > 0)
        | (holds_cached & (pl.col("_cached").fill_null(0) > 0)),
        "output_tokens": pl.col("_output_is_sum"),
        "reasoning_output_tokens": pl.col("_hidden").is_not_null(),
    }
    return [_origin(bucket, derived_when[bucket]) for bucket in (*BUCKETS, *SUBCOUNTS)]


def _origin(bucket: str, derived: pl.Expr) -> pl.Expr:
    guessed = pl.col(f"_{OUTPUT if OUTPUT in bucket else INPUT}")
    stated = pl.col(bucket)
    if bucket == "cache_creation_1h_input_tokens":
        # The split disagrees with the flat number, so its share of one hour is taken on trust.
        guessed |= _split_disagrees()
    elif bucket == "reasoning_output_tokens":
        stated = _reasoning()
    return (
        pl.when(stated.is_null())
        .then(None)
        .when(guessed)
        .then(pl.lit(ASSUMED))
        .when(derived | pl.col("difference"))
        .then(pl.lit(DERIVED))
        .otherwise(pl.lit(REPORTED_ORIGIN))
        .alias(f"{bucket}_origin")
    )


def _split_disagrees() -> pl.Expr:
    return ((pl.col("_nested") != pl.col("_creation")) & (_FLAT > 0)).fill_null(value=False)


_PROMPT: Final = tuple(bucket for bucket in BUCKETS if bucket != "output_tokens")


def _input_sum() -> pl.Expr:
    known = pl.any_horizontal(pl.col(_PROMPT).is_not_null())
    return pl.when(known).then(pl.sum_horizontal(_PROMPT)).alias("input_tokens")


def _total() -> pl.Expr:
    known = pl.col("input_tokens").is_not_null() | _OUTPUT.is_not_null()
    total = pl.when(known).then(pl.sum_horizontal("input_tokens", "output_tokens"))
    return total.alias("total_tokens")


def _context() -> pl.Expr:
    """The prompt size a price tier is judged by; unknown for a sum over several requests."""
    single = (pl.col("kind") == "call") & (pl.col("calls") == 1) & ~pl.col("difference")
    return (
        pl.when(single).then(pl.coalesce("context_tokens", "input_tokens")).alias("context_tokens")
    )


def _with_media(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds MEDIA_COUNTS, of each call; of a difference of totals nobody knows what was audio."""
    if rows["media_counts"].null_count() == rows.height:
        nothing = [pl.lit(None, pl.Int64).alias(name) for name in MEDIA_COUNTS]
        return rows.with_columns(*nothing, _negative_media=pl.lit(value=False))
    stated = pl.when(~pl.col("difference")).then("media_counts")
    counts = {name: stated.list.get(n, null_on_oob=True) for n, name in enumerate(MEDIA_COUNTS)}
    parts = {
        "input_tokens": ("audio_input_tokens", "image_input_tokens"),
        "cached_input_tokens": ("cached_audio_input_tokens", "cached_image_input_tokens"),
        "output_tokens": ("audio_output_tokens", "image_output_tokens"),
    }
    larger = [
        pl.sum_horizontal(counts[part] for part in names) > pl.col(whole).fill_null(0)
        for whole, names in parts.items()
    ]
    return rows.with_columns(_negative_media=pl.any_horizontal(larger)).with_columns(
        pl.when(~pl.col("_negative_media")).then(count).alias(name)
        for name, count in counts.items()
    )


@cache
def _problems() -> tuple[tuple[str, pl.Expr], ...]:
    """The problems of the counts, each with its condition."""
    creation = pl.col("_creation").fill_null(0)
    beside = (
        pl.when(~_holds("output_holds_reasoning")).then(_REASONING.fill_null(0)).otherwise(0)
        + pl.when(~_holds("input_holds_cached")).then(_CACHED.fill_null(0)).otherwise(0)
        + pl.when(~_holds("input_holds_cache_creation")).then(creation).otherwise(0)
    )
    whole = _INPUT + _OUTPUT + beside + pl.col("_hidden").fill_null(0)
    mismatch = _holds("total_is_sum") & (whole != _TOTAL)
    negative = _is_negative() | pl.col("_negative_reasoning") | pl.col("_negative_media")
    return (
        ("negative-bucket", negative),
        ("total-mismatch", mismatch),
        ("cache-split-mismatch", _split_disagrees() & (pl.col("_nested") > 0)),
    )
