"""The stage that prices calls: exact femto-dollars per bucket, unknown stays unknown."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import Any, Final

import polars as pl

from tallybook.pricing import media, tools
from tallybook.pricing.in_force import KEY_COLUMNS, add_rates
from tallybook.pricing.rates import Rates
from tallybook.pricing.table import RATES
from tallybook.schema import COUNTED_KINDS, MEDIA_COUNTS, TOOL_COUNTS, TOOL_FEES
from tallybook.values import names_in

# The words of `price_status`.
PRICED: Final = "priced"
PRICED_FALLBACK_RATE: Final = "priced_fallback_rate"  # a cache rate the provider does not list
FREE: Final = "free"
ASSUMED_LIST_PRICE: Final = "assumed_list_price"  # no time, or the paid price is not known
TIER_UNKNOWN: Final = "tier_unknown"  # the prompt size decides, and is not known
BEFORE_FIRST_PRICE: Final = "before_first_price"
UNPRICED: Final = "unpriced"  # tokens without a rate
NO_COUNTS: Final = "no_counts"  # nothing to price: the log states no counts
NOT_BILLED: Final = "not_billed"  # the model refused before any output
NOT_COUNTED: Final = "not_counted"  # a duplicate, an event, a problem

BUCKET_COSTS: Final = (
    "uncached_input_cost",  # unsplit input is in here, at the uncached rate
    "cached_input_cost",
    "cache_creation_cost",
    "output_cost",
    "web_search_cost",
    tools.COST,
)
COSTS: Final = (*BUCKET_COSTS, "cost", "cost_low", "cost_high")

_ONE_HOUR: Final = "cache_creation_1h_input_tokens"

# Costs are whole femto-dollars (1e-15 USD): sums in any order are the same to the last digit.
FEMTO: Final = pl.Int128
_NARROW: Final = 2**59  # costs below it are worked out with half the digits, in half the time
SCHEMA: Final[dict[str, Any]] = {
    **dict.fromkeys(COSTS, FEMTO),
    # What of the highest cost is for an output that may be this call's or that of another one.
    "perhaps_output_cost": FEMTO,
    "price_status": pl.String,
    "price_model": pl.String,
    "price_provider": pl.String,
    "price_from": pl.Datetime("us", "UTC"),
}
NEEDED: Final = (
    *KEY_COLUMNS,
    *names_in(
        "timestamp kind duplicate_of context_tokens input_tokens input_lower_bound"
        " perhaps_uncached_tokens perhaps_output_tokens unbounded uncached_input_tokens"
        " cached_input_tokens cache_creation_input_tokens cache_creation_1h_input_tokens"
        " unsplit_input_tokens output_tokens"
    ),
    *MEDIA_COUNTS,
    *names_in("web_search_requests tool_counts refused problems"),
)


def price(usage: pl.DataFrame, rates: Rates) -> pl.DataFrame:
    """Add the columns of SCHEMA to a USAGE frame.

    Costs are null where a counted token has no price (`price_status` says why) and on rows that do
    not count. `cost_low` and `cost_high` differ from `cost` where the split of the input, the
    lifetime of a cache write or the tier is unknown, or where the prompt may be larger by its
    cache; `cost_high` of what nothing bounds, and of calls with TOOL_FEES, is null. Calls whose
    tools have no fee at their seller and time get that problem here. Calls without a time get the
    last price that is known.
    """
    worked = _worked(usage.select(NEEDED), rates)
    priced = usage.with_columns(worked.select(SCHEMA.keys()).get_columns())
    if tools.OPEN not in worked.columns:
        return priced
    own = pl.coalesce("problems", pl.lit([], pl.List(pl.String)))
    told = pl.concat_list(own, pl.lit(TOOL_FEES)).list.unique().list.sort()
    is_open = worked.select(pl.col("counted") & pl.col(tools.OPEN)).to_series()
    return priced.with_columns(problems=pl.when(is_open).then(told).otherwise("problems"))


def working(calls: pl.DataFrame, rates: Rates) -> pl.DataFrame:
    """The columns of SCHEMA for USAGE rows, with the counts and rates of PRICED_COUNTS beside them.

    Beside these stands how many tokens of each medium are billed at its own rate, and no longer at
    that of text (`media.billed`, `media.rate_of`). Where a call is billed, its `cost` is the sum of
    each count times its rate.
    """
    names = [name for pair in PRICED_COUNTS for name in pair]
    names += [f(name) for name in MEDIA_COUNTS for f in (media.billed, media.rate_of)]
    names += [f(name) for name in TOOL_COUNTS for f in (str, tools.fee_of)]
    worked = media.with_billed(_worked(calls.select(NEEDED), rates))
    return tools.with_counts(worked).select(*SCHEMA.keys(), *names)


def dollars(femto: pl.Expr) -> pl.Expr:
    """Whole femto-dollars as Decimal(38, 15) dollars, exact."""
    return femto.cast(pl.Decimal(38, 0)) * pl.lit(Decimal("1E-15"))


def _worked(calls: pl.DataFrame, rates: Rates) -> pl.DataFrame:
    calls = add_rates(calls, rates).with_columns(_counts())
    has_media, has_tools = "image_input_assumed" in calls.columns, tools.are_stated(calls)
    if has_media or has_tools or _are_dear(calls):
        calls = calls.with_columns(pl.col(_TOKENS).cast(FEMTO))
    calls = calls.with_columns(_bucket_costs())
    if has_media:
        calls = media.add_costs(calls)
    if has_tools:
        calls = tools.add_costs(calls)
    for step in _steps(has_media, has_tools):
        calls = calls.with_columns(step)
    return calls


def _are_dear(calls: pl.DataFrame) -> bool:
    """Whether costs may need more digits than whole numbers of 64 bits have."""
    most = calls.select(pl.col(*_TOKENS, *_HIGHEST).abs().max()).row(0, named=True)
    rates = (most[name] or 0 for name in _HIGHEST if name != "search_high")
    tokens = (most[name] or 0 for name in _TOKENS)
    searches = (most["web_search_requests"] or 0) * (most["search_high"] or 0)
    return max(tokens) * max(rates) + searches >= _NARROW


@cache
def _counts() -> list[pl.Expr]:
    """Whether a row counts, and its tokens by what they cost; made once, as all that follows."""
    written, one_hour = pl.col("cache_creation_input_tokens"), pl.col(_ONE_HOUR).fill_null(0)
    counted = pl.col("kind").is_in(COUNTED_KINDS) & pl.col("duplicate_of").is_null()
    return [
        counted.alias("counted"),
        _known_sum("uncached_input_tokens", "unsplit_input_tokens").alias("uncached_tokens"),
        (written - one_hour).alias("five_minutes"),
        pl.when(written.is_not_null()).then(one_hour).alias("one_hour"),
    ]


@cache
def _bucket_costs() -> list[pl.Expr]:
    creation = _cost("five_minutes", "creation_5m") + _cost("one_hour", "creation_1h")
    return [
        _cost("uncached_tokens", "uncached").alias("uncached_input_cost"),
        _cost("cached_input_tokens", "cached").alias("cached_input_cost"),
        creation.alias("cache_creation_cost"),
        _cost("output_tokens", "output").alias("output_cost"),
        _cost("perhaps_output_tokens", "output_high").alias("perhaps_output_cost"),
        _cost("web_search_requests", "search").alias("web_search_cost"),
        pl.lit(None, pl.Int64).alias(tools.COST),
    ]


@cache
def _steps(has_media: bool, has_tools: bool) -> tuple[list[pl.Expr], ...]:
    """What follows from the costs of the buckets, each step from what is there by then."""
    low, high = _low(), _high()
    if has_media:
        low, high = low + pl.col(media.LOW), high + pl.col(media.HIGH)
    if has_tools:
        low, high = low + _tool_cost(), high + _tool_cost() + pl.col(tools.MORE)
    dearer = pl.col("perhaps_dearer") | pl.col("problems").list.contains(TOOL_FEES)
    open_above = pl.col("unbounded") | dearer.fill_null(value=False)
    if has_tools:
        open_above |= pl.col(tools.OPEN)
    bounded = pl.when(~open_above).then(_if_known(high))
    whole = _if_known(pl.sum_horizontal(BUCKET_COSTS))
    sums = {"cost": whole, "cost_low": _if_known(low), "cost_high": bounded}
    billed = [
        pl.when("counted").then(pl.when("refused").then(0).otherwise(name)).cast(FEMTO).alias(name)
        for name in COSTS
    ]
    return (
        [_any_stated().alias("_stated"), _unpriced(has_media).alias("_unpriced")],
        [
            _status(has_media).alias("price_status"),
            *(value.alias(name) for name, value in sums.items()),
        ],
        [*billed, pl.col("perhaps_output_cost").cast(FEMTO)],
    )


def _tool_cost() -> pl.Expr:
    return pl.col(tools.COST).fill_null(0)


def _known_sum(*columns: str) -> pl.Expr:
    stated = pl.any_horizontal(pl.col(name).is_not_null() for name in columns)
    return pl.when(stated).then(pl.sum_horizontal(columns))


def _cost(tokens: str, rate: str) -> pl.Expr:
    """Null where the count or its rate is unknown; nothing costs nothing, whatever the rate."""
    return pl.when(pl.col(tokens) == 0).then(0).otherwise(_at(tokens, rate))


def _at(tokens: str, rate: str) -> pl.Expr:
    """The same in a sum, where what is null adds nothing."""
    return pl.col(tokens) * pl.col(rate)


# The counts that are priced, each with its rate and the column of its cost.
PRICED_COUNTS: Final = (
    ("uncached_tokens", "uncached"),
    ("cached_input_tokens", "cached"),
    ("five_minutes", "creation_5m"),
    ("one_hour", "creation_1h"),
    ("output_tokens", "output"),
    ("web_search_requests", "search"),
)


_TOKENS: Final = (
    *(tokens for tokens, _ in PRICED_COUNTS),
    "uncached_input_tokens",
    "unsplit_input_tokens",
    "perhaps_uncached_tokens",
    "perhaps_output_tokens",
)
_HIGHEST: Final = tuple(f"{name}_high" for name in (*RATES, "input"))


def _any_stated() -> pl.Expr:
    return pl.any_horizontal(pl.col(tokens).is_not_null() for tokens, _ in PRICED_COUNTS)


def _unpriced(has_media: bool) -> pl.Expr:
    missing = [(pl.col(tokens) != 0) & pl.col(rate).is_null() for tokens, rate in PRICED_COUNTS]
    if has_media:
        missing.append(pl.col(media.UNPRICED))
    return pl.any_horizontal(*missing, _unknown_without_price()).fill_null(value=False)


def _unknown_without_price() -> pl.Expr:
    """Tokens nobody stated, of a model without any price: zeros beside them prove no cost."""
    no_price = pl.col("uncached").is_null() & pl.col("output").is_null()
    return no_price & (pl.col("uncached_tokens").is_null() | pl.col("output_tokens").is_null())


def _if_known(cost: pl.Expr) -> pl.Expr:
    return pl.when(pl.col("_stated") & ~pl.col("_unpriced")).then(cost)


def _low() -> pl.Expr:
    return pl.sum_horizontal(
        _at("uncached_input_tokens", "uncached_low"),
        _at("unsplit_input_tokens", "input_low"),
        _at("cached_input_tokens", "cached_low"),
        _at("five_minutes", "creation_5m_low"),
        _at("one_hour", "creation_1h_low"),
        _at("output_tokens", "output_low"),
        _at("web_search_requests", "search_low"),
    )


def _high() -> pl.Expr:
    # A cache write of unknown lifetime is priced at five minutes, and may have been an hour.
    unknown_lifetime = pl.col("cache_creation_1h_input_tokens").is_null()
    # Writes that were not stated are in what is left of the prompt, where there were any.
    unknown_writes = pl.col("cache_creation_input_tokens").is_null()
    return pl.sum_horizontal(
        pl.when(unknown_writes)
        .then(_at("uncached_input_tokens", "input_high"))
        .otherwise(_at("uncached_input_tokens", "uncached_high")),
        _at("perhaps_uncached_tokens", "uncached_high"),
        _at("unsplit_input_tokens", "input_high"),
        _at("cached_input_tokens", "cached_high"),
        pl.when(unknown_lifetime)
        .then(_at("five_minutes", "creation_1h_high"))
        .otherwise(_at("five_minutes", "creation_5m_high")),
        _at("one_hour", "creation_1h_high"),
        _at("output_tokens", "output_high"),
        "perhaps_output_cost",
        _at("web_search_requests", "search_high"),
    )


def _status(has_media: bool) -> pl.Expr:
    borrowed = pl.any_horizontal(
        (pl.col(tokens) > 0) & pl.col(f"{rate}_borrowed") for tokens, rate in PRICED_COUNTS[1:4]
    )
    assumed = pl.col("timestamp").is_null() | pl.col("assumed")
    if has_media:
        assumed |= pl.col(media.ASSUMED).fill_null(value=False)
    found = (
        (~pl.col("counted"), NOT_COUNTED),
        (pl.col("refused"), NOT_BILLED),
        (~pl.col("_stated"), NO_COUNTS),
        (pl.col("_unpriced") & pl.col("too_early"), BEFORE_FIRST_PRICE),
        (pl.col("_unpriced"), UNPRICED),
        (pl.col("free"), FREE),
        (pl.col("tier_open"), TIER_UNKNOWN),
        (assumed, ASSUMED_LIST_PRICE),
        (borrowed, PRICED_FALLBACK_RATE),
    )
    number = pl.lit(len(found), pl.UInt8)
    for place in reversed(range(len(found))):
        number = pl.when(found[place][0]).then(pl.lit(place, pl.UInt8)).otherwise(number)
    return pl.lit(pl.Series([*(word for _, word in found), PRICED])).gather(number)
