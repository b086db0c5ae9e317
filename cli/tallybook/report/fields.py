"""The fields of a report's row, and by which of them it is incomplete; loads no data frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

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
    "audio_input_tokens",
    "image_input_tokens",
    "audio_output_tokens",
    "image_output_tokens",
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
# Sums that may be lower bounds; the row names those that are.
AT_LEAST: Final = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "input_tokens",
    "output_tokens",
    "total_tokens",
)
# Buckets whose silence is counted; unsplit tokens are themselves a statement of not knowing.
UNKNOWN: Final = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
)


def shortfalls(totals: Mapping[str, Any], seen: Mapping[str, Any]) -> list[str]:
    """Why a report is incomplete, one phrase a reason; `totals` and `coverage` of the report."""
    reasons = (
        (sum(seen["problems"].values()), "problem", ""),
        (seen["undated"], "record", " without a time left out"),
        (totals["unpriced_tokens"], "token", " unpriced"),
        (seen["may_be_counted_twice"]["calls"], "call", " that may be counted twice"),
    )
    found = [f"{n:,} {what}{'s' if n > 1 else ''}{state}" for n, what, state in reasons if n]
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
