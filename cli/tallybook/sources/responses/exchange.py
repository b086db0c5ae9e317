"""A response with what a dump keeps beside it: its request, headers, address and time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from tallybook.dialects.responses import find_usage
from tallybook.dialects.served import METRICS, mapping, model_of_address, told_by_address
from tallybook.dialects.streams import merge_stream, stream_events
from tallybook.sources.responses.kinds import Value, is_invocation, is_response
from tallybook.values import decode, instant, names_in, party, text

# A proxy's dump has the two sides of an exchange under these names.
_SIDES: Final = (
    ("request", "response"),
    ("request_body", "response_body"),
    ("requestBody", "responseBody"),
    ("req", "res"),
    ("providerRequest", "providerResponse"),
    ("messages", "response"),  # LiteLLM's payload for its callbacks
)
# Counts that Bedrock's own log states, by the side that they stand on.
_METERED: Final = (
    ("input", "inputTokenCount"),
    ("input", "cacheReadInputTokenCount"),
    ("input", "cacheWriteInputTokenCount"),
    ("output", "outputTokenCount"),
)
_BODIES: Final = ("body", "body_raw", "json", "content", "data")
_TIMES: Final = names_in(
    "response_created_at timestamp time created_at endTime startTime request_created_at logged_at"
)


class Exchange(NamedTuple):
    """The body of a response, and what stands around it."""

    body: Value
    part: str | None = None  # where a dump of an exchange has it
    silence: str | None = None  # what stands in such a dump in place of a body
    headers: Value = MappingProxyType({})
    provider: str | None = None
    is_addressed: bool = False  # the address is a provider's
    model: str | None = None  # as requested, or as the address names it
    time: datetime | None = None
    request_id: str | None = None
    status: int | None = None
    cost: object = None
    is_from_cache: bool = False  # the proxy answered by itself


def exchange(value: Value) -> Exchange | None:
    """The response in a record that is one, or a dump of one; None where the record has none."""
    if is_response(value):
        return Exchange(value)
    if is_invocation(value):
        return _metered(value)
    return dumped(value) or Exchange(value)


def dumped(value: Value) -> Exchange | None:
    """The response in a dump of one; None for any other record."""
    for request, response in _SIDES:
        if response in value and (request in value or _is_http(value[response])):
            return _dumped(value, request, response)
    return None


def _metered(value: Value) -> Exchange:
    """A line of the log that Bedrock keeps: the answer as it came, and counts of its own."""
    body = mapping(decoded(mapping(value.get("output")).get("outputBodyJson")))
    error = text(value.get("errorCode"))
    whole = {**body, "error": {"type": error}} if error else {**body}
    answer = find_usage(body)
    if answer is None or answer.usage is None:
        counts = {name: mapping(value.get(side)).get(name) for side, name in _METERED}
        whole[METRICS] = {name: stated for name, stated in counts.items() if stated is not None}
    model = text(value.get("modelId")) or ""
    return Exchange(
        body=whole,
        part="output.outputBodyJson" if body else "output",
        provider="aws",
        # An address of a profile hides the model; that of a model ends with its name.
        model=None if "profile/" in model else model.rsplit("/", 1)[-1] or None,
        time=instant(value.get("timestamp")),
        request_id=text(value.get("requestId")),
    )


def _is_http(answer: object) -> bool:
    """Whether it has a status and a body, as only a dump of a response does."""
    keys = mapping(answer).keys()
    return not keys.isdisjoint(_BODIES) and not {"status", "status_code"}.isdisjoint(keys)


def _dumped(value: Value, request_key: str, response_key: str) -> Exchange:
    request, answer = mapping(value.get(request_key)), value[response_key]
    body, place = _body(answer)
    outer = mapping(answer)
    url = request.get("url") or value.get("url") or value.get("api_base")
    told = told_by_address(url)
    provider = party(value.get("provider")) or party(value.get("custom_llm_provider"))
    return Exchange(
        body=body or {},
        part=f"{response_key}.{place}" if place else response_key,
        silence=None if body else _silence(answer),
        headers=mapping(outer.get("headers")),
        provider=told or (provider.lower() if provider else None),
        is_addressed=told is not None,
        model=_requested(value, request) or model_of_address(url),
        time=_time(outer, request, value),
        request_id=text(value.get("request_id")),
        status=_status(outer),
        cost=value.get("response_cost"),
        is_from_cache=value.get("cache_hit") is True,
    )


def _body(answer: object) -> tuple[Value | None, str | None]:
    """The decoded body, merged where it is a stream, and its key in the answer."""
    if isinstance(answer, str):
        return decoded(answer), None
    outer = mapping(answer)
    if is_response(outer):
        return outer, None
    for key in _BODIES:
        inner = outer.get(key)
        if isinstance(inner, str) and (found := decoded(inner)) is not None:
            return found, key
        if isinstance(inner, Mapping) and key != "data":
            return inner, key
    # Without any key for a body the answer may be the body itself.
    return (outer if outer and outer.keys().isdisjoint(_BODIES) else None), None


def decoded(saved: object) -> Value | None:
    """A body, be it saved as text: JSON, or a stream of events."""
    body = decode(saved) if isinstance(saved, str) else saved
    if body is None and isinstance(saved, str):
        return merge_stream(stream_events(saved.encode("utf-8", "replace")))
    if isinstance(body, list):
        return merge_stream(each for each in body if isinstance(each, Mapping))
    return body if isinstance(body, Mapping) else None


def _silence(answer: object) -> str:
    """In words what stands where the body should be, by the first of its keys that has anything."""
    outer = mapping(answer)
    stated = [outer[key] for key in _BODIES if key in outer] if outer else [answer]
    content = next((value for value in stated if value), stated[0] if stated else None)
    if isinstance(content, str) and content.strip():
        return f"no JSON and no whole event of a stream ({len(content)} characters)"
    return "null" if content is None and stated else "empty"


def _requested(value: Value, request: Value) -> str | None:
    body = request.get("body")
    if isinstance(body, str):
        body = decoded(body)
    for place in (mapping(body), request, value):
        for key in ("model", "modelId"):
            if named := text(place.get(key)):
                return named
    return None


def _time(answer: Value, request: Value, value: Value) -> datetime | None:
    """When the response came; when it was asked for where only that is stated."""
    stated = (place.get(key) for place in (answer, value, request) for key in _TIMES)
    return next((time for each in stated if (time := instant(each))), None)


def _status(answer: Value) -> int | None:
    stated = answer.get("status_code", answer.get("status"))
    return stated if isinstance(stated, int) and not isinstance(stated, bool) else None
