"""Nothing is passed over in silence: what is no log is counted, what may be one is looked into."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from tallybook.commands import app
from tallybook.files.find import walk
from tallybook.files.read import read_file
from tests.ledger.homes import session

CAPTURE = (
    b'{"type": "thread.started", "thread_id": "019c9000-0000-7000-8000-0000000000aa"}\n'
    b'{"type": "turn.completed", "usage":'
    b' {"input_tokens": 16504, "cached_input_tokens": 4480, "output_tokens": 20}}\n'
)
ROLLOUT = b'{"example_id": 1, "prompt": [], "completion": [], "reward": 1.0}\n'


def write(path: Path, content: bytes = b"words\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def found(root: Path, *more: Path, by_hand: bool = True) -> tuple[list[str], dict[str, int]]:
    search = walk([root, *more], by_hand=by_hand)
    assert search.failed == []
    return [path.relative_to(root).as_posix() for path, _ in search.files], search.passed_over


@pytest.mark.parametrize("name", ["run.log", "RUN.LOG", "run.txt", "run.chunks", "run", "log.1"])
def test_in_a_named_folder_what_may_be_a_log_is_one_if_a_source_claims_it(
    tmp_path: Path, name: str
) -> None:
    write(tmp_path / name, CAPTURE)
    write(tmp_path / "sub" / name)
    suffix = "" if name in {"run", "log.1"} else f".{name.lower().partition('.')[2]}"
    assert found(tmp_path) == ([name], {suffix: 1})


def test_a_compressed_one_is_looked_into_as_well(tmp_path: Path) -> None:
    write(tmp_path / "run.log.zst", pa.compress(CAPTURE, "zstd", asbytes=True))
    write(tmp_path / "notes.log.zst", pa.compress(b"words\n", "zstd", asbytes=True))
    assert found(tmp_path) == (["run.log.zst"], {".log.zst": 1})


@pytest.mark.parametrize("name", ["CAPS.JSONL", "Caps.Json", "a.JSONL.GZ", "SYMPHONY.LOG.1"])
def test_a_suffix_says_the_same_in_any_case(tmp_path: Path, name: str) -> None:
    packed = gzip.compress(CAPTURE) if name.endswith("GZ") else CAPTURE
    write(tmp_path / name, packed)
    assert found(tmp_path, by_hand=name.endswith("1")) == ([name], {})
    assert read_file(tmp_path / name)["source"].to_pylist() == ["codex"]


def test_files_beside_a_log_are_known_in_any_case_of_its_suffix(tmp_path: Path) -> None:
    write(tmp_path / "HISTORY.JSONL")
    write(tmp_path / "HISTORY.jsonl")
    write(tmp_path / "history.JSONL")
    write(tmp_path / "run" / "results.JSONL", ROLLOUT)
    write(tmp_path / "run" / "config.toml", b'model = "a"')
    write(tmp_path / "b.jsonl")
    write(tmp_path / "b.jsonl.ZST")
    logs, passed_over = found(tmp_path)
    assert logs == ["HISTORY.JSONL", "HISTORY.jsonl", "b.jsonl", "run/results.JSONL"]
    assert passed_over == {}


def test_in_the_known_places_only_names_of_logs_are_looked_at(tmp_path: Path) -> None:
    for name in ("run.log", "run.chunks", "run", "run.txt"):
        write(tmp_path / name, CAPTURE)
    logs, passed_over = found(tmp_path, by_hand=False)
    assert (logs, passed_over) == (["run.txt"], {"": 1, ".chunks": 1, ".log": 1})


def test_every_other_file_is_counted_by_suffix(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.YAML", "x/c.yaml", "d.har", "e.yaml.gz", "notes.md", ".DS_Store"):
        write(tmp_path / name)
    for name in ("1.2026-11-20", "2.0a1b2c3d", "3.a b", "4.\udcff"):
        write(tmp_path / name)
    assert found(tmp_path) == (
        [],
        {"": 5, ".har": 1, ".md": 1, ".yaml": 3, ".yaml.gz": 1},
    )


def test_folders_that_are_never_entered_are_counted_by_name(tmp_path: Path) -> None:
    for name in (".git/config", "a/node_modules/x.jsonl", "b/node_modules/x.jsonl"):
        write(tmp_path / name)
    assert found(tmp_path) == ([], {".git/": 1, "node_modules/": 2})


def test_what_a_tool_keeps_beside_its_logs_and_holds_no_usage_is_not_counted(
    tmp_path: Path,
) -> None:
    for name in ("history.jsonl", "projects/-home-u/memory/a.md", "log.txt"):
        write(tmp_path / name)
    assert found(tmp_path) == ([], {})


def test_what_is_read_with_a_log_or_by_name_is_not_counted(tmp_path: Path) -> None:
    write(tmp_path / "run/results.jsonl", ROLLOUT)
    write(tmp_path / "run/config.toml", b'model = "a"')
    write(tmp_path / "other/config.toml")
    with closing(sqlite3.connect(tmp_path / "data.sqlite")) as connection:
        connection.execute("CREATE TABLE usageHistory (id)")
    for suffix in ("-wal", "-shm", "-journal"):
        write(tmp_path / f"data.sqlite{suffix}", b"")
    yaml = write(tmp_path / "a.yaml")
    logs, passed_over = found(tmp_path, yaml)
    assert logs == ["a.yaml", "data.sqlite", "run/results.jsonl"]
    assert passed_over == {".toml": 1}


def test_what_cannot_be_read_at_all_is_counted_where_its_name_is_no_log_s(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert found(tmp_path) == ([], {"": 1})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    write(folder / "a.jsonl", session())
    for name in ("b.yaml", "c.yaml", "notes.txt"):
        write(folder / name)
    for path in (folder, *folder.iterdir()):
        os.utime(path, (10**9, 10**9))
    return folder


def run(folder: Path, *arguments: str, colour: bool = False, code: int = 0) -> Result:
    environment = {
        "HOME": str(folder.parent),
        "FORCE_COLOR": "1" if colour else "0",
        "COLUMNS": "100",
    }
    done = CliRunner(env=environment).invoke(app, [*arguments, str(folder)])
    assert done.exit_code == code, done.output
    return done


COUNTED = {".txt": 1, ".yaml": 2}
LINE = "not read, for no source knows such files: 2 .yaml, 1 .txt"


def test_the_report_carries_it_also_where_a_finished_answer_is_given_again(folder: Path) -> None:
    for _ in range(2):
        done = run(folder, "usage-report", "--json")
        assert json.loads(done.stdout)["coverage"]["not_looked_at"] == COUNTED
        assert done.stderr.splitlines()[-2] == LINE
    assert list((folder.parent / ".local/share/tallybook/ledger/answers").glob("*.answer"))
    write(folder / "d.yaml")
    again = json.loads(run(folder, "usage-report", "--json").stdout)
    assert again["coverage"]["not_looked_at"] == {".txt": 1, ".yaml": 3}


def test_a_file_that_was_no_log_is_looked_into_again_when_it_changes(folder: Path) -> None:
    run(folder, "usage-report")
    with (folder / "notes.txt").open("wb") as stream:
        stream.write(CAPTURE)
    again = json.loads(run(folder, "usage-report", "--json").stdout)
    assert again["coverage"]["not_looked_at"] == {".yaml": 2}
    assert again["coverage"]["files"] == 2


def test_the_other_commands_say_it_too_in_a_dim_line(folder: Path) -> None:
    assert f"\x1b[2m{LINE}\x1b[0m" in run(folder, "usage-report", colour=True).stderr
    assert LINE in run(folder, "export", str(folder.parent / "calls.csv")).stderr
    done = run(folder, "backfill", "--json", "--responses", str(folder))
    assert json.loads(done.stdout)["coverage"]["not_looked_at"] == {".txt": 2, ".yaml": 4}
    assert "4 .yaml, 2 .txt" in done.stderr


def test_it_makes_nothing_incomplete(folder: Path) -> None:
    littered = run(folder, "usage-report", "--strict", code=3).stderr.splitlines()
    alone = run(folder / "a.jsonl", "usage-report", "--strict", code=3).stderr.splitlines()
    assert [line for line in littered if line != LINE] == alone
