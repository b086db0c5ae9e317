"""Answers that something else kept: a folder of bodies, and the router's raw log folders."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tallybook.commands import app
from tests.backfill.database import write
from tests.backfill.history import EVICTED, Made
from tests.backfill.routes import ROUTES, Truth

ENDED = datetime(2026, 6, 28, 9, 0, 12, 345000, tzinfo=UTC)
BEGAN = ENDED - timedelta(seconds=9)


def lost(name: str, truth: Truth) -> Made:
    """A request whose detail was not kept."""
    route = next(route for route in ROUTES if route.name == name)
    prompt, output = route.row(truth)
    made = Made(route, "stripped", truth, EVICTED, ENDED)
    made.rows = [
        {
            "timestamp": ENDED,
            "provider": route.provider,
            "model": route.model,
            "connectionId": "c1",
            "endpoint": route.endpoint,
            "tokens": {"prompt_tokens": prompt, "completion_tokens": output},
        }
    ]
    return made


CLAUDE = lost("claude-claude-stream", Truth(14, 18000, 450, 655))
OPENAI = lost("openai-openai-stream", Truth(392, 4608, 0, 60, 20))
EVENTS = (
    'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message",'
    '"role":"assistant","model":"claude-sonnet-4-6","content":[],"usage":{"input_tokens":14,'
    '"cache_creation_input_tokens":450,"cache_read_input_tokens":18000,"output_tokens":1}}}\n\n'
    'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    '"usage":{"output_tokens":655}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
)


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TZ", "UTC")
    (tmp_path / "router").mkdir()
    (tmp_path / "answers").mkdir()
    return tmp_path


def plan(logs: Path, made: Made, *arguments: str) -> dict[str, Any]:
    database = logs / "router" / "data.sqlite"
    write(database, [made])
    given = ["backfill", str(database), "--responses", str(logs / "answers"), "--no-ledger"]
    done = CliRunner().invoke(app, [*given, "--details", "--json", *arguments])
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def capture(logs: Path, began: datetime, content: str = EVENTS) -> None:
    name = f"claude_claude_claude-sonnet-4-6_{began:%Y%m%d_%H%M%S}_{began.microsecond // 1000:03d}"
    folder = logs / "answers" / name
    folder.mkdir(parents=True)
    (folder / "5_res_provider.txt").write_text(content, "utf-8")


def body(logs: Path, created: datetime, model: str) -> None:
    usage = {
        "prompt_tokens": 5000,
        "completion_tokens": 60,
        "total_tokens": 5060,
        "prompt_tokens_details": {"cached_tokens": 4608},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(created.timestamp()),
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}}],
        "usage": usage,
    }
    (logs / "answers" / "one.json").write_text(json.dumps(answer), "utf-8")


def cached(found: dict[str, Any]) -> list[int]:
    return [change["after"]["cached_input_tokens"] for change in found["changes"]]


def reasons(found: dict[str, Any]) -> list[str]:
    return [row["reason"] for row in found["unrecoverable"]]


def test_a_raw_stream_fills_the_row_of_its_request(logs: Path) -> None:
    capture(logs, BEGAN)
    assert cached(plan(logs, CLAUDE)) == [18000]


def test_the_folder_is_named_in_local_time(logs: Path) -> None:
    capture(logs, BEGAN + timedelta(hours=2))
    assert cached(plan(logs, CLAUDE, "--timezone", "Europe/Berlin")) == [18000]
    assert reasons(plan_again(logs)) == ["no-response-kept"]


def plan_again(logs: Path) -> dict[str, Any]:
    (logs / "router" / "data.sqlite").unlink()
    return plan(logs, CLAUDE)


def test_a_stream_that_began_after_the_row_is_another_one_s(logs: Path) -> None:
    capture(logs, ENDED + timedelta(minutes=1))
    assert reasons(plan(logs, CLAUDE)) == ["no-response-kept"]


def test_a_stream_with_another_output_is_another_one_s(logs: Path) -> None:
    capture(logs, BEGAN, EVENTS.replace("655", "656"))
    assert reasons(plan(logs, CLAUDE)) == ["no-response-kept"]


def test_two_streams_with_like_counts_and_unlike_caches_fill_nothing(logs: Path) -> None:
    capture(logs, BEGAN)
    other = EVENTS.replace("18000", "17000").replace("msg_1", "msg_2")
    capture(logs, BEGAN - timedelta(seconds=1), other)
    assert reasons(plan(logs, CLAUDE)) == ["ambiguous-match"]


def test_a_body_fills_the_row_that_ended_soon_after_it_was_begun(logs: Path) -> None:
    body(logs, BEGAN, "gpt-5-2025-08-07")
    assert cached(plan(logs, OPENAI)) == [4608]


def test_a_body_of_another_model_fills_nothing(logs: Path) -> None:
    body(logs, BEGAN, "gpt-4o")
    assert reasons(plan(logs, OPENAI)) == ["no-response-kept"]


def test_stored_responses_are_no_calls_of_their_own(logs: Path) -> None:
    body(logs, BEGAN, "gpt-5-2025-08-07")
    found = plan(logs, OPENAI)
    assert found["before"]["calls"] == found["after"]["calls"] == 1
