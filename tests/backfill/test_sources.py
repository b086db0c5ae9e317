"""Backfill of what other tools than a router kept, from their own files to a filled report."""

from __future__ import annotations

import json
import shutil
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
    logs = built(FIXTURES / "deer-flow" / "cache-reads")
    plan = answer("backfill", str(logs), "--details", "--apply")
    (change,) = plan["changes"]
    assert (change["source"], change["method"]) == ("deer-flow", "events")
    filled = {"uncached_input_tokens": 116, "cached_input_tokens": 384}
    assert of_model(logs, "deepseek-chat") == filled
    unfilled = dict.fromkeys(filled)
    assert of_model(logs, "deepseek-chat", "--as-recorded") == unfilled


def test_the_plan_of_a_remainder_that_two_calls_share_ends_where_its_report_does() -> None:
    """A result leaves some output to two of its calls, so no more than a bound of both is known."""
    logs = built(FIXTURES / "claude-code" / "headless-no-model-usage")
    plan = answer("backfill", str(logs))
    assert sum(each["calls"] for each in plan["bounded"]) == 2
    report = answer("usage-report", str(logs), "--backfill", "--by", "thread,caller")
    assert plan["after"] == report["totals"]


def test_what_is_filled_takes_no_doubt_from_a_log_that_nothing_was_filled_of() -> None:
    """Line 6 states 4,600 and 1,100 tokens and a total of 5,600, which no backfill changes."""
    doubted = FIXTURES / "symphony" / "broken-ledger" / "input"
    filled = built(FIXTURES / "deer-flow" / "cache-reads")
    report = answer("usage-report", str(doubted), str(filled), "--backfill", "--no-ledger")
    assert report["totals"]["origins"]["backfilled"] == 1
    assert report["coverage"]["problems"]["total-mismatch"] == 1


@pytest.mark.parametrize("case", ["deer-flow/cache-reads", "claude-code/headless-no-model-usage"])
def test_what_was_just_proved_fits_though_its_evidence_has_the_id_of_the_call(case: str) -> None:
    report = answer("usage-report", str(built(FIXTURES / case)), "--backfill", "--no-ledger")
    assert "stale-correction" not in report["coverage"]["problems"]


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


@pytest.mark.parametrize(
    ("other", "fills"),
    [
        pytest.param({"cached": 1024}, True, id="a copy"),
        pytest.param({"cached": None}, True, id="one that states less"),
        pytest.param({"cached": 512}, False, id="another split"),
        pytest.param({"cached": 1024, "output": 301}, False, id="another output"),
        pytest.param({"cached": 1024, "prompt": 1300}, False, id="another prompt"),
        pytest.param({"cached": None, "prompt": 1300}, False, id="another prompt, unsplit"),
    ],
)
@pytest.mark.parametrize(
    ("names", "id_of_both"),
    [
        (("a.json", "b.json"), "chatcmpl-a1"),
        (("b.json", "a.json"), "chatcmpl-A000000000000000000001"),
    ],
)
def test_answers_of_one_id_that_disagree_fill_nothing_whatever_their_files_are_called(
    id_of_both: str, other: dict[str, Any], names: tuple[str, str], fills: bool, tmp_path: Path
) -> None:
    """One of the two fits the call, which kept 1,200 prompt tokens and an output of 300."""
    log = (FIXTURES / "verifiers" / "v0-d-counted-at-call-time" / "input").resolve()
    logs = tmp_path / "logs"
    shutil.copytree(log, logs)
    for path in logs.rglob("*.jsonl"):
        path.write_text(path.read_text("utf-8").replace("chatcmpl-a1", id_of_both), "utf-8")
    kept = tmp_path / "kept"
    kept.mkdir()
    for name, counts in zip(names, ({"cached": 1024}, other), strict=True):
        (kept / name).write_text(json.dumps(chat(id_of_both, **counts)), "utf-8")
    plan = answer("backfill", str(logs), "--responses", str(kept), "--details")
    if fills:
        (change,) = plan["changes"]
        assert change["after"]["uncached_input_tokens"] == 176
        assert change["after"]["cached_input_tokens"] == 1024
    else:
        assert "evidence-disagrees" in {row["reason"] for row in plan["unrecoverable"]}
        assert not plan["changes"]


def chat(
    identity: str, *, cached: int | None, prompt: int = 1200, output: int = 300
) -> dict[str, Any]:
    details = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    return {
        "id": identity,
        "object": "chat.completion",
        "created": 1773000001,
        "model": "gpt-4.1-mini-2025-04-14",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            **details,
        },
    }
