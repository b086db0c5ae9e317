"""Reads saved standard output of `codex exec --json`, in its present form and the one before."""

from __future__ import annotations

from tallybook.schema import CAPTURE_LINE, CAPTURE_TOTAL, SUM, Reported
from tallybook.sources.codex.counters import is_zero, vector
from tallybook.sources.codex.records import Info, Line, Message
from tallybook.sources.codex.state import Capture, State
from tallybook.sources.codex.usage import DIALECT, put_counts, read_count
from tallybook.values import instant, party, text, uuid_time


def begin_capture(state: State, line: Line) -> None:
    """A `thread.started`: the thread of all that follows, and the only time there may be."""
    thread_id, problems = text(line.thread_id), list[str]()
    begun = instant(line.timestamp, problems)
    created = uuid_time(thread_id)
    if begun is None and created is not None:
        begun = created
        problems = ["assumed-time"]
    state.capture = Capture(thread_id, begun, problems)


def read_turn(state: State, line: Line, record: int) -> Reported:
    """The row of a `turn.completed`, whose counts are those of the thread since it was created.

    Zero stands there when no usage came in time; the counts are then unknown.
    """
    capture, problems = state.capture, list(state.capture.problems)
    counts = vector(line.usage, problems)
    own_time = instant(line.timestamp)
    row = Reported(
        record=record,
        kind=SUM,
        calls=None,
        evidence=CAPTURE_TOTAL,
        dialect=DIALECT,
        thread_id=capture.thread_id or state.thread.id,
        model=text(line.model),
        timestamp=own_time or capture.begun,
        running=True,
    )
    row.series = row.thread_id
    if counts is None or is_zero(counts):
        problems.append("no-counts")
    else:
        put_counts(row, counts)
    row.problems = list(dict.fromkeys(problems)) or None
    return row


def configure(state: State, line: Line) -> None:
    """The summary of the configuration that the earlier form begins with."""
    state.context.turn_model = text(line.model) or state.context.turn_model
    state.thread.project = text(line.workdir) or state.thread.project
    state.thread.provider = party(line.provider) or state.thread.provider


def read_message(state: State, line: Line, message: Message, record: int) -> Reported | None:
    """A line of the earlier form: `{"id": ..., "msg": {"type": ...}}`."""
    if message.type == "session_configured":
        state.thread.id = text(message.session_id) or state.thread.id
        state.context.turn_model = text(message.model) or state.context.turn_model
    if message.type != "token_count":
        return None
    # The oldest builds put the counts of the response flat into the message.
    info = message.info or Info(last_token_usage=message)
    row = read_count(state, line, info, record)
    if row is not None:
        row.evidence = CAPTURE_LINE
    return row
