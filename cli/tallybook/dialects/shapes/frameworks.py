"""Usage as frameworks, agents and telemetry restate it, in one form for many providers."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from tallybook.dialects.shape import (
    AMBIGUOUS,
    ASSUMED,
    CLAUDE,
    GOOGLE,
    OPENAI,
    XAI,
    Shape,
    any_of,
    at,
    media_at,
)

# Frameworks that pass the provider's own way of counting on.
_PASSED_ON: Final = {
    **dict.fromkeys(CLAUDE, "anthropic"),
    **dict.fromkeys(GOOGLE, "gemini"),
    **dict.fromkeys(XAI, "xai"),
    **dict.fromkeys(OPENAI, "openai"),
}
_CACHE_INSIDE: Final = dict.fromkeys((*OPENAI, *GOOGLE, *XAI), "openai")

_LANGCHAIN: Final = Shape(
    rule="langchain",
    keys=any_of("input_tokens input_token_details", "input_tokens output_token_details"),
    # LangChain for JavaScript left Anthropic's caches outside until the end of 2025.
    dialects=("openai", "bedrock", "anthropic", "xai"),
    doubt=ASSUMED,
    hints={"langchain": "openai", **_CACHE_INSIDE},
    input=at("input_tokens"),
    cached=at("input_token_details/cache_read"),
    creation=at("input_token_details/cache_creation"),
    creation_5m=at("input_token_details/ephemeral_5m_input_tokens"),
    creation_1h=at("input_token_details/ephemeral_1h_input_tokens"),
    output=at("output_tokens"),
    reasoning=at("output_token_details/reasoning"),
    total=at("total_tokens"),
    media=media_at(
        at("input_token_details"), (), at("output_token_details"), ("audio",), ("image",)
    ),
    folds_writes=True,
)
_PYDANTIC: Final = Shape(
    rule="pydantic-ai",
    keys=any_of("request_tokens response_tokens"),
    dialects=("openai",),
    input=at("request_tokens"),
    cached=at("details/cached_tokens", "details/cache_read_tokens"),
    creation=at("details/cache_write_tokens"),
    output=at("response_tokens"),
    reasoning=at("details/reasoning_tokens"),
    total=at("total_tokens"),
)
_AI_SDK_6: Final = Shape(
    rule="ai-sdk-6",
    keys=any_of("inputTokenDetails", "outputTokenDetails"),
    within=at("inputTokenDetails/noCacheTokens"),
    dialects=("openai",),
    input=at("inputTokens"),
    uncached=at("inputTokenDetails/noCacheTokens"),
    cached=at("inputTokenDetails/cacheReadTokens", "cachedInputTokens"),
    creation=at("inputTokenDetails/cacheWriteTokens"),
    output=at("outputTokens"),
    reasoning=at("outputTokenDetails/reasoningTokens", "reasoningTokens"),
    total=at("totalTokens"),
)
_AI_SDK_MODEL: Final = Shape(
    rule="ai-sdk-model",
    keys=any_of("inputTokens outputTokens"),
    within=at("inputTokens/total", "outputTokens/total"),
    dialects=("openai",),
    input=at("inputTokens/total"),
    uncached=at("inputTokens/noCache"),
    cached=at("inputTokens/cacheRead"),
    creation=at("inputTokens/cacheWrite"),
    output=at("outputTokens/total"),
    reasoning=at("outputTokens/reasoning"),
)
# Counts as the model's provider states them; also version 6 with a model made for version 5.
_AI_SDK_5: Final = Shape(
    rule="ai-sdk-5",
    keys=any_of(
        "inputTokens cachedInputTokens",
        "inputTokens reasoningTokens",
        "inputTokens inputTokenDetails",
    ),
    without=frozenset({"cacheReadTokens", "cacheWriteTokens"}),
    dialects=("openai", "gemini", "bedrock", "disjoint", "anthropic"),
    doubt=AMBIGUOUS,
    hints=_PASSED_ON,
    input=at("inputTokens"),
    cached=at("cachedInputTokens", "inputTokenDetails/cacheReadTokens"),
    creation=at("inputTokenDetails/cacheWriteTokens"),
    output=at("outputTokens"),
    reasoning=at("reasoningTokens", "outputTokenDetails/reasoningTokens"),
    total=at("totalTokens"),
)
_AI_SDK_4: Final = Shape(
    rule="ai-sdk-4",
    keys=any_of("promptTokens", "completionTokens"),
    dialects=("openai", "gemini-openai", "anthropic"),
    doubt=AMBIGUOUS,
    hints={**_PASSED_ON, **dict.fromkeys(GOOGLE, "gemini-openai")},
    input=at("promptTokens"),
    cached=at("cachedPromptTokens", "cacheReadInputTokens"),
    creation=at("cacheCreationInputTokens"),
    output=at("completionTokens"),
    reasoning=at("reasoningTokens"),
    total=at("totalTokens"),
)
_LANGFUSE: Final = Shape(
    rule="langfuse",
    keys=any_of(
        "input output input_cached_tokens",
        "input output input_cache_read",
        "input output cache_read_input_tokens",
        "input output input_cache_creation",
        "input output output_reasoning_tokens",
    ),
    dialects=("disjoint",),
    input=at("input"),
    cached=at("input_cached_tokens", "input_cache_read", "cache_read_input_tokens"),
    creation=at("input_cache_creation", "cache_creation_input_tokens"),
    creation_5m=at("input_cache_creation_5m"),
    creation_1h=at("input_cache_creation_1h"),
    output=at("output"),
    reasoning=at("output_reasoning_tokens"),
    total=at("total"),
)

# What a client sums up of Anthropic's counts.
_CLIENT: Final = Shape(
    rule="anthropic-camel",
    keys=any_of("inputTokens cacheCreationInputTokens", "inputTokens cacheCreationTokens"),
    dialects=("anthropic",),
    input=at("inputTokens"),
    cached=at("cacheReadInputTokens", "cacheReadTokens", "cachedInputTokens"),
    creation=at("cacheCreationInputTokens", "cacheCreationTokens"),
    output=at("outputTokens"),
    reasoning=at("thinkingTokens"),
    web_searches=at("webSearchRequests"),
    cost=at("costUSD"),
)
# Cursor and Cline count them outside, Copilot inside.
_CAMEL: Final = Shape(
    rule="cache-tokens-beside-camel",
    keys=any_of("inputTokens cacheReadTokens", "inputTokens cacheWriteTokens"),
    dialects=("openai", "bedrock", "anthropic"),
    doubt=AMBIGUOUS,
    hints={"cursor": "anthropic", "cline": "anthropic", "copilot": "openai"},
    input=at("inputTokens"),
    cached=at("cacheReadTokens"),
    creation=at("cacheWriteTokens"),
    output=at("outputTokens"),
    reasoning=at("reasoningTokens"),
    total=at("totalTokens"),
    cost=at("cost"),
)
# Pydantic AI, Copilot and Goose count them inside.
_SNAKE: Final = Shape(
    rule="cache-tokens-beside",
    keys=any_of("input_tokens cache_read_tokens", "input_tokens cache_write_tokens"),
    dialects=("openai", "bedrock", "anthropic"),
    doubt=ASSUMED,
    hints={"pydantic-ai": "openai", "copilot": "openai", "goose": "openai"},
    input=at("input_tokens"),
    cached=at("cache_read_tokens"),
    creation=at("cache_write_tokens"),
    output=at("output_tokens"),
    reasoning=at("reasoning_tokens", "details/reasoning_tokens"),
    total=at("total_tokens"),
    cost=at("cost"),
)
_OPENCODE: Final = Shape(
    rule="opencode",
    keys=any_of("input output cache"),
    # Reasoning was inside of the output before the sixth AI SDK; the total tells.
    dialects=("disjoint", "bedrock"),
    doubt=ASSUMED,
    input=at("input"),
    cached=at("cache/read"),
    creation=at("cache/write"),
    output=at("output"),
    reasoning=at("reasoning"),
    total=at("total"),
)
_OTEL: Final = Shape(
    rule="opentelemetry",
    keys=any_of("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
    # The convention has caches inside; Anthropic's instrumentations before it had them outside.
    dialects=("openai", "anthropic"),
    doubt=ASSUMED,
    hints=_CACHE_INSIDE,
    input=at("gen_ai.usage.input_tokens"),
    cached=at("gen_ai.usage.cache_read.input_tokens"),
    creation=at("gen_ai.usage.cache_creation.input_tokens"),
    output=at("gen_ai.usage.output_tokens"),
    reasoning=at("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
    total=at("gen_ai.usage.total_tokens"),
    cost=at("gen_ai.usage.cost"),
    folds_writes=True,
)
# Names from before the convention had any for caches.
_UNDERSCORED: Final = replace(
    _OTEL,
    rule="opentelemetry-underscored",
    keys=any_of(
        "gen_ai.usage.input_tokens gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.input_tokens gen_ai.usage.cache_creation_input_tokens",
    ),
    doubt=AMBIGUOUS,
    cached=at("gen_ai.usage.cache_read_input_tokens"),
    creation=at("gen_ai.usage.cache_creation_input_tokens"),
)
_OLD: Final = replace(
    _OTEL,
    rule="opentelemetry-old",
    keys=any_of("gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"),
    input=at("gen_ai.usage.prompt_tokens"),
    output=at("gen_ai.usage.completion_tokens"),
)
# Anthropic's caches lay outside until November 2025.
_OPENINFERENCE: Final = Shape(
    rule="openinference",
    keys=any_of("llm.token_count.prompt", "llm.token_count.completion"),
    dialects=("openai", "anthropic"),
    doubt=AMBIGUOUS,
    hints=_CACHE_INSIDE,
    input=at("llm.token_count.prompt"),
    cached=at("llm.token_count.prompt_details.cache_read"),
    creation=at("llm.token_count.prompt_details.cache_write"),
    output=at("llm.token_count.completion"),
    reasoning=at("llm.token_count.completion_details.reasoning"),
    total=at("llm.token_count.total"),
    folds_writes=True,
)

FRAMEWORKS: Final = (
    _LANGCHAIN, _PYDANTIC, _AI_SDK_6, _AI_SDK_MODEL, _AI_SDK_5, _AI_SDK_4, _LANGFUSE,
    _CLIENT, _CAMEL, _SNAKE, _OPENCODE,
    _UNDERSCORED, _OTEL, _OLD, _OPENINFERENCE,
)  # fmt: skip

# Two counts and perhaps a total: nothing tells whether the input holds a cache.
_PLAIN: Final = Shape(
    rule="input-and-output",
    keys=any_of("input_tokens", "output_tokens"),
    dialects=("openai", "xai", "gemini-openai"),
    hints={"anthropic": "anthropic"},
    input=at("input_tokens"),
    output=at("output_tokens"),
    reasoning=at("output_tokens_details/thinking_tokens", "reasoning_tokens"),
    total=at("total_tokens"),
    service_tier=at("service_tier"),
    cost=at("cost"),
)

PLAIN: Final = (
    _PLAIN,
    replace(
        _PLAIN,
        rule="input-and-output-camel",
        keys=any_of("inputTokens", "outputTokens"),
        hints={**dict.fromkeys(CLAUDE, "anthropic"), **dict.fromkeys(GOOGLE, "gemini-openai")},
        input=at("inputTokens"),
        output=at("outputTokens"),
        reasoning=at("reasoningTokens"),
        total=at("totalTokens"),
    ),
)
