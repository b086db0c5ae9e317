"""Decodes the JSON of a request detail, and of the texts in it nothing."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec

from tallybook.sources.ninerouter.bodies import BARE, CUT, opened
from tallybook.sources.ninerouter.details import Detail
from tallybook.values import begins, decode, text

PLACEHOLDER: Final = "[Streaming - raw response not captured]"
_NOTHING: Final = msgspec.Raw()
_Part = TypeVar("_Part", bound=msgspec.Struct)


class Inside(msgspec.Struct):
    """What of a part of an answer, a request or an envelope is looked at."""

    usage: Any = None
    usageMetadata: Any = None  # noqa: N815 - the key of the log
    responseId: Any = None  # noqa: N815
    modelVersion: Any = None  # noqa: N815
    id: Any = None
    model: Any = None
    user_id: Any = None


class Body(Inside):
    """What of a provider's answer is looked at: never its texts."""

    type: Any = None
    object: Any = None
    created: Any = None
    created_at: Any = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    prompt_eval_cached_count: Any = None
    done: Any = None
    response: msgspec.Raw = _NOTHING
    data: msgspec.Raw = _NOTHING
    preview: Any = msgspec.field(default=None, name="_preview")


class Request(msgspec.Struct):
    """What of a client's request, or of the provider's, is looked at."""

    metadata: msgspec.Raw = _NOTHING
    prompt_cache_key: Any = None
    type: Any = None


class Record(msgspec.Struct):
    """A stored request."""

    id: Any = None
    provider: Any = None
    model: Any = None
    connectionId: Any = None  # noqa: N815 - the key of the log
    timestamp: Any = None
    status: Any = None
    latency: Any = None
    tokens: Any = None
    request: msgspec.Raw = _NOTHING
    providerRequest: msgspec.Raw = _NOTHING  # noqa: N815
    providerResponse: msgspec.Raw = _NOTHING  # noqa: N815
    response: msgspec.Raw = _NOTHING


_RECORD: Final = msgspec.json.Decoder(Record)
_BODY: Final = msgspec.json.Decoder(Body)
_PARTS: Final[dict[type[msgspec.Struct], msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Inside, Request)
}


def decode_detail(number: int, content: bytes) -> Detail | None:
    """The detail that a JSON document states; None where it is none."""
    found = decode(content, _RECORD)
    if found is None:
        return None
    detail = Detail(
        record=number,
        id=text(found.id),
        provider=text(found.provider),
        model=text(found.model),
        status=text(found.status),
        connection=text(found.connectionId),
        timestamp=found.timestamp,
        latency=found.latency,
        tokens=found.tokens,
    )
    take_answer(detail, bytes(found.providerResponse).strip())
    take_request(detail, found.request, found.providerRequest, found.response)
    return detail


def take_answer(detail: Detail, answer: bytes) -> None:
    """Puts in what the provider's answer says of its call; `answer` is JSON."""
    detail.is_placeholder = PLACEHOLDER.encode() == answer.strip(b'"')
    detail.body, detail.body_state = opened(_body(answer))
    if answer == b"{}":
        detail.body_state = BARE


def take_request(
    detail: Detail, request: msgspec.Raw, sent: msgspec.Raw, response: msgspec.Raw
) -> None:
    """Puts in who asked, and how the client was answered."""
    detail.user_id = _part(_part(request, Request).metadata, Inside).user_id
    detail.cache_key = _part(sent, Request).prompt_cache_key
    detail.kind = text(_part(response, Request).type)


def begun_detail(number: int, head: bytes) -> Detail:
    """The detail as far as the beginning of its document says; texts come behind the counts."""
    beginning = head.decode("utf-8", "replace")
    return Detail(
        record=number,
        id=text(_after(beginning, "id")),
        provider=text(_after(beginning, "provider")),
        model=text(_after(beginning, "model")),
        status=text(_after(beginning, "status")),
        timestamp=_after(beginning, "timestamp"),
        latency=_after(beginning, "latency"),
        tokens=_after(beginning, "tokens"),
        body_state=CUT,
    )


def _after(beginning: str, key: str) -> Any:
    """The value behind a key in the beginning of a document that breaks off somewhere."""
    found = re.search(rf'"{key}"\s*:\s*', beginning)
    value = begins(beginning, found.end()) if found else None
    return value[0] if value else None


def _part(raw: msgspec.Raw, kind: type[_Part]) -> _Part:
    """What of a part is looked at; nothing where it is not there, or something else."""
    found = decode(bytes(raw), _PARTS[kind])
    return found if isinstance(found, kind) else kind()


def _body(answer: bytes) -> dict[str, Any]:
    """What of an answer is looked at, as it was nested; nothing where it is a text."""
    body = decode(answer, _BODY)
    if body is None:
        return {}
    found = _stated(body)
    for name in ("response", "data"):
        found[name] = _stated(_part(found[name], Inside)) or None
    if "preview" in found:
        found["_preview"] = found.pop("preview")
    return {name: value for name, value in found.items() if value is not None}


def _stated(part: Inside) -> dict[str, Any]:
    values = ((name, getattr(part, name)) for name in part.__struct_fields__)
    return {name: value for name, value in values if value is not None}
