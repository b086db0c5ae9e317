"""Reads from the gateway's log what is logged nowhere else: what memory extraction used.

The lines that the log has per call of an agent are left alone: they name neither model nor run,
and say again what runs add up.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tallybook.dialects import put_usage, read_usage
from tallybook.schema import Reported
from tallybook.sources import jsonl, lines
from tallybook.sources.deer_flow.events import HINT
from tallybook.sources.deer_flow.sniff import TIME
from tallybook.sources.deer_flow.values import instant, text
from tallybook.values import decode, encode

_STAMP: Final = re.compile(rb"\s*(" + TIME + rb") - ")
_MARKER: Final = re.compile(rb"Memory extraction metrics: thread=|" + jsonl.ESCAPED.pattern)
_METRICS: Final = re.compile(
    r"Memory extraction metrics: thread=(\S+) model=(\S+)(?:.*? token_usage=(\{.*\}))?", re.DOTALL
)
_NAMELESS: Final = "None"
_LONGEST: Final = 4096  # characters of a usage object; real ones have some two hundred


def read_log(block: bytes, state: jsonl.Counting) -> Iterator[Reported]:
    """The rows of a block of whole lines. Most lines are of text, and of anybody's."""
    for record, line in lines.scan(block, _MARKER, state.records + 1):
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
    counts = read_usage(stated, HINT) if (stated := _literal(usage)) else None
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
