"""The rules of this program keep their name while the same calls cost the same by them."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from itertools import product
from typing import Any

import pytest

from tallybook.pricing import cost
from tallybook.pricing import rates as pricing
from tallybook.pricing.installed import RULES
from tallybook.schema import MEDIA_COUNTS, TOOL_COUNTS
from tests.pricing.calls import claude, frame

# The price list, and by it the rules and what the calls below cost. Where the costs are others,
# `installed.RULES` has to be new as well. Of a newer list nothing is known here.
LIST = "079dd9b5"
KNOWN = ("5f8e42aa", "806bd055")

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
    if not rates.table.digest.startswith(LIST):
        pytest.skip("another price list is installed")
    counts, whose = claude("1000/200/30000/400"), calls(rates)
    said = sha256()
    for stated in STATED:
        rows = cost.price(frame(*(counts | each | stated for each in whose)), rates)
        said.update(repr(rows.select(*cost.SCHEMA).rows()).encode())
    assert (RULES[:8], said.hexdigest()[:8]) == KNOWN
