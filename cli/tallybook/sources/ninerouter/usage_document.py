"""The document `usage.json`, in which builds before databases kept their usage rows.

Request details may lie beside it. They count the same wherever they are stored: one that no usage
row states is a call that some build failed to count, so the rows are looked up as in a database.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec

from tallybook.sources.ninerouter.usage_rows import Numbering, from_document
from tallybook.values import decode

_CAP: Final = 10_000  # rows of a document, of which the oldest fall out
# Rows before the first are not known to be all: their numbers are missing.
_FIRST: Final = 2
_TABLE: Final = """
CREATE TABLE usageHistory (id INTEGER PRIMARY KEY, timestamp TEXT, model TEXT, connectionId TEXT,
    promptTokens INTEGER, completionTokens INTEGER);
CREATE INDEX idx_uh_ts ON usageHistory(timestamp);
"""


class UsageDocument(msgspec.Struct):
    """The document `usage.json`."""

    history: list[Any]
    dailySummary: Any = None  # noqa: N815 - the key of the log
    totalRequestsLifetime: Any = None  # noqa: N815


USAGE: Final = msgspec.json.Decoder(UsageDocument)


def table_of(content: bytes | None) -> sqlite3.Connection:
    """The rows of a document as a table; no table where it cannot tell that there is no row.

    So it is where it cannot be read, where it was begun anew, and where it has lost rows besides
    those that are too many, by the number that it keeps of all that were written.
    """
    connection = sqlite3.connect(":memory:")
    document = decode(content, USAGE) if content else None
    if document is None or not document.history:
        return connection
    ever, there = document.totalRequestsLifetime, len(document.history)
    if isinstance(ever, int) and ever > there and there < _CAP:
        return connection
    names = Numbering()
    found = (from_document(0, row, names) for row in document.history if isinstance(row, dict))
    connection.executescript(_TABLE)
    connection.executemany(
        "INSERT INTO usageHistory VALUES (?, ?, ?, ?, ?, ?)",
        (
            (
                number,
                str(row.timestamp),
                row.model,
                row.connection,
                row.counts.prompt or 0,
                row.counts.completion or 0,
            )
            for number, row in enumerate(found, _FIRST)
        ),
    )
    return connection
