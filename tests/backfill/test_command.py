"""`tallybook backfill` as a user sees it, over a made history and a ledger of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pytest
from typer.testing import CliRunner, Result

import tallybook.ledger.open
from tallybook.commands import app
from tallybook.derive.chain import corrected, priced
from tallybook.ledger.corrections import corrections
from tallybook.pricing import rates as pricing
from tests.backfill.history import history
from tests.backfill.stated import settled_history
from tests.readings import MadeReading

Run = Callable[..., Result]
T = TypeVar("T")


class HistoryReading(MadeReading):
    """The made history as the ledger would give it, with the corrections that it holds."""

    def __init__(self) -> None:
        super().__init__(settled_history(history(300)).drop("row"))
        self.rates = pricing.load(None, None)
        self.corrections: Any = None

    def with_usage(self, question: Any, work: Callable[[Any], T], _: Any = None) -> T:
        known = question.ledger and not question.as_recorded and question.ledger.exists()
        self.corrections = corrections(question.ledger) if known else None
        return super().with_usage(question, work)

    def batches(self, only: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        for part in self.rows.iter_slices(200):
            whole = part.with_columns(component=pl.lit("all"))
            yield priced(corrected(whole, self.corrections), self.rates)


@pytest.fixture(scope="module")
def reading() -> HistoryReading:
    return HistoryReading()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reading: HistoryReading) -> Run:
    monkeypatch.setattr(tallybook.ledger.open, "with_usage", reading.with_usage)
    monkeypatch.setenv("TALLYBOOK_LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def answer(run: Run, *arguments: str) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_plan_changes_nothing(run: Run, tmp_path: Path) -> None:
    plan = answer(run, "backfill")
    assert plan["schema"] == "tallybook/backfill"
    assert plan["rows"]
    assert not list(tmp_path.rglob("*.parquet"))


def test_the_plan_says_what_changes_and_what_stays(run: Run) -> None:
    plan = answer(run, "backfill", "--details")
    assert {row["method"] for row in plan["rows"]} == {"detail", "response"}
    detail = next(row for row in plan["rows"] if row["method"] == "detail")
    assert detail["cached_before"] < detail["cached_after"]
    assert detail["cost_before_usd"] != detail["cost_after_usd"]
    assert len(plan["changes"]) == sum(row["calls"] for row in plan["rows"])
    assert {"source", "reason", "calls", "meaning"} == set(plan["unrecoverable"][0])
    assert plan["before"]["unknown"]["cached_input_tokens"] > plan["after"]["unknown"].get(
        "cached_input_tokens", 0
    )
    assert plan["before"]["calls"] == plan["after"]["calls"]


def test_the_differences_add_up_to_that_of_the_totals(run: Run) -> None:
    plan = answer(run, "backfill")
    for field in ("tokens", "total_tokens"):
        before, after = (plan[side]["total_tokens"] for side in ("before", "after"))
        moved = sum(row["tokens_after"] - row["tokens_before"] for row in plan["rows"])
        assert after - before == moved, field


def test_what_is_applied_is_in_the_reports_until_it_is_taken_back(run: Run) -> None:
    recorded = answer(run, "usage-report")
    plan = answer(run, "backfill", "--apply")
    filled = answer(run, "usage-report")
    assert recorded["totals"] == plan["before"]
    assert filled["totals"] == plan["after"]
    assert filled["coverage"]["backfilled"] > 0
    assert answer(run, "usage-report", "--as-recorded")["totals"] == plan["before"]
    assert "taken back" in run("backfill", "--undo").stderr
    assert answer(run, "usage-report")["totals"] == plan["before"]


def test_applying_says_the_calls_that_the_plan_said(run: Run) -> None:
    calls = sum(row["calls"] for row in answer(run, "backfill")["rows"])
    first, second = run("backfill", "--apply"), run("backfill", "--apply")
    assert first.stdout == second.stdout
    assert f"\n{calls:,} calls to fill" in f"\n{first.stderr}"
    assert f"corrections of {calls:,} calls recorded" in first.stderr
    assert f"those of {calls:,} calls were recorded before" in second.stderr
    applied = answer(run, "backfill", "--apply")["applied"]
    nothing_new = {"calls": calls, "in_files": 0, "recorded": 0, "recorded_before": calls}
    assert applied == nothing_new
    assert f"corrections of {calls:,} calls taken back" in run("backfill", "--undo").stderr


def test_a_report_can_fill_at_once_and_record_nothing(run: Run) -> None:
    plan = answer(run, "backfill")
    assert answer(run, "usage-report", "--backfill")["totals"] == plan["after"]
    assert answer(run, "usage-report")["totals"] == plan["before"]


def test_the_table_is_read_at_a_glance(run: Run) -> None:
    done = run("backfill", "--details")
    for words in ("To fill", "Largest changes", "Not recoverable", "no-response-kept"):
        assert words in done.stdout
    assert "calls to fill" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--apply", "--undo"], ["--apply", "--undo"]),
        (["--apply", "--no-ledger"], ["--apply", "ledger"]),
        (["--responses", "nowhere"], ["nowhere"]),
        (["nowhere.sqlite"], ["nowhere.sqlite"]),
    ],
)
def test_wrong_usage_is_named(run: Run, arguments: list[str], words: list[str]) -> None:
    done = run("backfill", *arguments)
    assert done.exit_code == 2
    assert all(word in done.stderr for word in words)


def test_there_is_nothing_to_take_back_before_anything_was_applied(run: Run) -> None:
    done = run("backfill", "--undo")
    assert (done.exit_code, "nothing to take back" in done.stderr) == (0, True)
