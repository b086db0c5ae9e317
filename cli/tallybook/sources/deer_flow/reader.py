"""Folds the event files that DeerFlow keeps per run, and the log of its gateway."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from tallybook.schema import Reported
from tallybook.sources import jsonl, lines
from tallybook.sources.contract import FileFacts
from tallybook.sources.deer_flow import gateway_log
from tallybook.sources.deer_flow.events import TASK_USAGE, TOOL_RESULT, parse_event, read_event
from tallybook.sources.deer_flow.sniff import is_gateway_log
from tallybook.sources.strays import Strays, watch

# A value and its key, so no text can match: inside of one the quotes are escaped.
_MARKER: Final = re.compile(
    rb'"event_type"[ \t]*:[ \t]*"(?:llm\.ai\.response|llm_response|ai_message|ai_tool_call'
    rb'|subagent\.end|llm\.tool\.result)"'
)
_OWN: Final = (b'"event_type"',)
_TOOL_RESULT: Final = re.compile(rb'"event_type"[ \t]*:[ \t]*"' + re.escape(TOOL_RESULT.encode()))


class State(msgspec.Struct):
    """How many lines were read: a line says itself whose it is, whatever its file is called."""

    records: int = 0
    is_log: bool = False  # the gateway's, not events
    is_begun: bool = False  # a line was not blank
    strays: Strays = msgspec.field(default_factory=Strays)


def begin(facts: FileFacts) -> State:
    """The first state; a log may begin with lines of anybody's."""
    return State(is_log=bool(facts.parts) and facts.parts[-1].endswith(".log"))


def read(block: bytes, state: State) -> tuple[list[Reported], State]:
    """The rows of a block of whole lines, and the state after them."""
    after = msgspec.structs.replace(state, strays=msgspec.structs.replace(state.strays))
    if not state.is_begun:
        after.is_log = state.is_log or is_gateway_log(lines.Head(block))
        after.is_begun = not block.isspace()
    read_block = gateway_log.read_log if after.is_log else _read_lines
    return list(read_block(block, after)), after


def finish(state: State) -> list[Reported]:
    """What is said of lines that are no events."""
    return state.strays.rows()


def _read_lines(block: bytes, state: State) -> Iterator[Reported]:
    look = watch(state.strays, block, "deer-flow", _OWN)
    for record, begin, end in jsonl.candidates(block, _MARKER, jsonl.spans(block, state), look):
        line = block[begin:end]
        if _states_no_task(line):
            continue
        event = parse_event(line)
        if event is not None:
            look(record, begin, end)
            yield from read_event(event, record)
        else:
            yield jsonl.unreadable(record, line, is_last=end == len(block))


def _states_no_task(line: bytes) -> bool:
    """Whether a line is the result of a tool that was no task."""
    is_result = _TOOL_RESULT.search(line) is not None and line.endswith(b"}")
    return is_result and TASK_USAGE not in line and not jsonl.hides(line, 0, len(line))
