"""The fields of a report's row, and by which of them it is incomplete; loads no data frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from tallybook.schema import ORIGINS
from tallybook.values import names_in
from tallybook.wording import counted

# Sums of a row in their order; each is null where no record of the group states it.
COUNTS: Final = names_in(
    "calls uncached_input_tokens cached_input_tokens cache_creation_input_tokens"
    " cache_creation_1h_input_tokens unsplit_input_tokens input_tokens output_tokens"
    " reasoning_output_tokens total_tokens audio_input_tokens image_input_tokens"
    " audio_output_tokens image_output_tokens"
)
# Field of a row -> column in femto-dollars.
COSTS: Final[Mapping[str, str]] = {
    f"{cost}_usd": cost
    for cost in names_in(
        "cost cost_low cost_high uncached_input_cost cached_input_cost cache_creation_cost"
        " output_cost web_search_cost tool_cost"
    )
}
# Sums that may be lower bounds; the row names those that are.
AT_LEAST: Final = names_in(
    "uncached_input_tokens cached_input_tokens cache_creation_input_tokens input_tokens"
    " output_tokens total_tokens"
)
# Buckets whose silence is counted; unsplit tokens are themselves a statement of not knowing.
UNKNOWN: Final = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
)


# What a row says of unknown buckets and of origins, as fields of their own.
FLAT: Final = (*(f"unknown_{name}" for name in UNKNOWN), *(f"origin_{name}" for name in ORIGINS))


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without nesting, with FLAT."""
    counts = [row["unknown"].get(name, 0) for name in UNKNOWN]
    counts += [row["origins"].get(name, 0) for name in ORIGINS]
    return {**row, **dict(zip(FLAT, counts, strict=True))}


def together(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums of several rows of one report, in the fields of a row; of none everything is 0."""
    rows = list(rows)
    found: dict[str, Any] = {name: _added(rows, name) for name in COUNTS}
    sums = {name: _added(rows, name) for name in (*COSTS, "reported_cost_usd")}
    found |= {name: None if value is None else plain(value) for name, value in sums.items()}
    # Nothing bounds a cost from above where nothing bounds a part of it, be it priced or not.
    open_above = (row for row in rows if row["cost_high_usd"] is None)
    if any(row["lower_bound"] or row["cost_usd"] is not None for row in open_above):
        found["cost_high_usd"] = None
    least = {name for row in rows for name in row["at_least"]}
    return {
        **found,
        "unpriced_tokens": sum(row["unpriced_tokens"] for row in rows),
        "unknown": _counted(rows, "unknown", UNKNOWN),
        "origins": _counted(rows, "origins", ORIGINS),
        "records_without_calls": sum(row["records_without_calls"] for row in rows),
        "lower_bound": any(row["lower_bound"] for row in rows),
        "at_least": [name for name in AT_LEAST if name in least],
    }


def _added(rows: Sequence[Mapping[str, Any]], name: str) -> Any:
    stated = [row[name] for row in rows if row[name] is not None]
    if not stated:
        return None if rows or name == "reported_cost_usd" else 0
    return sum(map(Decimal, stated)) if isinstance(stated[0], str) else sum(stated)


def plain(value: Decimal | int) -> str:
    """A number in full, without zeros at the end of its decimals."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _counted(rows: Sequence[Mapping[str, Any]], field: str, names: Iterable[str]) -> dict[str, int]:
    counts = {name: sum(row[field].get(name, 0) for row in rows) for name in names}
    return {name: count for name, count in counts.items() if count}


def shortfalls(totals: Mapping[str, Any], seen: Mapping[str, Any]) -> list[str]:
    """Why a report is incomplete, one phrase a reason; `totals` and `coverage` of the report."""
    reasons = (
        (sum(seen["problems"].values()), "problem", ""),
        (seen["undated"], "record", " without a time left out"),
        (totals["unpriced_tokens"], "token", " unpriced"),
        (seen["may_be_counted_twice"]["calls"], "call", " that may be counted twice"),
    )
    found = [f"{counted(n, what)}{state}" for n, what, state in reasons if n]
    low, high = totals["cost_low_usd"], totals["cost_high_usd"]
    if (
        high is None
        and low is not None
        and not (totals["lower_bound"] and low == totals["cost_usd"])
    ):
        found.append(f"cost at least {low} USD")
    elif high is not None and low != high:
        found.append(f"cost between {low} and {high} USD")
    return [*found, "a sum is a lower bound"] if totals["lower_bound"] else found
