"""Folds the blocks of a Codex file into reported rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from tallybook.schema import (
    CALL,
    CAPTURE_LINE,
    CAPTURE_TOTAL,
    PERHAPS_INHERITED,
    PERHAPS_RESTARTED,
    SUM,
    THREAD,
    Reported,
)
from tallybook.sources import jsonl, lines
from tallybook.sources.codex import inherited as bounds
from tallybook.sources.codex.headers import is_routed, take_header, take_settings, take_turn
from tallybook.sources.codex.lines import (
    MARKER,
    Info,
    Line,
    Message,
    Misshapen,
    Payload,
    find_answer,
    parse,
    runs_search,
    spans,
)
from tallybook.sources.codex.running_totals import is_zero, vector
from tallybook.sources.codex.silence import (
    Gap,
    begin_request,
    end_request,
    hear,
    restart,
    unstated,
)
from tallybook.sources.codex.sniff import is_document
from tallybook.sources.codex.state import REMEMBERED_IDS, Capture, State, Thread
from tallybook.sources.codex.usage import (
    DIALECT,
    is_silent_answer,
    may_be_routed,
    put_counts,
    read_compaction,
    read_count,
    read_record,
    without_counts,
)
from tallybook.sources.contract import FileFacts
from tallybook.sources.strays import watch
from tallybook.values import UUID, instant, party, text, uuid_time


def begin_capture(state: State, line: Line) -> None:
    """A `thread.started`: the thread of all that follows, and the only time there may be."""
    thread_id, problems = text(line.thread_id), list[str]()
    begun = instant(line.timestamp, problems)
    if begun is None and (begun := uuid_time(thread_id)) is not None:
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
        if row.reported_cache_creation_tokens is not None:  # builds that may fork without a word
            problems.append(PERHAPS_INHERITED)
        if row.reported_reasoning_tokens is None:  # builds that may resume without the total
            problems.append(PERHAPS_RESTARTED)
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


_DOCUMENT_BYTES: Final = 16 << 10  # a document's header stands at its beginning
_DOCUMENT_ID: Final = re.compile(rb'"id"\s*:\s*"([^"\\]+)"')
_DOCUMENT_TIME: Final = re.compile(rb'"timestamp"\s*:\s*"([^"\\]+)"')
_OWN: Final = (b'"payload"', b'"record_type"', b'"msg"')
_HELD: Final = 4  # a record, its other form and what may be repeated before the compaction is noted
_STATES_USAGE: Final = frozenset({"token_count", "token_usage_record", "turn.completed"})


def begin(facts: FileFacts) -> State:
    """The first state; the name tells the thread, and the rollout where a thread has several."""
    named = UUID.findall(facts.parts[-1]) if facts.parts else []
    ids = [*named[:2], None, None]
    return State(thread=Thread(id=ids[0], segment_id=ids[1]))


def read(block: bytes, state: State) -> tuple[list[Reported], State]:
    """The rows of a block of whole lines, and the state after them."""
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=State)
    if state.is_document or (not state.is_begun and is_document(block)):
        _read_document(block, state)
        return [], state
    state.is_begun = state.is_begun or not block.isspace()
    return _in_order(_read_lines(block, state), state), state


def finish(state: State) -> list[Reported]:
    """What is still held, and a thread row where a model answered and no counts are stated."""
    if state.is_document:
        return list(_document_rows(state))
    silent = not state.is_counted and (state.is_bare or state.is_active)
    problem = "no-counts" if silent else "undecided-history"
    is_incomplete = silent or state.is_undecided
    rows = [*state.held, *unstated(state.silence)]
    rows += [_thread_row(state, problem)] if is_incomplete else []
    return [*rows, *state.strays.rows()]


def _in_order(rows: Iterable[Reported], state: State) -> list[Reported]:
    """The rows, those of a usage record late: the next line may say that it made a compaction."""
    found: list[Reported] = []
    for row in rows:
        is_record = row.request_id is not None
        if is_record or len(state.held) == _HELD:
            found += state.held
            state.held = []
        (state.held if is_record or state.held else found).append(row)
    return found


def _read_lines(block: bytes, state: State) -> Iterator[Reported]:
    watched = 0
    look = watch(state.strays, block, "codex", _OWN)
    gap, silence = Gap(block), state.silence
    for record, begin, end in jsonl.candidates(block, MARKER, spans(block, state), look):
        # Whose the lines in between are was settled by the line before them.
        if not state.is_active:
            _watch(block, watched, begin, state)
        gap.end = begin
        line = parse(block[begin:end])
        watched = begin if line is None or line.type != "session_meta" else end
        if line is None:
            yield jsonl.unreadable(record, block[begin:end], is_last=end == len(block))
            continue
        if line.type == "response_item" and runs_search(block[begin:end]):
            state.searches += state.is_own
            continue
        row = _read_line(line, state, record, gap)
        if silence.over:
            yield from silence.over
            silence.over = []
        if row is None:
            look(record, begin, end)
        else:
            _put_answer(state, row, gap)
            if row is not silence.row:
                yield row
        if row is not None or _begins_anew(state, line):
            gap.begin = end + 1
            restart(silence)
    gap.end = len(block)
    _watch(block, watched, gap.end, state)
    if is_routed(state.context.turn_model, state.thread.provider):
        state.tool_ids = [*state.tool_ids, *gap.tool_ids()][-REMEMBERED_IDS:]
    hear(silence, gap)


def _begins_anew(state: State, line: Line | Misshapen) -> bool:
    """Whether what stands before the line is of no answer whose usage is still to come."""
    if line.type == "turn_context":
        return _counts_come_first(state)
    return line.type == "compacted"  # a history that was answered long ago


def _counts_come_first(state: State) -> bool:
    """Whether usage stands before the items of the answer that it is of."""
    return state.silence.follows is False and not state.keeps_records


def _put_answer(state: State, row: Reported, gap: Gap) -> None:
    """Put the tools on the row that its answer asked for, and the searches that it ran.

    The first row with the counts of an answer has its searches: another may state it again.
    """
    if may_be_routed(row):
        row.routed = True
        row.tool_ids = [*state.tool_ids, *gap.tool_ids()] or None
    state.tool_ids = []
    if not (state.searches and row.reported_input_tokens):
        return
    if row.kind == CALL and row.repeat is None and row.part is None:
        row.web_search_requests, state.searches = state.searches, 0


def _watch(block: bytes, begin: int, end: int, state: State) -> None:
    if not state.is_active and state.is_own:
        state.is_active, state.review = find_answer(block, begin, end, state.review)


def _read_line(line: Line | Misshapen, state: State, record: int, gap: Gap) -> Reported | None:
    if isinstance(line, Misshapen):
        states_usage = _STATES_USAGE & {line.type, line.event}
        return lines.problem(record, "bad-line", line.complaint) if states_usage else None
    if line.payload is not None:
        row = _read_envelope(state, line, line.payload, record, gap)
    elif line.msg is not None:
        row = read_message(state, line, line.msg, record)
    else:
        row = _read_bare(state, line, record)
    if row is not None and not state.is_counted:
        state.is_counted = not is_silent_answer(row)
    if bounds.inherits(state.boundary):
        state.is_own = bounds.is_own(bounds.history(state.boundary, line.ordinal))
    return row


def _read_bare(state: State, line: Line, record: int) -> Reported | None:
    match line.type:
        case "thread.started":
            begin_capture(state, line)
        case "turn.completed":
            return read_turn(state, line, record)
        case None if line.workdir is not None:
            configure(state, line)
        case _:
            _read_early(state, line)
    return None


def _read_envelope(
    state: State, line: Line, payload: Payload, record: int, gap: Gap
) -> Reported | None:
    match line.type:
        case "event_msg":
            return _read_event(state, line, payload, record, gap)
        case "token_usage_record":
            return read_record(state, line, payload, record, gap)
        case "compacted":
            return read_compaction(state, line, payload, record)
        case "session_meta":
            take_header(state, line, payload, record)
        case "turn_context":
            end_request(state.silence)
            take_turn(state, line, payload)
            if _counts_come_first(state):
                row = without_counts(state, line, record, None)
                begin_request(state.silence, gap, row)
        case "inter_agent_communication" | "inter_agent_communication_metadata":
            if payload.trigger_turn is True:
                bounds.trigger_turn(state.boundary)
    return None


def _read_event(
    state: State, line: Line, payload: Payload, record: int, gap: Gap
) -> Reported | None:
    match payload.type:
        case "token_count":
            return read_count(state, line, payload.info, record, gap)
        case "thread_settings_applied":
            take_settings(state, line, payload)
        case "task_started":
            end_request(state.silence)
            bounds.begin_task(state.boundary, payload.turn_id, payload.started_at)
        case "entered_review_mode" | "exited_review_mode":
            if bounds.is_own(bounds.history(state.boundary, line.ordinal)):
                state.context.in_review = payload.type == "entered_review_mode"
    return None


def _read_early(state: State, line: Line) -> None:
    """A line from before the envelope: none states usable counts, the first one is a header."""
    thread, stated = state.thread, text(line.id)
    if line.record_type is None:
        is_header = line.type is None and UUID.fullmatch(stated or "") is not None
    else:
        is_header = line.record_type == "session_meta"
    is_header = is_header and not thread.headed
    state.is_bare = state.is_bare or is_header or line.record_type is not None
    if is_header:
        thread.headed = True
        thread.id = stated or thread.id
        thread.begun = instant(line.timestamp)


def _read_document(block: bytes, state: State) -> None:
    state.is_document = True
    state.records += lines.line_count(block)
    state.document = (state.document + block)[:_DOCUMENT_BYTES]
    end = block.rstrip()[-1:]
    state.is_closed = end == b"}" if end else state.is_closed


def _document_rows(state: State) -> Iterator[Reported]:
    if stated := _DOCUMENT_ID.search(state.document):
        state.thread.id = stated[1].decode("utf-8", "replace")
    if begun := _DOCUMENT_TIME.search(state.document):
        state.thread.begun = instant(begun[1].decode("utf-8", "replace"))
    yield _thread_row(state, "no-counts")
    if not state.is_closed:
        yield lines.problem(0, "truncated", "the JSON document does not end")


def _thread_row(state: State, problem: str) -> Reported:
    """The row of a thread of which not all is known, for the reason that `problem` is."""
    thread, context = state.thread, state.context
    row = Reported(
        record=0,
        kind=THREAD,
        calls=None,
        dialect=DIALECT,
        thread_id=thread.id,
        parent_thread_id=thread.parent_thread_id,
        root_thread_id=thread.root_thread_id,
        caller=thread.caller,
        project=thread.project,
        provider=thread.provider,
        model=context.turn_model or context.settings_model,
        timestamp=thread.begun,
        problems=[problem],
    )
    if state.capture.thread_id is not None:
        row.thread_id, row.timestamp = state.capture.thread_id, state.capture.begun
        row.evidence = CAPTURE_TOTAL
        row.problems = [*state.capture.problems, "no-counts"]
    return row
