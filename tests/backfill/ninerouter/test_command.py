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

from tallybook.commands import app
from tallybook.errors import TallybookError
from tests.backfill.ninerouter.made import MESSAGES, bare, detail, row
from tests.backfill.ninerouter.made import database as made
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
    return answer(run, "usage-report", str(path), *options)


def said(done: Result) -> str:
    """The words of a run, however its lines were broken."""
    return " ".join(done.stderr.split())


def answer(run: Run, *arguments: str) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_without_apply_it_only_says_what_would_change(run: Run, database: Path) -> None:
    before = database.read_bytes()
    done = run("backfill", str(database), "--in-place")
    assert done.exit_code == 0, done.stderr
    assert "would change" in said(done)
    assert database.read_bytes() == before
    assert [each.name for each in database.parent.iterdir()] == ["data.sqlite"]


def test_what_is_written_is_read_and_a_second_run_changes_nothing(run: Run, database: Path) -> None:
    filled = totals(run, database, "--backfill")["totals"]
    done = run("backfill", str(database), "--apply", "--in-place")
    assert done.exit_code == 0, done.stderr
    assert "12 rows changed" in said(done)
    assert "backup: " in said(done)
    # All but one call, of which a body states how long its cache was to live.
    words = "11 calls now stated by 9router's own files · corrections of 1 call recorded"
    assert words in said(done)
    written = history(database)
    after = totals(run, database)
    assert "stale-correction" not in after["coverage"]["problems"]
    for name in ("uncached_input_tokens", "cached_input_tokens", "output_tokens"):
        assert after["totals"][name] == filled[name]
    run("backfill", str(database), "--apply", "--in-place")
    assert history(database) == written


def test_the_plan_says_what_then_changes(run: Run, database: Path) -> None:
    planned = answer(run, "backfill", str(database), "--in-place")
    assert planned["applied"] is None
    done = answer(run, "backfill", str(database), "--apply", "--in-place")
    would, did = planned["in_place"][0], done["in_place"][0]
    assert (would["state"], did["state"]) == ("would-change", "changed")
    assert would["path"] == did["path"] == str(database)
    for name in ("calls", "rows", "days", "days_left", "skipped"):
        assert would[name] == did[name], name
    assert (did["calls"], did["rows"]) == (12, 12)
    assert (would["backup"], did["backup"]) == (None, f"{database}.before-tallybook-1")
    applied = {"calls": 12, "in_files": 11, "recorded": 1, "recorded_before": 0}
    assert done["applied"] == applied
    again = answer(run, "backfill", str(database), "--apply", "--in-place")["in_place"][0]
    assert (again["state"], again["rows"], again["backup"]) == ("nothing-to-change", 0, None)
    assert [each["reason"] for each in again["skipped"]] == ["stated"]


def test_what_cannot_be_written_stays_in_the_ledger(run: Run, tmp_path: Path) -> None:
    """A stream that was written twice, whose prompt was taken for one without the cache."""
    path, right = twin(tmp_path / "data.sqlite")
    run("backfill", str(path), "--apply")
    assert {name: totals(run, path)["totals"][name] for name in right} == right
    done = run("backfill", str(path), "--apply", "--in-place")
    assert done.exit_code == 0, done.stderr
    assert "0 rows to change" in said(done)
    assert "1 × the stream was written twice" in said(done)
    assert {name: totals(run, path)["totals"][name] for name in right} == right
    undone = run("backfill", str(path), "--undo")
    assert "corrections of 1 call taken back" in said(undone)


def test_a_run_that_was_killed_before_it_cleared_the_ledger_is_completed(
    run: Run, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    filled = totals(run, database, "--backfill")["totals"]
    run("backfill", str(database), "--apply")
    with monkeypatch.context() as patched:
        patched.setattr("tallybook.commands.backfill._apply", killed)
        assert run("backfill", str(database), "--apply", "--in-place").exit_code == 130
    assert run("backfill", str(database), "--apply").exit_code == 0
    after = totals(run, database)
    assert "stale-correction" not in after["coverage"]["problems"]
    assert after["totals"]["cached_input_tokens"] == filled["cached_input_tokens"]
    assert "corrections of 1 call taken back" in said(run("backfill", "--undo"))


def test_without_being_recorded_before_it_stays_as_well(run: Run, tmp_path: Path) -> None:
    path, right = twin(tmp_path / "data.sqlite")
    done = run("backfill", str(path), "--apply", "--in-place")
    assert "corrections of 1 call recorded" in said(done)
    assert {name: totals(run, path)["totals"][name] for name in right} == right


def twin(path: Path) -> tuple[Path, dict[str, int]]:
    """The two records of one call of an early stream with its detail, and what is right of it."""
    both, who = bare(25239, 2921), ("deepseek", "deepseek-chat")
    first = both | {"cache_read_input_tokens": 13209, "cache_creation_input_tokens": 0}
    rows = [
        row("2026-06-01T01:29:38.767Z", who, first | {"reasoning_tokens": 0}, 0.09, endpoint=None),
        row("2026-06-01T01:29:38.767Z", who, both, 0.1108, endpoint=MESSAGES),
    ]  # fmt: skip
    made(path, rows)
    with closing(sqlite3.connect(path)) as connection:
        tokens = both | {"prompt_tokens_details": {"cached_tokens": 13209}}
        detail(connection, rows[1], tokens | {"cached_tokens": 13209})
        connection.commit()
    right = {
        "uncached_input_tokens": 12030,
        "cached_input_tokens": 13209,
        "output_tokens": 2921,
    }
    return path, right


def test_days_whose_sums_stay_as_they_are_are_told(run: Run, database: Path) -> None:
    with closing(sqlite3.connect(database)) as router:
        days = {"2026-06-28": "{", "2026-08-20": '{"requests": 99}'}
        for day in days.items():
            router.execute("INSERT OR REPLACE INTO usageDaily VALUES (?, ?)", day)
        router.commit()
    done = run("backfill", str(database), "--in-place")
    words = "the sums of 1 day stay as they are (2026-06-28): its sums cannot be read"
    assert words in said(done)
    found = answer(run, "backfill", str(database), "--apply", "--in-place")["in_place"][0]
    left = [(each["day"], each["reason"]) for each in found["days_left"]]
    assert left == [("2026-06-28", "unreadable"), ("2026-08-20", "other-rows")]
    assert found["rows"] == 12


@pytest.mark.parametrize("apply", [["--apply"], []])
def test_a_file_that_is_left_alone_is_exit_1_and_the_others_are_done(
    run: Run, database: Path, apply: list[str]
) -> None:
    other = database.with_name("data-2.sqlite")
    shutil.copyfile(database, other)
    with closing(sqlite3.connect(other)) as router:
        router.execute("UPDATE usageHistory SET timestamp = replace(timestamp, '2026', '2025')")
        router.execute(
            "UPDATE requestDetails SET timestamp = replace(timestamp, '2026', '2025'),"
            " id = replace(id, '2026', '2025'), data = replace(data, '2026', '2025')"
        )
        router.execute("CREATE VIEW mine AS SELECT * FROM usageHistory")
        router.commit()
    before = history(other)
    done = run("backfill", str(database.parent), *apply, "--in-place", "--json")
    assert done.exit_code == 1
    assert f"{other}: left alone: there is a view on the tables, mine" in said(done)
    found = {row["path"]: row for row in json.loads(done.stdout)["in_place"]}
    assert found[str(other)]["state"] == "left-alone"
    assert "mine" in found[str(other)]["error"]
    assert found[str(database)]["state"] == ("changed" if apply else "would-change")
    assert history(other) == before


def test_no_room_for_a_backup_is_exit_1(
    run: Run, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = database.read_bytes()
    full = shutil.disk_usage(database)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    for options in ([], ["--apply"]):
        done = run("backfill", str(database), "--in-place", *options)
        assert done.exit_code == 1
        assert "left alone: no room for a backup" in said(done)
    assert database.read_bytes() == before
    assert "corrections of 12 calls recorded" in said(done)


def test_a_locked_database_is_exit_1_and_its_calls_stay_in_the_ledger(
    run: Run, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallybook.backfill.ninerouter.database._BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(database, isolation_level=None)) as router:
        router.execute("PRAGMA journal_mode = WAL")
        router.execute("BEGIN IMMEDIATE")
        done = run("backfill", str(database), "--apply", "--in-place")
    assert (done.exit_code, "left alone: database is locked" in said(done)) == (1, True)
    assert "corrections of 12 calls recorded" in said(done)
    assert not list(database.parent.glob("*tallybook*"))
    later = run("backfill", str(database), "--apply", "--in-place")
    assert (later.exit_code, "12 rows changed" in said(later)) == (0, True)


def test_a_damaged_database_is_exit_1_and_left_as_it_is(run: Run, database: Path) -> None:
    content = bytearray(database.read_bytes())
    with closing(sqlite3.connect(database)) as connection:
        select = "SELECT rootpage FROM sqlite_master WHERE name = '_meta'"
        page = connection.execute(select).fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    content[(page - 1) * size + 8 : page * size] = b"\xff" * (size - 8)
    database.write_bytes(content)
    done = run("backfill", str(database), "--apply", "--in-place")
    assert (done.exit_code, "left alone" in said(done)) == (1, True)
    assert database.read_bytes() == bytes(content)
    assert not list(database.parent.glob("*tallybook*"))


def test_what_was_changed_is_said_even_where_the_plan_cannot_be_printed(
    run: Run, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TallybookError("cannot write: no space left")

    monkeypatch.setattr("tallybook.commands.backfill.put", fail)
    done = run("backfill", str(database), "--apply", "--in-place")
    assert (done.exit_code, "12 rows changed" in said(done)) == (1, True)


def test_a_file_that_is_gone_is_exit_1(run: Run, database: Path, tmp_path: Path) -> None:
    home = tmp_path / ".9router" / "db"
    home.mkdir(parents=True)
    database = database.rename(home / "data.sqlite")
    assert run("usage-report").exit_code == 0
    database.rename(tmp_path / "elsewhere")
    done = run("backfill", "--apply", "--in-place")
    assert (done.exit_code, "No such file" in said(done)) == (1, True)


def test_nothing_to_change_is_exit_0(run: Run, database: Path) -> None:
    with closing(sqlite3.connect(database)) as router:
        router.execute("DELETE FROM requestDetails")
        router.commit()
    done = run("backfill", str(database), "--apply", "--in-place")
    assert done.exit_code == 0
    assert "nothing to write in place" in said(done)


def test_the_backup_gives_back_what_was_there(run: Run, database: Path) -> None:
    before = history(database)
    run("backfill", str(database), "--apply", "--in-place")
    assert history(database) != before
    done = run("backfill", str(database.parent), "--restore")
    assert done.exit_code == 0, done.stderr
    assert "12 rows restored to what they stated before the first run" in said(done)
    assert f"backup: {database}.before-tallybook-1" in said(done)
    assert history(database) == before
    again = answer(run, "backfill", str(database), "--restore")["in_place"][0]
    assert (again["state"], again["rows"]) == ("nothing-to-change", 0)


def test_a_backup_that_is_not_whole_is_named_and_the_one_before_put_back(
    run: Run, database: Path
) -> None:
    before = history(database)
    run("backfill", str(database), "--apply", "--in-place")
    newest = database.with_name("data.sqlite.before-tallybook-2")
    newest.write_bytes(database.read_bytes()[:5000])
    done = run("backfill", str(database), "--restore")
    assert done.exit_code == 0, done.stderr
    assert f"backup: {database}.before-tallybook-1" in said(done)
    assert f"passed over, for it is not whole: {newest}" in said(done)
    assert history(database) == before


def test_where_no_backup_is_whole_restoring_is_exit_1(run: Run, database: Path) -> None:
    run("backfill", str(database), "--apply", "--in-place")
    after = history(database)
    database.with_name("data.sqlite.before-tallybook-1").write_bytes(b"")
    done = run("backfill", str(database), "--restore", "--json")
    assert done.exit_code == 1
    assert "no backup beside it is whole (data.sqlite.before-tallybook-1)" in said(done)
    assert json.loads(done.stdout)["in_place"][0]["state"] == "left-alone"
    assert history(database) == after


def test_backups_and_records_are_no_logs(run: Run, database: Path) -> None:
    before = totals(run, database.parent)["coverage"]["files"]
    run("backfill", str(database.parent), "--apply", "--in-place")
    assert len(list(database.parent.iterdir())) == 3
    assert totals(run, database.parent)["coverage"]["files"] == before


def test_without_a_backup_there_is_nothing_to_restore(run: Run, database: Path) -> None:
    done = run("backfill", str(database), "--restore")
    assert done.exit_code == 1
    assert "no file has a backup beside it" in said(done)


@pytest.mark.parametrize("options", [["--restore", "--apply"], ["--undo", "--in-place"]])
def test_what_excludes_each_other_is_wrong_usage(run: Run, options: list[str]) -> None:
    assert run("backfill", *options).exit_code == 2
