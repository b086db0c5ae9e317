"""Folds the blocks of a file, a line or a whole document at a time, into tables of rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final, Literal

import msgspec

from tallybook.schema import AGENT_END, AGENT_NOTICE, CALL, Reported
from tallybook.sources import jsonl
from tallybook.sources.claude_code import capture, transcript
from tallybook.sources.claude_code.lines import Line, decode, decode_document, decode_end
from tallybook.sources.claude_code.notices import notice
from tallybook.sources.claude_code.skip import CUT_OFF, NOTICE, TELLS_AGENT_END, spans
from tallybook.sources.claude_code.sniff import BOM
from tallybook.sources.claude_code.state import State
from tallybook.sources.claude_code.threads import place
from tallybook.sources.contract import FileFacts
from tallybook.sources.lines import ARRAY, HEAD_BYTES, Head, line_count, problem
from tallybook.sources.strays import watch
from tallybook.values import instant

MAX_DOCUMENT: Final = 64 * 2**20  # bytes; a saved array of a long run's messages stays far below

# Keys without which a line states no counts, cost or model that a row could need, and the two
# things that a client tells the model in the user's place which matter.
MARKER: Final = re.compile(
    rb'"(?:(?:usage|inputTokens|outputTokens|modelUsage|init|total_cost|total_cost_usd|cost_usd'
    rb'|compact_boundary|StreamTruncated|totalToolUseCount)"|' + CUT_OFF + rb"|" + NOTICE + rb")"
)
_TOLD_CUT_OFF: Final = re.compile(rb'(?<!\\)"' + CUT_OFF)
_OWN: Final = (b'"sessionId"', b'"session_id"', b'"leafUuid"', b'"messageId"')
_QUEUE: Final = b"queue-operation"
_FIRST_LINES: Final = 8  # all but one of which may be broken
_TEXT: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_CLOUDS: Final = frozenset({"aws", "google"})  # which give requests no id
_TOOL_USE: Final = re.compile(rb'(?<!\\)"type"\s*:\s*"tool_use"\s*,\s*"id"\s*:\s*"([^"\\]{1,200})"')
_FIRST_WORDS: Final = re.compile(rb"\S[^\n]*")


def begin(facts: FileFacts) -> State:
    """The state before the first block."""
    return State(place=place(facts))


def read(block: bytes, state: State) -> tuple[list[Reported], State]:
    """Rows of the block and the state after it; the given state is left as it is."""
    state = _copy(state)
    if state.records == 0:
        block = block.removeprefix(BOM)
    if block.isspace() and not state.pending:
        state.records += line_count(block)
        return [], state
    if state.form is None:
        state.form, state.begun = _form(block), _begun(block)
    if state.form == "lines":
        return list(_read_lines(block, state)), state
    rows = _read_documents(block, state) if state.form == "document" else []
    state.records += line_count(block)
    return rows, state


def finish(state: State) -> list[Reported]:
    """Rows that wait for the end of the file: open streams, a document without its last line."""
    rows: list[Reported] = []
    if state.pending or state.held:
        state = _copy(state)
    if state.pending.strip():
        found = _document_rows(state.pending, state)
        last = jsonl.unreadable(state.pending_record, state.pending, is_last=True)
        rows = [last] if found is None else found
    return [*rows, *capture.release_all(state), *state.strays.rows()]


def _copy(state: State) -> State:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=State)


def _begun(block: bytes) -> datetime | None:
    """When the client began to write, where the first line with a time is an entry of its queue."""
    if block.find(_QUEUE, 0, HEAD_BYTES) < 0:
        return None
    for line in Head(block).objects(_FIRST_LINES):
        if line.get("timestamp") is not None:
            return instant(line["timestamp"]) if line.get("type") == _QUEUE.decode() else None
    return None


def _form(block: bytes) -> Literal["lines", "document"] | None:
    """Whether the file is lines of JSON, or documents that may take several lines each."""
    first = _FIRST_WORDS.search(block)
    if first is None:
        return None
    is_open = ARRAY.match(first[0]) is not None or first[0].rstrip() == b"{"
    return "document" if is_open else "lines"


def _read_lines(block: bytes, state: State) -> Iterator[Reported]:
    look = watch(state.strays, block, "claude-code", _OWN)
    for record, begin, end in jsonl.candidates(block, MARKER, spans(block, state), look):
        raw = block[begin:end]
        line = decode(raw)
        if line is None:
            yield jsonl.unreadable(record, raw, is_last=end == len(block))
            continue
        rows = _line_rows(line, record, None, state)
        if not rows:
            look(record, begin, end)
        if rows and rows[0].request_id is None and rows[0].kind == CALL:
            rows[0].routed = rows[0].provider not in _CLOUDS
            rows[0].tool_ids = _tool_ids(raw)
        yield from rows
        if line.type == "user":
            yield from _told(line, raw, record, state)


def _told(line: Line, raw: bytes, record: int, state: State) -> Iterator[Reported]:
    """What a line in the user's place tells of responses: that one broke off, or was the last."""
    if line.is_meta is True and _TOLD_CUT_OFF.search(raw):
        yield from transcript.read_cut_off(line, record, None, state)
    if TELLS_AGENT_END in raw and (ended := decode_end(raw)) is not None:
        yield from transcript.read_agent_end(line, ended, AGENT_END, record, state)
    elif NOTICE in raw and (ended := notice(raw, line.version)) is not None:
        yield from transcript.read_agent_end(line, ended, AGENT_NOTICE, record, state)


def _tool_ids(raw: bytes) -> list[str] | None:
    """The tool calls in a line of a response that may have come through a router.

    What the API itself answers has the id of the request; only a router's log needs these.
    """
    found = [name.decode("ascii", "replace") for name in _TOOL_USE.findall(raw)]
    return found or None


def _line_rows(  # noqa: PLR0911 - one case a type of line
    line: Line, record: int, part: str | None, state: State
) -> list[Reported]:
    match line.type:
        case "assistant" if line.session_id is not None and line.session is None:
            return capture.read_message(line, record, part, state)
        case "assistant":
            return transcript.read_assistant(line, record, part, state)
        case "progress":
            return transcript.read_progress(line, record, part, state)
        case "cost-state":
            return transcript.read_cost_state(line, record, part)
        case "stream_event":
            return capture.read_event(line, record, part, state)
        case "result":
            return capture.read_result(line, record, part, state)
        case None if line.role == "system" and line.cost_usd is not None:
            return capture.read_result(line, record, part, state)
        case "system":
            return _system_rows(line, record, part, state)
    return []


def _system_rows(line: Line, record: int, part: str | None, state: State) -> list[Reported]:
    if line.subtype == "init":
        capture.read_init(line, state)
    elif line.subtype == "compact_boundary" and line.session is not None:
        return transcript.read_compaction(line, record, part, state)
    elif line.subtype == "api_error" and line.session is not None:
        return transcript.read_error(line, record, part, state)
    return []


def _read_documents(block: bytes, state: State) -> list[Reported]:
    rows: list[Reported] = []
    text, start = state.pending + block, 0
    position = len(state.pending)
    record = state.records
    while position < len(text):
        begin, position = position, text.find(b"\n", position) + 1 or len(text)
        record += 1
        line = text[begin:position].rstrip()
        if not line and (blank := jsonl.blanks(text, begin)):
            record, position = record + blank[1], blank[0] + 1
        if start == begin:
            state.pending_record = record
            if not line:
                start = position
                continue
        if _may_close(line, is_first=start == begin):
            closed, rows_of_it = _closed_rows(text, start, position, state)
            rows += rows_of_it
            start = position if closed else start
        if position - start > MAX_DOCUMENT:
            rows.append(_oversize(state))
            start = len(text)
            break
    state.pending = text[start:]
    return rows


def _closed_rows(text: bytes, start: int, end: int, state: State) -> tuple[bool, list[Reported]]:
    """Whether the document that begins at `start` ends here, and its rows.

    Only then it is decoded: at each bracket a long array would be decoded as often as it has lines.
    """
    bare = _TEXT.sub(b"", text[start + state.measured : end])
    if b'"' in bare:
        return False, []  # a text that goes on
    state.depth += bare.count(b"{") + bare.count(b"[") - bare.count(b"}") - bare.count(b"]")
    state.measured = end - start
    if state.depth > 0:
        return False, []
    state.depth = state.measured = 0
    rows = _document_rows(text[start:end], state)
    if rows is None:
        rows = [jsonl.unreadable(state.pending_record, text[start:end], is_last=False)]
    return True, rows


def _may_close(line: bytes, *, is_first: bool) -> bool:
    """Printed over several lines, a document's last bracket stands at the margin."""
    return line.endswith((b"}", b"]")) if is_first else line.startswith((b"}", b"]"))


def _oversize(state: State) -> Reported:
    state.form = "oversize"
    detail = f"a document of more than {MAX_DOCUMENT} bytes; the rest of the file is left out"
    return problem(state.pending_record, "truncated", detail)


def _document_rows(raw: bytes, state: State) -> list[Reported] | None:
    """Rows of one object or of the messages in an array; None while it is incomplete."""
    document = decode_document(raw)
    record = state.pending_record
    if document is None:
        return None
    if isinstance(document, Line):
        return _line_rows(document, record, None, state)
    rows: list[Reported] = []
    for number, line in enumerate(document, record):
        if line is None:
            rows.append(problem(number, "bad-line", "an element that is no JSON object"))
        else:
            rows += _line_rows(line, number, None, state)
    return rows
