"""Tells a provider's response by its own keys from any other JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tallybook.dialects.responses import OBJECTS
from tallybook.dialects.served import METRICS, mapping
from tallybook.dialects.shape import any_of, follow
from tallybook.values import names_in, text

Value = Mapping[str, Any]

_OBJECTS: Final = OBJECTS | {"realtime.response"}
# What an agent's own log puts beside a message that is otherwise a response.
_FOREIGN: Final = frozenset(
    {"sessionId", "sessionID", "session_id", "uuid", "parentUuid", "parentId", "cwd", "lc"}
)
_BATCH: Final = ("result", "response", "error")
_ENVELOPE: Final = frozenset(
    {"error", "type", "request_id", "requestId", "status", "code", "user_id"}
)
_GEMINI: Final = frozenset(
    names_in(
        "modelVersion model_version responseId response_id promptFeedback prompt_feedback"
        " embeddings"
    )
)
_CONVERSE: Final = frozenset(
    {"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop"}
)
_EVENTS: Final = frozenset(
    names_in(
        "message_start content_block_start content_block_delta content_block_stop message_delta"
        " message_stop ping message-start message-end"
    )
)
# How the events of OpenAI's streams are called: of answers, pictures, transcripts and speech.
_NAMED: Final = names_in("response. image_generation. image_edit. transcript.text. speech.audio.")


def is_response(value: Value) -> bool:
    """Whether the object is a whole response, or a line of a batch's results."""
    return _FOREIGN.isdisjoint(value) and any(tells(value) for tells in _TELLS)


def is_invocation(value: Value) -> bool:
    """Whether the object is a line of the log that Bedrock keeps of its invocations."""
    return value.get("schemaType") == "ModelInvocationLog" and "modelId" in value


def is_refusal(value: Value) -> bool:
    """Whether the object is nothing but a provider's error."""
    error = value.get("error")
    if error is None or not isinstance(error, Mapping) or not value.keys() <= _ENVELOPE:
        return False
    return "message" in error and not {"type", "code", "status"}.isdisjoint(error)


def is_event(value: Value) -> bool:
    """Whether the object is an event of a stream that was saved one a line."""
    kind = value.get("type")
    if isinstance(kind, str) and _FOREIGN.isdisjoint(value):
        started = kind != "message_start" or isinstance(value.get("message"), Mapping)
        if (kind in _EVENTS and started) or kind.startswith(_NAMED):
            return True
    return (
        value.get("object") == "chat.completion.chunk"
        or _is_filtered(value)
        or _is_ollama(value)  # its last event has the form of a whole response
        or (len(value) == 1 and _is_converse_event(value))
    )


def _is_filtered(value: Value) -> bool:
    """The first chunk of Azure's, which is before any answer and has neither id nor name."""
    return (
        isinstance(value.get("choices"), list)
        and "prompt_filter_results" in value
        and not (value["choices"] or value.get("usage"))
    )


def _is_converse_event(value: Value) -> bool:
    if _has(value, "metadata"):
        return "usage" in value["metadata"]
    packed = mapping(value.get("chunk"))
    return not _CONVERSE.isdisjoint(value) or isinstance(packed.get("bytes"), str)


def _is_openai(value: Value) -> bool:
    name = text(value.get("object"))
    if name == "list":
        return isinstance(value.get("data"), list) and _has(value, "usage")
    return name in _OBJECTS and not {"choices", "output", "status", "usage"}.isdisjoint(value)


def _is_chat(value: Value) -> bool:
    """Servers that leave the name of the object out."""
    first = mapping(follow(value, ("choices", 0)))
    return "model" in value and not {"message", "delta"}.isdisjoint(first)


def is_gemini(value: Value) -> bool:
    """Whether the object is Gemini's, be it a whole response or a chunk of one."""
    told = not _GEMINI.isdisjoint(value)
    counted = _has(value, "usageMetadata") or _has(value, "usage_metadata")
    return told or counted if isinstance(value.get("candidates"), list) else told and counted


def _is_converse(value: Value) -> bool:
    usage = mapping(value.get("usage"))
    return "inputTokens" in usage and "stopReason" in value and _has(value, "output")


def _is_dashscope(value: Value) -> bool:
    told = isinstance(value.get("request_id"), str) and _has(value, "usage")
    return told and _has(value, "output")


def _is_ollama(value: Value) -> bool:
    timed = isinstance(value.get("created_at"), str) and isinstance(value.get("model"), str)
    return timed and isinstance(value.get("done"), bool)


def _is_cohere(value: Value) -> bool:
    for key in ("usage", "meta"):
        if not {"billed_units", "tokens"}.isdisjoint(mapping(value.get(key))):
            return isinstance(value.get("id") or value.get("response_id"), str)
    return False


def _is_image(value: Value) -> bool:
    shown = not {"b64_json", "url"}.isdisjoint(mapping(follow(value, ("data", 0))))
    return shown and "created" in value and "input_tokens" in mapping(value.get("usage"))


def _is_transcript(value: Value) -> bool:
    kind = mapping(value.get("usage")).get("type")
    return isinstance(value.get("text"), str) and kind in ("tokens", "duration")


def _is_batched(value: Value) -> bool:
    """A line of a batch's results: OpenAI and Anthropic, Vertex, Bedrock."""
    if isinstance(value.get("custom_id"), str):
        return any(_has(value, key) for key in _BATCH)
    if "processed_time" in value and _has(value, "response"):
        return True
    return _has(value, "modelOutput") and "recordId" in value


def _has(value: Value, key: str) -> bool:
    inner = value.get(key)
    return inner is not None and isinstance(inner, Mapping)  # mostly absent, and asking is dear


def _with(keys: frozenset[str]) -> Callable[[Value], bool]:
    return lambda value: keys <= value.keys()


# Keys that no other answer has together: of llama.cpp, and of Llama and Titan on Bedrock.
_KEYS: Final = any_of(
    "tokens_predicted tokens_evaluated",
    "generation prompt_token_count generation_token_count",
    "inputTextTokenCount results",
)
_TELLS: Final[tuple[Callable[[Value], bool], ...]] = (
    _is_openai,
    _is_chat,
    # Anthropic's.
    lambda value: (
        value.get("type") == "message" and value.get("role") == "assistant" and "model" in value
    ),
    is_gemini,
    _is_converse,
    _is_dashscope,
    _is_ollama,
    _is_cohere,
    *map(_with, _KEYS),
    _is_image,
    _is_transcript,
    lambda value: "native_tokens_prompt" in mapping(value.get("data")),  # of OpenRouter
    lambda value: _has(value, METRICS),
    _is_batched,
)
