"""Reading a database changes neither it nor what lies beside it, whatever state it is in."""

from __future__ import annotations

import gzip
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from tallybook.files import sqlite as database
from tallybook.files.read import read_file
from tallybook.files.sqlite import connect, is_database

LINE = 40  # rows that stay in the write-ahead log
Folder = dict[str, tuple[str, int, int]]

WRITER = """
import sqlite3, sys, time
with_log = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0.2)
with_log.execute(sys.argv[2])
print("ready", flush=True)
number = 0
while number < int(sys.argv[3]):
    number += 1
    with_log.execute("INSERT INTO history (text) VALUES (?)", (f"later {number}",))
print("done", flush=True)
time.sleep(60)
"""
HOT = """
import sqlite3, sys, time
torn = sqlite3.connect(sys.argv[1], isolation_level=None)
torn.execute("PRAGMA cache_size = 5")
torn.execute("BEGIN IMMEDIATE")
torn.execute("UPDATE history SET text = text || ' torn'")
print("ready", flush=True)
time.sleep(60)
"""
HOLDING = """
import sqlite3, sys, time
holder = sqlite3.connect(sys.argv[1], isolation_level=None)
holder.execute("BEGIN EXCLUSIVE")
print("ready", flush=True)
time.sleep(60)
"""


def state(folder: Path) -> Folder:
    """Content, size and time of every file, by which any change would show."""
    return {
        path.name: (
            sha256(path.read_bytes()).hexdigest(),
            path.stat().st_size,
            path.stat().st_mtime_ns,
        )
        for path in folder.iterdir()
    }


def create(path: Path, rows: int = 2000, *, log: bool = False) -> Path:
    with closing(sqlite3.connect(path)) as made:
        if log:
            made.execute("PRAGMA journal_mode = WAL")
        made.execute("CREATE TABLE history (id INTEGER PRIMARY KEY, text TEXT)")
        texts = (("x" * 200 + f" {number}",) for number in range(rows))
        made.executemany("INSERT INTO history (text) VALUES (?)", texts)
        made.commit()
    return path


def create_with_log(path: Path) -> Path:
    """A database whose last rows are in the log only, as after a crash; index and log are there."""
    source = create(path.with_name("source.sqlite"), log=True)
    with closing(sqlite3.connect(source)) as made:
        made.executemany("INSERT INTO history (text) VALUES (?)", [("late",)] * LINE)
        made.commit()
        for suffix in ("", "-wal", "-shm"):
            shutil.copyfile(f"{source}{suffix}", f"{path}{suffix}")
    source.unlink()
    return path


@contextmanager
def running(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that is under way with the script, and is killed in the end."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def count(path: Path) -> int:
    with connect(path) as connection:
        return int(connection.execute("SELECT count(*) FROM history").fetchone()[0])


def torn(path: Path) -> Path:
    """A journal that has to be rolled back: the writer died in the middle of a change."""
    with running(HOT, create(path)):
        pass
    return path


def without_index(path: Path) -> Path:
    Path(f"{create_with_log(path)}-shm").unlink()
    return path


def with_empty_index(path: Path) -> Path:
    Path(f"{create_with_log(path)}-shm").write_bytes(b"")
    return path


def with_empty_log(path: Path) -> Path:
    Path(f"{create(path, log=True)}-wal").write_bytes(b"")
    return path


def with_empty_log_and_index(path: Path) -> Path:
    Path(f"{create_with_log(path)}-wal").write_bytes(b"")
    return path


def with_torn_log(path: Path) -> Path:
    """The machine went down while the only transaction was written to the log."""
    log = Path(f"{without_index(path)}-wal")
    os.truncate(log, log.stat().st_size - 100)
    return path


def with_garbled_log(path: Path) -> Path:
    """A page of the log that does not hold what its checksum says."""
    log = Path(f"{create_with_log(path)}-wal")
    content = bytearray(log.read_bytes())
    content[-100] ^= 0xFF
    log.write_bytes(content)
    return path


def with_half_a_log(path: Path) -> Path:
    """Two transactions in the log, of which the second was never finished."""
    source = create(path.with_name("source.sqlite"), log=True)
    with closing(sqlite3.connect(source)) as made:
        for texts in ([("late",)] * LINE, [("x" * 4000,)] * LINE):
            made.executemany("INSERT INTO history (text) VALUES (?)", texts)
            made.commit()
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{source}{suffix}", f"{path}{suffix}")
    source.unlink()
    os.truncate(f"{path}-wal", Path(f"{path}-wal").stat().st_size - 5000)
    return path


STATES: dict[str, tuple[Callable[[Path], Path], int]] = {
    "a rollback journal": (create, 2000),
    "a closed database with a log": (lambda path: create(path, log=True), 2000),
    "a crash with log and index left": (create_with_log, 2000 + LINE),
    "a log without its index": (without_index, 2000 + LINE),
    "a log with an empty index": (with_empty_index, 2000 + LINE),
    "an empty log": (with_empty_log, 2000),
    "an empty log with an index": (with_empty_log_and_index, 2000),
    "a torn log": (with_torn_log, 2000),
    "a garbled log with an index": (with_garbled_log, 2000),
    "a log that breaks off": (with_half_a_log, 2000 + LINE),
    "a hot journal": (torn, 2000),
}


@pytest.mark.parametrize("name", STATES)
def test_reading_changes_nothing_and_sees_what_is_committed(tmp_path: Path, name: str) -> None:
    make, rows = STATES[name]
    path = make(tmp_path / "data.sqlite")
    before = state(tmp_path)
    assert count(path) == rows
    assert state(tmp_path) == before


def test_a_change_that_was_never_committed_is_not_seen(tmp_path: Path) -> None:
    path = torn(tmp_path / "data.sqlite")
    with connect(path) as connection:
        found = connection.execute("SELECT count(*) FROM history WHERE text LIKE '% torn'")
        assert found.fetchone() == (0,)


def test_only_a_hot_journal_costs_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[Path] = []

    def note(path: Path, _: Path) -> Path:
        copied.append(path)
        return path

    monkeypatch.setattr(database, "_copied", note)
    for name, (make, _) in STATES.items():
        folder = tmp_path / name
        folder.mkdir()
        if name != "a hot journal":
            count(make(folder / "data.sqlite"))
    assert copied == []


def test_a_link_is_read_with_the_log_beside_its_target(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    (here / "link.sqlite").symlink_to(without_index(there / "data.sqlite"))
    before = state(there), sorted(here.iterdir())
    assert count(here / "link.sqlite") == 2000 + LINE
    assert (state(there), sorted(here.iterdir())) == before


@pytest.mark.parametrize("name", ["data?#%41.sqlite", "date ü.sqlite"])
def test_a_name_may_hold_any_character(tmp_path: Path, name: str) -> None:
    assert count(create(tmp_path / name, log=True)) == 2000


def test_the_connection_cannot_write(tmp_path: Path) -> None:
    for name in STATES:
        folder = tmp_path / name
        folder.mkdir()
        path = STATES[name][0](folder / "data.sqlite")
        with connect(path) as connection, pytest.raises(sqlite3.OperationalError):
            connection.execute("DELETE FROM history")


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_a_writer_that_goes_on_meanwhile_is_neither_held_up_nor_missed(
    tmp_path: Path, journal: str
) -> None:
    path = create(tmp_path / "data.sqlite", log=journal == "WAL")
    with running(WRITER, path, f"PRAGMA journal_mode = {journal}", 100) as process:
        counts: list[int] = []
        deadline = time.monotonic() + 30
        while (not counts or counts[-1] < 2100) and time.monotonic() < deadline:
            counts.append(count(path))
        assert process.stdout is not None
        # A writer that could not get its lock within 0.2 s would have ended with an error.
        assert process.stdout.readline() == "done\n"
        before = state(tmp_path)
        assert count(path) == 2100
        assert state(tmp_path) == before
    assert counts == sorted(counts)


def test_a_database_that_is_locked_is_a_located_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.1)
    path = create(tmp_path / "data.sqlite")
    with running(HOLDING, path):
        before = state(tmp_path)
        rows = read_file(path).to_pylist()
        assert state(tmp_path) == before
    assert [(row["path"], row["record"], row["problems"], row["detail"]) for row in rows] == [
        (str(path), 0, ["unreadable"], "database is locked")
    ]


def test_a_log_of_a_writer_that_shares_it_with_nobody_is_read(tmp_path: Path) -> None:
    path = create(tmp_path / "data.sqlite", log=True)
    with running(WRITER, path, "PRAGMA locking_mode = EXCLUSIVE", 10) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        before = state(tmp_path)
        assert count(path) == 2010
        assert state(tmp_path) == before


def test_a_change_under_a_reading_without_locks_is_said(tmp_path: Path) -> None:
    path = create(tmp_path / "data.sqlite", log=True)

    def read_and_change() -> None:
        with connect(path) as connection:
            connection.execute("SELECT count(*) FROM history").fetchone()
            create(tmp_path / "other.sqlite", rows=1)
            shutil.copyfile(tmp_path / "other.sqlite", path)

    with pytest.raises(sqlite3.OperationalError, match="changed while it was read"):
        read_and_change()


READER = """
import os, sys
from pathlib import Path
from tallybook.files.sqlite import connect
def count():
    with connect(Path(sys.argv[1])) as connection:
        return connection.execute("SELECT count(*) FROM history").fetchone()[0]
if os.geteuid() == 0:  # whom no permission stops
    count()  # loads what nobody else may be able to load
    os.setuid(65534)
print(count())
"""


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs users and permissions")
@pytest.mark.parametrize("name", STATES)
def test_a_folder_nobody_may_write_to_is_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    make, rows = STATES[name]
    path = make(folder / "data.sqlite")
    before = state(folder)
    for each in folder.iterdir():
        each.chmod(0o444)
    folder.chmod(0o555)
    for above in (tmp_path, *list(tmp_path.parents)[:3]):
        above.chmod(above.stat().st_mode | 0o055)
    run = subprocess.run(
        [sys.executable, "-c", READER, str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    folder.chmod(0o755)
    assert (run.stdout.strip(), run.stderr) == (str(rows), "")
    assert state(folder) == before


def test_what_is_no_database_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite"
    path.write_bytes(b"SQLite 2 or so")
    assert not is_database(path)
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)
    before = state(tmp_path)
    rows = read_file(path).to_pylist()
    assert [(row["record"], row["problems"]) for row in rows] == [(0, ["unreadable"])]
    assert state(tmp_path) == before


def test_a_database_of_nobody_we_know_is_unclaimed(tmp_path: Path) -> None:
    rows = read_file(create(tmp_path / "data.sqlite")).to_pylist()
    assert [(row["record"], row["problems"]) for row in rows] == [(0, ["unclaimed"])]


def test_a_packed_database_is_told_by_what_is_packed_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "usage.json.gz"
    path.write_bytes(gzip.compress(b"SQLite format 3\0" + bytes(100)))
    assert read_file(path)["problems"].to_pylist() == [["unclaimed"]]
