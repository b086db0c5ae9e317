"""Tells by structure alone whether a file is Codex's; neither its writer nor version counts."""

from __future__ import annotations

import re
from typing import Any, Final

from tallybook.sources.lines import Head
from tallybook.values import UUID, text

_ENVELOPE: Final = frozenset(
    {
        "session_meta",
        "response_item",
        "event_msg",
        "turn_context",
        "compacted",
        "token_usage_record",
        "world_state",
        "inter_agent_communication",
        "inter_agent_communication_metadata",
        "retained_context",
        "security_risk_score",
        "realtime_item",
    }
)
_RECORD_TYPES: Final = frozenset(
    {"response", "event", "session_meta", "prev_session_meta", "state"}
)
_HEADER_KEYS: Final = frozenset({"id", "timestamp", "instructions", "git", "record_type"})
_FIRST_ONES: Final = 8
_LOOKED_AT: Final = 64  # lines; saved output may begin with words of a wrapper

_DOCUMENT: Final = re.compile(rb'\s*\{\s*"session"\s*:\s*\{\s*"(?:timestamp|id|instructions)"\s*:')
_DOCUMENT_ITEMS: Final = re.compile(rb'"items"\s*:\s*\[')
_CUT_HEADER: Final = re.compile(
    rb'\s*\{(?=[^\n]*"type"\s*:\s*"session_meta")(?=[^\n]*"payload"\s*:\s*\{)'
)
_DOCUMENT_START: Final = re.compile(rb'\s*\{(?:\s*"session"\s*:|\s*\n|\s*$)')


def sniff(head: Head) -> bool:
    """Whether a file begins like a rollout of any era or like saved `exec --json` output."""
    if _DOCUMENT.match(head.content):
        return _DOCUMENT_ITEMS.search(head.content) is not None
    for value in head.objects(_LOOKED_AT):
        verdict = _judge(value, head)
        if verdict is not None:
            return verdict and (_is_header(value) or _goes_on(head))
    return bool(_CUT_HEADER.match(head.content))


def is_document(first: bytes) -> bool:
    """Whether a file that begins like this is one JSON document, maybe over several lines."""
    return _DOCUMENT_START.match(first) is not None


def _judge(value: dict[str, Any], head: Head) -> bool | None:
    """True, False, or None where the object could stand in other logs as well."""
    if "payload" in value:
        return _is_envelope(value)
    if value.keys() <= _HEADER_KEYS:
        return _is_bare_header(value, head)
    if _is_message(value) or _is_exec(value) or {"workdir", "provider", "model"} <= value.keys():
        return True
    return None if value.keys() == {"prompt"} else False


def _is_header(value: dict[str, Any]) -> bool:
    """Whether a line is one that files begin with, and not any of a thread's."""
    if value.get("type") in ("session_meta", "thread.started") or "workdir" in value:
        return True
    return value.keys() <= _HEADER_KEYS


def _goes_on(head: Head) -> bool:
    """Whether most of the first lines are Codex's; a single one may stand in front of another's."""
    judged = [_judge(value, head) for value in head.objects(_FIRST_ONES)]
    return judged.count(True) > judged.count(False)


def _is_envelope(value: dict[str, Any]) -> bool | None:
    whole = isinstance(value["payload"], dict) and "timestamp" in value
    if whole and text(value.get("type")) in _ENVELOPE:
        return True
    return None if whole and isinstance(value.get("type"), str) else False


def _is_bare_header(value: dict[str, Any], head: Head) -> bool:
    if text(value.get("record_type")) in _RECORD_TYPES:
        return True
    is_header = UUID.fullmatch(str(value.get("id"))) is not None and "timestamp" in value
    if not is_header or "instructions" in value:
        return is_header
    return any(map(_is_bare_item, head.objects(_LOOKED_AT)))


def _is_bare_item(value: dict[str, Any]) -> bool:
    return text(value.get("record_type")) in _RECORD_TYPES or (
        value.get("type") in ("message", "reasoning", "function_call", "local_shell_call")
        and "timestamp" not in value
    )


def _is_message(value: dict[str, Any]) -> bool:
    message = value.get("msg")
    return "id" in value and isinstance(message, dict) and isinstance(message.get("type"), str)


def _is_exec(value: dict[str, Any]) -> bool:
    match value:
        case (
            {"type": "thread.started", "thread_id": str()}
            | {"type": "turn.started"}
            | {"type": "turn.completed", "usage": dict()}
            | {"type": "turn.failed", "error": dict()}
            | {"type": "item.started" | "item.updated" | "item.completed", "item": dict()}
        ):
            return True
    return False
