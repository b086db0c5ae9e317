"""Usage as OpenAI's Responses and Anthropic's Messages state it, and what others make of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from tallybook.dialects.shape import AMBIGUOUS, Shape, any_of, at, media_at

_RESPONSES: Final = Shape(
    rule="openai-responses",
    keys=any_of(
        "input_tokens input_tokens_details",
        "input_tokens output_tokens_details total_tokens",
        "input_tokens prompt_tokens_details",  # DashScope
        "input_tokens x_details",  # Qwen
    ),
    dialects=("openai", "xai", "bedrock", "disjoint", "anthropic"),
    input=at("input_tokens"),
    cached=at(
        "input_tokens_details/cached_tokens",
        "input_tokens_details/cache_read_input_tokens",  # Perplexity
        "prompt_tokens_details/cached_tokens",
        "x_details/0/prompt_tokens_details/cached_tokens",
    ),
    creation=at(
        "input_tokens_details/cache_write_tokens",
        "input_tokens_details/cache_creation_tokens",
        "input_tokens_details/cache_creation_input_tokens",
        "input_tokens_details/cached_creation_tokens",  # New API
        "prompt_tokens_details/cache_creation_input_tokens",
        "x_details/0/prompt_tokens_details/cache_creation_input_tokens",
    ),
    creation_5m=at(
        "input_tokens_details/cache_creation/ephemeral_5m_input_tokens",
        "prompt_tokens_details/cache_creation/ephemeral_5m_input_tokens",
        "x_details/0/prompt_tokens_details/cache_creation/ephemeral_5m_input_tokens",
    ),
    output=at("output_tokens"),
    reasoning=at(
        "output_tokens_details/reasoning_tokens",
        "x_details/0/output_tokens_details/reasoning_tokens",
    ),
    total=at("total_tokens"),
    media=media_at(
        at("input_tokens_details", "prompt_tokens_details"),
        at("input_tokens_details/cached_tokens_details"),
        at("output_tokens_details"),
    ),
    service_tier=at("service_tier"),
    cost=at("cost/total_cost", "cost"),
)
_OPENROUTER: Final = replace(
    _RESPONSES,
    rule="openrouter-responses",
    keys=any_of("input_tokens cost_details", "input_tokens is_byok"),
    own_key=at("is_byok"),
    own_key_cost=at("cost_details/upstream_inference_cost"),
)
_XAI: Final = replace(
    _RESPONSES,
    rule="xai-responses",
    keys=any_of(
        "input_tokens cost_in_usd_ticks",
        "input_tokens num_sources_used",
        "input_tokens server_side_tool_usage_details",
    ),
    dialects=("openai", "xai", "bedrock", "disjoint", "anthropic"),
    web_searches=at("server_side_tool_usage_details/web_search_calls"),
    tools="xai",
    cost=at("cost_in_usd_ticks"),
    cost_unit=Decimal("1e-10"),
)
# Images, transcripts and live sessions, whose details are in the singular.
_REALTIME: Final = Shape(
    rule="openai-realtime",
    keys=any_of("input_tokens input_token_details"),
    within=at(
        "input_token_details/cached_tokens",
        "input_token_details/text_tokens",
        "input_token_details/audio_tokens",
        "input_token_details/image_tokens",
    ),
    dialects=("openai",),
    input=at("input_tokens"),
    cached=at("input_token_details/cached_tokens"),
    output=at("output_tokens"),
    reasoning=at("output_token_details/reasoning_tokens"),
    total=at("total_tokens"),
    media=media_at(
        at("input_token_details"),
        at("input_token_details/cached_tokens_details"),
        at("output_token_details"),
    ),
)
_ANTHROPIC: Final = Shape(
    rule="anthropic",
    keys=any_of(
        "input_tokens cache_read_input_tokens",
        "input_tokens cache_creation_input_tokens",
        "input_tokens cache_creation",
        "input_tokens server_tool_use",
        "input_tokens iterations",
        "input_tokens inference_geo",
        "input_tokens service_tier",
        "output_tokens cache_read_input_tokens",
        "output_tokens cache_creation_input_tokens",
    ),
    without=frozenset({"total_tokens", "input_tokens_details"}),
    dialects=("anthropic",),
    input=at("input_tokens"),
    cached=at("cache_read_input_tokens"),
    creation=at("cache_creation_input_tokens"),
    creation_5m=at("cache_creation/ephemeral_5m_input_tokens"),
    creation_1h=at("cache_creation/ephemeral_1h_input_tokens"),
    output=at("output_tokens"),
    reasoning=at("output_tokens_details/thinking_tokens"),
    service_tier=at("service_tier"),
    speed=at("speed"),
    inference_geo=at("inference_geo"),
    web_searches=at("server_tool_use/web_search_requests"),
)
# Anthropic states no total, so a wrapper rewrote the object and may have put the caches inside.
_REWRITTEN: Final = replace(
    _ANTHROPIC,
    rule="anthropic-with-total",
    keys=any_of(
        "input_tokens total_tokens cache_read_input_tokens",
        "input_tokens total_tokens cache_creation_input_tokens",
    ),
    without=frozenset({"input_tokens_details"}),
    dialects=("openai", "bedrock", "anthropic"),
    doubt=AMBIGUOUS,
    total=at("total_tokens"),
)

RESPONSES: Final = (_OPENROUTER, _XAI, _RESPONSES, _REALTIME, _ANTHROPIC, _REWRITTEN)
