"""Folds the blocks of saved responses into reported rows."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import msgspec

from tallybook.dialects.long_streams import add_event, begins_anew, cut_down, is_last_word
from tallybook.dialects.streams import merge_stream
from tallybook.schema import Reported
from tallybook.sources import jsonl, lines
from tallybook.sources.contract import FileFacts
from tallybook.sources.responses.answers import answer_rows, digest_of
from tallybook.sources.responses.exchange import Exchange, exchange
from tallybook.sources.responses.kinds import is_event, is_gemini
from tallybook.sources.responses.sniff import is_document, values
from tallybook.sources.strays import Strays, watch
from tallybook.values import UNDECODABLE, decode

_DATA = b"data:"
_DONE = b"[DONE]"
# Events that are content and nothing else, by how they begin; most of a stream consists of them.
# The block of a fallback names the model that answered, and a tool that was run is charged for.
_CONTENT = (
    re.compile(
        rb'(?:data:)?\s*\{\s*"type"\s*:\s*"content_block_(?!start".{0,99}"type"\s*:\s*"fallback")'
    ),
    re.compile(
        rb'(?:data:)?\s*\{\s*"type"\s*:\s*"response\.(?!output_item\.done".*"type"\s*:\s*'
        rb'"(?:web_search|file_search|code_interpreter|image_generation)_call")(?!.*"response"\s*:)'
    ),
)
# What a chunk of a chat may say besides; quotes in its content are escaped.
_SAYS = re.compile(
    rb'"(?:usage|finish_reason|error|x_groq|timings|amazon-bedrock-\w+)"\s*:\s*(?!null|\s)'
)
_CHOICES = b'"choices"'
_SKIP = msgspec.json.Decoder(msgspec.defstruct("Skipped", ()))  # checks all and keeps nothing
_MOST_DATA = 64 << 20  # bytes of one event over several lines
_UNSAID = (b"event:", b"id:", b"retry:", b":")  # lines of a stream that hold no event


class State(msgspec.Struct):
    """What is known after a block: how far it went, and the stream that is not at its end."""

    records: int = 0
    events: list[Mapping[str, Any]] = msgspec.field(default_factory=list)
    place: int = 0  # the record that stated the stream's counts last
    digest: str = ""
    prefix: bytes = b""  # what every chunk of the stream's chat begins with, its id among it
    held: list[Reported] = msgspec.field(default_factory=list)  # problems within the stream
    # The lines of an event whose data stands on several: record, line, whether the file ends so.
    parts: list[tuple[int, bytes, bool]] = msgspec.field(default_factory=list)
    upto: int = 0  # the record of the last line that belongs to them; a blank line ends an event
    width: int = 0  # bytes of these lines
    strays: Strays = msgspec.field(default_factory=Strays)


def begin(_: FileFacts) -> State:
    """The first state."""
    return State()


def read(block: bytes, state: State) -> tuple[list[Reported], State]:
    """The rows of a block of whole lines or of a whole document, and the state after them."""
    state = _copy(state)
    if state.records == 0 and is_document(lines.Head(block)):
        return list(_read_document(block, state)), state
    return list(_read_lines(block, state)), state


def finish(state: State) -> list[Reported]:
    """The row of the stream that the file ends with."""
    state = _copy(state)
    return [*_dispatch(state), *_close(state), *state.strays.rows()]


def _copy(state: State) -> State:
    return msgspec.structs.replace(
        state,
        events=[*state.events],
        held=[*state.held],
        parts=[*state.parts],
        strays=msgspec.structs.replace(state.strays),
    )


def _read_document(block: bytes, state: State) -> Iterator[Reported]:
    """The rows of one JSON value, or of an array of them: each element is a record."""
    for value in values(block):
        state.records += 1
        if isinstance(value, dict):
            yield from _read_value(value, msgspec.json.encode(value), state)
    if block.rstrip()[-1:] not in (b"]", b"}") or not state.records:
        yield lines.problem(state.records + 1, "torn-line", "the JSON document does not end")


def _read_lines(block: bytes, state: State) -> Iterator[Reported]:
    for record, begin, end in jsonl.candidates(block, jsonl.ANYTHING, jsonl.spans(block, state)):
        state.records = record
        yield from _read_ended(block[begin:end].strip(), state, is_last=end == len(block))


def _read_ended(line: bytes, state: State, *, is_last: bool) -> Iterator[Reported]:
    """Reads a line, or the lines in it that end with CR alone."""
    if b"\r" not in line or decode(line) is not None:
        yield from _read_line(line, state, is_last=is_last)
        return
    pieces = line.split(b"\r")
    for index, piece in enumerate(pieces, 1):
        yield from _read_line(piece.strip(), state, is_last=is_last and index == len(pieces))
        state.records += index < len(pieces)


def _read_line(line: bytes, state: State, *, is_last: bool) -> Iterator[Reported]:
    if not line:
        return
    if state.parts and (yield from _belongs(line, state, is_last=is_last)):
        return
    if line.startswith(_UNSAID):
        return
    content = line.removeprefix(_DATA).strip()
    if state.events and _is_content(line, state.prefix) and _is_object(content):
        return
    if content == _DONE:
        yield from _close(state)
        return
    value = decode(content)
    if isinstance(value, dict):
        yield from _read_value(value, line, state, is_sent=line.startswith(_DATA))
    elif line.startswith(_DATA):
        # The event may go on.
        state.parts, state.upto = [(state.records, line, is_last)], state.records
        state.width = len(line)
    elif content:
        yield from _refuse(line, state, is_last=is_last)


def _refuse(line: bytes, state: State, *, is_last: bool) -> Iterator[Reported]:
    bad = jsonl.unreadable(state.records, line, is_last=is_last)
    if state.events:
        state.held.append(bad)
    else:
        yield bad


def _belongs(line: bytes, state: State, *, is_last: bool) -> Generator[Reported, None, bool]:
    """Whether a line is within the event over several lines; else the rows of that one."""
    is_field = line.startswith(_UNSAID)
    if state.records == state.upto + 1 and (is_field or line.startswith(_DATA)):
        content = line.removeprefix(_DATA).strip()
        state.width += len(line)
        if content != _DONE and state.width <= _MOST_DATA:
            state.upto = state.records
            if not is_field:
                state.parts.append((state.records, line, is_last))
            return True
    yield from _dispatch(state)
    return False


def _dispatch(state: State) -> Iterator[Reported]:
    """The rows of an event whose data stood on several lines, or of each line that is an event."""
    parts, now = state.parts, state.records
    if not parts:
        return
    state.parts = []
    content = b"\n".join(line.removeprefix(_DATA) for _, line, _ in parts)
    alone = [decode(line.removeprefix(_DATA)) for _, line, _ in parts]
    if isinstance(value := decode(content), dict):
        state.records = parts[0][0]
        yield from _read_value(value, content, state, is_sent=True)
    elif not any(isinstance(each, dict) for each in alone):
        state.records = parts[0][0]
        if content.strip():
            yield from _refuse(content, state, is_last=parts[-1][2])
    else:
        for (state.records, line, is_last), each in zip(parts, alone, strict=True):
            if isinstance(each, dict):
                yield from _read_value(each, line, state, is_sent=True)
            elif line != _DATA:
                yield from _refuse(line, state, is_last=is_last)
    state.records = now


def _is_content(line: bytes, prefix: bytes) -> bool:
    """Whether a line says no more than that the answer goes on, as far as its bytes tell."""
    if not line.endswith(b"}") or jsonl.hides(line, 0, len(line)):
        return False
    if prefix and line.startswith(prefix):
        return _SAYS.search(line, len(prefix)) is None
    return any(content.match(line) for content in _CONTENT)


def _is_object(content: bytes) -> bool:
    try:
        _SKIP.decode(content)
    except UNDECODABLE:
        return False
    return True


def _read_value(
    value: dict[str, Any], content: bytes, state: State, *, is_sent: bool = False
) -> Iterator[Reported]:
    """Follows an event, or gives the rows of a whole response.

    Gemini's events have the form of whole responses, and only what comes next tells them apart.
    """
    if is_sent or is_event(value) or is_gemini(value):
        yield from _follow(value, content, state)
        return
    yield from _close(state)
    found = exchange(value)
    rows = list(answer_rows(found, state.records, content)) if found is not None else []
    if not rows:
        watch(state.strays, content, "responses", ())(state.records, 0, len(content))
    yield from rows


def _follow(value: dict[str, Any], content: bytes, state: State) -> Iterator[Reported]:
    event = cut_down(value)
    if begins_anew(state.events, event):
        yield from _close(state)
    if is_last_word(state.events, event):
        state.place = state.records
    state.events = add_event(state.events, event)
    state.digest = digest_of(content, state.digest)
    prefix = content[: max(content.find(_CHOICES), 0)]
    state.prefix = prefix if b'"id"' in prefix else b""


def _close(state: State) -> Iterator[Reported]:
    """The rows of the stream that ends here, if one was begun, with the problems in their order."""
    body = merge_stream(state.events)
    rows = answer_rows(Exchange(body), state.place, b"", state.digest) if body else []
    if state.events and not rows:
        rows = [lines.problem(state.place, "no-counts", "a stream without an answer")]
    yield from sorted([*rows, *state.held], key=lambda row: row.record)
    state.events, state.held = [], []
    state.digest, state.place, state.prefix = "", 0, b""
