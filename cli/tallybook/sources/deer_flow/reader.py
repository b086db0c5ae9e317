"""Folds the event files that DeerFlow keeps per run, and the log of its gateway."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from tallybook.dialects.usage import put_usage, read_usage
from tallybook.schema import Reported
from tallybook.sources import jsonl, lines
from tallybook.sources.contract import FileFacts
from tallybook.sources.deer_flow import events
from tallybook.sources.deer_flow.sniff import TIME, is_gateway_log
from tallybook.sources.deer_flow.values import instant, text
from tallybook.sources.strays import Strays, watch
from tallybook.values import decode, encode

# A value and its key, so no text can match: inside of one the quotes are escaped.
_MARKER: Final = re.compile(
    rb'"event_type"[ \t]*:[ \t]*"(?:llm\.ai\.response|llm_response|ai_message|ai_tool_call'
    rb'|subagent\.end|llm\.tool\.result)"'
)
_OWN: Final = (b'"event_type"',)
_TOOL_RESULT: Final = re.compile(
    rb'"event_type"[ \t]*:[ \t]*"' + re.escape(events.TOOL_RESULT.encode())
)


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
    read_block = _read_log if after.is_log else _read_lines
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
        event = events.parse_event(line)
        if event is not None:
            look(record, begin, end)
            yield from events.read_event(event, record)
        else:
            yield jsonl.unreadable(record, line, is_last=end == len(block))


def _states_no_task(line: bytes) -> bool:
    """Whether a line is the result of a tool that was no task."""
    is_result = _TOOL_RESULT.search(line) is not None and line.endswith(b"}")
    return is_result and events.TASK_USAGE not in line and not jsonl.hides(line, 0, len(line))


# What memory extraction used is logged nowhere but in the gateway's log. The lines that it has per
# call of an agent are left alone: they name neither model nor run, and say again what runs add up.
_STAMP: Final = re.compile(rb"\s*(" + TIME + rb") - ")
_METRICS_BEGIN: Final = re.compile(rb"Memory extraction metrics: thread=|" + jsonl.ESCAPED.pattern)
_METRICS: Final = re.compile(
    r"Memory extraction metrics: thread=(\S+) model=(\S+)(?:.*? token_usage=(\{.*\}))?", re.DOTALL
)
_NAMELESS: Final = "None"
_LONGEST: Final = 4096  # characters of a usage object; real ones have some two hundred


def _read_log(block: bytes, state: jsonl.Counting) -> Iterator[Reported]:
    """The rows of a block of whole lines. Most lines are of text, and of anybody's."""
    for record, line in lines.scan(block, _METRICS_BEGIN, state.records + 1):
        value = decode(line) if line.lstrip().startswith(b"{") else None
        if isinstance(value, dict):
            message, stamp = text(value.get("message")), text(value.get("timestamp"))
        else:
            found = _STAMP.match(line)
            message = line.decode("utf-8", "replace")
            stamp = found[1].decode("ascii").replace(",", ".") if found else None
        metrics = _METRICS.search(message or "")
        if metrics is not None:
            yield _row(record, stamp, metrics)
    state.records += lines.line_count(block)


def _row(record: int, stamp: str | None, metrics: re.Match[str]) -> Reported:
    thread, model, usage = metrics.groups()
    row = Reported(
        record=record,
        thread_id=None if thread == _NAMELESS else thread,
        root_thread_id=None if thread == _NAMELESS else thread,
        caller="memory",
        model=None if model == _NAMELESS else model,
        timestamp=instant(stamp),
    )
    counts = read_usage(stated, events.HINT) if (stated := _literal(usage)) else None
    if counts is None:
        row.problems = ["no-counts"]
    else:
        put_usage(row, counts)
    if stamp is not None and not stamp.endswith("Z") and "+" not in stamp:
        # Lines of text have the time of the machine, which they do not name.
        row.problems = [*(row.problems or []), "assumed-time"]
    row.rule = "memory-log"
    return row


def _literal(stated: str | None) -> Mapping[str, Any] | None:
    """A mapping written as Python writes it."""
    if stated is None or len(stated) > _LONGEST:
        return None
    try:
        value = decode(encode(ast.literal_eval(stated)))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, dict) else None
