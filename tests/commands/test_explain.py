"""Pages of `tallybook explain` that are worked out by hand, and what it says where it cannot."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tallybook.commands import app
from tests.built import built
from tests.test_fixtures import FIXTURES

Run = Callable[..., Result]
# Round prices of our own, so that no list changes a page.
PRICES = """
[[price]]
model = "gpt-5.2"
provider = "openai"
input = 2
cache_read = 0.2
output = 10

[[price]]
model = "claude-opus-4-7"
provider = "anthropic"
input = 5
cache_read = 0.5
cache_write_5m = 6.25
cache_write_1h = 10
output = 25

[[price]]
model = "claude-sonnet-4-6"
provider = "anthropic"
input = 3
cache_read = 0.3
cache_write_5m = 3.75
cache_write_1h = 6
output = 15
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    (tmp_path / "prices.toml").write_text(PRICES)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.chdir(tmp_path)
    base = ["--prices", "prices.toml"]
    return lambda *words: CliRunner().invoke(
        app, ["explain", *base, *map(str, words)], catch_exceptions=False
    )


def page(done: Result, logs: Path) -> list[str]:
    """The page, with LOGS for the folder of the logs, and without the digest of its prices."""
    assert done.exit_code == 0, done.stderr
    whole, digests = re.subn(r" · prices [0-9a-f]{16}$", "", done.stdout, flags=re.MULTILINE)
    assert digests == 1
    return whole.replace(str(logs), "LOGS").splitlines()


def answer(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.stderr
    return dict(json.loads(done.stdout))


FORK = built(FIXTURES / "codex" / "total-only-in-fork")
BLOCKS = built(FIXTURES / "claude-code" / "line-per-block")
FILLED = built(FIXTURES / "9router" / "database-details")
PAGES = Path(__file__).parent / "pages"


def worked_out(name: str) -> list[str]:
    """A page that was written by hand, from the input of a fixture and the prices above."""
    return (PAGES / f"{name}.txt").read_text("utf-8").splitlines()


def test_calls_of_a_running_total_and_the_history_that_a_fork_copied(run: Run) -> None:
    # The second total is 13,000 of input, 5,888 of it cached, and 420 of output; the first was
    # 6,000, 0 and 200. So the second call took 7,000, 5,888 and 220: uncached 1,112.
    # 6,000 x 2 + 200 x 10 = 14,000 millionths; 1,112 x 2 + 5,888 x 0.2 + 220 x 10 = 5,601.6.
    lines = page(run("019bdad8", FORK, "--no-ledger"), FORK)
    # The digest of the counters in a call's id is no figure.
    assert [re.sub(r"(call codex:\S+:)[0-9a-f]{16}$", r"\1DIGEST", line) for line in lines] == (
        worked_out("fork")
    )


def test_a_response_on_several_lines_with_writes_for_an_hour(run: Run) -> None:
    # 4 x 5 + 23,410 x 0.5 + 1,850 x 10 + 512 x 25 = 20 + 11,705 + 18,500 + 12,800 millionths.
    # 1 x 5 + 25,260 x 0.5 + 640 x 10 + 233 x 25 = 5 + 12,630 + 6,400 + 5,825.
    done = run("day=2026-04-21,model=claude-opus-4-7", "--limit", 1, BLOCKS, "--no-ledger")
    assert page(done, BLOCKS) == worked_out("blocks")


def test_a_call_that_was_filled_from_the_answer_beside_it(run: Run) -> None:
    # The row of the database has 14 of prompt and 655 of output; its detail of the same second has
    # 30,210 read from and 1,204 written to the cache besides.
    # 14 x 3 + 30,210 x 0.3 + 1,204 x 3.75 + 655 x 15 = 42 + 9,063 + 4,515 + 9,825 millionths.
    # Nothing says that the writes were not for an hour, at 6: 1,204 x 2.25 more at most.
    done = run("9router:sole-2026-06-28T09:00:00.100Z", FILLED, "--no-ledger", "--backfill")
    assert page(done, FILLED)[2:-2] == worked_out("filled")


def test_where_the_log_is_gone_the_ledger_tells_all_but_the_usage_object(
    run: Run, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    shutil.copytree(BLOCKS, logs)
    first = answer(run("total", logs, "--ledger", "kept", "--json"))
    shutil.rmtree(logs)
    second = answer(run("--all", "--ledger", "kept", "--json"))
    assert second["coverage"]["gone"] == 1
    assert second["totals"] == first["totals"]
    for before, after in zip(first["rows"], second["rows"], strict=True):
        assert before["log"]["state"] == "there"
        assert after["log"] == {"state": "gone", "words": "the log is gone", "usage": []}
        assert after | {"log": before["log"]} == before
    lines = run("--all", "--ledger", "kept").stdout.splitlines()
    assert (
        '  logged     the log is gone; as it was read: {"input_tokens": 4, "cached_tokens": 23410, '
        '"cache_creation_tokens": 1850, "cache_creation_5m_tokens": 0, '
        '"cache_creation_1h_tokens": 1850, "output_tokens": 512}'
    ) in lines


def test_a_cell_is_the_same_in_all_its_spellings(run: Run) -> None:
    tail = [BLOCKS, "--no-ledger", "--json"]
    named = answer(run("model=claude-opus-4-7,day=2026-04-21", *tail))
    ordered = answer(run("--by", "model,day", "claude-opus-4-7,2026-04-21", *tail))
    filtered = answer(
        run("--model", "claude-opus-4-7", "--since", "2026-04-21", "--until", "2026-04-21", *tail)
    )
    assert named["rows"] == ordered["rows"] == filtered["rows"]
    assert named["totals"] == ordered["totals"] == filtered["totals"]
    assert named["query"]["cell"] == {"model": "claude-opus-4-7", "day": "2026-04-21"}
    assert named["adds_up"] is True


def test_the_lines_of_a_csv_add_up_to_the_cell(run: Run) -> None:
    done = run("day=2026-04-21,model=claude-opus-4-7", BLOCKS, "--no-ledger", "--format", "csv")
    assert done.exit_code == 0, done.stderr
    found = list(csv.DictReader(io.StringIO(done.stdout)))
    # The two responses of the page above, and what was left out for them: 4 and 1 fresh, 23,410
    # and 25,260 read, 1,850 and 640 written for an hour, 512 and 233 of output.
    counted = [(row["bucket"], row["count"], row["cost_usd"]) for row in found if row["bucket"]]
    assert counted == [
        ("uncached_input_tokens", "4", "0.00002"),
        ("cached_input_tokens", "23410", "0.011705"),
        ("cache_creation_1h_input_tokens", "1850", "0.0185"),
        ("output_tokens", "512", "0.0128"),
        ("uncached_input_tokens", "1", "0.000005"),
        ("cached_input_tokens", "25260", "0.01263"),
        ("cache_creation_1h_input_tokens", "640", "0.0064"),
        ("output_tokens", "233", "0.005825"),
    ]
    left = [row for row in found if row["reason"]]
    assert {(row["reason"], row["cost_usd"]) for row in left} == {("same-response", "")}
    assert len({row["price_digest"] for row in found}) == 1


def test_an_explanation_in_markdown_has_a_table_a_call(run: Run) -> None:
    done = run("model=claude-opus-4-7", "--limit", 1, BLOCKS, "--no-ledger", "--format", "markdown")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("## model claude-opus-4-7 · 2 calls · ")
    assert [line for line in lines if line.startswith("### ")] == [
        "### $0.043025  2026-04-21 09:00:09  claude-opus-4-7  lead"
    ]
    assert "| output | 512 | × $25/M | $0.0128 | reported |" in lines
    assert lines[-1].startswith("- total: 2 calls · ")


def test_filters_are_those_of_a_report(run: Run, tmp_path: Path) -> None:
    # The beginning of a name is enough, what is incomplete exits with 3, problems are written.
    done = run("total", "--model", "claude-opus", BLOCKS, "--no-ledger", "--json")
    assert answer(done)["totals"]["calls"] == 2
    assert run("total", "--model", "claude-*", BLOCKS, "--no-ledger", "--strict").exit_code == 0
    broken = built(FIXTURES / "codex" / "broken")
    done = run("total", broken, "--no-ledger", "--strict", "--problems", tmp_path / "odd.jsonl")
    assert done.exit_code == 3
    assert "strict: " in done.stderr
    assert (tmp_path / "odd.jsonl").read_text().count("torn-line") > 0


def test_a_record_that_does_not_count_says_for_which_call(run: Run) -> None:
    # The fork's copies have the counts of its parent's calls; no call of theirs is its own.
    found = answer(
        run("thread=019bdb0f-bb80-72ca-9bfd-b85fd542c6e4", FORK, "--no-ledger", "--json")
    )
    assert [row["record"] for row in found["rows"]] == [7]
    assert found["not_counted"]["reasons"] == {"replayed-history": 2}
    (first, second) = found["not_counted"]["rows"]
    assert (first["record"], second["record"]) == (4, 5)
    assert first["duplicate_of"].startswith("codex:019bdad8-cd00-7a34-984c-abd5682f7f06:")


def test_a_call_that_does_not_count_is_told_with_the_one_that_does(run: Run) -> None:
    # The saved output of a run states a sum, and the rollout beside it the calls of that sum.
    logs = built(FIXTURES / "codex" / "exec-json-beside-rollout")
    whole = answer(run("total", logs, "--no-ledger", "--json"))
    left = [each for row in whole["rows"] for each in row["left_out"]]
    left += whole["not_counted"]["rows"]
    (lost, *_) = [each for each in left if each["call_id"] != each["duplicate_of"]]
    found = answer(run(lost["call_id"], logs, "--no-ledger", "--json"))
    assert found["rows"] == []
    assert [each["reason"] for each in found["not_counted"]["rows"]] == [lost["reason"]]
    lines = run(lost["call_id"], logs, "--no-ledger").stdout.splitlines()
    assert f"in favour of {lost['duplicate_of']}" in lines[-2]
    assert lines[-1].startswith("total: no calls · 0 tokens · $0 · prices ")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nothing-like-it"], 1, "no call and no thread begins with nothing-like-it"),
        (["a-long-id" * 40], 1, "no call and no thread begins with a-long-id"),
        (["model=claude-opus-4-8"], 1, "model: claude-opus-4-7"),
        (["claude-code:msg_01T01"], 2, "2 calls begin with claude-code:msg_01T01"),
        (["modle=x"], 2, "perhaps model"),
        (["model=a,model=b"], 2, "names model twice"),
        (["--by", "model,day", "x"], 2, "does not have a value for each"),
        ([""], 2, "ID|CELL is empty"),
        (["total", "-o", "page.html"], 2, "explain writes no html"),
        (["total", "--backfill", "--as-recorded"], 2, "exclude each other"),
    ],
)
def test_what_cannot_be_explained_is_said(run: Run, words: list[str], code: int, said: str) -> None:
    done = run(*words, *([] if "-o" in words else [BLOCKS]), "--no-ledger")
    assert done.exit_code == code, done.stdout
    assert said in done.stderr
