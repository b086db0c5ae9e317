"""The parts of a Claude Code line that are read; what else it holds is skipped undecoded."""

from __future__ import annotations

from typing import Any

import msgspec

from tallybook import values
from tallybook.values import UNDECODABLE

# Leaves are `Any`: a count written as text must not cost the line its other counts. Only what may
# hold megabytes beside the part that matters (contents, tool results) has a shape of its own.


class Message(msgspec.Struct, gc=False):
    """A response of the API, without its content."""

    model: Any = None
    id: Any = None
    stop_reason: Any = msgspec.UNSET  # absent says nothing, null says "not finished yet"
    usage: Any = None


class Carried(msgspec.Struct, rename={"request_id": "requestId", "agent_type": "attributionAgent"}):
    """A sub-agent's line inside a progress line of the thread that waits for it."""

    type: Any = None
    timestamp: Any = None
    request_id: Any = None
    uuid: Any = None
    agent_type: Any = None
    message: Message | None = None


class Progress(msgspec.Struct, rename={"agent_id": "agentId"}):
    """The payload of a progress line."""

    agent_id: Any = None
    message: Carried | None = None


class Event(msgspec.Struct):
    """A raw event of the streaming API."""

    type: Any = None
    message: Message | None = None
    delta: Any = None
    usage: Any = None


class Line(
    msgspec.Struct,
    gc=False,
    rename={
        "parent_uuid": "parentUuid",
        "session": "sessionId",
        "request_id": "requestId",
        "asking_session": "requestSessionId",
        "agent_id": "agentId",
        "agent_type": "attributionAgent",
        "is_sidechain": "isSidechain",
        "forked_from": "forkedFrom",
        "block_index": "apiBlockIndex",
        "advisor_model": "advisorModel",
        "requested_model": "requestedModel",
        "cost": "costUSD",
        "is_meta": "isMeta",
        "is_aborted": "isAbortedMidStream",
        "cut_cause": "streamCutCause",
        "compaction": "compactMetadata",
        "waiting_tool_use_id": "parentToolUseID",
        "model_usage": "modelUsage",
        "turn_usage": "model_usage_since_last_result",
        "start_time": "startTime",
        "client_version": "claude_code_version",
        "input_tokens": "inputTokens",
        "output_tokens": "outputTokens",
        "cached_tokens": "cacheReadInputTokens",
        "cache_creation_tokens": "cacheCreationInputTokens",
    },
):
    """A line of a transcript, or a message of saved standard output."""

    # In the order of a response, for a key is looked for from the one before it on.
    parent_uuid: Any = None
    is_sidechain: Any = None
    agent_id: Any = None
    cwd: Any = None
    session: Any = None  # transcripts; standard output says `session_id`
    version: Any = None  # of the client
    message: Message | None = None
    block_index: Any = None
    request_id: Any = None
    type: Any = None
    uuid: Any = None
    timestamp: Any = None
    asking_session: Any = None  # of a line that a fork copied: the session that it is of
    agent_type: Any = None
    forked_from: Any = None
    advisor_model: Any = None
    requested_model: Any = None
    cost: Any = None
    is_meta: Any = None  # a prompt that the client wrote
    is_aborted: Any = None
    cut_cause: Any = None  # why the stream of the response before broke off
    error: Any = None  # that the client met instead of an answer
    compaction: Any = None  # how long the conversation was before it was shortened, and after
    data: Progress | None = None
    waiting_tool_use_id: Any = None
    model_usage: Any = None
    turn_usage: Any = None  # of the same shape: what came since the result before
    subagent_stats: Any = None  # of a result
    start_time: Any = None
    # Counts of the oldest lines, which had no usage object.
    input_tokens: Any = None
    output_tokens: Any = None
    cached_tokens: Any = None
    cache_creation_tokens: Any = None
    # Standard output.
    subtype: Any = None
    client_version: Any = None  # in the first message
    role: Any = None  # in place of the type, in the first builds
    session_id: Any = None
    parent_tool_use_id: Any = None
    model: Any = None
    event: Event | None = None
    usage: Any = None
    result: Any = None  # what the run answered
    total_cost_usd: Any = None
    total_cost: Any = None  # until 1.0.21
    cost_usd: Any = None  # older still


class Ended(msgspec.Struct, rename={"agent_id": "agentId", "total_tokens": "totalTokens"}):
    """What the tool that ran a sub-agent says of its end: the counts of its last response."""

    agent_id: Any = None
    total_tokens: Any = None
    usage: Any = None


class EndLine(msgspec.Struct, rename={"result": "toolUseResult"}):
    """The part of a user's line that tells the end of a sub-agent."""

    result: Ended | None = None


_END = msgspec.json.Decoder(EndLine)
_LINE = msgspec.json.Decoder(Line)
_LINES = msgspec.json.Decoder(list[Line])
_SHAPED = frozenset({"message", "data", "event"})
_LEVELS = 3  # a message in a payload's message


def decode(raw: bytes) -> Line | None:
    """The line, or None where it is no JSON object."""
    try:
        return _LINE.decode(raw)
    except UNDECODABLE:
        return _as_line(values.decode(raw))


def decode_end(raw: bytes) -> Ended | None:
    """The end of a sub-agent that a line tells, if it does."""
    try:
        return _END.decode(raw).result
    except UNDECODABLE:
        return None


def decode_document(raw: bytes) -> Line | list[Line | None] | None:
    """One object, or the elements of an array (None for one that is no object); None if neither."""
    if not raw.lstrip().startswith(b"["):
        return decode(raw)
    try:
        return list(_LINES.decode(raw))
    except UNDECODABLE:
        value = values.decode(raw)
    return [_as_line(element) for element in value] if isinstance(value, list) else None


def _as_line(value: object) -> Line | None:
    return msgspec.convert(_fitting(value, _LEVELS), Line) if isinstance(value, dict) else None


def _fitting(value: dict[str, Any], levels: int) -> dict[str, Any]:
    """The object without such messages, payloads and events as are no objects."""
    return {
        key: _fitting(inner, levels - 1) if key in _SHAPED and levels else inner
        for key, inner in value.items()
        if key not in _SHAPED or isinstance(inner, dict)
    }
