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
from functools import partial
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


# ---- costs by kind of token


def test_costs_by_kind_that_are_ours_differ_in_nothing(
    reconcile: Reconcile, stated: list[Line]
) -> None:
    answer = reconcile(rivals.as_openai_costs(calls(stated)))
    assert answer["totals"]["causes"] == {}
    row = answer["rows"][0]
    for name in ("uncached_input_cost_usd", "cached_input_cost_usd", "output_cost_usd"):
        ours, theirs = Decimal(row["ours"][name]), Decimal(row["theirs"][name])
        assert abs(ours - theirs) < Decimal("0.000001"), name


KINDS: dict[str, tuple[str, str, Callable[[str], float]]] = {
    "another price of one kind": (
        "price",
        "output: it has 1.5 times our price",
        lambda kind: 1.5 if kind == "output" else 1,
    ),
    "cached at the full price": (
        "price",
        "cached input: it has 10 times our price",
        lambda kind: 10 if kind == "cached input" else 1,
    ),
    "no price of a kind": (
        "price",
        "it has no price of cached input",
        lambda kind: 0 if kind == "cached input" else 1,
    ),
    "all kinds alike": ("price", "it has 0.5 times our price", lambda _: 0.5),
}


@pytest.mark.parametrize("fault", KINDS)
def test_a_fault_of_one_kind_of_token_is_told_of_that_kind(
    reconcile: Reconcile, stated: list[Line], fault: str
) -> None:
    cause, words, price = KINDS[fault]
    answer = reconcile(rivals.as_openai_costs(calls(stated), price))
    is_named(answer, cause)
    told = {e["words"] for row in answer["rows"] for e in row["causes"] if e["cause"] == cause}
    assert told == {words}


def test_tokens_of_cost_lines_tell_which_files_are_lacking(
    reconcile: Reconcile, stated: list[Line]
) -> None:
    own = [line for line in calls(stated) if line.source == "codex"]
    some = [line for line in own if sum(Path(line.path).name.encode()) % 3]
    text = rivals.as_openai_costs(some, {"output": 1.2}.get, quantities=True)
    answer = reconcile(text)
    is_named(answer, "missing-source", "price")
    first, last = answer["statement"]["days"]
    between = [line for line in own if first <= line.at.date().isoformat() <= last]
    lacking = sum(line.tokens for line in between) - sum(line.tokens for line in some)
    assert answer["totals"]["causes"]["missing-source"]["tokens"] == -lacking
    more = sum(0.2 * rivals.parts(line)["output"][1] for line in some)
    assert abs(float(answer["totals"]["causes"]["price"]["cost_usd"]) - more) < 1e-6


# ---- two causes of one cell

Amounts = dict[tuple[str, str | None], dict[str, float]]


def is_split(answer: dict[str, Any], true: Amounts) -> None:
    """Of the money of all causes that were put in, 95 % stand under their names in their cells."""
    whole = wrong = Decimal()
    for row in answer["rows"]:
        if (row["day"], row["model"]) not in true:
            continue
        found: dict[str, Decimal] = {}
        for each in row["causes"]:
            cost_of = Decimal(each["cost_usd"] or 0)
            found[each["cause"]] = found.get(each["cause"], Decimal()) + cost_of
        put_in = true[row["day"], row["model"]]
        for name in {*found, *put_in}:
            amount = Decimal(put_in.get(name, 0))
            whole += abs(amount)
            wrong += abs(amount - found.get(name, Decimal()))
    assert whole
    assert wrong <= whole * (1 - ENOUGH), (wrong, whole, answer["totals"]["causes"])


def is_odd(line: Line) -> bool:
    return line.at.day % 2 == 1


def amounts(found: Iterable[Line], *causes: tuple[str, Callable[[Line], float]]) -> Amounts:
    """Of each cell the money that each cause adds to it."""
    made: Amounts = {}
    for line in found:
        cell = made.setdefault((line.at.date().isoformat(), canonical(line.model)), {})
        for name, more in causes:
            cell[name] = cell.get(name, 0) + more(line)
    return made


def of_several_days(stated: Iterable[Line]) -> list[Line]:
    """The calls of models with more days than one, without which nothing tells what a price is."""
    return [line for line in calls(stated) if line.model != "gpt-5.4"]


def test_a_change_of_counts_and_a_price_are_told_apart(
    reconcile: Reconcile, stated: list[Line]
) -> None:
    """Every day at 0.8 of the price, and on odd ones with the cache counted twice."""
    own = of_several_days(stated)
    made = [twice(line) if is_odd(line) else line for line in own]
    answer = reconcile(rivals.as_ccusage(said(made, price=lambda line: 0.8 * cost(line))))
    true = amounts(
        own,
        ("cache-convention", lambda e: cost(twice(e)) - cost(e) if is_odd(e) else 0),
        ("price", lambda e: -0.2 * cost(twice(e) if is_odd(e) else e)),
    )
    is_split(answer, true)


def test_a_change_that_is_in_no_money_and_a_price_are_told_apart(
    reconcile: Reconcile, stated: list[Line]
) -> None:
    """The cache counts twice in tokens on odd days; the price of every day is 1.1 times ours."""
    own = of_several_days(stated)
    rows = {
        (row.day, row.model): row
        for row in said([twice(line) if is_odd(line) else line for line in own])
    }
    priced = said(own, price=lambda line: 1.1 * cost(line))
    made = [replace(rows[row.day, row.model], cost=row.cost) for row in priced]
    is_split(
        reconcile(rivals.as_ccusage(made)),
        amounts(own, ("price", lambda line: 0.1 * cost(line))),
    )


@pytest.mark.parametrize("bill", [False, True], ids=["counts", "bill"])
def test_a_tier_and_a_price_are_told_apart(
    reconcile: Reconcile, stated: list[Line], bill: bool
) -> None:
    """Every day at 0.9 of the price; on odd days writes for an hour cost as for five minutes."""
    own = [line for line in calls(stated) if line.source == "claude-code"]
    brief = partial(cost, lifetimes=False)
    rows = said(own, price=lambda line: 0.9 * (brief(line) if is_odd(line) else cost(line)))
    answer = reconcile(rivals.as_anthropic_costs(rows) if bill else rivals.as_ccusage(rows))
    true = amounts(
        own,
        ("tier", lambda e: brief(e) - cost(e) if is_odd(e) else 0),
        ("price", lambda e: -0.1 * (brief(e) if is_odd(e) else cost(e))),
    )
    is_split(answer, true)


def test_a_bill_without_a_file_and_at_another_price_is_told_apart(
    reconcile: Reconcile, stated: list[Line]
) -> None:
    """Every day at 0.8 of the price, and on odd ones without the first of its files."""
    own = [line for line in calls(stated) if line.source == "claude-code"]
    first: dict[tuple[str, str], str] = {}
    for line in sorted(own, key=lambda line: line.path):
        if is_odd(line):
            first.setdefault((line.at.date().isoformat(), line.model), line.path)
    is_left = {
        id(line) for line in own if first.get((line.at.date().isoformat(), line.model)) == line.path
    }
    several = {cell for cell in first if len({e.path for e in own if of_cell(e) == cell}) > 1}
    rows = [
        row
        for row in said([e for e in own if id(e) not in is_left], price=lambda e: 0.8 * cost(e))
        if (row.day, row.model) in several or (row.day, row.model) not in first
    ]
    answer = reconcile(rivals.as_anthropic_costs(rows))
    answer["rows"] = [row for row in answer["rows"] if row["theirs"]["cost_usd"] != "0"]
    true = amounts(
        own,
        ("missing-source", lambda e: -cost(e) if id(e) in is_left else 0),
        ("price", lambda e: 0 if id(e) in is_left else -0.2 * cost(e)),
    )
    is_split(answer, true)


def of_cell(line: Line) -> tuple[str, str]:
    return line.at.date().isoformat(), line.model
