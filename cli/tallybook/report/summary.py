"""Group-bys and totals over priced USAGE rows: what a report says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import polars as pl

from tallybook.report.coverage import coverage
from tallybook.report.query import TIME_KEYS, Query
from tallybook.report.selection import (
    Unmatched,
    matching,
    origin,
    selected,
    unmatched,
    with_keys,
)
from tallybook.schema import ORIGINS

Row = dict[str, Any]

# Sums of a row in their order; each is null where no record of the group states it.
COUNTS: Final = (
    "calls",
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_1h_input_tokens",
    "unsplit_input_tokens",
    "input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "total_tokens",
)
# Field of a row -> column in femto-dollars.
COSTS: Final[Mapping[str, str]] = {
    "cost_usd": "cost",
    "cost_low_usd": "cost_low",
    "cost_high_usd": "cost_high",
    "uncached_input_cost_usd": "uncached_input_cost",
    "cached_input_cost_usd": "cached_input_cost",
    "cache_creation_cost_usd": "cache_creation_cost",
    "output_cost_usd": "output_cost",
    "web_search_cost_usd": "web_search_cost",
}
# Buckets whose silence is counted; unsplit tokens are themselves a statement of not knowing.
UNKNOWN: Final = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
)
_FEMTO: Final = 10**15
_MEASURES: Final = {"cost": "cost_usd", "tokens": "total_tokens", "calls": "calls"}


@dataclass(frozen=True, slots=True)
class Report:
    """The answer to a query, in the fields of the JSON document."""

    query: Query
    rows: list[Row]
    totals: Row
    coverage: Row
    unmatched: list[Unmatched]


def summarise(usage: pl.DataFrame | pl.LazyFrame, query: Query, files: int = 0) -> Report:
    """Answer `query` from priced USAGE rows of every kind, duplicates among them."""
    table = usage.lazy().collect()
    rows = with_keys(selected(table.lazy(), query), query).with_columns(origin=origin())
    groups = rows.group_by(query.fields).agg(_sums()).sort(**_order(query)).collect()
    whole = rows.select(_sums()).collect().row(0, named=True)
    return Report(
        query=query,
        rows=_rows(groups, query),
        totals=_row(whole) if groups.height else _nothing(whole),
        coverage={**coverage(table, files), "undated": _undated(table, query)},
        unmatched=unmatched(table, query),
    )


def money(femto: int | None) -> str | None:
    """Write femto-dollars as a decimal: no dust, no exponent, "0" for nothing."""
    if femto is None:
        return None
    whole, rest = divmod(abs(femto), _FEMTO)
    digits = f"{whole}.{rest:015d}".rstrip("0").rstrip(".")
    return f"-{digits}" if femto < 0 else digits


def _sums() -> list[pl.Expr]:
    """The sums of a group of USAGE rows, under the names of the report's fields."""
    # The parts of a cost that is unknown as a whole stay out: parts add up to the cost.
    priced = pl.col("cost").is_not_null()
    unpriced = pl.col("total_tokens").filter(~priced)
    return [
        *(_stated(pl.col(name), name) for name in COUNTS if name != "unsplit_input_tokens"),
        pl.col("unsplit_input_tokens").sum(),
        *(_stated(pl.col(column).filter(priced), name) for name, column in COSTS.items()),
        _stated(pl.col("reported_cost_usd"), "reported_cost_usd"),
        unpriced.sum().alias("unpriced_tokens"),
        *(_count(pl.col(name).is_null(), f"unknown {name}") for name in UNKNOWN),
        *(_count(pl.col("origin") == name, f"origin {name}") for name in ORIGINS),
        _count(pl.col("calls").is_null(), "records_without_calls"),
        pl.col("lower_bound").any(),
    ]


def _stated(value: pl.Expr, name: str) -> pl.Expr:
    return pl.when(value.count() > 0).then(value.sum()).alias(name)


def _count(condition: pl.Expr, name: str) -> pl.Expr:
    return condition.sum().cast(pl.Int64).alias(name)


def _folded(groups: pl.DataFrame) -> dict[str, Any]:
    """The sums of several groups, which are sums of sums."""
    names = [name for name in groups.columns if groups.schema[name].is_numeric()]
    sums = [_stated(pl.col(name), name) for name in names]
    return groups.select(*sums, pl.col("lower_bound").any()).row(0, named=True)


def _order(query: Query) -> dict[str, Any]:
    """How to sort: by what was asked, then by everything else, so that no two rows are equal."""
    times = [] if query.sort else [key for key in query.by if key in TIME_KEYS]
    measures = [] if query.sort == "name" else list(_MEASURES.values())
    first = _MEASURES.get(query.sort or "cost")
    measures.sort(key=lambda name: name != first)
    by = [*times, *measures, *query.fields]
    return {
        "by": by,
        "descending": [name in measures for name in by],
        "nulls_last": True,
    }


def _rows(groups: pl.DataFrame, query: Query) -> list[Row]:
    shown = groups.height if query.limit is None else query.limit
    rows = [
        {name: group[name] for name in query.fields} | _row(group)
        for group in groups.head(shown).iter_rows(named=True)
    ]
    rest = groups.slice(shown)
    if rest.height:
        rows.append(dict.fromkeys(query.fields) | {"rest": rest.height} | _row(_folded(rest)))
    return rows


def _row(sums: Mapping[str, Any]) -> Row:
    reported = sums["reported_cost_usd"]
    return {
        **{name: sums[name] for name in COUNTS},
        **{name: money(sums[name]) for name in COSTS},
        "reported_cost_usd": None if reported is None else _plain(reported),
        "unpriced_tokens": sums["unpriced_tokens"],
        "unknown": {name: n for name in UNKNOWN if (n := sums[f"unknown {name}"])},
        "origins": {name: n for name in ORIGINS if (n := sums[f"origin {name}"])},
        "records_without_calls": sums["records_without_calls"],
        "lower_bound": bool(sums["lower_bound"]),
    }


def _nothing(sums: Mapping[str, Any]) -> Row:
    """Totals of no rows: no statement is missing, so every sum is zero."""
    return _row({**sums, **dict.fromkeys((*COUNTS, *COSTS), 0)})


def _plain(value: Decimal) -> str:
    return money(int(value.scaleb(15))) or "0"


def _undated(table: pl.DataFrame, query: Query) -> int:
    """Records that a question about days leaves out, since they have no time."""
    if not query.dated:
        return 0
    rows = matching(table.lazy(), query).filter(pl.col("timestamp").is_null())
    return int(rows.select(pl.len()).collect().item())
