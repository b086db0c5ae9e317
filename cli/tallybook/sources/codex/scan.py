"""Tells from a line's first bytes whether it can matter, so that most lines are passed over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_EVENTS: Final = (
    rb"token_count|thread_settings_applied|task_started|entered_review_mode|exited_review_mode"
)

# The start of a line in the order that Codex writes. Anything that it does not match is looked at
# with MARKER, so another key order or spacing costs time and never a line.
_BYPASS: Final = re.compile(
    rb'\{"timestamp":"[^"\\\n]*",(?:"ordinal":\d+,)?"type":"'
    rb'(?:response_item"|world_state"|event_msg","payload":\{"type":"(?!(?:' + _EVENTS + rb')"))'
)

# Values, not keys: inside a text the closing quote would be escaped, so no message can match.
MARKER: Final = re.compile(
    rb'"(?:' + _EVENTS + rb"|token_usage_record|turn_context|session_meta|compacted"
    rb"|inter_agent_communication(?:_metadata)?|thread\.started|turn\.completed"
    rb'|session_configured|record_type|workdir)"'
)

# A model has answered, whether or not the file says what that took.
ACTIVITY: Final = re.compile(
    rb'"role"[ \t]*:[ \t]*"assistant"|"type"[ \t]*:[ \t]*"(?:reasoning|function_call'
    rb'|custom_tool_call|local_shell_call|web_search_call|agent_message|agent_reasoning)"'
)

_CLOSERS: Final = b"}\r"


def candidates(block: bytes) -> Iterator[tuple[int, int, int]]:
    """(index, begin, end) of each line that cannot be passed over by its first and last bytes.

    The last one is no line but the block's end, so its index is the number of lines.
    """
    begin, index, size = 0, 0, len(block)
    find, bypass = block.find, _BYPASS.match
    while begin < size:
        end = find(b"\n", begin)
        if end < 0:
            end = size
        if bypass(block, begin) is None or block[end - 1] not in _CLOSERS:
            yield index, begin, end
        index += 1
        begin = end + 1
    yield index, size, size


def is_object(line: bytes) -> bool:
    """Whether a line has the ends of a JSON object, or is empty."""
    stripped = line.strip()
    return not stripped or (stripped.startswith(b"{") and stripped.endswith(b"}"))
