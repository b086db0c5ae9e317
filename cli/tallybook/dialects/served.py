"""Who served a response, where the response itself or the address that it came from tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tallybook.dialects.values import text

Body = Mapping[str, Any]

METRICS: Final = "amazon-bedrock-invocationMetrics"

# Keys of a body or its usage that one provider alone has.
_TELLTALES: Final = (
    (frozenset({"is_byok", "cost_details", "native_tokens_prompt"}), "openrouter"),
    (frozenset({"cost_in_usd_ticks", "num_sources_used", "cached_prompt_text_tokens"}), "xai"),
    (frozenset({"x_groq", "queue_time"}), "groq"),
    (frozenset({"search_context_size", "num_search_queries"}), "perplexity"),
    (frozenset({"promptTokenCount", "candidatesTokenCount", "modelVersion"}), "google"),
    (frozenset({"prompt_token_count", "candidates_token_count"}), "google"),
    (frozenset({"prompt_filter_results"}), "azure"),
    (frozenset({"billed_units"}), "cohere"),
    (frozenset({"prompt_eval_count", "eval_count", "load_duration"}), "ollama"),
    (frozenset({METRICS, "stopReason", "cacheReadInputTokens", "cacheWriteInputTokens"}), "aws"),
)
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
# Ends of host names.
_HOSTS: Final = (
    ("api.openai.com", "openai"),
    (".openai.azure.com", "azure"),
    (".cognitiveservices.azure.com", "azure"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "google"),
    ("aiplatform.googleapis.com", "google"),
    (".amazonaws.com", "aws"),
    ("api.deepseek.com", "deepseek"),
    ("api.moonshot.ai", "moonshotai"),
    ("api.moonshot.cn", "moonshotai"),
    ("api.x.ai", "xai"),
    ("api.mistral.ai", "mistral"),
    ("api.cohere.com", "cohere"),
    ("api.groq.com", "groq"),
    ("api.together.xyz", "together"),
    ("api.fireworks.ai", "fireworks"),
    ("openrouter.ai", "openrouter"),
    ("api.perplexity.ai", "perplexity"),
    ("open.bigmodel.cn", "zhipuai"),
    ("api.z.ai", "zai"),
    ("api.minimax.io", "minimax"),
    ("api.cerebras.ai", "cerebras"),
)
_HOST: Final = re.compile(r"https?://(?:[^/@]*@)?([^/:?#]+)")
# Addresses of clouds name the model; Azure's names a deployment, which may be called anything.
_MODEL: Final = re.compile(r"/models?/([^/:?]+(?::\d+)?)[/:](?:converse|invoke|\w*[gG]enerate)")


def told_by_body(body: Body, usage: Body, response_id: str | None, model: str | None) -> str | None:
    """The provider that keys and ids of a response tell; never guessed from the model alone."""
    by_keys = (
        name for keys, name in _TELLTALES if not keys.isdisjoint(usage) or not keys.isdisjoint(body)
    )
    by_id = (name for prefix, name in _IDS if (response_id or "").startswith(prefix))
    metadata = mapping(body.get("providerMetadata"))
    named = (_AI_SDK[key] for key in metadata if key in _AI_SDK)
    claude = (model or "").startswith("claude") and (response_id or "").startswith("msg_")
    return (
        next(by_keys, None)
        or next(by_id, None)
        or text(mapping(body.get("response_metadata")).get("model_provider"))
        or next(named, None)
        or ("anthropic" if claude else None)
    )


def told_by_address(url: object) -> str | None:
    """The provider that a request's URL names."""
    found = _HOST.match(url) if isinstance(url, str) else None
    if found is None:
        return None
    host = found[1].lower()
    return next((name for end, name in _HOSTS if host == end or host.endswith(end)), None)


def model_of_address(url: object) -> str | None:
    """The model that a request's path names, as Bedrock's and Gemini's do."""
    found = _MODEL.search(url.replace("%3A", ":")) if isinstance(url, str) else None
    return found[1] if found else None


def mapping(value: object) -> Body:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}
