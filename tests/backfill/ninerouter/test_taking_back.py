"""What was written in place can be taken back: after any number of runs, whatever else happened."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tallybook.backfill.ninerouter.backup import backups, record_beside
from tallybook.backfill.ninerouter.change import AppliedChanges, PlannedChanges
from tallybook.errors import TallybookError
from tests.backfill.ninerouter.made import (
    CORRECTIONS,
    ROWS,
    bare,
    canonical,
    database,
    document,
    insert,
    prompt,
    row,
)
from tests.backfill.ninerouter.routers import Database, Document

FIRST, SECOND = CORRECTIONS[:3], CORRECTIONS[3:]


@pytest.fixture(params=[Database, Document])
def router(request: pytest.FixtureRequest, tmp_path: Path) -> Database | Document:
    (tmp_path / "home").mkdir()
    made: Database | Document = request.param(tmp_path / "home")
    return made


LATER = row("2026-10-01T00:00:00.000Z", ("p", "m"), bare(1, 2), 0.5)


def test_after_several_runs_the_first_state_is_given_back(router: Database) -> None:
    before = router.state()
    assert router.change(FIRST).rows == 2
    assert router.change(SECOND).rows == 4
    done = router.restore()
    assert (done.rows, done.skipped, done.lost) == (6, [], False)
    assert done.backup == backups(router.path)[0]
    assert router.state() == before
    again = router.restore()
    assert (again.rows, again.skipped) == (0, [])
    assert router.state() == before


def test_a_row_that_two_runs_changed_states_again_what_it_did_before_the_first(
    router: Database,
) -> None:
    before = router.state()
    router.change([prompt(3, 27984, 1)])
    router.change([prompt(3, 849, 27136)])
    assert router.restore().rows == 1
    assert router.state() == before


def test_after_a_restore_it_begins_anew(router: Database) -> None:
    before = router.state()
    router.change([prompt(3, 27984, 1)])
    router.change([prompt(3, 849, 27136)])
    router.restore()
    router.change([prompt(3, 27980, 5)])
    assert len(backups(router.path)) == 3
    done = router.restore()
    assert (done.rows, done.skipped) == (1, [])
    assert router.state() == before


def test_no_backup_is_written_over_even_where_older_ones_are_gone(router: Database) -> None:
    router.change(FIRST)
    kept = backups(router.path)[0].read_bytes()
    router.change(SECOND)
    assert backups(router.path)[0].read_bytes() == kept
    backups(router.path)[1].unlink()
    router.restore()
    router.change(FIRST)
    assert [each.name[-2:] for each in backups(router.path)] == ["-1", "-3"]


def test_what_9router_wrote_since_stays(router: Database) -> None:
    before = router.state()[0]
    router.change(FIRST)
    router.add(LATER)
    router.change(SECOND)
    router.add(LATER | {"timestamp": "2026-10-02T00:00:00.000Z"})
    assert router.restore().rows == 6
    assert router.state()[0] == [*before, (bare(1, 2), 0.5), (bare(1, 2), 0.5)]


def test_a_row_that_others_changed_since_is_left_and_said(router: Database) -> None:
    before = router.state()[0]
    router.change(CORRECTIONS)
    router.put(3, canonical(7, 180, 3))
    done = router.restore()
    assert (done.rows, done.skipped) == (5, [(3, "changed-since")])
    after = router.state()[0]
    assert after[2][0] == canonical(7, 180, 3)
    assert after[:2] + after[3:] == before[:2] + before[3:]


def test_a_row_that_others_changed_between_two_runs_goes_back_to_that(router: Database) -> None:
    router.change([prompt(3, 27984, 1)])
    router.put(3, bare(27985, 180))
    between = router.state()[0][2][0]
    router.put(3, bare(30000, 180))
    router.change([prompt(3, 29000, 1000)])
    assert router.restore().rows == 1
    assert router.state()[0][2][0] == bare(30000, 180) != between


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        half, spoilt = content[: len(content) // 2], bytearray(content)
        spoilt[len(spoilt) // 2 :: 7] = b"\xff" * len(spoilt[len(spoilt) // 2 :: 7])
        path.write_bytes({"empty": b"", "half": half, "damaged": bytes(spoilt)}[how])


@pytest.mark.parametrize("how", ["empty", "half", "damaged"])
def test_a_backup_that_is_not_whole_is_passed_over_for_the_one_before(
    router: Database, how: str
) -> None:
    before = router.state()
    router.change(FIRST)
    router.change(SECOND)
    first, second = backups(router.path)
    damage(second, how)
    done = router.restore()
    assert (done.backup, done.passed_over, done.lost) == (first, [second], False)
    assert (done.rows, router.state()) == (6, before)


@pytest.mark.parametrize("how", ["empty", "half", "damaged"])
def test_where_the_first_backup_is_not_whole_the_next_is_put_back_and_it_is_said(
    router: Database, how: str
) -> None:
    router.change(FIRST)
    between = router.state()
    router.change(SECOND)
    first, second = backups(router.path)
    damage(first, how)
    done = router.restore()
    assert (done.backup, done.passed_over, done.lost) == (second, [first], True)
    assert (done.rows, router.state()) == (4, between)


@pytest.mark.parametrize("how", ["empty", "half", "damaged"])
def test_where_no_backup_is_whole_nothing_is_changed(router: Database, how: str) -> None:
    router.change(FIRST)
    damage(backups(router.path)[0], how)
    after = router.state()
    with pytest.raises(TallybookError, match=r"whole \(.*before-tallybook-1\)"):
        router.restore()
    assert router.state() == after


@pytest.mark.parametrize("how", ["gone", "empty", "half"])
def test_a_backup_without_its_record_is_put_back_as_it_is(router: Database, how: str) -> None:
    """As the first builds made them, which kept no record."""
    before = router.state()
    router.change(FIRST)
    router.change(SECOND)
    for backup in backups(router.path):
        damage(record_beside(backup), how)
    router.add(LATER)
    assert router.restore().rows == 6
    rows, days = router.state()
    assert (rows[:-1], days) == before


def test_every_truncation_of_a_backup_is_noticed(tmp_path: Path) -> None:
    router = Database(tmp_path)
    router.change(CORRECTIONS)
    after = router.state()
    backup = backups(router.path)[0]
    content = backup.read_bytes()
    for size in range(0, len(content), 1024):
        backup.write_bytes(content[:size])
        with pytest.raises(TallybookError, match="no backup beside it is whole"):
            router.restore()
    assert router.state() == after


def test_a_record_without_its_backup_gives_nothing_back(router: Database) -> None:
    router.change(CORRECTIONS)
    backups(router.path)[0].unlink()
    after = router.state()
    with pytest.raises(TallybookError, match="no backup"):
        router.restore()
    assert router.state() == after


def test_two_runs_at_once_are_one(router: Database) -> None:
    before = router.state()
    for number in range(5):
        planned = router.plan(CORRECTIONS)
        start = threading.Barrier(2)

        def run(
            planned: PlannedChanges = planned, start: threading.Barrier = start
        ) -> AppliedChanges:
            start.wait()
            return router.apply(planned)

        with ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(run) for _ in range(2)]
        errors = [str(error) for each in runs if (error := each.exception())]
        assert errors in ([], ["changed meanwhile"])  # only a document is replaced as a whole
        found = [each.result() for each in runs if each.exception() is None]
        assert 6 in {done.rows for done in found}, number
        after = router.state()
        assert {done.backup for done in found if done.rows} <= set(backups(router.path))
        assert router.restore().rows == 6
        assert router.state() == before != after


def test_what_a_killed_run_left_aside_is_swept(router: Database) -> None:
    left = router.path.with_name(f".{router.path.name}.before-tallybook.99999999-{'f' * 16}.aside")
    others = router.path.with_name(f".others.before-tallybook.99999999-{'f' * 16}.aside")
    for each in (left, others):
        each.write_bytes(b"half")
    router.change(CORRECTIONS)
    assert (left.exists(), others.exists()) == (False, True)


def test_a_file_that_was_moved_without_its_backups_has_none(router: Database) -> None:
    router.change(CORRECTIONS)
    there = router.path.with_name("elsewhere")
    there.mkdir()
    router.path = router.path.rename(there / router.name)
    with pytest.raises(TallybookError, match="no backup"):
        router.restore()


def test_a_file_that_was_moved_with_them_is_restored(router: Database) -> None:
    before = router.state()
    router.change(CORRECTIONS)
    there = router.path.parent.with_name("elsewhere")
    shutil.move(router.path.parent, there)
    router.path = there / router.name
    assert router.restore().rows == 6
    assert router.state() == before


def test_another_file_of_the_same_name_is_left_as_it_is(router: Database) -> None:
    """As after a reset: the ids begin anew, and the rows of the backup are nobody's."""
    router.change(CORRECTIONS)
    router.path.unlink()
    rows = [each | {"timestamp": f"2027-01-0{n}T00:00:00Z"} for n, each in enumerate(ROWS, 1)]
    make = database if router.name == "data.sqlite" else document
    make(router.path, rows)
    after = router.state()
    done = router.restore()
    assert (done.rows, {each.reason for each in done.skipped}) == (0, {"gone"})
    assert router.state() == after


def test_rows_are_found_again_where_the_oldest_are_gone(tmp_path: Path) -> None:
    """The document keeps the newest rows, so that by and by every record is another."""
    router = Document(tmp_path)
    before = router.state()[0]
    router.change(CORRECTIONS)
    found = json.loads(router.path.read_bytes())
    found["history"] = [*found["history"][2:], LATER]
    router.path.write_text(json.dumps(found))
    done = router.restore()
    assert (done.rows, {each.reason for each in done.skipped}) == (4, {"gone"})
    assert router.state()[0][:-1] == before[2:]


def test_a_log_that_waits_beside_the_database_is_part_of_it(tmp_path: Path) -> None:
    """A router that was killed leaves its last rows in the write-ahead log."""
    router = Database(tmp_path)
    before = router.state()
    router.change(CORRECTIONS)
    there = tmp_path / "killed"
    there.mkdir()
    with closing(sqlite3.connect(router.path)) as alive:
        insert(alive, LATER)
        alive.commit()
        for each in sorted(tmp_path.glob("data.sqlite*")):
            shutil.copyfile(each, there / each.name)
    assert (there / "data.sqlite-wal").stat().st_size
    router.path = there / router.name
    assert router.restore().rows == 6
    rows, days = router.state()
    assert (rows[:-1], days, rows[-1]) == (*before, (bare(1, 2), 0.5))
