"""A pipe that is named on the command line is read to its end, once; what has no end is refused."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tallybook.errors import TallybookError
from tallybook.files import pipes
from tallybook.files.pipes import copied
from tests.ledger.homes import session

linux = pytest.mark.skipif(sys.platform != "linux", reason="names files by /dev/fd and /proc")


def program(
    home: Path, *arguments: object, text: str = "", **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """The program as a shell starts it; `text` is a script, in which it is `$1` and the rest."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(home)}
    command = [sys.executable, "-m", "tallybook", *map(str, arguments)]
    if text:
        command = ["bash", "-c", text, "bash", *command]
    return subprocess.run(
        command, capture_output=True, check=False, env=environment, timeout=100, **options
    )


def report(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("packed", [False, True])
def test_standard_input_says_what_the_file_says(tmp_path: Path, packed: bool) -> None:
    log = tmp_path / "a.jsonl"
    log.write_bytes(gzip.compress(session()) if packed else session())
    plain = report(program(tmp_path, "usage-report", "--json", "--no-ledger", log))
    done = program(tmp_path, "usage-report", "--json", "/dev/stdin", input=log.read_bytes())
    piped = report(done)
    assert (piped["rows"], piped["totals"]) == (plain["rows"], plain["totals"])
    assert b"nothing is kept of what was read from /dev/stdin\n" in done.stderr


@linux
def test_a_process_substitution_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(session()))
    text = f'"$@" usage-report --json <(zcat {tmp_path}/a.jsonl.gz) <(zcat {tmp_path}/a.jsonl.gz)'
    found = report(program(tmp_path, text=text))
    assert (found["coverage"]["files"], found["totals"]["calls"]) == (2, 3)


@linux
def test_what_is_piped_in_next_time_is_another_log(tmp_path: Path) -> None:
    """It is so where standard input is a file as well: the path means something else each time."""
    for number in (1, 2):
        (tmp_path / "a.jsonl").write_bytes(session(number, calls=number))
        with (tmp_path / "a.jsonl").open("rb") as stream:
            done = program(tmp_path, "usage-report", "--json", "/dev/stdin", stdin=stream)
        assert report(done)["totals"]["calls"] == number
    piped = program(tmp_path, "usage-report", "--json", "/dev/stdin", input=session(3, calls=5))
    assert report(piped)["totals"]["calls"] == 5
    assert report(program(tmp_path, "usage-report", "--json"))["coverage"]["files"] == 0


def test_problems_are_told_at_the_path_that_was_named(tmp_path: Path) -> None:
    done = program(tmp_path, "usage-report", "--json", "/dev/stdin", input=session() + b'{"torn')
    [entry] = report(done)["coverage"]["problem_list"]
    assert (entry["path"], entry["record"], entry["code"]) == ("/dev/stdin", 4, "torn-line")


def test_the_other_commands_read_it_too(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    assert program(tmp_path, "export", file, "/dev/stdin", input=session()).returncode == 0
    assert len(file.read_bytes().splitlines()) == 3
    assert program(tmp_path, "backfill", "/dev/stdin", input=session()).returncode == 0


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/stdin"])
def test_a_device_is_wrong_usage(tmp_path: Path, path: str) -> None:
    with Path("/dev/zero").open("rb") as zero:
        done = program(tmp_path, "usage-report", path, stdin=zero)
    assert (done.returncode, done.stdout) == (2, b"")
    assert f"{path} is no file, folder or pipe".encode() in done.stderr


def test_a_named_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(session() * 999,))
    writer.start()
    with copied([tmp_path / "pipe", tmp_path / "pipe"]) as copies:
        copy = Path(copies[str(tmp_path / "pipe")])
        assert copy.read_bytes() == session() * 999
        assert copy.parent.stat().st_mode & 0o777 == 0o700
    writer.join()
    assert not copy.exists()


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes, "PATIENCE_SECONDS", 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TallybookError, match="nobody writes to"), copied([tmp_path / "pipe"]):
        pass


def test_a_pipe_without_end_is_given_up_at_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes, "MAX_PIPE_BYTES", 1 << 20)
    done = subprocess.Popen(["/bin/cat", "/dev/zero"], stdout=subprocess.PIPE)
    assert done.stdout is not None
    path = Path(f"/dev/fd/{done.stdout.fileno()}")
    with pytest.raises(TallybookError, match="gives more than"), copied([path]):
        pass
    done.stdout.close()
    done.wait()


def test_files_and_folders_are_no_pipes(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(session())
    with copied([tmp_path, tmp_path / "a.jsonl", tmp_path / "none"]) as copies:
        assert copies == {}
