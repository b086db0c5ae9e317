"""Makes the input of a fixture: files as they lie there, databases from readable scripts."""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

_KEEP_LOG = "-- the last rows stay in the write-ahead log"
_SCRIPT = ".sql"
_READ = re.compile(r"^\.read (\S+)\n", re.MULTILINE)


@cache
def built(case: Path) -> Path:
    """The folder with the input of a case; a case without scripts is read where it lies.

    `NAME.sql` becomes the database `NAME`. A script with the line `_KEEP_LOG` is in WAL mode, and
    what follows that line is committed but not yet carried over into the database. A line
    `.read NAME` stands for the script of that name beside the cases of the source.
    """
    source = case / "input"
    if not any(source.rglob(f"*{_SCRIPT}")):
        return source
    folder = Path(tempfile.mkdtemp(prefix="fixture-")) / "input"
    shutil.copytree(source, folder)
    for script in sorted(folder.rglob(f"*{_SCRIPT}")):
        _build(script, case.parent)
    return folder


def _build(script: Path, shared: Path) -> None:
    statements = _READ.sub(
        lambda found: (shared / found[1]).read_text("utf-8"), script.read_text("utf-8")
    )
    before, mark, after = statements.partition(_KEEP_LOG)
    target = script.with_suffix("")
    aside = script.with_name(f"aside-{target.name}")
    with closing(sqlite3.connect(aside)) as database:
        database.execute("PRAGMA synchronous = OFF")  # nobody waits for the disk here
        if mark:
            database.execute("PRAGMA journal_mode = WAL")
        database.executescript(before)
        if mark:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.executescript(after)
        # Copied while it is open: closing carries the log over and removes it.
        for suffix in ("", "-wal"):
            if Path(f"{aside}{suffix}").exists():
                shutil.copyfile(f"{aside}{suffix}", f"{target}{suffix}")
    for left in (script, aside, Path(f"{aside}-wal"), Path(f"{aside}-shm")):
        left.unlink(missing_ok=True)
