"""A run in place that is killed at any step, or finds the disk full, is all or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="takes forks")


def trials(folder: Path, *arguments: str) -> int:
    run = subprocess.run(
        [sys.executable, "-m", "tests.backfill.ninerouter.killed", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


@pytest.mark.parametrize(("kind", "steps"), [("database", 60), ("document", 20)])
def test_killed_before_every_step(tmp_path: Path, kind: str, steps: int) -> None:
    every = "5" if kind == "database" else "1"  # all of them take a minute
    assert trials(tmp_path, kind, "steps", every) >= steps


@pytest.mark.parametrize("kind", ["database", "document"])
def test_on_a_full_disk_it_gives_up_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    assert trials(tmp_path, kind, "full", "7" if kind == "database" else "1") >= 10
