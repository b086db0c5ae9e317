"""What is proved is written into a database of 9router: all or nothing, once, and back again."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tallybook.backfill.ninerouter.backup import backups
from tallybook.backfill.ninerouter.change import AppliedChanges, Correction, PlannedChanges
from tallybook.backfill.ninerouter.database import apply, plan_changes, restore
from tallybook.errors import TallybookError
from tests.backfill.ninerouter.made import (
    AFTER,
    CORRECTIONS,
    KEY,
    ROWS,
    bare,
    canonical,
    database,
    days_of,
    insert,
    output,
    prompt,
    row,
)

Stored = list[tuple[Any, ...]]

WRITER = """
import sqlite3, sys, time
router = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    router.execute("BEGIN IMMEDIATE")
    router.execute("INSERT INTO usageHistory (timestamp, provider, model, promptTokens, tokens)"
                   " VALUES ('2026-10-01T00:00:00.000Z', 'p', 'm', ?, '{}')", (number,))
    router.execute("COMMIT")
    time.sleep(0.002)
print("done", flush=True)
"""
HOLDER = """
import sqlite3, sys, time
router = sqlite3.connect(sys.argv[1], isolation_level=None)
router.execute("BEGIN IMMEDIATE")
print("ready", flush=True)
time.sleep(60)
"""


def plan(path: Path, corrections: list[Correction] | None = None) -> PlannedChanges:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return plan_changes(connection, CORRECTIONS if corrections is None else corrections)


def change(path: Path, corrections: list[Correction] | None = None) -> AppliedChanges:
    return apply(path, plan(path, corrections))


def stored(path: Path) -> Stored:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM usageHistory ORDER BY id").fetchall()


def days(path: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT dateKey, data FROM usageDaily").fetchall()
    return {key: json.loads(data) for key, data in found}


def corrected() -> list[dict[str, Any]]:
    """The rows as they are to be."""
    return [
        values | {"tokens": AFTER[n][0], "cost": AFTER[n][3]} if n in AFTER else values
        for n, values in enumerate(ROWS, 1)
    ]


def test_rows_become_what_9router_would_write_today(tmp_path: Path) -> None:
    path = database(tmp_path / "data.sqlite")
    done = change(path)
    assert (done.rows, done.days, done.days_left, done.skipped) == (6, 4, [], [])
    for number, tokens, prompts, completions, cost in (
        (r[0], json.loads(r[11]), r[7], r[8], r[9]) for r in stored(path) if r[0] in AFTER
    ):
        assert (tokens, prompts, completions) == AFTER[number][:3]
        assert cost == pytest.approx(AFTER[number][3], abs=1e-12)


def test_what_is_not_corrected_stays_to_the_letter(tmp_path: Path) -> None:
    path = database(tmp_path / "data.sqlite")
    before = stored(path)
    change(path)
    after = stored(path)
    assert after[6] == before[6]
    kept = [0, 1, 2, 3, 4, 5, 6, 10, 12]
    assert [[r[c] for c in kept] for r in after] == [[r[c] for c in kept] for r in before]


@pytest.mark.parametrize("hours", [0, 2, -7, 5.5, 13])
def test_the_sums_of_the_days_follow_in_whatever_zone_they_are(
    tmp_path: Path, hours: float
) -> None:
    path = database(tmp_path / "data.sqlite", offset=timedelta(hours=hours))
    done = change(path)
    assert done.days_left == []
    assert days(path) == days_of(corrected(), timedelta(hours=hours))


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    path = database(tmp_path / "data.sqlite")
    change(path)
    content = stored(path), days(path)
    again = plan(path)
    assert again.rows == []
    assert apply(path, again).backup is None
    assert len(backups(path)) == 1
    assert (stored(path), days(path)) == content


def test_the_backup_is_whole_and_as_secret_as_the_original(tmp_path: Path) -> None:
    path = database(tmp_path / "data.sqlite")
    path.chmod(0o600)
    before = stored(path)
    done = change(path)
    assert done.backup is not None
    assert done.backup.parent == tmp_path
    assert stored(done.backup) == before
    assert stat.S_IMODE(done.backup.stat().st_mode) == 0o600


def test_restoring_gives_everything_back(tmp_path: Path) -> None:
    path = database(tmp_path / "data.sqlite")
    before = stored(path), days(path)
    done = change(path)
    back = restore(path)
    assert (back.rows, back.backup) == (done.rows, done.backup)
    assert stored(path) == before[0]
    # Sums of 9router that knew no cached tokens know them now, as none.
    assert days(path) == before[1]
    assert restore(path).rows == 0


def test_what_came_since_stays_when_the_rest_is_restored(tmp_path: Path) -> None:
    path = database(tmp_path / "data.sqlite")
    before = stored(path)
    change(path)
    with closing(sqlite3.connect(path)) as router:
        insert(router, row("2026-10-01T00:00:00.000Z", ("p", "m"), bare(1, 2), 0.5))
        router.commit()
    restore(path)
    assert stored(path)[:-1] == before
    assert stored(path)[-1][1] == "2026-10-01T00:00:00.000Z"


def test_corrections_can_be_made_again_after_restoring(tmp_path: Path) -> None:
    path = database(tmp_path / "data.sqlite")
    change(path)
    after = stored(path), days(path)
    restore(path)
    change(path)
    assert (stored(path), days(path)) == after
    assert [each.name[-2:] for each in backups(path)] == ["-1", "-2"]


def test_9router_goes_on_writing_meanwhile(tmp_path: Path) -> None:
    path = database(tmp_path / "data.sqlite")
    command = [sys.executable, "-c", WRITER, str(path), "150"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as router:
        assert router.stdout is not None
        assert router.stdout.readline() == "ready\n"
        rounds = 0
        deadline = time.monotonic() + 60
        while (router.poll() is None or not rounds) and time.monotonic() < deadline:
            assert change(path).rows == 6
            assert restore(path).rows == 6
            rounds += 1
        assert router.stdout.readline() == "done\n"
    change(path)
    rows = stored(path)
    assert [r[7] for r in rows[7:]] == list(range(150))
    assert [r[7] for r in rows[:6]] == [AFTER[n][1] for n in sorted(AFTER)]


def test_a_busy_database_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallybook.backfill.ninerouter.database._BUSY_SECONDS", 0.1)
    path = database(tmp_path / "data.sqlite")
    before = stored(path)
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as router:
        assert router.stdout is not None
        assert router.stdout.readline() == "ready\n"
        with pytest.raises(TallybookError, match="locked"):
            change(path)
        router.kill()
    assert stored(path) == before
    assert backups(path) == []


def test_a_row_that_changed_since_the_plan_is_left(tmp_path: Path) -> None:
    path = database(tmp_path / "data.sqlite")
    planned = plan(path)
    with closing(sqlite3.connect(path)) as router:
        router.execute("UPDATE usageHistory SET tokens = '{}' WHERE id = 3")
        router.commit()
    done = apply(path, planned)
    assert done.rows == 5
    assert [(each.record, each.reason) for each in done.skipped] == [(3, "changed-since")]
    assert stored(path)[2][11] == "{}"


def test_an_error_in_the_middle_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = database(tmp_path / "data.sqlite")
    before = stored(path), days(path)

    def fail(*_: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr("tallybook.backfill.ninerouter.database.put_record", fail)
    with pytest.raises(RuntimeError):
        change(path)
    assert (stored(path), days(path)) == before
    assert backups(path) == []


@pytest.mark.parametrize(
    "script",
    [
        "ALTER TABLE usageHistory RENAME COLUMN promptTokens TO prompts",
        "DROP TABLE usageDaily",
        "DROP TABLE usageHistory",
    ],
)
def test_an_unknown_layout_is_refused(tmp_path: Path, script: str) -> None:
    path = database(tmp_path / "data.sqlite")
    with closing(sqlite3.connect(path)) as other:
        other.execute(script)
        other.commit()
    with pytest.raises(TallybookError, match="not laid out as known"):
        change(path)
    assert backups(path) == []


def reasons(path: Path, *corrections: Correction) -> list[tuple[int, str]]:
    found = plan(path, list(corrections))
    assert found.rows == []
    return [(each.record, each.reason) for each in found.skipped]


def test_what_does_not_fit_is_left_with_the_reason(tmp_path: Path) -> None:
    rows = [*ROWS, row("2026-09-01T00:00:00.000Z", ("p", "m"), "{", 0.1)]  # type: ignore[arg-type]
    path = database(tmp_path / "data.sqlite", ROWS)
    with closing(sqlite3.connect(path)) as router:
        insert(router, rows[-1])
        router.commit()
    unsplit = Correction(record=3, direction="input", unsplit_input_tokens=27985)
    assert reasons(path, unsplit) == [(3, "not-whole")]
    assert reasons(path, prompt(99, 1, 2)) == [(99, "gone")]
    assert reasons(path, prompt(3, 1, 2, 0, "-/-/-/-/5")) == [(3, "changed-since")]
    assert reasons(path, output(3, 9, 1, "8/-")) == [(3, "changed-since")]
    assert reasons(path, prompt(8, 1, 2)) == [(8, "unreadable")]
    elsewhere = Correction(record=3, part="tokens", direction="output", output_tokens=1)
    assert reasons(path, elsewhere) == [(3, "no-usage-row")]


def test_a_cost_of_unknown_rates_stays(tmp_path: Path) -> None:
    rows = [row("2026-06-28T09:00:00.100Z", ("node", "gpt-5"), bare(15360, 900), 1.5)]
    path = database(tmp_path / "data.sqlite", rows)
    done = change(path, [prompt(1, 1280, 14080)])
    assert [(each.record, each.reason) for each in done.skipped] == [(1, "cost-unknown")]
    assert stored(path)[0][9] == 1.5
    assert json.loads(stored(path)[0][11]) == canonical(15360, 900, 14080)


def test_the_user_s_own_rates_are_found_by_the_cost_they_made(tmp_path: Path) -> None:
    # 1000 x 2 + 100 x 4 = 2400; then 400 x 2 + 600 x 0.5 + 100 x 4 = 1500.
    rows = [row("2026-06-28T09:00:00.100Z", ("openai", "gpt-5"), bare(1000, 100), 0.0024)]
    path = database(tmp_path / "data.sqlite", rows)
    with closing(sqlite3.connect(path)) as router:
        text = '{"gpt-5": {"input": 2, "output": 4, "cached": 0.5}}'
        router.execute("INSERT INTO kv VALUES ('pricing', 'openai', ?)", (text,))
        router.commit()
    change(path, [prompt(1, 400, 600)])
    assert stored(path)[0][9] == pytest.approx(0.0015, abs=1e-12)


def test_a_row_without_cost_is_given_that_of_its_day(tmp_path: Path) -> None:
    short = {"input": 26380, "output": 410, "cacheRead": 24000, "cacheCreation": 2360}
    rows = [
        row("2026-02-05T21:40:11.003Z", ("claude", "claude-sonnet-4-5-20250929"), short, 0),
        row("2026-02-05T21:41:11.003Z", ("node", "our-model"), bare(10, 5), 0),
    ]
    path = database(tmp_path / "data.sqlite", rows)
    change(path, [prompt(1, 20, 24000, 2360), prompt(2, 4, 6)])
    first, second = stored(path)
    assert json.loads(first[11]) == canonical(26380, 410, 24000, 2360)
    # 20 x 3 + 24000 x 0.3 + 2360 x 3.75 + 410 x 15 = 22260
    assert first[9] == pytest.approx(0.02226, abs=1e-12)
    assert (json.loads(second[11]), second[9]) == (canonical(10, 5, 6), 0)


def test_a_stream_that_was_written_twice_keeps_its_two_records_together(tmp_path: Path) -> None:
    zeros = {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "reasoning_tokens": 0}
    rows = [
        row("2026-05-20T10:00:10.414Z", ("openai", "gpt-5"), bare(4000, 20, **zeros), 0.01224,
            endpoint=None),
        row("2026-05-20T10:00:10.412Z", ("openai", "gpt-5"), bare(4000, 20), 0.01224),
    ]  # fmt: skip
    path = database(tmp_path / "data.sqlite", rows)
    change(path, [prompt(1, 1000, 3000, 0, "-/-/-/-/4000")])
    first, second = stored(path)
    twin = bare(4000, 20, **(zeros | {"cache_read_input_tokens": 3000}))
    assert json.loads(first[11]) == twin
    # 1000 x 3 + 3000 x 1.5 + 20 x 12 = 7740
    assert first[9] == pytest.approx(0.00774, abs=1e-12)
    assert json.loads(second[11]) == bare(4000, 20)
    assert change(path, [prompt(1, 1000, 3000, 0, "-/-/-/-/4000")]).rows == 0
    assert reasons(path, prompt(1, 1, 3000)) == [(1, "written-twice")]


def test_a_row_that_was_read_otherwise_is_written_so_that_it_is_not(tmp_path: Path) -> None:
    """By its keys the prompt would not hold the cache; the detail says that it does."""
    who = ("node", "gpt-5")
    tokens = bare(25239, 2921, cache_read_input_tokens=13209, cache_creation_input_tokens=0)
    path = database(
        tmp_path / "data.sqlite", [row("2026-02-22T12:30:00.001Z", who, tokens, 0.0915315)]
    )
    assert change(path, [prompt(1, 12030, 13209, 0, "25239/13209/0/-/0")]).rows == 1
    assert json.loads(stored(path)[0][11]) == canonical(25239, 2921, 13209)


def test_days_that_cannot_be_told_are_left_and_named(tmp_path: Path) -> None:
    path = database(tmp_path / "data.sqlite")
    with closing(sqlite3.connect(path)) as router:
        # As after a cap on the history: the sums count more than there is.
        for key, data in days(path).items():
            data["requests"] += 1
            update = "UPDATE usageDaily SET data = ? WHERE dateKey = ?"
            router.execute(update, (json.dumps(data), key))
        router.commit()
    before = days(path)
    done = change(path)
    assert (done.rows, done.days) == (6, 0)
    # The 21st of August holds no changed row in any zone.
    left = ["2026-06-28", "2026-06-29", "2026-07-20", "2026-08-20"]
    assert done.days_left == [(day, "other-rows") for day in left]
    assert days(path) == before


def test_no_secret_is_said(tmp_path: Path) -> None:
    path = database(tmp_path / "data.sqlite")
    with closing(sqlite3.connect(path)) as router:
        router.execute("DROP TABLE usageDaily")
        router.commit()
    with pytest.raises(TallybookError) as error:
        change(path)
    assert KEY not in f"{error.value} {error.value.hint}"


def test_there_is_nothing_to_restore_without_a_backup(tmp_path: Path) -> None:
    with pytest.raises(TallybookError, match="no backup"):
        restore(database(tmp_path / "data.sqlite"))


def test_a_damaged_backup_is_not_put_back(tmp_path: Path) -> None:
    path = database(tmp_path / "data.sqlite")
    done = change(path)
    assert done.backup is not None
    content = bytearray(done.backup.read_bytes())
    content[4096 * 2 : 4096 * 5] = b"\xff" * 4096 * 3
    done.backup.write_bytes(content)
    after = stored(path)
    with pytest.raises(TallybookError):
        restore(path)
    assert stored(path) == after


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)
    database(path.with_name("data.sqlite.before-tallybook-1"))
    with pytest.raises(TallybookError, match="not a database"):
        restore(path)
