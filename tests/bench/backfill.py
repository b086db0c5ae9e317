"""Times `tallybook backfill` over a router's database: python -m tests.bench.backfill FOLDER."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from operator import attrgetter
from pathlib import Path

from tests.backfill.database import SCHEMA, insert
from tests.backfill.history import history
from tests.bench.measure import measure

REQUESTS = 87_000  # make 100,000 usage rows: streams of one era are written twice
PADDING = 19_400  # characters, so that a detail has 20 KB
_AT_ONCE = 4000


def make(path: Path, requests: int, padding: int) -> None:
    """Write a database of so many requests, in the order of their times as a router does."""
    path.unlink(missing_ok=True)
    made = sorted(history(requests), key=attrgetter("at"))
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.executescript(SCHEMA)
        for start in range(0, requests, _AT_ONCE):
            insert(database, made[start : start + _AT_ONCE], padding)
        database.commit()


def main(folder: Path, requests: int = REQUESTS, padding: int = PADDING) -> None:
    """Make the database if it is not there, plan its backfill, and say what that took."""
    database = folder / "data.sqlite"
    folder.mkdir(parents=True, exist_ok=True)
    if not database.exists():
        make(database, requests, padding)
    command = [sys.executable, "-m", "tallybook", "backfill", str(database), "--no-ledger"]
    took = measure(command, os.environ, Path.cwd())
    print(took.stdout.decode(), took.stderr.decode(), sep="\n")
    print(
        f"{database.stat().st_size / 1e9:.2f} GB: {took.wall_seconds:.1f} s, "
        f"{took.cpu_seconds:.1f} s of CPU, {took.peak_bytes / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
