"""Tells by structure whether a file is one of DeerFlow's: its events, its log, its databases."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tallybook.sources.contract import Tables
from tallybook.sources.lines import Head

RUNS: Final = "runs"
EVENTS: Final = "run_events"
CHECKPOINTS: Final = "checkpoints"
WRITES: Final = "writes"
RUN_COUNTS: Final = frozenset({"total_tokens", "total_input_tokens", "llm_call_count"})

TIME: Final = rb"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?"
_PLAIN: Final = re.compile(
    rb"^" + TIME + rb" - (?:deerflow|app\.gateway)\.[\w.]+ - [A-Z]+ - ", re.MULTILINE
)
_KEYS: Final = frozenset({"thread_id", "run_id", "event_type", "content"})
# A first line may be longer than what is looked at.
_BEGINNING: Final = re.compile(
    rb'\s*\{\s*"thread_id"\s*:\s*"[^"\\]*"\s*,\s*"run_id"\s*:\s*"[^"\\]*"\s*,\s*"event_type"\s*:'
)
_LOOKED_AT: Final = 8  # lines; most of them are events
_LOG_KEYS: Final = frozenset({"timestamp", "logger", "level", "message"})


def sniff(head: Head) -> bool:
    """Whether a file begins with run events, or is the gateway's log."""
    return _is_events(head) or is_gateway_log(head)


def _is_events(head: Head) -> bool:
    found = list(head.objects(_LOOKED_AT))
    if not found:
        return _BEGINNING.match(head.content) is not None
    events = [each for each in found if each.keys() >= _KEYS]
    return 2 * sum(isinstance(each["event_type"], str) for each in events) > len(found)


def is_gateway_log(head: Head) -> bool:
    """Whether a file is a log of the gateway, of lines or of JSON lines."""
    found = list(head.objects(_LOOKED_AT))
    if any(value.keys() >= _LOG_KEYS and _is_ours(value) for value in found[:1]):
        return True
    # Where every line is an object, none is one of text.
    is_text = len(found) < len(head.lines[:_LOOKED_AT])
    return is_text and _PLAIN.search(head.content) is not None


def _is_ours(value: Mapping[str, Any]) -> bool:
    return str(value["logger"]).startswith(("deerflow.", "app.gateway."))


def recognise(tables: Tables) -> bool:
    """Whether the tables are DeerFlow's runs or events, or LangGraph's checkpoints."""
    runs, events = tables.get(RUNS, frozenset()), tables.get(EVENTS, frozenset())
    has_runs = {"run_id", "thread_id"} <= runs and not RUN_COUNTS.isdisjoint(runs)
    has_events = {"run_id", "thread_id", "event_type"} <= events
    return has_runs or has_events or has_checkpoints(tables)


def has_checkpoints(tables: Tables) -> bool:
    """Whether the tables are those of LangGraph's checkpointer."""
    states, writes = (tables.get(name, frozenset()) for name in (CHECKPOINTS, WRITES))
    place = {"thread_id", "checkpoint_id"}
    return place <= states and place | {"channel", "type", "value"} <= writes
