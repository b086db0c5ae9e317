"""What a provider answers on the wire: the three APIs, streamed and whole, with their usage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

Api = Literal["responses", "chat", "messages"]
Event = tuple[str | None, dict[str, Any]]  # the name of a server-sent event, and its data

# A PNG of one point.
PICTURE: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)


@dataclass(frozen=True)
class Counts:
    """The tokens of one call in disjoint buckets; `reasoning` is part of `output`."""

    uncached: int = 0
    cached: int = 0
    written: int = 0
    written_1h: int = 0  # part of `written`
    output: int = 0
    reasoning: int = 0

    @property
    def prompt(self) -> int:
        """All tokens of the prompt."""
        return self.uncached + self.cached + self.written


def counts_of(number: int, *, writes: bool = True) -> Counts:
    """Counts that no other call of a run has, not one of them, so that each names its call."""
    written = 701 + 11 * number if writes else 0
    return Counts(
        uncached=4003 + 13 * number,
        cached=20011 + 101 * number,
        written=written,
        written_1h=written // 3,
        output=307 + 7 * number,
        reasoning=53 + 3 * number,
    )


def mark(number: int) -> str:
    """Make the word that stands in the id, the text and the tool call of one answer alone."""
    return f"standin{number:05d}"


@dataclass(frozen=True)
class Tool:
    """A tool that the model asks for; `space` is the group that the client offers it in."""

    name: str
    arguments: Any
    space: str | None = None


@dataclass(frozen=True)
class Reply:
    """One answer of the model: what it says, and what it cost."""

    number: int
    id: str
    model: str
    counts: Counts
    thinking: bool = False
    tool: Tool | None = None
    asked: int = 1  # how often it asks for the tool at once
    searches: int = 0  # that the provider ran for it
    incomplete: bool = False  # the model ran into its limit of output
    usage: bool = True  # a provider may leave it out
    start: int = 1  # tokens of output that the start of a stream states

    @property
    def text(self) -> str:
        """What it says, which no other answer says."""
        return f"It is done as asked, {mark(self.number)}."

    @property
    def calls(self) -> list[str]:
        """The ids of the tool's calls."""
        first = f"call_{mark(self.number)}"
        return [first, *(f"{first}_{again}" for again in range(2, self.asked + 1))]


def usage_of(api: Api, counts: Counts) -> dict[str, Any]:
    """State counts as the API states them: OpenAI's prompt holds the cached, Anthropic's not."""
    if api == "messages":
        return {
            "input_tokens": counts.uncached,
            "cache_creation_input_tokens": counts.written,
            "cache_read_input_tokens": counts.cached,
            "cache_creation": {
                "ephemeral_5m_input_tokens": counts.written - counts.written_1h,
                "ephemeral_1h_input_tokens": counts.written_1h,
            },
            "output_tokens": counts.output,
            "service_tier": "standard",
        }
    sums = ("input", "output") if api == "responses" else ("prompt", "completion")
    details = {"cached_tokens": counts.cached}
    if counts.written:
        details["cache_write_tokens"] = counts.written
    return {
        f"{sums[0]}_tokens": counts.prompt,
        f"{sums[0]}_tokens_details": details,
        f"{sums[1]}_tokens": counts.output,
        f"{sums[1]}_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": counts.prompt + counts.output,
    }


def whole(api: Api, reply: Reply) -> dict[str, Any]:
    """Make the body of an answer that is not streamed."""
    if api == "responses":
        return _response(reply, "incomplete" if reply.incomplete else "completed")
    return _completion(reply) if api == "chat" else _message(reply)


def stream(api: Api, reply: Reply, *, trailing: bool = True) -> Iterator[Event]:
    """Make the events of a streamed answer, in order.

    `trailing` says whether a chat stream states its usage in a chunk of its own behind the
    last choice, or in the chunk that ends the choice.
    """
    if api == "responses":
        return _response_events(reply)
    return _chat_events(reply, trailing) if api == "chat" else _message_events(reply)


def encoded(event: Event) -> bytes:
    """Write an event as it goes over the wire."""
    name, data = event
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


# OpenAI Responses


def _items(reply: Reply) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if reply.thinking:
        part = {"type": "summary_text", "text": "Thought about it."}
        made.append({"type": "reasoning", "id": f"rs_{reply.id}", "summary": [part]})
    for search in range(reply.searches):
        action = {"type": "search", "query": "news"}
        search_id = f"ws_{reply.id}_{search}"
        made.append(
            {"type": "web_search_call", "id": search_id, "status": "completed", "action": action}
        )
    if reply.tool is None:
        content = [{"type": "output_text", "text": reply.text, "annotations": []}]
        message = {"type": "message", "id": f"msg_{reply.id}", "role": "assistant"}
        made.append({**message, "status": "completed", "content": content})
    else:
        space = {"namespace": reply.tool.space} if reply.tool.space else {}
        asked = {**space, "name": reply.tool.name, "arguments": json.dumps(reply.tool.arguments)}
        for call in reply.calls:
            item = {"type": "function_call", "id": call.replace("call", "fc"), "call_id": call}
            made.append({**item, **asked})
    return made


def _response(reply: Reply, status: str) -> dict[str, Any]:
    usage = usage_of("responses", reply.counts) if reply.usage and status != "in_progress" else None
    cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
    return {
        "id": reply.id,
        "object": "response",
        "created_at": 1790000000 + reply.number,
        "status": status,
        "incomplete_details": cut,
        "model": reply.model,
        "output": [] if status == "in_progress" else _items(reply),
        "usage": usage,
    }


def _response_events(reply: Reply) -> Iterator[Event]:
    for sequence, (name, data) in enumerate(_response_parts(reply)):
        yield name, {"type": name, "sequence_number": sequence, **data}


def _response_parts(reply: Reply) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "response.created", {"response": _response(reply, "in_progress")}
    for index, item in enumerate(_items(reply)):
        at = {"output_index": index, "item_id": item["id"]}
        yield "response.output_item.added", {"output_index": index, "item": _begun(item)}
        yield from _response_item(item, at)
        yield "response.output_item.done", {"output_index": index, "item": item}
    end = "incomplete" if reply.incomplete else "completed"
    yield f"response.{end}", {"response": _response(reply, end)}


def _begun(item: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {"content": [], "summary": [], "arguments": ""}
    return {key: empty.get(key, value) for key, value in item.items()}


def _response_item(
    item: dict[str, Any], at: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    if item["type"] == "message":
        part = item["content"][0]
        at = {**at, "content_index": 0}
        yield "response.content_part.added", {**at, "part": {**part, "text": ""}}
        yield "response.output_text.delta", {**at, "delta": part["text"]}
        yield "response.output_text.done", {**at, "text": part["text"]}
        yield "response.content_part.done", {**at, "part": part}
    elif item["type"] == "function_call":
        yield "response.function_call_arguments.delta", {**at, "delta": item["arguments"]}
        yield "response.function_call_arguments.done", {**at, "arguments": item["arguments"]}


# OpenAI chat completions


def _completion(reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text}
    if reply.tool is not None:
        calls = [_chat_tool(call, reply.tool) for call in reply.calls]
        message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": _finish(reply)}
    answer = {**_chat_head(reply, "chat.completion"), "choices": [choice]}
    return {**answer, "usage": usage_of("chat", reply.counts)} if reply.usage else answer


def _chat_head(reply: Reply, kind: str) -> dict[str, Any]:
    created = 1790000000 + reply.number
    return {"id": reply.id, "object": kind, "created": created, "model": reply.model}


def _chat_tool(call: str, tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "arguments": json.dumps(tool.arguments)}
    return {"id": call, "type": "function", "function": function}


def _finish(reply: Reply) -> str:
    if reply.incomplete:
        return "length"
    return "stop" if reply.tool is None else "tool_calls"


def _chat_events(reply: Reply, trailing: bool) -> Iterator[Event]:
    head = _chat_head(reply, "chat.completion.chunk")
    usage = {"usage": usage_of("chat", reply.counts)} if reply.usage else {}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield None, chunk({"role": "assistant", "content": ""})
    if reply.tool is None:
        yield None, chunk({"content": reply.text})
    else:
        for index, call in enumerate(reply.calls):
            yield None, chunk({"tool_calls": [{"index": index, **_chat_tool(call, reply.tool)}]})
    end = chunk({}, _finish(reply))
    yield None, end if trailing else {**end, **usage}
    if trailing and usage:
        yield None, {**head, "choices": [], **usage}


# Anthropic messages


def _blocks(reply: Reply) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if reply.thinking:
        made.append({"type": "thinking", "thinking": "Thought about it.", "signature": "c2ln"})
    for search in range(reply.searches):
        use = f"srvtoolu_{mark(reply.number)}_{search}"
        asked = {"type": "server_tool_use", "id": use, "name": "web_search", "input": {}}
        found = {"type": "web_search_tool_result", "tool_use_id": use, "content": []}
        made += [asked, found]
    if reply.tool is None:
        made.append({"type": "text", "text": reply.text})
    else:
        for call in reply.calls:
            block = {"type": "tool_use", "id": call.replace("call_", "toolu_")}
            made.append({**block, "name": reply.tool.name, "input": reply.tool.arguments})
    return made


def _stop(reply: Reply) -> str:
    if reply.incomplete:
        return "max_tokens"
    return "end_turn" if reply.tool is None else "tool_use"


def _message(reply: Reply) -> dict[str, Any]:
    return {
        "id": reply.id,
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": _blocks(reply),
        "stop_reason": _stop(reply),
        "stop_sequence": None,
        "usage": _message_usage(reply),
    }


def _message_usage(reply: Reply) -> dict[str, Any]:
    usage = usage_of("messages", reply.counts)
    used = {"web_search_requests": reply.searches, "web_fetch_requests": 0}
    return {**usage, "server_tool_use": used} if reply.searches else usage


def _message_events(reply: Reply) -> Iterator[Event]:
    whole_usage = _message_usage(reply)
    start = {**_message(reply), "content": [], "stop_reason": None}
    start["usage"] = {**whole_usage, "output_tokens": reply.start}
    yield "message_start", {"type": "message_start", "message": start}
    for index, block in enumerate(_blocks(reply)):
        for name, data in _block_events(block):
            yield name, {"type": name, "index": index, **data}
    delta = {"stop_reason": _stop(reply), "stop_sequence": None}
    usage = {"output_tokens": reply.counts.output}
    if reply.searches:
        usage = {**whole_usage, **usage}
    yield "message_delta", {"type": "message_delta", "delta": delta, "usage": usage}
    yield "message_stop", {"type": "message_stop"}


def _block_events(block: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = block["type"]
    begun: dict[str, Any] = {**block, "text": ""} if kind == "text" else block
    deltas: list[dict[str, Any]] = []
    if kind == "text":
        deltas = [{"type": "text_delta", "text": block["text"]}]
    elif kind == "thinking":
        begun = {**block, "thinking": "", "signature": ""}
        deltas = [
            {"type": "thinking_delta", "thinking": block["thinking"]},
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    elif kind != "web_search_tool_result":
        begun = {**block, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
    yield "content_block_start", {"content_block": begun}
    for delta in deltas:
        yield "content_block_delta", {"delta": delta}
    yield "content_block_stop", {}
