"""Streams of every shape against the body that they add up to, and what is kept of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.dialects.long_streams import add_event, begins_anew, cut_down
from tallybook.dialects.responses import Response, find_usage
from tallybook.dialects.streams import merge_stream, stream_events
from tallybook.dialects.usage import read_usage
from tallybook.schema import TOOL_COUNTS

Event = dict[str, Any]
TEXT = "what the model said"


def merged(events: Iterable[Event]) -> Response:
    body = merge_stream(events)
    assert body is not None
    response = find_usage(body)
    assert response is not None
    return response


def followed(events: Iterable[Event]) -> list[Response]:
    """The responses of a capture, with nothing kept of the events but what is cut down."""
    bodies, kept = [], list[Any]()
    for each in events:
        event = cut_down(each)
        if begins_anew(kept, event):
            bodies.append(merge_stream(kept))
            kept = []
        kept = add_event(kept, event)
        assert len(kept) < 6
        assert TEXT not in str(kept)
        kept = msgspec.msgpack.decode(msgspec.msgpack.encode(kept))
    bodies.append(merge_stream(kept))
    return [response for body in bodies if body and (response := find_usage(body))]


def chat(number: int, usage: Event | None = None, **more: Any) -> Event:
    delta = {"role": "assistant", "content": TEXT} if number == 0 else {"content": TEXT}
    end = "stop" if more.pop("end", False) else None
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": "gpt-5.2",
        "choices": [{"index": 0, "delta": delta, "finish_reason": end}],
        "usage": usage,
        **more,
    }


CHAT = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
START: Event = {
    "type": "message_start",
    "message": {
        "id": "msg_01a",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "usage": {
            "input_tokens": 5,
            "cache_creation_input_tokens": 9,
            "cache_read_input_tokens": 4,
            "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 7},
            "output_tokens": 1,
            "service_tier": "standard",
        },
    },
}
SAID = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": TEXT}}


def delta(**usage: Any) -> Event:
    return {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}


def response(kind: str, **more: Any) -> Event:
    body = {"object": "response", "id": "resp_1", "model": "gpt-5.2", "created_at": 1790000000}
    return {"type": f"response.{kind}", "response": {**body, **more}}


BUILT: dict[str, tuple[list[Event], Event]] = {
    "chat": (
        [chat(0), chat(1, end=True), {**chat(2, CHAT), "choices": []}],
        CHAT,
    ),
    "chat with running counts": (
        [
            chat(0, {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}),
            chat(1, CHAT, end=True),
        ],
        CHAT,
    ),
    "chat with the counts in the choice": (
        [chat(0), {**chat(1), "choices": [{"delta": {}, "finish_reason": "stop", "usage": CHAT}]}],
        CHAT,
    ),
    "chat with the counts in a place of its own": (
        [chat(0), chat(1, x_groq={"id": "r", "usage": CHAT})],
        CHAT,
    ),
    "chat with both": ([chat(0), chat(1, CHAT, x_groq={"usage": CHAT})], CHAT),
    "chat with metrics alone": (
        [chat(0), {**chat(1), "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3}}],
        {"inputTokenCount": 3},
    ),
    "messages": (
        [START, SAID, delta(output_tokens=8), {"type": "message_stop"}],
        {**START["message"]["usage"], "output_tokens": 8},
    ),
    "messages whose delta says all": (
        [START, delta(output_tokens=8, input_tokens=50, cache_read_input_tokens=None)],
        {**START["message"]["usage"], "output_tokens": 8, "input_tokens": 50},
    ),
    "messages with metrics that repeat them": (
        [
            START,
            delta(output_tokens=8),
            {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 5}},
        ],
        {**START["message"]["usage"], "output_tokens": 8},
    ),
    "responses": (
        [
            response("created", usage=None, service_tier="auto"),
            {"type": "response.output_text.delta", "delta": TEXT},
            response("completed", usage={"input_tokens": 5, "input_tokens_details": {}}),
        ],
        {"input_tokens": 5, "input_tokens_details": {}},
    ),
    "gemini": (
        [
            {"candidates": [{}], "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9}},
            {"candidates": [{}], "usageMetadata": {"promptTokenCount": 9, "thoughtsTokenCount": 4}},
            {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"totalTokenCount": 15}},
        ],
        {"promptTokenCount": 9, "thoughtsTokenCount": 4, "totalTokenCount": 15},
    ),
    "gemini in an envelope": (
        [{"response": {"candidates": [{}], "usageMetadata": {"promptTokenCount": 9}}, "x": 1}],
        {"promptTokenCount": 9},
    ),
    "ollama": (
        [
            {"model": "m", "created_at": "2026-09-21T14:13:20Z", "done": False, "response": TEXT},
            {"model": "m", "created_at": "2026-09-21T14:13:21Z", "done": True, "eval_count": 2},
        ],
        {"eval_count": 2},
    ),
    "converse": (
        [
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"delta": {"text": TEXT}}},
            {"messageStop": {"stopReason": "end_turn"}},
            {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 2}, "metrics": {}}},
        ],
        {"inputTokens": 1, "outputTokens": 2},
    ),
    "cohere": (
        [
            {"type": "message-start", "id": "c-1", "delta": {}},
            {"type": "content-delta", "delta": {"message": {"content": {"text": TEXT}}}},
            {"type": "message-end", "delta": {"usage": {"billed_units": {"input_tokens": 1}}}},
        ],
        {"billed_units": {"input_tokens": 1}},
    ),
    "cohere's first version": (
        [
            {"event_type": "text-generation", "text": TEXT},
            {
                "event_type": "stream-end",
                "response": {"response_id": "c", "meta": {"tokens": {"input_tokens": 1}}},
            },
        ],
        {"tokens": {"input_tokens": 1}},
    ),
    "chunks of no known kind": (
        [{"output": {"text": "a"}, "usage": {"input_tokens": 1}}, {"usage": {"input_tokens": 2}}],
        {"input_tokens": 2},
    ),
}


@pytest.mark.parametrize("name", BUILT)
def test_the_events_of_an_answer_add_up_to_its_body(name: str) -> None:
    events, usage = BUILT[name]
    assert merged(events).usage == usage
    assert [response.usage for response in followed(events)] == [usage]


def test_events_that_were_packed_for_transport_are_unpacked() -> None:
    packed = [
        {"chunk": {"bytes": base64.b64encode(json.dumps(event).encode()).decode()}}
        for event in BUILT["messages"][0]
    ]
    assert merged(packed).usage == BUILT["messages"][1]
    assert followed(packed)[0].usage == BUILT["messages"][1]
    assert merge_stream([{"chunk": {"bytes": "?"}}]) is None


def test_the_tier_is_the_one_that_served_not_the_one_asked_for() -> None:
    events = [
        response("created", usage=None, service_tier="auto"),
        response("completed", usage={"input_tokens": 5}, service_tier="flex"),
    ]
    assert merged(events).service_tier == "flex"
    assert merged(events[:1]).service_tier is None


@pytest.mark.parametrize("events", [[START], [START, SAID], [response("created", usage=None)]])
def test_a_stream_without_its_end_is_not_finished(events: list[Event]) -> None:
    assert merged(events).finished is False
    assert followed(events)[0].finished is False


def test_an_answer_that_ended_is_not_called_unfinished() -> None:
    assert merged([START, delta(output_tokens=1)]).finished is None


def test_lines_that_are_no_events_are_passed_over() -> None:
    data = (
        b": comment\nevent: x\ndata: "
        + json.dumps(chat(0)).encode()
        + b"\n\ndata:"
        + json.dumps({**chat(1, CHAT), "choices": []}).encode()
        + b'\n\ndata: [DONE]\n\ndata: {"cut'
    )
    assert merged(dict(event) for event in stream_events(data)).usage == CHAT


def two(first: list[Event], second: list[Event]) -> list[dict[str, Any] | None]:
    return [
        dict(response.usage) if response.usage else None for response in followed(first + second)
    ]


@pytest.mark.parametrize("name", ["messages", "responses", "ollama", "converse", "cohere"])
def test_two_answers_in_one_capture_are_two(name: str) -> None:
    events, usage = BUILT[name]
    assert two(events, events) == [usage, usage]


def test_two_chats_in_one_capture_are_told_apart_by_their_ids() -> None:
    first = [chat(0), {**chat(1, CHAT), "choices": []}]
    second = [{**event, "id": "chatcmpl-2"} for event in first]
    assert two(first, second) == [CHAT, CHAT]
    assert two(first[:1], second) == [None, CHAT]


def test_a_server_that_numbers_its_chunks_makes_one_answer() -> None:
    events = [{**chat(number), "id": f"chatcmpl-{number}"} for number in range(4)]
    assert two(events, [{**chat(4, CHAT), "id": "chatcmpl-4"}]) == [CHAT]


def test_two_answers_of_gemini_are_told_apart_by_id_or_by_the_end_of_the_first() -> None:
    chunk = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 9}}
    assert len(followed([chunk, chunk])) == 2
    open_end = {**chunk, "candidates": [{}]}
    assert len(followed([{**open_end, "responseId": "a"}, {**open_end, "responseId": "b"}])) == 2
    assert len(followed([{**open_end, "responseId": "a"}, {**open_end, "responseId": "a"}])) == 1


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=8), st.booleans())
def test_running_counts_are_never_added(counts: list[int], anthropic: bool) -> None:
    counts = sorted(counts)
    if anthropic:
        events = [START, *(delta(output_tokens=count) for count in counts)]
    else:
        events = [
            chat(n, {"prompt_tokens": 5, "completion_tokens": count, "total_tokens": 5 + count})
            for n, count in enumerate(counts)
        ]
    usage = read_usage(merged(events).usage or {})
    assert usage is not None
    assert usage.reported_output_tokens == counts[-1]


def test_tools_that_are_told_of_by_items_alone_are_those_of_the_answer() -> None:
    """The server of Codex leaves the items out of the last event; a page that is opened is free."""
    kinds = [
        "web_search_call",
        "file_search_call",
        "message",
        "web_search_call",
        "file_search_call",
    ]
    items: list[Event] = [{"type": kind, "content": TEXT} for kind in kinds]
    items.append({"type": "web_search_call", "action": {"type": "open_page"}, "note": TEXT})
    items.append({"type": "image_generation_call", "result": TEXT})
    answer = {"id": "resp_1", "object": "response", "model": "gpt-5", "output": []}
    done = answer | {"usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}}
    events: list[Event] = [
        {"type": "response.created", "response": answer},
        *({"type": "response.output_item.done", "item": item} for item in items),
        {"type": "response.completed", "response": done},
    ]
    for response in (merged(events), *followed(events)):
        assert response.tools is not None
        assert (response.searches, response.tools.others) == (2, True)
        assert dict(zip(TOOL_COUNTS, response.tools.counts or (), strict=True)) == dict.fromkeys(
            TOOL_COUNTS
        ) | {"file_search_calls": 2}
    # An answer that has its items tells of them itself.
    events[-1]["response"] = done | {"output": items[:2]}
    for response in (merged(events), *followed(events)):
        assert response.searches == 1
