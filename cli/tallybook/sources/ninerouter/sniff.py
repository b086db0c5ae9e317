"""Recognises the documents of 9router by their first bytes, its databases by their tables."""

from __future__ import annotations

import re
from typing import Final

from tallybook.sources.contract import Tables
from tallybook.sources.lines import Head

_EMPTY: Final = re.compile(rb'\A\s*\{\s*"(?:history|records)"\s*:\s*\[\s*\]\s*\}\s*\Z')
_USAGE: Final = re.compile(
    rb'\A\s*\{\s*(?:"totalRequestsLifetime"\s*:\s*\d+\s*,\s*)?"history"\s*:\s*\[\s*(?:\{|\])'
)
_DETAILS: Final = re.compile(rb'\A\s*\{\s*"records"\s*:\s*\[\s*\{')
# Keys that no other log has together.
_OF_USAGE: Final = re.compile(rb'"(?:totalRequestsLifetime|dailySummary)"\s*:')
_OF_ROWS: Final = re.compile(rb'"tokens"\s*:\s*\{')
_OF_DETAILS: Final = re.compile(rb'"latency"\s*:\s*\{\s*"ttft"\s*:')
# Tables of usage rows, with the column of their counts: of all releases, and of two forks that
# never were merged.
USAGE_TABLES: Final = {"usageHistory": "tokens", "usage": "tokens_json", "usage_history": "data"}
_DETAIL_TABLES: Final = ("requestDetails", "request_details")
# How a table of details holds them: as one document, or in columns as the builds before.
_DOCUMENT: Final = frozenset({"id", "timestamp", "data"})
_COLUMNS: Final = frozenset({"id", "timestamp", "tokens", "provider_response"})


def sniff(head: Head) -> bool:
    """Whether a file that begins so is one of 9router's JSON documents."""
    content = head.content
    if _EMPTY.match(content):
        return True
    if _DETAILS.match(content):
        return _OF_DETAILS.search(content) is not None
    if _USAGE.match(content):
        in_rows = _OF_ROWS.search(content) is not None and b'"timestamp"' in content
        return in_rows or _OF_USAGE.search(content) is not None
    return False


def neighbour(name: str) -> str | None:
    """The usage rows beside details that are stored apart from them."""
    return "usage.json" if name in ("request-details.json", "request-details.sqlite") else None


def copies(name: str) -> str | None:
    """The folder in which the router keeps the states of its database before an upgrade."""
    return "backups" if name == "data.sqlite" else None


def recognise(found: Tables) -> bool:
    """Whether the database is one of 9router's, of whatever version."""
    return bool(usage_tables(found) or detail_tables(found))


def usage_tables(found: Tables) -> list[str]:
    """The tables of usage rows in a database."""
    return [
        table
        for table, counts in USAGE_TABLES.items()
        if {"timestamp", "model", counts} <= found.get(table, frozenset())
    ]


def detail_tables(found: Tables) -> dict[str, bool]:
    """The tables of details in a database, and whether they hold documents."""
    there = {table: found.get(table, frozenset()) for table in _DETAIL_TABLES}
    return {
        table: columns >= _DOCUMENT
        for table, columns in there.items()
        if columns >= _DOCUMENT or columns >= _COLUMNS
    }
