"""What a shell offers: keys, sources, and the names of the ledger, without reading a log."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tallybook.commands import app

DEMO = Path(__file__).parents[2] / "fixtures" / "demo"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ledger")
    asked = ["usage-report", str(DEMO), "--ledger", str(folder)]
    assert CliRunner().invoke(app, asked).exit_code == 0
    return folder


def offered(typed: str, ledger: Path) -> list[str]:
    """What bash is told for a line of which the last word is to be completed."""
    words = typed.split(" ")
    environment = {
        "_TALLYBOOK_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
        "TALLYBOOK_LEDGER": str(ledger),
    }
    found = CliRunner().invoke(app, [], prog_name="tallybook", env=environment)
    return found.stdout.split()


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("tallybook usage-report --by mo", ["model", "month"]),
        ("tallybook usage-report --by day,mo", ["day,model", "day,month"]),
        ("tallybook usage-report --by model,mo", ["model,month"]),
        ("tallybook export --source c", ["claude-code", "codex"]),
        ("tallybook usage-report --columns cac", ["cached", "cache-write"]),
        ("tallybook usage-report --model gpt-5.1", ["gpt-5.1-codex", "gpt-5.1-codex-mini"]),
        ("tallybook usage-report --project /home/dev/t", ["/home/dev/tile-server"]),
        ("tallybook usage-report --model zz", []),
    ],
)
def test_what_is_begun_is_completed(typed: str, names: list[str], ledger: Path) -> None:
    assert sorted(offered(typed, ledger)) == sorted(names)


def test_the_ledger_that_is_named_is_looked_into(ledger: Path, tmp_path: Path) -> None:
    typed = f"tallybook usage-report --ledger {ledger} --model claude-h"
    assert offered(typed, tmp_path / "none") == ["claude-haiku-4-5-20251001"]


def test_a_damaged_ledger_offers_nothing(tmp_path: Path) -> None:
    (tmp_path / "derived").mkdir()
    (tmp_path / "derived" / "x.parquet").write_bytes(b"PAR1")
    assert offered("tallybook usage-report --model g", tmp_path) == []
