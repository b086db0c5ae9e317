"""Runs a command once and measures it with all the processes it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
POLL_SECONDS = 0.01
MEMORY_METHOD = (
    "sum of resident memory over the process tree, polled every 10 ms (pages that processes "
    "share count in each), or one process's own high-water mark where that is higher"
    if (PROC / "self" / "status").exists()
    else "largest single process (rusage maxrss)"
)


@dataclass(frozen=True)
class Measurement:
    """One run: seconds of wall clock and of CPU, bytes of peak memory, and what came out."""

    wall_seconds: float
    cpu_seconds: float  # user and system, of the command and the descendants it waited for
    peak_bytes: int
    exit_code: int
    stdout: bytes
    stderr: bytes


def _tree(pid: int) -> Iterator[int]:
    """Yield a process and its descendants."""
    yield pid
    for children in PROC.glob(f"{pid}/task/*/children"):
        try:
            found = children.read_text().split()
        except OSError:  # the thread ended between the two looks
            continue
        for child in found:
            yield from _tree(int(child))


def _memory(pid: int) -> tuple[int, int]:
    """Return the resident bytes of one process, now and at its highest; zeros once it is gone."""
    try:
        status = (PROC / str(pid) / "status").read_text()
    except OSError:
        return 0, 0
    kilobytes = {
        line.split(":")[0]: int(line.split()[1])
        for line in status.splitlines()
        if line.startswith(("VmRSS:", "VmHWM:"))
    }
    return kilobytes.get("VmRSS", 0) * 1024, kilobytes.get("VmHWM", 0) * 1024


class _Watch(threading.Thread):
    """Polls the memory of a process tree until told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._over = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        while not self._over.is_set():
            memory = [_memory(pid) for pid in _tree(self._pid)]
            now, highest = sum(pair[0] for pair in memory), max(pair[1] for pair in memory)
            self.peak_bytes = max(self.peak_bytes, now, highest)
            self._over.wait(POLL_SECONDS)

    def stop(self) -> int:
        self._over.set()
        self.join()
        return self.peak_bytes


def _largest_process(maxrss: int) -> int:
    return maxrss if sys.platform == "darwin" else maxrss * 1024


def measure(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Measurement:
    """Run a command in `folder` with just this environment; OSError if it cannot be started."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL,
            stdout=stdout, stderr=stderr,
        )  # fmt: skip
        watch = _Watch(process.pid)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall_seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        polled = watch.stop()
        stdout.seek(0)
        stderr.seek(0)
        return Measurement(
            wall_seconds=wall_seconds,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_bytes=polled or _largest_process(usage.ru_maxrss),
            exit_code=process.returncode,
            stdout=stdout.read(),
            stderr=stderr.read(),
        )
