"""Only regular files are read: what one could wait for, or never come to the end of, is told."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType

import pytest

from tallybook.files.find import walk
from tallybook.files.read import read_file
from tallybook.files.regular import NotRegularError, open_regular
from tests.rows_of_files import read_files

ROLLOUT = b'{"example_id": 1, "prompt": [], "completion": [], "reward": 1.0}\n'


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """A test that waits for a pipe fails instead."""

    def fail(_: int, __: FrameType | None) -> None:
        raise AssertionError("waited")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as server:
        folder = os.open(path.parent, os.O_RDONLY)  # the path of a socket is to be short
        try:
            server.bind(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


KINDS = [pipe, listening, endless]
Make = Callable[[Path], None]


@pytest.mark.parametrize("make", KINDS)
def test_it_is_not_opened_for_reading(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "a.jsonl")
    with pytest.raises(NotRegularError):
        open_regular(tmp_path / "a.jsonl")


def test_a_pipe_that_took_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe(tmp_path / "a.jsonl")
    with pytest.raises(NotRegularError):
        open_regular(tmp_path / "a.jsonl")
    assert problems(tmp_path / "a.jsonl") == [(0, ["unreadable"], "not a regular file")]


@pytest.mark.parametrize("make", KINDS)
def test_below_a_folder_it_is_told_and_the_other_files_are_found(
    tmp_path: Path, make: Make
) -> None:
    (tmp_path / "b.jsonl").write_bytes(ROLLOUT)
    make(tmp_path / "a.jsonl")
    search = walk([tmp_path])
    assert [path.name for path, _ in search.files] == ["b.jsonl"]
    assert search.failed == [(tmp_path / "a.jsonl", "not a regular file")]


@pytest.mark.parametrize("make", KINDS)
def test_beside_a_log_it_is_told_and_the_log_is_read(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(ROLLOUT)
    plain = read_files([(path, 1)])
    make(tmp_path / "config.toml")
    rows = read_files([(path, 1)])
    assert rows.slice(0, plain.num_rows) == plain
    beside = (0, ["unreadable"], "config.toml beside it is not a regular file")
    assert problems(path)[-1] == beside


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_beside_a_database_it_is_told(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tmp_path / "data.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE usageHistory (id)")
    pipe(tmp_path / f"data.sqlite{suffix}")
    assert problems(path) == [(0, ["unreadable"], f"data.sqlite{suffix} is not a regular file")]


def problems(path: Path) -> list[tuple[int, list[str], str]]:
    rows = read_file(path).to_pylist()
    return [(row["record"], row["problems"], row["detail"]) for row in rows if row["problems"]]
