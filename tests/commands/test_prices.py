"""`tallybook prices` against rates that are worked out by hand."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tallybook.commands import app

Run = Callable[..., Result]
# Prices of nobody, so that no list changes them; periods, a tier, an alias, a discount.
PRICES = """
[[price]]
provider = "acme"
model = "acme-1"
valid_to = 2026-03-01
input = 3
output = 12

[[price]]
provider = "acme"
model = "acme-1"
valid_from = 2026-03-01
input = 2
cache_read = 0.2
cache_write_5m = 2.5
output = 10
web_search = 14
tiers = [{ above = 100_000, input = 4, output = 20 }]

[[alias]]
from = "my-deployment"
to = "acme-1"
provider = "acme"
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    (tmp_path / "prices.toml").write_text(PRICES)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["prices", *words], catch_exceptions=False)


def rows(done: Result) -> list[dict[str, Any]]:
    assert done.exit_code == 0, done.stderr
    return list(json.loads(done.stdout)["rows"])


def test_every_period_and_tier_of_a_model(run: Run) -> None:
    found = rows(run("acme-1", "--provider", "acme", "--prices", "prices.toml", "--json"))
    names = ("valid_from", "valid_to", "above_tokens", "uncached_input_usd_per_million_tokens")
    assert [tuple(row[name] for name in names) for row in found] == [
        (None, "2026-03-01", 0, "3"),
        ("2026-03-01", None, 0, "2"),
        ("2026-03-01", None, 100_000, "4"),
    ]
    last = found[-1]
    assert last["served"] == "standard"
    assert last["source"] == "prices prices.toml"
    assert last["basis"] == "override"
    assert last["web_search_usd_per_thousand"] == "14"
    # What the tier does not state is that of the base; an hour's write is the shorter one's rate.
    assert last["cached_input_usd_per_million_tokens"] == "0.2"
    assert last["cache_creation_1h_usd_per_million_tokens"] == "2.5"
    assert last["fallback"] == ["cache_creation_1h_usd_per_million_tokens"]


@pytest.mark.parametrize(
    ("at", "want"),
    [
        ("2026-02-28", ["3"]),
        ("20260301", ["2", "4"]),
        ("2026-02-28T23:59", ["3"]),
        ("2026-03-01T00:30+01:00", ["3"]),  # still the day before in UTC
    ],
)
def test_what_holds_on_a_day(run: Run, at: str, want: list[str]) -> None:
    done = run("acme-1", "--at", at, "--prices", "prices.toml", "--json")
    assert [row["uncached_input_usd_per_million_tokens"] for row in rows(done)] == want


def test_the_way_from_a_name_to_its_entry_stands_above_the_rates(run: Run) -> None:
    done = run("my-deployment", "--prices", "prices.toml")
    assert done.stdout.startswith("alias of acme-1 → ")
    assert "> 100,000" in done.stdout
    done = run("openai/gpt-5.4-high", "--json")
    assert json.loads(done.stdout)["path"] == [
        "logged as openai/gpt-5.4-high",
        "without -high",
        "read as gpt-5.4",
        "suffix removed match: gpt-5.4 of openai",
    ]


def test_the_users_price_holds_in_its_time_and_the_list_s_before_and_after(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "own.toml").write_text(
        "[[price]]\nmodel = 'gpt-5.4'\nprovider = 'openai'\ninput = 1\noutput = 2\n"
        "valid_from = 2026-10-01\nvalid_to = 2026-11-01\n"
    )
    found = rows(run("gpt-5.4", "--prices", "own.toml", "--json"))
    names = ("valid_from", "valid_to", "above_tokens", "uncached_input_usd_per_million_tokens")
    standard = [row for row in found if row["served"] == "standard"]
    assert [tuple(row[name] for name in names) for row in standard] == [
        (None, "2026-10-01", 0, "2.5"),
        (None, "2026-10-01", 272_000, "5"),
        ("2026-10-01", "2026-11-01", 0, "1"),
        ("2026-11-01", None, 0, "2.5"),
        ("2026-11-01", None, 272_000, "5"),
    ]


def test_a_tier_of_the_list_and_what_batch_costs(run: Run) -> None:
    found = rows(run("gpt-5.4", "--at", "2026-11-20", "--json"))
    standard = [row for row in found if row["served"] == "standard"]
    # OpenAI's list: 2.50, cached 0.25, output 15; above 272,000 tokens 5, 0.50, 22.50.
    assert [
        (
            row["above_tokens"],
            row["uncached_input_usd_per_million_tokens"],
            row["cached_input_usd_per_million_tokens"],
            row["output_usd_per_million_tokens"],
        )
        for row in standard
    ] == [(0, "2.5", "0.25", "15"), (272_000, "5", "0.5", "22.5")]
    batch = next(row for row in found if row["served"] == "batch")
    assert batch["uncached_input_usd_per_million_tokens"] == "1.25"
    assert batch["output_usd_per_million_tokens"] == "7.5"


def test_csv_and_markdown_have_the_same_rates(run: Run) -> None:
    whole = ["acme-1", "--prices", "prices.toml"]
    found = list(csv.DictReader(StringIO(run(*whole, "--format", "csv").stdout)))
    assert [row["output_usd_per_million_tokens"] for row in found] == ["12", "10", "20"]
    table = run(*whole, "--format", "markdown").stdout
    assert "| Prompt | From | To | Uncached |" in table


def test_hours_that_cost_the_same_are_one_row_of_their_period(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("deepseek-v4-pro").stdout.splitlines()
    shown = [" ".join(line.split()) for line in lines]
    # Double at 01:00 to 04:00 and 06:00 to 10:00 UTC of workdays since 2026-08-16, 16:00 UTC.
    assert "2026-08-16T16Z – other hours 0.66 0.022 1.98" in shown
    assert "2026-08-16T16Z – Mon–Fri 01–04, 06–10 1.32 0.044 3.96" in shown
    assert len([line for line in shown if "other hours" in line]) == 1
    # The workdays off of 2026 (gov.cn): Mid-Autumn on September 25, National Day from October 1.
    days = "2026-09-25, 2026-10-01 to 2026-10-02, 2026-10-05 to 2026-10-07"
    assert f"Mon–Fri 01–04, 06–10: not on {days}" in shown
    assert max(map(len, lines)) <= 120
    assert max(len(line) for line in lines if "not on" not in line) <= 80


def test_days_that_are_exceptions_stand_in_the_rates_that_do_not_hold_on_them(run: Run) -> None:
    found = rows(run("deepseek-v4-pro", "--json"))
    late = [row for row in found if row["valid_from"]]
    off = [row for row in late if row["utc_from"] is None]
    # One rate for the holidays, and one for each of the seven windows of the other days.
    assert [row["periods"] for row in off] == [
        ["2026-09-25/2026-09-26", "2026-10-01/2026-10-03", "2026-10-05/2026-10-08"]
    ]
    others = [row for row in late if row["utc_from"] is not None]
    assert len(others) == 7
    for row in others:
        assert (row["valid_from"], row["valid_to"]) == ("2026-08-16T16:00:00Z", None)
        assert row["periods"] == [
            "2026-08-16T16:00:00Z/2026-09-25",
            "2026-09-26/2026-10-01",
            "2026-10-03/2026-10-05",
            "2026-10-08/..",
        ]
    on_a_holiday = rows(run("deepseek-v4-pro", "--at", "2026-10-05", "--json"))
    assert [row["uncached_input_usd_per_million_tokens"] for row in on_a_holiday] == ["0.66"]


def test_fees_of_tools_stand_below_the_rates(run: Run) -> None:
    """docs.x.ai: $5 a thousand runs of code since 2025-11-19, searches of files for half of it."""
    done = run("grok-4.3", "--at", "2026-05-20", "--provider", "xai")
    assert "code execution calls: 5 a thousand from 2025-11-19\n" in done.stdout
    assert "file search calls: 2.5 a thousand from 2026-03-01\n" in done.stdout
    done = run("grok-4.3", "--at", "2026-01-05", "--provider", "xai", "--json")
    assert [
        (fee["tool"], fee["usd_per_thousand"], fee["at_most_usd_per_thousand"])
        for fee in json.loads(done.stdout)["tool_fees"]
    ] == [
        ("code_execution_calls", "5", "5"),
        ("file_search_calls", "2.5", "5"),
        ("x_search_calls", "5", "5"),
    ]


def test_the_digest_stands_below_what_has_no_price(run: Run, tmp_path: Path) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_763_640_000}
    answer |= {"model": "mystery-9", "choices": [], "usage": usage}
    (tmp_path / "log.jsonl").write_text(json.dumps(answer) + "\n")
    for form in ("table", "markdown", "csv", "json"):
        done = run("--unpriced", "log.jsonl", "--no-ledger", "--format", form)
        assert re.search(r"[0-9a-f]{16}", done.stdout), form


def test_columns_without_room_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallybook.commands.output.stdout_width", lambda: 80)
    assert "no room for Write 5m, Write 1h, Source:" in run("gpt-5.4").stderr
    monkeypatch.setattr("tallybook.commands.output.stdout_width", lambda: 40)
    assert "no room for Prompt, From, To, Write 5m," in " ".join(run("gpt-5.4").stderr.split())


def test_a_name_that_nothing_has_is_met_with_near_ones(run: Run) -> None:
    done = run("acme-l", "--prices", "prices.toml")
    assert done.exit_code == 1
    assert not done.stdout
    assert "no price is known for acme-l" in done.stderr
    assert "near names: acme-1" in done.stderr
    answer = json.loads(run("acme-l", "--prices", "prices.toml", "--json").stdout)
    assert (answer["rows"], answer["near"]) == ([], ["acme-1"])


def test_without_a_model_all_of_a_provider_are_listed(run: Run) -> None:
    words = ["--provider", "acme", "--at", "2026-11-20", "--prices", "prices.toml", "--json"]
    assert [(row["model"], row["above_tokens"]) for row in rows(run(*words))] == [
        ("acme-1", 0),
        ("acme-1", 100_000),
    ]


def test_models_without_a_price_come_with_their_calls_and_tokens(run: Run, tmp_path: Path) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    answers = [("mystery-9", 0), ("mystery-9", 1), ("gpt-5.4", 2), ("acme-l", 3)]
    lines = [
        {
            "id": f"chatcmpl-{n}",
            "object": "chat.completion",
            "created": 1_763_640_000 + n,  # 2025-11-20T12:00:00Z
            "model": model,
            "choices": [],
            "usage": usage,
        }
        for model, n in answers
    ]
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "answers.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["--unpriced", "logs", "--no-ledger", "--prices", "prices.toml"]
    answer = json.loads(run(*words, "--json").stdout)
    names = ("model", "calls", "unpriced_tokens", "reason", "near")
    assert [tuple(row[name] for name in names) for row in answer["rows"]] == [
        ("mystery-9", 2, 240, "unpriced", []),
        ("acme-l", 1, 120, "unpriced", ["acme-1"]),
    ]
    assert answer["rows"][0]["first"] == "2025-11-20T12:00:00Z"
    assert answer["totals"] == {"calls": 3, "unpriced_tokens": 360}
    table = run(*words)
    assert "mystery-9" in table.stdout
    assert "2 models without a price" in table.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["gpt-5.4", "--at", "soon"],
        ["gpt-5.4", "--at", "2026-11-20Tnoon"],
        ["gpt-5.4", "gpt-5.5"],
        [""],
        ["gpt-5.4", "--no-ledger"],
        ["--unpriced", "--at", "2026-11-20"],
        ["--unpriced", "nowhere"],
        ["gpt-5.4", "-o", "prices.html"],
    ],
)
def test_wrong_usage_exits_with_2(run: Run, words: list[str]) -> None:
    done = run(*words)
    assert done.exit_code == 2, done.stdout
    assert done.stderr.startswith("error: ")
