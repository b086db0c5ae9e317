"""What was used, in pieces as small as any comparison with another's figures needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from itertools import combinations
from operator import and_
from typing import Final, NamedTuple

import msgspec
import polars as pl

from tallybook.pricing.cost import BUCKET_COSTS, SCHEMA, price, working
from tallybook.pricing.rates import Rates
from tallybook.report.line_items import KINDS
from tallybook.report.query import Query
from tallybook.report.statements import Statement, Statements, canonical
from tallybook.report.sums import counted, recorded, selected

LOGGED: Final = "logged"  # the form of what logs themselves say
TOKENS: Final = ("input", "cached", "creation", "output")
_SLOT: Final = "15m"  # days begin at quarters of an hour, in some zones
_SAME: Final = "same-response"
# Of each kind of cost its part of Sums and the column of what was priced.
_PARTS: Final = dict(zip((f"{kind}_cost" for kind in KINDS), BUCKET_COSTS, strict=True))
PARTS: Final = tuple(_PARTS)
# What a cost may be without: each is a price of the same counts on other terms.
TIERS: Final = ("base", "standard", "brief")
ON_TERMS: Final = (*TIERS, *("_".join(two) for two in combinations(TIERS, 2)))
_TERMS: Final = {
    "base": {"context_tokens": pl.lit(0, pl.Int64)},
    "standard": {
        name: pl.lit(None, pl.String) for name in ("service_tier", "speed", "inference_geo")
    },
    "brief": {"cache_creation_1h_input_tokens": pl.lit(0, pl.Int64)},
}
# What counts would cost at the rate of another kind, or as a part of their own.
_AS_ELSE: Final[dict[str, tuple[str, str]]] = {
    "cached_full": ("cached_input_tokens", "uncached"),
    "creation_full": ("cache_creation_input_tokens", "uncached"),
    "reasoning_cost": ("reasoning_output_tokens", "output"),
    "late_cost": ("_late", "output"),
}


class Sums(msgspec.Struct):
    """Counts and femto-dollars.

    `base`, `standard` and `brief` are what the cost would be in the lowest tier of prompts, in the
    usual service tier, and with all cache writes for five minutes; there is one for two of them at
    once, too. The costs of PARTS add up to `cost`; `cached_full` and `creation_full` are what the
    caches would cost as uncached input. `late` is what of the output the log did not have yet
    where it first stated the call. `bounded`: of some call the log never had the last output.
    """

    calls: int = 0
    input: int = 0
    cached: int = 0
    creation: int = 0
    output: int = 0
    reasoning: int = 0
    late: int = 0
    cost: int = 0
    uncached_cost: int = 0
    cached_cost: int = 0
    creation_cost: int = 0
    output_cost: int = 0
    search_cost: int = 0
    tool_cost: int = 0
    cached_full: int = 0
    creation_full: int = 0
    reasoning_cost: int = 0
    late_cost: int = 0
    base: int = 0
    standard: int = 0
    brief: int = 0
    base_standard: int = 0
    base_brief: int = 0
    standard_brief: int = 0
    unpriced: int = 0
    bounded: bool = False

    def plus(self, other: Sums, sign: int = 1) -> Sums:
        """Both together, or without the other."""
        added = {name: getattr(self, name) + sign * getattr(other, name) for name in NUMBERS}
        return Sums(**added, bounded=self.bounded or other.bounded)

    @property
    def tokens(self) -> int:
        """Prompt and output."""
        return self.input + self.output


NUMBERS: Final = tuple(name for name in Sums.__struct_fields__ if name != "bounded")


class Piece(NamedTuple):
    """Sums of one slot of time, model and file; `reason` is why they do not count.

    `again`: another file has the call, and this is its one record here that says most of it.
    `lone`: the calls count, and no other file has them.
    """

    at: datetime | None
    model: str | None
    path: str
    reason: str | None
    sums: Sums
    again: bool = False
    lone: bool = True


def pieces(
    batches: Iterable[pl.DataFrame], query: Query, statements: Statements, rates: Rates
) -> list[Piece]:
    """The sums of what was used, as fine as any comparison needs them."""
    found: list[Piece] = []
    for rows in batches:
        meant = _meant(rows, query, statements, rates)
        if meant.height:
            found += _pieces(_priced(meant, rates))
    return found


def reported(batches: Iterable[pl.DataFrame], query: Query) -> list[Statement]:
    """What the logs themselves say that calls cost."""
    found = []
    for rows in batches:
        with_cost = selected(rows.lazy(), query).filter(pl.col("reported_cost_usd").is_not_null())
        local = pl.col("timestamp").dt.convert_time_zone(query.timezone).dt.strftime("%Y-%m-%d")
        groups = with_cost.group_by("model", day=local).agg(pl.col("reported_cost_usd").sum())
        for model, day, cost in groups.collect().iter_rows():
            found.append(Statement(day=day, model=canonical(model), cost=Decimal(cost)))
    return found


def _meant(rows: pl.DataFrame, query: Query, statements: Statements, rates: Rates) -> pl.DataFrame:
    """The rows that state usage, duplicates included, of what the other speaks of."""
    found = selected(rows.lazy(), query, recorded())
    if statements.sources is not None:
        found = found.filter(pl.col("source").is_in(statements.sources))
    if statements.form == LOGGED:
        found = found.filter(pl.col("reported_cost_usd").is_not_null(), counted())
    kept = found.collect()
    if statements.providers is None:
        return kept
    ids = {name: rates.provider_id(name) for name in kept["provider"].unique() if name}
    seller = pl.col("provider").replace_strict(ids, default=None, return_dtype=pl.String)
    return kept.filter(pl.coalesce(seller, "price_provider").is_in(statements.providers))


def _priced(rows: pl.DataFrame, rates: Rates) -> pl.DataFrame:
    """The rows with `cost` also where they do not count, and what it would be on other terms."""
    free = rows.drop(*SCHEMA, strict=False).with_columns(duplicate_of=pl.lit(None, pl.String))
    own, priced = working(free, rates), pl.col("cost").is_not_null()
    found = own.select(
        _cost="cost",
        **{f"_{name}": pl.when(priced).then(column) for name, column in _PARTS.items()},
        **{f"_rate_{name}": pl.when(priced).then(name) for name in ("uncached", "output")},
        **{f"_{name}": price(free.with_columns(**_TERMS[name]), rates)["cost"] for name in TIERS},
    )
    return rows.with_columns(_with_two_terms(free, found, rates).get_columns())


def _with_two_terms(free: pl.DataFrame, found: pl.DataFrame, rates: Rates) -> pl.DataFrame:
    """What the rows cost on two other terms at once: both changes, where each leaves a part alone.

    Few rows have two, and these are priced anew.
    """
    numbered = found.with_row_index("_row")
    for one, other in combinations(TIERS, 2):
        name = f"_{one}_{other}"
        either = pl.col(f"_{one}") + pl.col(f"_{other}") - pl.col("_cost")
        numbered = numbered.with_columns(either.alias(name))
        differ = [pl.col(f"_{tier}") != pl.col("_cost") for tier in (one, other)]
        twice = numbered.select("_row", both=and_(*differ)).filter("both")["_row"]
        if twice.len():
            some = free[twice].with_columns(**_TERMS[one], **_TERMS[other])
            anew = price(some, rates).select(pl.col("cost").alias(name)).with_columns(_row=twice)
            numbered = numbered.update(anew, on="_row", include_nulls=True)
    return numbered.drop("_row")


def _pieces(rows: pl.DataFrame) -> Iterator[Piece]:
    reason = pl.when(pl.col("duplicate_of").is_not_null()).then("duplicate_reason")
    sums = {
        "calls": pl.col("calls"),
        "input": pl.col("input_tokens"),
        "cached": pl.col("cached_input_tokens"),
        "creation": pl.col("cache_creation_input_tokens"),
        "output": pl.col("output_tokens"),
        "reasoning": pl.col("reasoning_output_tokens"),
        "late": pl.col("_late"),
        "cost": pl.col("_cost"),
        **{name: pl.col(f"_{name}") for name in PARTS},
        **{name: pl.col(n) * pl.col(f"_rate_{rate}") for name, (n, rate) in _AS_ELSE.items()},
        **{name: pl.col(f"_{name}") for name in ON_TERMS},
        "unpriced": pl.col("total_tokens").filter(pl.col("_cost").is_null()),
    }
    groups = (
        _with_others(rows)
        .lazy()
        .group_by(
            "model", "path", "_again", "_lone", at=pl.col("timestamp").dt.truncate(_SLOT),
            reason=reason,
        )
        .agg(
            *(value.sum().alias(name) for name, value in sums.items()),
            bounded=pl.col("output_lower_bound").any(),
        )
        .collect()
    )  # fmt: skip
    for row in groups.iter_rows(named=True):
        made = Sums(**{name: row[name] or 0 for name in sums}, bounded=row["bounded"])
        where = (row["at"], canonical(row["model"]), row["path"], row["reason"])
        yield Piece(*where, made, row["_again"], row["_lone"])


def _with_others(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with `_again` and `_lone` of a piece, and `_late`: what came after a first count."""
    left = pl.col("duplicate_of").is_not_null()
    kept = rows.filter(~left).select(_end="call_id", _home="path")
    named = rows.with_columns(_end=_ends(rows), _row=pl.int_range(pl.len()))
    named = named.join(
        kept.unique("_end", keep="any"), on="_end", how="left", maintain_order="left"
    )
    away = left & (pl.col("path") != pl.col("_home"))
    most = named.filter(away).sort("output_tokens", descending=True, nulls_last=True)
    again = most.unique(["_end", "path"], keep="first", maintain_order=True)
    first = (
        named.filter(left & ~away & (pl.col("duplicate_reason") == _SAME))
        .sort("record")
        .unique("_end", keep="first", maintain_order=True)
        .select("_end", _first="output_tokens", _at="record")
    )
    named = named.join(first, on="_end", how="left", maintain_order="left")
    is_later = ~left & (pl.col("record") > pl.col("_at"))
    return named.with_columns(
        _again=pl.col("_row").is_in(again["_row"].implode()),
        _lone=~left & ~pl.col("_end").is_in(again["_end"].implode()),
        _late=pl.when(is_later).then(pl.col("output_tokens") - pl.col("_first")),
    )


def _ends(rows: pl.DataFrame) -> pl.Series:
    """The id of the call that counts for each row, where a record yields to one that yields too."""
    yields = rows.filter(pl.col("duplicate_of").is_not_null()).select("call_id", "duplicate_of")
    leads = {one: other for one, other in yields.iter_rows() if one != other}
    ends: dict[str, str] = {}
    for name in rows["duplicate_of"].unique():
        end, seen = name, {name}
        while end in leads and leads[end] not in seen:
            end = leads[end]
            seen.add(end)
        ends[name] = end
    found = rows.select(pl.coalesce("duplicate_of", "call_id")).to_series()
    return found.replace(ends)
