"""Turns reported counts into disjoint buckets with origins: the one place that subtracts."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs

from tallybook.dialects import DIALECTS
from tallybook.schema import (
    ASSUMED,
    BUCKETS,
    CACHE_TWICE,
    DERIVED,
    MEDIA_COUNTS,
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


def normalize(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Adds the buckets, an `<bucket>_origin` each, `input_tokens`, `total_tokens`.

    A count that the row does not state stays null. Where parts are larger than what should hold
    them the buckets of that direction are null and `negative-bucket` is added to `problems`.
    """
    return (
        rows.pipe(_with_containment)
        .pipe(_with_cache_creation)
        .pipe(_with_no_cache)
        .pipe(_with_1h)
        .pipe(_with_input)
        .pipe(_with_output)
        .pipe(_with_origins)
        .pipe(_with_sums)
        .pipe(_with_media)
        .pipe(_with_problems)
        .pipe(_with_context)
        .drop(cs.starts_with("_"))
    )


def dialect_holds(flag: str, column: str = "dialect", *, unknown: bool = False) -> pl.Expr:
    """A fact of the row's dialect, `unknown` where the row has none."""
    facts = {name: getattr(dialect, flag) for name, dialect in DIALECTS.items()}
    return pl.col(column).replace_strict(facts, default=unknown, return_dtype=pl.Boolean)


def _with_containment(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(
        _holds_cached=dialect_holds("input_holds_cached"),
        _holds_creation=dialect_holds("input_holds_cache_creation"),
        _holds_reasoning=dialect_holds("output_holds_reasoning", unknown=True),
        _total_is_sum=dialect_holds("total_is_sum"),
        _hidden=_hidden(),
        _nested=pl.when(_5M.is_not_null() | _1H.is_not_null()).then(
            _5M.fill_null(0) + _1H.fill_null(0)
        ),
    )


def _hidden() -> pl.Expr:
    """Reasoning that only the total shows; null where the total shows none."""
    rest = _TOTAL - _INPUT - _OUTPUT
    return pl.when(dialect_holds("total_holds_hidden") & _REASONING.is_null() & (rest > 0)).then(
        rest
    )


def _with_no_cache(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Where there is no cache, nothing of a stated input was read from or written to one."""
    none = ~dialect_holds("uses_cache", unknown=True) & _INPUT.is_not_null()
    return rows.with_columns(
        _cached=pl.when(none & _CACHED.is_null()).then(0).otherwise(_CACHED),
        _creation=pl.when(none & pl.col("_creation").is_null()).then(0).otherwise("_creation"),
        _cacheless=none,
    )


def _with_cache_creation(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Settles the flat number of cache writes against its split by lifetime.

    Builds that write 0 into the flat number while the split states writes exist, so a flat 0 gives
    way to a positive split. Gateways do the opposite and leave zeros in the split.
    """
    nested = pl.col("_nested")
    from_nested = (_FLAT.fill_null(0) == 0) & (nested > 0)
    return rows.with_columns(
        _creation=pl.when(from_nested).then(nested).otherwise(pl.coalesce(_FLAT, nested)),
        _creation_is_nested=from_nested.fill_null(value=False),
    )


def _with_1h(rows: pl.LazyFrame) -> pl.LazyFrame:
    creation, nested = pl.col("_creation"), pl.col("_nested")
    return rows.with_columns(
        pl.when(creation == 0)
        .then(0)
        .when(_1H.is_not_null())
        .then(pl.min_horizontal(_1H, creation))
        .when(nested == creation)
        .then(0)
        .alias("cache_creation_1h_input_tokens")
    )


def _with_input(rows: pl.LazyFrame) -> pl.LazyFrame:
    holds_cached, holds_creation = pl.col("_holds_cached"), pl.col("_holds_creation")
    cached = pl.col("_cached")
    held_creation = pl.when(holds_creation).then(pl.col("_creation").fill_null(0)).otherwise(0)
    held = pl.when(holds_cached).then(cached.fill_null(0)).otherwise(0) + held_creation
    # Of a cache that was perhaps added twice the least is taken: the prompt without both.
    twice = pl.col("problems").list.contains(CACHE_TWICE).fill_null(value=False)
    held = pl.when(twice).then(2 * held).otherwise(held)
    hidden = dialect_holds("input_hides_cache_creation") & pl.col("_creation").is_null()
    split = _INPUT.is_not_null() & (~holds_cached | cached.is_not_null()) & ~hidden
    return (
        rows.with_columns(_negative=(held > _INPUT).fill_null(value=False))
        .with_columns(
            uncached_input_tokens=pl.when(split & ~pl.col("_negative")).then(_INPUT - held),
            cached_input_tokens=pl.when(~pl.col("_negative")).then(cached),
            cache_creation_input_tokens=pl.when(~pl.col("_negative")).then(pl.col("_creation")),
            unsplit_input_tokens=pl.when(~pl.col("_negative") & _INPUT.is_not_null()).then(
                pl.when(split).then(0).otherwise(_INPUT - held)
            ),
        )
        .with_columns(pl.when(~pl.col("_negative")).then(pl.col("cache_creation_1h_input_tokens")))
    )


def _with_output(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The output with the reasoning that lies outside of the stated one, or in the total only."""
    reasoning = pl.coalesce(_REASONING, "_hidden")
    outside = ~pl.col("_holds_reasoning") | pl.col("_hidden").is_not_null()
    beside = pl.when(outside).then(reasoning.fill_null(0)).otherwise(0)
    return rows.with_columns(
        output_tokens=_OUTPUT + beside,
        _output_is_sum=outside & (beside > 0),
        _negative_reasoning=(~outside & (reasoning > _OUTPUT)).fill_null(value=False),
    ).with_columns(reasoning_output_tokens=pl.when(~pl.col("_negative_reasoning")).then(reasoning))


def _with_origins(rows: pl.LazyFrame) -> pl.LazyFrame:
    subtracted = pl.col("_holds_cached") | (
        pl.col("_holds_creation") & pl.col("_creation").is_not_null()
    )
    cacheless = pl.col("_cacheless")
    derived_when = {
        "uncached_input_tokens": subtracted,
        "cached_input_tokens": cacheless & _CACHED.is_null(),
        "cache_creation_input_tokens": pl.col("_creation_is_nested")
        | (cacheless & pl.col("_nested").is_null() & _FLAT.is_null()),
        "cache_creation_1h_input_tokens": _1H.is_null(),
        "unsplit_input_tokens": (pl.col("unsplit_input_tokens") == 0)
        | (pl.col("_creation").fill_null(0) > 0)
        | (pl.col("_holds_cached") & (pl.col("_cached").fill_null(0) > 0)),
        "output_tokens": pl.col("_output_is_sum"),
        "reasoning_output_tokens": pl.col("_hidden").is_not_null(),
    }
    return rows.with_columns(
        _origin(bucket, derived_when[bucket]).alias(f"{bucket}_origin")
        for bucket in (*BUCKETS, *SUBCOUNTS)
    )


def _origin(bucket: str, derived: pl.Expr) -> pl.Expr:
    origin = (
        pl.when(derived | pl.col("difference"))
        .then(pl.lit(DERIVED))
        .otherwise(pl.lit(REPORTED_ORIGIN))
    )
    if bucket == "cache_creation_1h_input_tokens":
        # The split disagrees with the flat number, so its share of one hour is taken on trust.
        origin = pl.when(_split_disagrees()).then(pl.lit(ASSUMED)).otherwise(origin)
    direction = "output" if "output" in bucket else "input"
    guessed = pl.col("assumed").list.contains(direction).fill_null(value=False)
    origin = pl.when(guessed).then(pl.lit(ASSUMED)).otherwise(origin)
    return pl.when(pl.col(bucket).is_not_null()).then(origin)


def _split_disagrees() -> pl.Expr:
    return ((pl.col("_nested") != pl.col("_creation")) & (_FLAT > 0)).fill_null(value=False)


def _with_sums(rows: pl.LazyFrame) -> pl.LazyFrame:
    parts = [pl.col(bucket) for bucket in BUCKETS if bucket != "output_tokens"]
    known = pl.any_horizontal(part.is_not_null() for part in parts)
    return rows.with_columns(
        input_tokens=pl.when(known).then(pl.sum_horizontal(parts))
    ).with_columns(
        total_tokens=pl.when(known | _OUTPUT.is_not_null()).then(
            pl.sum_horizontal("input_tokens", "output_tokens")
        )
    )


def _with_media(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Adds MEDIA_COUNTS, of each call; of a difference of totals nobody knows what was audio."""
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


def _with_problems(rows: pl.LazyFrame) -> pl.LazyFrame:
    reasoning = pl.when(~pl.col("_holds_reasoning")).then(_REASONING.fill_null(0)).otherwise(0)
    cached = pl.when(~pl.col("_holds_cached")).then(_CACHED.fill_null(0)).otherwise(0)
    creation = (
        pl.when(~pl.col("_holds_creation")).then(pl.col("_creation").fill_null(0)).otherwise(0)
    )
    whole = _INPUT + cached + creation + _OUTPUT + reasoning + pl.col("_hidden").fill_null(0)
    mismatch = pl.col("_total_is_sum") & (whole != _TOTAL)
    return rows.with_columns(
        problems=add_problem(
            (
                "negative-bucket",
                pl.col("_negative") | pl.col("_negative_reasoning") | pl.col("_negative_media"),
            ),
            ("total-mismatch", mismatch.fill_null(value=False)),
            ("cache-split-mismatch", _split_disagrees() & (pl.col("_nested") > 0)),
        )
    )


def add_problem(*codes: tuple[str, pl.Expr]) -> pl.Expr:
    """`problems` with each code whose condition holds (never null) put behind what is there."""
    given = pl.col("problems").fill_null(_NOTHING).alias("problems")
    conditions = [condition.alias(code) for code, condition in codes]
    return pl.struct(given, *conditions).map_batches(
        _added, pl.List(pl.String), is_elementwise=True
    )


_NOTHING = pl.lit([], dtype=pl.List(pl.String))


def _added(given: pl.Series) -> pl.Series:
    """Lists are dear, and few rows have problems: only theirs are put together, each code once."""
    rows = given.struct.unnest().with_row_index("row")
    codes = rows.columns[2:]
    extra = [
        pl.when(pl.col(code)).then(pl.lit([code], dtype=pl.List(pl.String))).otherwise(_NOTHING)
        for code in codes
    ]
    several = pl.col("problems").list.len() > 1
    more = rows.filter(pl.any_horizontal(*codes, several)).select(
        "row", more=pl.concat_list("problems", *extra).list.unique(maintain_order=True)
    )
    if more.is_empty():
        return rows["problems"]
    joined = rows.select("row", "problems").join(more, on="row", how="left", maintain_order="left")
    return joined.select(pl.coalesce("more", "problems")).to_series().alias("problems")


def _with_context(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The prompt size a price tier is judged by; unknown for a sum over several requests."""
    single = (pl.col("kind") == "call") & (pl.col("calls") == 1) & ~pl.col("difference")
    return rows.with_columns(
        context_tokens=pl.when(single).then(
            pl.coalesce(pl.col("context_tokens"), pl.col("input_tokens"))
        )
    )
