"""Whose a file is, who may read it, and what its names are stays as it was."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tallybook.backfill.ninerouter.backup import backups, record_beside
from tallybook.backfill.ninerouter.change import AppliedChanges
from tallybook.backfill.ninerouter.database import apply
from tallybook.backfill.ninerouter.document import apply_document, plan_document, restore_document
from tests.backfill.ninerouter.made import CORRECTIONS, database, document
from tests.backfill.ninerouter.test_database import plan

OTHER_USER, OTHER_GROUP = 12345, 23456


def change(path: Path) -> AppliedChanges:
    return apply_document(path, plan_document(path.read_bytes(), CORRECTIONS))


def rights(path: Path) -> tuple[int, int, int]:
    state = path.stat()
    return state.st_uid, state.st_gid, stat.S_IMODE(state.st_mode)


def test_a_linked_document_is_written_through_its_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target = document(tmp_path / "disk" / "kept.json")
    path = tmp_path / "usage.json"
    path.symlink_to("disk/kept.json")
    before = target.read_bytes()
    done = change(path)
    assert path.is_symlink()
    assert (target.read_bytes() != before, path.read_bytes()) == (True, target.read_bytes())
    # The copy lies beside the file itself, where it is found under either name.
    assert done.backup == tmp_path / "disk" / "kept.json.before-tallybook-1"
    assert done.backup.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["usage.json"]
    assert restore_document(path).rows == 6
    assert path.is_symlink()
    assert json.loads(path.read_bytes()) == json.loads(before)


def test_a_linked_database_is_written_through_its_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target = database(tmp_path / "disk" / "kept.sqlite")
    path = tmp_path / "data.sqlite"
    path.symlink_to(target)
    done = apply(path, plan(target))
    assert path.is_symlink()
    assert backups(path) == backups(target) == [done.backup]
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["data.sqlite"]


def test_other_names_of_a_document_keep_what_it_was_and_are_counted(tmp_path: Path) -> None:
    path = document(tmp_path / "usage.json")
    before = path.read_bytes()
    other = tmp_path / "other.json"
    other.hardlink_to(path)
    assert change(path).names == 1
    assert other.read_bytes() == before != path.read_bytes()
    assert restore_document(path).names == 0


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o400])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_mode_stays_whatever_the_umask(tmp_path: Path, mode: int, umask: int) -> None:
    path = document(tmp_path / "usage.json")
    path.chmod(mode)
    before = os.umask(umask)
    try:
        done = change(path)
    finally:
        os.umask(before)
    assert done.backup is not None
    for each in (path, done.backup, record_beside(done.backup)):
        assert stat.S_IMODE(each.stat().st_mode) == mode


@pytest.mark.skipif(not hasattr(os, "chown") or os.getuid() != 0, reason="only root gives away")
def test_owner_and_group_stay_also_of_the_copies(tmp_path: Path) -> None:
    kept = document(tmp_path / "usage.json"), database(tmp_path / "data.sqlite")
    for path in kept:
        os.chown(path, OTHER_USER, OTHER_GROUP)
        path.chmod(0o640)
    for path, done in zip(kept, (change(kept[0]), apply(kept[1], plan(kept[1]))), strict=True):
        assert done.backup is not None
        for each in (path, done.backup, record_beside(done.backup)):
            assert rights(each) == (OTHER_USER, OTHER_GROUP, 0o640), each


def test_a_copy_whose_owner_cannot_be_kept_is_for_its_maker_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = database(tmp_path / "data.sqlite")
    path.chmod(0o644)
    planned = plan(path)
    refuse_owner(monkeypatch, path)
    done = apply(path, planned)
    assert done.backup is not None
    assert stat.S_IMODE(done.backup.stat().st_mode) == 0o600


def test_a_document_whose_owner_cannot_be_kept_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = document(tmp_path / "usage.json")
    before, planned = path.read_bytes(), plan_document(path.read_bytes(), CORRECTIONS)
    refuse_owner(monkeypatch, path)
    with pytest.raises(Exception, match="owner cannot be kept"):
        apply_document(path, planned)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["usage.json"]


def refuse_owner(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """As for a user who may write into the folder of another one's file."""
    real = Path.stat

    def seen(each: Path, **options: bool) -> os.stat_result:
        state = real(each, **options)
        if each == path:
            state = os.stat_result([*state[:4], OTHER_USER, OTHER_GROUP, *state[6:]])
        return state

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "stat", seen)
    monkeypatch.setattr(os, "chown", refused)


def test_a_name_that_looks_like_a_pattern_has_its_own_backups(tmp_path: Path) -> None:
    one, other = document(tmp_path / "usage[12].json"), document(tmp_path / "usage1.json")
    change(one)
    assert (len(backups(one)), backups(other)) == (1, [])
    change(other)
    assert [len(backups(each)) for each in (one, other)] == [1, 1]
