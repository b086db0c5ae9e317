"""Passes over the lines of a block that can state nothing by how they begin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tallybook.sources.claude_code.state import State
from tallybook.sources.jsonl import SPACE, blanks, hides

# A line as its client writes it: the id of the line before, then plain members up to what it is.
# A text in them is without a backslash, so no quote is inside it. Another order of the keys costs
# time and never a line.
_LINK_END: Final = len('{"parentUuid":"') + 36  # a UUID long
_QUOTES: Final = 3  # in front of that; of what is inside of another object there are more
_VALUE: Final = rb'(?:"[^"\\\n]*+"|true|false|null|\{[^{}\\\n]*+\})'
_MEMBERS: Final = re.compile(
    rb'","isSidechain":(?:(true)|false),(?:"(?!(?:sub)?type"|message")[A-Za-z]++":'
    + _VALUE
    + rb",)*+"
)
_UNLINKED: Final = (
    b'{"type":"file-history-snapshot"',
    b'{"type":"queue-operation"',
    b'{"type":"api-request',  # and what goes with it: whole prompts, and never an answer
)

# How what a user says goes on behind the type of the line, and how the client begins its word to
# the model that the response before broke off.
_SAID: Final = b'message":{"role":"user","content":'
CUT_OFF: Final = b"Your response above was "
NOTICE: Final = b"<task-notification>"  # what an agent that ran aside took, in a user's place
_TELLS_SOMETHING: Final = tuple(
    _SAID + begin + word
    for begin in (b'"', b'[{"type":"text","text":"')
    for word in (CUT_OFF, NOTICE)
)

# What only the end of a sub-agent states. It stands near the end of its line, behind the content.
TELLS_AGENT_END: Final = b'"totalToolUseCount"'
_END_WITHIN: Final = 4096

# What the client calls the error where an answer broke off.
TRUNCATED: Final = "StreamTruncated"

# The bytes that come next tell what the line is, and with that what it has to have one of to state
# anything: nothing is everywhere.
_NEVER: Final[tuple[bytes, ...]] = ()
_ALWAYS: Final[tuple[bytes, ...]] = (b"",)
_BEHIND: Final = (b"\n",)  # what is needed comes next, or near the end
_USAGE: Final = b'"usage"'
_NEEDED: Final = {
    b'"type":"user","': _BEHIND,
    b'"type":"attachm': _NEVER,
    b'"type":"progres': (_USAGE,),
    b'"type":"system"': (b'"compact_boundary"', f'"{TRUNCATED}"'.encode()),
    b'"type":"assista': _ALWAYS,
    b'"message":{"mod': _ALWAYS,  # "model", or "id" in older logs: a response
    b'"message":{"id"': _ALWAYS,
    b'"message":{"rol': (_USAGE, TELLS_AGENT_END),  # "role": the message of a user
}
# How progress and the client's own words go on that are the most frequent: they state nothing.
_SILENT: Final = (
    b's","data":{"type":"bash_progress"',
    b's","data":{"type":"hook_progress"',
    b's","data":{"type":"mcp_progress"',
    b',"subtype":"stop_hook_summary"',
    b',"subtype":"turn_duration"',
    b',"subtype":"local_command"',
)
_WHAT: Final = 15
_WORD: Final = re.compile(rb'"isSidechain"\s*:\s*(true|false)')
_CLOSER: Final = ord("}")


def spans(block: bytes, state: State) -> Iterator[tuple[int, int, int, bool]]:
    """Each line that cannot be passed over, as `jsonl.spans` has them; counts all lines.

    A message of the model is sure to be a candidate. Of each line that is not passed over, and of
    each one while the lines belong to a sidechain, it is noted whose it is.
    """
    # Nearly all lines have the members of the line before, and equal bytes need no pattern.
    members, width = b"", 0
    begin, record, size = 0, state.records, len(block)
    find, starts, quotes = block.find, block.startswith, block.count
    aside = state.in_sidechain
    while begin < size:
        end = find(b"\n", begin)
        if end < 0:
            end = size
        record += 1
        passed = is_response = False
        is_whole = block[end - 1] == _CLOSER
        if is_whole:
            if aside:
                aside = _follow(block, begin, end, state)
            is_alike = members and starts(members, begin + _LINK_END)
            needed = _NEEDED.get(block[begin + width - _WHAT : begin + width]) if is_alike else None
            if needed is None and not (passed := starts(_UNLINKED, begin)):
                members, width, needed = _learn(block, begin, state) or (members, width, None)
            # Behind its link, the members are the line's own.
            if needed is not None and quotes(b'"', begin, begin + _LINK_END) == _QUOTES:
                is_response = needed is _ALWAYS
                passed = not is_response and (
                    needed is _NEVER
                    or starts(_SILENT, begin + width)
                    or _lacks(block, begin + width, end, needed)
                )
        if not passed and block[begin] <= SPACE and (blank := blanks(block, begin)):
            end, more = blank
            record += more
        # The last line of a file may be cut behind any brace.
        elif not passed or end == size:
            if is_whole and not is_response and not aside:
                aside = _follow(block, begin, end, state)
            yield record, begin, end, is_response or end == size
        begin = end + 1
    state.records = record


def _lacks(block: bytes, behind: int, end: int, needed: tuple[bytes, ...]) -> bool:
    """Whether nothing that is `needed` is `behind` the type of a line, however it is written."""
    if needed is _BEHIND:
        return (
            block.startswith(_SAID, behind)
            and not block.startswith(_TELLS_SOMETHING, behind)
            and block.find(TELLS_AGENT_END, max(end - _END_WITHIN, behind), end) < 0
        )
    for word in needed:
        if block.find(word, behind, end) >= 0:
            return False
    return not hides(block, behind, end)


def _follow(block: bytes, begin: int, end: int, state: State) -> bool:
    """Whether the lines belong to a sidechain with this one; counts the runs of such lines.

    A run ends with the first line of the session itself. The files of sub-agents have none.
    """
    word = None if state.place.agent else _WORD.search(block, begin, end)
    if word is not None:
        inside = word[1] == b"true"
        state.sidechain_run += inside and not state.in_sidechain
        state.in_sidechain = inside
    return state.in_sidechain


def _learn(
    block: bytes, begin: int, state: State
) -> tuple[bytes, int, tuple[bytes, ...] | None] | None:
    """The members of a line behind its link, where what it is ends, and what it then needs.

    None where the line is another one, or belongs to a sidechain that has to be seen.
    """
    found = _MEMBERS.match(block, begin + _LINK_END)
    if found is None or (found[1] and state.place.agent is None):
        return None
    end = found.end() + _WHAT
    return found[0], end - begin, _NEEDED.get(block[end - _WHAT : end])
