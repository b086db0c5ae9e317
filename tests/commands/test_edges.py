"""What stands where a file, a folder or a name is expected, and is none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tallybook.commands import app
from tallybook.files import pipes
from tests.built import built
from tests.ledger.homes import session
from tests.test_fixtures import FIXTURES

Run = Callable[..., Result]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(session())
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.delenv("TALLYBOOK_LEDGER", raising=False)
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize("option", ["provider", "model", "thread", "project", "caller", "source"])
@pytest.mark.parametrize("value", ["", "  "])
def test_a_filter_by_nothing_is_wrong_usage(log: Path, run: Run, option: str, value: str) -> None:
    done = run("usage-report", "--no-ledger", f"--{option}", value, log)
    assert (done.exit_code, f"--{option} is empty" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["/dev/null", ""])
def test_prices_that_are_no_file_are_called_so(log: Path, run: Run, name: str) -> None:
    done = run("usage-report", "--no-ledger", "--prices", name or log, log)
    assert (done.exit_code, "it is no file" in done.stderr) == (2, True)


@pytest.mark.parametrize("command", ["usage-report", "backfill"])
def test_a_ledger_that_is_no_folder_is_wrong_usage(log: Path, run: Run, command: str) -> None:
    for place in ("/dev/null", log / "a.jsonl"):
        done = run(command, "--ledger", place, log)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: {place} is no ledger: it is no folder")


@pytest.mark.parametrize("command", ["usage-report", "backfill", "sources"])
def test_an_empty_home_is_wrong_usage(
    run: Run, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "")
    done = run(command)
    assert (done.exit_code, "HOME is empty" in done.stderr) == (2, True)


def test_a_report_can_be_written_to_a_device(log: Path, run: Run) -> None:
    done = run("usage-report", "--no-ledger", "-o", "/dev/null", log)
    assert (done.exit_code, done.stdout) == (0, "")


def test_a_ledger_among_the_logs_is_not_looked_into(log: Path, run: Run) -> None:
    told = [run("usage-report", "--json", "--ledger", log / "ledger", log) for _ in range(3)]
    assert [done.exit_code for done in told] == [0, 0, 0]
    assert [json.loads(done.stdout)["coverage"]["not_looked_at"] for done in told] == [{}] * 3


def test_what_the_kernel_keeps_open_is_read_as_far_as_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe stands for /proc/kmsg: nobody may be waited for who may write to it some day."""
    pipe = tmp_path / "kmsg"
    os.mkfifo(pipe)
    monkeypatch.setattr(pipes, "_OF_A_PROCESS", (str(tmp_path),))
    monkeypatch.setattr(pipes, "_WAITING", (str(tmp_path),))
    writer = os.open(pipe, os.O_RDWR)
    os.write(writer, b"words\n")
    try:
        with pipes.copied([pipe]) as copies:
            assert Path(copies[str(pipe)]).read_bytes() == b"words\n"
    finally:
        os.close(writer)


def test_backfill_tells_the_problems_of_what_it_read(log: Path, run: Run) -> None:
    with (log / "a.jsonl").open("ab") as stream:
        stream.write(b"{torn\n" * 3)
    done = run("backfill", "--no-ledger", log)
    assert done.stderr.count("3 bad-line (a record cannot be read") == 1
    coverage = json.loads(run("backfill", "--no-ledger", "--json", log).stdout)["coverage"]
    assert (coverage["problems"], coverage["problems_listed"]) == ({"bad-line": 3}, 3)
    assert [entry["record"] for entry in coverage["problem_list"]] == [4, 5, 6]


def test_in_place_without_apply_says_that_it_is_a_plan(tmp_path: Path, run: Run) -> None:
    database = Path(
        shutil.copy(built(FIXTURES / "9router/database-details") / "db/data.sqlite", tmp_path)
    )
    before = database.read_bytes()
    done = run("backfill", "--no-ledger", "--in-place", database)
    assert (done.exit_code, database.read_bytes()) == (0, before)
    assert "this is a plan, no file is changed" in done.stderr


LONG = "/" + "x" * 300  # nothing can be looked at there, as below a folder that is closed


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["usage-report", "--json"], 0),
        (["usage-report", "--json", "--no-ledger", "."], 0),
        ([], 0),
        (["backfill"], 0),
        (["sources"], 0),
        (["prices", "gpt-5"], 0),
        (["ledger", "status"], 1),
    ],
)
def test_a_home_that_cannot_be_looked_at_holds_nothing(
    log: Path, run: Run, command: list[str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(log)
    monkeypatch.setenv("HOME", LONG)
    monkeypatch.setenv("CODEX_HOME", LONG)
    done = run(*command)
    assert (done.exit_code, type(done.exception)) == (code, SystemExit if code else type(None))


@pytest.mark.parametrize("name", [LONG, "/dev/null/a", "none", "a\n"])
def test_a_path_that_can_be_no_file_is_not_there(run: Run, name: str) -> None:
    done = run("usage-report", name)
    assert (done.exit_code, done.stderr[:12]) == (2, "error: there")


@pytest.mark.parametrize("name", ["ftp://host/logs", "https://me:secret@example.org/a.jsonl"])
def test_an_address_is_called_so_and_not_shown(run: Run, name: str) -> None:
    done = run("usage-report", name)
    assert (done.exit_code, "an address is no file" in done.stderr) == (2, True)
    assert "secret" not in done.stderr


def test_links_that_lead_to_themselves_are_told(
    log: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    monkeypatch.setenv("TZ", str(loop))
    done = run("usage-report", "--no-ledger", log, "-o", loop)
    assert done.exit_code == 0
    assert json.loads(loop.read_text("utf-8"))["query"]["timezone"] == "UTC"


def test_a_target_that_can_be_none_is_told(log: Path, run: Run) -> None:
    done = run("usage-report", "--no-ledger", log, "-o", f"{LONG}.json")
    assert (done.exit_code, "File name too long" in done.stderr) == (1, True)


def test_a_working_folder_that_is_gone_is_told(
    log: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYBOOK_RAISE", "")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for command in (["usage-report", "."], ["usage-report", log, "-o", "a.csv"]):
        done = run(*command)
        assert (done.exit_code, done.stderr) == (1, "error: the working folder is gone\n")
    assert run("usage-report", log).exit_code == 0
