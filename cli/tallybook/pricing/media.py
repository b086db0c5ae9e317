"""What audio and images cost beyond text: their tokens are in its counts, at other rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from tallybook.pricing.rules import image_is_output, one_input_price
from tallybook.pricing.table import OVERRIDE, Rate
from tallybook.schema import MEDIA_COUNTS

_INPUTS: Final = (
    ("audio_input_tokens", "cached_audio_input_tokens"),
    ("image_input_tokens", "cached_image_input_tokens"),
)
_READS: Final = frozenset(read for _, read in _INPUTS)
_OUTPUTS: Final = ("audio_output_tokens", "image_output_tokens")
SCHEMA: Final[dict[str, Any]] = {
    **{f"{name}{bound}": pl.Int64 for bound in ("_rate", "_low", "_high") for name in MEDIA_COUNTS},
    "image_input_assumed": pl.Boolean,
}
# What the stage adds to the low and to the high bound of a cost.
LOW: Final = "_media_low"
HIGH: Final = "_media_high"
UNPRICED: Final = "_media_unpriced"
ASSUMED: Final = "_media_assumed"


def are_stated(calls: pl.DataFrame) -> bool:
    """Whether any call has tokens that are not text. Hardly a log has, and nothing is done then."""
    return any((calls[name].max() or 0) > 0 for name in MEDIA_COUNTS)  # type: ignore[operator]


def rates_of(rows: Sequence[Rate], provider: str | None, model: str | None) -> list[Any]:
    """Values of SCHEMA: rates, bounds over `rows`, the base tier's row first."""
    found = [_rates(row, provider, model) for row in rows]
    bounds = [[rate for rate in each if rate is not None] for each in zip(*found, strict=True)]
    own = rows[0].media
    alike = own[2] if own else None
    low = [min(bound, default=None) for bound in bounds]
    if "cached" in rows[0].borrowed:  # it may have cost nothing, as text may
        low = [
            rate and 0 if name in _READS else rate
            for name, rate in zip(MEDIA_COUNTS, low, strict=True)
        ]
    return [
        *found[0],
        *low,
        *(max(bound, default=None) for bound in bounds),
        alike is None and not one_input_price(provider) and rows[0].basis != OVERRIDE,
    ]


def _rates(row: Rate, provider: str | None, model: str | None) -> tuple[int | None, ...]:
    """One for each of MEDIA_COUNTS, None where nobody states what it costs."""
    if not any((row.uncached, row.cached, row.output)) and row.uncached is not None:
        return (0,) * len(MEDIA_COUNTS)
    own = row.media or (None,) * len(MEDIA_COUNTS)
    like_text = one_input_price(provider) or row.basis == OVERRIDE
    audio = (row.uncached, row.cached) if like_text else (None, None)
    image_made = row.output if row.basis == OVERRIDE or image_is_output(model) else None
    audio_made = row.output if row.basis == OVERRIDE else None
    text = (*audio, row.uncached, row.cached, audio_made, image_made)
    return tuple(like if rate is None else rate for rate, like in zip(own, text, strict=True))


def billed(name: str) -> str:
    """The column of how many tokens are billed at the rate of a count, see `with_billed`."""
    return f"{name}_billed"


def with_billed(calls: pl.DataFrame) -> pl.DataFrame:
    """Add how many tokens are billed at the rate of each of MEDIA_COUNTS; they are not as text.

    `calls` have the counts and rates that `add_costs` needs; without any of them all is null.
    """
    if "image_input_assumed" not in calls.columns:
        nothing = [f(name) for name in MEDIA_COUNTS for f in (billed, rate_of)]
        return calls.with_columns(pl.lit(None, pl.Int64).alias(name) for name in nothing)
    found = {billed(name): _count(name) for name in _OUTPUTS}
    for fresh, read in _INPUTS:
        held = pl.coalesce(read, _least_cached(fresh))
        found |= {billed(fresh): _count(fresh) - held, billed(read): held}
    return calls.with_columns(**found)


def rate_of(name: str) -> str:
    """The column of the rate of one of MEDIA_COUNTS."""
    return f"{name}_rate"


def add_costs(calls: pl.DataFrame) -> pl.DataFrame:
    """Put what media cost beyond text into the costs of the buckets, and into LOW and HIGH.

    `calls` have the rates of text and SCHEMA, and the costs of their buckets as if all were text.
    """
    uncached, cached, low, high = [], [], [], []
    for fresh, read in _INPUTS:
        tokens, held = _count(fresh), pl.coalesce(read, _least_cached(fresh))
        uncached.append((tokens - held) * _beyond(fresh, "uncached"))
        cached.append(held * _beyond(read, "cached"))
        low.append(
            pl.min_horizontal(_at(fresh, read, split, "_low") for split in _splits(fresh, read))
        )
        high.append(
            pl.max_horizontal(_at(fresh, read, split, "_high") for split in _splits(fresh, read))
        )
    made = [_count(name) * _beyond(name, "output") for name in _OUTPUTS]
    low += [_count(name) * _beyond(name, "output", "_low") for name in _OUTPUTS]
    high += [_count(name) * _beyond(name, "output", "_high") for name in _OUTPUTS]
    missing = [(_count(name) > 0) & pl.col(f"{name}_rate").is_null() for name in MEDIA_COUNTS]
    return calls.with_columns(
        uncached_input_cost=pl.col("uncached_input_cost") + pl.sum_horizontal(uncached),
        cached_input_cost=pl.col("cached_input_cost") + pl.sum_horizontal(cached),
        output_cost=pl.col("output_cost") + pl.sum_horizontal(made),
        **{LOW: pl.sum_horizontal(low), HIGH: pl.sum_horizontal(high)},
        **{UNPRICED: pl.any_horizontal(missing)},
        **{ASSUMED: (_count("image_input_tokens") > 0) & pl.col("image_input_assumed")},
    )


def _count(name: str) -> pl.Expr:
    return pl.col(name).fill_null(0).cast(pl.Int128)


def _beyond(name: str, text: str, bound: str = "") -> pl.Expr:
    """What a token of a medium costs more than one of text."""
    return pl.col(f"{name}{bound or '_rate'}") - pl.col(f"{text}{bound}")


def _least_cached(fresh: str) -> pl.Expr:
    """The least of a medium that must have come from the cache, as the rest does not hold it."""
    return (_count(fresh) - pl.col("uncached_tokens").fill_null(0)).clip(lower_bound=0)


def _splits(fresh: str, read: str) -> tuple[pl.Expr, pl.Expr]:
    """The least and the most of a medium that can have come from the cache."""
    most = pl.min_horizontal(_count(fresh), _count("cached_input_tokens"))
    return pl.coalesce(read, _least_cached(fresh)), pl.coalesce(read, most)


def _at(fresh: str, read: str, held: pl.Expr, bound: str) -> pl.Expr:
    """What a medium costs beyond text where `held` of it came from the cache."""
    rate, text = pl.col(f"{fresh}{bound}"), pl.col(f"uncached{bound}")
    if bound == "_low":
        # Of a prompt that nobody split all may have been cached.
        unsplit = pl.col("unsplit_input_tokens").fill_null(0) > 0
        rate = pl.when(unsplit).then(pl.min_horizontal(rate, f"{read}{bound}")).otherwise(rate)
        text = pl.when(unsplit).then("input_low").otherwise(text)
    return (_count(fresh) - held) * (rate - text) + held * _beyond(read, "cached", bound)
