"""What calls cost, worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tallybook.pricing import cost
from tallybook.pricing import rates as pricing
from tallybook.pricing.cost import BUCKET_COSTS
from tallybook.pricing.cost import dollars as in_dollars
from tallybook.pricing.price_file import read_overrides
from tests.pricing.calls import NOON, claude, frame, price_one


@pytest.mark.parametrize(
    ("model", "counts", "cost"),
    [
        ("claude-3-7-sonnet-20250219", claude("4/160/0/5200"), "0.021912"),
        ("claude-sonnet-4-20250514", claude("6/40/5200/300"), "0.003303"),
        ("claude-3-5-haiku-20241022", claude("900/25/0/0"), "0.00082"),
        (
            "claude-opus-5",
            claude("2/900/52000/1100", cache_creation_1h_input_tokens=1100, inference_geo="us"),
            "0.065461",
        ),
        ("claude-opus-5", claude("3/500/106000/900"), "0.07114"),
        ("claude-opus-5", claude("2/640/53000/300", inference_geo="us"), "0.0488235"),
        ("claude-fable-5-1", claude("60000/1500/0/0"), "0.675"),
        ("claude-haiku-4-5-20251001", claude("400/30/0/0"), "0.00055"),
        ("gpt-5-codex", claude("10000/100/90000/0"), "0.02475"),
    ],
)
def test_list_price_by_hand(
    rates: pricing.Rates, model: str, counts: dict[str, Any], cost: str
) -> None:
    row = price_one(rates, model, **counts)
    assert row["cost"] == row["cost_low"] == row["cost_high"] == Decimal(cost)
    assert row["price_status"] == "priced"


def test_every_bucket_has_its_cost_and_they_add_up(rates: pricing.Rates) -> None:
    counts = claude("1000/100/2000/300", cache_creation_1h_input_tokens=200, web_search_requests=3)
    row = price_one(rates, "claude-opus-4-8", **counts)
    assert [row[name] for name in BUCKET_COSTS] == [
        Decimal("0.005"),
        Decimal("0.001"),
        Decimal("0.002625"),  # 100 at 6.25 and 200 at 10
        Decimal("0.0025"),
        Decimal("0.03"),
        None,  # it states no tools
    ]
    assert row["cost"] == Decimal("0.041125")


def test_claude_web_searches_cost_ten_dollars_a_thousand_where_the_list_is_silent(
    rates: pricing.Rates,
) -> None:
    row = price_one(rates, "claude-3-opus-20240229", **claude("0/0/0/0", web_search_requests=2))
    assert row["web_search_cost"] == row["cost"] == Decimal("0.02")


@pytest.mark.parametrize(
    ("provider", "model", "fee"),
    [
        ("openai", "gpt-5.3-codex", "0.02"),  # $10 per thousand
        ("x-ai", "grok-4.6", "0.01"),  # $5
        ("google", "gemini-3.1-pro-preview", "0.028"),  # $14
        ("google", "gemini-2.5-flash", "0.07"),  # $35
    ],
)
def test_searches_cost_what_their_seller_asks(
    rates: pricing.Rates, provider: str, model: str, fee: str
) -> None:
    row = price_one(rates, model, **claude("0/0/0/0"), web_search_requests=2, provider=provider)
    assert row["web_search_cost"] == row["cost"] == row["cost_high"] == Decimal(fee)
    # Google runs some for nothing.
    assert row["cost_low"] == (0 if provider == "google" else Decimal(fee))


def test_searches_without_a_fee_that_is_known_leave_the_call_unpriced(rates: pricing.Rates) -> None:
    row = price_one(
        rates, "openai/gpt-oss-120b", **claude("9/9/0/0"), web_search_requests=2, provider="groq"
    )
    assert (row["cost"], row["price_status"]) == (None, "unpriced")


@pytest.mark.parametrize(
    ("prompt", "cost"), [(272_000, "1.375"), (272_001, "2.74251")], ids=["at", "above"]
)
def test_a_prompt_over_the_threshold_puts_the_whole_request_in_the_higher_tier(
    rates: pricing.Rates, prompt: int, cost: str
) -> None:
    row = price_one(rates, "gpt-5.5", **claude(f"{prompt}/500/0/0"))
    assert row["cost"] == Decimal(cost)


def test_an_unknown_prompt_size_gives_the_base_tier_and_bounds(rates: pricing.Rates) -> None:
    row = price_one(rates, "gpt-5.5", **claude("300000/0/0/0"), context_tokens=None, kind="sum")
    assert row["price_status"] == "tier_unknown"
    assert (row["cost"], row["cost_low"], row["cost_high"]) == (
        Decimal("1.5"),
        Decimal("1.5"),
        Decimal(3),
    )


def test_a_sum_that_fits_the_base_tier_leaves_no_doubt(rates: pricing.Rates) -> None:
    row = price_one(rates, "gpt-5.5", **claude("272000/0/0/0"), context_tokens=None, kind="sum")
    assert (row["price_status"], row["cost_high"]) == ("priced", Decimal("1.36"))
    unsure = {"context_tokens": None, "kind": "sum", "lower_bound": True}
    row = price_one(rates, "gpt-5.5", **claude("272000/0/0/0"), **unsure)
    assert row["price_status"] == "tier_unknown"


def test_a_call_costs_what_it_cost_that_day(rates: pricing.Rates) -> None:
    counts = claude("1000000/0/0/0")
    change = datetime(2025, 6, 10, tzinfo=UTC)
    before = price_one(rates, "o3", **counts, timestamp=change - timedelta(microseconds=1))
    after = price_one(rates, "o3", **counts, timestamp=change)
    assert (before["cost"], after["cost"]) == (Decimal(10), Decimal(2))
    assert (before["price_from"], after["price_from"]) == (None, change)


@pytest.mark.parametrize(
    ("clock", "cost"), [("00:59:59", ".15"), ("01:00:00", ".3"), ("04:00:00", ".15")]
)
def test_deepseek_costs_more_at_its_peak_hours(rates: pricing.Rates, clock: str, cost: str) -> None:
    at = datetime.fromisoformat(f"2026-10-14T{clock}+00:00")
    row = price_one(rates, "deepseek-v4-flash", **claude("1000000/0/0/0"), timestamp=at)
    assert row["cost"] == Decimal(cost)


def test_a_call_without_a_time_gets_the_last_price_and_says_so(rates: pricing.Rates) -> None:
    row = price_one(rates, "o3", **claude("1000000/0/0/0"), timestamp=None)
    assert (row["cost"], row["price_status"]) == (Decimal(2), "assumed_list_price")


def test_a_cache_write_of_unknown_lifetime_may_have_been_an_hour(rates: pricing.Rates) -> None:
    counts = claude("0/0/0/1000", cache_creation_1h_input_tokens=None)
    row = price_one(rates, "claude-opus-4-8", **counts)
    assert (row["cost"], row["cost_low"]) == (Decimal("0.00625"), Decimal("0.00625"))
    assert row["cost_high"] == Decimal("0.01")


def test_unsplit_input_is_bounded_by_the_cheapest_and_the_dearest_rate(
    rates: pricing.Rates,
) -> None:
    row = price_one(rates, "claude-opus-4-8", unsplit_input_tokens=1000, output_tokens=100)
    assert row["uncached_input_cost"] == Decimal("0.005")
    assert row["cost"] == Decimal("0.0075")
    assert row["cost_low"] == Decimal("0.0005") + Decimal("0.0025")
    assert row["cost_high"] == Decimal("0.01") + Decimal("0.0025")


@pytest.mark.parametrize(
    ("model", "dearest"),
    [("claude-opus-4-8", "0.01"), ("gpt-5.6-terra", "0.0025"), ("gpt-5.2", "0.00175")],
)
def test_writes_that_were_not_stated_may_be_all_that_is_left_of_the_prompt(
    rates: pricing.Rates, model: str, dearest: str
) -> None:
    counts = {"uncached_input_tokens": 1000, "cached_input_tokens": 0, "output_tokens": 0}
    row = price_one(rates, model, **counts, cache_creation_input_tokens=None)
    assert row["cost_high"] == Decimal(dearest)
    assert row["cost_low"] == row["cost"]
    stated = price_one(rates, model, **counts, cache_creation_input_tokens=0)
    assert stated["cost_high"] == stated["cost"] == row["cost"]


@pytest.mark.parametrize(
    ("model", "stated", "cost"),
    [
        ("claude-opus-4-6", {"speed": "fast"}, "30"),
        ("claude-opus-4-7", {"speed": "fast"}, "30"),
        ("claude-opus-4-8", {"speed": "fast"}, "10"),
        ("claude-opus-4-8-fast", {}, "10"),
        ("claude-opus-5", {"speed": "fast"}, "10"),
        ("claude-opus-5-5", {"speed": "fast"}, "8"),
        ("claude-sonnet-5", {"speed": "fast"}, "2"),
        ("claude-opus-5", {"speed": "fast", "inference_geo": "us"}, "11"),
        ("claude-opus-4-5", {"inference_geo": "us"}, "5"),
        ("claude-sonnet-4-6", {"inference_geo": "us"}, "3.3"),
        ("claude-sonnet-4-6", {"inference_geo": "global"}, "3"),
        ("claude-opus-4-8", {"service_tier": "batch"}, "2.5"),
        ("claude-opus-4-1", {"service_tier": "batch"}, "7.5"),
        ("gpt-5.5", {"service_tier": "priority"}, "12.5"),
        ("gpt-5.5", {"service_tier": "fast"}, "12.5"),
        ("gpt-5.5", {"service_tier": "priority", "speed": "fast"}, "12.5"),
        ("claude-opus-5", {"service_tier": "batch", "speed": "fast"}, "5"),
        ("gpt-5.4", {"service_tier": "priority"}, "5"),
        ("gpt-5.3-codex", {"service_tier": "fast"}, "3.5"),
        ("gpt-5.4", {"service_tier": "default"}, "2.5"),
        ("gpt-5.2", {"service_tier": "flex"}, "0.875"),
        ("gpt-5-mini", {"service_tier": "priority"}, "0.45"),
    ],
)
@pytest.mark.parametrize("month", [9, 11], ids=["before-listed", "listed"])
def test_tier_speed_and_region(
    rates: pricing.Rates, model: str, stated: dict[str, str], cost: str, month: int
) -> None:
    at = datetime(2026, month, 1, tzinfo=UTC)
    row = price_one(
        rates, model, **claude("1000000/0/0/0"), context_tokens=1000, timestamp=at, **stated
    )
    assert (row["cost"], row["price_status"]) == (Decimal(cost), "priced")


def test_the_us_premium_is_anthropics_own(rates: pricing.Rates) -> None:
    stated = claude("1000000/0/0/0", context_tokens=1000, inference_geo="us")
    row = price_one(rates, "claude-opus-4-8", **stated, provider="google")
    assert row["cost"] == Decimal(5)


@pytest.mark.parametrize(
    ("model", "tier", "bounds"),
    [
        ("gpt-5.1-codex-mini", "priority", ("0.0025", None)),  # dearer, by how much nobody says
        ("gpt-5.1-codex-mini", "ultrafast", ("0.0025", None)),
        ("deepseek-reasoner", "flex", ("0.0007", "0.0014")),  # no list takes more than half off
        ("claude-opus-4-8", "priority", ("0.025", None)),  # capacity that was bought ahead
        ("claude-opus-4-8", "scale", ("0.025", None)),
    ],
)
def test_a_tier_that_no_list_prices_is_assumed_at_list_price_and_bounded(
    rates: pricing.Rates, model: str, tier: str, bounds: tuple[str | None, ...]
) -> None:
    row = price_one(rates, model, **claude("10000/0/0/0"), service_tier=tier)
    standard = price_one(rates, model, **claude("10000/0/0/0"))
    assert row["cost"] == standard["cost"] == standard["cost_high"]
    wanted = tuple(bound and Decimal(bound) for bound in bounds)
    assert (row["cost_low"], row["cost_high"]) == wanted
    assert row["price_status"] == "assumed_list_price"


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("ollama", "llama3"),
        (None, "ollama/llama3"),
        ("litellm", "ollama_chat/gpt-oss:20b"),
        (None, "lmstudio/openai/gpt-oss-20b"),
        ("LM Studio", "openai/gpt-oss-20b"),
        ("lm_studio", "qwen3-8b"),
        ("llama-cpp", "claude-like"),
        (None, "llama.cpp/x"),
    ],
)
def test_what_runs_on_ones_own_machine_is_free(
    rates: pricing.Rates, provider: str | None, model: str
) -> None:
    row = price_one(rates, model, **claude("1000/10/0/0"), provider=provider)
    assert (row["cost"], row["price_status"]) == (0, "free")


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("ollama", "gpt-oss:120b-cloud"),
        ("ollama", "glm-4.6:cloud"),
        ("openrouter", "ollama/x"),
        (None, "ollama-x"),
    ],
)
def test_what_only_sounds_like_ones_own_machine_is_not_free(
    rates: pricing.Rates, provider: str | None, model: str
) -> None:
    assert price_one(rates, model, **claude("1000/10/0/0"), provider=provider)["cost"] != 0


@pytest.mark.parametrize(
    ("model", "rate", "status"),
    [
        ("anthropic.claude-fable-5-1", "11", "priced"),  # a region costs a tenth more
        ("eu.anthropic.claude-fable-5-1", "11", "priced"),
        ("global.anthropic.claude-fable-5-1", "10", "priced"),
        ("us-gov.anthropic.claude-opus-5-5", "4.8", "priced"),  # and the government's a fifth
        ("us-gov.anthropic.claude-fable-5-v1:0", "12", "priced"),
    ],
)
def test_bedrock_asks_more_for_a_region(
    rates: pricing.Rates, model: str, rate: str, status: str
) -> None:
    row = price_one(rates, model, **claude("1000000/0/0/0"), provider="bedrock")
    assert (row["cost"], row["price_status"]) == (Decimal(rate), status)


@pytest.mark.parametrize(
    ("provider", "model", "status"),
    [
        ("azure", "gpt-5", "priced"),
        ("azure_ai", "grok-4", "priced"),
        (None, "azure_ai/deepseek-v4-flash", "priced"),
        ("azure_ai", "deepseek-reasoner", "assumed_list_price"),
    ],
)
def test_azure_sells_at_the_makers_price_or_at_one_of_its_own(
    rates: pricing.Rates, provider: str | None, model: str, status: str
) -> None:
    row = price_one(rates, model, **claude("1000/0/0/0"), provider=provider)
    assert row["price_status"] == status


def test_an_unknown_model_has_no_cost(rates: pricing.Rates) -> None:
    row = price_one(rates, "gpt-5.7", **claude("10/5/0/0"))
    assert (row["cost"], row["cost_high"], row["price_status"]) == (None, None, "unpriced")
    assert row["price_model"] is None


def test_no_model_but_no_tokens_either_costs_nothing(rates: pricing.Rates) -> None:
    row = price_one(rates, None, **claude("0/0/0/0"))
    assert (row["cost"], row["price_status"]) == (Decimal(0), "priced")


def test_a_known_count_without_a_rate_leaves_the_whole_unknown(rates: pricing.Rates) -> None:
    row = price_one(rates, "text-embedding-3-small", **claude("1000/7/0/0"))
    assert row["uncached_input_cost"] == Decimal("0.00002")
    assert (row["output_cost"], row["cost"], row["price_status"]) == (None, None, "unpriced")
    row = price_one(rates, "text-embedding-3-small", **claude("1000/0/0/0"))
    assert (row["cost"], row["price_status"]) == (Decimal("0.00002"), "priced")


def test_no_counts_at_all_is_no_cost_and_no_missing_price(rates: pricing.Rates) -> None:
    row = price_one(rates, "gpt-5.5", kind="thread")
    assert (row["cost"], row["price_status"]) == (None, "no_counts")


def test_an_unstated_bucket_has_no_cost_but_the_rest_has(rates: pricing.Rates) -> None:
    row = price_one(rates, "gpt-5-codex", output_tokens=100)
    assert (row["uncached_input_cost"], row["cost"]) == (None, Decimal("0.001"))


@pytest.mark.parametrize(
    ("call", "counts", "bounds"),
    [
        # gpt-5-pro has no cache price: $15 per million either way, or nothing.
        ("openai gpt-5-pro", "1000/0/1000/0", ("0.015", "0.03", "0.03")),
        # Nor for writes, which cost a third more at most: 1,000 x 15 and x 20.
        ("openai gpt-5-pro", "1000/0/0/1000", ("0.015", "0.03", "0.035")),
        # gpt-5-codex lists reads alone: OpenAI asks nothing more for what it writes.
        ("openai gpt-5-codex", "1000/0/0/1000", ("0.0025", "0.0025", "0.0025")),
        # Llama at Groq, 0.59 and 0.79, output as well: 1,000 x 0.79 + 2,000 x 0.59.
        ("groq llama-3.3-70b-versatile", "1000/1000/1000/0", ("0.00138", "0.00197", "0.00197")),
        # Mistral Large 2 of before December 2025, 2 and 6.
        ("mistral mistral-large-latest", "0/1000/4000/0", ("0.006", "0.014", "0.014")),
    ],
)
def test_a_cache_rate_that_the_seller_does_not_list_is_the_input_rate_and_bounded(
    rates: pricing.Rates, call: str, counts: str, bounds: tuple[str, ...]
) -> None:
    provider, model = call.split()
    at = datetime(2025, 11, 1, tzinfo=UTC)
    row = price_one(rates, model, **claude(counts), provider=provider, timestamp=at)
    assert (row["cost_low"], row["cost"], row["cost_high"]) == tuple(map(Decimal, bounds))
    assert row["price_status"] == "priced_fallback_rate"


def test_a_cache_rate_that_is_not_listed_leaves_no_doubt_where_no_cache_was_used(
    rates: pricing.Rates,
) -> None:
    row = price_one(rates, "gpt-5-pro", **claude("1000/0/0/0"))
    assert row["cost_low"] == row["cost"] == row["cost_high"] == Decimal("0.015")
    assert row["price_status"] == "priced"


def test_a_write_for_an_hour_that_has_no_price_costs_double_at_most(
    rates: pricing.Rates,
) -> None:
    # A reseller's Claude whose writes have no price at all: 1,000 written at $3, at most at $6.
    text = b"""[[price]]
model = "claude-sonnet-4-5"
provider = "somebody"
input = 3
output = 15
"""
    overrides = read_overrides(Path("mine.toml"), lambda _: text)
    own = pricing.Rates(rates.table, overrides)
    counts = claude("0/0/0/1000", cache_creation_1h_input_tokens=1000)
    row = price_one(own, "claude-sonnet-4-5", **counts, provider="somebody")
    assert (row["cost_low"], row["cost"], row["cost_high"]) == (
        0,
        Decimal("0.003"),
        Decimal("0.006"),
    )


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openrouter", "deepseek/deepseek-r1:free"),
        ("ollama", "qwen3:8b"),
        (None, "some/thing:free"),
    ],
)
def test_free_is_said_to_be_free(rates: pricing.Rates, provider: str | None, model: str) -> None:
    row = price_one(rates, model, **claude("1000/10/0/0"), provider=provider)
    assert (row["cost"], row["price_status"]) == (Decimal(0), "free")


def test_an_empty_price_of_the_list_is_not_free(rates: pricing.Rates) -> None:
    row = price_one(rates, "gpt-4o", **claude("1000/10/0/0"), provider="github-copilot")
    assert (row["cost"], row["price_status"]) == (None, "unpriced")


def test_another_sellers_price_is_assumed(rates: pricing.Rates) -> None:
    row = price_one(rates, "gpt-5", **claude("1000/0/0/0"), provider="my-proxy")
    assert (row["cost"], row["price_status"]) == (Decimal("0.00125"), "assumed_list_price")


def test_only_counted_rows_cost_anything(rates: pricing.Rates) -> None:
    calls = frame(
        {"model": "gpt-5", **claude("1000/10/0/0")},
        {"model": "gpt-5", **claude("1000/10/0/0"), "duplicate_of": "call-1"},
        {"model": "gpt-5", **claude("1000/10/0/0"), "kind": "assertion"},
    )
    priced = cost.price(calls, rates)
    assert priced["price_status"].to_list() == ["priced", "not_counted", "not_counted"]
    assert priced["cost"].is_null().to_list() == [False, True, True]


def test_rows_keep_their_order_and_their_number(rates: pricing.Rates) -> None:
    models = ["gpt-5", "nobody-knows", "claude-opus-5", None, "gpt-5"]
    rows = [{"model": model, **claude(f"{n}/1/0/0")} for n, model in enumerate(models)]
    priced = cost.price(frame(*rows), rates)
    assert priced["uncached_input_tokens"].to_list() == [0, 1, 2, 3, 4]
    assert priced["model"].to_list() == models


def test_no_rows_are_priced_as_no_rows(rates: pricing.Rates) -> None:
    empty = cost.price(frame({"model": "gpt-5"}).filter(record=7), rates)
    assert empty.height == 0
    assert empty.schema["cost"] == pl.Int128


def test_sums_are_exact_in_any_order(rates: pricing.Rates) -> None:
    """A third of a femto-dollar would show; a million tiny calls equal one large call."""
    counts = claude("1/1/1/1", timestamp=NOON)
    calls = frame({"model": "claude-haiku-5-5", **counts, "context_tokens": 4})
    once = cost.price(calls, rates)
    whole = claude("1000000/1000000/1000000/1000000", context_tokens=4)
    large = price_one(rates, "claude-haiku-5-5", **whole)
    many = pl.concat([once] * 1000).select(pl.col("cost").sum() * 1000)
    assert many.select(in_dollars(pl.col("cost"))).item() == large["cost"] == Decimal("0.735")


def test_zeros_beside_unknown_tokens_cost_nothing_known_where_no_price_exists(
    rates: pricing.Rates,
) -> None:
    some = {"cached_input_tokens": 0, "cache_creation_input_tokens": 0}
    row = price_one(rates, None, **some, lower_bound=True)
    assert (row["cost"], row["cost_low"], row["price_status"]) == (None, None, "unpriced")
    row = price_one(rates, None, **claude("0/0/0/0"))
    assert row["cost"] == 0  # all is stated, and nothing costs nothing


def test_a_refusal_before_any_output_is_not_billed(rates: pricing.Rates) -> None:
    row = price_one(rates, "claude-opus-5", **claude("5000/0/0/0"), refused=True)
    assert {row[name] for name in (*BUCKET_COSTS, "cost", "cost_low", "cost_high")} == {0}
    assert row["price_status"] == "not_billed"


def test_fees_that_nothing_counts_leave_a_cost_without_an_upper_bound(rates: pricing.Rates) -> None:
    counts = claude("1000/100/0/0", problems=["tool-fees"])
    row = price_one(rates, "claude-opus-4-8", **counts)
    assert row["cost"] == row["cost_low"] == Decimal("0.0075")
    assert row["cost_high"] is None


@pytest.mark.parametrize("output", [1, 23_058_430, 23_058_431, 4 * 10**17, -4 * 10**17])
def test_costs_are_exact_on_both_sides_of_what_64_bits_hold(
    rates: pricing.Rates, output: int
) -> None:
    # Twenty-five dollars a million.
    row = price_one(rates, "claude-opus-4-5", **claude("0/0/0/0", output_tokens=output))
    assert row["cost"] == row["output_cost"] == Decimal(output) * 25 / 10**6
