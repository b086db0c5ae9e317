"""The catalogue of a ledger: what a change touches, and what shows when it is damaged or killed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallybook.files.resume import ReadPosition
from tallybook.ledger.catalog import NAME, load, save, states
from tallybook.ledger.folder import Folder
from tallybook.ledger.manifest import Damaged, Entry, Manifest, Segment, encoded, sealed
from tallybook.ledger.recovery import recovered
from tallybook.ledger.upkeep import compact, forget
from tallybook.ledger.verify import verify
from tests.ledger.homes import document, home_of, opened, put, session, told, totals, transcript
from tests.ledger.rows import held

PATHS = [f"/logs/{number:04d}.jsonl" for number in range(400)]


def entry(path: str, size: int = 5) -> Entry:
    return Entry(
        path=path,
        file_id=path[6:10] * 4,
        size=size,
        mtime_ns=6,
        inode=7,
        device=8,
        beside=(),
        encoded_place=encoded(ReadPosition("codex")),
        rows=(Segment(f"{'a' * 32}.parquet", int(path[6:10]) * 3, 3),),
        code="c" * 32,
    )


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """What a ledger of 400 files holds, as it was saved and is loaded."""
    (tmp_path / "parts").mkdir()
    save(tmp_path, Manifest(generation=3, entries={path: entry(path) for path in PATHS}))
    return load(tmp_path)[0]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return home_of(tmp_path / "home")


@pytest.fixture
def ledger(home: Path, tmp_path: Path) -> Path:
    told(home, tmp_path / "ledger")
    return tmp_path / "ledger"


def next_of(manifest: Manifest, *entries: Entry) -> Manifest:
    after = manifest.with_entries(entries)
    after.generation += 1
    return after


def test_what_is_saved_is_what_is_loaded_in_any_order_of_changes(
    tmp_path: Path, manifest: Manifest
) -> None:
    after = next_of(manifest, entry(PATHS[5], size=9), entry("/logs/0400.jsonl"))
    del after.entries[PATHS[7]]
    save(tmp_path, after, manifest, {"x": b"state"})
    found, damage = load(tmp_path)
    assert (found, damage) == (after, None)
    again = next_of(found, entry(PATHS[7]), entry(PATHS[5]))
    del again.entries["/logs/0400.jsonl"]
    save(tmp_path, again, found)
    assert load(tmp_path)[0].entries == manifest.entries
    assert states(tmp_path, ["x", "y"]) == {"x": b"state"}


def test_a_change_touches_a_few_pages_of_many(tmp_path: Path, manifest: Manifest) -> None:
    before = (tmp_path / NAME).read_bytes()
    save(tmp_path, next_of(manifest, entry(PATHS[200], size=9)), manifest)
    after = (tmp_path / NAME).read_bytes()
    pages = range(0, len(before), 4096)
    touched = sum(before[at : at + 4096] != after[at : at + 4096] for at in pages)
    assert len(pages) > 20
    assert touched <= 4


def test_another_run_that_has_written_meanwhile_is_not_written_over(
    tmp_path: Path, manifest: Manifest
) -> None:
    save(tmp_path, next_of(manifest, entry(PATHS[0], size=9)), manifest)
    with pytest.raises(OSError, match="another run"):
        save(tmp_path, next_of(manifest, entry(PATHS[1], size=9)), manifest)


def test_what_is_damaged_since_it_was_read_is_not_taken_for_sound(
    tmp_path: Path, manifest: Manifest
) -> None:
    content = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(content.replace(b"/logs/0200.jsonl", b"/logs/O200.jsonl"))
    with pytest.raises(OSError, match="damaged"):
        save(tmp_path, next_of(manifest, entry(PATHS[0], size=9)), manifest)
    assert load(tmp_path)[1] is not None


def test_a_catalogue_that_is_damaged_disagrees(home: Path, ledger: Path) -> None:
    assert verify(ledger)[1] == []
    put(ledger / NAME, b"rubbish")
    (found,) = verify(ledger)[1]
    assert "damaged" in found.detail


def test_any_byte_that_is_changed_shows_or_says_nothing(tmp_path: Path) -> None:
    """Bytes all over a small catalogue, turned over: all is as it was, or it is told as damaged."""
    entries = {path: entry(path) for path in PATHS[:12]}
    (tmp_path / "parts").mkdir()
    save(tmp_path, Manifest(generation=3, entries=entries))
    right = load(tmp_path)[0]
    save(tmp_path, next_of(right, entry(PATHS[3], size=9)), right, {"x": b"y" * 50})
    right = load(tmp_path)[0]
    path = tmp_path / NAME
    content = path.read_bytes()
    at_rest = content.count(b"\0" * 64)
    assert at_rest  # those are turned as well, some of them
    shown = 0
    for at in (*range(0, 100, 7), *range(100, len(content), 17)):  # more of what opens the file
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            found, damage = load(tmp_path)
        except (Damaged, OSError):
            shown += 1
            continue
        shown += damage is not None
        assert damage is not None or found == right, at
        assert found.entries.items() <= right.entries.items(), at
    assert shown > 120


def test_a_page_that_cannot_be_read_costs_what_is_on_it(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / NAME
    content = path.read_bytes()
    row = content.index(b"/logs/0200.jsonl")
    page = row - row % 4096
    path.write_bytes(content[:page] + b"\xff" * 4096 + content[page + 4096 :])
    found, damage = load(tmp_path)
    assert damage is not None
    assert 370 < len(found.entries) < 400
    assert found.entries.items() <= manifest.entries.items()


def test_entries_of_before_are_in_no_page(tmp_path: Path, manifest: Manifest) -> None:
    """What was forgotten is, and a page that nobody refers to gives no entry again."""
    after = next_of(manifest)
    for path in PATHS[50:350]:
        del after.entries[path]
    save(tmp_path, after, manifest)
    content = (tmp_path / NAME).read_bytes()
    assert content.count(b"/logs/0200.jsonl") == 0
    assert content.count(b"/logs/0049.jsonl") == 1


@contextmanager
def begun(ledger: Path, target: Path) -> Iterator[None]:
    """Into `target` a ledger as a run leaves it that is killed while it writes its last pages."""
    shutil.copytree(ledger, target)
    with closing(sqlite3.connect(target / NAME, isolation_level=None)) as base:
        base.execute("PRAGMA cache_size = 1")
        base.execute("BEGIN IMMEDIATE")
        base.execute("UPDATE file SET entry = zeroblob(3000), digest = zeroblob(8)")
        base.execute("INSERT INTO state VALUES ('x', zeroblob(100000), zeroblob(8))")
        (target / "killed").mkdir()
        for name in (NAME, f"{NAME}-journal"):
            shutil.copyfile(target / name, target / "killed" / name)
        base.execute("ROLLBACK")
    for name in (NAME, f"{NAME}-journal"):
        (target / "killed" / name).replace(target / name)
    (target / "killed").rmdir()
    yield
    assert not list(target.rglob("*.aside"))


def test_what_a_killed_run_had_begun_is_put_back(home: Path, ledger: Path, tmp_path: Path) -> None:
    target = tmp_path / "killed"
    with begun(ledger, target):
        assert (target / NAME).read_bytes() != (ledger / NAME).read_bytes()
        assert load(target) == load(ledger)  # by one who may only read
        assert (target / f"{NAME}-journal").exists()
        with opened(home, target) as reading:
            assert (reading.counts.unchanged, reading.notes) == (4, [])
        assert not (target / f"{NAME}-journal").exists()
        assert (target / NAME).read_bytes()[100:] == (ledger / NAME).read_bytes()[100:]


def test_a_ledger_where_nothing_can_be_written_is_read_with_its_journal(
    home: Path, ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: Any) -> Any:
        raise OSError(30, "Read-only file system")

    with begun(ledger, tmp_path / "killed"):
        before = {p: p.read_bytes() for p in (tmp_path / "killed").rglob("*") if p.is_file()}
        monkeypatch.setattr(Folder, "lock", locked)
        with opened(home, tmp_path / "killed") as reading:
            assert reading.counts.unchanged == 4
        assert before == {p: p.read_bytes() for p in before}


def test_a_reader_beside_a_writer_finds_what_was_before(tmp_path: Path, manifest: Manifest) -> None:
    with closing(sqlite3.connect(tmp_path / NAME, isolation_level=None)) as base:
        base.execute("BEGIN IMMEDIATE")
        base.execute("DELETE FROM file WHERE path < '/logs/0100'")
        assert load(tmp_path) == (manifest, None)
        base.execute("ROLLBACK")


def test_states_that_nobody_goes_on_from_are_dropped(home: Path, ledger: Path) -> None:
    ids = {path: entry.file_id for path, entry in load(ledger)[0].entries.items()}
    assert len(states(ledger, ids.values())) == 4
    grown = str(put(transcript(home, 1), session(1, calls=9)))
    told(home, ledger)
    assert len(states(ledger, ids.values())) == 3
    assert ids[grown] not in states(ledger, ids.values())
    forget(ledger, home)
    assert states(ledger, [*ids.values()]) == {}


def test_a_state_that_is_damaged_costs_a_reading_from_the_beginning(
    home: Path, ledger: Path
) -> None:
    with closing(sqlite3.connect(ledger / NAME)) as base, base:
        base.execute("UPDATE state SET state = CAST('x' || state AS BLOB)")
    put(transcript(home, 1), session(1, calls=9))
    with opened(home, ledger) as reading:
        assert (reading.counts.read, reading.counts.continued, reading.notes) == (1, 0, [])
        assert document(reading) == told(home, None)


class TestRecovery:
    def test_is_not_tried_where_there_is_nothing(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It loads a library after which workers can no longer be forked."""
        monkeypatch.setitem(sys.modules, "tallybook.ledger.recovery", None)
        assert told(home, tmp_path / "new") == told(home, None)

    def test_takes_of_a_file_that_was_gone_on_with_each_row_once(
        self, home: Path, ledger: Path
    ) -> None:
        """A file read in three steps, the last line torn in two of them, then deleted."""
        path = transcript(home, 1)
        for calls in (5, 7):
            path.write_bytes(session(1, calls)[:-5])
            told(home, ledger)
        path.write_bytes(session(1, 8))
        told(home, ledger)
        before = held(ledger)[str(path)]
        right = totals(told(home, ledger))
        path.unlink()
        (ledger / NAME).unlink()
        assert totals(told(home, ledger)) == right
        assert [row for row in held(ledger)[str(path)] if row[1] == "call"] == [
            row for row in before if row[1] == "call"
        ]

    def test_takes_of_a_file_that_was_written_anew_what_it_was_last(
        self, home: Path, ledger: Path
    ) -> None:
        path = transcript(home, 1)
        path.write_bytes(session(9, 2))
        right = totals(told(home, ledger))
        path.unlink()
        told(home, ledger)
        (ledger / NAME).unlink()
        assert totals(told(home, ledger)) == right
        assert load(ledger)[0].entries[str(path)].lost  # it may not be so, and it is said

    def test_leaves_alone_what_is_sound(self, home: Path, ledger: Path) -> None:
        before = load(ledger)[0]
        assert recovered(ledger) == before

    def test_knows_nothing_of_what_was_forgotten(self, home: Path, ledger: Path) -> None:
        path = transcript(home, 1)
        path.unlink()
        told(home, ledger)
        forget(ledger, path)
        (ledger / NAME).unlink()
        assert str(path) not in recovered(ledger).entries
        assert len(recovered(ledger).entries) == 3


class TestAnOlderLedger:
    def test_that_was_left_behind_is_not_met_again(self, home: Path, older: Path) -> None:
        """A run was killed between the catalogue and the end of the manifest."""
        left = (older / "manifest").read_bytes()
        told(home, older)
        put(older / "manifest", left)
        put(transcript(home, 1), session(1, calls=9))
        told(home, older)
        assert not (older / "manifest").exists()

    @pytest.fixture
    def older(self, home: Path, ledger: Path) -> Path:
        """As versions before this one left it: a manifest, the one before, and a file of states."""
        manifest, _ = load(ledger)
        entries = {
            path: msgspec.structs.replace(entry, has_state=f"{'b' * 24}.states")
            for path, entry in manifest.entries.items()
        }
        raw = {"format": 1, "generation": 7, "entries": entries, "corrections": []}
        content = sealed(b"ledger", msgspec.msgpack.encode(raw))
        for name in ("manifest", "manifest.previous"):
            put(ledger / name, content)
        put(ledger / "states" / f"{'b' * 24}.states", sealed(b"states", b"\x80"))
        (ledger / NAME).unlink()
        return ledger

    def test_is_taken_over_by_the_first_run_that_writes(self, home: Path, older: Path) -> None:
        before = held(older)
        transcript(home, 2).unlink()
        with opened(home, older) as reading:
            assert (reading.counts.unchanged, reading.gone, reading.notes) == (3, 1, [])
        assert held(older) == before
        assert load(older)[0].generation == 8
        assert {path.name for path in older.iterdir()} == {
            *("lock", NAME, "parts", "derived", "answers", "prices")
        }
        put(transcript(home, 1), session(1, calls=9))
        with opened(home, older) as reading:
            assert reading.notes == []

    def test_is_read_where_nothing_can_be_written(
        self, home: Path, older: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def locked(*_: Any) -> Any:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(Folder, "lock", locked)
        with opened(home, older) as reading:
            assert (reading.counts.unchanged, reading.counts.read) == (4, 0)
        assert not (older / NAME).exists()

    def test_gives_way_to_the_generation_before_where_it_is_damaged(
        self, home: Path, older: Path
    ) -> None:
        (older / "manifest").write_bytes(b"rubbish")
        with opened(home, older) as reading:
            assert reading.counts.unchanged == 4
            assert any("manifest" in note for note in reading.notes)

    def test_is_merged(self, home: Path, older: Path, tmp_path: Path) -> None:
        from tallybook.ledger.merging import merge  # noqa: PLC0415 - here alone

        shutil.rmtree(home)
        assert merge(tmp_path / "other", older).files == 4
        assert held(tmp_path / "other") == held(older)


@pytest.mark.skipif(sys.platform == "win32", reason="rights are kept in another way there")
def test_it_and_its_journal_are_the_users_alone(ledger: Path) -> None:
    before = os.umask(0)
    try:
        compact(ledger)
        with closing(sqlite3.connect(ledger / NAME, isolation_level=None)) as base:
            base.execute("BEGIN IMMEDIATE")
            base.execute("DELETE FROM state")
            rights = [path.stat().st_mode for path in ledger.glob(f"{NAME}*")]
            base.execute("ROLLBACK")
    finally:
        os.umask(before)
    assert [stat.S_IMODE(mode) for mode in rights] == [0o600, 0o600]


def test_a_database_of_somebody_else_is_no_ledger(home: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with closing(sqlite3.connect(tmp_path / "mine" / NAME)) as base, base:
        base.execute("CREATE TABLE photos (name)")
    before = (tmp_path / "mine" / NAME).read_bytes()
    with pytest.raises(Exception, match="it holds catalog"):
        told(home, tmp_path / "mine")
    assert (tmp_path / "mine" / NAME).read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes there")
@pytest.mark.parametrize("suffix", ["-journal", "-wal"])
def test_a_pipe_where_a_journal_would_lie_is_not_waited_for(
    home: Path, ledger: Path, suffix: str
) -> None:
    os.mkfifo(ledger / f"{NAME}{suffix}")
    with pytest.raises(OSError, match="not a regular file"):
        load(ledger)
    assert told(home, ledger) == told(home, None)
