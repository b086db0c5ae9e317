"""Numbers the inline sidechains of old transcripts, whose lines name no sub-agent."""

from __future__ import annotations

import re
from typing import Final

from tallybook.sources.claude_code.state import State
from tallybook.sources.lines import scan

_SIDECHAIN: Final = re.compile(rb'"isSidechain"\s*:\s*true')
_WORD: Final = re.compile(rb'"isSidechain"\s*:\s*(true|false)')


def sidechain_runs(block: bytes, first: int, state: State) -> dict[int, int]:
    """Record -> number of its run of sidechain lines, from 1; `state` follows the runs.

    A run ends with the first line of the session itself. The files of sub-agents have none.
    """
    runs: dict[int, int] = {}
    if state.place.agent or not (state.in_sidechain or _SIDECHAIN.search(block)):
        return runs
    for record, line in scan(block, _WORD, first):
        word = _WORD.search(line)
        inside = word is not None and word[1] == b"true"
        state.sidechain_run += inside and not state.in_sidechain
        state.in_sidechain = inside
        if inside:
            runs[record] = state.sidechain_run
    return runs
