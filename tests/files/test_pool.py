"""Workers that read files live no longer than the run that they work for."""

from __future__ import annotations

import subprocess
import sys

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
