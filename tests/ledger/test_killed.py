"""A run killed at any moment leaves a ledger that is right, and the next one completes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="takes forks to be fast")


def deaths(folder: Path, *arguments: str) -> int:
    run = subprocess.run(
        [sys.executable, "-m", "tests.ledger.killed", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


def test_killed_before_every_step_on_the_disk(tmp_path: Path) -> None:
    assert deaths(tmp_path, "steps", "1", "0") >= 10


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """`python -m tests.campaign kill` goes on for as long as is asked."""
    assert deaths(tmp_path, "random", "2", "26") >= 26
