"""Without PATH the known places are meant: never what was once named, and all that lay in them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from tallybook.commands import app
from tallybook.ledger.catalog import load, save
from tallybook.ledger.merging import merge
from tallybook.ledger.open import with_usage
from tallybook.ledger.upkeep import status
from tests.ledger.homes import (
    asked,
    coverage,
    document,
    home_of,
    put,
    session,
    told,
    totals,
    transcript,
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return home_of(tmp_path / "home")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A log of 3 calls in no known place."""
    return put(tmp_path / "backup/other.jsonl", session(11))


CALLS = 3 + 4 + 5 + 6  # of the four transcripts of the home


def calls(
    home: Path,
    ledger: Path,
    *paths: Path,
    environment: Mapping[str, str] | None = None,
    everything: bool = False,
) -> int:
    question = asked(home, ledger, paths or None, environment, everything=everything)
    found: int = totals(with_usage(question, document))["calls"]
    return found


def test_what_was_named_once_is_in_no_later_answer_but_that_of_all(
    home: Path, ledger: Path, backup: Path
) -> None:
    assert calls(home, ledger, backup) == 3
    assert calls(home, ledger) == CALLS
    assert told(home, ledger) == told(home, None)
    put(backup, session(11, calls=9))
    assert calls(home, ledger, everything=True) == CALLS + 9
    backup.unlink()
    assert calls(home, ledger) == CALLS
    assert calls(home, ledger, everything=True) == CALLS + 9
    assert (status(ledger)[1]["files"], status(ledger)[1]["named"]) == (5, 1)


def test_what_lay_in_a_known_place_is_meant_though_it_is_gone(home: Path, ledger: Path) -> None:
    calls(home, ledger)
    shutil.rmtree(home)
    assert calls(home, ledger) == CALLS


def test_a_file_of_a_known_place_that_was_named_as_path_belongs_to_it(
    home: Path, ledger: Path
) -> None:
    path = transcript(home, 1)
    assert calls(home, ledger, path) == 3
    path.unlink()
    assert calls(home, ledger) == CALLS


@pytest.mark.parametrize("named", ["link", "link/.claude", "link/.claude/projects"])
def test_so_does_one_that_a_link_leads_to(
    home: Path, ledger: Path, tmp_path: Path, named: str
) -> None:
    (tmp_path / "link").symlink_to(home)
    assert calls(home, ledger, tmp_path / named) == CALLS
    transcript(home, 1).unlink()
    assert calls(home, ledger) == CALLS


def test_a_home_that_is_a_link_is_the_folder_that_it_leads_to(
    home: Path, ledger: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(home)
    assert calls(tmp_path / "link", ledger, home / ".claude/projects") == CALLS
    transcript(home, 1).unlink()
    assert calls(tmp_path / "link", ledger) == CALLS


def test_a_named_file_that_is_moved_into_a_known_place_belongs_to_it(
    home: Path, ledger: Path, backup: Path
) -> None:
    calls(home, ledger, backup)
    target = transcript(home, 11)
    backup.rename(target)
    assert calls(home, ledger) == CALLS + 3
    target.unlink()
    assert calls(home, ledger) == CALLS + 3


def copied(path: Path, target: Path) -> None:
    shutil.copy(path, target)
    path.unlink()


def moved(path: Path, target: Path) -> None:
    path.rename(target)


@pytest.mark.parametrize("move", [copied, moved])
def test_a_file_that_came_in_through_a_known_place_stays_wherever_it_lies_now(
    home: Path, ledger: Path, tmp_path: Path, move: object
) -> None:
    calls(home, ledger)
    path = transcript(home, 1)
    (tmp_path / "archive").mkdir()
    move(path, tmp_path / "archive" / path.name)  # type: ignore[operator]
    assert calls(home, ledger, tmp_path / "archive") == 3
    assert calls(home, ledger) == CALLS


def test_a_place_stays_known_when_its_variable_is_no_longer_set(
    home: Path, ledger: Path, tmp_path: Path
) -> None:
    other = home_of(tmp_path / "other", sessions=1)
    there = put(tmp_path / "config/projects/x" / transcript(other, 1).name, session(21, calls=2))
    variable = {"CLAUDE_CONFIG_DIR": str(tmp_path / "config")}
    assert calls(home, ledger, environment=variable) == 2
    assert calls(home, ledger) == CALLS + 2
    put(there, session(21, calls=7))
    assert calls(home, ledger) == CALLS + 7
    there.unlink()
    assert calls(home, ledger) == CALLS + 7


def test_a_folder_that_becomes_known_has_what_lay_there_before(
    home: Path, ledger: Path, tmp_path: Path
) -> None:
    paths = [
        put(tmp_path / "config/projects/x" / transcript(home, n).name, session(n, calls=2))
        for n in (21, 22)
    ]
    calls(home, ledger, *paths)
    paths[0].unlink()
    variable = {"CLAUDE_CONFIG_DIR": str(tmp_path / "config")}
    assert calls(home, ledger, environment=variable) == 4


def unmarked(ledger: Path) -> None:
    """As ledgers were before they noted how files came in."""
    manifest, _ = load(ledger)
    entries = {
        path: msgspec.structs.replace(entry, known=None) for path, entry in manifest.entries.items()
    }
    save(ledger, msgspec.structs.replace(manifest, entries=entries))


def test_files_of_an_older_ledger_are_judged_by_where_they_lie_and_what_is_left_out_is_said(
    home: Path, ledger: Path, backup: Path
) -> None:
    calls(home, ledger, backup)
    calls(home, ledger)
    unmarked(ledger)
    transcript(home, 1).unlink()
    (note,) = with_usage(asked(home, ledger), lambda reading: list(reading.notes))
    assert note.startswith("1 file of the ledger outside the known places")
    assert calls(home, ledger) == CALLS
    assert with_usage(asked(home, ledger), lambda reading: list(reading.notes)) == []
    assert calls(home, ledger, everything=True) == CALLS + 3


class TestMerging:
    def test_what_lay_in_the_other_s_known_places_is_taken_over_as_such(
        self, home: Path, ledger: Path, backup: Path, tmp_path: Path
    ) -> None:
        elsewhere = home_of(tmp_path / "laptop", sessions=2)
        put(transcript(elsewhere, 1), session(31, calls=5))
        put(transcript(elsewhere, 2), session(32, calls=6))
        calls(elsewhere, tmp_path / "theirs")
        calls(elsewhere, tmp_path / "theirs", backup)
        merge(ledger, tmp_path / "theirs")
        assert calls(home, ledger) == CALLS + 5 + 6
        assert calls(home, ledger, everything=True) == CALLS + 5 + 6 + 3

    @pytest.mark.parametrize("longer", ["mine", "theirs", "neither"])
    def test_a_file_that_either_found_in_a_known_place_is_of_one(
        self, home: Path, ledger: Path, tmp_path: Path, longer: str
    ) -> None:
        nowhere = tmp_path / "nowhere"
        path = transcript(home, 4)
        calls(nowhere, ledger, home) if longer != "mine" else calls(home, tmp_path / "theirs")
        if longer != "neither":
            put(path, session(4, calls=9))
        calls(nowhere, ledger, home) if longer == "mine" else calls(home, tmp_path / "theirs")
        assert calls(nowhere, ledger) == 0
        shutil.rmtree(home)
        for _ in range(2):
            merge(ledger, tmp_path / "theirs")
            assert calls(nowhere, ledger) == CALLS + (0 if longer == "neither" else 3)
        assert coverage(told(nowhere, ledger))["files"] == 4


class TestCommands:
    @pytest.fixture(autouse=True)
    def _surroundings(
        self, home: Path, ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("TALLYBOOK_LEDGER", str(ledger))
        monkeypatch.chdir(tmp_path)

    def document(self, *arguments: str) -> Any:
        done = CliRunner().invoke(app, [*arguments, "--json"])
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    def test_reports_tell_the_two_questions_without_path_apart(self, backup: Path) -> None:
        for path in [backup, *backup.parents[1].rglob("*")]:
            os.utime(path, (1, 1))  # what has just changed is asked for anew each time
        named = self.document("usage-report", str(backup))
        assert named["query"]["paths"] == [str(backup)]
        for _ in range(2):
            known = self.document("usage-report")
            everything = self.document("usage-report", "--all")
            assert (known["query"]["paths"], known["query"]["all"]) == (None, False)
            assert (everything["query"]["paths"], everything["query"]["all"]) == (None, True)
            assert known["totals"]["calls"] == CALLS
            assert everything["totals"]["calls"] == CALLS + 3

    def test_exports_and_backfill_follow_the_same_rule(self, backup: Path) -> None:
        self.document("usage-report", str(backup))
        for arguments, rows in (([], CALLS), (["--all"], CALLS + 3), ([str(backup)], 3)):
            done = CliRunner().invoke(app, ["export", "calls.jsonl", *arguments])
            assert done.exit_code == 0, done.stderr
            assert len(Path("calls.jsonl").read_text("utf-8").splitlines()) == rows
            plan = self.document("backfill", *arguments)
            assert plan["coverage"]["calls"] == rows
            assert plan["query"]["paths"] == ([str(backup)] if arguments == [str(backup)] else None)

    @pytest.mark.parametrize("command", [["usage-report"], ["export", "x.csv"], ["backfill"]])
    @pytest.mark.parametrize("other", [".", "--no-ledger"])
    def test_all_goes_with_the_ledger_and_without_path(
        self, command: list[str], other: str, ledger: Path
    ) -> None:
        done = CliRunner().invoke(app, [*command, "--all", other])
        assert done.exit_code == 2
        assert "--all and" in done.stderr
        assert not ledger.exists()

    @pytest.mark.parametrize(
        "arguments",
        [
            *(
                [*command, *more]
                for command in (["usage-report"], ["export", "x.csv"], ["backfill"])
                for more in ([""], ["logs", ""], ["--ledger", ""], ["--prices", ""])
            ),
            ["usage-report", "-o", ""],
            ["usage-report", "--problems", ""],
            ["export", ""],
            ["backfill", "--responses", ""],
            ["ledger", "forget", ""],
            ["ledger", "merge", ""],
            ["ledger", "status", "--ledger", ""],
        ],
    )
    def test_an_empty_path_is_wrong_usage(
        self, arguments: list[str], ledger: Path, tmp_path: Path
    ) -> None:
        before = sorted(tmp_path.rglob("*"))
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 2
        assert "is empty" in done.stderr
        assert done.stdout == ""
        assert sorted(tmp_path.rglob("*")) == before
