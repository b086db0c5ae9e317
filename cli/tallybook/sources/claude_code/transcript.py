"""Reads the lines of a transcript: responses, copies in progress lines, the client's own totals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from tallybook.schema import (
    ASSERTION,
    BROKEN_OFF,
    CALL,
    COMPACT,
    COMPACTED,
    COPY,
    EVENT,
    RESPONSE,
    Reported,
)
from tallybook.sources.claude_code.lines import Carried, Ended, Line, Message
from tallybook.sources.claude_code.responses import (
    DIALECT,
    codes,
    moment,
    prompt_counts,
    provider,
    put_counts,
    response,
    total_counts,
    within,
)
from tallybook.sources.claude_code.skip import TRUNCATED
from tallybook.sources.claude_code.state import State
from tallybook.sources.claude_code.threads import (
    SUBAGENT,
    Link,
    chain,
    is_minted,
    put_thread,
    put_whose,
)
from tallybook.values import count, inside, money, text


def totals(
    begun: Reported, model_usage: dict[str, Any], problems: list[str]
) -> Iterator[tuple[str, Reported]]:
    """Each model with the row of its total; `begun` and `problems` are the record's as a whole."""
    for model, total in model_usage.items():
        found = list(problems)
        row = msgspec.structs.replace(
            begun,
            **total_counts(total, found),
            part=within(begun.part, f"modelUsage.{model}"),
            dialect=DIALECT,
            calls=None,
            model=text(model),
            provider=provider(model),
            running=True,
            reported_cost_usd=money(inside(total, "costUSD"), found),
        )
        row.problems = codes(found)
        yield model, row


def read_assistant(line: Line, record: int, part: str | None, state: State) -> list[Reported]:
    """Rows of a line that holds a block of a response; none if it states no usage."""
    message = _with_usage(line)
    if message is None:
        return []
    row = _begun(line, record, part, state)
    row.request_id, row.record_id = text(line.request_id), text(line.uuid)
    link = _link(message, row.request_id)
    row.chain_id = chain(state.links, row.record_id, text(line.parent_uuid), link)
    row.block_index = count(line.block_index, [])
    row.requested_model = text(line.requested_model)
    elsewise = None if row.request_id else _elsewise(line, line.timestamp)
    rows = response(row, message, line.timestamp, elsewise, line)
    _mark_older(rows, state)
    if row.kind == CALL and (state.place.agent is not None or not row.sidechain):
        state.model = row.model
    word = "streamCutCause" if line.cut_cause is not None else "isAbortedMidStream"
    if line.cut_cause is None and line.is_aborted is not True:
        return rows
    if row.kind == EVENT:  # what the client wrote in the place of the rest
        return rows + read_cut_off(line, record, within(part, word), state)
    return [*rows, _cut_off(row.identity, line, within(part, word), record, state)]


def _begun(line: Line, record: int, part: str | None, state: State) -> Reported:
    """A row that says where it stands, and whose it is."""
    row = Reported(record=record, part=part, project=text(line.cwd))
    put_whose(row, line, state.place, state.sidechain_run)
    return row


def _link(message: Message, request_id: str | None) -> Link:
    """The record's place in its response; the prompt only where no id tells the response."""
    message_id = text(message.id)
    is_told = request_id is not None or message_id is None or is_minted(message_id)
    return Link(message_id, None, None if is_told else prompt_counts(message.usage), request_id)


def _mark_older(rows: list[Reported], state: State) -> None:
    """A line that is older than its file was copied into it: a fork begins with its parent's."""
    if state.begun is not None:
        for row in rows:
            row.is_copy |= row.timestamp is not None and row.timestamp < state.begun


def read_compaction(line: Line, record: int, part: str | None, state: State) -> list[Reported]:
    """The call that shortened the conversation, of which the client logs that it was made at most.

    Where it has a file of its own, that one has the counts.
    """
    row = _without_counts(line, record, part, state, COMPACTED)
    row.caller = COMPACT
    row.context_tokens = count(inside(line.compaction, "preTokens"), [])
    return [row]


def read_error(line: Line, record: int, part: str | None, state: State) -> list[Reported]:
    """The call whose answer broke off before any of it was written; none where nothing came.

    An answer that was refused, or never begun, is charged for by nobody.
    """
    if inside(inside(line.error, "connection"), "code") != TRUNCATED:
        return []
    return [_without_counts(line, record, part, state, BROKEN_OFF)]


def _without_counts(
    line: Line, record: int, part: str | None, state: State, begin: str
) -> Reported:
    """A call of which the line says that it was made; `begin` is that of its identity."""
    row = _begun(line, record, part, state)
    row.record_id = text(line.uuid)
    row.identity = row.record_id and f"{begin}{row.record_id}"
    row.dialect = DIALECT
    row.model, row.model_ahead = state.model, state.model is None
    row.provider = provider(state.model)
    problems = ["no-counts"]
    row.timestamp = moment(line.timestamp, problems)
    row.problems = codes(problems)
    _mark_older([row], state)
    return row


def read_cut_off(line: Line, record: int, part: str | None, state: State) -> list[Reported]:
    """The client's word that the response before broke off; nothing if it is not in the file.

    Its lines have the count that the stream began with, and a stop reason that the client made up.
    """
    link = state.links.get(text(line.parent_uuid) or "")
    return [_cut_off(link.identity, line, part, record, state)] if link else []


def _cut_off(
    identity: str | None, line: Line, part: str | None, record: int, state: State
) -> Reported:
    """An event that says of the response with that identity that its counts are not final."""
    row = _begun(line, record, part, state)
    row.kind, row.calls, row.identity, row.finished = EVENT, None, identity, False
    row.timestamp = moment(line.timestamp, [])
    return row


def read_agent_end(
    line: Line, ended: Ended, part: str, record: int, state: State
) -> list[Reported]:
    """What a thread was told of a sub-agent's last response; nothing if no counts are.

    The tool states them when the stream is over, so the output is the last one.
    """
    problems: list[str] = []
    row = Reported(record=record, part=part, kind=RESPONSE, dialect=DIALECT, finished=True)
    put_counts(row, ended.usage, problems)
    row.reported_total_tokens = count(ended.total_tokens, problems)
    if row.reported_total_tokens is None and row.reported_output_tokens is None:
        return []
    agent = text(ended.agent_id) or f"sidechain-{state.sidechain_run}"
    put_thread(row, state.place.session or text(line.session), agent)
    row.record_id, row.project = text(line.uuid), text(line.cwd)
    row.identity = row.record_id and f"end:{row.record_id}"
    row.timestamp = moment(line.timestamp, problems)
    row.problems = codes(problems)
    return [row]


def _with_usage(line: Line) -> Message | None:
    message = line.message or Message()
    if message.usage is None:
        message.usage = _oldest_usage(line)
    return message if message.usage is not None else None


def _oldest_usage(line: Line) -> dict[str, Any] | None:
    """The counts that the oldest lines had beside the message, as a usage object."""
    stated = {
        "input_tokens": line.input_tokens,
        "output_tokens": line.output_tokens,
        "cache_read_input_tokens": line.cached_tokens,
        "cache_creation_input_tokens": line.cache_creation_tokens,
    }
    return stated if any(value is not None for value in stated.values()) else None


def _elsewise(line: Line, timestamp: object) -> str | None:
    session, time = text(line.session), text(timestamp)
    return f"{session or ''}@{time or ''}" if session or time else None


def read_progress(line: Line, record: int, part: str | None, state: State) -> list[Reported]:
    """Rows of a sub-agent's response that the waiting thread's log repeats; often there is none."""
    carried = line.data.message if line.data else None
    if carried is None or carried.type != "assistant":
        return []
    if carried.message is None or carried.message.usage is None:
        return []
    message = carried.message
    row = Reported(record=record, part=part, evidence=COPY, project=text(line.cwd))
    row.request_id, row.record_id = text(carried.request_id), text(carried.uuid)
    row.chain_id = chain(state.links, row.record_id, None, _link(message, row.request_id))
    _put_waited_for(row, line, carried, state)
    time = line.timestamp if carried.timestamp is None else carried.timestamp
    return response(row, message, time, _elsewise(line, carried.timestamp))


def _put_waited_for(row: Reported, line: Line, carried: Carried, state: State) -> None:
    """Put on a row that it is of the sub-agent in a progress line."""
    named = text(line.data.agent_id) if line.data else None
    agent = named or text(line.waiting_tool_use_id) or SUBAGENT
    put_thread(row, state.place.session or text(line.session), agent)
    row.caller = text(carried.agent_type) or SUBAGENT
    row.sidechain = row.is_copy = True


def read_cost_state(line: Line, record: int, part: str | None) -> list[Reported]:
    """Rows of the client's totals, one a model. They run up within one process of a session."""
    if not isinstance(line.model_usage, dict):
        return []
    session = text(line.session)
    begun = line.start_time if isinstance(line.start_time, str | int | float) else ""
    row = Reported(record=record, part=part, kind=ASSERTION, series=f"{session or ''}|{begun}")
    put_thread(row, session)
    return [total for _, total in totals(row, line.model_usage, [])]
