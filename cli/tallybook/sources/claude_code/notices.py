"""Reads what a client tells the model of an agent that ran in the background and has ended.

Its last response took what the notice states: a total, prompt and output together. That is so in
the builds that were watched from 2.1.278 on. Those before state another number under the same key:
2.1.120 and 2.1.222 add up the counts that streams begin with, 2.1.270 estimates from the text.
"""

from __future__ import annotations

import re
from typing import Final

from tallybook.sources.claude_code.lines import Ended
from tallybook.sources.claude_code.responses import is_older

_STATES_FINAL: Final = (2, 1, 278)
# What the client says of where the line is from; a user may have pasted the same text.
_ORIGIN: Final = re.compile(rb'"origin"\s*:\s*\{\s*"kind"\s*:\s*"task-notification"')
_AGENT: Final = re.compile(rb'"<task-notification>\\n<task-id>([0-9A-Za-z_-]{1,64})</task-id>')
_STATUS: Final = b"<status>completed</status>"
# The end of the text: what the agent answered stands before it, and may quote another notice.
_TOTAL: Final = re.compile(
    rb"<usage><subagent_tokens>(\d{1,15})</subagent_tokens>[^\"\\]*</usage>"
    rb'\\n</task-notification>"'
)


def notice(raw: bytes, version: object) -> Ended | None:
    """The end of one agent that a line states, as far as its client's version is known to know."""
    if not isinstance(version, str) or is_older(version, _STATES_FINAL) is not False:
        return None
    agent, total = _AGENT.search(raw), _TOTAL.search(raw)
    if agent is None or total is None or _STATUS not in raw or not _ORIGIN.search(raw):
        return None
    return Ended(agent_id=agent[1].decode(), total_tokens=int(total[1]))
