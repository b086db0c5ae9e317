"""The rules of this program keep their name while the same calls cost the same by them."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from itertools import product
from typing import Any

from tallybook.pricing import cost
from tallybook.pricing import rates as pricing
from tallybook.pricing.installed import RULES
from tallybook.schema import MEDIA_COUNTS, TOOL_COUNTS
from tests.pricing.calls import claude, frame

# The rules, the price list and what the calls below cost by them. Where the last alone is another
# one, calls cost otherwise: `installed.RULES` has to be new as well. With a new list all is.
KNOWN = ("5f8e42aa", "079dd9b5", "806bd055")

SPELLED = (
    "anthropic/claude-sonnet-4.5",
    "claude-sonnet-4-5[1m]",
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "claude-4.5-sonnet",
    "claude-opus-4-6-fast",
    "models/gemini-2.5-pro",
    "deepseek/deepseek-chat:free",
    "azure/gpt-5.2-codex-high",
    "no-such-model",
    None,
)
STATED: tuple[dict[str, Any], ...] = (
    {},
    {"timestamp": None},
    {"timestamp": datetime(2025, 3, 9, 17, 30, tzinfo=UTC), "service_tier": "flex"},
    {"service_tier": "priority", "speed": "fast", "inference_geo": "us", "context_tokens": 1},
    {"cache_creation_1h_input_tokens": 40, "web_search_requests": 3},
    {"uncached_input_tokens": None, "unsplit_input_tokens": 300_000, "service_tier": "batch"},
    {"cached_input_tokens": None, "cache_creation_input_tokens": None, "input_lower_bound": True},
    {"perhaps_uncached_tokens": 70, "perhaps_output_tokens": 9, "unbounded": True},
    dict.fromkeys(MEDIA_COUNTS, 5) | {"tool_counts": [2] * len(TOOL_COUNTS)},
    {"refused": True},
    {"output_tokens": 10**15},
)


def calls(rates: pricing.Rates) -> list[dict[str, Any]]:
    listed = [(key.provider, key.model) for key in rates.listed()]
    spelled = product((None, "openrouter", "aws", "azure", "ollama"), SPELLED)
    return [{"provider": seller, "model": model} for seller, model in (*listed[::8], *spelled)]


def test_the_rules_have_a_new_name_where_calls_cost_otherwise(rates: pricing.Rates) -> None:
    counts, whose = claude("1000/200/30000/400"), calls(rates)
    said = sha256()
    for stated in STATED:
        rows = cost.price(frame(*(counts | each | stated for each in whose)), rates)
        said.update(repr(rows.select(*cost.SCHEMA).rows()).encode())
    found = (RULES, rates.table.digest, said.hexdigest())
    assert tuple(each[:8] for each in found) == KNOWN
