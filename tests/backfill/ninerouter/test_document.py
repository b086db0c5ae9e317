"""What is proved is written into the old `usage.json` too, aside and then in its place."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tallybook.backfill.ninerouter.backup import backups
from tallybook.backfill.ninerouter.change import AppliedChanges
from tallybook.backfill.ninerouter.document import apply_document, plan_document, restore_document
from tallybook.errors import TallybookError
from tests.backfill.ninerouter.made import AFTER, CORRECTIONS, ROWS, days_of, document


def change(path: Path) -> AppliedChanges:
    return apply_document(path, plan_document(path.read_bytes(), CORRECTIONS))


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def test_rows_and_the_sums_of_their_days_are_corrected(tmp_path: Path) -> None:
    path = document(tmp_path / "usage.json")
    done = change(path)
    assert (done.rows, done.days, done.days_left) == (6, 4, [])
    rows = [
        values | {"tokens": AFTER[n][0], "cost": AFTER[n][3]} if n in AFTER else values
        for n, values in enumerate(ROWS, 1)
    ]
    after = read(path)
    assert after["history"] == rows
    assert after["dailySummary"] == days_of(rows, timedelta())
    assert list(after) == ["history", "totalRequestsLifetime", "dailySummary"]
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "usage.json",
        "usage.json.before-tallybook-1",
        "usage.json.changed-by-tallybook-1",
    ]


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    path = document(tmp_path / "usage.json")
    change(path)
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert change(path).rows == 0
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert len(backups(path)) == 1


def test_restoring_gives_the_rows_back_and_keeps_later_ones(tmp_path: Path) -> None:
    path = document(tmp_path / "usage.json")
    before = read(path)
    change(path)
    later = read(path)
    later["history"].append(ROWS[0] | {"timestamp": "2026-12-01T00:00:00.000Z"})
    path.write_text(json.dumps(later))
    restore_document(path)
    after = read(path)
    assert after["history"][:-1] == before["history"]
    assert after["history"][-1]["timestamp"] == "2026-12-01T00:00:00.000Z"
    assert after["dailySummary"] == before["dailySummary"]


def test_a_document_that_9router_wrote_meanwhile_is_left(tmp_path: Path) -> None:
    path = document(tmp_path / "usage.json")
    planned = plan_document(path.read_bytes(), CORRECTIONS)
    found = read(path)
    found["history"][2]["tokens"] = {"prompt_tokens": 1, "completion_tokens": 1}
    path.write_text(json.dumps(found))
    done = apply_document(path, planned)
    assert (done.rows, [(s.record, s.reason) for s in done.skipped]) == (5, [(3, "changed-since")])


def test_a_change_at_the_last_moment_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = document(tmp_path / "usage.json")
    planned = plan_document(path.read_bytes(), CORRECTIONS)
    monkeypatch.setattr("tallybook.backfill.ninerouter.document._mark", lambda _: object())
    content = path.read_bytes()
    with pytest.raises(TallybookError, match="changed meanwhile"):
        apply_document(path, planned)
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["usage.json"]


def test_texts_survive_whatever_they_hold(tmp_path: Path) -> None:
    rows = [ROWS[0], ROWS[1] | {"provider": "ü😀\u2028\n"}]
    path = document(tmp_path / "usage.json", rows)
    change(path)
    assert read(path)["history"][1]["provider"] == "ü😀\u2028\n"
    path.write_text(path.read_text().replace("\\n", "\\ud800"))
    restore_document(path)
    assert read(path)["history"][1]["provider"] == "ü😀\u2028\ud800"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"history": 1}', b'{"records": []}'])
def test_another_document_is_refused(content: bytes) -> None:
    with pytest.raises(TallybookError, match="not a document of 9router"):
        plan_document(content, CORRECTIONS)


def test_there_is_nothing_to_restore_without_a_backup(tmp_path: Path) -> None:
    with pytest.raises(TallybookError, match="no backup"):
        restore_document(document(tmp_path / "usage.json"))
