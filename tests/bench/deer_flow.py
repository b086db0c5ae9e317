"""Makes a DeerFlow home, runs with their events, whose true totals are known, and times reading.

    python -m tests.bench.deer_flow --out DIR --events 1000000 --seed 7 [--jsonl]

The same options give the same rows. Events stand in the database, or with `--jsonl` in one file a
run. What was made and how long it took to read is printed as JSON; a wrong total ends with 1.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from tallybook.derive.chain import derive
from tallybook.files.find import walk
from tests.rows_of_files import read_files

from .material import Texts, build_texts, iso, uuid4, uuid7
from .truth import Tally, Truth

FIRST_DAY_MS = 1_787_000_000_000  # 2026-08-17
LEAD, TITLE, SUBAGENT = "gpt-5.1-2025-11-13", "gpt-5-mini-2025-08-07", "deepseek-v3.2"
SCHEMA = """
CREATE TABLE runs (run_id VARCHAR(64) PRIMARY KEY, thread_id VARCHAR(64), status VARCHAR(20),
 operation_kind VARCHAR(32), model_name VARCHAR(128), total_input_tokens INTEGER,
 total_output_tokens INTEGER, total_tokens INTEGER, llm_call_count INTEGER,
 lead_agent_tokens INTEGER, subagent_tokens INTEGER, middleware_tokens INTEGER,
 token_usage_by_model JSON, created_at DATETIME, updated_at DATETIME);
CREATE TABLE run_events (id INTEGER PRIMARY KEY, thread_id VARCHAR(64), run_id VARCHAR(64),
 user_id VARCHAR(64), event_type VARCHAR(32), category VARCHAR(16), content TEXT,
 event_metadata JSON, seq INTEGER, created_at DATETIME, UNIQUE (thread_id, seq));
"""
INSERT_RUN = "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_EVENT = (
    "INSERT INTO run_events (thread_id, run_id, event_type, category, content, event_metadata,"
    " seq, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
Event = tuple[str, str, str, bytes, dict[str, Any], int]  # run, type, category, content, ..., ms


class Maker:
    """Runs one after the other, with what they add up to."""

    def __init__(self, seed: int, texts: Texts) -> None:
        self.rng = Random(f"{seed}/deer-flow")
        self.texts = texts
        self.truth = Truth()
        self.ms = FIRST_DAY_MS

    def _body(self) -> bytes:
        return self.rng.choice(self.texts.upto(8_000))

    def _usage(self, model: str) -> dict[str, Any]:
        rng = self.rng
        cached, fresh, output = rng.randrange(30_000), rng.randrange(1, 4_000), rng.randrange(900)
        self.truth.count(
            model.encode(),
            Tally(1, fresh, cached, output_tokens=output),
        )
        usage = {"input_tokens": cached + fresh, "output_tokens": output}
        usage["total_tokens"] = sum(usage.values())
        return {**usage, "input_token_details": {"cache_read": cached}}

    def _answer(self, run: str, model: str, caller: str, index: int) -> tuple[Event, Counter[str]]:
        usage = self._usage(model)
        message = b"lc_run--" + uuid7(self.rng, self.ms)
        stated = json.dumps(usage).encode()
        content = (
            b'{"content": "%s", "additional_kwargs": {}, "response_metadata": {"finish_reason":'
            b' "stop", "model_name": "%s", "model_provider": "openai"}, "type": "ai", "name": null,'
            b' "id": "%s", "tool_calls": [], "invalid_tool_calls": [], "usage_metadata": %s}'
        ) % (self._body(), model.encode(), message, stated)
        extra = {"caller": caller, "usage": usage, "latency_ms": 900, "llm_call_index": index}
        counts = Counter(
            input_tokens=usage["input_tokens"],
            output_tokens=usage["output_tokens"],
            total_tokens=usage["total_tokens"],
            cache_read_tokens=usage["input_token_details"]["cache_read"],
        )
        return (run, "llm.ai.response", "message", content, extra, self.ms), counts

    def _delegate(self, run: str, events: list[Event]) -> Counter[str]:
        """A task whose calls leave no record but their sum."""
        counts: Counter[str] = Counter()
        for _ in range(self.rng.randrange(1, 20)):
            usage = self._usage(SUBAGENT)
            details = usage.pop("input_token_details")
            counts += Counter({**usage, "cache_read_tokens": details["cache_read"]})
            step = b'{"task_id": "c", "text": "%s"}' % self._body()
            events.append((run, "subagent.step", "subagent", step, {"task_id": "c"}, self.ms))
        stated = {name: counts[name] for name in ("input_tokens", "output_tokens", "total_tokens")}
        end = {"task_id": "c", "status": "completed", "model_name": "ds", "usage": stated}
        events.append((run, "subagent.end", "subagent", json.dumps(end).encode(), {}, self.ms))
        return counts

    def run(self, run: str) -> tuple[list[Event], dict[str, Any]]:
        """The events of a run of some dozen calls, and its row."""
        models: dict[str, Counter[str]] = {}
        events: list[Event] = []
        for index in range(1, self.rng.randrange(2, 40)):
            self.ms += self.rng.randrange(1_000, 30_000)
            event, counts = self._answer(run, LEAD, "lead_agent", index)
            models[LEAD] = models.get(LEAD, Counter()) + counts
            events.append(event)
            result = b'{"content": "%s", "type": "tool", "name": "search"}' % self._body()
            events.append((run, "llm.tool.result", "message", result, {}, self.ms))
        if self.rng.random() < 0.3:
            models[SUBAGENT] = self._delegate(run, events)
        event, counts = self._answer(run, TITLE, "middleware:title", len(events))
        models[TITLE] = counts
        events.append(event)
        output = b'{"messages": ["%s"]}' % self.rng.choice(self.texts.bodies)
        events.append((run, "run.end", "outputs", output, {"status": "success"}, self.ms))
        return events, {"by_model": models, "calls": sum(e[1] == "llm.ai.response" for e in events)}


def rows(plan: argparse.Namespace, maker: Maker) -> Iterator[tuple[str, str, list[Event], Any]]:
    """Thread, run, events and sums of one run after the other."""
    made = 0
    thread = ""
    while made < plan.events:
        if not thread or maker.rng.random() < 0.2:
            thread = uuid4(maker.rng).decode()
        run = uuid4(maker.rng).decode()
        events, sums = maker.run(run)
        made += len(events)
        yield thread, run, events, sums


def build(plan: argparse.Namespace) -> Truth:
    """Write the home into an empty folder."""
    maker = Maker(plan.seed, build_texts(plan.seed))
    (plan.out / "data").mkdir(parents=True)
    with closing(sqlite3.connect(plan.out / "data" / "deerflow.db")) as database:
        database.executescript("PRAGMA synchronous = OFF;" + SCHEMA)
        seqs: Counter[str] = Counter()
        for thread, run, events, sums in rows(plan, maker):
            database.execute(INSERT_RUN, _run_row(thread, run, sums, events[0][-1]))
            maker.truth.lines += len(events)
            if plan.jsonl:
                folder = plan.out / "threads" / thread / "runs"
                _write_lines(folder / f"{run}.jsonl", thread, events)
            else:
                values = [_event_row(thread, event, seqs) for event in events]
                database.executemany(INSERT_EVENT, values)
        database.commit()
    return maker.truth


def _time(ms: int) -> str:
    return iso(ms).decode().replace("T", " ").replace("Z", "000")


def _event_row(thread: str, event: Event, seqs: Counter[str]) -> tuple[Any, ...]:
    run, kind, category, content, extra, ms = event
    seqs[thread] += 1
    flagged = json.dumps({**extra, "content_is_json": True, "content_is_dict": True})
    return thread, run, kind, category, content.decode(), flagged, seqs[thread], _time(ms)


def _write_lines(path: Path, thread: str, events: list[Event]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for seq, (run, kind, category, content, extra, ms) in enumerate(events):
            head = f'{{"thread_id": "{thread}", "run_id": "{run}", "event_type": "{kind}"'
            tail = f'"metadata": {json.dumps(extra)}, "seq": {seq}, "created_at": "{_time(ms)}"}}\n'
            line = f'{head}, "category": "{category}", "content": '.encode() + content
            file.write(line + b", " + tail.encode())


def _run_row(thread: str, run: str, sums: Any, ms: int) -> tuple[Any, ...]:
    models = sums["by_model"]
    total: Counter[str] = sum(models.values(), Counter())
    callers = [models.get(name, Counter())["total_tokens"] for name in (LEAD, SUBAGENT, TITLE)]
    return (
        *(run, thread, "success", "run", "gpt-5.1"),
        *(total[f"{name}_tokens"] for name in ("input", "output", "total")),
        *(sums["calls"], *callers, json.dumps(models), _time(ms), _time(ms)),
    )


def measure(out: Path) -> tuple[dict[str, Any], pl.DataFrame]:
    """Seconds of reading and deriving with one worker, the peak of memory, and the rows."""
    found = walk([out]).files
    begun = time.perf_counter()
    reported = read_files(found, workers=1)
    read = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    derived = derive(reported, None)
    return {
        "bytes": sum(size for _, size in found),
        "rows": reported.num_rows,
        "read_seconds": round(read - begun, 2),
        "peak_megabytes_of_reading": peak,
        "derive_seconds": round(time.perf_counter() - read, 2),
    }, derived


def differences(rows: pl.DataFrame, truth: Truth) -> list[str]:
    """Where the rows that count depart from the truth, per model."""
    counted = rows.filter(pl.col("duplicate_of").is_null(), pl.col("kind").is_in(["call", "sum"]))
    names = ("uncached_input_tokens", "cached_input_tokens", "output_tokens")
    stated = {
        row["model"]: row for row in counted.group_by("model").agg(pl.col(names).sum()).to_dicts()
    }
    return [
        f"{model} {name}: {stated.get(model, {}).get(name)} instead of {getattr(tally, name)}"
        for model, tally in truth.models.items()
        for name in names
        if stated.get(model, {}).get(name) != getattr(tally, name)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--jsonl", action="store_true")
    plan = parser.parse_args()
    truth = build(plan)
    figures, derived = measure(plan.out)
    wrong = differences(derived, truth)
    print(json.dumps({"events": truth.lines, **figures, "wrong": wrong}, indent=2))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
