"""Usage as Gemini, Bedrock and other APIs of their own make state it."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from tallybook.dialects.shape import ASSUMED, Shape, any_of, at, media_at

_GEMINI: Final = Shape(
    rule="gemini",
    keys=any_of("promptTokenCount", "candidatesTokenCount", "totalTokenCount"),
    # Some gateways have the thoughts inside the candidates, which the total shows.
    dialects=("gemini", "openai"),
    input=at("promptTokenCount"),
    added_input=at("toolUsePromptTokenCount"),
    cached=at("cachedContentTokenCount"),
    output=at("candidatesTokenCount", "responseTokenCount"),
    reasoning=at("thoughtsTokenCount"),
    total=at("totalTokenCount"),
    total_tells_output=True,
    media=media_at(
        at("promptTokensDetails"),
        at("cacheTokensDetails"),
        at("candidatesTokensDetails", "responseTokensDetails"),
        audio=(("modality", "AUDIO"), "tokenCount"),
        image=(("modality", "IMAGE"), "tokenCount"),
    ),
    service_tier=at("serviceTier", "trafficType"),
)
_GEMINI_SNAKE: Final = replace(
    _GEMINI,
    rule="gemini-snake",
    keys=any_of("prompt_token_count", "candidates_token_count", "total_token_count"),
    input=at("prompt_token_count"),
    added_input=at("tool_use_prompt_token_count"),
    cached=at("cached_content_token_count"),
    output=at("candidates_token_count", "response_token_count"),
    reasoning=at("thoughts_token_count"),
    total=at("total_token_count"),
    media=media_at(
        at("prompt_tokens_details"),
        at("cache_tokens_details"),
        at("candidates_tokens_details", "response_tokens_details"),
        audio=(("modality", "AUDIO"), "token_count"),
        image=(("modality", "IMAGE"), "token_count"),
    ),
    service_tier=at("service_tier", "traffic_type"),
)
_INTERACTIONS: Final = Shape(
    rule="gemini-interactions",
    keys=any_of("total_input_tokens total_output_tokens"),
    dialects=("gemini", "openai"),
    input=at("total_input_tokens"),
    cached=at("total_cached_tokens"),
    output=at("total_output_tokens"),
    reasoning=at("total_thought_tokens"),
    total=at("total_tokens"),
)
_EMBEDDING: Final = Shape(
    rule="gemini-embeddings",
    keys=any_of("promptTokenCount promptTokenDetails"),
    dialects=("cacheless",),
    input=at("promptTokenCount"),
)
_CONVERSE: Final = Shape(
    rule="bedrock-converse",
    keys=any_of(
        "inputTokens cacheReadInputTokens",
        "inputTokens cacheWriteInputTokens",
        "inputTokens cacheReadInputTokenCount",
        "inputTokens cacheDetails",
        "inputTokens serverToolUsage",
    ),
    without=frozenset({"cacheCreationInputTokens"}),
    dialects=("bedrock",),
    input=at("inputTokens"),
    cached=at("cacheReadInputTokens", "cacheReadInputTokenCount"),
    creation=at("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
    creation_5m=(("cacheDetails", ("ttl", "5m"), "inputTokens"),),
    creation_1h=(("cacheDetails", ("ttl", "1h"), "inputTokens"),),
    output=at("outputTokens"),
    total=at("totalTokens"),
)
_INVOCATION: Final = Shape(
    rule="bedrock-invocation",
    keys=any_of("inputTokenCount", "outputTokenCount"),
    # Whether a model of another house leaves the caches out is written nowhere.
    dialects=("bedrock", "openai"),
    doubt=ASSUMED,
    hints={"anthropic": "bedrock"},
    input=at("inputTokenCount"),
    cached=at("cacheReadInputTokenCount"),
    creation=at("cacheWriteInputTokenCount"),
    output=at("outputTokenCount"),
)
_HEADERS: Final = replace(
    _INVOCATION,
    rule="bedrock-headers",
    keys=any_of("x-amzn-bedrock-input-token-count", "x-amzn-bedrock-output-token-count"),
    input=at("x-amzn-bedrock-input-token-count"),
    cached=at("x-amzn-bedrock-cache-read-input-token-count"),
    creation=at("x-amzn-bedrock-cache-write-input-token-count"),
    output=at("x-amzn-bedrock-output-token-count"),
)
# The models there that have a form of their own, and know no cache.
_LLAMA: Final = Shape(
    rule="bedrock-llama",
    keys=any_of("prompt_token_count generation_token_count"),
    dialects=("cacheless",),
    input=at("prompt_token_count"),
    output=at("generation_token_count"),
)
_TITAN: Final = Shape(
    rule="bedrock-titan",
    keys=any_of("inputTextTokenCount"),
    dialects=("cacheless",),
    input=at("inputTextTokenCount"),
    output=at("results/0/tokenCount"),
)
# Cohere bills fewer tokens than it counts, and those without regard to its cache.
_COHERE: Final = Shape(
    rule="cohere-billed",
    keys=any_of("billed_units"),
    within=at("billed_units/input_tokens", "billed_units/output_tokens"),
    dialects=("cacheless",),
    input=at("billed_units/input_tokens"),
    output=at("billed_units/output_tokens"),
)
_COHERE_TOKENS: Final = Shape(
    rule="cohere-tokens",
    keys=any_of("tokens"),
    within=at("tokens/input_tokens", "tokens/output_tokens"),
    dialects=("openai",),
    input=at("tokens/input_tokens"),
    cached=at("cached_tokens"),
    output=at("tokens/output_tokens"),
)
_OLLAMA: Final = Shape(
    rule="ollama",
    keys=any_of("prompt_eval_count", "eval_count"),
    dialects=("openai",),
    input=at("prompt_eval_count"),
    output=at("eval_count"),
)
_LLAMA_CPP: Final = Shape(
    rule="llama-cpp",
    keys=any_of("tokens_evaluated tokens_predicted"),
    dialects=("openai",),
    input=at("tokens_evaluated"),
    cached=at("timings/cache_n"),
    output=at("tokens_predicted"),
)
# Counts of the tokenizer of the model that served, not of the one that the gateway shows.
_GENERATION: Final = Shape(
    rule="openrouter-generation",
    keys=any_of("native_tokens_prompt", "native_tokens_completion"),
    dialects=("openai",),
    input=at("native_tokens_prompt"),
    cached=at("native_tokens_cached"),
    output=at("native_tokens_completion"),
    reasoning=at("native_tokens_reasoning"),
    cost=at("total_cost"),
)

CLOUDS: Final = (
    _LLAMA, _TITAN, _EMBEDDING, _GEMINI, _GEMINI_SNAKE, _INTERACTIONS,
    _CONVERSE, _INVOCATION, _HEADERS, _COHERE, _COHERE_TOKENS,
    _OLLAMA, _LLAMA_CPP, _GENERATION,
)  # fmt: skip
