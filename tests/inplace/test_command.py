"""`backfill --in-place` and `--restore` as a user sees them, on a database as 9router writes it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tallybook.app import app
from tests.built import built
from tests.test_fixtures import FIXTURES

Run = Callable[..., Result]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "db" / "data.sqlite"
    path.parent.mkdir()
    shutil.copyfile(built(FIXTURES / "9router" / "database-details") / "db" / "data.sqlite", path)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("TALLYBOOK_LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def history(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM usageHistory ORDER BY id").fetchall()


def totals(run: Run, path: Path, *options: str) -> dict[str, Any]:
    done = run("usage-report", str(path), "--json", *options)
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_without_apply_it_only_says_what_would_change(run: Run, database: Path) -> None:
    before = database.read_bytes()
    done = run("backfill", str(database), "--in-place")
    assert done.exit_code == 0, done.stderr
    assert "would change" in done.stderr
    assert database.read_bytes() == before
    assert [each.name for each in database.parent.iterdir()] == ["data.sqlite"]


def test_what_is_written_is_read_and_a_second_run_changes_nothing(run: Run, database: Path) -> None:
    filled = totals(run, database, "--backfill")["totals"]
    done = run("backfill", str(database), "--apply", "--in-place")
    assert done.exit_code == 0, done.stderr
    assert "rows changed" in done.stderr
    assert "backup: " in done.stderr
    written = history(database)
    after = totals(run, database)
    assert "stale-correction" not in after["coverage"]["problems"]
    for name in ("uncached_input_tokens", "cached_input_tokens", "output_tokens"):
        assert after["totals"][name] == filled[name]
    run("backfill", str(database), "--apply", "--in-place")
    assert history(database) == written


def test_the_backup_gives_back_what_was_there(run: Run, database: Path) -> None:
    before = history(database)
    run("backfill", str(database), "--apply", "--in-place")
    assert history(database) != before
    done = run("backfill", str(database.parent), "--restore")
    assert done.exit_code == 0, done.stderr
    assert "restored" in done.stderr
    assert history(database) == before


def test_without_a_backup_there_is_nothing_to_restore(run: Run, database: Path) -> None:
    done = run("backfill", str(database), "--restore")
    assert done.exit_code == 1
    assert "no file has a backup beside it" in done.stderr


@pytest.mark.parametrize("options", [["--restore", "--apply"], ["--undo", "--in-place"]])
def test_what_excludes_each_other_is_wrong_usage(run: Run, options: list[str]) -> None:
    assert run("backfill", *options).exit_code == 2
