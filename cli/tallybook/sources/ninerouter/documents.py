"""Reads the JSON documents in which 9router kept its usage and its request details until 0.4.24."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, Final

import msgspec
import pyarrow as pa

from tallybook.schema import Reported
from tallybook.sources.contract import FileFacts, Rows
from tallybook.sources.lines import problem
from tallybook.sources.ninerouter import STREAM, WHOLE
from tallybook.sources.ninerouter.captures import read_answer
from tallybook.sources.ninerouter.columns import tables
from tallybook.sources.ninerouter.database import day_row
from tallybook.sources.ninerouter.detail_tables import decode_detail
from tallybook.sources.ninerouter.details import can_tell, is_alone
from tallybook.sources.ninerouter.details import rows as detail_rows
from tallybook.sources.ninerouter.eras import Era
from tallybook.sources.ninerouter.tokens import TWIN
from tallybook.sources.ninerouter.usage_rows import USAGE, Entry, Numbering, from_document, table_of
from tallybook.sources.sqlite_rows import tables_of
from tallybook.tables import table
from tallybook.values import decode

_BACKUPS: Final = "backups"
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_DETAILS: Final = re.compile(rb'\A\s*\{\s*"records"\s*:')


class State(msgspec.Struct):
    """What the file's name and its neighbour say of a document, which is read in one block."""

    is_copy: bool = False
    name: str = ""
    folder: str = ""
    beside: bytes | None = None  # the usage rows beside a document of details


class DetailsDocument(msgspec.Struct):
    """The document `request-details.json`."""

    records: list[msgspec.Raw]


_REQUESTS: Final = msgspec.json.Decoder(DetailsDocument)


def begin(facts: FileFacts) -> State:
    """The first state; the folder tells a backup, or of which request an answer is."""
    folder, name = ("", "", *facts.parts)[-2:]
    is_copy = _BACKUPS in facts.parts
    return State(is_copy=is_copy, name=name, folder=folder, beside=facts.neighbour)


def read(block: bytes, state: State) -> tuple[Rows, State]:
    """The rows of the document, which is the only block there is."""
    if state.name in (STREAM, WHOLE):
        return read_answer(block, state.name, state.folder), state
    return read_document(block, is_copy=state.is_copy, beside=state.beside), state


def finish(_: State) -> list[Reported]:
    """Nothing is left to say at the end of a document."""
    return []


def read_document(block: bytes, *, is_copy: bool, beside: bytes | None = None) -> Rows:
    """The rows of a whole document; of a damaged one those of its records that are whole.

    `beside` is the document of usage rows that lies beside one of details.
    """
    if _DETAILS.match(block):
        with closing(table_of(beside)) as usage:
            return _read_details(block, usage, is_copy=is_copy)
    return _read_usage(block, is_copy=is_copy)


def _read_usage(block: bytes, *, is_copy: bool) -> pa.Table:
    damage: list[Reported] = []
    document = decode(block, USAGE)
    if document is not None:
        history, days = document.history, document.dailySummary
    else:
        history, days = list(_salvaged(block, damage)), None
        if not damage:
            words = "the document cannot be read behind its rows"
            damage.append(problem(len(history) + 1, "truncated", words))
    names = Numbering()
    entries = [
        from_document(record, row, names)
        for record, row in enumerate(history, 1)
        if isinstance(row, dict)
    ]
    damage += [
        problem(record, "bad-line", "not a JSON object")
        for record, row in enumerate(history, 1)
        if not isinstance(row, dict) and row is not None
    ]
    found = days.items() if isinstance(days, dict) else ()
    summed = [day_row(record, day, data) for record, (day, data) in enumerate(found, 1)]
    rows = tables([entries], names, _era(entries, is_copy=is_copy))
    return pa.concat_tables([*rows, table([*summed, *damage])])


def _era(entries: Iterable[Entry], *, is_copy: bool) -> Era:
    twins = [entry.record for entry in entries if entry.counts.shape == TWIN]
    return Era(
        first_twin=twins[0] if twins else None,
        last_twin=twins[-1] if twins else None,
        is_copy=is_copy,
    )


def _read_details(block: bytes, usage: sqlite3.Connection, *, is_copy: bool) -> list[Reported]:
    tells = can_tell(usage, tables_of(usage))
    damage: list[Reported] = []
    document = decode(block, _REQUESTS)
    records: Iterable[Any] = document.records if document else _pieces(block, damage)
    rows = [
        row
        for record, content in enumerate(records, 1)
        for row in _detail(record, content, usage if tells else None, is_copy=is_copy)
    ]
    return [*rows, *damage]


def _detail(
    record: int, content: Any, usage: sqlite3.Connection | None, *, is_copy: bool
) -> list[Reported]:
    detail = decode_detail(record, bytes(content))
    if detail is None:
        return [problem(record, "bad-line", f"not a JSON object ({len(content)} bytes)")]
    detail.is_copy = is_copy
    detail.is_alone = usage is not None and is_alone(usage, detail)
    return detail_rows(detail)


def _salvaged(block: bytes, damage: list[Reported]) -> Iterator[Any]:
    """The rows of a damaged history that are whole; None stands for one that is not."""
    for record, content in enumerate(_pieces(block, damage), 1):
        row = decode(content)
        if row is None:
            damage.append(problem(record, "bad-line", f"not JSON ({len(content)} bytes)"))
        yield row


def _pieces(block: bytes, damage: list[Reported]) -> Iterator[bytes]:
    """The objects in the first list of a damaged document, one after the other."""
    depth, begun, record = 0, -1, 0
    for found in _TOKEN.finditer(block):
        sign = found[0]
        if sign in b"[{":
            if depth == 2 and sign == b"{":
                begun = found.start()
            depth += 1
        elif sign in b"]}":
            depth -= 1
            if depth == 2 and begun >= 0:
                record += 1
                yield block[begun : found.end()]
                begun = -1
            if depth < 2:
                return
    damage.append(problem(record + 1, "truncated", "the document breaks off"))
