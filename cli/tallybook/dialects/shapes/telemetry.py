"""Usage as attributes of telemetry spans state it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tallybook.dialects.shape import AMBIGUOUS, ASSUMED, GOOGLE, OPENAI, XAI, Shape, any_of, at

_CACHE_INSIDE: Final = dict.fromkeys((*OPENAI, *GOOGLE, *XAI), "openai")

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

TELEMETRY: Final = (_UNDERSCORED, _OTEL, _OLD, _OPENINFERENCE)
