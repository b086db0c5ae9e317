"""A file or folder whose name is no UTF-8 is read, known again and named like any other."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tallybook.commands import app
from tallybook.ledger.open import with_usage
from tallybook.ledger.reading import Reading
from tallybook.names import is_utf8, path_of, text_of
from tallybook.render.text import visible
from tests.ledger.homes import asked, document, opened, put, session, told, totals

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are UTF-8")
ODD = b"caf\xe9 \xff\\xff"  # two bytes that are no UTF-8, and letters that look like one
TOLD = r"caf\xe9 \xff\x5cxff"


def odd(folder: Path, suffix: str = "") -> Path:
    return Path(os.fsdecode(os.fsencode(folder) + b"/" + ODD + suffix.encode()))


@given(st.binary())
def test_every_name_has_a_text_of_its_own_that_leads_back(name: bytes) -> None:
    path = os.fsdecode(name)
    text = text_of(path)
    assert text.encode("utf-8").decode("utf-8") == text
    assert path_of(text) == path
    assert is_utf8(text)


def test_names_that_are_text_stay_as_they_are() -> None:
    for path in ("/home/ü/日本/a.jsonl", "/a\\b/c.jsonl", r"/a\xg", ""):
        assert text_of(path) == path == path_of(path)
    assert text_of(os.fsdecode(ODD)) == TOLD
    assert visible(os.fsdecode(b"caf\xe9")) == r"caf\xe9"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of such a name, with logs of such names in a folder of such a name."""
    home = odd(tmp_path)
    folder = odd(home / ".claude/projects")
    put(odd(folder, ".jsonl"), session(1))
    put(odd(folder, "-torn.jsonl"), b'{"torn')
    put(odd(folder, "-2.jsonl.gz"), gzip.compress(session(2)))
    put(odd(folder, "-3.jsonl.zst"), pa.compress(session(3), "zstd", asbytes=True))
    with closing(sqlite3.connect(home / f"data-{os.fsdecode(ODD)}.sqlite")) as base:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("CREATE TABLE usageHistory (timestamp, provider, model, tokens)")
        base.execute(
            "INSERT INTO usageHistory VALUES"
            """ ('2026-06-01T10:00:00Z', 'openai', 'gpt-5', '{"prompt_tokens":7}')"""
        )
        base.commit()
    return home


def paths(home: Path) -> list[Path]:
    return [home]


class TestThroughTheLedger:
    def test_files_are_read_once_and_known_again(self, home: Path, tmp_path: Path) -> None:
        ledger = tmp_path / "ledger"
        fresh = told(home, None, paths(home))
        assert totals(fresh)["calls"] == 10
        with opened(home, ledger, paths(home)) as reading:
            assert reading.counts.read == 5
            assert document(reading) == fresh
        with opened(home, ledger, paths(home)) as reading:
            assert (reading.counts.read, reading.counts.unchanged) == (0, 5)
            assert document(reading) == fresh

    def test_a_file_that_grows_is_read_on_and_one_that_moves_is_known(
        self, home: Path, tmp_path: Path
    ) -> None:
        ledger, log = tmp_path / "ledger", odd(odd(home / ".claude/projects"), ".jsonl")
        told(home, ledger, paths(home))
        put(log, session(1, calls=9))
        with opened(home, ledger, paths(home)) as reading:
            assert reading.counts.continued == 1
            assert document(reading) == told(home, None, paths(home))
        log.rename(log.with_name("plain.jsonl"))
        with opened(home, ledger, paths(home)) as reading:
            assert reading.counts.read == 0
            assert document(reading) == told(home, None, paths(home))

    def test_a_file_that_is_gone_is_kept_and_counted(self, home: Path, tmp_path: Path) -> None:
        ledger = tmp_path / "ledger"
        before = totals(told(home, ledger, paths(home)))
        for path in odd(home / ".claude/projects").iterdir():
            path.unlink()

        def gone(reading: Reading) -> tuple[int, dict[str, Any]]:
            return reading.gone, totals(document(reading))

        assert with_usage(asked(home, ledger, paths(home)), gone) == (3, before)


class Done(NamedTuple):
    returncode: int
    stdout: bytes
    stderr: bytes


def started(home: Path, *arguments: str | bytes | Path, **more: Any) -> Done:
    """What the program does in a process of its own, which takes names from the machine."""
    command = [sys.executable, "-m", "tallybook", *arguments]
    environment: dict[str, str] = {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "HOME": str(home),
        "TALLYBOOK_RAISE": "1",
    }
    done = subprocess.run(command, capture_output=True, check=False, env=environment, **more)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return Done(done.returncode, done.stdout, done.stderr)


def run(home: Path, *arguments: str | bytes | Path) -> Done:
    """The same in this process, with the words that the machine makes of such arguments."""
    words = [os.fsdecode(argument) for argument in arguments]
    environment = {"HOME": str(home), "TALLYBOOK_LEDGER": None, "COLUMNS": "300"}
    done = CliRunner().invoke(app, words, env=environment)
    assert done.exc_info is None or done.exc_info[0] is SystemExit, done.exc_info
    return Done(done.exit_code, done.stdout_bytes, done.stderr_bytes)


class TestTheProgram:
    @pytest.mark.parametrize("form", ["table", "json", "csv", "markdown", "html"])
    def test_reports_in_every_form(self, home: Path, form: str) -> None:
        done = run(home, "usage-report", home, "--by", "project,thread", "--format", form)
        assert done.returncode == 0
        assert done.stdout.decode("utf-8")
        assert TOLD in done.stderr.decode("utf-8")

    def test_names_the_same_in_data_and_in_words(self, home: Path, tmp_path: Path) -> None:
        problems = odd(tmp_path, "problems.jsonl")
        done = started(home, "usage-report", home, "--json", "--problems", problems)
        found = json.loads(done.stdout)
        assert found["query"]["paths"] == [text_of(str(home))]
        assert found["coverage"]["problem_list"][0]["path"].endswith(f"{TOLD}-torn.jsonl")
        assert json.loads(problems.read_text("utf-8").splitlines()[0])["path"].endswith(
            f"{TOLD}-torn.jsonl"
        )

    def test_answers_without_a_path_and_from_what_was_kept(self, home: Path) -> None:
        first = run(home, "usage-report", "--json")
        assert json.loads(first.stdout)["totals"]["calls"] == 9
        assert run(home, "usage-report", "--json").stdout == first.stdout

    @pytest.mark.parametrize("suffix", [".csv", ".json", ".html", ".md", ".txt"])
    def test_writes_to_such_a_file(self, home: Path, tmp_path: Path, suffix: str) -> None:
        target = odd(tmp_path, suffix)
        assert run(home, "usage-report", home, "-o", target).returncode == 0
        assert target.read_text("utf-8")

    @pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
    def test_exports_with_the_paths_as_text(self, home: Path, tmp_path: Path, suffix: str) -> None:
        target = odd(tmp_path, suffix)
        assert run(home, "export", target, home).returncode == 0
        content = target.read_bytes()
        if suffix == ".parquet":
            column = pl.read_parquet(content)["path"]
            assert column.str.contains(TOLD, literal=True).all()
        else:
            assert TOLD.replace("\\", "\\\\" if suffix == ".jsonl" else "\\") in content.decode()

    # What a library may take for a pattern is a name as well.
    @pytest.mark.parametrize("name", [ODD + b"ledger", b"[led]ger", b"l*{e}?"])
    def test_keeps_a_ledger_in_such_a_folder(self, home: Path, tmp_path: Path, name: bytes) -> None:
        ledger = tmp_path / os.fsdecode(name)
        fresh = run(home, "usage-report", home, "--json", "--no-ledger").stdout
        for _ in range(2):
            done = run(home, "usage-report", home, "--json", "--ledger", ledger)
            assert done.stdout == fresh
            assert not any(word in done.stderr for word in (b"without it", b"cannot", b"aside"))
        day = run(home, "usage-report", home, "--by", "day", "--ledger", ledger)
        assert day.returncode == 0
        assert run(home, "ledger", "status", "--ledger", ledger).returncode == 0
        status = run(home, "ledger", "status", "--json", "--ledger", ledger)
        assert json.loads(status.stdout)["totals"]["files"] == 5
        assert run(home, "ledger", "verify", "--ledger", ledger).returncode == 0
        assert run(home, "ledger", "compact", "--ledger", ledger).returncode == 0
        merged = run(home, "ledger", "merge", ledger, "--ledger", odd(tmp_path, "other"))
        assert merged.returncode == 0, merged.stderr
        backfill = run(home, "backfill", home, "--apply", "--ledger", ledger)
        assert backfill.returncode == 0, backfill.stderr
        assert (
            run(home, "ledger", "forget", home, "--ledger", ledger).stderr == b"5 files forgotten\n"
        )

    @pytest.mark.parametrize("option", ["--model", "--project", "--thread", "--source"])
    def test_takes_such_a_value_for_a_filter(self, home: Path, option: str) -> None:
        done = run(home, "usage-report", home, option, ODD)
        assert done.returncode in (0, 2)
        assert TOLD in done.stderr.decode("utf-8")

    @pytest.mark.parametrize(
        "option", ["--by", "--since", "--until", "--timezone", "--prices", "--limit"]
    )
    def test_refuses_such_a_value_in_words(self, home: Path, option: str) -> None:
        done = run(home, "usage-report", home, option, ODD)
        assert done.returncode == 2
        assert option in done.stderr.decode("utf-8")

    def test_takes_prices_from_such_a_file(self, home: Path, tmp_path: Path) -> None:
        prices = put(
            odd(tmp_path, ".toml"), b'[[price]]\nmodel = "gpt-5"\ninput = 1.0\noutput = 2.0\n'
        )
        assert run(home, "usage-report", home, "--prices", prices).returncode == 0

    def test_runs_in_such_a_folder(self, home: Path) -> None:
        done = started(home, "usage-report", ".", "--json", cwd=home)
        assert json.loads(done.stdout)["totals"]["calls"] == 10
        assert started(home, "sources").returncode == 0

    def test_says_that_such_a_path_is_not_there(self, home: Path, tmp_path: Path) -> None:
        done = run(home, "usage-report", odd(tmp_path, "none"))
        assert done.returncode == 2
        assert "there is no /" in done.stderr.decode("utf-8")
