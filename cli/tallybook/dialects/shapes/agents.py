"""Usage as agents restate it in logs of their own, where one form serves several of them."""

from __future__ import annotations

from typing import Final

from tallybook.dialects.shape import AMBIGUOUS, ASSUMED, Shape, any_of, at

# What a client sums up of Anthropic's counts.
_CAMEL_ANTHROPIC: Final = Shape(
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

AGENTS: Final = (_CAMEL_ANTHROPIC, _CAMEL, _SNAKE, _OPENCODE)
