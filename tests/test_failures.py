"""Where our own code fails in one file, that file has a problem, and every other one counts."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tallybook.errors import FAILURES
from tallybook.files import pool
from tallybook.files.find import walk
from tallybook.files.read import read_file
from tallybook.ledger.catalog import load
from tallybook.schema import Reported
from tallybook.sources import FileFacts, sources
from tallybook.sources.contract import Rows
from tallybook.sources.lines import Head
from tests.ledger.homes import coverage, home_of, put, session, told, totals, transcript

ODD = b'"odd": "a secret of the user"'  # in the file that is read badly
QUOTED = "a secret of the user"  # what the error says
PLACE = re.compile(r"\w+ at [a-z_/]+\.py:\d+")


def fail(*_: object) -> Any:
    raise KeyError(QUOTED)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two sound transcripts, and a third in which our code fails."""
    return made(tmp_path / "home")


def made(home: Path) -> Path:
    home_of(home, sessions=3)
    put(odd(home), odd(home).read_bytes().replace(b'"cwd":', ODD + b', "cwd":'))
    return home


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """What a fresh reading tells of such a home: of the two sound ones, and of all three."""
    home = made(tmp_path_factory.mktemp("sound"))
    return told(home, None, [transcript(home, 1), transcript(home, 2)]), told(home, None)


def odd(home: Path) -> Path:
    return transcript(home, 3)


def patch(monkeypatch: pytest.MonkeyPatch, name: str = "claude-code", **changes: Any) -> None:
    monkeypatch.setitem(sources(), name, replace(sources()[name], **changes))


def sniff(head: Head) -> bool:
    return fail() if ODD in head.content else CLAUDE.sniff(head)


def whole(head: Head) -> bool:
    return fail() if ODD in head.content else False


def begin(facts: FileFacts) -> Any:
    return fail() if "00000003" in facts.parts[-1] else CLAUDE.begin(facts)


def read(block: bytes, state: Any) -> tuple[Rows, Any]:
    return fail() if ODD in block else CLAUDE.read(block, state)


def memory(block: bytes, state: Any) -> tuple[Rows, Any]:
    if ODD in block:
        raise MemoryError
    return CLAUDE.read(block, state)


def recursion(block: bytes, state: Any) -> tuple[Rows, Any]:
    return recursion(block, state) if ODD in block else CLAUDE.read(block, state)


def neighbour(plain: str) -> str | None:
    return fail() if "00000003" in plain else None


CLAUDE = sources()["claude-code"]
STAGES: dict[str, dict[str, Callable[..., Any]]] = {
    "sniff": {"sniff": sniff},
    "whole": {"whole": whole},
    "begin": {"begin": begin},
    "read": {"read": read},
    "no memory": {"read": memory},
    "too deep": {"read": recursion},
    "neighbour": {"neighbour": neighbour},
}


def reasons(text: str) -> list[tuple[str, int, str]]:
    assert QUOTED not in text
    return [
        (Path(each["path"]).name, each["record"], each["detail"])
        for each in coverage(text)["problem_list"]
        if each["code"] == "reader-failed"
    ]


@pytest.mark.usefixtures("failures_are_told")
@pytest.mark.parametrize("stage", STAGES)
def test_a_failure_costs_one_file_wherever_it_comes_from(
    home: Path, sound: tuple[str, str], tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two, all_three = sound
    patch(monkeypatch, "claude-code", **STAGES[stage])
    for ledger in (None, tmp_path / "ledger", tmp_path / "ledger"):
        text = told(home, ledger)
        assert totals(text) == totals(two)
        ((name, record, detail),) = reasons(text)
        assert (name, record) == (odd(home).name, 0)
        assert PLACE.fullmatch(detail), detail
        assert coverage(text)["files"] == 3
    monkeypatch.undo()
    # Read again, though nothing of the file has changed: other code may read it now.
    assert told(home, tmp_path / "ledger") == all_three


@pytest.mark.usefixtures("failures_are_told")
def test_what_only_the_end_of_a_file_fails_at_leaves_the_rows_before(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = told(home, None)
    patch(monkeypatch, finish=fail)
    for ledger in (None, tmp_path / "ledger"):
        text = told(home, ledger)
        assert totals(text) == totals(sound)
        assert len(reasons(text)) == 3


@pytest.mark.parametrize("stage", STAGES)
def test_the_tests_have_it_raised(home: Path, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patch(monkeypatch, "claude-code", **STAGES[stage])
    with pytest.raises((KeyError, MemoryError, RecursionError)):
        told(home, None)


@pytest.mark.usefixtures("failures_are_told")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_who_ends_the_program_ends_it(
    home: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> Any:
        raise error

    patch(monkeypatch, read=end)
    with pytest.raises(error):
        told(home, None)


@pytest.mark.usefixtures("failures_are_told")
def test_a_file_that_is_only_looked_into_is_read_and_said_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "notes.txt", b"nobody's")
    assert walk([tmp_path]).files == []
    patch(monkeypatch, "responses", sniff=fail)
    assert [path.name for path, _ in walk([tmp_path]).files] == ["notes.txt"]
    assert [row["problems"] for row in read_file(tmp_path / "notes.txt").to_pylist()] == [
        ["reader-failed"]
    ]


UNFIT: dict[str, dict[str, Any]] = {
    "a count": {"reported_output_tokens": 2**70},
    "half a character": {"model": "gpt-\ud83d"},
    "money": {"reported_cost_usd": Decimal("1e40")},
    "another type": {"model": 5},
}


@pytest.mark.usefixtures("failures_are_told")
@pytest.mark.parametrize("name", UNFIT)
def test_a_value_that_no_table_holds_costs_its_record(
    home: Path, sound: tuple[str, str], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unfit(block: bytes, state: Any) -> tuple[Sequence[Reported], Any]:
        rows, after = CLAUDE.read(block, state)
        assert isinstance(rows, list)
        if ODD in block:
            for column, value in UNFIT[name].items():
                setattr(rows[1], column, value)
        return rows, after

    _, all_three = sound
    calls = totals(all_three)["calls"]
    patch(monkeypatch, read=unfit)
    for ledger in (None, tmp_path / "ledger", tmp_path / "ledger"):
        text = told(home, ledger)
        assert totals(text)["calls"] == calls - 1
        ((path, record, detail),) = reasons(text)
        assert (path, record) == (odd(home).name, 2)
        assert PLACE.fullmatch(detail), detail
    rows = read_file(odd(home))
    assert rows["problems"].to_pylist().count(["reader-failed"]) == 1
    monkeypatch.undo()
    assert told(home, tmp_path / "ledger") == all_three


class TestAFileThatHasGrown:
    """It is read on from a saved state, and afresh where that fails."""

    @pytest.fixture
    def ledger(self, home: Path, tmp_path: Path) -> Path:
        told(home, tmp_path / "ledger")
        put(transcript(home, 1), session(1, calls=9))
        return tmp_path / "ledger"

    @pytest.mark.usefixtures("failures_are_told")
    def test_a_failure_gives_what_a_fresh_reading_gives(
        self, home: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def late(block: bytes, state: Any) -> tuple[Rows, Any]:
            return fail() if b"msg_1_9" in block else CLAUDE.read(block, state)

        patch(monkeypatch, read=late)
        fresh = told(home, None)
        assert len(reasons(fresh)) == 1
        assert told(home, ledger) == fresh
        assert told(home, ledger) == fresh
        monkeypatch.undo()
        assert told(home, ledger) == told(home, None)

    @pytest.mark.usefixtures("failures_are_told")
    def test_a_failure_in_going_on_alone_costs_nothing(
        self, home: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def not_first(block: bytes, state: Any) -> tuple[Rows, Any]:
            return CLAUDE.read(block, state) if state.records == 0 else fail()

        fresh = told(home, None)
        patch(monkeypatch, read=not_first)
        assert told(home, ledger) == fresh

    def test_a_state_that_this_code_does_not_keep_is_let_go(
        self, home: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tallybook.ledger import store  # noqa: PLC0415 - the module, not the name

        def other(*_: object) -> dict[str, bytes]:
            manifest, _said = load(ledger)
            return {entry.file_id: b"\xc1" for entry in manifest.entries.values()}

        monkeypatch.setattr(store, "states", other)
        assert told(home, ledger) == told(home, None)


@pytest.mark.usefixtures("failures_are_told")
class TestADatabase:
    @pytest.fixture
    def database(self, tmp_path: Path) -> Path:
        path = tmp_path / "logs" / "data.sqlite"
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as made:
            made.execute("CREATE TABLE usageHistory (timestamp, model, tokens)")
            made.executemany(
                "INSERT INTO usageHistory VALUES (?, 'gpt-5', ?)",
                [
                    (f"2026-06-0{day}T10:00:00Z", json.dumps({"prompt_tokens": day}))
                    for day in (1, 2, 3)
                ],
            )
            made.commit()
        return path

    def test_that_fails_to_be_recognised_is_a_problem(
        self, database: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        patch(monkeypatch, "9router", recognise=fail)
        assert [row["problems"] for row in read_file(database).to_pylist()] == [["reader-failed"]]

    def test_has_the_rows_before_the_failure_and_all_again_once_it_can_be_read(
        self, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        router = sources()["9router"]
        assert router.query is not None

        def query(connection: sqlite3.Connection, facts: FileFacts) -> Iterator[Rows]:
            assert router.query is not None
            rows = next(router.query(connection, facts))
            yield rows[:2]
            fail()

        ledger, logs = tmp_path / "ledger", [database.parent]
        sound = told(tmp_path, ledger, logs)
        database.touch()
        patch(monkeypatch, "9router", query=query)
        fresh = told(tmp_path, None, logs)
        assert (totals(fresh)["calls"], len(reasons(fresh))) == (2, 1)
        # A file that is named is what could be read of it; what was not met is kept beside.
        later = told(tmp_path, ledger, logs)
        assert (totals(later)["calls"], len(reasons(later))) == (2, 1)
        monkeypatch.undo()
        assert told(tmp_path, ledger, logs) == sound == told(tmp_path, None, logs)


def switch(_: Sequence[object]) -> bool:
    return FAILURES.raised


@pytest.mark.parametrize("raised", [True, False])
def test_workers_do_with_failures_as_the_program_does(
    raised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "POOL_BYTES", 0)
    monkeypatch.setattr(FAILURES, "raised", raised)
    found = pool.work_through(switch, [1, 2], [1, 1], workers=2)
    assert dict(found) == {range(1): raised, range(1, 2): raised}


SCRIPT = """
import sys
from msgspec.structs import replace
from tallybook.sources import sources

def fail(block, state):
    raise ValueError("a secret of the user")

sources()["codex"] = replace(sources()["codex"], read=fail)
sys.argv[0] = "tallybook"
from tallybook.__main__ import main
main()
"""


def test_the_program_goes_on_and_strict_says_that_something_is_missing(
    home: Path, tmp_path: Path
) -> None:
    put(
        home / ".codex/sessions/rollout-1.jsonl",
        b'{"timestamp":"2026-06-01T10:00:00Z","type":"session_meta","payload":'
        b'{"id":"00000001-0000-4000-8000-000000000009","originator":"codex"}}\n',
    )

    def run(*more: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", SCRIPT, "usage-report", "--no-ledger", "--json", *more]
        path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HOME": str(home)}
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=path | environment
        )

    done = run()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["coverage"]["problems"] == {"reader-failed": 1}
    assert json.loads(done.stdout)["totals"]["calls"] == 12
    assert re.search(r"reader-failed .*rollout-1\.jsonl, ValueError at [\w/]+\.py:\d+", done.stderr)
    assert QUOTED not in done.stdout + done.stderr
    assert run("--strict").returncode == 3
    assert "ValueError: a secret of the user" in run(TALLYBOOK_RAISE="1").stderr


TAKEN_DOWN = """
import os, sys

class Library:
    def __init__(self):
        self.abort = os.abort

    def __del__(self):
        self.abort()

library = Library()
from tallybook.__main__ import main
main()
"""


def test_a_library_that_fails_when_it_is_taken_down_comes_too_late() -> None:
    """As pyarrow does now and then, with a thread that the interpreter ends in the midst of C++."""
    command = [sys.executable, "-c", TAKEN_DOWN, "usage-report", "--by", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "error:" in done.stderr) == (2, True)
