"""Makes a database of 9router whose true totals are known, and times its reading.

    python -m tests.bench.ninerouter --out DIR --rows 1000000 --details 1000 --kilobytes 1024
    python -m tests.bench.ninerouter --out DIR --measure

The same options give the same rows. Half of the rows are of builds that wrote every stream twice,
the other half is canonical; each detail holds texts of the given size in three of its parts. The
truth is printed as JSON and kept in `DIR/truth.json`. `--measure` reads such a folder and says how
long that took, how much memory, and whether the totals are the truth.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from .measure import measure
from .readers import environment
from .truth import Tally, Truth, load_truth

SCHEMA = """
CREATE TABLE _meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE usageHistory (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL,
    provider TEXT, model TEXT, connectionId TEXT, apiKey TEXT, endpoint TEXT,
    promptTokens INTEGER DEFAULT 0, completionTokens INTEGER DEFAULT 0, cost REAL DEFAULT 0,
    status TEXT, tokens TEXT, meta TEXT);
CREATE INDEX idx_uh_ts ON usageHistory(timestamp DESC);
CREATE TABLE requestDetails (id TEXT PRIMARY KEY, timestamp TEXT NOT NULL, provider TEXT,
    model TEXT, connectionId TEXT, status TEXT, data TEXT NOT NULL);
INSERT INTO _meta VALUES ('appVersion', '0.5.81');
"""
INSERT = "INSERT INTO usageHistory VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'ok', ?, '{}')"
ROUTES = (
    ("claude", "claude-sonnet-4-6", "/v1/messages"),
    ("codex", "gpt-5.3-codex", "/v1/responses"),
    ("deepseek", "deepseek-chat", "/v1/chat/completions"),
)
FIRST = datetime(2026, 5, 20, tzinfo=UTC)
DETAIL = Tally(calls=1, uncached_input_tokens=388, cached_input_tokens=512, output_tokens=20)
KEY = "sk-feed5678feed5678-k1key0-0badcafe"
READ = """
import json, resource, sys, time
from pathlib import Path
from tallybook.files.read import FileReading
begun, rows = time.perf_counter(), 0
for each in FileReading(Path(sys.argv[1])):
    rows += each.table.num_rows
seconds = time.perf_counter() - begun
print(json.dumps({"seconds": seconds, "rows": rows}))
"""


def stamp(moment: datetime) -> str:
    """The time as 9router writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def usage_rows(rng: Random, rows: int, truth: Truth) -> Iterator[tuple[Any, ...]]:
    """Rows without their id: first pairs, then canonical ones."""
    moment, left = FIRST, rows
    while left > 0:
        moment += timedelta(milliseconds=rng.randrange(50, 4000))
        number = rng.randrange(len(ROUTES))
        provider, model, endpoint = ROUTES[number]
        call = _call(rng)
        truth.count(model.encode(), call)
        who = (provider, model, f"c0de{number:04d}-0000-4000-8000-000000000001", KEY)
        if left > rows // 2:
            yield from _pair(moment, who, endpoint, call)
            left -= 2
        else:
            prompt = call.uncached_input_tokens + call.cached_input_tokens
            tokens = {
                "prompt_tokens": prompt,
                "completion_tokens": call.output_tokens,
                "total_tokens": prompt + call.output_tokens,
                "cached_tokens": call.cached_input_tokens,
                "cache_creation_input_tokens": 0,
            }
            yield _row(moment, who, endpoint, tokens)
            left -= 1


def _call(rng: Random) -> Tally:
    return Tally(
        calls=1,
        uncached_input_tokens=rng.randrange(20, 4000),
        cached_input_tokens=64 * rng.randrange(64, 900),
        output_tokens=rng.randrange(20, 900),
    )


def _pair(
    moment: datetime, who: tuple[str, ...], endpoint: str, call: Tally
) -> Iterator[tuple[Any, ...]]:
    inside = 0 if who[0] == "claude" else call.cached_input_tokens
    bare = {
        "prompt_tokens": call.uncached_input_tokens + inside,
        "completion_tokens": call.output_tokens,
    }
    more = {
        "cache_read_input_tokens": call.cached_input_tokens,
        "cache_creation_input_tokens": 0,
        "reasoning_tokens": 0,
    }
    yield _row(moment + timedelta(milliseconds=2), who, None, bare | more)
    yield _row(moment, who, endpoint, bare)


def _row(
    moment: datetime, who: tuple[str, ...], endpoint: str | None, tokens: dict[str, int]
) -> tuple[Any, ...]:
    prompt, completion = tokens["prompt_tokens"], tokens["completion_tokens"]
    text = json.dumps(tokens, separators=(",", ":"))
    return (stamp(moment), *who, endpoint, prompt, completion, prompt * 3e-6, text)


def detail(number: int, size: int) -> tuple[Any, ...]:
    """A request that was answered in one piece, with three texts of `size` characters."""
    moment = stamp(FIRST + timedelta(seconds=number))
    name = f"{moment}-{number:06x}-gpt-5"
    text = f'{number} is said again and again, {{"usage": 1}}. ' * (size // 40)
    usage = {"prompt_tokens": 2900, "completion_tokens": 20, "total_tokens": 2920}
    record = {
        "id": name, "provider": "openai", "model": "gpt-5", "connectionId": None,
        "timestamp": moment, "status": "success", "latency": {"ttft": 900, "total": 900},
        "tokens": {"prompt_tokens": 900, "completion_tokens": 20, "cached_tokens": 512},
        "request": {"messages": [{"role": "user", "content": text}]},
        "providerRequest": {"messages": [{"role": "user", "content": text}]},
        "providerResponse": {
            "id": f"chatcmpl-{number}", "object": "chat.completion",
            "choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage,
        },
        "response": {"content": "ok", "thinking": None, "finish_reason": "stop"},
    }  # fmt: skip
    data = json.dumps(record, separators=(",", ":"))
    return (name, moment, "openai", "gpt-5", None, "success", data)


def build(home: Path, options: argparse.Namespace) -> Truth:
    """Make the database in a new or empty folder; FileExistsError if it holds anything."""
    home.mkdir(parents=True, exist_ok=True)
    if any(home.iterdir()):
        raise FileExistsError(f"{home} is not empty")
    truth = Truth(options={name: getattr(options, name) for name in ("rows", "details")})
    path = home / "data.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(SCHEMA)
        database.executemany(INSERT, usage_rows(Random(options.seed), options.rows, truth))
        details = (detail(number, options.kilobytes << 10) for number in range(options.details))
        database.executemany("INSERT INTO requestDetails VALUES (?, ?, ?, ?, ?, ?, ?)", details)
        database.commit()
        database.execute("PRAGMA journal_mode = WAL")
    for _ in range(options.details):  # none has a usage row, so each is a call of its own
        truth.count(b"gpt-5", DETAIL)
    truth.files, truth.lines, truth.size = 1, options.rows, path.stat().st_size
    truth.save(home)
    return truth


def read_only(home: Path, scratch: Path) -> dict[str, object]:
    """Seconds and peak bytes of reading the database in one process, and how many rows came out."""
    command = [sys.executable, "-c", READ, str(home / "data.sqlite")]
    found = measure(command, environment(scratch, scratch), home)
    return {**json.loads(found.stdout), "peak_bytes": found.peak_bytes}


def report(home: Path, scratch: Path) -> dict[str, object]:
    """Seconds and peak bytes of a whole report, and whether its totals are the truth."""
    command = [sys.executable, "-m", "tallybook", "usage-report", str(home), "--json"]
    found = measure([*command, "--no-ledger"], environment(scratch, scratch), home)
    rows = json.loads(found.stdout)["rows"]
    got = {row["model"]: {c.name: row[c.name] or 0 for c in fields(Tally)} for row in rows}
    want = {name: asdict(tally) for name, tally in load_truth(home).models.items()}
    return {"seconds": found.wall_seconds, "peak_bytes": found.peak_bytes, "is_true": got == want}


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ninerouter", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="folder of the database")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the usage history")
    parser.add_argument("--details", type=int, default=0, help="stored requests")
    parser.add_argument("--kilobytes", type=int, default=1024, help="size of each of their texts")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--measure", action="store_true", help="read what is there")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = _arguments(arguments)
    if options.measure:
        scratch = options.out.with_name(f"{options.out.name}-scratch")
        found = {"read": read_only(options.out, scratch), "report": report(options.out, scratch)}
        print(json.dumps(found, indent=2))
        return 0
    print(json.dumps(build(options.out, options).document(), indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
