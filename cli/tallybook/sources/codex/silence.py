"""Tells which answers left no usage, by what stands between two statements of it."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from tallybook.schema import EVENT, Reported
from tallybook.sources.codex.lines import Review, find_answer
from tallybook.sources.jsonl import blanks

# How a line that Codex wrote begins, up to what tells whether a model answers in it. What a review
# is told by is not among them, nor is a history that a compaction keeps.
_TELLING_START: Final = re.compile(
    rb'\{"timestamp":"[^"\\\n]*",(?:"ordinal":\d+,)?"type":"(?:'
    rb'response_item","payload":\{"type":"(?:'
    rb'(?P<answer>(?:reasoning|function_call|custom_tool_call|local_shell_call|web_search_call)"'
    rb'|message",(?:"id":"[^"\\\n]*",)?"role":"assistant")'
    rb'|(?!message")[a-z_]+"|message",(?:"id":"[^"\\\n]*",)?"role":"(?:user|developer|system)")'
    rb'|world_state"|session_meta"'
    rb'|event_msg","payload":\{"type":"(?!entered_review|exited_review|item_|task_started")[a-z_]+")'
)

# The key of the call that a tool's result answers; the result has it too, but another type.
_TOOL_CALL: Final = re.compile(
    rb'"type"[ \t]*:[ \t]*"(?:function_call|custom_tool_call|local_shell_call)"'
    rb'[^\n]*?(?<!\\)"call_id"[ \t]*:[ \t]*"([^"\\]{1,200})"'
)


class Gap(msgspec.Struct, gc=False):
    """The lines of a block since usage was last stated."""

    block: bytes
    begin: int = 0
    end: int = 0

    def tool_ids(self) -> list[str]:
        """The ids of the tool calls that a model asks for in them."""
        found = _TOOL_CALL.findall(self.block, self.begin, self.end)
        return [name.decode("ascii", "replace") for name in found]

    def find_answer(self, review: Review, *, by_events: bool) -> tuple[bool, Review]:
        """Whether a model has answered in them, and how a review stands where it has not.

        Tool results, which are most of a log, are passed over by how their lines begin. So are
        events, which say no more than the items of an answer, where these come before its usage:
        of one that leaves none, only the events may be there else (`by_events`).
        """
        if by_events:
            return find_answer(self.block, self.begin, self.end, review)
        block, begin = self.block, self.begin
        while begin < self.end:
            end = block.find(b"\n", begin, self.end)
            end = self.end if end < 0 else end
            found = _TELLING_START.match(block, begin, end)
            if found is None and (blank := blanks(block, begin)):
                begin = blank[0] + 1
                continue
            if found is None:
                is_answered, review = find_answer(block, begin, end, review)
            else:
                is_answered = found.lastgroup == "answer" and review == "none"
            if is_answered:
                return True, review
            begin = end + 1
        return False, review


class Silence(msgspec.Struct, array_like=True):
    """What is known of answers since usage was last stated."""

    is_answered: bool = False
    review: Review = "none"  # of another thread, in the lines since then
    # Whether the usage of an answer stands behind it in this file; None where none was seen yet.
    follows: bool | None = None
    row: Reported | None = None  # a call that seems to have left none
    # Where usage stands before its answer: the request that is going on, while none was stated.
    asked: Reported | None = None
    over: list[Reported] = msgspec.field(default_factory=list)  # such calls for which none can come


def hear(silence: Silence, gap: Gap) -> bool:
    """Whether a model has answered since usage was last stated."""
    if not silence.is_answered:
        by_events = silence.follows is False
        silence.is_answered, silence.review = gap.find_answer(silence.review, by_events=by_events)
    return silence.is_answered


def state_usage(silence: Silence, gap: Gap) -> None:
    """Usage of a call is stated: of the one that seemed to leave none, if none answered since."""
    if silence.row is not None:
        if not hear(silence, gap):
            _withdraw(silence.row)
        end_request(silence)
    silence.asked = None
    if silence.follows is None:
        silence.follows = hear(silence, gap)


def end_request(silence: Silence) -> None:
    """Another request begins, or is stated: what has left no usage so far leaves none."""
    if silence.row is not None:
        silence.over.append(silence.row)
    silence.row = None


def begin_request(silence: Silence, gap: Gap, row: Reported | None) -> None:
    """Another request begins, in a file where usage stands before its answer.

    `row` is that of the request, of unknown counts, should it be answered and none be stated until
    it ends. What answered since usage was last stated belongs to the request before it.
    """
    if silence.asked is not None and hear(silence, gap):
        silence.over.append(silence.asked)
    silence.asked = row
    restart(silence)


def unstated(silence: Silence) -> list[Reported]:
    """The calls at the end of the file that seem to have left no usage."""
    answered = [silence.asked] if silence.is_answered else []
    return [row for row in (silence.row, *answered) if row is not None]


def _withdraw(row: Reported) -> None:
    """No call, for its usage came late: a record that said nothing new."""
    row.kind, row.calls, row.identity, row.caller, row.problems = EVENT, None, None, None, None


def restart(silence: Silence) -> None:
    """A line that states usage, or a history that was answered long ago, ends here."""
    silence.is_answered, silence.review = False, "none"
