"""What an output may not be written over: the logs that people have."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tallybook.commands import app
from tests.built import built

FIXTURES = Path(__file__).parents[2] / "fixtures"
LOGS = ("codex/bom", "claude-code/gzip", "responses/openai-chat", "deer-flow/gateway-log-json")


def run(*arguments: str | Path) -> tuple[int, str]:
    found = CliRunner().invoke(app, [*map(str, arguments)])
    return found.exit_code, found.stderr


def a_log(case: str, folder: Path) -> Path:
    shutil.copytree(built(FIXTURES / case), folder / "logs")
    return next(file for file in sorted((folder / "logs").rglob("*")) if file.is_file())


@pytest.mark.parametrize("case", LOGS)
@pytest.mark.parametrize("option", ["-o", "--problems"])
def test_a_log_below_a_folder_is_not_overwritten(case: str, option: str, tmp_path: Path) -> None:
    log = a_log(case, tmp_path)
    target = log.rename(log.with_suffix(".jsonl")) if option == "--problems" else log
    before = target.read_bytes()
    more = ["--format", "json"] if option == "-o" else []
    code, said = run("usage-report", tmp_path / "logs", option, target, *more, "--no-ledger")
    assert (code, target.read_bytes()) == (2, before)
    assert "would overwrite a log" in said


def test_an_export_overwrites_no_log_and_no_database(tmp_path: Path) -> None:
    log = a_log("codex/bom", tmp_path)
    before = log.read_bytes()
    assert run("export", log, tmp_path / "logs", "--no-ledger")[0] == 2
    assert log.read_bytes() == before
    database = tmp_path / "own.json"
    database.write_bytes(b"SQLite format 3\0" + bytes(100))
    assert run("usage-report", tmp_path / "logs", "-o", database, "--no-ledger")[0] == 2


@pytest.mark.parametrize("name", ["calls.jsonl", "report.json", "calls.csv", "page.html"])
def test_what_was_written_before_is_written_again(name: str, tmp_path: Path) -> None:
    a_log("codex/bom", tmp_path)
    out, logs = tmp_path / name, tmp_path / "logs"
    asked: list[str | Path]
    asked = ["export", out, logs] if name.startswith("calls") else ["usage-report", logs, "-o", out]
    for _ in range(2):
        assert run(*asked, "--problems", tmp_path / "problems.jsonl", "--no-ledger")[0] == 0


def test_a_limit_is_no_larger_than_can_be_counted() -> None:
    assert run("usage-report", "--limit", "9223372036854775808", "--no-ledger", ".")[0] == 2
