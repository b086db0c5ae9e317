"""The parts of a Codex line that say anything about usage, and how a line is decoded into them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from tallybook.sources import jsonl
from tallybook.values import MAX_COUNT, UNDECODABLE, count, decode, inside, text

_EVENTS: Final = (
    rb"token_count|thread_settings_applied|task_started|entered_review_mode|exited_review_mode"
)

# The start of a line in the order that Codex writes, up to its type and with it. Anything that it
# does not match is looked at with MARKER, so another key order or spacing costs time and never a
# line. Nearly all are told by the first letter of their type.
_SILENT: Final = re.compile(
    rb'(\{"timestamp":"[^"\\\n]*+"(?:,"ordinal":\d+)?+),"type":"(?:'
    rb'response_item","payload":\{"type":"(?:[^w\\]|(?!web_search_call")[^"\\]*+")|world_state"'
    rb'|event_msg","payload":\{"type":"(?:[^te\\]|(?!(?:' + _EVENTS + rb')")[^"\\]*+"))'
)
_COUNT: Final = b',"type":"event_msg","payload":{"type":"token_count"'
_BEGINS: Final = b'{"timestamp":"'
_SEAM: Final = b"}\n" + _BEGINS  # an object ends, and a line begins as all but odd ones do
_SEAM_END: Final = len(_SEAM) - 1
_TIME_END: Final = len(_BEGINS + b'2026-01-01T00:00:00.000Z"')

# Values, not keys: inside a text the closing quote would be escaped, so no message can match. The
# header of the oldest logs has nothing else to tell it than its id.
MARKER: Final = re.compile(
    rb'"(?:' + _EVENTS + rb"|token_usage_record|turn_context|session_meta|compacted"
    rb"|inter_agent_communication(?:_metadata)?|thread\.started|turn\.completed|web_search_call"
    rb'|session_configured|record_type|workdir|id"[ \t]*:[ \t]*"[0-9a-fA-F-]{36})"'
)


def spans(block: bytes, state: jsonl.Counting) -> Iterator[tuple[int, int, int, bool]]:
    """Each line that cannot be passed over, as `jsonl.spans` has them; counts all lines.

    Most lines have the type of an earlier one at the same place, and equal bytes need no pattern.
    """
    known = {_COUNT: True}  # by the bytes from the type on: whether a line states usage
    begin, record, size, at = 0, state.records, len(block), _TIME_END
    find, starts, match, width = block.find, block.startswith, _SILENT.match, len(_COUNT)
    is_plain = starts(_BEGINS)
    while begin < size:
        end = find(b"\n", begin)
        record += 1
        told = block[begin + at : begin + at + width]
        is_count = known.get(told) if is_plain else None
        is_plain = block[end - 1 : end + _SEAM_END] == _SEAM  # so is the next line
        if is_count is False and is_plain:
            begin = end + 1
            continue
        if is_count is None and (found := match(block, begin)):
            is_count, at = False, found.end(1) - begin
            if found.end() <= begin + at + width:
                known[block[begin + at : begin + at + width]] = False
        if end < 0:  # the last one of its file, which may be cut behind any brace
            end = size
            yield record, begin, end, True
        elif is_count is not False or block[end - 1] not in jsonl.CLOSERS:
            if block[begin] <= jsonl.SPACE and (blank := jsonl.blanks(block, begin)):
                end, more = blank
                record += more
            else:
                yield record, begin, end, is_count is True
        begin = end + 1
        is_plain = is_plain or starts(_BEGINS, begin)
    state.records = record


# A model has answered, whether or not the file says what that took.
_ACTIVITY: Final = (
    rb'"role"[ \t]*:[ \t]*"assistant"|"type"[ \t]*:[ \t]*"(?:reasoning|function_call'
    rb'|custom_tool_call|local_shell_call|web_search_call|agent_message|agent_reasoning)"'
)

# What tells that another thread has: a review runs in a thread of its own, and its result is put
# into the one that asked for it as if that had answered.
_REVIEWED_ACTIVITY: Final = re.compile(
    rb'"(?P<entered>entered_review_mode|EnteredReviewMode)"'
    rb'|"(?P<exited>exited_review_mode|ExitedReviewMode)"'
    rb'|"(?P<asked>turn_context)"|"(?P<begun>task_started)"|' + _ACTIVITY
)
Review: TypeAlias = Literal["none", "open", "ended"]  # its result may follow its end


def find_answer(block: bytes, begin: int, end: int, review: Review) -> tuple[bool, Review]:
    """Whether a model has answered in the lines, and how a review stands after them.

    A review that was broken off is over where the thread asks a model itself.
    """
    for found in _REVIEWED_ACTIVITY.finditer(block, begin, end):
        match found.lastgroup:
            case "entered":
                review = "open"
            case "exited":
                review = "ended"
            case "asked":
                review = "none"
            case "begun":
                review = "none" if review == "ended" else review
            case _ if review == "none":
                return True, review
    return False, review


_SEARCH: Final = b'"web_search_call"'


def runs_search(line: bytes) -> bool:
    """Whether a line is a search that the provider ran, as an item of the thread's own answers.

    A compaction holds the items of answers that were charged for before it.
    """
    value = decode(line) if _SEARCH in line else None
    if not isinstance(value, dict) or value.get("type") != "response_item":
        return False
    from tallybook.dialects.responses import is_search  # noqa: PLC0415 - loads all, for a few lines

    return is_search(value.get("payload"))


BAD_COUNT: Final = -1  # what is no count, as `values.count` has it; nor is this one
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=BAD_COUNT, le=MAX_COUNT)] | None

# Other scalars are `Any`, and a line with other counts is read twice: a text where a number belongs
# must cost that number, not the line.


class Usage(msgspec.Struct, gc=False):
    """Token counts of one response, one turn or one thread, as logged."""

    input_tokens: Count = None
    cached_input_tokens: Count = None
    cache_write_input_tokens: Count = None
    cache_creation_input_tokens: Count = None  # the same, as a fork for Claude names it
    output_tokens: Count = None
    reasoning_output_tokens: Count = None
    total_tokens: Count = None
    service_tier: Any = None


class Info(msgspec.Struct, gc=False):
    """What a `token_count` states: the thread's running total and the last response."""

    total_token_usage: Usage | None = None
    last_token_usage: Usage | None = None
    model: Any = None
    model_name: Any = None
    metadata: Any = None


class Settings(msgspec.Struct, gc=False):
    """The settings that `thread_settings_applied` put in force."""

    model: Any = None
    model_provider_id: Any = None
    service_tier: Any = None


class UsageRecord(msgspec.Struct, gc=False):
    """Payload of a `token_usage_record`: one response and the thread's total after it."""

    thread_id: Any = None
    turn_id: Any = None
    response_id: Any = None
    model: Any = None
    usage: Usage | None = None
    thread_token_usage: Usage | None = None


class Payload(UsageRecord, gc=False):
    """The union of all payloads that are read; one decoder for all is the fastest."""

    type: Any = None
    info: Info | None = None
    # session_meta
    id: Any = None
    session_id: Any = None
    timestamp: Any = None
    cwd: Any = None
    model_provider: Any = None
    source: Any = None
    thread_source: Any = None
    parent_thread_id: Any = None
    forked_from_id: Any = None
    agent_role: Any = None
    cli_version: Any = None
    history_base: Any = None
    subagent_history_start_ordinal: Any = None
    # turn_context, task_started, thread_settings_applied, inter_agent_communication
    model_info: Any = None
    started_at: Any = None
    thread_settings: Settings | None = None
    trigger_turn: Any = None
    # compacted
    message: Any = None
    replacement_history: Any = None
    compaction_response_id: Any = None
    latest_token_usage_record: UsageRecord | None = None


class Message(Usage, gc=False):
    """`msg` of the first `codex exec --json` format, where the counts may lie flat."""

    type: Any = None
    info: Info | None = None
    session_id: Any = None
    model: Any = None


class Line(msgspec.Struct, gc=False):
    """A line of a rollout or a capture; what a line does not have is None."""

    type: Any = None
    timestamp: Any = None
    ordinal: Any = None
    payload: Payload | None = None
    # captures
    thread_id: Any = None
    usage: Usage | None = None
    model: Any = None
    msg: Message | None = None
    workdir: Any = None
    provider: Any = None
    # before the envelope
    id: Any = None
    record_type: Any = None


class Misshapen(msgspec.Struct):
    """A JSON object whose inner shape is not the one its type has."""

    type: str | None
    event: str | None  # type inside the payload
    complaint: str  # names the place, never the content


_COUNTS: Final = frozenset(Usage.__struct_fields__) - {"service_tier"}
_DECODER: Final = msgspec.json.Decoder(Line)


def parse(line: bytes) -> Line | Misshapen | None:
    """The line's parts; None where the line is no JSON object."""
    try:
        return _DECODER.decode(line)
    except UNDECODABLE:
        return _parse_odd(line)


def _parse_odd(line: bytes) -> Line | Misshapen | None:
    value = decode(line)
    if not isinstance(value, dict):
        return None
    _put_whole_counts(value)
    try:
        return msgspec.convert(value, Line)
    except msgspec.ValidationError as error:
        event = inside(value.get("payload") or value.get("msg"), "type")
        return Misshapen(text(value.get("type")), text(event), str(error))


def _put_whole_counts(value: Any, levels: int = 4) -> None:
    """Put the numbers that they are in place of counts, and BAD_COUNT where they are none."""
    if isinstance(value, dict) and levels:
        for name in _COUNTS & value.keys():
            problems = list[str]()
            number = count(value[name], problems)
            value[name] = BAD_COUNT if problems else number
        for inner in value.values():
            _put_whole_counts(inner, levels - 1)
