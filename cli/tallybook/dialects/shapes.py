"""Every usage shape that is known, the more particular ones first."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Final

from tallybook.dialects.shape import AMBIGUOUS, ASSUMED, Path, Shape


def _any(*alternatives: str) -> tuple[frozenset[str], ...]:
    """Each alternative is the keys that must be there together, with spaces between them."""
    return tuple(frozenset(keys.split()) for keys in alternatives)


def _at(*paths: str) -> tuple[Path, ...]:
    """Paths with slashes between their steps; a number is an index."""
    return tuple(
        tuple(int(step) if step.isdigit() else step for step in path.split("/")) for path in paths
    )


_CLAUDE_CLOUDS: Final = ("anthropic", "aws", "bedrock", "amazon-bedrock", "vertex-anthropic")
_ONE_INSIDE: Final = ("openai", "google", "gemini", "vertex", "xai", "deepseek", "mistral", "azure")
_BY_PROVIDER: Final = {
    **dict.fromkeys(_CLAUDE_CLOUDS, "anthropic"),
    **dict.fromkeys(_ONE_INSIDE, "openai"),
}

_CHAT: Final = Shape(
    rule="openai-chat",
    keys=_any("prompt_tokens", "completion_tokens"),
    # A total that is no sum of the two tells of reasoning or caches outside, or of hidden thoughts.
    dialects=("openai", "xai", "bedrock", "disjoint", "gemini-openai"),
    hints=dict.fromkeys(("google", "gemini", "vertex"), "gemini-openai"),
    input=_at("prompt_tokens"),
    cached=_at("prompt_tokens_details/cached_tokens"),
    creation=_at(
        "prompt_tokens_details/cache_write_tokens",
        "prompt_tokens_details/cache_creation_tokens",
        "prompt_tokens_details/cache_creation_input_tokens",  # Qwen
        "prompt_tokens_details/created_cache_tokens",  # vLLM
    ),
    creation_5m=_at("prompt_tokens_details/cache_creation/ephemeral_5m_input_tokens"),
    creation_1h=_at("prompt_tokens_details/cache_creation/ephemeral_1h_input_tokens"),
    output=_at("completion_tokens"),
    reasoning=_at("completion_tokens_details/reasoning_tokens", "reasoning_tokens"),
    total=_at("total_tokens"),
    service_tier=_at("service_tier"),
    cost=_at("cost/total_cost", "cost"),
)

_CHATS: Final = (
    replace(
        _CHAT,
        rule="perplexity-chat",
        keys=_any(
            "prompt_tokens search_context_size",
            "prompt_tokens num_search_queries",
            "prompt_tokens citation_tokens",
        ),
        dialects=("openai", "perplexity", "xai"),
        doubt=ASSUMED,
        hints={},
        cost=_at("cost/total_cost"),
    ),
    replace(
        _CHAT,
        rule="openrouter-chat",
        keys=_any("prompt_tokens cost_details", "prompt_tokens is_byok"),
        hints={},
        web_searches=_at("server_tool_use/web_search_requests"),
        own_key=_at("is_byok"),
        own_key_cost=_at("cost_details/upstream_inference_cost"),
    ),
    replace(
        _CHAT,
        rule="xai-chat",
        keys=_any(
            "prompt_tokens cost_in_usd_ticks",
            "prompt_tokens num_sources_used",
            "prompt_tokens cached_prompt_text_tokens",
            "prompt_tokens prompt_text_tokens",
        ),
        # A resold answer may have its reasoning inside; now and then more is cached than is stated
        # as the prompt, which then lies outside.
        dialects=("xai", "openai", "disjoint", "bedrock", "anthropic"),
        hints={},
        cached=_at("prompt_tokens_details/cached_tokens", "cached_prompt_text_tokens"),
        cost=_at("cost_in_usd_ticks"),
        cost_unit=Decimal("1e-10"),
    ),
    replace(
        _CHAT,
        rule="deepseek-chat",
        keys=_any("prompt_tokens prompt_cache_hit_tokens"),
        dialects=("openai",),
        hints={},
        cached=_at("prompt_cache_hit_tokens"),
    ),
    replace(
        _CHAT,
        rule="flat-cache-reads",
        keys=_any(
            "prompt_tokens cache_read_input_tokens", "prompt_tokens cache_creation_input_tokens"
        ),
        # LiteLLM and Databricks count them inside, the log of 9router and LiteLLM before autumn
        # 2024 outside.
        dialects=("openai", "bedrock", "anthropic"),
        doubt=AMBIGUOUS,
        hints={"litellm": "openai", "databricks": "openai", "9router": "anthropic"},
        cached=_at("cache_read_input_tokens", "prompt_tokens_details/cached_tokens"),
        creation=_at(
            "cache_creation_input_tokens",
            "prompt_tokens_details/cache_creation_tokens",
            "prompt_tokens_details/cache_write_tokens",
        ),
        creation_5m=_at(
            "prompt_tokens_details/cache_creation_token_details/ephemeral_5m_input_tokens",
            "cache_creation/ephemeral_5m_input_tokens",
        ),
        creation_1h=_at(
            "prompt_tokens_details/cache_creation_token_details/ephemeral_1h_input_tokens",
            "cache_creation/ephemeral_1h_input_tokens",
        ),
    ),
    replace(
        _CHAT,
        rule="flat-cached-tokens",  # Moonshot, Together
        keys=_any("prompt_tokens cached_tokens"),
        cached=_at("cached_tokens", "prompt_tokens_details/cached_tokens"),
        creation=_at("prompt_tokens_details/cache_write_tokens", "cache_creation_input_tokens"),
    ),
    replace(
        _CHAT,
        rule="mistral-chat",
        keys=_any(
            "prompt_tokens num_cached_tokens",
            "prompt_tokens prompt_token_details",
            "prompt_tokens prompt_audio_seconds",
        ),
        cached=_at(
            "num_cached_tokens",
            "prompt_tokens_details/cached_tokens",
            "prompt_token_details/cached_tokens",
        ),
    ),
    replace(
        _CHAT,
        rule="llama-cpp-chat",
        keys=_any("prompt_tokens timings"),
        dialects=("openai",),
        cached=_at("prompt_tokens_details/cached_tokens", "timings/cache_n"),
        uncached=_at("timings/prompt_n"),
    ),
    replace(
        _CHAT,
        rule="openai-embeddings",
        keys=_any("prompt_tokens total_tokens"),
        without=frozenset({"completion_tokens"}),
        dialects=("cacheless",),
        total_tells_output=True,
    ),
    _CHAT,
)

_RESPONSES: Final = Shape(
    rule="openai-responses",
    keys=_any(
        "input_tokens input_tokens_details",
        "input_tokens output_tokens_details total_tokens",
        "input_tokens prompt_tokens_details",  # DashScope
        "input_tokens x_details",  # Qwen
    ),
    dialects=("openai", "xai", "bedrock", "disjoint"),
    input=_at("input_tokens"),
    cached=_at(
        "input_tokens_details/cached_tokens",
        "input_tokens_details/cache_read_input_tokens",  # Perplexity
        "prompt_tokens_details/cached_tokens",
        "x_details/0/prompt_tokens_details/cached_tokens",
    ),
    creation=_at(
        "input_tokens_details/cache_write_tokens",
        "input_tokens_details/cache_creation_tokens",
        "input_tokens_details/cache_creation_input_tokens",
        "prompt_tokens_details/cache_creation_input_tokens",
        "x_details/0/prompt_tokens_details/cache_creation_input_tokens",
    ),
    creation_5m=_at(
        "prompt_tokens_details/cache_creation/ephemeral_5m_input_tokens",
        "x_details/0/prompt_tokens_details/cache_creation/ephemeral_5m_input_tokens",
    ),
    output=_at("output_tokens"),
    reasoning=_at("output_tokens_details/reasoning_tokens"),
    total=_at("total_tokens"),
    service_tier=_at("service_tier"),
    cost=_at("cost"),
)

_RESPONSE_LIKE: Final = (
    replace(
        _RESPONSES,
        rule="xai-responses",
        keys=_any("input_tokens cost_in_usd_ticks", "input_tokens num_sources_used"),
        dialects=("openai", "xai", "bedrock", "disjoint", "anthropic"),
        cost=_at("cost_in_usd_ticks"),
        cost_unit=Decimal("1e-10"),
    ),
    replace(
        _RESPONSES,
        rule="perplexity-agent",
        keys=_any("input_tokens tool_calls_details"),
        cost=_at("cost/total_cost"),
    ),
    _RESPONSES,
)

_LANGCHAIN: Final = Shape(
    rule="langchain",
    keys=_any("input_tokens input_token_details", "input_tokens output_token_details"),
    dialects=("openai", "bedrock", "anthropic", "xai"),
    # LangChain for JavaScript left Anthropic's caches outside until the end of 2025.
    doubt=ASSUMED,
    hints={"langchain": "openai", **dict.fromkeys(_ONE_INSIDE, "openai")},
    input=_at("input_tokens"),
    cached=_at("input_token_details/cache_read"),
    creation=_at("input_token_details/cache_creation"),
    creation_5m=_at("input_token_details/ephemeral_5m_input_tokens"),
    creation_1h=_at("input_token_details/ephemeral_1h_input_tokens"),
    output=_at("output_tokens"),
    reasoning=_at("output_token_details/reasoning"),
    total=_at("total_tokens"),
)

_REALTIME: Final = Shape(
    rule="openai-realtime",
    keys=_any("input_tokens input_token_details"),
    within=_at(
        "input_token_details/cached_tokens",
        "input_token_details/text_tokens",
        "input_token_details/audio_tokens",
    ),
    dialects=("openai",),
    input=_at("input_tokens"),
    cached=_at("input_token_details/cached_tokens"),
    output=_at("output_tokens"),
    reasoning=_at("output_token_details/reasoning_tokens"),
    total=_at("total_tokens"),
)

_ANTHROPIC: Final = Shape(
    rule="anthropic",
    keys=_any(
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
    input=_at("input_tokens"),
    cached=_at("cache_read_input_tokens"),
    creation=_at("cache_creation_input_tokens"),
    creation_5m=_at("cache_creation/ephemeral_5m_input_tokens"),
    creation_1h=_at("cache_creation/ephemeral_1h_input_tokens"),
    output=_at("output_tokens"),
    reasoning=_at("output_tokens_details/thinking_tokens"),
    total=_at("total_tokens"),
    service_tier=_at("service_tier"),
    speed=_at("speed"),
    inference_geo=_at("inference_geo"),
    web_searches=_at("server_tool_use/web_search_requests"),
)

_SNAKE_INPUTS: Final = (
    _ANTHROPIC,
    # A wrapper rewrote it, and may have put the caches inside.
    replace(
        _ANTHROPIC,
        rule="anthropic-with-total",
        keys=_any(
            "input_tokens cache_read_input_tokens", "input_tokens cache_creation_input_tokens"
        ),
        without=frozenset({"input_tokens_details"}),
        dialects=("openai", "bedrock", "anthropic"),
        doubt=AMBIGUOUS,
    ),
    _REALTIME,
    _LANGCHAIN,
    # Pydantic AI, Copilot and Goose count them inside.
    replace(
        _LANGCHAIN,
        rule="cache-tokens-beside",
        keys=_any("input_tokens cache_read_tokens", "input_tokens cache_write_tokens"),
        hints={"pydantic-ai": "openai"},
        cached=_at("cache_read_tokens"),
        creation=_at("cache_write_tokens"),
        creation_5m=(),
        creation_1h=(),
        reasoning=_at("details/reasoning_tokens", "reasoning_tokens"),
        cost=_at("cost"),
    ),
    replace(
        _LANGCHAIN,
        rule="pydantic-ai-requests",
        keys=_any("request_tokens response_tokens"),
        dialects=("openai",),
        input=_at("request_tokens"),
        cached=_at("details/cached_tokens", "details/cache_read_tokens"),
        creation=_at("details/cache_write_tokens"),
        output=_at("response_tokens"),
        reasoning=_at("details/reasoning_tokens"),
    ),
)

_PLAIN: Final = (
    # A total says no more than the two; nothing tells whether the input holds a cache.
    Shape(
        rule="input-and-output",
        keys=_any("input_tokens", "output_tokens"),
        dialects=("openai", "gemini-openai"),
        hints=dict.fromkeys(("anthropic",), "anthropic"),
        input=_at("input_tokens"),
        output=_at("output_tokens"),
        reasoning=_at("output_tokens_details/thinking_tokens", "reasoning_tokens"),
        total=_at("total_tokens"),
        service_tier=_at("service_tier"),
        cost=_at("cost"),
    ),
)

_CONVERSE: Final = Shape(
    rule="bedrock-converse",
    keys=_any(
        "inputTokens cacheReadInputTokens",
        "inputTokens cacheWriteInputTokens",
        "inputTokens cacheReadInputTokenCount",
        "inputTokens cacheDetails",
        "inputTokens serverToolUsage",
    ),
    dialects=("bedrock",),
    input=_at("inputTokens"),
    cached=_at("cacheReadInputTokens", "cacheReadInputTokenCount"),
    creation=_at("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
    creation_5m=(("cacheDetails", ("ttl", "5m"), "inputTokens"),),
    creation_1h=(("cacheDetails", ("ttl", "1h"), "inputTokens"),),
    output=_at("outputTokens"),
    total=_at("totalTokens"),
)

_CAMEL: Final = (
    # What a client sums up of Anthropic's counts.
    replace(
        _CONVERSE,
        rule="anthropic-camel",
        keys=_any("inputTokens cacheCreationInputTokens", "inputTokens cacheCreationTokens"),
        dialects=("anthropic",),
        cached=_at("cacheReadInputTokens", "cacheReadTokens"),
        creation=_at("cacheCreationInputTokens", "cacheCreationTokens"),
        creation_5m=(),
        creation_1h=(),
        reasoning=_at("thinkingTokens"),
        total=(),
        web_searches=_at("webSearchRequests"),
        cost=_at("costUSD"),
    ),
    _CONVERSE,
    Shape(
        rule="ai-sdk-6",
        keys=_any("inputTokenDetails", "outputTokenDetails"),
        within=_at("inputTokenDetails/noCacheTokens"),
        dialects=("openai",),
        input=_at("inputTokens"),
        uncached=_at("inputTokenDetails/noCacheTokens"),
        cached=_at("inputTokenDetails/cacheReadTokens", "cachedInputTokens"),
        creation=_at("inputTokenDetails/cacheWriteTokens"),
        output=_at("outputTokens"),
        reasoning=_at("outputTokenDetails/reasoningTokens", "reasoningTokens"),
        total=_at("totalTokens"),
    ),
    Shape(
        rule="ai-sdk-model",
        keys=_any("inputTokens outputTokens"),
        within=_at("inputTokens/total", "outputTokens/total"),
        dialects=("openai",),
        input=_at("inputTokens/total"),
        uncached=_at("inputTokens/noCache"),
        cached=_at("inputTokens/cacheRead"),
        creation=_at("inputTokens/cacheWrite"),
        output=_at("outputTokens/total"),
        reasoning=_at("outputTokens/reasoning"),
    ),
    # Counts as the provider of the model states them; also version 6 with a model made for 5.
    Shape(
        rule="ai-sdk-5",
        keys=_any(
            "inputTokens cachedInputTokens",
            "inputTokens reasoningTokens",
            "inputTokens inputTokenDetails",
        ),
        without=frozenset({"cacheReadTokens", "cacheWriteTokens"}),
        dialects=("openai", "gemini", "bedrock", "disjoint", "anthropic"),
        doubt=AMBIGUOUS,
        hints={**_BY_PROVIDER, "google": "gemini", "gemini": "gemini", "vertex": "gemini"},
        input=_at("inputTokens"),
        cached=_at("cachedInputTokens", "inputTokenDetails/cacheReadTokens"),
        creation=_at("inputTokenDetails/cacheWriteTokens"),
        output=_at("outputTokens"),
        reasoning=_at("reasoningTokens", "outputTokenDetails/reasoningTokens"),
        total=_at("totalTokens"),
    ),
    # Cursor and Cline count them outside, Copilot inside.
    Shape(
        rule="cache-tokens-beside-camel",
        keys=_any("inputTokens cacheReadTokens", "inputTokens cacheWriteTokens"),
        dialects=("openai", "bedrock", "anthropic"),
        doubt=AMBIGUOUS,
        hints={"cursor": "anthropic", "cline": "anthropic", "copilot": "openai"},
        input=_at("inputTokens"),
        cached=_at("cacheReadTokens"),
        creation=_at("cacheWriteTokens"),
        output=_at("outputTokens"),
        reasoning=_at("reasoningTokens"),
        total=_at("totalTokens"),
    ),
    Shape(
        rule="input-and-output-camel",
        keys=_any("inputTokens", "outputTokens"),
        dialects=("openai", "gemini-openai"),
        hints={**dict.fromkeys(_CLAUDE_CLOUDS, "anthropic"), "google": "gemini-openai"},
        input=_at("inputTokens"),
        output=_at("outputTokens"),
        total=_at("totalTokens"),
    ),
    Shape(
        rule="ai-sdk-4",
        keys=_any("promptTokens", "completionTokens"),
        dialects=("openai", "gemini-openai"),
        hints={**dict.fromkeys(_CLAUDE_CLOUDS, "anthropic"), "google": "gemini-openai"},
        input=_at("promptTokens"),
        cached=_at("cachedPromptTokens"),
        output=_at("completionTokens"),
        reasoning=_at("reasoningTokens"),
        total=_at("totalTokens"),
    ),
    Shape(
        rule="bedrock-invocation",
        keys=_any("inputTokenCount", "outputTokenCount"),
        dialects=("bedrock", "openai"),
        # Whether a model of another house leaves the caches out is written nowhere.
        doubt=ASSUMED,
        hints={"anthropic": "bedrock"},
        input=_at("inputTokenCount"),
        cached=_at("cacheReadInputTokenCount"),
        creation=_at("cacheWriteInputTokenCount"),
        output=_at("outputTokenCount"),
    ),
    Shape(
        rule="bedrock-headers",
        keys=_any("x-amzn-bedrock-input-token-count", "x-amzn-bedrock-output-token-count"),
        dialects=("bedrock", "openai"),
        doubt=ASSUMED,
        hints={"anthropic": "bedrock"},
        input=_at("x-amzn-bedrock-input-token-count"),
        cached=_at("x-amzn-bedrock-cache-read-input-token-count"),
        creation=_at("x-amzn-bedrock-cache-write-input-token-count"),
        output=_at("x-amzn-bedrock-output-token-count"),
    ),
)

_GEMINI: Final = Shape(
    rule="gemini",
    keys=_any("promptTokenCount", "candidatesTokenCount", "totalTokenCount"),
    # Some gateways have the thoughts inside the candidates, which the total shows.
    dialects=("gemini", "openai"),
    input=_at("promptTokenCount"),
    added_input=_at("toolUsePromptTokenCount"),
    cached=_at("cachedContentTokenCount"),
    output=_at("candidatesTokenCount", "responseTokenCount"),
    reasoning=_at("thoughtsTokenCount"),
    total=_at("totalTokenCount"),
    service_tier=_at("serviceTier", "trafficType"),
    total_tells_output=True,
)

_GEMINIS: Final = (
    _GEMINI,
    replace(
        _GEMINI,
        rule="gemini-snake",
        keys=_any("prompt_token_count", "candidates_token_count", "total_token_count"),
        input=_at("prompt_token_count"),
        added_input=_at("tool_use_prompt_token_count"),
        cached=_at("cached_content_token_count"),
        output=_at("candidates_token_count", "response_token_count"),
        reasoning=_at("thoughts_token_count"),
        total=_at("total_token_count"),
        service_tier=_at("service_tier", "traffic_type"),
    ),
    Shape(
        rule="gemini-interactions",
        keys=_any("total_input_tokens total_output_tokens"),
        dialects=("gemini", "openai"),
        input=_at("total_input_tokens"),
        added_input=_at("total_tool_use_tokens"),
        cached=_at("total_cached_tokens"),
        output=_at("total_output_tokens"),
        reasoning=_at("total_thought_tokens"),
        total=_at("total_tokens"),
    ),
)

_OTHERS: Final = (
    # Cohere bills fewer tokens than it counts, and those without regard to its cache.
    Shape(
        rule="cohere-billed",
        keys=_any("billed_units"),
        within=_at("billed_units/input_tokens", "billed_units/output_tokens"),
        dialects=("cacheless",),
        input=_at("billed_units/input_tokens"),
        output=_at("billed_units/output_tokens"),
    ),
    Shape(
        rule="cohere-tokens",
        keys=_any("tokens"),
        within=_at("tokens/input_tokens", "tokens/output_tokens"),
        dialects=("openai",),
        input=_at("tokens/input_tokens"),
        cached=_at("cached_tokens"),
        output=_at("tokens/output_tokens"),
    ),
    Shape(
        rule="ollama",
        keys=_any("prompt_eval_count", "eval_count"),
        dialects=("openai",),
        input=_at("prompt_eval_count"),
        output=_at("eval_count"),
    ),
    Shape(
        rule="llama-cpp",
        keys=_any("tokens_evaluated tokens_predicted"),
        dialects=("openai",),
        input=_at("tokens_evaluated"),
        cached=_at("timings/cache_n"),
        output=_at("tokens_predicted"),
    ),
    Shape(
        rule="langfuse",
        keys=_any(
            "input output input_cached_tokens",
            "input output input_cache_read",
            "input output cache_read_input_tokens",
            "input output input_cache_creation",
            "input output output_reasoning_tokens",
        ),
        dialects=("disjoint",),
        input=_at("input"),
        cached=_at("input_cached_tokens", "input_cache_read", "cache_read_input_tokens"),
        creation=_at("input_cache_creation", "cache_creation_input_tokens"),
        creation_5m=_at("input_cache_creation_5m"),
        creation_1h=_at("input_cache_creation_1h"),
        output=_at("output"),
        reasoning=_at("output_reasoning_tokens"),
        total=_at("total"),
    ),
    Shape(
        rule="opencode",
        keys=_any("input output cache"),
        dialects=("disjoint", "bedrock"),
        doubt=ASSUMED,
        input=_at("input"),
        cached=_at("cache/read"),
        creation=_at("cache/write"),
        output=_at("output"),
        reasoning=_at("reasoning"),
        total=_at("total"),
    ),
)

_OTEL: Final = Shape(
    rule="opentelemetry",
    keys=_any("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
    # The convention has caches inside; Anthropic's instrumentations before it had them outside.
    dialects=("openai", "anthropic"),
    doubt=ASSUMED,
    hints=dict.fromkeys(_ONE_INSIDE, "openai"),
    input=_at("gen_ai.usage.input_tokens"),
    cached=_at("gen_ai.usage.cache_read.input_tokens"),
    creation=_at("gen_ai.usage.cache_creation.input_tokens"),
    output=_at("gen_ai.usage.output_tokens"),
    reasoning=_at("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
    total=_at("gen_ai.usage.total_tokens"),
    cost=_at("gen_ai.usage.cost"),
)

_TELEMETRY: Final = (
    replace(
        _OTEL,
        rule="opentelemetry-underscored",
        keys=_any(
            "gen_ai.usage.input_tokens gen_ai.usage.cache_read_input_tokens",
            "gen_ai.usage.input_tokens gen_ai.usage.cache_creation_input_tokens",
        ),
        doubt=AMBIGUOUS,
        cached=_at("gen_ai.usage.cache_read_input_tokens"),
        creation=_at("gen_ai.usage.cache_creation_input_tokens"),
    ),
    _OTEL,
    replace(
        _OTEL,
        rule="opentelemetry-old",
        keys=_any("gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"),
        input=_at("gen_ai.usage.prompt_tokens"),
        output=_at("gen_ai.usage.completion_tokens"),
    ),
    Shape(
        rule="openinference",
        keys=_any("llm.token_count.prompt", "llm.token_count.completion"),
        # Anthropic's caches lay outside until November 2025.
        dialects=("openai", "anthropic"),
        doubt=AMBIGUOUS,
        hints=dict.fromkeys(_ONE_INSIDE, "openai"),
        input=_at("llm.token_count.prompt"),
        cached=_at("llm.token_count.prompt_details.cache_read"),
        creation=_at("llm.token_count.prompt_details.cache_write"),
        output=_at("llm.token_count.completion"),
        reasoning=_at("llm.token_count.completion_details.reasoning"),
        total=_at("llm.token_count.total"),
    ),
)

SHAPES: Final[tuple[Shape, ...]] = (
    *_CHATS,
    *_RESPONSE_LIKE,
    *_SNAKE_INPUTS,
    *_GEMINIS,
    *_PLAIN,
    *_CAMEL,
    *_OTHERS,
    *_TELEMETRY,
)
