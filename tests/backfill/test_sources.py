"""Backfill of what other tools than a router kept, from their own files to a filled report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tallybook.commands import app
from tests.built import built

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TALLYBOOK_LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setenv("TZ", "UTC")


def answer(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def of_model(logs: Path, model: str, *arguments: str) -> dict[str, Any]:
    found = answer("usage-report", str(logs), "--model", model, *arguments)
    counts: dict[str, Any] = found["totals"]
    return {name: counts[name] for name in ("uncached_input_tokens", "cached_input_tokens")}


def test_the_event_of_a_call_tells_what_its_normalised_usage_left_out() -> None:
    """The raw usage of deepseek splits 500 prompt tokens into 384 hits and 116 misses."""
    logs = built(FIXTURES / "deer-flow" / "d5-cache-reads")
    plan = answer("backfill", str(logs), "--details", "--apply")
    (change,) = plan["changes"]
    assert (change["source"], change["method"]) == ("deer-flow", "events")
    filled = {"uncached_input_tokens": 116, "cached_input_tokens": 384}
    assert of_model(logs, "deepseek-chat") == filled
    unfilled = dict.fromkeys(filled)
    assert of_model(logs, "deepseek-chat", "--as-recorded") == unfilled


def test_a_folder_of_responses_fills_the_turns_that_name_them(tmp_path: Path) -> None:
    """The turn kept the response's id and 1,200 prompt tokens; 1,024 of them were cached."""
    logs = FIXTURES / "verifiers" / "v0-d-counted-at-call-time" / "input"
    details = {
        "prompt_tokens_details": {"cached_tokens": 1024},
        "completion_tokens_details": {"reasoning_tokens": 128},
    }
    response = {
        "id": "chatcmpl-a1",
        "object": "chat.completion",
        "created": 1773000001,
        "model": "gpt-4.1-mini-2025-04-14",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}}],
        "usage": {"prompt_tokens": 1200, "completion_tokens": 300, "total_tokens": 1500, **details},
    }
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "one.json").write_text(json.dumps(response), "utf-8")
    plan = answer("backfill", str(logs), "--responses", str(kept), "--details", "--apply")
    (change,) = plan["changes"]
    assert (change["source"], change["method"]) == ("verifiers", "response")
    counts = of_model(logs, "gpt-4.1-mini-2025-04-14")
    assert counts == {"uncached_input_tokens": 176, "cached_input_tokens": 1024}
    # The other turn of that model has no response, and stays unsplit.
    found = answer("usage-report", str(logs), "--model", "gpt-4.1-mini-2025-04-14")["totals"]
    assert found["unsplit_input_tokens"] == 800
