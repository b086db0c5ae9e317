"""Recognises Claude Code files by their first lines, and no other tool's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from tallybook.sources.lines import ARRAY, Head
from tallybook.values import decode, one_by_one

BOM: Final = b"\xef\xbb\xbf"
AGENT_FILE: Final = re.compile(r"agent-(.+?)\.jsonl")  # of a sub-agent

_LOOKED_AT: Final = 100  # lines or elements; titles and queue operations may fill the first dozens

_ENOUGH: Final = 8  # lines of ours without a foreign one among them

# Transcript lines that carry no session id, and a key that only theirs have.
_LONE: Final = {
    "summary": "leafUuid",
    "file-history-snapshot": "messageId",
    "fork-context-ref": "parentSessionId",
}
# Messages of standard output, and a key that each has at least one of.
_CAPTURED: Final = {
    "system": {"subtype"},
    "assistant": {"message"},
    "user": {"message"},
    "stream_event": {"event"},
    "rate_limit_event": {"rate_limit_info"},
    "result": {"modelUsage", "total_cost_usd", "total_cost", "cost_usd", "duration_api_ms"},
}
# The result of a run in the first builds (0.2), which says `role` and no `type`.
_FIRST_RESULT: Final = frozenset({"cost_usd", "duration_api_ms", "session_id"})
# Other tools write the same envelope around messages of a different provider: Qwen Code with the
# first three keys, Gemini CLI with the last two, and in its list of prompts a message as text.
_FOREIGN: Final = frozenset({"usageMetadata", "systemPayload", "payload", "projectHash", "tokens"})

_BEFORE: Final = re.compile(r"[\s,]*(?=\{)")  # what may stand before an element
_CUT_TRANSCRIPT: Final = (
    re.compile(rb'"sessionId"\s*:\s*"'),
    re.compile(rb'"(?:parentUuid|isSidechain|userType)"\s*:'),
)
_CUT_CAPTURE: Final = (
    re.compile(rb'"session_id"\s*:\s*"'),
    re.compile(rb'"(?:modelUsage|total_cost(?:_usd)?|cost_usd|parent_tool_use_id)"\s*:'),
)


def sniff(head: Head) -> bool:
    """Whether the first bytes of a file are a transcript or standard output of Claude Code."""
    objects, ours = 0, 0
    for value in islice(_values(head), _LOOKED_AT):
        if not isinstance(value, dict):
            continue
        if _is_foreign(value):
            return False
        objects += 1
        ours += _is_ours(value)
        if ours == _ENOUGH:
            break
    return ours > 0 or (objects == 0 and _is_ours_cut_off(head.content))


def _values(head: Head) -> Iterator[object]:
    """The values on the first lines, or in the document that the head begins with."""
    content = head.content.lstrip()
    if ARRAY.match(content):
        yield from one_by_one(content[1:].decode("utf-8", "replace"), _BEFORE)
    elif re.match(rb"\{\s*\n", content):
        end = re.search(rb"^\}", content, re.MULTILINE)
        yield decode(content[: end.end()]) if end else None
    else:
        yield from head.values(_LOOKED_AT)


def _is_foreign(value: dict[str, Any]) -> bool:
    message = value.get("message")
    is_other = isinstance(message, str) or (isinstance(message, dict) and "parts" in message)
    return is_other or not _FOREIGN.isdisjoint(value)


def _is_ours(value: dict[str, Any]) -> bool:
    kind = value.get("type")
    if not isinstance(kind, str):
        return kind is None and value.get("role") == "system" and value.keys() >= _FIRST_RESULT
    if isinstance(value.get("sessionId"), str) or _LONE.get(kind) in value:
        return True
    if isinstance(value.get("session_id"), str):
        return not _CAPTURED.get(kind, set()).isdisjoint(value)
    return kind == "assistant" and _states_usage(value)


def _states_usage(value: dict[str, Any]) -> bool:
    """The oldest transcripts name no session."""
    message = value.get("message")
    usage = message.get("usage") if isinstance(message, dict) else None
    return "inputTokens" in value or (isinstance(usage, dict) and "input_tokens" in usage)


def _is_ours_cut_off(head: bytes) -> bool:
    """A first line may be longer than the head; its keys show, quotes in strings are escaped."""
    return any(
        all(pattern.search(head) for pattern in patterns)
        for patterns in (_CUT_TRANSCRIPT, _CUT_CAPTURE)
    )


def neighbour(name: str) -> str | None:
    """Name of the file that describes the sub-agent whose lines are in file `name`."""
    found = AGENT_FILE.match(name)
    return f"agent-{found[1]}.meta.json" if found else None
