"""The parts of a run event that say anything about usage, and how they are decoded."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec

from tallybook.values import UNDECODABLE, decode

# Scalars are `Any` on purpose: a text where a number belongs must cost that number, not the event.


class Answer(msgspec.Struct, gc=False):
    """`response_metadata`: what is kept of the provider's answer besides the message."""

    id: Any = None
    model: Any = None
    model_name: Any = None
    model_provider: Any = None
    service_tier: Any = None
    token_usage: Any = None  # as the provider stated it, kept by clients that do not stream
    usage: Any = None  # the same of other clients


class Extra(msgspec.Struct, gc=False):
    """`additional_kwargs` of a message."""

    deerflow_error_fallback: Any = None
    subagent_token_usage: Any = None
    subagent_model_name: Any = None
    subagent_token_usage_attributed: Any = None


class Content(msgspec.Struct, gc=False):
    """The union of all contents that are read; one decoder for all is the fastest."""

    id: Any = None
    usage_metadata: Any = None
    response_metadata: Answer | None = None
    additional_kwargs: Extra | None = None
    # llm_response
    model: Any = None
    # llm_response, subagent.end
    usage: Any = None
    # subagent.end
    task_id: Any = None
    model_name: Any = None
    # llm.tool.result
    tool_call_id: Any = None


class Metadata(msgspec.Struct, gc=False):
    """What the event store keeps beside the content."""

    caller: Any = None
    usage: Any = None
    llm_call_index: Any = None
    model_name: Any = None
    branch_seed: Any = None
    checkpoint_history_seed: Any = None


class Event(msgspec.Struct, gc=False):
    """A run event, from a line or from a row."""

    thread_id: Any = None
    run_id: Any = None
    event_type: Any = None
    content: Content | None = None
    metadata: Metadata | None = None
    created_at: Any = None


T = TypeVar("T", Event, Content, Metadata, Answer, Extra)
_NESTED: Final[dict[str, Any]] = {
    "content": Content,
    "metadata": Metadata,
    "response_metadata": Answer,
    "additional_kwargs": Extra,
}
_EVENT: Final = msgspec.json.Decoder(Event)
_CONTENT: Final = msgspec.json.Decoder(Content)
_METADATA: Final = msgspec.json.Decoder(Metadata)
# How a content begins that was cut after some thousand bytes and is JSON no more.
_CUT: Final = re.compile(
    rb'\{\s*"id"\s*:\s*"([^"\\]+)"(?:\s*,\s*"model"\s*:\s*(?:"([^"\\]+)"|null))?'
)


def parse_event(line: bytes) -> Event | None:
    """The event of a JSON line, odd parts of it left out; None where it is no JSON object."""
    try:
        return _EVENT.decode(line)
    except UNDECODABLE:
        value = decode(line)
        return loosely(value, Event) if isinstance(value, dict) else None


def parse_content(text: bytes) -> Content:
    """The content of a row; of one that was cut off, what its beginning says."""
    try:
        return _CONTENT.decode(text)
    except UNDECODABLE:
        value = decode(text)
    if isinstance(value, dict):
        return loosely(value, Content)
    cut = _CUT.match(text)
    if cut is None:
        return Content()
    identifier, model = (part and part.decode("utf-8", "replace") for part in cut.groups())
    return Content(id=identifier, model=model)


def parse_metadata(text: bytes) -> Metadata:
    """The metadata of a row; empty where they are no JSON object."""
    try:
        return _METADATA.decode(text)
    except UNDECODABLE:
        return loosely(decode(text), Metadata)


def loosely(value: object, kind: type[T]) -> T:
    """What of a decoded value fits `kind`; parts of another shape are left out."""
    found = kind()
    if isinstance(value, dict):
        for name in kind.__struct_fields__:
            part, nested = value.get(name), _NESTED.get(name)
            if nested is not None:
                part = loosely(part, nested) if isinstance(part, dict) else None
            setattr(found, name, part)
    return found
