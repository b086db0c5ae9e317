"""Puts a made history into a database as the router keeps it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.backfill.history import Made, usage_rows
from tests.backfill.routes import Json

SCHEMA = """
CREATE TABLE _meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE usageHistory (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL,
    provider TEXT, model TEXT, connectionId TEXT, apiKey TEXT, endpoint TEXT,
    promptTokens INTEGER DEFAULT 0, completionTokens INTEGER DEFAULT 0, cost REAL DEFAULT 0,
    status TEXT, tokens TEXT, meta TEXT);
CREATE TABLE usageDaily (dateKey TEXT PRIMARY KEY, data TEXT);
CREATE TABLE requestDetails (id TEXT PRIMARY KEY, timestamp TEXT NOT NULL, provider TEXT,
    model TEXT, connectionId TEXT, status TEXT, data TEXT NOT NULL);
"""


def write(path: Path, made: list[Made], padding: int = 0) -> None:
    """Write usage rows and details; the requests of details are `padding` characters long."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.executescript(SCHEMA)
        insert(database, made, padding)
        database.commit()


def insert(database: sqlite3.Connection, made: list[Made], padding: int = 0) -> None:
    """Add the rows of some requests."""
    rows = "timestamp, provider, model, connectionId, endpoint, promptTokens, completionTokens"
    database.executemany(
        f"INSERT INTO usageHistory ({rows}, status, tokens, meta) VALUES "  # noqa: S608 - constants
        "(?, ?, ?, ?, ?, ?, ?, 'ok', ?, '{}')",
        (_row(row) for _, row in usage_rows(made)),
    )
    database.executemany(
        "INSERT INTO requestDetails VALUES (?, ?, ?, ?, ?, ?, ?)", _details(made, padding)
    )


def _row(row: Json) -> tuple[Any, ...]:
    tokens = row["tokens"]
    who = (row["provider"], row["model"], row["connectionId"], row["endpoint"])
    counts = (tokens["prompt_tokens"], tokens["completion_tokens"])
    return (_stamp(row["timestamp"]), *who, *counts, json.dumps(tokens))


def _details(made: Iterable[Made], padding: int) -> Iterator[tuple[Any, ...]]:
    for one in made:
        if one.detail is None:
            continue
        found = {**one.detail, "timestamp": _stamp(one.detail["timestamp"])}
        if padding:
            text = {"role": "user", "content": "x" * padding}
            found["request"] = {"messages": [text], "stream": one.route.stream}
        columns = ("id", "timestamp", "provider", "model", "connectionId", "status")
        yield (*(found[name] for name in columns), json.dumps(found))


def _stamp(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
