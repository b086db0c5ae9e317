"""Merges the events of one streamed answer into the body that an unstreamed one would have."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tallybook.dialects.responses import CUT_OFF, SEARCHES, searches
from tallybook.dialects.served import METRICS, Body, mapping
from tallybook.dialects.shape import follow
from tallybook.dialects.tools import NOTED, added_notes, note_of
from tallybook.values import count, decode, names_in, text

_DATA: Final = b"data:"
_TERMINAL: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.done"}
)
# Counts that a later event of Anthropic's stream replaces.
_REPLACED: Final = names_in(
    "input_tokens cache_creation_input_tokens cache_creation cache_read_input_tokens output_tokens"
    " output_tokens_details server_tool_use iterations fallback_credit"
)
# What a chunk of a chat says of the whole answer; the last statement of `_LATEST` stands.
_KEPT: Final = (
    *names_in("id created model provider request_id x_groq prompt_filter_results"),
    METRICS,
)
_LATEST: Final = ("usage", "service_tier", "timings", "error")


def stream_events(data: bytes) -> Iterator[Body]:
    """The JSON objects in saved server-sent events or JSON lines; all other lines are passed over.

    Lines may end with CR alone, and an event's data may stand on several of them, as the standard
    has it. A stream cut off in the middle of an event ends with the last whole one.
    """
    held: list[bytes] = []
    for raw in data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        line = raw.strip()
        is_sent = line.startswith(_DATA)
        event = None if held and is_sent else decode_event(line)
        if is_sent and event is None:
            held.append(line.removeprefix(_DATA))
            continue
        if event is not None or not line:
            yield from _joined(held)
            held = []
        if event is not None:
            yield event
    yield from _joined(held)


def _joined(lines: Sequence[bytes]) -> Iterator[Body]:
    """The event whose data stands on these lines; of what is none, the lines that are."""
    event = decode_event(b"\n".join(lines)) if len(lines) > 1 else None
    yield from [event] if event is not None else filter(None, map(decode_event, lines))


def decode_event(line: bytes) -> Body | None:
    """The JSON object on a line of a stream, after `data:` if it has that; None for none."""
    content = line.strip().removeprefix(_DATA).lstrip()
    if not content.startswith(b"{"):
        return None
    event = decode(content)
    return event if isinstance(event, dict) else None


def merge_stream(events: Iterable[Body]) -> Body | None:
    """The body that the events of one answer add up to, without its content; None if no event is.

    Counts of a stream are running ones, so the last statement of each stands and none are added.
    """
    seen = [inner for event in events for inner in opened(event)]
    for tells, merge in _MERGES:
        if any(tells(event) for event in seen):
            return merge(seen) if merge else _last(seen, tells)
    return None


def opened(event: Body) -> Iterator[Body]:
    """The event, or the one that an envelope around it holds."""
    packed = follow(event, ("chunk", "bytes"))
    inner = event.get("response")
    if isinstance(packed, str):
        yield from _unpacked(packed)
    elif isinstance(inner, Mapping) and ("usageMetadata" in inner or "candidates" in inner):
        yield inner
    else:
        yield event


def _unpacked(packed: str) -> Iterator[Body]:
    try:
        inner = decode_event(base64.b64decode(packed, validate=True))
    except (binascii.Error, ValueError):
        return
    if inner is not None:
        yield inner


def _merge_anthropic(events: Sequence[Body]) -> Body:
    """The start's message with the counts of each delta in place of its own.

    A start that says why the answer stopped is the whole of it.
    """
    start = next((mapping(event["message"]) for event in events if _has(event, "message")), {})
    body: dict[str, Any] = {"type": "message", **start, "usage": {**mapping(start.get("usage"))}}
    deltas = [event for event in events if event.get("type") == "message_delta"]
    for delta in deltas:
        usage = mapping(delta.get("usage"))
        stated = {key: usage[key] for key in _REPLACED if key in usage}
        body["usage"] = restated(body["usage"], stated)
        reason = follow(delta, ("delta", "stop_reason"))
        body["stop_reason"] = reason if reason is not None else body.get("stop_reason")
    # The start names the model that was asked; the block, the one that answered in its place.
    answering = [model for event in events if (model := goes_on_with(event)) is not None]
    body |= {"model": answering[-1]} if answering else {}
    is_whole = deltas or text(start.get("stop_reason")) is not None
    return body if is_whole else {**body, CUT_OFF: True}


def goes_on_with(event: Body) -> str | None:
    """The model that goes on from here in the place of another one, where an event says so."""
    block = mapping(event.get("content_block"))
    return text(mapping(block.get("to")).get("model")) if block.get("type") == "fallback" else None


def restated(before: Body, later: Body) -> dict[str, Any]:
    """Anthropic's counts with those of a later event; an old count takes its split along.

    Writes that grow have a lifetime in part only; the split of the start then says less than the
    whole, which the row shows.
    """
    stated = {key: value for key, value in later.items() if value is not None}
    counts = {**before, **stated}
    written = stated.get("cache_creation_input_tokens")
    if written is not None and "cache_creation" not in stated:
        split = mapping(before.get("cache_creation")).values()
        if sum(n for each in split if (n := count(each, []))) > (count(written, []) or 0):
            counts.pop("cache_creation")
    output = stated.get("output_tokens", before.get("output_tokens"))
    if output != before.get("output_tokens") and "output_tokens_details" not in stated:
        counts.pop("output_tokens_details", None)
    return counts


def _is_responses(event: Body) -> bool:
    kind = event.get("type")
    return isinstance(kind, str) and kind.startswith("response.")


def _merge_responses(events: Sequence[Body]) -> Body:
    whole = [e for e in events if text(e.get("type")) in _TERMINAL and _has(e, "response")]
    if whole:
        return _with_items({**whole[-1]["response"]}, events)
    begun = [event["response"] for event in events if _has(event, "response")]
    body = {**begun[-1]} if begun else {"object": "response"}
    # What is stated at the start was asked for, not what was served.
    body.pop("service_tier", None)
    return _with_items({**body, CUT_OFF: True}, events)


def _with_items(body: dict[str, Any], events: Sequence[Body]) -> Body:
    """The body with what the items of its answer tell of, where it has none of them itself.

    The server of Codex sends each when it is done, and leaves them out at the end.
    """
    if body.get("output") or SEARCHES in body or NOTED in body:
        return body
    body.update(told_together(map(told_by_item, events)))
    return body


def told_by_item(event: Body) -> Body:
    """What an event tells of searches and tools by the item of an answer that is done with it."""
    if event.get("type") != _ITEM_DONE:
        return {}
    if SEARCHES in event or NOTED in event:
        return {key: event[key] for key in (SEARCHES, NOTED) if key in event}
    return told_by_answer({"output": [mapping(event.get("item"))]})


def told_by_answer(answer: Body) -> Body:
    """What an answer, or a part of one, tells of searches and tools."""
    told = {SEARCHES: searches(answer), NOTED: note_of([answer])}
    return {key: value for key, value in told.items() if value is not None}


def told_together(told: Iterable[Body]) -> dict[str, Any]:
    """What several items tell of searches and tools."""
    found = [each for each in told if each]
    ran = sum(each.get(SEARCHES) or 0 for each in found)
    notes = [each[NOTED] for each in found if NOTED in each]
    return ({SEARCHES: ran} if ran else {}) | ({NOTED: added_notes(notes)} if notes else {})


_ITEM_DONE: Final = "response.output_item.done"


def _merge_gemini(events: Sequence[Body]) -> Body:
    """The last statement of the counts, see `_succeeded`."""
    body: dict[str, Any] = {"candidates": []}
    for event in events:
        for key in ("usageMetadata", "usage_metadata"):
            if _has(event, key):
                stated = {name: n for name, n in event[key].items() if n is not None}
                body[key] = _succeeded(mapping(body.get(key)), stated)
        for key in ("modelVersion", "model_version", "responseId", "response_id", "createTime"):
            if event.get(key) is not None:
                body[key] = event[key]
    if ran := max((searches(event) or 0 for event in events), default=0):
        body[SEARCHES] = ran
    if (note := note_of(events)) is not None:
        body[NOTED] = note
    listed = (event.get("candidates") for event in events)
    candidates = [each for found in listed if isinstance(found, list) for each in found]
    broken_off = candidates and not any(map(has_ended, candidates))
    return {**body, CUT_OFF: True} if broken_off else body


class _Names(NamedTuple):
    """What Gemini calls its counts; the total is the sum of `parts`, and `cached` lies in one."""

    total: str
    prompt: str
    cached: str
    thoughts: str
    answers: tuple[str, ...]
    tools: str

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.prompt, self.thoughts, *self.answers, self.tools)


_GEMINI: Final = (
    _Names(
        "totalTokenCount",
        "promptTokenCount",
        "cachedContentTokenCount",
        "thoughtsTokenCount",
        ("candidatesTokenCount", "responseTokenCount"),
        "toolUsePromptTokenCount",
    ),
    _Names(
        "total_token_count",
        "prompt_token_count",
        "cached_content_token_count",
        "thoughts_token_count",
        ("candidates_token_count", "response_token_count"),
        "tool_use_prompt_token_count",
    ),
)


def _succeeded(before: Body, stated: Body) -> dict[str, Any]:
    """The counts of a chunk, with those of earlier chunks that it leaves out.

    Later chunks leave out some that earlier ones had. But where its own counts make up its total,
    a chunk leaves out nothing; and what was cached was so of the prompt of then.
    """
    names = _GEMINI["total_token_count" in stated or "prompt_token_count" in stated]
    left = {name: n for name, n in before.items() if name not in stated}
    parts = [n for name in names.parts if (n := count(stated.get(name), [])) is not None]
    if parts and sum(parts) == stated.get(names.total):
        answered = max(count(stated.get(name), []) or 0 for name in names.answers)
        # Some gateways have the thoughts inside of the answer.
        thought = count(left.get(names.thoughts), []) or 0
        inside = {names.thoughts} if thought <= answered else set()
        left = {name: n for name, n in left.items() if name not in {*names.parts} - inside}
    if stated.get(names.prompt, before.get(names.prompt)) != before.get(names.prompt):
        left.pop(names.cached, None)
    changed = any(before.get(name) not in (None, stated.get(name)) for name in names.parts)
    if parts and changed:
        left.pop(names.total, None)
    return {**left, **stated}


def has_ended(choice: object) -> bool:
    """Whether a choice of a chat, or a candidate of Gemini's, says why it ended."""
    return any(follow(choice, (key,)) for key in ("finish_reason", "finishReason", "ended"))


def _merge_chat(events: Sequence[Body]) -> Body:
    """The first statement of what the chunks repeat, the last one of counts and tier."""
    body: dict[str, Any] = {}
    for event in events:
        stated = {key: event[key] for key in (*_KEPT, *_LATEST) if event.get(key)}
        for path in (("choices", 0, "usage"), ("x_groq", "usage")):
            if isinstance(inner := follow(event, path), Mapping):
                stated.setdefault("usage", inner)
        last: dict[str, Any] = {key: stated[key] for key in _LATEST if key in stated}
        body = {**stated, **body, **last}
    return {**body, "object": "chat.completion", "choices": []}


def _is_ollama(event: Body) -> bool:
    return "done" in event and "created_at" in event


def _merge_ollama(events: Sequence[Body]) -> Body:
    done = [event for event in events if event.get("done") is True]
    return done[-1] if done else {**_last(events, _is_ollama), CUT_OFF: True}


def _is_converse(event: Body) -> bool:
    return _has(event, "metadata") and _has(event["metadata"], "usage")


def _merge_converse(events: Sequence[Body]) -> Body:
    metadata = _last(events, _is_converse)["metadata"]
    stop = follow(_last(events, lambda e: _has(e, "messageStop")), ("messageStop", "stopReason"))
    return {**metadata, "output": {}, "stopReason": stop}


def _is_cohere(event: Body) -> bool:
    return event.get("type") == "message-end" or event.get("event_type") == "stream-end"


def _merge_cohere(events: Sequence[Body]) -> Body:
    end = _last(events, _is_cohere)
    if _has(end, "response"):
        return {**end["response"]}
    start = _last(events, lambda event: event.get("type") == "message-start")
    usage = follow(end, ("delta", "usage"))
    return {"id": start.get("id") or end.get("id"), "usage": usage}


def _has(event: Body, key: str) -> bool:
    return isinstance(event.get(key), Mapping)


def _last(events: Sequence[Body], tells: Callable[[Body], bool]) -> Body:
    return next((event for event in reversed(events) if tells(event)), {})


_GEMINI_KEYS: Final = frozenset({"usageMetadata", "usage_metadata", "candidates"})
# What tells the events of a kind, and how they are merged; where nothing is said, the last stands.
_MERGES: Final[
    tuple[tuple[Callable[[Body], bool], Callable[[Sequence[Body]], Body] | None], ...]
] = (
    (lambda event: event.get("type") in ("message_start", "message_delta"), _merge_anthropic),
    (_is_responses, _merge_responses),
    (lambda event: not _GEMINI_KEYS.isdisjoint(event), _merge_gemini),
    (lambda event: isinstance(event.get("choices"), list), _merge_chat),
    (_is_ollama, _merge_ollama),
    (_is_converse, _merge_converse),
    (_is_cohere, _merge_cohere),
    (lambda event: _has(event, METRICS), None),
    # Chunks of no known kind: each repeats the counts so far.
    (lambda event: _has(event, "usage"), None),
    (lambda event: bool(event.get("error")), None),
)
