"""Finds in a whole response of any provider what it says of the call that it answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from tallybook.dialects.served import METRICS, Body, mapping, told_by_body
from tallybook.dialects.shape import at, fetch, follow
from tallybook.dialects.tools import Tools, tools_in_answer
from tallybook.values import instant, text

BATCH: Final = "batch"
CUT_OFF: Final = "tallybook.cut-off"  # put by `merge_stream` on a body whose counts are not final
SEARCHES: Final = "tallybook.searches"  # put in place of content that told of so many
_NATIVE: Final = ("prompt", "completion", "reasoning", "cached")
_ITSELF: Final = (
    frozenset({"prompt_eval_count", "eval_count"}),  # Ollama
    frozenset({"tokens_evaluated", "tokens_predicted", "timings"}),  # llama.cpp
    frozenset({"prompt_token_count", "generation_token_count"}),  # Llama on Bedrock
    frozenset({"inputTextTokenCount", "results"}),  # Titan on Bedrock
    # A generation record of OpenRouter.
    frozenset({*(f"native_tokens_{name}" for name in _NATIVE), "total_cost"}),
)
_MODELS: Final = ("model", "modelVersion", "model_version", "model_name")
_IDS: Final = ("id", "responseId", "response_id")
_REQUEST_IDS: Final = ("request-id", "x-request-id", "x-amzn-requestid")
_BOTO_ID: Final = ("ResponseMetadata", "RequestId")
_TIMES: Final = ("created", "created_at", "createTime")
# The tier that served the call; in a Responses object `auto` repeats only what was asked.
_TIERS: Final = at("service_tier", "serviceTier/type", "serviceTier")
_BEDROCK_HEADERS: Final = "x-amzn-bedrock-"  # counts and latencies of an invocation
# Up to Gemini 2.5 a prompt with any search is charged for once, from 3 on each query is.
_CHARGED_ONCE: Final = re.compile(r"gemini-(?:1|2)\b")


class Response(msgspec.Struct, kw_only=True):
    """What a response says of itself besides its content; absent is None.

    `usage` is for `read_usage`, with `provider` as its hint, which is None where the body does not
    tell who served it. `finished` is False where the answer broke off before its counts were
    final. `searches` are those that it is charged for, `tools` others that are told of besides its
    usage. `is_error`: the body is an error in place of an answer. `is_refusal`: the model refused
    to answer, or to go on.
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
    searches: int | None = None
    tools: Tools | None = None
    is_refusal: bool = False
    is_error: bool = False


def find_usage(body: Body, headers: Mapping[str, Any] | None = None) -> Response | None:
    """What the response `body` says of its call; None where it is no response of any known kind.

    `body` is decoded JSON: the response itself, a line of a batch's results, an event that wraps a
    whole response, or a dumped message of a framework. A stream is merged before with
    `merge_stream`. `headers` are those of the HTTP response, names in any case.
    """
    batch = _batched(body)
    named = {str(name).lower(): value for name, value in (headers or {}).items()}
    found = _find(batch if batch is not None else _unwrapped(body))
    if found is None and not any(name.startswith(_BEDROCK_HEADERS) for name in named):
        return None
    found = found or Response()
    if batch is not None:
        found.service_tier = BATCH
        found.request_id = found.request_id or text(follow(body, ("response", "request_id")))
    _take_headers(found, named)
    return found


def _batched(body: Body) -> Body | None:
    """The response inside a line of a batch's results; an empty refusal where there was none."""
    for tell, paths in _BATCHES:
        if tell in body:
            places = (mapping(follow(body, path)) for path in paths)
            refusal = {"error": body.get("error") or {"type": follow(body, ("result", "type"))}}
            return next((place for place in places if place), refusal)
    return None


# What tells a line of a batch's results, and where it has the response: OpenAI and Anthropic,
# Vertex, Bedrock.
_BATCHES: Final = (
    ("custom_id", (("response", "body"), ("result", "message"), ("result", "error"))),
    ("processed_time", (("response",),)),
    ("modelOutput", (("modelOutput",),)),
)


def _unwrapped(body: Body) -> Body:
    """The response in an event or envelope around it."""
    if body.get("lc") == 1:
        return mapping(body.get("kwargs"))
    inner, data = mapping(body.get("response")), mapping(body.get("data"))
    kind = body.get("type")
    event = isinstance(kind, str) and kind.startswith("response.")
    if inner and (event or not {"usageMetadata", "candidates"}.isdisjoint(inner)):
        return inner
    return data if "native_tokens_prompt" in data else body


def _find(body: Body) -> Response | None:
    usage = _usage(body)
    error = body.get("error")
    is_error = bool(error) and usage is None
    if usage is None and not is_error and not _is_response(body):
        return None
    metadata, inner = mapping(body.get("response_metadata")), mapping(body.get("response"))
    own = "request_id" if isinstance(body.get("output"), Mapping) else "id"  # DashScope
    found = Response(
        usage=usage,
        model=_said(body, *_MODELS)
        or _said(metadata, "model_name", "model")
        or inner.get("modelId"),
        response_id=_said(metadata, "id") or _said(body, *_IDS, own) or _said(inner, "id"),
        request_id=_said(body, "request_id", "requestId") or text(follow(body, _BOTO_ID)),
        thread_id=_thread(body),
        service_tier=text(fetch(body, _TIERS)),
        created=_created(body, inner),
        finished=_finished(body),
        is_refusal=body.get("stop_reason") == "refusal",
        is_error=is_error,
    )
    found.searches, found.tools = searches(body, found.model), tools_in_answer(body)
    found.provider = told_by_body(body, usage or {}, found.response_id, found.model)
    return found


def _usage(body: Body) -> Body | None:
    """The object with the counts, put together where a provider states them in two places."""
    usage = _stated_usage(body)
    if usage is None:
        for keys in _ITSELF:
            own = {key: body[key] for key in keys if body.get(key) is not None}
            if own.keys() - {"timings", "total_cost", "results"}:
                return own
        return None
    timings = body.get("timings")
    if isinstance(timings, Mapping) and "prompt_tokens" in usage:
        return {**usage, "timings": timings}
    extra = _from_metadata(mapping(body.get("providerMetadata")))
    return {**extra, **usage} if extra else usage


def _stated_usage(body: Body) -> Body | None:
    metadata = mapping(body.get("response_metadata"))
    # What the provider said itself goes before what a framework made of it.
    for place, key in (
        *((metadata, key) for key in ("token_usage", "usage") if metadata),
        *((body, key) for key in ("usage", "usageMetadata", "usage_metadata")),
    ):
        stated = place.get(key)
        if stated and isinstance(stated, Mapping):
            return stated
    return _usage_elsewhere(body)


def _usage_elsewhere(body: Body) -> Body | None:
    meta = mapping(body.get("meta"))
    places = (
        follow(body, ("choices", 0, "usage")),
        follow(body, ("x_groq", "usage")),
        body.get(METRICS),
        meta if "billed_units" in meta or "tokens" in meta else None,
        follow(body, ("metadata", "usage")),
    )
    return next((place for place in places if place and isinstance(place, Mapping)), None)


def _from_metadata(metadata: Body) -> dict[str, Any]:
    """Counts that older versions of the AI SDK keep apart from the usage."""
    stated = (
        (key, mapping(metadata.get(part)).get(key)) for part, keys in _APART.items() for key in keys
    )
    return {key: value for key, value in stated if value is not None}


_APART: Final = {
    "anthropic": ("cacheCreationInputTokens", "cacheReadInputTokens"),
    "openai": ("cachedPromptTokens", "reasoningTokens"),
}


def _is_response(body: Body) -> bool:
    """Whether a body without counts is an answer all the same."""
    kind, name = body.get("type"), body.get("object")
    return (
        (isinstance(name, str) and name in OBJECTS)
        or (kind == "message" and body.get("role") == "assistant")
        or isinstance(body.get("candidates"), list)
        or ("model" in body and isinstance(body.get("choices"), list))
        or ("done" in body and "created_at" in body and "model" in body)
        or ("stopReason" in body and isinstance(body.get("output"), Mapping))
        or ("response_metadata" in body and "usage_metadata" in body)
    )


_CHATS: Final = ("chat.completion", "chat.completion.chunk", "text_completion")
OBJECTS: Final = frozenset({*_CHATS, "response", "response.compaction"})


def _thread(body: Body) -> str | None:
    conversation = body.get("conversation")
    if isinstance(conversation, Mapping):
        return text(conversation.get("id"))
    return _said(body, "conversation", "conversation_id")


def _created(body: Body, inner: Body) -> datetime | None:
    for key in _TIMES:
        if time := instant(body.get(key)):
            return time
    headers = follow(body, ("ResponseMetadata", "HTTPHeaders", "date"))
    return instant(inner.get("timestamp")) or instant(headers)


def _finished(body: Body) -> bool | None:
    """False where the counts are not final: the stream broke off, or the answer is still made."""
    pending = body.get("object") == "response" and body.get("status") in ("queued", "in_progress")
    return False if pending or body.get(CUT_OFF) is True else None


def _take_headers(found: Response, named: Body) -> None:
    found.created = found.created or instant(named.get("date"))
    found.request_id = found.request_id or _said(named, *_REQUEST_IDS)
    counts = {name: n for name, n in named.items() if name.endswith("-token-count")}
    if found.usage is None and any(name.startswith(_BEDROCK_HEADERS) for name in counts):
        found.usage, found.provider = counts, "aws"


def _said(place: Body, *keys: str) -> str | None:
    """The text under the first of `keys` that has one."""
    for key in keys:
        value = place.get(key)
        if value and isinstance(value, str):
            return value
    return None


def searches(body: Mapping[str, Any], model: str | None = None) -> int | None:
    """How many searches an answer is charged for; None where it tells of none."""
    noted = body.get(SEARCHES)
    found = noted if isinstance(noted, int) else _called_searches(body) or _queried_searches(body)
    return min(found, 1) if found and _CHARGED_ONCE.search(model or "") else found or None


def is_search(item: object) -> bool:
    """Whether an item of OpenAI's output is a search; to open a page of its results is free.

    The oldest answers state no action.
    """
    if not isinstance(item, Mapping) or item.get("type") != "web_search_call":
        return False
    return text(follow(item, ("action", "type"))) in {None, "search"}


def _called_searches(body: Mapping[str, Any]) -> int:
    output = body.get("output")
    return sum(map(is_search, output)) if isinstance(output, list) else 0


def _queried_searches(body: Mapping[str, Any]) -> int:
    candidates = body.get("candidates")
    found = (
        follow(candidate, ("groundingMetadata", "webSearchQueries"))
        or follow(candidate, ("grounding_metadata", "web_search_queries"))
        for candidate in (candidates if isinstance(candidates, list) else ())
    )
    return sum(len(queries) for queries in found if isinstance(queries, list))
