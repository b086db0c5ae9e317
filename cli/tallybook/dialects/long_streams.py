"""Follows a saved stream event by event, and keeps of it only what tells of counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tallybook.dialects import streams
from tallybook.dialects.served import METRICS, Body, mapping
from tallybook.dialects.shape import follow
from tallybook.values import names_in, storable, text


def _whole(keys: str) -> dict[str, Any]:
    """Keys whose values are kept as they are."""
    return dict.fromkeys(names_in(keys))


# Which keys of an event are kept. A key that leads to keys keeps those of what it holds; content
# is not among them.
_USAGE: Final = _whole("usage usageMetadata usage_metadata service_tier")
_BODY: Final = {
    **_USAGE,
    **_whole("id object type role model modelVersion model_version responseId response_id"),
    **_whole("createTime created created_at status stop_reason conversation_id"),
    "conversation": _whole("id"),
    "meta": _whole("billed_units tokens"),
    "error": _whole("type code status"),
}
_EVENT: Final[Mapping[str, Any]] = {
    **_BODY,
    **_whole("provider request_id timings done prompt_eval_count eval_count event_type"),
    **_whole("prompt_filter_results"),
    METRICS: None,
    "x_groq": _whole("usage"),
    "message": _BODY,
    "response": _BODY,
    "delta": {**_whole("stop_reason"), **_USAGE},
    "content_block": {**_whole("type"), "to": _whole("model")},
    "metadata": _USAGE,
    "messageStart": {},
    "messageStop": _whole("stopReason"),
    "output": {},
}
_STARTS: Final = frozenset({"message_start", "response.created", "message-start"})


def cut_down(event: Body) -> Body:
    """The event without its content; what is kept of it is small."""
    inner = next(iter(streams.opened(event)), {})
    kept = _kept(inner, _EVENT)
    for key in ("choices", "candidates"):
        if isinstance(inner.get(key), list):
            kept[key] = [_choice(choice) for choice in inner[key][:1]]
    kept |= {**streams.told_by_item(inner), **streams.told_by_answer(inner)}
    if "response" in kept:
        kept["response"] |= streams.told_by_answer(mapping(inner["response"]))
    return kept


def _kept(value: Body, keys: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key in keys.keys() & value.keys():
        inner, below = value[key], keys[key]
        if below is not None and isinstance(inner, Mapping):
            kept[key] = _kept(inner, below)
        elif below is None and not (isinstance(inner, str) and len(inner) > 300):
            kept[key] = storable(inner)
        elif key == "error" and inner:
            kept[key] = {"type": "error"}
    return kept


def _choice(choice: object) -> Body:
    if not isinstance(choice, Mapping):
        return {}
    found = {"ended": True} if streams.has_ended(choice) else {}
    if follow(choice, ("delta", "role")):
        found["begun"] = True
    return found | {key: storable(choice[key]) for key in ("usage",) if choice.get(key)}


def begins_anew(events: Sequence[Body], event: Body) -> bool:
    """Whether `event` is the first of another answer than that of `events`; both are cut down."""
    if not events:
        return False
    if text(event.get("type")) in _STARTS or "messageStart" in event:
        return True
    before = next((found for key in _IDS for each in events if (found := each.get(key))), None)
    here = next((found for key in _IDS if (found := event.get(key))), None)
    ended = any(_is_ended(each) for each in events)
    if before and here and _is_chunk(event) and _is_chunk(events[-1]):
        # Some servers give every chunk of a chat an id of its own.
        return bool(before != here) and (ended or "candidates" in event or _says(event, "begun"))
    if not here and _is_chunk(event) and ended:
        return "candidates" in event or bool(event.get("prompt_filter_results"))
    return event.get("done") is not None and any(each.get("done") is True for each in events)


_IDS: Final = ("id", "responseId", "response_id")


def _is_chunk(event: Body) -> bool:
    return "choices" in event or "candidates" in event or "usageMetadata" in event


def _is_ended(event: Body) -> bool:
    return event.get("done") is True or _says(event, "ended")


def _says(event: Body, word: str) -> bool:
    return any(follow(event, (key, 0, word)) for key in ("choices", "candidates"))


def add_event(events: Sequence[Body], event: Body) -> list[Body]:
    """`events` with one more, both cut down, as few as tell the same."""
    if not events:
        return [event]
    if _is_chunk(event) and _is_chunk(events[-1]):
        ended = any(_is_ended(each) for each in (events[-1], event))
        merged = {**(streams.merge_stream([events[-1], event]) or {})}
        key = "choices" if "choices" in merged else "candidates"
        begun = events[-1].get(key) or event.get(key)
        merged[key] = [{"ended": True}] if ended else [{}] if begun else []
        return [*events[:-1], merged]
    if streams.told_by_item(event):
        return _with_item(events, event)
    return [*events, event] if _tells(event) else [*events]


def _with_item(events: Sequence[Body], event: Body) -> list[Body]:
    """`events` with what an item tells; all of them are one event."""
    before = [each for each in events if streams.told_by_item(each)]
    told = streams.told_together(map(streams.told_by_item, [*before, event]))
    others = [each for each in events if not streams.told_by_item(each)]
    return [*others, {"type": event["type"], **told}]


def is_last_word(events: Sequence[Body], event: Body) -> bool:
    """Whether `event` has the counts of the answer so far, in place of those of `events`."""
    if METRICS in event and any(_states_counts(each) for each in events):
        return False  # what Bedrock measured says again what the model's own events said
    return not events or _states_counts(event)


def _states_counts(event: Body) -> bool:
    holders = (event, *(mapping(event.get(key)) for key in ("message", "response", "delta")))
    stated = any(holder.get(key) for holder in holders for key in _COUNTS)
    return stated or any(
        follow(event, path)
        for path in (("metadata", "usage"), ("choices", 0, "usage"), ("x_groq", "usage"))
    )


_COUNTS: Final = ("usage", "usageMetadata", "usage_metadata", "meta", "eval_count", METRICS)


def _tells(event: Body) -> bool:
    """Whether the event says more than that the answer goes on."""
    return (
        _states_counts(event)
        or event.get("done") is True
        or any(event.get(key) for key in ("error", "message", "response", "messageStop"))
        or follow(event, ("delta", "stop_reason")) is not None
        or text(event.get("type")) in _STARTS
        or streams.goes_on_with(event) is not None
    )
