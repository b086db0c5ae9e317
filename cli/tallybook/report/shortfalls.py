"""Why a report is incomplete, in words; loads no data frame library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
    if high is None and low != totals["cost_usd"]:
        found.append(f"cost at least {low} USD")
    elif high is not None and low != high:
        found.append(f"cost between {low} and {high} USD")
    return [*found, "a sum is a lower bound"] if totals["lower_bound"] else found
