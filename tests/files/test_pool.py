"""Workers that read files live no longer than the run that they work for."""

from __future__ import annotations

import errno
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tallybook.files import pool

SCRIPT = """
import os, time
from tallybook.files.pool import POOL_BYTES, work_through

def work(items):
    os.write(1, b"working\\n")
    time.sleep(60)

list(work_through(work, [1, 2], [POOL_BYTES, POOL_BYTES], workers=2))
"""


def test_workers_end_with_a_run_that_is_killed() -> None:
    """They have its standard output, which ends when the last of them does."""
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert [run.stdout.readline() for _ in range(2)] == [b"working\n"] * 2
        run.kill()
        assert run.communicate(timeout=30)[0] == b""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers start with their work")
def test_workers_that_were_interrupted_at_their_start_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    # It gives the workers their work, and is made when they have been started.
    monkeypatch.setattr("concurrent.futures.process._ExecutorManagerThread.__init__", interrupted)
    monkeypatch.setattr(pool, "POOL_BYTES", 0)
    monkeypatch.setattr(pool, "_context", lambda **_: multiprocessing.get_context("fork"))
    with pytest.raises(KeyboardInterrupt):
        list(pool.work_through(len, [1, 2], [1, 1], workers=2))
    for worker in multiprocessing.active_children():
        worker.join(20)
    assert multiprocessing.active_children() == []


def masked(_: object) -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.skipif(sys.platform == "win32", reason="signals cannot be kept from a process there")
def test_an_interrupt_is_left_to_the_run_and_never_told_by_a_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A terminal sends it to all of them, and to a worker that has not come to its first line."""
    monkeypatch.setattr(pool, "POOL_BYTES", 0)
    monkeypatch.setattr(pool, "_context", lambda **_: multiprocessing.get_context("fork"))
    found = pool.work_through(masked, [1, 2], [1, 1], workers=2)
    assert dict(found) == {range(1): True, range(1, 2): True}
    assert not masked(None)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
@pytest.mark.parametrize("lacking", ["__init__", "_launch_processes"])
def test_what_no_worker_can_be_started_for_is_read_here(
    monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    """Some systems let processes share no memory, and a full one lets none begin."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSYS, "not here")

    monkeypatch.setattr(ProcessPoolExecutor, lacking, refused)
    monkeypatch.setattr(pool, "POOL_BYTES", 0)
    monkeypatch.setattr(pool, "_context", lambda **_: multiprocessing.get_context("fork"))
    assert dict(pool.work_through(len, [1, 2], [1, 1], workers=2)) == {range(1): 1, range(1, 2): 1}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
def test_what_work_raises_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, say, on which a worker writes: it is no reason to try again."""
    monkeypatch.setattr(pool, "POOL_BYTES", 0)
    monkeypatch.setattr(pool, "_context", lambda **_: multiprocessing.get_context("fork"))
    with pytest.raises(FileNotFoundError):
        list(pool.work_through(opened, ["missing"], [1], workers=2))


def opened(paths: Sequence[str]) -> int:
    return len([Path(path).open() for path in paths])
