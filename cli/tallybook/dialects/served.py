"""Who served a response, where the response itself or the address that it came from tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from tallybook.values import names_in, party

Body = Mapping[str, Any]

METRICS: Final = "amazon-bedrock-invocationMetrics"

# Keys of a body or its usage that one provider alone has.
_TELLTALES: Final = {
    key: provider
    for provider, keys in (
        ("openrouter", "is_byok cost_details native_tokens_prompt"),
        ("xai", "cost_in_usd_ticks num_sources_used cached_prompt_text_tokens"),
        ("groq", "x_groq queue_time"),
        ("perplexity", "search_context_size num_search_queries"),
        ("google", "promptTokenCount candidatesTokenCount modelVersion"),
        ("google", "prompt_token_count candidates_token_count"),
        ("azure", "prompt_filter_results"),
        ("cohere", "billed_units"),
        ("ollama", "prompt_eval_count eval_count load_duration"),
        ("aws", "generation_token_count inputTextTokenCount stopReason cacheWriteInputTokens"),
        ("aws", f"cacheDetails {METRICS}"),
    )
    for key in names_in(keys)
}
_NOTHING: Final[Body] = MappingProxyType({})
_IDS: Final = (("msg_bdrk_", "aws"), ("msg_vrtx_", "google"), ("gen-", "openrouter"))
_AI_SDK: Final = {
    "anthropic": "anthropic",
    "bedrock": "aws",
    "google": "google",
    "vertex": "google",
    "openai": "openai",
    "azure": "azure",
    "xai": "xai",
    "openrouter": "openrouter",
    "deepseek": "deepseek",
}
# Domains of the interfaces of those who sell models.
SELLERS: Final = {
    "openai.com": "openai",
    "azure.com": "azure",
    "anthropic.com": "anthropic",
    "googleapis.com": "google",
    "amazonaws.com": "aws",
    "deepseek.com": "deepseek",
    "moonshot.ai": "moonshotai",
    "moonshot.cn": "moonshotai",
    "x.ai": "xai",
    "mistral.ai": "mistral",
    "cohere.com": "cohere",
    "groq.com": "groq",
    "together.xyz": "together",
    "together.ai": "together",
    "fireworks.ai": "fireworks",
    "openrouter.ai": "openrouter",
    "perplexity.ai": "perplexity",
    "bigmodel.cn": "zhipuai",
    "z.ai": "zai",
    "minimax.io": "minimax",
    "cerebras.ai": "cerebras",
}
_HOST: Final = re.compile(r"https?://(?:[^/@]*@)?([^/:?#]+)")
# Addresses of clouds name the model; Azure's names a deployment, which may be called anything.
_MODEL: Final = re.compile(r"/models?/([^/:?]+(?::\d+)?)[/:](?:converse|invoke|\w*[gG]enerate)")


def told_by_body(body: Body, usage: Body, response_id: str | None, model: str | None) -> str | None:
    """The provider that keys and ids of a response tell; never guessed from the model alone."""
    for place in (usage, body):
        if not _TELLTALES.keys().isdisjoint(place):
            return _TELLTALES[min(_TELLTALES.keys() & place.keys())]
    identity = response_id or ""
    for prefix, name in _IDS:
        if identity.startswith(prefix):
            return name
    named = (_AI_SDK[key] for key in mapping(body.get("providerMetadata")) if key in _AI_SDK)
    claude = (model or "").startswith("claude") and identity.startswith("msg_")
    return (
        party(mapping(body.get("response_metadata")).get("model_provider"))
        or next(named, None)
        or ("anthropic" if claude else None)
    )


def told_by_address(url: object) -> str | None:
    """The provider that a request's URL names."""
    found = _HOST.match(url) if isinstance(url, str) else None
    return SELLERS.get(domain_of(found[1].lower())) if found else None


def domain_of(host: str) -> str:
    """The domain of a host, with a port or without."""
    return ".".join(host.partition(":")[0].split(".")[-2:])


def model_of_address(url: object) -> str | None:
    """The model that a request's path names, as Bedrock's and Gemini's do."""
    found = _MODEL.search(url.replace("%3A", ":")) if isinstance(url, str) else None
    return found[1] if found else None


def is_claude(model: str | None) -> bool:
    """Whether the model's name is one of Anthropic's, whoever sells it."""
    return model is not None and "claude" in model.lower()


def mapping(value: object) -> Body:
    """The value if it is an object, else an empty one."""
    if value.__class__ is dict or (value is not None and isinstance(value, Mapping)):
        return value
    return _NOTHING
