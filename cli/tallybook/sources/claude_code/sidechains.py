"""Numbers the inline sidechains of old transcripts, whose lines name no sub-agent."""

from __future__ import annotations

import re
from typing import Final

from tallybook.sources.claude_code.state import State

_WORD: Final = re.compile(rb'"isSidechain"\s*:\s*(true|false)')


def follow(block: bytes, begin: int, end: int, state: State) -> int:
    """The run of sidechain lines that a line belongs to, from 1; 0 where it is in none.

    A run ends with the first line of the session itself. The files of sub-agents have none.
    """
    word = None if state.place.agent else _WORD.search(block, begin, end)
    if word is None:
        return 0
    inside = word[1] == b"true"
    state.sidechain_run += inside and not state.in_sidechain
    state.in_sidechain = inside
    return state.sidechain_run if inside else 0
