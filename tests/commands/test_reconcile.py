"""`tallybook reconcile` as a user sees it: the page, the causes, the exit codes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tallybook.commands import app
from tests.test_fixtures import FIXTURES

Run = Callable[..., Result]
DEMO = FIXTURES / "demo"
# What ccusage 20.0.24 says of Codex in the demo home: it does not read compressed logs, so the
# archived session of 2025-11-20 is not in it. Its last day is left out here, and put in below.
DAYS: list[dict[str, Any]] = [
    {
        "period": "2026-02-03",
        "metadata": {"agents": ["codex"]},
        "modelBreakdowns": [
            {
                "modelName": "gpt-5.2-codex",
                "inputTokens": 188432,
                "cacheReadTokens": 582912,
                "cacheCreationTokens": 0,
                "outputTokens": 12384,
                "cost": 0.6051416,
            },
            {
                "modelName": "gpt-5.1-codex-mini",
                "inputTokens": 22876,
                "cacheReadTokens": 24832,
                "cacheCreationTokens": 0,
                "outputTokens": 2134,
                "cost": 0.0106078,
            },
        ],
    },
]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.chdir(tmp_path)

    def go(*words: str | Path) -> Result:
        whole = ["reconcile", *map(str, words), "--no-ledger"]
        return CliRunner().invoke(app, whole, catch_exceptions=False)

    return go


def said(folder: Path, days: list[dict[str, Any]]) -> Path:
    path = folder / "ccusage.json"
    path.write_text(json.dumps({"daily": days, "totals": {}}))
    return path


def test_figures_that_agree_exit_with_0(run: Run, tmp_path: Path) -> None:
    done = run(said(tmp_path, DAYS), DEMO)
    assert done.exit_code == 0, done.stderr
    assert not done.stdout
    assert "compared: sources codex; 2026-02-03 to 2026-02-03, days of UTC" in done.stderr
    assert "0 tokens apart" in done.stderr


def test_what_differs_is_told_with_its_cause_and_exits_with_1(run: Run, tmp_path: Path) -> None:
    # All of the cache is in its prompt once more: 582,912 tokens.
    twice = json.loads(json.dumps(DAYS))
    twice[0]["modelBreakdowns"][0]["inputTokens"] += 582912
    twice[0]["modelBreakdowns"][0]["cost"] = 1.5
    # And it begins with the day of the log that it did not read: 317,575 tokens.
    first = {**twice[0], "period": "2025-11-20", "modelBreakdowns": []}
    first["modelBreakdowns"] = [{"modelName": "gpt-5.1-codex", "inputTokens": 0, "cost": 0}]
    done = run(said(tmp_path, [first, *twice]), DEMO, "--json")
    assert done.exit_code == 1
    answer = json.loads(done.stdout)
    found = {(row["day"], row["model"]): row for row in answer["rows"]}
    twice_row = found["2026-02-03", "gpt-5-2-codex"]
    assert twice_row["difference"]["tokens"] == 582912
    assert [(e["cause"], e["tokens"]) for e in twice_row["causes"]] == [
        ("cache-convention", 582912)
    ]
    lacking = found["2025-11-20", "gpt-5-1-codex"]
    assert lacking["difference"]["tokens"] == -317575
    (cause,) = lacking["causes"]
    assert cause["cause"] == "missing-source"
    assert cause["words"].endswith(".jsonl.zst")
    assert answer["within"] is False
    assert answer["totals"]["unknown"]["tokens"] == 0
    page = run(said(tmp_path, [first, *twice]), DEMO)
    assert "cache-convention (cache reads are counted twice)" in page.stdout
    assert "it counts the cache in another way" in page.stdout


def test_the_tolerance_decides_the_exit_code(run: Run, tmp_path: Path) -> None:
    dear = json.loads(json.dumps(DAYS))
    # 0.0106078 of 0.6157494 is 1.7 per cent of it; twice that price is as much again.
    dear[0]["modelBreakdowns"][1]["cost"] = 0.0212156
    path = said(tmp_path, dear)
    assert run(path, DEMO).exit_code == 1
    assert run(path, DEMO, "--tolerance", "2%").exit_code == 0
    done = run(path, DEMO, "--format", "csv")
    assert "gpt-5-1-codex-mini,49842,49842,0,0.0106078,0.0212156,0.0106078,price" in done.stdout


def test_what_the_logs_say_that_calls_cost_is_compared_with_the_list(run: Run) -> None:
    done = run("logged", FIXTURES / "claude-code" / "era-a-cost-on-line", "--json")
    answer = json.loads(done.stdout)
    assert answer["statement"]["form"] == "logged"
    assert all(row["difference"]["tokens"] is None for row in answer["rows"])
    assert {e["cause"] for row in answer["rows"] for e in row["causes"]} <= {"price", "tier"}


def test_the_other_s_answer_may_come_through_a_pipe(run: Run) -> None:
    reads, writes = os.pipe()
    try:
        os.write(writes, json.dumps({"daily": DAYS, "totals": {}}).encode())
        os.close(writes)
        assert run(f"/dev/fd/{reads}", DEMO).exit_code == 0
    finally:
        os.close(reads)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere.json"], 2, "there is no nowhere.json"),
        (["logged", "--tolerance", "much"], 2, "is no percentage"),
        (["logged", "-o", "page.html"], 2, "reconcile writes no html"),
        (["odd.json"], 1, "is of no form that is known"),
        (["logged"], 1, "nothing to compare with"),
    ],
)
def test_what_cannot_be_compared_is_said(
    run: Run, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    (tmp_path / "odd.json").write_text("{}")
    done = run(*words)
    assert done.exit_code == code, done.stdout
    assert message in done.stderr
