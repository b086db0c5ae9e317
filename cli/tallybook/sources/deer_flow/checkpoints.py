"""Reads the messages in LangGraph's checkpoints, the only log of runs whose events were not kept.

Checkpoints repeat every message; it is taken from the write that put it there first, for later
ones may have the usage of sub-agents added to it. The states themselves are never loaded.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from tallybook.schema import STATE, SUM, Reported
from tallybook.sources import lines
from tallybook.sources.contract import FileFacts, Tables
from tallybook.sources.deer_flow.events import (
    ANSWERS,
    TOOL_RESULT,
    Answer,
    Content,
    Event,
    loosely,
    read_event,
)
from tallybook.sources.deer_flow.sniff import CHECKPOINTS, WRITES, has_checkpoints
from tallybook.sources.deer_flow.values import instant, langchain_run, own_id, text
from tallybook.values import uuid_time

# Extension codes: 0 to 5 name a class and hold what to build it from, 7 holds a wrapped value.
_CONSTRUCTORS: Final = range(6)
_SNAPSHOT: Final = 7
_ARGUMENTS: Final = 2  # place of the arguments, behind module and class
_TIME: Final = re.compile(
    rb"\xa2ts(?:\xd9.|[\xa0-\xbf])(\d{4}-\d\d-\d\dT[\d:.]+(?:[+-]\d\d:\d\d|Z)?)", re.DOTALL
)
_COUNTS: Final = ("input_tokens", "output_tokens", "total_tokens")
_RAW: Final = "checkpoint-raw"  # the provider's own object was there, and nobody adds to that
_TOLD: Final = "checkpoint-less-tasks"  # what was added is said to have been
_GUESSED: Final = "checkpoint-less-tasks-guessed"  # it was taken off on the strength of the order
_Added = tuple[bool, Mapping[str, Any]]


def unpack(value: bytes) -> Any:
    """The plain value; objects are the mappings they would be built from. Raises ValueError."""
    try:
        return msgspec.msgpack.decode(value, ext_hook=_extension)
    except (msgspec.DecodeError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _extension(code: int, data: memoryview) -> Any:
    if code == _SNAPSHOT:
        return msgspec.msgpack.decode(data, ext_hook=_extension)
    if code not in _CONSTRUCTORS:
        return None
    parts = msgspec.msgpack.decode(data, ext_hook=_extension)
    return parts[_ARGUMENTS] if isinstance(parts, list) and len(parts) > _ARGUMENTS else None


def messages(value: Any) -> Iterator[dict[str, Any]]:
    """The messages of a write: one or a list of them."""
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, dict) and "type" in part:
            yield part


def stamped(beginning: bytes) -> str | None:
    """The time that a stored checkpoint states near its beginning."""
    found = _TIME.search(beginning)
    return found[1].decode("ascii") if found else None


_ANSWER_TYPES: Final = ("ai", "AIMessageChunk")
_BEGINNING: Final = 256  # bytes of a checkpoint in which its time stands
_LOOKED_AT: Final = 50  # checkpoints of which some must be DeerFlow's
_OURS: Final = (b'"thinking_enabled"', b'"is_plan_mode"', b'"subagent_enabled"', b"deerflow")


def read(
    connection: sqlite3.Connection, tables: Tables, facts: FileFacts, *, is_alone: bool
) -> Iterator[Reported]:
    """A row per answer and delegated task; one problem where the file is another program's."""
    if not has_checkpoints(tables):
        return
    if is_alone and not _is_ours(connection, facts):
        yield lines.problem(0, "unclaimed", "LangGraph checkpoints of another program")
        return
    seen: set[str] = set()
    kept = _threads_with_events(connection, tables)
    for record, thread, checkpoint in connection.execute(
        "SELECT rowid, thread_id, checkpoint_id FROM writes WHERE channel = 'messages'"
        " ORDER BY checkpoint_id, rowid"
    ):
        if thread not in kept:
            yield from _write(connection, record, (thread, checkpoint), seen)


def _is_ours(connection: sqlite3.Connection, facts: FileFacts) -> bool:
    """DeerFlow keeps its own settings in the metadata of each checkpoint."""
    if any("deer-flow" in part for part in facts.parts):
        return True
    rows = connection.execute("SELECT metadata FROM checkpoints LIMIT ?", (_LOOKED_AT,))
    stored = (found for (found,) in rows if isinstance(found, bytes))
    return any(mark in found for found in stored for mark in _OURS)


def _threads_with_events(connection: sqlite3.Connection, tables: Tables) -> set[Any]:
    """Threads that began with a run and whose runs all have their answers among the events.

    Events are written some at a time, so those of a run that was killed are not all there.
    """
    runs, events = tables.get("runs", frozenset()), tables.get("run_events", frozenset())
    if not ({"total_tokens", "created_at", "status"} <= runs and "event_type" in events):
        return set()
    begun = {
        thread: instant(created)
        for thread, created in connection.execute(
            "SELECT thread_id, min(created_at) FROM runs GROUP BY thread_id"
            " HAVING sum(status <> 'success' OR total_tokens > 0 AND run_id NOT IN (SELECT run_id"
            " FROM run_events WHERE run_id IS NOT NULL AND event_type IN (?, ?, ?, ?))) = 0",
            ANSWERS,
        )
    }
    first = connection.execute(
        "SELECT thread_id, min(checkpoint_id) FROM writes GROUP BY thread_id"
    )
    times = {thread: uuid_time(text(checkpoint)) for thread, checkpoint in first}
    return {
        thread
        for thread, time in begun.items()
        if time is not None and (found := times.get(thread)) is not None and found >= time
    }


def _write(
    connection: sqlite3.Connection, record: int, place: tuple[Any, Any], seen: set[str]
) -> Iterator[Reported]:
    """The rows of one write, but for messages that an earlier one had."""
    stored = connection.execute(
        "SELECT type, value FROM writes WHERE rowid = ?", (record,)
    ).fetchone()
    try:
        if stored is None:
            raise ValueError("the row is gone")
        kind, value = stored
        if text(kind) != "msgpack" or not isinstance(value, bytes):
            raise ValueError(f"type {text(kind)}")
        found = list(messages(unpack(value)))
    except ValueError as error:
        row = lines.problem(record, "bad-value", f"messages of a write: {error}")
        row.part = WRITES
        yield row
        return
    thread = text(place[0]) or "?"
    fresh = [_is_new(message, thread, seen) for message in found]
    time = _time(connection, place) if any(fresh) else None
    for index, (message, mark) in enumerate(_less_tasks(found)):
        if fresh[index]:
            for row in _message(message, time, thread, (record, f"{WRITES}[{index}]")):
                yield _marked(row, text(message.get("id")), mark)


def _is_new(message: dict[str, Any], thread: str, seen: set[str]) -> bool:
    """Whether a message may state usage that no earlier write stated."""
    identifier, tool = text(message.get("id")), text(message.get("tool_call_id"))
    if message.get("type") in _ANSWER_TYPES:
        key = langchain_run(identifier) or (own_id(identifier, thread) if identifier else None)
    elif message.get("type") == "tool":
        key = f"task:{identifier or thread}:{tool}"
    else:
        return False
    if key in seen:
        return False
    if key is not None:
        seen.add(key)
    return True


def _message(
    message: dict[str, Any], time: str | None, thread: str, place: tuple[int, str]
) -> Iterator[Reported]:
    content = loosely(message, Content)
    if message.get("type") == "tool":
        kind = TOOL_RESULT
    elif not content.usage_metadata and (content.response_metadata or Answer()) == Answer():
        return  # the program wrote it itself, in place of an answer that failed for one
    else:
        kind = ANSWERS[0]
    event = Event(thread_id=thread, event_type=kind, content=content, created_at=time)
    yield from read_event(event, *place)


def _marked(row: Reported, message: str | None, mark: str | None) -> Reported:
    row.evidence, row.rule = STATE, mark or "checkpoint"
    if row.kind == SUM and message is not None:
        # It names no run, and providers give the id of a tool call out again.
        row.identity = f"task:{message}"
    row.difference = mark in (_TOLD, _GUESSED)
    if mark == _GUESSED:
        row.assumed = ["input", "output"]
    return row


def _time(connection: sqlite3.Connection, place: tuple[Any, Any]) -> str | None:
    """When the step began in which the write was made."""
    found = uuid_time(text(place[1]))
    if found is not None:
        return found.isoformat()
    row = connection.execute(
        "SELECT rowid FROM checkpoints WHERE thread_id = ? AND checkpoint_id = ?",
        [text(value) for value in place],
    ).fetchone()
    if row is None:
        return None
    try:
        with connection.blobopen(CHECKPOINTS, "checkpoint", row[0], readonly=True) as blob:
            return stamped(blob.read(_BEGINNING))
    except sqlite3.Error:
        return None


def _less_tasks(messages: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str | None]]:
    """The messages of one write, those without additions that asked for tasks answered in it.

    A message whose tasks are answered in the same write was written again after them, and by then
    their usage had been added to it: since August 2026 with a word of it at the task's result,
    before without one. What was done about it is said beside it: `_RAW`, `_TOLD` or `_GUESSED`.
    """
    results = [message for message in messages if message.get("type") == "tool"]
    for message in messages:
        usage = message.get("usage_metadata")
        added = list(_added(message, results)) if isinstance(usage, dict) else []
        yield _without(message, usage, added) if added else (message, None)


def _without(
    message: dict[str, Any], usage: Any, added: Sequence[_Added]
) -> tuple[dict[str, Any], str | None]:
    raw = _as_logged(message)
    if raw is not None:
        return {**message, "usage_metadata": raw}, _RAW
    less = {name: _minus(usage, added, name) for name in _COUNTS}
    if any(value is not None and value < 0 for value in less.values()):
        return message, None
    mark = _TOLD if all(flagged for flagged, _ in added) else _GUESSED
    return {**message, "usage_metadata": {**usage, **less}}, mark


def _added(message: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> Iterator[_Added]:
    """The usage of each task that the message asked for, and whether it says it was added."""
    calls = message.get("tool_calls")
    found = calls if isinstance(calls, list) else []
    call_ids = {text(call.get("id")) for call in found if isinstance(call, dict)}
    for result in results:
        extra = result.get("additional_kwargs")
        if not isinstance(extra, dict) or text(result.get("tool_call_id")) not in call_ids:
            continue
        usage = extra.get("subagent_token_usage")
        if isinstance(usage, dict):
            yield extra.get("subagent_token_usage_attributed") is True, usage


def _minus(usage: Mapping[str, Any], added: Sequence[_Added], name: str) -> int | None:
    total, parts = usage.get(name), [each.get(name) for _, each in added]
    numbers = [number for number in (total, *parts) if isinstance(number, int)]
    return numbers[0] - sum(numbers[1:]) if len(numbers) == len(parts) + 1 else None


def _as_logged(message: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the provider itself stated, which nothing was added to."""
    answer = message.get("response_metadata")
    if not isinstance(answer, dict):
        return None
    found = answer.get("token_usage") or answer.get("usage")
    return found if isinstance(found, dict) else None
