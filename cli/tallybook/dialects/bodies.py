"""Finds in a whole response of any provider what it says of the call that it answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from tallybook.dialects.shape import follow
from tallybook.dialects.values import instant, text

Body = Mapping[str, Any]

BATCH: Final = "batch"
_ITSELF: Final = (
    frozenset({"prompt_eval_count", "eval_count"}),  # Ollama
    frozenset({"tokens_evaluated", "tokens_predicted", "timings"}),  # llama.cpp
    frozenset(  # a generation record of OpenRouter
        {
            "native_tokens_prompt",
            "native_tokens_completion",
            "native_tokens_reasoning",
            "native_tokens_cached",
            "total_cost",
        }
    ),
)
METRICS: Final = "amazon-bedrock-invocationMetrics"
_BEDROCK_HEADERS: Final = "x-amzn-bedrock-"


class Response(msgspec.Struct, kw_only=True):
    """What a response says of itself besides its content; absent is None.

    `usage` is for `read_usage`, with `provider` as its hint, which is None where the body does not
    tell who served it. `finished` is False where the answer broke off before its counts were
    final. `is_error`: the body is a refusal, no answer.
    """

    usage: Body | None = None
    provider: str | None = None
    model: str | None = None
    response_id: str | None = None
    request_id: str | None = None
    thread_id: str | None = None
    service_tier: str | None = None
    created: datetime | None = None
    finished: bool | None = None
    is_error: bool = False


def find_usage(body: Body, headers: Mapping[str, Any] | None = None) -> Response | None:
    """What the response `body` says of its call; None where it is no response of any known kind.

    `body` is decoded JSON: the response itself, a line of a batch's results, an event that wraps a
    whole response, or a dumped message of a framework. A stream is merged before with
    `merge_stream`. `headers` are those of the HTTP response, names in any case.
    """
    batch = _batched(body)
    whole = batch if batch is not None else _unwrapped(body)
    found = _find(whole)
    if found is None:
        return None
    if batch is not None:
        found.service_tier = BATCH
    if headers:
        _take_headers(found, headers)
    return found


def _batched(body: Body) -> Body | None:
    """The response inside a line of a batch's results."""
    if "custom_id" in body:
        inner = follow(body, ("response", "body"))
        inner = inner if inner is not None else follow(body, ("result", "message"))
        inner = inner if inner is not None else follow(body, ("result",))
        inner = inner if inner is not None else body.get("error") and {"error": body["error"]}
        return inner if isinstance(inner, Mapping) else None
    if "key" in body and isinstance(follow(body, ("response", "usageMetadata")), Mapping):
        inner = body["response"]
        return inner if isinstance(inner, Mapping) else None
    return None


def _unwrapped(body: Body) -> Body:
    """The response in an event or envelope around it."""
    if body.get("lc") == 1 and isinstance(body.get("kwargs"), Mapping):
        return _mapping(body["kwargs"])
    inner = body.get("response")
    if isinstance(inner, Mapping) and "usage" not in body:
        kind = body.get("type")
        if isinstance(kind, str) and kind.startswith("response."):
            return inner
        if "usageMetadata" in inner or "candidates" in inner:
            return inner
    data = body.get("data")
    if isinstance(data, Mapping) and "native_tokens_prompt" in data:
        return data
    return body


def _find(body: Body) -> Response | None:
    usage = _usage(body)
    error = body.get("error")
    is_error = bool(error) and usage is None
    if usage is None and not is_error and not _is_response(body):
        return None
    metadata = _mapping(body.get("response_metadata"))
    inner = _mapping(body.get("response"))
    found = Response(
        usage=usage,
        model=_first(
            body.get("model"),
            body.get("modelVersion"),
            body.get("model_version"),
            body.get("model_name"),
            metadata.get("model_name"),
            metadata.get("model"),
            inner.get("modelId"),
        ),
        response_id=_first(
            body.get("id"),
            body.get("responseId"),
            body.get("response_id"),
            body.get("request_id") if isinstance(body.get("output"), Mapping) else None,
            inner.get("id"),
        ),
        request_id=_first(
            follow(body, ("ResponseMetadata", "RequestId")),
            body.get("request_id"),
            body.get("requestId"),
        ),
        thread_id=_thread(body),
        service_tier=_service_tier(body),
        created=_created(body, inner),
        finished=_finished(body),
        is_error=is_error,
    )
    if metadata and text(metadata.get("id")):
        found.response_id = text(metadata["id"])
    found.provider = _provider(body, found)
    return found


def _usage(body: Body) -> Body | None:
    """The object with the counts, put together where a provider states them in two places."""
    usage = _stated_usage(body)
    if usage is None:
        for keys in _ITSELF:
            own = {key: body[key] for key in keys if body.get(key) is not None}
            if own and own.keys() - {"timings", "total_cost"}:
                return own
        return None
    timings = body.get("timings")
    if isinstance(timings, Mapping) and "prompt_tokens" in usage:
        return {**usage, "timings": timings}
    extra = _from_metadata(_mapping(body.get("providerMetadata")))
    return {**extra, **usage} if extra else usage


def _stated_usage(body: Body) -> Body | None:
    metadata = _mapping(body.get("response_metadata"))
    meta = _mapping(body.get("meta"))
    places = (
        # What the provider said itself goes before what a framework made of it.
        metadata.get("token_usage"),
        metadata.get("usage"),
        body.get("usage"),
        body.get("usageMetadata"),
        body.get("usage_metadata"),
        follow(body, ("choices", 0, "usage")),
        follow(body, ("x_groq", "usage")),
        body.get(METRICS),
        meta if "billed_units" in meta or "tokens" in meta else None,
        follow(body, ("metadata", "usage")) if "metadata" in body else None,
    )
    return next((place for place in places if isinstance(place, Mapping) and place), None)


def _from_metadata(metadata: Body) -> dict[str, Any]:
    """Counts that older versions of the AI SDK keep apart from the usage."""
    found: dict[str, Any] = {}
    anthropic, openai = _mapping(metadata.get("anthropic")), _mapping(metadata.get("openai"))
    for part, keys in (
        (anthropic, ("cacheCreationInputTokens", "cacheReadInputTokens")),
        (openai, ("cachedPromptTokens", "reasoningTokens")),
    ):
        found |= {key: part[key] for key in keys if part.get(key) is not None}
    return found


def _is_response(body: Body) -> bool:
    """Whether a body without counts is an answer all the same."""
    kind, name = body.get("type"), body.get("object")
    return (
        (name in ("chat.completion", "chat.completion.chunk", "response", "text_completion"))
        or (kind == "message" and body.get("role") == "assistant")
        or isinstance(body.get("candidates"), list)
        or ("done" in body and "created_at" in body and "model" in body)
        or ("stopReason" in body and isinstance(body.get("output"), Mapping))
        or ("response_metadata" in body and "usage_metadata" in body)
    )


def _provider(body: Body, found: Response) -> str | None:
    """Who served the answer, where its own keys and ids tell; never guessed from the model."""
    usage, identity = found.usage or {}, found.response_id or ""
    by_keys = (
        name for keys, name in _TELLTALES if not keys.isdisjoint(usage) or not keys.isdisjoint(body)
    )
    by_id = (name for prefix, name in _IDS if identity.startswith(prefix))
    told = text(_mapping(body.get("response_metadata")).get("model_provider"))
    metadata = _mapping(body.get("providerMetadata"))
    named = next((_AI_SDK[key] for key in metadata if key in _AI_SDK), None)
    claude = (found.model or "").startswith("claude") and "input_tokens" in usage
    return (
        next(by_keys, None)
        or next(by_id, None)
        or told
        or named
        or ("anthropic" if claude else None)
    )


_TELLTALES: Final = (
    (frozenset({"is_byok", "cost_details", "native_tokens_prompt"}), "openrouter"),
    (frozenset({"cost_in_usd_ticks", "num_sources_used", "cached_prompt_text_tokens"}), "xai"),
    (frozenset({"prompt_cache_hit_tokens"}), "deepseek"),
    (frozenset({"x_groq", "queue_time"}), "groq"),
    (frozenset({"search_context_size", "num_search_queries"}), "perplexity"),
    (frozenset({"promptTokenCount", "candidatesTokenCount", "modelVersion"}), "google"),
    (frozenset({"prompt_token_count", "candidates_token_count"}), "google"),
    (frozenset({"prompt_filter_results"}), "azure"),
    (frozenset({"billed_units"}), "cohere"),
    (frozenset({"prompt_eval_count", "eval_count", "load_duration"}), "ollama"),
    (frozenset({METRICS, "stopReason", "cacheReadInputTokens", "cacheWriteInputTokens"}), "aws"),
)
_IDS: Final = (
    ("msg_bdrk_", "aws"),
    ("msg_vrtx_", "google"),
    ("gen-", "openrouter"),
)
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


def _service_tier(body: Body) -> str | None:
    """The tier that served the call; in a Responses object `auto` repeats only what was asked."""
    tier = body.get("service_tier")
    tier = tier if tier is not None else follow(body, ("serviceTier", "type"))
    tier = tier if tier is not None else body.get("serviceTier")
    return text(tier)


def _thread(body: Body) -> str | None:
    conversation = body.get("conversation")
    if isinstance(conversation, Mapping):
        return text(conversation.get("id"))
    return _first(conversation, body.get("conversation_id"))


def _created(body: Body, inner: Body) -> datetime | None:
    headers = follow(body, ("ResponseMetadata", "HTTPHeaders", "date"))
    stated = (
        body.get("created"),
        body.get("created_at"),
        body.get("createTime"),
        inner.get("timestamp"),
        headers,
    )
    return next((time for value in stated if (time := instant(value))), None)


def _finished(body: Body) -> bool | None:
    """False only where a merged stream says that its end is missing."""
    return False if body.get(CUT_OFF) is True else None


CUT_OFF: Final = "tallybook.cut-off"  # put by `merge_stream` on a body whose counts are not final


def _take_headers(found: Response, headers: Mapping[str, Any]) -> None:
    named = {str(name).lower(): value for name, value in headers.items()}
    found.created = found.created or instant(named.get("date"))
    found.request_id = found.request_id or _first(
        named.get("request-id"), named.get("x-request-id"), named.get("x-amzn-requestid")
    )
    counts = {name: n for name, n in named.items() if name.startswith(_BEDROCK_HEADERS)}
    if found.usage is None and counts:
        found.usage = {name: n for name, n in counts.items() if name.endswith("-token-count")}
        found.provider = "aws"


def _mapping(value: object) -> Body:
    return value if isinstance(value, Mapping) else {}


def _first(*values: object) -> str | None:
    return next((value for value in values if isinstance(value, str) and value), None)
