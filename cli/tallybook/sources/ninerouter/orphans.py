"""Tells whether a request that a database keeps in detail has a usage row in it."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from typing import Final

from tallybook.sources.contract import Tables
from tallybook.sources.ninerouter.details import Detail, outputs
from tallybook.values import instant

# Both are written when the request ends, the usage row a moment before or after.
_APART: Final = timedelta(seconds=10)
_NEEDED: Final = frozenset({"timestamp", "model", "connectionId", "completionTokens"})
_ROW: Final = (
    "SELECT 1 FROM usageHistory WHERE timestamp BETWEEN ? AND ?"
    " AND model IS ? AND connectionId IS ? AND completionTokens IN (?, ?, ?) LIMIT 1"
)


def can_tell(connection: sqlite3.Connection, found: Tables) -> bool:
    """Whether usage rows can be looked up by their time; without its index that takes too long."""
    if not found.get("usageHistory", frozenset()) >= _NEEDED:
        return False
    indexed = (
        "SELECT 1 FROM pragma_index_list('usageHistory') AS list,"
        " pragma_index_info(list.name) AS info WHERE info.seqno = 0 AND info.name = 'timestamp'"
    )
    return connection.execute(indexed).fetchone() is not None


def is_alone(connection: sqlite3.Connection, detail: Detail) -> bool:
    """Whether no usage row can be that of the request.

    One of the same model, connection and completion near the time may be, whatever its prompt.
    """
    time = instant(detail.timestamp)
    if time is None or detail.model is None:
        return False
    counts = sorted(outputs(detail))
    counts += [counts[0]] * (3 - len(counts))
    bounds = (_stamp(time - _APART), _stamp(time + _APART))
    where = (*bounds, detail.model, detail.connection, *counts)
    return connection.execute(_ROW, where).fetchone() is None


def _stamp(time: datetime) -> str:
    """The time as 9router writes it, so that texts compare as times do."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"
