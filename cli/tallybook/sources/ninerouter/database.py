"""Reads a database of 9router: usage rows, request details and the sums of each day."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from tallybook.schema import ASSERTION, Reported
from tallybook.sources.contract import FileFacts, Rows, Tables
from tallybook.sources.ninerouter.builds import builds_of
from tallybook.sources.ninerouter.columns import tables
from tallybook.sources.ninerouter.detail_tables import detail_rows
from tallybook.sources.ninerouter.details import Estimates
from tallybook.sources.ninerouter.eras import Era
from tallybook.sources.ninerouter.sniff import USAGE_TABLES, usage_tables
from tallybook.sources.ninerouter.usage_rows import Entry, Numbering, from_database, table_of
from tallybook.sources.sqlite_rows import rows_of, tables_of
from tallybook.values import count, decode, money

PART: Final = "day"
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def day_row(record: int, day: Any, data: Any) -> Reported:
    """The row of one day; `data` is the object with the sums, or its JSON text."""
    problems: list[str] = []
    if isinstance(data, (str, bytes)):
        data = decode(data)
    if not isinstance(data, dict):
        data = {}
        problems.append("no-counts")
    row = Reported(
        record=record,
        part=PART,
        kind=ASSERTION,
        dialect="openai",
        rule="daily-sum",
        calls=count(data.get("requests"), problems),
        reported_input_tokens=count(data.get("promptTokens"), problems),
        reported_output_tokens=count(data.get("completionTokens"), problems),
        reported_cost_usd=money(data.get("cost"), problems),
        detail=f"local day {day}" if _DAY.fullmatch(str(day)) else "a day of no date",
    )
    row.problems = problems or None
    return row


_BACKUPS: Final = "backups"
_ANY: Final = 2**63 - 1  # farther than any record
_DAY_ROWS: Final = 500
# The columns of an entry, with the names that they have in the tables of the forks, see `sniff`.
_WORDS: Final = {
    "provider": "provider",
    "model": "model",
    "connectionId": "connection_id",
    "apiKey": "api_key",
    "endpoint": "endpoint",
}
_COLUMNS: Final = {
    "timestamp": "timestamp",
    **_WORDS,
    "cost": "cost",
    "tokens": None,  # its own in each table
    "promptTokens": "prompt_tokens",
    "completionTokens": "completion_tokens",
}


def query(connection: sqlite3.Connection, facts: FileFacts) -> Iterator[Rows]:
    """The rows of a database in tables of bounded size; damage is stepped over and said."""
    found = tables_of(connection)
    era = _era(connection, found, facts)
    gaps: list[Reported] = []
    # Details first: they tell which rows are estimates.
    estimates = Estimates()
    with closing(table_of(facts.neighbour)) as beside:
        for made in detail_rows(connection, found, gaps, beside, is_copy=era.is_copy):
            estimates.note(made)
            yield made
    for table in usage_tables(found):
        names = Numbering()
        entries = _entries(connection, table, found[table], names, gaps)
        yield from tables(entries, names, era, estimates)
    if {"dateKey", "data"} <= found.get("usageDaily", frozenset()):
        yield from _days(connection, gaps)
    yield gaps


def _entries(
    connection: sqlite3.Connection,
    table: str,
    there: frozenset[str],
    names: Numbering,
    gaps: list[Reported],
) -> Iterator[list[Entry]]:
    columns = [_column(name, table, there) for name in _COLUMNS]
    for batch in rows_of(connection, table, columns, gaps):
        yield from_database(batch, names)


def _column(name: str, table: str, there: frozenset[str]) -> str:
    """A column as the entries take it: words as texts that are not empty, else nothing."""
    own = name if table == "usageHistory" else _COLUMNS[name] or USAGE_TABLES[table]
    if own not in there:
        return "NULL"
    return f"nullif(CAST({own} AS TEXT), '')" if name in _WORDS else own


def _era(connection: sqlite3.Connection, found: Tables, facts: FileFacts) -> Era:
    """What the database says of the builds that wrote it."""
    first, last = _twins(connection, found)
    stated = _meta(connection, found)
    return Era(
        first_twin=first,
        last_twin=last,
        nested_since=stated.get("migratedAt", ""),
        builds=builds_of(stated, facts.copies),
        is_copy=_BACKUPS in facts.parts,
    )


def _twins(connection: sqlite3.Connection, found: Tables) -> tuple[int | None, int | None]:
    """The first and the last record of a stream that was written twice."""
    if not {"endpoint", "tokens"} <= found.get("usageHistory", frozenset()):
        return None, None
    try:
        return _end(connection, "ASC"), _end(connection, "DESC")
    except sqlite3.DatabaseError:
        return 0, _ANY


def _end(connection: sqlite3.Connection, order: str) -> int | None:
    found = connection.execute(
        "SELECT rowid FROM usageHistory WHERE endpoint IS NULL"  # noqa: S608 - words of our own
        ' AND tokens LIKE \'%"cache_read_input_tokens"%"reasoning_tokens"%\''
        f" ORDER BY rowid {order} LIMIT 1"
    ).fetchone()
    return None if found is None else int(found[0])


def _meta(connection: sqlite3.Connection, found: Tables) -> dict[str, Any]:
    if not {"key", "value"} <= found.get("_meta", frozenset()):
        return {}
    try:
        return dict(connection.execute("SELECT key, value FROM _meta").fetchall())
    except sqlite3.DatabaseError:
        return {}


def _days(connection: sqlite3.Connection, gaps: list[Reported]) -> Iterator[list[Reported]]:
    for batch in rows_of(connection, "usageDaily", ("dateKey", "data"), gaps, _DAY_ROWS):
        yield [day_row(record, day, data) for record, day, data in batch]
