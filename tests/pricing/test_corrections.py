"""What the list has wrong, one line a fact: costs worked out by hand from the source named.

Unless said otherwise a line is a million tokens each of uncached, cached and output, with a prompt
of a thousand tokens: the cost is the sum of the three rates.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallybook.pricing import rates as pricing
from tallybook.pricing.build import build_providers
from tallybook.pricing.corrections import read_corrections
from tallybook.pricing.tariff import Key
from tests.pricing.calls import claude, price_one

EACH: dict[str, Any] = claude("1000000/1000000/1000000/0", context_tokens=1000)


def at(stated: str) -> datetime:
    moment = datetime.fromisoformat(stated)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("provider", "model", "when", "cost"),
    [
        # Anthropic: platform.claude.com, pricing and launch pages.
        ("anthropic", "claude-sonnet-5-5", "2026-10-06T23:59:59", "12.2"),
        ("anthropic", "claude-sonnet-5-5", "2026-10-07", "12.1"),
        ("anthropic", "claude-mythos-5", "2026-08-01", "61"),
        ("anthropic", "claude-mythos-5-1", "2026-08-01", "60.25"),
        # OpenAI: LiteLLM's dated price files.
        ("openai", "o3", "2025-06-09", "52.5"),
        ("openai", "o3", "2025-06-10", "10.5"),
        ("openai", "gpt-5.3-codex-spark", "2026-03-01", "15.925"),
        ("openai", "gpt-5.5-cyber-preview", "2026-11-01", "88.75"),
        ("openai", "gpt-6-astra-law", "2026-11-01", "61"),
        ("openai", "gpt-daybreak-red-latest", "2026-11-01", "88.75"),
        ("openai", "daybreak-blue-latest", "2026-11-01", "24.4"),
        # Google: cached tokens at a quarter until autumn 2025.
        ("google", "gemini-2.5-pro", "2025-07-01", "11.5625"),
        ("google", "gemini-2.5-pro", "2025-11-01", "11.375"),
        ("google", "gemini-2.5-flash", "2025-07-01", "2.875"),
        ("google", "gemini-2.5-flash-lite", "2025-07-01", "0.525"),
        ("google", "gemini-3.6-flash", "2026-08-12", "9.15"),
        ("google", "gemini-3.6-flash", "2026-08-13", "4.575"),
        ("google", "gemini-3.1-pro-preview-customtools", "2026-06-01", "14.2"),
        ("google", "gemini-4-hydrogen", "2026-11-01", "9.075"),
        # DeepSeek: its news and pricing page, peak hours on workdays only.
        ("deepseek", "deepseek-chat", "2025-01-15T02:00", "1.44"),
        ("deepseek", "deepseek-chat", "2025-01-15T20:00", "1.44"),  # no nights yet
        ("deepseek", "deepseek-chat", "2025-07-15T12:00", "1.44"),
        ("deepseek", "deepseek-chat", "2025-07-15T20:00", "0.72"),
        ("deepseek", "deepseek-reasoner", "2025-07-15T20:00", "0.72"),
        ("deepseek", "deepseek-chat", "2025-09-20T20:00", "2.31"),
        ("deepseek", "deepseek-reasoner", "2025-09-20T12:00", "2.31"),
        ("deepseek", "deepseek-chat", "2025-11-15T12:00", "0.728"),
        ("deepseek", "deepseek-reasoner", "2025-11-15T20:00", "0.728"),
        ("deepseek", "deepseek-chat", "2026-05-01", "0.448"),
        ("deepseek", "deepseek-chat", "2026-06-01T12:00", "0.4228"),
        ("deepseek", "deepseek-reasoner", "2026-06-01T12:00", "0.4228"),
        ("deepseek", "deepseek-v4-flash", "2026-07-15T02:00", "0.4228"),
        ("deepseek", "deepseek-v4-flash", "2026-07-15T12:00", "0.4228"),
        ("deepseek", "deepseek-v4-flash", "2026-08-24T12:00", "0.887"),
        ("deepseek", "deepseek-v4-flash", "2026-08-24T02:00", "1.774"),
        ("deepseek", "deepseek-v4-flash", "2026-09-15T02:00", "1.506"),
        ("deepseek", "deepseek-flash", "2026-09-15T12:00", "0.753"),
        ("deepseek", "deepseek-flash", "2026-09-15T02:00", "1.506"),
        ("deepseek", "deepseek-v4-flash-vision-exp", "2026-09-15T02:00", "1.506"),
        ("deepseek", "deepseek-v4-pro", "2026-07-15T12:00", "1.308625"),
        ("deepseek", "deepseek-v4-pro", "2026-08-16T12:00", "1.308625"),
        ("deepseek", "deepseek-v4-pro", "2026-08-16T17:00", "2.662"),
        ("deepseek", "deepseek-v4-pro", "2026-08-22T02:00", "2.662"),  # a Saturday
        ("deepseek", "deepseek-v4-pro", "2026-08-24T02:00", "5.324"),
        ("deepseek", "deepseek-v4-pro", "2026-08-24T05:00", "2.662"),
        ("deepseek", "deepseek-v4-pro", "2026-10-01T02:00", "2.662"),  # China's national day
        ("deepseek", "deepseek-v4-pro", "2026-10-08T02:00", "5.324"),
        # xAI: LiteLLM's dated price files, and the cost that its answers state.
        ("x-ai", "grok-4.5", "2026-07-18", "8.5"),
        ("x-ai", "grok-4.5", "2026-07-19", "8.3"),
        ("x-ai", "grok-4.20-beta-0309-reasoning", "2026-11-01", "3.95"),
        ("x-ai", "grok-build-latest", "2026-11-01", "8.3"),
        # Mistral: what a name meant that day.
        ("mistral", "mistral-large-latest", "2025-12-01", "10"),  # no cache price: as the prompt
        ("mistral", "mistral-large-latest", "2025-12-02", "2.05"),
        ("mistral", "mistral-large-3", "2026-11-01", "2.05"),
        ("mistral", "magistral-medium-latest", "2026-10-31", "9"),
        ("mistral", "magistral-medium-latest", "2026-11-01", "9.15"),
        ("mistral", "magistral-small-latest", "2026-11-01", "0.765"),
        ("mistral", "open-mistral-nemo", "2026-11-01", "0.63"),
        ("mistral", "devstral-latest", "2026-11-01", "2.44"),
        ("mistral", "mistral-vibe-cli-latest", "2026-11-01", "9.15"),
        ("mistral", "mistral-vibe-cli-fast", "2026-11-01", "0.765"),
        ("mistral", "mistral-code-latest", "2026-11-01", "1.23"),
        # Z.ai and MiniMax.
        ("zai", "glm-5-turbo", "2026-04-01", "5.44"),
        ("zai", "glm-5v-turbo", "2026-11-01", "5.44"),
        ("zai", "glm-5-code", "2026-11-01", "6.5"),
        ("zai", "glm-4.7-flash", "2026-11-01", "0"),
        ("minimax", "MiniMax-M2.1-lightning", "2026-11-01", "2.73"),
        ("minimax", "MiniMax-M2.5-lightning", "2026-11-01", "2.73"),
        # Qwen: alibabacloud.com/help/en/model-studio/model-pricing.
        ("alibaba", "qwen3-coder-plus", "2026-11-01", "6.2"),
        ("dashscope", "qwen3-max", "2026-11-01", "7.44"),
        ("alibaba", "qwen3.5-plus", "2026-11-01", "2.84"),
        (None, "qwen3.7-max", "2026-11-01", "10.5"),
        (None, "qwen3.7-plus", "2026-11-01", "2.08"),
        (None, "qwen3.8-max", "2026-11-01", "8.25"),
        (None, "qwen3.8-flash", "2026-11-01", "0.636"),
        # Clouds with a price of their own.
        ("azure_ai", "deepseek-v4-pro", "2026-11-01", "5.365"),
        ("bedrock", "amazon.nova-2-lite-v1:0", "2026-11-01", "2.875"),
        # OpenRouter passes the makers' cache prices on.
        ("openrouter", "anthropic/claude-3.7-sonnet", "2025-06-01", "18.3"),
        ("openrouter", "anthropic/claude-3.5-haiku", "2025-06-01", "4.88"),
        ("openrouter", "google/gemini-2.0-flash-001", "2025-06-01", "0.525"),
        ("openrouter", "x-ai/grok-3-beta", "2025-06-01", "18.75"),
    ],
)
def test_a_price_of_a_day(
    rates: pricing.Rates, provider: str | None, model: str, when: str, cost: str
) -> None:
    row = price_one(rates, model, **EACH, provider=provider, timestamp=at(when))
    assert row["cost"] == row["cost_high"] == Decimal(cost)
    # What has no listed cache price may have been read for nothing.
    assert (row["cost_low"] == row["cost"]) is (row["price_status"] != "priced_fallback_rate")


@pytest.mark.parametrize(
    ("call", "counts", "cost"),
    [
        # Above 200,000 tokens the whole request costs more: 250,000 x 6 + 1,000 x 22.5 + 10,000
        # written x 7.5 + 5,000 read x 0.6.
        ("anthropic claude-sonnet-4-20250514[1m] 2025-09-01", "250000/1000/5000/10000", "1.6005"),
        ("anthropic claude-sonnet-4 2025-08-11", "250000/1000/0/0", "0.765"),
        ("anthropic claude-sonnet-4-0 2025-08-12", "200000/1000/0/0", "0.615"),
        # Batch is half of all: 100,000 x 1 + 1,000 x 5 + 20,000 x 0.1.
        ("anthropic claude-sonnet-5-5 2026-10-01 batch", "100000/1000/20000/0", "0.107"),
        # OpenAI's batch halves all but the cached input: 10,000 x 1 + 100 x 4 + 90,000 x 0.5.
        ("openai gpt-4.1 2026-10-01 batch", "10000/100/90000/0", "0.0554"),
        ("openai gpt-4.1 2026-10-20 batch", "10000/100/90000/0", "0.0554"),
        ("openai gpt-6.1-sol 2026-11-20 ultrafast", "1000/100/0/0", "0.018"),
        # 300,000 x 120 + 1,000 x 450.
        ("openai gpt-6-astra 2026-11-20 ultrafast", "300000/1000/0/0", "36.45"),
        # The cached rate of the upper tier keeps its ratio: 100,000 x 2.5 + 200,000 x 0.625.
        ("google gemini-2.5-pro 2025-07-01", "100000/0/200000/0", "0.375"),
        ("google gemini-2.5-computer-use-preview-10-2025 2026-08-01", "300000/0/0/0", "0.75"),
        ("google gemini-3.6-flash 2026-08-01 batch", "1000/100/0/0", "0.001125"),
        ("x-ai grok-4 2025-10-01", "128000/1000/0/0", "0.399"),
        ("x-ai grok-4-0709 2025-10-01", "128001/1000/0/0", "0.798006"),
        ("x-ai grok-4-fast-reasoning 2025-11-01", "200000/1000/0/0", "0.081"),
        ("x-ai grok-4-fast-non-reasoning 2025-11-01", "200000/1000/0/0", "0.081"),
        ("x-ai grok-4-1-fast-reasoning 2025-12-01", "200000/1000/0/0", "0.081"),
        ("x-ai grok-4-1-fast-non-reasoning 2025-12-01", "200000/1000/0/0", "0.081"),
        # Above 32,000, 128,000 and 256,000 tokens: 40,000 x 1.8 + 1,000 x 9, and so on.
        ("alibaba qwen3-coder-plus 2026-03-01", "40000/1000/0/0", "0.081"),
        ("alibaba qwen3-coder-plus 2026-03-01", "130000/1000/0/0", "0.405"),
        ("alibaba qwen3-coder-plus 2026-03-01", "300000/1000/0/0", "1.86"),
        ("alibaba qwen3-coder-flash 2026-03-01", "40000/1000/0/0", "0.0225"),
        ("alibaba qwen3.8-max 2026-11-01", "1000/0/0/1000", "0.0045"),
        ("alibaba qwen-max 2026-03-01", "1000/1000/0/0", "0.008"),
        ("azure_ai gpt-oss-120b 2026-03-01", "1000/1000/0/0", "0.00075"),
        ("azure_ai deepseek-r1 2026-03-01", "1000/1000/0/0", "0.00675"),
        ("azure_ai deepseek-v3-0324 2026-03-01", "1000/1000/0/0", "0.0057"),
        ("azure_ai deepseek-v3.1 2026-03-01", "1000/1000/0/0", "0.00617"),
        ("azure_ai deepseek-v3.2 2026-03-01", "1000/1000/0/0", "0.00226"),
        ("azure_ai deepseek-v3.2-speciale 2026-03-01", "1000/1000/0/0", "0.00226"),
        ("azure_ai deepseek-v4-flash 2026-09-01", "1000/1000/0/0", "0.0007"),
        ("azure_ai deepseek-v4.1-flash 2026-11-01", "1000/1000/0/0", "0.0015"),
        ("bedrock moonshot.kimi-k2-thinking 2026-03-01", "1000/1000/0/0", "0.0031"),
        ("bedrock deepseek.v3-v1:0 2026-03-01", "1000/1000/0/0", "0.00226"),
        ("bedrock deepseek.v3.2 2026-03-01", "1000/1000/0/0", "0.00247"),
        ("bedrock qwen.qwen3-coder-480b-a35b-v1:0 2026-03-01", "1000/1000/0/0", "0.00225"),
        ("bedrock qwen.qwen3-235b-a22b-2507-v1:0 2026-03-01", "1000/1000/0/0", "0.0011"),
        ("bedrock qwen.qwen3-coder-30b-a3b-v1:0 2026-03-01", "1000/1000/0/0", "0.00075"),
        ("bedrock qwen.qwen3-32b-v1:0 2026-03-01", "1000/1000/0/0", "0.00075"),
        ("bedrock amazon.nova-2-pro-preview-20251202-v1:0 2026-03-01", "1000/1000/0/0", "0.01125"),
        ("google deep-research-pro-preview-12-2025 2026-03-01", "1000/1000/1000/0", "0.0142"),
        ("google deep-research-preview-04-2026 2026-05-01", "1000/1000/0/0", "0.014"),
        ("google deep-research-max-preview-04-2026 2026-05-01", "1000/1000/0/0", "0.014"),
        # Moonshot (platform.moonshot.ai): 10,000 x 0.6 + 100 x 3 + 90,000 x 0.1.
        ("moonshotai kimi-k2.5 2026-06-01", "10000/100/90000/0", "0.0153"),
        ("moonshotai kimi-k2.6 2026-06-01", "10000/100/90000/0", "0.0243"),
        ("moonshotai kimi-k3 2026-11-01", "1000/100/2000/500", "0.0066"),
        # Mistral: batch is half, and medium became another model on a day (mistral.ai/pricing).
        ("mistral mistral-large-2512 2026-11-01 batch", "1000/1000/1000/0", "0.001025"),
        ("mistral mistral-medium-latest 2026-06-15", "1000/1000/1000/0", "0.00244"),
        ("mistral mistral-medium-latest 2026-06-16", "1000/1000/1000/0", "0.00915"),
    ],
)
def test_a_price_by_tier_batch_and_cache(
    rates: pricing.Rates, call: str, counts: str, cost: str
) -> None:
    provider, model, when, *tier = call.split()
    stated = {"provider": provider, "timestamp": at(when), "service_tier": next(iter(tier), None)}
    assert price_one(rates, model, **claude(counts), **stated)["cost"] == Decimal(cost)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-oss-120b"),
        (None, "gpt-oss-120b"),
        ("deepseek", "deepseek-v3.2"),
        ("deepseek", "deepseek-v3.2-exp"),
        ("deepseek", "deepseek-v3.1-terminus"),
    ],
)
def test_a_resellers_price_is_not_the_makers(
    rates: pricing.Rates, provider: str | None, model: str
) -> None:
    row = price_one(rates, model, **EACH, provider=provider)
    assert (row["cost"], row["price_status"]) == (None, "unpriced")


@pytest.mark.parametrize(
    ("model", "when", "bounds"),
    [
        # One tool has the rates of GPT-5-Codex: 1.25, 0.125 and 10.
        ("gpt-5-codex-mini", "2026-01-05", ("2.275", "2.275", "11.375")),
        # GPT-5.4: 2.50, 0.25 and 15. Others say GPT-5.6 Luna, then 1, 0.10 and 6; or GPT-5.5, which
        # is twice as dear as GPT-5.4.
        ("codex-auto-review", "2026-07-29", ("7.1", "17.75", "35.5")),
        # GPT-5.6 Luna: 0.20, 0.02 and 1.20. The help page still says GPT-5.4.
        ("codex-auto-review", "2026-07-30", ("1.42", "1.42", "17.75")),
    ],
)
def test_sources_that_contradict_each_other_bound_a_price(
    rates: pricing.Rates, model: str, when: str, bounds: tuple[str, str, str]
) -> None:
    row = price_one(rates, model, provider="openai", timestamp=at(when), **EACH)
    found = [row[name] for name in ("cost_low", "cost", "cost_high")]
    assert found == [Decimal(bound) for bound in bounds]
    assert row["price_status"] == "assumed_list_price"


def test_what_is_corrected_says_who_says_so_and_why(rates: pricing.Rates) -> None:
    before = rates.quote(Key(model="claude-sonnet-5-5"), at("2026-10-01")).rates[0]
    assert (before.basis, before.source) == (
        "correction",
        "platform.claude.com, the page of the launch; claudit 1.9.1 and 1.9.2",
    )
    assert before.reason == "the list has the cache price of after the cut for all days"
    after = rates.quote(Key(model="claude-sonnet-5-5"), at("2026-10-08")).rates[0]
    assert (after.basis, after.source, after.reason) == ("list", "", "")


def test_every_entry_is_about_a_model_of_the_list_or_adds_one() -> None:
    corrections = read_corrections()
    listed = {
        (provider.id, model.id) for provider in build_providers() for model in provider.models
    }
    about = [*corrections.change, *corrections.name, *corrections.no_price]
    assert {(fact.provider, fact.model) for fact in about} <= listed
    # A misspelt id would add a model that nobody means; one with a namesake is misspelt.
    alike = {(provider, model.lower()) for provider, model in listed}
    added = {(p.provider, p.model) for p in corrections.price} - listed
    assert not {(provider, model.lower()) for provider, model in added} & alike


def test_every_entry_is_priced_here() -> None:
    here = Path(__file__)
    tested = here.read_text("utf-8") + here.with_name("test_media.py").read_text("utf-8")
    corrections = read_corrections()
    facts = [*corrections.price, *corrections.change, *corrections.name, *corrections.no_price]
    names = {fact.model: (fact.model, *getattr(fact, "names", ())) for fact in facts}
    assert [
        m
        for m, ways in names.items()
        if not any(re.search(rf'[" ]{re.escape(w)}[" ]', tested) for w in ways)
    ] == []
