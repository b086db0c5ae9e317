"""What a provider asks for the calls of its tools, beside the tokens that they take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import polars as pl

from tallybook.pricing.table import Fee
from tallybook.schema import TOOL_COUNTS


def fee_of(name: str) -> str:
    """The column of the fee of one of TOOL_COUNTS."""
    return f"{name}_fee"


def _most(name: str) -> str:
    return f"{name}_most"


SCHEMA: Final[dict[str, Any]] = {
    **dict.fromkeys(map(fee_of, TOOL_COUNTS), pl.Int64),
    **dict.fromkeys(map(_most, TOOL_COUNTS), pl.Int64),
}
COST: Final = "tool_cost"
# What the stage adds to the high bound of a cost beyond the fees, and whether it has one.
MORE: Final = "_tools_more"
OPEN: Final = "_tools_open"


def are_stated(calls: pl.DataFrame) -> bool:
    """Whether any call states what tools it ran. Hardly a log does, and nothing is done then."""
    return calls["tool_counts"].null_count() < calls.height


def fees_of(fees: Iterable[Fee]) -> list[int | None]:
    """Values of SCHEMA; of several fees of a tool the last holds."""
    found = {fee.tool: fee for fee in fees}
    own = [found[name].per_call if name in found else None for name in TOOL_COUNTS]
    return [*own, *(found[name].most if name in found else None for name in TOOL_COUNTS)]


def count_of(name: str) -> pl.Expr:
    """How often a call ran a tool; null where that is not stated."""
    return pl.col("tool_counts").list.get(TOOL_COUNTS.index(name), null_on_oob=True)


def with_counts(calls: pl.DataFrame) -> pl.DataFrame:
    """Add each of TOOL_COUNTS and its fee; without any that is stated all is null."""
    if not are_stated(calls):
        nothing = [name for each in TOOL_COUNTS for name in (each, fee_of(each))]
        return calls.with_columns(pl.lit(None, pl.Int64).alias(name) for name in nothing)
    return calls.with_columns(count_of(name).alias(name) for name in TOOL_COUNTS)


def add_costs(calls: pl.DataFrame) -> pl.DataFrame:
    """Add COST, MORE and OPEN: fees of what has one in SCHEMA; nothing bounds those of the rest."""
    counts = {name: count_of(name).cast(pl.Int128) for name in TOOL_COUNTS}
    stated = pl.any_horizontal(count.is_not_null() for count in counts.values())
    fees = pl.sum_horizontal(count * pl.col(fee_of(name)) for name, count in counts.items())
    most = pl.sum_horizontal(count * pl.col(_most(name)) for name, count in counts.items())
    unknown = [(count > 0) & pl.col(fee_of(name)).is_null() for name, count in counts.items()]
    return calls.with_columns(
        pl.when(stated).then(fees).alias(COST),
        (most - fees).alias(MORE),
        pl.any_horizontal(unknown).fill_null(value=False).alias(OPEN),
    )
