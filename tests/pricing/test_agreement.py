"""The table says what genai-prices itself would have said, call by call."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from tallybook.pricing import cost
from tallybook.pricing import rates as pricing
from tallybook.pricing.build import build_providers
from tallybook.pricing.in_force import KEY_COLUMNS
from tallybook.pricing.price_file import Overrides
from tests.pricing.calls import frame

# The rules that go beyond the list start where the list's own variants start.
LISTED = datetime(2026, 10, 15, tzinfo=UTC)
UNITS = {
    "input_mtok",
    "output_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "cache_write_1h_mtok",
    "web_searches_kcount",
    "storage_searches_kcount",
}
CONTEXTS: dict[str | None, dict[str, str]] = {
    None: {},
    "priority": {"service_tier": "priority"},
    "flex": {"service_tier": "flex"},
    "batch": {"processing": "batch"},
}


@pytest.fixture(scope="module")
def rates() -> pricing.Rates:
    """The list as it is, without corrections."""
    return pricing.Rates(pricing.Table("", "", build_providers()), Overrides())


def sellable() -> list[tuple[str, str, set[str]]]:
    """Provider, id and variants of every model that is priced by tokens and searches alone."""
    from genai_prices.data import providers  # noqa: PLC0415

    found = []
    for provider in providers:
        for model in provider.models:
            sets = model.prices if isinstance(model.prices, list) else [model]
            keys = {key for prices in sets for key in vars(prices.prices)}
            if keys <= UNITS and {"input_mtok", "output_mtok"} <= keys:
                variants = {str(variant.when) for variant in model.price_variants or ()}
                found.append((provider.id, model.id, variants))
    return found


def random_calls(seed: int, number: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(seed)
    models = sellable()
    for _ in range(number):
        provider, model, variants = chance.choice(models)
        parts = [chance.choice([0, chance.randrange(200_000)]) for _ in range(4)]
        listed = [name for name, context in CONTEXTS.items() if str(context) in variants]
        variant = chance.choice([None, *listed])
        start, days = (LISTED, 60) if variant else (datetime(2024, 1, 1, tzinfo=UTC), 1200)
        yield {
            "provider": provider,
            "model": model,
            "service_tier": variant,
            "timestamp": start + timedelta(seconds=chance.randrange(days * 86_400)),
            "uncached_input_tokens": parts[0],
            "cached_input_tokens": parts[1],
            "cache_creation_input_tokens": parts[2] + parts[3],
            "cache_creation_1h_input_tokens": parts[3],
            "unsplit_input_tokens": 0,
            "output_tokens": chance.randrange(100_000),
            "web_search_requests": 0,
            "context_tokens": sum(parts),
        }


def listed_price(call: dict[str, Any]) -> Decimal | None:
    from genai_prices import Usage, calc_price  # noqa: PLC0415

    usage = Usage(
        input_tokens=call["context_tokens"],
        cache_read_tokens=call["cached_input_tokens"],
        cache_write_tokens=call["cache_creation_input_tokens"],
        cache_write_1h_tokens=call["cache_creation_1h_input_tokens"],
        output_tokens=call["output_tokens"],
    )
    try:
        found = calc_price(
            usage,
            call["model"],
            provider_id=call["provider"],
            genai_request_timestamp=call["timestamp"],
            price_context=CONTEXTS[call["service_tier"]],
        )
    except LookupError:
        return None
    same = (found.provider.id, found.model.id.lower()) == (call["provider"], call["model"].lower())
    return found.total_price if same else None


@pytest.mark.parametrize("seed", range(3))
def test_a_sample_of_calls_costs_what_the_list_says(rates: pricing.Rates, seed: int) -> None:
    calls = list(random_calls(seed, 300))
    priced = cost.price(frame(*calls), rates)
    assert priced.select(KEY_COLUMNS).height == len(calls)
    compared = 0
    for call, row in zip(calls, priced.iter_rows(named=True), strict=True):
        expected = listed_price(call)
        if expected is None or row["cost"] is None:
            continue
        # Some resold prices carry float dust below a femto-dollar per token.
        assert abs(Decimal(row["cost"]).scaleb(-15) - expected) < Decimal("1e-9"), call
        compared += 1
    assert compared > 200


def test_nearly_every_model_of_the_list_is_found_by_its_own_name(rates: pricing.Rates) -> None:
    models = sellable()
    calls = frame(
        *(
            {"provider": p, "model": m, "output_tokens": 1, "context_tokens": 0}
            for p, m, _ in models
        )
    )
    priced = cost.price(calls, rates)
    found = priced.filter(pl.col("price_status").is_in(["priced", "free"]))
    assert found.height / len(models) > 0.99
