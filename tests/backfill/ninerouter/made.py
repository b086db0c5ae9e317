"""A database of 9router with its own schema, and corrections of its rows."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tallybook.backfill.ninerouter.change import Correction

SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE _meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE settings (id INTEGER PRIMARY KEY CHECK (id = 1), data TEXT NOT NULL);
CREATE TABLE apiKeys (id TEXT PRIMARY KEY, key TEXT UNIQUE NOT NULL, name TEXT, machineId TEXT,
    isActive INTEGER DEFAULT 1, createdAt TEXT NOT NULL);
CREATE TABLE kv (scope TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (scope, key));
CREATE TABLE usageHistory (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL,
    provider TEXT, model TEXT, connectionId TEXT, apiKey TEXT, endpoint TEXT,
    promptTokens INTEGER DEFAULT 0, completionTokens INTEGER DEFAULT 0, cost REAL DEFAULT 0,
    status TEXT, tokens TEXT, meta TEXT);
CREATE INDEX idx_uh_ts ON usageHistory(timestamp DESC);
CREATE TABLE usageDaily (dateKey TEXT PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE requestDetails (id TEXT PRIMARY KEY, timestamp TEXT NOT NULL, provider TEXT,
    model TEXT, connectionId TEXT, status TEXT, data TEXT NOT NULL);
"""
KEY = "sk-feed5678feed5678-k1key0-0badcafe"
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
Values = dict[str, Any]


def row(stamp: str, who: tuple[str, str], tokens: Values, cost: float, **more: Any) -> Values:
    """A usage row as a dictionary; `who` is provider and model."""
    return {
        "timestamp": stamp,
        "provider": who[0],
        "model": who[1],
        "connectionId": "c0de",
        "apiKey": KEY,
        "endpoint": CHAT,
        "tokens": tokens,
        "cost": cost,
        **more,
    }


def bare(prompt: int, completion: int, **more: int) -> Values:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


def canonical(prompt: int, completion: int, read: int, written: int = 0, **more: int) -> Values:
    return {
        **bare(prompt, completion),
        "total_tokens": prompt + completion,
        "cached_tokens": read,
        "cache_creation_input_tokens": written,
        **more,
    }


# Costs are those that 9router stored at its rates of the time.
ROWS = [
    row("2026-06-28T09:00:00.100Z", ("claude", "claude-sonnet-4-6"), bare(14, 655), 0.009867,
        endpoint=MESSAGES),
    row("2026-06-28T09:05:00.200Z", ("node", "gpt-5"), bare(15360, 900), 0.05688),
    row("2026-06-29T10:00:00.300Z", ("codex", "gpt-5.3-codex"), bare(27985, 180), 0.17223),
    row("2026-06-29T11:00:00.400Z", ("deepseek", "deepseek-chat"), bare(10240, 500), 0.0030772),
    row("2026-07-20T08:00:00.200Z", ("codex", "gpt-5.3-codex"), canonical(27985, 180, 0),
        0.05149375),
    row("2026-08-20T08:00:00.300Z", ("claude", "claude-sonnet-4-6"), canonical(45109, 210, 22548),
        0.0775974),
    row("2026-08-21T23:30:00.000Z", ("codex", "gpt-5.3-codex"), canonical(1000, 10, 100),
        0.0017325),
]  # fmt: skip


def add(day: Values, values: Values) -> None:
    """Count a row in a day, as 9router does."""
    tokens, who = values["tokens"], f"{values['model']}|{values['provider']}"
    counted = {
        "requests": 1,
        "promptTokens": tokens.get("prompt_tokens", 0),
        "completionTokens": tokens.get("completion_tokens", 0),
        "cachedTokens": tokens.get("cached_tokens") or tokens.get("cache_read_input_tokens") or 0,
        "cost": values["cost"],
    }
    keys = {
        "byProvider": values["provider"],
        "byModel": who,
        "byAccount": values["connectionId"],
        "byApiKey": f"{values['apiKey']}|{who}",
        "byEndpoint": f"{values['endpoint']}|{who}",
    }
    counters = [day, *(day.setdefault(g, {}).setdefault(k, {}) for g, k in keys.items())]
    for counter in counters:
        for name, number in counted.items():
            counter[name] = round(counter.get(name, 0) + number, 12)


def days_of(rows: list[Values], offset: timedelta) -> dict[str, Values]:
    days: dict[str, Values] = {}
    for values in rows:
        time = datetime.fromisoformat(values["timestamp"]) + offset
        add(days.setdefault(time.date().isoformat(), {}), values)
    return days


def database(path: Path, rows: list[Values] | None = None, offset: timedelta = timedelta()) -> Path:
    rows = ROWS if rows is None else rows
    with closing(sqlite3.connect(path)) as made:
        made.executescript(SCHEMA)
        made.execute("INSERT INTO _meta VALUES ('appVersion', '0.5.81')")
        for values in rows:
            insert(made, values)
        for day, data in days_of(rows, offset).items():
            made.execute("INSERT INTO usageDaily VALUES (?, ?)", (day, json.dumps(data)))
        made.commit()
    return path


def insert(connection: sqlite3.Connection, values: Values) -> None:
    tokens = values["tokens"]
    names = ("timestamp", "provider", "model", "connectionId", "apiKey", "endpoint")
    text = tokens if isinstance(tokens, str) else json.dumps(tokens, separators=(",", ":"))
    stated = tokens if isinstance(tokens, dict) else {}
    connection.execute(
        "INSERT INTO usageHistory VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'ok', ?, '{}')",
        (
            *(values[name] for name in names),
            stated.get("prompt_tokens", 0),
            stated.get("completion_tokens", 0),
            values["cost"],
            text,
        ),
    )


def detail(connection: sqlite3.Connection, values: Values, tokens: Values) -> None:
    """The detail of a row's request, written a moment before it."""
    data = {name: values[name] for name in ("provider", "model", "connectionId", "timestamp")} | {
        "status": "success",
        "tokens": tokens,
        "request": {"stream": True},
        "providerResponse": "hello",
        "response": {"content": "hello", "thinking": None, "type": "streaming"},
    }
    connection.execute(
        "INSERT INTO requestDetails VALUES (?, ?, ?, ?, ?, 'success', ?)",
        (
            f"1796002178764-{len(tokens)}{values['timestamp']}",
            *(values[name] for name in ("timestamp", "provider", "model", "connectionId")),
            json.dumps(data),
        ),
    )


def document(path: Path, rows: list[Values] | None = None) -> Path:
    rows = ROWS if rows is None else rows
    found = {
        "history": rows,
        "totalRequestsLifetime": 7,
        "dailySummary": days_of(rows, timedelta()),
    }
    path.write_text(json.dumps(found, indent=2))
    return path


def prompt(
    record: int, uncached: int, cached: int, written: int = 0, recorded: str = ""
) -> Correction:
    return Correction(
        record=record,
        direction="input",
        recorded=recorded,
        uncached_input_tokens=uncached,
        cached_input_tokens=cached,
        cache_creation_input_tokens=written,
        unsplit_input_tokens=0,
    )


def output(record: int, tokens: int, reasoning: int | None, recorded: str = "") -> Correction:
    return Correction(
        record=record,
        direction="output",
        recorded=recorded,
        output_tokens=tokens,
        reasoning_output_tokens=reasoning,
    )


CORRECTIONS = [
    prompt(1, 14, 30210, 1204, "14/-/-/-/0"),
    prompt(2, 1280, 14080, 0, "-/-/-/-/15360"),
    output(2, 900, 512, "900/-"),
    prompt(3, 849, 27136, 0, "-/-/-/-/27985"),
    output(3, 180, 64, "180/-"),
    prompt(4, 256, 9984, 0, "-/-/-/-/10240"),
    prompt(5, 849, 27136, 0, "-/-/-/-/27985"),
    prompt(6, 13, 22548, 0, "22561/22548/0/0/0"),
]
# Worked out by hand from the rates: tokens, prompt, completion, cost.
AFTER: dict[int, tuple[Values, int, int, float]] = {
    1: (canonical(31428, 655, 30210, 1204), 31428, 655, 0.023445),
    2: (canonical(15360, 900, 14080, reasoning_tokens=512), 15360, 900, 0.03576),
    3: (canonical(27985, 180, 27136, reasoning_tokens=64), 27985, 180, 0.090822),
    4: (canonical(10240, 500, 9984), 10240, 500, 0.000561232),
    5: (canonical(27985, 180, 27136), 27985, 180, 0.00875455),
    6: (canonical(22561, 210, 22548), 22561, 210, 0.0099534),
}
