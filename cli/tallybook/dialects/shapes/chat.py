"""Usage as OpenAI's chat completions state it, and what others add to that."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from tallybook.dialects.shape import AMBIGUOUS, ASSUMED, FIRM, GOOGLE, Shape, any_of, at, media_at

_CHAT: Final = Shape(
    rule="openai-chat",
    keys=any_of("prompt_tokens", "completion_tokens"),
    # A total that is no sum of the two tells of reasoning or caches outside, or of hidden thoughts.
    # Gateways to Claude leave its caches out of the prompt, and of the total too.
    dialects=("openai", "xai", "bedrock", "disjoint", "gemini-openai", "anthropic"),
    hints=dict.fromkeys(GOOGLE, "gemini-openai"),
    input=at("prompt_tokens"),
    cached=at("prompt_tokens_details/cached_tokens"),
    creation=at(
        "prompt_tokens_details/cache_write_tokens",
        "prompt_tokens_details/cache_creation_tokens",
        "prompt_tokens_details/cache_creation_input_tokens",  # Qwen
        "prompt_tokens_details/created_cache_tokens",  # vLLM
        "prompt_tokens_details/cached_creation_tokens",  # New API
    ),
    creation_5m=at(
        "prompt_tokens_details/cache_creation/ephemeral_5m_input_tokens",
        "claude_cache_creation_5_m_tokens",  # New API
    ),
    creation_1h=at(
        "prompt_tokens_details/cache_creation/ephemeral_1h_input_tokens",
        "claude_cache_creation_1_h_tokens",
    ),
    output=at("completion_tokens"),
    reasoning=at("completion_tokens_details/reasoning_tokens", "reasoning_tokens"),
    total=at("total_tokens"),
    media=media_at(
        at("prompt_tokens_details"),
        at("prompt_tokens_details/cached_tokens_details"),
        at("completion_tokens_details"),
    ),
    service_tier=at("service_tier"),
    cost=at("cost/total_cost", "cost"),
)
_PERPLEXITY: Final = replace(
    _CHAT,
    rule="perplexity-chat",
    keys=any_of(
        "prompt_tokens search_context_size",
        "prompt_tokens num_search_queries",
        "prompt_tokens citation_tokens",
    ),
    # Deep research reasons outside of both output and total; of the other models nobody says so.
    dialects=("openai", "perplexity", "xai"),
    tools="perplexity",
    doubt=ASSUMED,
    hints={},
)
_OPENROUTER: Final = replace(
    _CHAT,
    rule="openrouter-chat",
    keys=any_of("prompt_tokens cost_details", "prompt_tokens is_byok"),
    hints={},
    web_searches=at("server_tool_use/web_search_requests"),
    own_key=at("is_byok"),
    own_key_cost=at("cost_details/upstream_inference_cost"),
)
_XAI: Final = replace(
    _CHAT,
    rule="xai-chat",
    keys=any_of(
        "prompt_tokens cost_in_usd_ticks",
        "prompt_tokens num_sources_used",
        "prompt_tokens cached_prompt_text_tokens",
        "prompt_tokens prompt_text_tokens",
        "prompt_tokens server_side_tool_usage_details",
    ),
    # A resold answer may have its reasoning inside. Now and then more is cached than the prompt is
    # said to be, and then it lies outside.
    dialects=("xai", "openai", "disjoint", "bedrock", "anthropic"),
    hints={},
    cached=at("prompt_tokens_details/cached_tokens", "cached_prompt_text_tokens"),
    web_searches=at("server_side_tool_usage_details/web_search_calls"),
    tools="xai",
    cost=at("cost_in_usd_ticks"),
    cost_unit=Decimal("1e-10"),
)
_DEEPSEEK: Final = replace(
    _CHAT,
    rule="deepseek-chat",
    keys=any_of("prompt_tokens prompt_cache_hit_tokens"),
    dialects=("openai", "bedrock", "anthropic"),
    hints={},
    cached=at("prompt_cache_hit_tokens"),
)
_FLAT_CACHE: Final = replace(
    _CHAT,
    rule="flat-cache-reads",
    keys=any_of(
        "prompt_tokens cache_read_input_tokens", "prompt_tokens cache_creation_input_tokens"
    ),
    without=frozenset({"cached_tokens"}),
    # LiteLLM and Databricks count them inside; the log of 9router, and LiteLLM before autumn 2024,
    # outside.
    dialects=("openai", "bedrock", "anthropic"),
    doubt=AMBIGUOUS,
    hints={"litellm": "openai", "databricks": "openai", "9router": "anthropic"},
    cached=at("cache_read_input_tokens", "prompt_tokens_details/cached_tokens"),
    creation=at(
        "cache_creation_input_tokens",
        "prompt_tokens_details/cache_creation_tokens",
        "prompt_tokens_details/cache_write_tokens",
    ),
    creation_5m=at(
        "prompt_tokens_details/cache_creation_token_details/ephemeral_5m_input_tokens",
        "cache_creation/ephemeral_5m_input_tokens",
    ),
    creation_1h=at(
        "prompt_tokens_details/cache_creation_token_details/ephemeral_1h_input_tokens",
        "cache_creation/ephemeral_1h_input_tokens",
    ),
)
# The same, where the details say again what lies inside of the prompt: LiteLLM since late 2024.
_LITELLM: Final = replace(
    _FLAT_CACHE,
    rule="litellm",
    agree=at("cache_read_input_tokens", "prompt_tokens_details/cached_tokens"),
    doubt=FIRM,
    folds_writes=True,
)
_FLAT_CACHED: Final = replace(
    _CHAT,
    rule="flat-cached-tokens",  # Moonshot, Together
    keys=any_of("prompt_tokens cached_tokens"),
    cached=at("cached_tokens", "prompt_tokens_details/cached_tokens"),
    creation=at("prompt_tokens_details/cache_write_tokens", "cache_creation_input_tokens"),
)
_MISTRAL: Final = replace(
    _CHAT,
    rule="mistral-chat",
    keys=any_of(
        "prompt_tokens num_cached_tokens",
        "prompt_tokens prompt_token_details",
        "prompt_tokens prompt_audio_seconds",
        "prompt_tokens connectors",
    ),
    tools="mistral",
    cached=at(
        "num_cached_tokens",
        "prompt_tokens_details/cached_tokens",
        "prompt_token_details/cached_tokens",
    ),
)
_LLAMA_CPP: Final = replace(
    _CHAT,
    rule="llama-cpp-chat",
    keys=any_of("prompt_tokens timings"),
    dialects=("openai",),
    cached=at("prompt_tokens_details/cached_tokens", "timings/cache_n"),
    uncached=at("timings/prompt_n"),
)
_EMBEDDINGS: Final = replace(
    _CHAT,
    rule="openai-embeddings",
    keys=any_of("prompt_tokens total_tokens"),
    without=frozenset({"completion_tokens", "prompt_tokens_details"}),
    dialects=("cacheless",),
    total_tells_output=True,
)

CHATS: Final = (
    _PERPLEXITY, _OPENROUTER, _XAI, _DEEPSEEK, _LITELLM, _FLAT_CACHE, _FLAT_CACHED,
    _MISTRAL, _LLAMA_CPP, _EMBEDDINGS, _CHAT,
)  # fmt: skip
