"""The parts of a Codex line that say anything about usage, and how a line is decoded into them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tallybook.values import UNDECODABLE, decode

# Scalars are `Any` on purpose: a text where a number belongs must cost that number, not the line.


class Usage(msgspec.Struct, gc=False):
    """Token counts of one response, one turn or one thread, as logged."""

    input_tokens: Any = None
    cached_input_tokens: Any = None
    cache_write_input_tokens: Any = None
    output_tokens: Any = None
    reasoning_output_tokens: Any = None
    total_tokens: Any = None
    service_tier: Any = None


class Info(msgspec.Struct, gc=False):
    """What a `token_count` states: the thread's running total and the last response."""

    total_token_usage: Usage | None = None
    last_token_usage: Usage | None = None
    model: Any = None
    model_name: Any = None
    metadata: Any = None


class Settings(msgspec.Struct, gc=False):
    """The settings that `thread_settings_applied` put in force."""

    model: Any = None
    model_provider_id: Any = None
    service_tier: Any = None


class UsageRecord(msgspec.Struct, gc=False):
    """Payload of a `token_usage_record`: one response and the thread's total after it."""

    thread_id: Any = None
    turn_id: Any = None
    response_id: Any = None
    model: Any = None
    usage: Usage | None = None
    thread_token_usage: Usage | None = None


class Payload(UsageRecord, gc=False):
    """The union of all payloads that are read; one decoder for all is the fastest."""

    type: Any = None
    info: Info | None = None
    # session_meta
    id: Any = None
    session_id: Any = None
    timestamp: Any = None
    cwd: Any = None
    model_provider: Any = None
    source: Any = None
    thread_source: Any = None
    parent_thread_id: Any = None
    forked_from_id: Any = None
    agent_role: Any = None
    history_base: Any = None
    subagent_history_start_ordinal: Any = None
    # turn_context, task_started, thread_settings_applied, inter_agent_communication
    model_info: Any = None
    started_at: Any = None
    thread_settings: Settings | None = None
    trigger_turn: Any = None
    # compacted
    compaction_response_id: Any = None
    latest_token_usage_record: UsageRecord | None = None


class Message(Usage, gc=False):
    """`msg` of the first `codex exec --json` format, where the counts may lie flat."""

    type: Any = None
    info: Info | None = None
    session_id: Any = None
    model: Any = None


class Line(msgspec.Struct, gc=False):
    """A line of a rollout or a capture; what a line does not have is None."""

    type: Any = None
    timestamp: Any = None
    ordinal: Any = None
    payload: Payload | None = None
    # captures
    thread_id: Any = None
    usage: Usage | None = None
    model: Any = None
    msg: Message | None = None
    workdir: Any = None
    provider: Any = None
    # before the envelope
    id: Any = None
    record_type: Any = None


class Misshapen(msgspec.Struct):
    """A JSON object whose inner shape is not the one its type has."""

    type: str | None
    event: str | None  # type inside the payload
    complaint: str  # names the place, never the content


_DECODER: Final = msgspec.json.Decoder(Line)


def parse(line: bytes) -> Line | Misshapen | None:
    """The line's parts; None where the line is no JSON object."""
    try:
        return _DECODER.decode(line)
    except UNDECODABLE:
        return _parse_odd(line)


def _parse_odd(line: bytes) -> Line | Misshapen | None:
    value = decode(line)
    if not isinstance(value, dict):
        return None
    try:
        return msgspec.convert(value, Line)
    except msgspec.ValidationError as error:
        payload = value.get("payload") or value.get("msg")
        event = payload.get("type") if isinstance(payload, dict) else None
        return Misshapen(_name(value.get("type")), _name(event), str(error))


def _name(value: object) -> str | None:
    return value if isinstance(value, str) else None
