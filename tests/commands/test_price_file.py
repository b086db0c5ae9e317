"""Prices of one's own from where settings lie, without an option."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tallybook.commands.program import app

ANSWER = {
    "id": "chatcmpl-1aaaaaaaaaaaaaaaaaaa",
    "object": "chat.completion",
    "created": 1790000000,
    "model": "in-house-7b",
    "choices": [],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of settings; the one answer of the user's logs is in `log.jsonl` beside it."""
    (tmp_path / "log.jsonl").write_text(json.dumps(ANSWER) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platformdirs.PlatformDirs.user_config_dir", str(tmp_path / "settings"))
    settings = tmp_path / "settings"
    settings.mkdir()
    return settings


def report(*options: str) -> tuple[dict[str, Any], str]:
    words = ["usage-report", "--no-ledger", "--json", *options, "log.jsonl"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    return json.loads(done.stdout), done.stderr


def test_prices_where_settings_lie_are_used_and_named_in_the_coverage(folder: Path) -> None:
    own = folder / "prices.toml"
    own.write_text('[[price]]\nmodel = "in-house-7b"\ninput = 2\noutput = 100\n')
    found, said = report()
    assert found["totals"]["cost_usd"] == "0.003"
    assert found["coverage"]["price_file"] == str(own)
    assert "prices prices.toml" in found["prices"]["sources"]
    assert str(own) in said


def test_an_option_goes_before_them(folder: Path) -> None:
    text = '[[price]]\nmodel = "in-house-7b"\ninput = {}\noutput = 0\n'
    (folder / "prices.toml").write_text(text.format(2))
    Path("other.toml").write_text(text.format(3))
    found, _ = report("--prices", "other.toml")
    assert found["totals"]["cost_usd"] == "0.003"
    assert found["coverage"]["price_file"] == "other.toml"


def test_without_any_nothing_is_said_of_them(folder: Path) -> None:
    found, said = report()
    assert found["totals"]["cost_usd"] is None
    assert "price_file" not in found["coverage"]
    assert "prices of" not in said


def test_the_digest_of_a_report_prices_it_the_same_again(folder: Path, tmp_path: Path) -> None:
    def asked(*options: str) -> tuple[str, str]:
        words = ["usage-report", "--ledger", "kept", "--json", *options, "log.jsonl"]
        answer = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
        return answer["prices"]["digest"], answer["totals"]["cost_usd"]

    own = tmp_path / "own.toml"
    found = []
    for dollars in (1, 2):
        own.write_text(f"[[price]]\nmodel = 'in-house-7b'\ninput = {dollars}\noutput = 100\n")
        found.append(asked("--prices", str(own)))
    # 1,000 x 1 + 10 x 100 and 1,000 x 2 + 10 x 100 millionths.
    assert [cost for _, cost in found] == ["0.002", "0.003"]
    assert len({digest for digest, _ in found}) == 2
    for digest, cost in found:
        assert asked("--prices-at", digest) == (digest, cost)
