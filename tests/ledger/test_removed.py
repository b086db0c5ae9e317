"""What an owner takes out of documents and line files: kept where a record has an id of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tallybook.ledger.open import with_usage
from tests.ledger.homes import FIXTURES, asked, coverage, document, session, told, totals

Row = dict[str, Any]


def usage(minute: int, prompt: int) -> Row:
    return {
        "provider": "openai",
        "model": "gpt-5",
        "tokens": {"prompt_tokens": prompt, "completion_tokens": 9},
        "timestamp": f"2026-04-20T09:{minute:02d}:00.000Z",
        "connectionId": "c",
        "endpoint": "/v1/chat/completions",
    }


def write(path: Path, *rows: Row) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"history": rows}))
    return path


def inputs(text: str) -> tuple[int, int]:
    """The tokens of all prompts, and the calls that were taken out of their files."""
    return totals(text)["input_tokens"], coverage(text)["removed_calls"]


def test_a_history_that_is_capped_keeps_in_the_ledger_what_fell_out(tmp_path: Path) -> None:
    """The newest rows stay, under other numbers; the document is written anew each time."""
    home, ledger = tmp_path / "home", tmp_path / "ledger"
    rows = [usage(minute, 10**minute) for minute in range(6)]
    path = write(home / ".9router/usage.json", *rows[:3])
    assert inputs(told(home, ledger)) == (111, 0)
    write(path, *rows[1:4])
    assert inputs(told(home, ledger)) == (1111, 1)
    write(path, *rows[3:6])
    for _ in range(2):
        assert inputs(told(home, ledger)) == (111111, 3)
    assert inputs(told(home, None)) == (111000, 0)
    assert told(home, ledger, [path]) == told(home, None, [path])


@pytest.mark.parametrize("left", ['{"history": []}', '{"history": [{"tim', ""])
def test_a_history_that_was_lost_is_still_in_the_ledger(tmp_path: Path, left: str) -> None:
    """The router begins anew where it cannot read its document."""
    home, ledger = tmp_path / "home", tmp_path / "ledger"
    path = write(home / ".9router/usage.json", usage(1, 10), usage(2, 100))
    told(home, ledger)
    path.write_text(left)
    assert inputs(told(home, ledger)) == (110, 2)
    write(path, usage(3, 1000))
    assert inputs(told(home, ledger)) == (1110, 2)
    write(path, usage(1, 10), usage(3, 1000))
    assert inputs(told(home, ledger)) == (1110, 1)


def everything(home: Path, ledger: Path) -> str:
    return with_usage(asked(home, ledger, everything=True), document)


@pytest.mark.parametrize("case", ["v1-3-call-records", "v1-4-episodes"])
def test_an_episode_that_a_resumed_run_dropped_is_kept(tmp_path: Path, case: str) -> None:
    """`vf-eval --resume` writes the file anew without what failed, and asks for that again."""
    home, ledger = tmp_path / "home", tmp_path / "ledger"
    lines = (
        next((FIXTURES / "verifiers" / case).rglob("traces.jsonl")).read_bytes().splitlines(True)
    )
    path = tmp_path / "run" / "traces.jsonl"
    path.parent.mkdir()
    for number, dropped in enumerate(lines):
        path.write_bytes(b"".join(lines))
        before = totals(told(home, ledger, [path]))
        path.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
        now = told(home, ledger, [path])
        assert now == told(home, None, [path])
        found = everything(home, ledger)
        assert totals(found)["total_tokens"] == before["total_tokens"]
        assert coverage(found)["removed_calls"] == before["calls"] - totals(now)["calls"]
        path.write_bytes(path.read_bytes() + dropped)  # appended, it is none that is lacking
        assert coverage(everything(home, ledger))["removed_calls"] == 0


def test_a_transcript_that_is_written_anew_counts_as_it_is_now(tmp_path: Path) -> None:
    """Its calls may have other names, so nothing tells what was taken out of it."""
    home, ledger = tmp_path / "home", tmp_path / "ledger"
    path = home / ".claude/projects/p/00000001-0000-4000-8000-000000000000.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(session(calls=3))
    told(home, ledger)
    path.write_bytes(session(number=2, calls=2))
    assert told(home, ledger) == told(home, None)
    assert coverage(told(home, ledger))["removed_calls"] == 0
