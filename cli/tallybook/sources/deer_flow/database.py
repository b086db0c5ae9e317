"""Reads DeerFlow's SQLite files: runs, run events, and what only checkpoints still know."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from tallybook.schema import Reported
from tallybook.sources.contract import FileFacts
from tallybook.sources.deer_flow import checkpoints
from tallybook.sources.deer_flow.events import (
    ANSWERS,
    TASK_END,
    TASK_USAGE,
    TOOL_RESULT,
    Event,
    parse_content,
    parse_metadata,
    read_event,
)
from tallybook.sources.deer_flow.runs import Run, read_run
from tallybook.sources.deer_flow.sniff import EVENTS, RUN_COUNTS, RUNS
from tallybook.sources.deer_flow.values import name
from tallybook.sources.sqlite_rows import tables_of
from tallybook.values import names_in

_ROWS: Final = 20_000  # of one table that is given back


def query(connection: sqlite3.Connection, facts: FileFacts) -> Iterator[list[Reported]]:
    """The rows of a database in bounded numbers, what is worth most first."""
    # Bytes, because a text that is no UTF-8 would end the whole query.
    connection.text_factory = bytes
    rows = _rows(connection, facts)
    while batch := list(islice(rows, _ROWS)):
        yield batch


def _rows(connection: sqlite3.Connection, facts: FileFacts) -> Iterator[Reported]:
    tables = tables_of(connection)
    runs, events = tables.get(RUNS, frozenset()), tables.get(EVENTS, frozenset())
    if {"run_id", "thread_id"} <= runs and not RUN_COUNTS.isdisjoint(runs):
        for record, *values in connection.execute(_select(RUNS, runs, Run._fields)):
            yield from read_run(Run(*values), record)
    if {"run_id", "event_type"} <= events:
        yield from _events(connection, events)
        if "content" in events:
            yield from _tool_results(connection, events)
    yield from checkpoints.read(connection, tables, facts, is_alone=not runs | events)


def _select(source: str, present: frozenset[str], wanted: Iterable[str]) -> str:
    """A query for row number and wanted columns of a table; a column that it lacks is NULL."""
    fields = ", ".join(column if column in present else "NULL" for column in wanted)
    return f"SELECT rowid, {fields} FROM {source}"  # noqa: S608 - the names are constants


_EVENT_COLUMNS: Final = names_in("thread_id run_id event_type content event_metadata created_at")
_USAGE: Final = (*ANSWERS, TASK_END)
# The runs in which more tasks began than ended.
_OPEN: Final = (
    "FROM run_events WHERE event_type IN ('subagent.start', 'subagent.end') GROUP BY run_id"
    " HAVING sum(event_type = 'subagent.end') < sum(event_type = 'subagent.start')"
)


def _events(connection: sqlite3.Connection, present: frozenset[str]) -> Iterator[Reported]:
    """The events that state usage; the type stands before the content, so no other is loaded."""
    places = ", ".join("?" * len(_USAGE))
    yield from _read(connection, present, f"event_type IN ({places})", _USAGE)


def _tool_results(connection: sqlite3.Connection, present: frozenset[str]) -> Iterator[Reported]:
    """The results of delegated tasks, in the runs where the end of some task is missing.

    They repeat what the end of the task says, in contents of any size.
    """
    if connection.execute(f"SELECT 1 {_OPEN} LIMIT 1").fetchone() is not None:
        condition = f"event_type = ? AND run_id IN (SELECT run_id {_OPEN}) AND instr(content, ?)"
        values = (TOOL_RESULT, TASK_USAGE.decode())
        yield from _read(connection, present, condition, values)


def _read(
    connection: sqlite3.Connection,
    present: frozenset[str],
    condition: str,
    values: Sequence[str | None],
) -> Iterator[Reported]:
    statement = f"{_select(EVENTS, present, _EVENT_COLUMNS)} WHERE {condition}"
    for record, thread, run, kind, content, metadata, created in connection.execute(
        statement, values
    ):
        event = Event(
            thread_id=name(thread),
            run_id=name(run),
            event_type=name(kind),
            content=parse_content(content) if isinstance(content, bytes) else None,
            metadata=parse_metadata(metadata) if isinstance(metadata, bytes) else None,
            created_at=created,
        )
        yield from read_event(event, record, EVENTS)
