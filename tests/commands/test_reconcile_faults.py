"""Over generated logs, `reconcile` names the cause of a fault that was put into another's figures.

Each test puts in what is known to go wrong and asks for the share of the difference, in tokens and
in money, that stands under the right name: 95 % at least.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from tallybook.commands import app
from tallybook.report.statements import canonical
from tests.commands import rivals
from tests.commands.rivals import Line, calls, cost, said

ENOUGH = Decimal("0.95")
Reconcile = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    rivals.make(folder)
    return folder


@pytest.fixture(scope="module")
def stated(home: Path) -> list[Line]:
    return rivals.lines(home)


@pytest.fixture
def reconcile(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reconcile:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")

    def go(answer: str, logs: Path = home) -> dict[str, Any]:
        path = tmp_path / "said"
        path.write_text(answer, encoding="utf-8")
        words = ["reconcile", str(path), str(logs), "--json", "--ledger", str(logs.parent / "kept")]
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code in {0, 1}, done.stderr
        return dict(json.loads(done.stdout))

    return go


def shares(answer: dict[str, Any], right: Callable[[dict[str, Any]], set[str]]) -> list[Decimal]:
    """Of all that differs in tokens and in money, how much stands under the right names."""
    found = []
    for name in ("tokens", "cost_usd"):
        whole = named = Decimal()
        for row in answer["rows"]:
            for each in row["causes"]:
                amount = abs(Decimal(each[name] or 0))
                whole += amount
                named += amount if each["cause"] in right(row) else 0
        found.append(named / whole if whole else Decimal(1))
    return found


def is_named(answer: dict[str, Any], *names: str) -> None:
    assert answer["within"] is False
    found = shares(answer, lambda _: set(names))
    assert min(found) >= ENOUGH, (found, answer["totals"]["causes"])


def test_the_truth_differs_in_nothing(reconcile: Reconcile, stated: list[Line]) -> None:
    answer = reconcile(rivals.as_ccusage(said(calls(stated))))
    assert answer["totals"]["apart"]["tokens"] == 0, answer["totals"]["causes"]
    assert Decimal(answer["totals"]["apart"]["cost_usd"]) < Decimal("0.000001")


def twice(line: Line) -> Line:
    """The cache within the prompt, and once more beside it."""
    return replace(line, uncached=line.uncached + line.cached)


FAULTS: dict[str, tuple[str, Callable[[list[Line]], Iterable[Line]], Callable[[Line], float]]] = {
    "every line is a call": ("duplicates", lambda found: found, cost),
    "a copy in another file is a call": (
        "duplicates",
        lambda found: {(line.call, line.path): line for line in found}.values(),
        cost,
    ),
    "the cache counts twice": ("cache-convention", lambda f: map(twice, calls(f)), cost),
    "writes are left out": (
        "cache-convention",
        lambda f: (replace(line, written=0, hour=0) for line in calls(f)),
        cost,
    ),
    "reasoning is added": (
        "reasoning",
        lambda f: (replace(line, output=line.output + line.reasoning) for line in calls(f)),
        cost,
    ),
    "an answer's first line counts": ("placeholder", rivals.first_counts, cost),
    "another price": ("price", calls, lambda line: 1.25 * cost(line)),
    "no price of a model": (
        "price",
        calls,
        lambda line: 0 if line.model.startswith("gpt") else cost(line),
    ),
    "cached tokens at the full price": ("price", calls, lambda line: cost(twice(line))),
    "no tier of long prompts": ("tier", calls, lambda line: cost(line, tiers=False)),
    "an hour at the price of five minutes": (
        "tier",
        calls,
        lambda line: cost(line, lifetimes=False),
    ),
    "sub-agents are not read": (
        "missing-source",
        lambda f: (line for line in calls(f) if "subagents" not in line.path),
        cost,
    ),
    "a third of the files is not read": (
        "missing-source",
        lambda f: (line for line in calls(f) if sum(line.path.encode()) % 3),
        cost,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_its_name(reconcile: Reconcile, stated: list[Line], fault: str) -> None:
    cause, change, price = FAULTS[fault]
    is_named(reconcile(rivals.as_ccusage(said(change(stated), price=price))), cause)


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Kolkata", "Australia/Lord_Howe"])
def test_days_of_another_zone(reconcile: Reconcile, stated: list[Line], zone: str) -> None:
    is_named(reconcile(rivals.as_ccusage(said(calls(stated), ZoneInfo(zone)))), "time-zone")


def test_several_faults_at_once(reconcile: Reconcile, stated: list[Line]) -> None:
    # No sub-agents, every line a call, at another price, in days of another zone.
    counted = [line for line in stated if "subagents" not in line.path]
    rows = said(counted, ZoneInfo("Europe/Berlin"), lambda line: 0.9 * cost(line))
    names = ("duplicates", "missing-source", "price", "time-zone")
    answer = reconcile(rivals.as_ccusage(rows))
    is_named(answer, *names)
    assert answer["totals"]["causes"].keys() >= set(names)


def test_each_day_and_model_has_a_fault_of_its_own(
    reconcile: Reconcile, stated: list[Line]
) -> None:
    pick = Random(5)
    cells = {(line.at.date().isoformat(), line.model) for line in stated}
    chosen = {cell: pick.choice(list(FAULTS)) for cell in sorted(cells)}
    rows = []
    for fault, (_, change, price) in FAULTS.items():
        made = said(change(stated), price=price)
        rows += [row for row in made if chosen.get((row.day, row.model)) == fault]
    answer = reconcile(rivals.as_ccusage(rows))
    names = {(day, canonical(model)): FAULTS[fault][0] for (day, model), fault in chosen.items()}
    found = shares(answer, lambda row: {names.get((row["day"], row["model"]), "duplicates")})
    assert min(found) >= ENOUGH, (found, answer["totals"]["causes"])


EXPORTS = {
    "openai": rivals.as_openai_usage,
    "anthropic": rivals.as_anthropic_usage,
}


@pytest.mark.parametrize("provider", EXPORTS)
def test_an_export_that_knows_of_calls_which_no_log_has(
    reconcile: Reconcile, stated: list[Line], provider: str
) -> None:
    # Every fifth call was made once more, on another machine.
    own = calls(stated)
    answer = reconcile(EXPORTS[provider](said([*own, *own[::5]])))
    is_named(answer, "missing-source")


def test_a_tool_that_reads_logs_which_are_gone_here(
    reconcile: Reconcile, stated: list[Line], home: Path, tmp_path: Path
) -> None:
    rows = rivals.as_ccusage(said(calls(stated)))
    some = tmp_path / "some"
    shutil.copytree(home, some)
    for path in some.rglob("*.jsonl"):
        if sum(path.name.encode()) % 3 == 0:
            path.unlink()
    is_named(reconcile(rows, some), "missing-source")


def test_an_export_has_the_outputs_that_the_log_never_got(
    reconcile: Reconcile, stated: list[Line]
) -> None:
    true = [line if line.final else replace(line, output=600) for line in calls(stated)]
    answer = reconcile(rivals.as_anthropic_usage(said(true)))
    assert answer["totals"]["causes"] == {
        "placeholder": {"cells": 8, "tokens": 8 * 597, "cost_usd": "0"}
    }


@pytest.mark.parametrize(
    ("cause", "price"),
    [
        ("price", lambda line: 0.8 * cost(line)),
        ("tier", lambda line: cost(line, lifetimes=False)),
    ],
)
def test_a_bill_without_counts(
    reconcile: Reconcile, stated: list[Line], cause: str, price: Callable[[Line], float]
) -> None:
    rows = said(calls(stated), price=price)
    is_named(reconcile(rivals.as_anthropic_costs(rows)), cause)
