"""Which model of the price list a logged name means."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tallybook.pricing import rates as pricing
from tallybook.pricing.names import ALIAS, EXACT, PREFIX, SUFFIX_REMOVED
from tallybook.pricing.table import per_million
from tallybook.pricing.tariff import Key

BEDROCK = "anthropic.claude-opus-4-8-v1:0"
CASES = [
    # provider, model as logged, provider and model of the list, kind
    (None, "claude-opus-5", "anthropic", "claude-opus-5", EXACT),
    (None, "claude-sonnet-4-20250514", "anthropic", "claude-sonnet-4-0", PREFIX),
    (None, "claude-opus-4-6[1m]", "anthropic", "claude-opus-4-6", PREFIX),
    (None, "claude-sonnet-4-5-20250929[1m]", "anthropic", "claude-sonnet-4-5", PREFIX),
    (None, "claude-sonnet-4.5", "anthropic", "claude-sonnet-4-5", ALIAS),
    (None, "claude-4.5-sonnet", "anthropic", "claude-sonnet-4-5", ALIAS),
    (None, "claude-4.5-sonnet-thinking", "anthropic", "claude-sonnet-4-5", SUFFIX_REMOVED),
    (None, "claude-opus-4-8-fast", "anthropic", "claude-opus-4-8", SUFFIX_REMOVED),
    (None, "anthropic/claude-sonnet-4.5", "anthropic", "claude-sonnet-4-5", ALIAS),
    (None, f"us.{BEDROCK}", "aws", f"regional.{BEDROCK}", PREFIX),
    ("bedrock", f"global.{BEDROCK}", "aws", f"global.{BEDROCK}", EXACT),
    ("anthropic", "claude-haiku-4-5@20251001", "google", "claude-haiku-4-5", PREFIX),
    ("vertex_ai", "claude-opus-4-8@20260101", "google", "claude-opus-4-8", PREFIX),
    (None, "publishers/anthropic/models/claude-opus-4-8", "google", "claude-opus-4-8", ALIAS),
    (None, "gpt-5-codex", "openai", "gpt-5", ALIAS),
    (None, "gpt-5-20250807", "openai", "gpt-5", ALIAS),
    (None, "gpt-5-high", "openai", "gpt-5", SUFFIX_REMOVED),
    (None, "gpt-5 (high)", "openai", "gpt-5", SUFFIX_REMOVED),
    (None, "gpt-5.1-codex-max", "openai", "gpt-5.1", ALIAS),
    (None, "gpt-5.1-codex-max-xhigh", "openai", "gpt-5.1", SUFFIX_REMOVED),
    (None, "openai/gpt-5", "openai", "gpt-5", ALIAS),
    (None, "azure/gpt-4o", "openai", "gpt-4o", ALIAS),
    ("openrouter", "openai/gpt-5", "openrouter", "openai/gpt-5", EXACT),
    (None, "openrouter/openai/gpt-5", "openrouter", "openai/gpt-5", ALIAS),
    ("litellm", "anthropic/claude-opus-4-8", "anthropic", "claude-opus-4-8", ALIAS),
    (None, "glm-4.6", "zai", "GLM-4.6", EXACT),
    (None, "z-ai/glm-4.6", "zai", "GLM-4.6", ALIAS),
    (None, "models/gemini-2.5-pro", "google", "gemini-2.5-pro", ALIAS),
    (None, "gemini-2.0-flash-001", "google", "gemini-2.0-flash", PREFIX),
    (None, "text-embedding-3-small", "openai", "text-embedding-3-small", EXACT),
]  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "logged", "found"), [(case[0], case[1], case[2:]) for case in CASES]
)
def test_a_name_is_found(
    rates: pricing.Rates, provider: str | None, logged: str, found: tuple[str, str, str]
) -> None:
    match = rates.quote(Key(provider, logged)).tariff.match
    assert match is not None
    assert (match.provider, match.model.id, match.kind) == found
    assert not match.assumed


@pytest.mark.parametrize(
    "logged",
    [
        "gpt-5.7",
        "claude-opus-6",
        "claude-opus-4-80",
        "gemini-9-pro",
        "gemini-2.5-pro-foo",
        "deepseek-v4-flash-foo",
        "claude-opus-4-8-foo",
        "kimi-k3.5",
        "sonnet",
        "<synthetic>",
        "auto",
        "gpt-5.3-codex-sparkle",
        "my-deployment",
        "",
        "/",
        "[1m]",
        "a/" * 2000,
        "/-high" * 40,
    ],
)
def test_a_name_that_merely_begins_alike_is_not(rates: pricing.Rates, logged: str) -> None:
    quote = rates.quote(Key(model=logged))
    assert quote.tariff.match is None
    assert quote.rates == ()


@pytest.mark.parametrize(
    ("provider", "logged"),
    [("openrouter", "claude-sonnet-4.5"), ("my-proxy", "gpt-5"), ("anthropic", "glm-4.6")],
)
def test_the_makers_price_for_another_seller_is_assumed(
    rates: pricing.Rates, provider: str, logged: str
) -> None:
    match = rates.quote(Key(provider, logged)).tariff.match
    assert match is not None
    assert match.assumed


def test_a_lookup_tells_the_way_and_the_rates(rates: pricing.Rates) -> None:
    quote = rates.quote(Key(model="claude-opus-4-8-fast"), datetime(2026, 9, 1, tzinfo=UTC))
    assert quote.path == (
        "logged as claude-opus-4-8-fast",
        "without -fast",
        "read as claude-opus-4-8",
        "suffix removed match: claude-opus-4-8 of anthropic",
    )
    assert per_million(quote.rates[0].uncached) == Decimal(10)


def test_a_lookup_shows_every_tier(rates: pricing.Rates) -> None:
    quote = rates.quote(Key("openai", "gpt-5.5"))
    assert [(rate.above, per_million(rate.output)) for rate in quote.rates] == [
        (0, Decimal(30)),
        (272_000, Decimal(45)),
    ]
