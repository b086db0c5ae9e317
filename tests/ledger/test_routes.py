"""The logs of a router and of its clients, read as files: alone, together, in any order, twice."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tallybook.ledger import reading as module
from tallybook.ledger.groups import linked
from tallybook.ledger.reading import Reading
from tallybook.ledger.rows import StoredRows
from tallybook.report.fields import shortfalls
from tallybook.report.query import Query
from tallybook.report.summary import summarise
from tallybook.sources.codex.reader import begin, finish, read
from tallybook.sources.contract import FileFacts
from tests.backfill.database import SCHEMA
from tests.ledger.homes import opened

NOWHERE = Path("/nowhere")
START = datetime(2026, 11, 30, 1, 50, tzinfo=UTC)
ROUTED = "03160353-1e7c-4293-8383-ff258a122206"
PROVIDER = "openai-compatible-chat-1"
LONG = "x" * 100_000  # more than is read of a request whose answer alone is looked for


def stamp(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")[:-6] + "Z"


def transcript(path: Path, session: str, usages: list[tuple[int, int, int]], **more: Any) -> None:
    """A session whose n-th call of three counts asks for a tool at n seconds."""
    tool = more.pop("tool", "call")
    lines = []
    for number, (fresh, cached, output) in enumerate(usages, 1):
        message = {
            "id": f"chatcmpl{number}",
            "role": "assistant",
            "model": "gpt-5",
            "content": [{"type": "tool_use", "id": f"{tool}_{number}", "name": "x", "input": {}}],
            "stop_reason": "tool_use",
            "usage": {"input_tokens": fresh, "cache_read_input_tokens": cached,
                      "cache_creation_input_tokens": 0, "output_tokens": output},
        }  # fmt: skip
        line = {"parentUuid": None, "isSidechain": False, "sessionId": session, "cwd": "/w",
                "version": "2.1.332", "type": "assistant", "uuid": f"{session}-{number}",
                "timestamp": stamp(number), "message": message, **more}  # fmt: skip
        lines.append(json.dumps(line))
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n")


def router(path: Path, calls: list[dict[str, Any]]) -> None:
    """A database with a row for each call and, where there is a `request`, what is kept of it."""
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(SCHEMA)
        for number, call in enumerate(calls, 1):
            tokens = {"prompt_tokens": call["prompt"], "completion_tokens": call["output"],
                      "total_tokens": call["prompt"] + call["output"],
                      "cached_tokens": call["cached"],
                      "cache_creation_input_tokens": 0}  # fmt: skip
            row = (stamp(call["at"]), PROVIDER, "gpt-5", "c", "k", "/v1/messages", call["prompt"],
                   call["output"], 0.01, "ok", json.dumps(tokens))  # fmt: skip
            database.execute(
                "INSERT INTO usageHistory (timestamp, provider, model, connectionId, apiKey,"
                " endpoint, promptTokens, completionTokens, cost, status, tokens)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            if "request" in call:
                name = f"{1796003000000 + number}-abc"
                data = {"id": name, "provider": PROVIDER, "model": "gpt-5", "connectionId": "c",
                        "timestamp": stamp(call["at"] + 0.001), "status": "success",
                        "tokens": tokens, "request": call["request"],
                        "providerResponse": "x", "response": {"type": "streaming"}}  # fmt: skip
                values = (name, data["timestamp"], PROVIDER, "gpt-5", "c", "success")
                database.execute(
                    "INSERT INTO requestDetails VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*values, json.dumps(data)),
                )
        database.commit()


def request(number: int, session: str | None) -> dict[str, Any]:
    """The body of the n-th request: the result of the tool before, and perhaps the session."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": LONG}]
    if number > 1:
        asked_for = {"type": "tool_use", "id": f"call_{number - 1}"}
        result = {"type": "tool_result", "tool_use_id": f"call_{number - 1}", "content": "ok"}
        messages += [{"role": "assistant", "content": [asked_for]},
                     {"role": "user", "content": [result]}]  # fmt: skip
    user = {"metadata": {"user_id": json.dumps({"session_id": session})}} if session else {}
    return {"messages": messages, "model": "gpt-5"} | user


@pytest.fixture
def estimates(tmp_path: Path) -> Path:
    """A client that was shown estimates by a chat upstream; the router kept the requests whole."""
    usages = [(1400 + n, 0, 2) for n in (1, 2, 3)]
    transcript(tmp_path / "claude/projects/p" / f"{ROUTED}.jsonl", ROUTED, usages)
    calls = [
        {"at": n + 0.3, "prompt": 2800 + n, "cached": 1000, "output": 460 + n,
         "request": request(n, ROUTED)}
        for n in (1, 2, 3)
    ]  # fmt: skip
    router(tmp_path / "router/data.sqlite", calls)
    return tmp_path


def calls(*paths: Path, ledger: Path | None = None, apart: bool = False) -> list[tuple[Any, ...]]:
    with opened(NOWHERE, ledger, paths) as reading:
        reading.apart = apart
        rows = reading.rows
    counted = rows.filter(pl.col("duplicate_of").is_null(), pl.col("kind") == "call")
    named = counted.select("source", "thread_id", "uncached_input_tokens", "output_tokens")
    return sorted(named.rows(), key=str)


def test_estimates_that_a_client_was_shown_yield_to_the_router_s_counts(
    estimates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = [("9router", ROUTED, 1800 + n, 460 + n) for n in (1, 2, 3)]
    client, database = estimates / "claude", estimates / "router"
    copies = estimates / "copies"
    shutil.copytree(database, copies)
    for paths in ([client, database], [database, client], [estimates]):
        assert calls(*paths) == right
    ledger = estimates / "ledger"
    assert calls(client, ledger=ledger) == [("claude-code", ROUTED, 1400 + n, 2) for n in (1, 2, 3)]
    assert calls(client, database, ledger=ledger) == right
    assert calls(client, database, ledger=ledger) == right
    monkeypatch.setattr(module, "BATCH_ROWS", 1)
    assert calls(client, database) == right


def test_tools_alone_prove_the_calls_behind_the_first(tmp_path: Path) -> None:
    usages = [(1400 + n, 0, 2) for n in (1, 2, 3)]
    transcript(tmp_path / "claude/projects/p" / f"{ROUTED}.jsonl", ROUTED, usages)
    rows = [
        {"at": n + 0.3, "prompt": 2800 + n, "cached": 1000, "output": 460 + n,
         "request": request(n, None)}
        for n in (1, 2, 3)
    ]  # fmt: skip
    router(tmp_path / "router/data.sqlite", rows)
    assert calls(tmp_path) == [
        ("9router", ROUTED, 1802, 462),
        ("9router", ROUTED, 1803, 463),
        ("9router", None, 1801, 461),
        ("claude-code", ROUTED, 1401, 2),
    ]


@pytest.fixture
def surplus(tmp_path: Path) -> Path:
    """A client that was shown 2,000 tokens more than the router's rows state; nothing was kept."""
    usages = [(2000 + 1800 + n, 1000, 460 + n) for n in (1, 2, 3)]
    transcript(tmp_path / "claude/projects/p" / f"{ROUTED}.jsonl", ROUTED, usages)
    rows = [{"at": n + 0.3, "prompt": 2800 + n, "cached": 1000, "output": 460 + n}
            for n in (1, 2, 3)]  # fmt: skip
    router(tmp_path / "router/data.sqlite", rows)
    return tmp_path


def test_a_session_of_equal_counts_counts_once_and_both_as_recorded(
    surplus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    router_s = [("9router", ROUTED, 1800 + n, 460 + n) for n in (1, 2, 3)]
    client_s = [("claude-code", ROUTED, 3800 + n, 460 + n) for n in (1, 2, 3)]
    assert calls(surplus, ledger=surplus / "ledger") == router_s
    assert calls(surplus, ledger=surplus / "ledger", apart=True) == router_s + client_s
    monkeypatch.setattr(module, "BATCH_ROWS", 1)
    assert calls(surplus) == router_s


def coverage(path: Path, **more: Any) -> dict[str, Any]:
    with opened(NOWHERE, None, [path]) as reading:
        for name, value in more.items():
            setattr(reading, name, value)
        found = summarise(reading.rows.drop("component"), Query())
    words = shortfalls(found.totals, found.coverage)
    return found.coverage | {"twice": any("counted twice" in word for word in words)}


def test_the_coverage_says_how_much_rests_on_no_proof(surplus: Path) -> None:
    found = coverage(surplus)
    # The client's: 3801 + 1000 + 461 = 5262, then one more of input and output each.
    assert found["probably_same_call"] == {"calls": 3, "tokens": 5262 + 5264 + 5266}
    assert found["problems"]["probably-same-call"] == 3
    assert found["may_be_counted_twice"] == {"calls": 0, "tokens": 0}
    assert not found["twice"]


def test_what_nothing_pairs_may_be_counted_twice_and_the_coverage_says_so(surplus: Path) -> None:
    (surplus / "claude/projects/p" / f"{ROUTED}.jsonl").unlink()
    (surplus / "claude/projects/p").rmdir()
    usages = [(3801, 1000, 461), (3802, 1000, 462)]
    transcript(surplus / "claude/projects/p" / f"{ROUTED}.jsonl", ROUTED, usages)
    found = coverage(surplus)
    assert found["probably_same_call"] == {"calls": 0, "tokens": 0}
    # The lesser end has two calls of 5262 and 5264; the router's three are of 3262, 3264, 3266.
    assert found["may_be_counted_twice"] == {"calls": 2, "tokens": 3262 + 3264 + 3266}
    assert found["twice"]


def test_what_is_direct_is_not_said_to_be_counted_twice(surplus: Path) -> None:
    shutil.rmtree(surplus / "claude")
    usages = [(3801, 1000, 461), (3802, 1000, 462), (3803, 1000, 463)]
    path = surplus / "claude/projects/p" / f"{ROUTED}.jsonl"
    transcript(path, ROUTED, usages, requestId="req_011")
    found = coverage(surplus)
    assert (found["calls"], found["may_be_counted_twice"]["calls"]) == (6, 0)


def groups(reading: Reading) -> list[list[int]]:
    """Numbers of the files that can influence each other."""
    return list(linked(reading.entries, StoredRows(reading.store), None))


def test_a_router_alone_and_sessions_elsewhere_are_read_apart(surplus: Path) -> None:
    other = surplus / "claude/projects/q" / "163dd5a9-18e3-45e9-8004-c4240c7922dc.jsonl"
    transcript(other, other.stem, [(10, 20, 999)], tool="tool")
    with opened(NOWHERE, None, [surplus]) as reading:
        files = [{Path(reading.entries[n].path).name for n in group} for group in groups(reading)]
    assert {other.name} in files
    assert {"data.sqlite", f"{ROUTED}.jsonl"} in files


def answer(path: Path, created: float, cached: int, prompt: int = 1000) -> None:
    """A stored answer to a chat of 80 tokens."""
    usage = {"prompt_tokens": prompt, "completion_tokens": 80, "total_tokens": prompt + 80,
             "prompt_tokens_details": {"cached_tokens": cached}}  # fmt: skip
    body = {"id": f"chatcmpl-{path.stem}0123456789", "object": "chat.completion",
            "created": int((START + timedelta(seconds=created)).timestamp()),
            "model": "gpt-5-2025-08-07", "choices": [], "usage": usage}  # fmt: skip
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(body))


@pytest.mark.parametrize(
    ("stored", "right"),
    [
        ([(0, 600, 1000)], [(400, 600, 0, 80)]),
        ([(0, 0, 1000)], [(1000, 0, 0, 80)]),
        ([(0, 600, 1001)], [(0, 0, 1000, 80), (401, 600, 0, 80)]),
        ([(60, 600, 1000)], [(0, 0, 1000, 80), (400, 600, 0, 80)]),
        ([(0, 600, 1000), (1, 600, 1000)], [(400, 600, 0, 80), (400, 600, 0, 80)]),
    ],
    ids=["knows-better", "the-same", "another-prompt", "later", "two-answers"],
)
def test_a_row_and_the_stored_answer_to_it_are_one_call(
    tmp_path: Path,
    stored: list[tuple[float, int, int]],
    right: list[tuple[int, int, int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router(tmp_path / "db/data.sqlite", [{"at": 3.1, "prompt": 1000, "cached": 0, "output": 80}])
    for number, (created, cached, prompt) in enumerate(stored):
        answer(tmp_path / "answers" / f"{number}.json", created, cached, prompt)
    for rows in (32_768, 1):
        monkeypatch.setattr(module, "BATCH_ROWS", rows)
        with opened(NOWHERE, None, [tmp_path]) as reading:
            found = reading.rows.filter(pl.col("duplicate_of").is_null(), pl.col("kind") == "call")
        counts = found.select(
            "uncached_input_tokens", "cached_input_tokens", "unsplit_input_tokens", "output_tokens"
        )
        assert sorted(counts.fill_null(0).rows()) == right


CODEX = "01a22a28-c59e-7522-9e2d-92157ce15b65"


@pytest.mark.parametrize(
    ("model", "named"), [("mr/gpt-5", ["call_1", "call_2"]), ("gpt-5", None)], ids=["routed", "own"]
)
@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5])
def test_tools_that_a_routed_codex_asks_for_are_known_wherever_a_block_ends(
    model: str, named: list[str] | None, cut: int
) -> None:
    usage = {"input_tokens": 9, "cached_input_tokens": 1, "output_tokens": 5, "total_tokens": 14}
    payloads = [
        ("session_meta", {"id": CODEX, "cwd": "/w", "cli_version": "0.145.0"}),
        ("turn_context", {"model": model}),
        ("response_item", {"type": "function_call", "name": "x", "call_id": "call_1"}),
        ("response_item", {"type": "function_call", "name": "x", "call_id": "call_2"}),
        ("response_item", {"type": "function_call_output", "call_id": "call_1", "output": "y"}),
        ("event_msg", {"type": "token_count",
                       "info": {"last_token_usage": usage, "total_token_usage": usage}}),
    ]  # fmt: skip
    lines = [
        json.dumps({"timestamp": stamp(n), "type": kind, "payload": payload},
                   separators=(",", ":")).encode() + b"\n"
        for n, (kind, payload) in enumerate(payloads)
    ]  # fmt: skip
    state = begin(FileFacts(parts=(f"rollout-{CODEX}.jsonl",)))
    found, state = read(b"".join(lines[:cut]), state)
    more, state = read(b"".join(lines[cut:]), state)
    (row,) = [*found, *more, *finish(state)]
    assert (row.tool_ids, row.routed) == (named, named is not None)


def rollout(path: Path, model: str = "mc/gpt-5") -> None:
    """A thread whose n-th of three answers comes at n seconds, without any counts."""
    silent: tuple[str, dict[str, Any]] = ("event_msg", {"type": "token_count", "info": None})
    payloads = [
        (0.0, "session_meta", {"id": CODEX, "cwd": "/w", "cli_version": "0.80.0",
                               "model_provider": "openai"}),
        (0.1, "turn_context", {"model": model}),
        (0.2, *silent),  # limits, before anything was answered
    ]  # fmt: skip
    for n in (1, 2, 3):
        call = {"type": "function_call", "name": "x", "call_id": f"call_{n}"}
        result = {"type": "function_call_output", "call_id": f"call_{n}", "output": "y"}
        payloads += [(n + 0.2, "response_item", call), (n + 0.6, *silent),
                     (n + 0.6, "response_item", result), (n + 0.7, *silent)]  # fmt: skip
    lines = [
        json.dumps({"timestamp": stamp(seconds), "type": kind, "payload": payload})
        for seconds, kind, payload in payloads
    ]
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def silent(tmp_path: Path) -> Path:
    """A rollout without counts, and the router's rows, written as each answer ended."""
    rollout(tmp_path / "codex/sessions" / f"rollout-2026-11-30T01-50-00-{CODEX}.jsonl")
    rows = [{"at": n + 0.3, "prompt": 2800 + n, "cached": 1000, "output": 460 + n}
            for n in (1, 2, 3)]  # fmt: skip
    router(tmp_path / "router/data.sqlite", rows)
    return tmp_path


def test_stored_answers_hang_together_where_a_router_comes_by_and_nowhere_else(
    tmp_path: Path,
) -> None:
    for number in range(3):
        answer(tmp_path / "answers" / f"{number}.json", number, 600)
    with opened(NOWHERE, None, [tmp_path]) as reading:
        assert groups(reading) == [[0], [1], [2]]
    router(tmp_path / "db/data.sqlite", [{"at": 3.1, "prompt": 1000, "cached": 0, "output": 80}])
    with opened(NOWHERE, None, [tmp_path]) as reading:
        assert groups(reading) == [[0, 1, 2, 3]]


def test_a_rollout_without_counts_is_counted_by_the_router_in_whatever_order_they_are_read(
    silent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = [("9router", CODEX, 1800 + n, 460 + n) for n in (1, 2, 3)]
    alone = [("9router", None, 1800 + n, 460 + n) for n in (1, 2, 3)]
    client, database = silent / "codex", silent / "router"
    for number, stages in enumerate(([client, database], [database, client], [silent])):
        ledger = silent / f"ledger{number}"
        assert calls(stages[0], ledger=ledger) == {client: [], database: alone}.get(
            stages[0], right
        )
        assert calls(silent, ledger=ledger) == right
        assert calls(silent, ledger=ledger) == right
    found = coverage(silent)
    assert found["probably_same_call"] == {"calls": 3, "tokens": 0}
    assert found["problems"] == {"probably-same-call": 1}
    monkeypatch.setattr(module, "BATCH_ROWS", 1)
    assert calls(silent) == right


def test_a_rollout_without_counts_that_went_no_way_of_a_router_s_stays_without(
    silent: Path,
) -> None:
    shutil.rmtree(silent / "codex")
    rollout(silent / "codex/sessions" / f"rollout-2026-11-30T01-50-00-{CODEX}.jsonl", "gpt-5")
    assert coverage(silent)["problems"] == {"no-counts": 1}
