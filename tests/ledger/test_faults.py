"""Whatever is wrong with the ledger, the answer is right, or says what is missing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallybook.errors import TallybookError, UsageError
from tallybook.ledger.folder import Folder
from tallybook.ledger.open import with_usage
from tallybook.ledger.reading import Reading
from tallybook.ledger.rows import StoredRows
from tallybook.ledger.store import PartDamaged
from tallybook.ledger.verify import verify
from tests.ledger.homes import (
    asked,
    coverage,
    document,
    home_of,
    opened,
    price_cache,
    put,
    session,
    told,
    totals,
    transcript,
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return home_of(tmp_path / "home")


@pytest.fixture
def ledger(home: Path, tmp_path: Path) -> Path:
    told(home, tmp_path / "ledger")
    return tmp_path / "ledger"


def notes(home: Path, ledger: Path) -> list[str]:
    """What is said; the answer is checked against a fresh one."""

    def work(reading: Reading) -> list[str]:
        assert document(reading) == told(home, None)
        return reading.notes

    return with_usage(asked(home, ledger), work)


def only(folder: Path) -> Path:
    (path,) = folder.glob("*.parquet")
    return path


def test_a_missing_part_is_read_again(home: Path, ledger: Path) -> None:
    only(ledger / "parts").unlink()
    for name in ("derived", "answers"):
        for path in (ledger / name).iterdir():
            path.unlink()
    assert any("read again" in note for note in notes(home, ledger))
    assert notes(home, ledger) == []


@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_a_damaged_part_is_read_again(home: Path, ledger: Path, place: float) -> None:
    path = only(ledger / "parts")
    content = bytearray(path.read_bytes())
    at = int(len(content) * place)
    content[at : at + 8] = bytes(byte ^ 0xFF for byte in content[at : at + 8])
    path.write_bytes(content)
    for name in ("derived", "answers"):
        for kept in (ledger / name).iterdir():
            kept.unlink()
    notes(home, ledger)
    assert notes(home, ledger) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes there")
@pytest.mark.parametrize("folder", ["parts", "derived", "answers", "."])
def test_a_pipe_in_the_place_of_a_file_of_ours_is_not_waited_for(
    home: Path, ledger: Path, folder: str, waiting_is_an_error: None
) -> None:
    for path in (ledger / folder).iterdir():
        if path.is_file() and path.name != "lock":
            path.unlink()
            os.mkfifo(path)
    put(transcript(home, 1), session(1, calls=9))  # so that states and derived rows are asked for
    for _ in range(2):
        notes(home, ledger)
    if folder != ".":
        assert verify(ledger)[1] == []


@pytest.fixture
def waiting_is_an_error() -> Iterator[None]:
    def fail(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_a_part_that_nobody_can_read_back_ends_the_run_and_is_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read again it would be the same, for ever."""

    def unreadable(_: object, name: str, *__: object) -> None:
        raise PartDamaged(name, "no such file")

    monkeypatch.setattr(StoredRows, "part", unreadable)
    with pytest.raises(TallybookError, match=r"part \w+\.parquet: no such file"):
        told(home, tmp_path / "ledger")


def test_rows_that_are_lost_with_a_part_are_said_to_be(home: Path, ledger: Path) -> None:
    transcript(home, 4).unlink()
    told(home, ledger)
    for path in (ledger / "parts").glob("*.parquet"):
        path.unlink()
    for name in ("derived", "answers"):
        for kept in (ledger / name).iterdir():
            kept.unlink()
    text = told(home, ledger)
    assert totals(text) == totals(told(home, None))
    assert coverage(text)["problems"] == {"lost": 1}
    assert coverage(told(home, ledger))["problems"] == {"lost": 1}


def rewritten(ledger: Path, query: str, *values: object) -> None:
    with closing(sqlite3.connect(ledger / "catalog.sqlite")) as base, base:
        base.execute(query, values)


@pytest.mark.parametrize("content", [b"", b"rubbish", b"SQLite format 3\0" + 4096 * b"x", None])
def test_a_damaged_or_lost_catalogue_is_made_up_from_the_parts(
    home: Path, ledger: Path, content: bytes | None
) -> None:
    """What is there is read again, and what is gone is kept."""
    put(transcript(home, 1), session(1, calls=9))
    told(home, ledger)
    transcript(home, 2).unlink()
    right = totals(told(home, ledger))
    (ledger / "catalog.sqlite").unlink()
    if content is not None:
        put(ledger / "catalog.sqlite", b"").write_bytes(content)
    with opened(home, ledger) as reading:
        assert (reading.counts.read, reading.gone) == (3, 1)
        assert any("catalog.sqlite" in note for note in reading.notes)
        assert totals(document(reading)) == right
    with opened(home, ledger) as reading:
        assert reading.notes == []
        assert totals(document(reading)) == right
    assert verify(ledger)[1] == []


def test_a_ledger_of_a_later_version_is_left_alone(home: Path, ledger: Path) -> None:
    head = msgspec.msgpack.encode([3, "and what that version says"])
    digest = blake2b(head, digest_size=8).digest()
    rewritten(ledger, "UPDATE ledger SET content = ?, digest = ?", head, digest)
    content = (ledger / "catalog.sqlite").read_bytes()
    assert any("another version" in note for note in notes(home, ledger))
    assert (ledger / "catalog.sqlite").read_bytes() == content


@pytest.mark.parametrize("name", ["derived", "answers"])
def test_what_can_be_made_again_may_be_lost_or_damaged(home: Path, ledger: Path, name: str) -> None:
    for path in (ledger / name).iterdir():
        path.write_bytes(b"rubbish" * 10)
    put(transcript(home, 1), session(1, calls=9))
    assert notes(home, ledger) == []


def full(*_: Any, **__: Any) -> Any:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "name", ["os.fsync", "pyarrow.parquet.ParquetWriter", "pathlib.Path.replace"]
)
def test_a_full_disk_costs_the_memory_but_not_the_answer(
    home: Path, ledger: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh_before = told(home, None)
    before = (ledger / "catalog.sqlite").read_bytes()
    put(transcript(home, 1), session(1, calls=9))
    with monkeypatch.context() as patched:
        patched.setattr(name, full)
        with opened(home, ledger) as reading:
            text = document(reading)
            said = reading.notes
    assert any("No space left" in note for note in said)
    assert text == told(home, None)
    assert text != fresh_before
    assert (ledger / "catalog.sqlite").read_bytes() == before
    assert notes(home, ledger) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_a_full_disk_in_any_state_costs_what_would_be_kept_and_nothing_else(
    tmp_path: Path,
) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "tests.ledger.full", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout, done.stderr, done.returncode) == ("answered\n", "", 0)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="rights do not bind")
def test_a_folder_that_cannot_be_written_is_used_all_the_same(home: Path, ledger: Path) -> None:
    put(transcript(home, 1), session(1, calls=9))
    for path in [ledger, *ledger.rglob("*")]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    assert any("cannot write" in note for note in notes(home, ledger))
    for path in [ledger, *ledger.rglob("*")]:
        path.chmod(0o700)


def test_a_ledger_on_a_disk_that_is_read_only_is_used_all_the_same(
    home: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: Any) -> Any:
        raise OSError(30, "Read-only file system")

    put(transcript(home, 1), session(1, calls=9))
    monkeypatch.setattr(Folder, "lock", locked)
    with opened(home, ledger) as reading:
        assert (reading.counts.continued, reading.counts.unchanged) == (1, 3)
    assert any("Read-only" in note for note in notes(home, ledger))


def test_a_file_in_the_place_of_a_ledger_is_refused_and_left_alone(
    home: Path, tmp_path: Path
) -> None:
    file = put(tmp_path / "file", b"x")
    with pytest.raises(UsageError, match="is no ledger"):
        notes(home, file)
    assert file.read_bytes() == b"x"


@pytest.fixture
def busy(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("tallybook.ledger.open.LOCK_SECONDS", 0.05)
    with Folder(ledger).lock(0) as held:
        assert held
        yield


@pytest.mark.usefixtures("busy")
def test_while_another_run_writes_the_answer_is_given_aside(home: Path, ledger: Path) -> None:
    put(transcript(home, 1), session(1, calls=9))
    before = (ledger / "catalog.sqlite").read_bytes()
    assert any("another run" in note for note in notes(home, ledger))
    assert (ledger / "catalog.sqlite").read_bytes() == before


def test_many_runs_at_once_all_answer_right(home: Path, ledger: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(home),
        "XDG_CACHE_HOME": str(price_cache()),
        "TALLYBOOK_LEDGER": str(ledger),
        "TZ": "UTC",
    }

    def run(number: int) -> str:
        put(transcript(home, 20 + number), session(20 + number, calls=number + 1))
        command = [sys.executable, "-m", "tallybook", "usage-report", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with ThreadPoolExecutor(4) as pool:
        assert all(list(pool.map(run, range(4))))
    assert notes(home, ledger) == []
    assert totals(told(home, ledger))["calls"] == 3 + 4 + 5 + 6 + sum(range(1, 5))
