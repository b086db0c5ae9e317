"""What the tools cost that a provider ran, worked out by hand from the pages of the providers."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tallybook.pricing import rates as pricing
from tallybook.schema import TOOL_COUNTS
from tests.pricing.calls import claude, price_one

MAY = datetime(2026, 5, 20, tzinfo=UTC)


def ran(tokens: str, **tools: int) -> dict[str, Any]:
    counts = [tools.get(name) for name in TOOL_COUNTS]
    return claude(tokens) | {"cache_creation_1h_input_tokens": None, "tool_counts": counts}


@pytest.mark.parametrize(
    ("provider", "model", "call", "tools", "cost"),
    [
        # An answer of xAI states what it cost: 0.0247, of 3,000 at $2 and 200 at $6 a million, a
        # search and two runs of code at $5 and a search of files at $2.50 a thousand.
        (
            "x-ai",
            "grok-4.6",
            ran("3000/200/0/0", code_execution_calls=2, file_search_calls=1)
            | {"web_search_requests": 1},
            "0.0125",
            "0.0247",
        ),
        ("openai", "gpt-5", ran("1000/50/0/0", file_search_calls=2), "0.005", "0.00675"),
        # Its own cost is 0.005 and the tokens'.
        ("perplexity", "sonar", ran("14/70/0/0", low_context_requests=1), "0.005", "0.005084"),
        ("perplexity", "sonar-reasoning-pro", ran("0/0/0/0", high_context_requests=1),
         "0.014", "0.014"),
        ("perplexity", "sonar-deep-research", ran("0/0/0/0", search_queries=21), "0.105", "0.105"),
        ("openai", "gpt-5", ran("1000/50/0/0", file_search_calls=0), "0", "0.00175"),
    ],
)  # fmt: skip
def test_a_fee_by_hand(  # noqa: PLR0917 - the two sides of a case
    rates: pricing.Rates, provider: str, model: str, call: dict[str, Any], tools: str, cost: str
) -> None:
    row = price_one(rates, model, provider=provider, **call)
    assert row["tool_cost"] == Decimal(tools)
    assert row["cost"] == row["cost_low"] == row["cost_high"] == Decimal(cost)
    assert row["price_status"] == "priced"


def test_a_call_that_states_no_tools_has_no_cost_of_them(rates: pricing.Rates) -> None:
    row = price_one(rates, "gpt-5", provider="openai", **claude("1000/50/0/0"))
    assert row["tool_cost"] is None
    assert row["cost"] == row["cost_high"] == Decimal("0.00175")


def test_a_fee_holds_on_its_days(rates: pricing.Rates) -> None:
    """xAI asks no more than $5 a thousand since 2025-11-19; what it asked before no page says."""
    call = ran("0/0/0/0", code_execution_calls=1)
    before = datetime(2025, 11, 18, 23, 59, tzinfo=UTC)
    row = price_one(rates, "grok-4.3", provider="x-ai", timestamp=before, **call)
    assert (row["cost"], row["cost_high"]) == (0, None)
    assert row["problems"] == ["tool-fees"]
    since = datetime(2025, 11, 19, tzinfo=UTC)
    row = price_one(rates, "grok-4.3", provider="x-ai", timestamp=since, **call)
    assert row["cost"] == row["cost_high"] == Decimal("0.005")


@pytest.mark.parametrize(
    ("when", "tools", "cost"),
    [
        # X is searched at $5 a thousand calls; since 2026-09-21 at $5 a thousand posts that are
        # found and $10 a thousand users.
        ("2026-09-20T23:59", {"x_search_calls": 2}, ("0.01", "0.01")),
        ("2026-09-21", {"x_posts_fetched": 5, "x_users_fetched": 1}, ("0.035", "0.035")),
        ("2026-09-21", {"x_search_calls": 2}, ("0", None)),
    ],
)
def test_what_a_search_of_x_costs(
    rates: pricing.Rates, when: str, tools: dict[str, int], cost: tuple[str, str | None]
) -> None:
    at = datetime.fromisoformat(when).replace(tzinfo=UTC)
    row = price_one(rates, "grok-4.3", provider="x-ai", timestamp=at, **ran("0/0/0/0", **tools))
    assert (row["cost"], row["cost_high"]) == tuple(None if c is None else Decimal(c) for c in cost)


def test_a_fee_that_may_be_higher_bounds_the_cost(rates: pricing.Rates) -> None:
    winter = datetime(2026, 1, 5, tzinfo=UTC)
    call = ran("0/0/0/0", file_search_calls=2)
    row = price_one(rates, "grok-4.3", provider="x-ai", timestamp=winter, **call)
    assert [row[name] for name in ("cost_low", "cost", "cost_high")] == [
        Decimal("0.005"), Decimal("0.005"), Decimal("0.01"),
    ]  # fmt: skip
    # Nothing in an answer of Sonar Pro tells whether it was a Pro Search.
    call = ran("0/0/0/0", medium_context_requests=1)
    row = price_one(rates, "sonar-pro", provider="perplexity", timestamp=MAY, **call)
    assert (row["cost"], row["cost_high"]) == (Decimal("0.01"), Decimal("0.018"))


def test_nothing_bounds_the_fee_of_a_seller_that_states_none(rates: pricing.Rates) -> None:
    call = ran("1000/50/0/0", file_search_calls=2)
    row = price_one(rates, "x-ai/grok-4.3", provider="openrouter", timestamp=MAY, **call)
    assert (row["tool_cost"], row["cost_high"]) == (0, None)
    assert row["problems"] == ["tool-fees"]
    duplicate = price_one(rates, "x-ai/grok-4.3", provider="openrouter", duplicate_of="a", **call)
    assert duplicate["problems"] == []
    assert row["cost"] == row["cost_low"] > 0


def test_a_refused_call_pays_for_no_tools(rates: pricing.Rates) -> None:
    call = ran("1000/0/0/0", file_search_calls=2)
    row = price_one(rates, "gpt-5", provider="openai", refused=True, **call)
    assert row["tool_cost"] == row["cost"] == row["cost_high"] == 0
