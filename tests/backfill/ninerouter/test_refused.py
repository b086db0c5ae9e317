"""A database in which a change would change more than was planned is left as it is."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tallybook.backfill.ninerouter.backup import backups
from tallybook.backfill.ninerouter.change import AppliedChanges
from tallybook.backfill.ninerouter.database import apply, plan_changes, restore
from tallybook.errors import TallybookError
from tests.backfill.ninerouter.made import CORRECTIONS, SCHEMA, database

TRIGGER = """
CREATE TABLE kept (old TEXT);
CREATE TRIGGER keep AFTER UPDATE ON usageHistory BEGIN INSERT INTO kept VALUES (old.tokens); END
"""
OTHER_CASE = "CREATE TRIGGER none BEFORE UPDATE ON USAGEDAILY BEGIN SELECT RAISE(IGNORE); END"
VIEW = "CREATE VIEW newest AS SELECT * FROM UsageHistory ORDER BY timestamp DESC LIMIT 100"
IS_VIEW = """
ALTER TABLE usageHistory RENAME TO rows;
CREATE VIEW usageHistory AS SELECT * FROM rows;
CREATE TRIGGER written INSTEAD OF UPDATE ON usageHistory BEGIN DELETE FROM rows; END
"""


def change(path: Path) -> AppliedChanges:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        planned = plan_changes(connection, CORRECTIONS)
    return apply(path, planned)


def run(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def dumped(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (TRIGGER, "usageHistory has a trigger, keep"),
        (OTHER_CASE, "USAGEDAILY has a trigger, none"),
        (VIEW, "a view on the tables, newest"),
        (IS_VIEW, "usageHistory"),
    ],
)
def test_triggers_and_views_on_the_tables_are_refused_before_anything_is_written(
    tmp_path: Path, script: str, words: str
) -> None:
    path = database(tmp_path / "data.sqlite")
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        planned = plan_changes(connection, CORRECTIONS)
    run(path, script)
    before = dumped(path)
    with pytest.raises(TallybookError, match=words) as error:
        apply(path, planned)
    assert "Nothing was changed" in error.value.hint
    with pytest.raises(TallybookError, match=words):
        change(path)
    assert dumped(path) == before
    assert backups(path) == []


def test_a_trigger_that_came_since_keeps_a_backup_from_being_put_back(tmp_path: Path) -> None:
    path = database(tmp_path / "data.sqlite")
    change(path)
    run(path, TRIGGER)
    before = dumped(path)
    with pytest.raises(TallybookError, match="has a trigger"):
        restore(path)
    assert dumped(path) == before


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TRIGGER other AFTER UPDATE ON kv BEGIN DELETE FROM settings; END",
        "CREATE VIEW set_by_user AS SELECT * FROM settings",
    ],
)
def test_what_concerns_other_tables_only_is_no_reason(tmp_path: Path, script: str) -> None:
    path = database(tmp_path / "data.sqlite")
    run(path, script)
    assert change(path).rows == 6


def test_where_a_row_would_push_another_out_nothing_is_changed(tmp_path: Path) -> None:
    """Rows 3 and 5 come to state the same, which this table keeps one row of."""
    path = tmp_path / "data.sqlite"
    made = database(tmp_path / "made.sqlite")
    unique = SCHEMA.replace(
        "status TEXT, tokens TEXT", "status TEXT, tokens TEXT UNIQUE ON CONFLICT REPLACE"
    )
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(unique)
        connection.execute("ATTACH ? AS made", (str(made),))
        for table in ("_meta", "usageHistory", "usageDaily"):
            connection.execute(f"INSERT INTO {table} SELECT * FROM made.{table}")  # noqa: S608
        connection.commit()
    without_reasoning = [each for each in CORRECTIONS if each.direction == "input"]
    before = dumped(path)
    with closing(sqlite3.connect(path)) as connection:
        planned = plan_changes(connection, without_reasoning)
    assert len(planned.rows) == 6
    with pytest.raises(TallybookError, match="other rows than the planned ones"):
        apply(path, planned)
    assert dumped(path) == before
    assert backups(path) == []


def test_a_value_of_another_kind_costs_its_row_only(tmp_path: Path) -> None:
    """A column takes any value: text for a number, bytes that are no text."""
    path = database(tmp_path / "data.sqlite")
    run(path, "UPDATE usageHistory SET promptTokens = 'many' WHERE id = 1")
    run(path, "UPDATE usageHistory SET model = CAST(x'ff' AS TEXT) WHERE id = 2")
    run(path, "UPDATE usageHistory SET timestamp = CAST(x'32ff' AS TEXT) WHERE id = 7")
    done = change(path)
    assert (done.rows, done.skipped) == (4, [(1, "unreadable"), (2, "unreadable")])


def test_counters_of_a_day_that_are_none_stay_as_they_are(tmp_path: Path) -> None:
    path = database(tmp_path / "data.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        select = "SELECT data FROM usageDaily WHERE dateKey = '2026-07-20'"
        day = json.loads(*connection.execute(select).fetchone())
        day["byModel"]["of another kind"] = 5
        day["byEndpoint"] = dict.fromkeys(day["byEndpoint"], "�")
        day["byAccount"] = []
        values = (json.dumps(day), "2026-07-20")
        connection.execute("UPDATE usageDaily SET data = ? WHERE dateKey = ?", values)
        connection.commit()
        assert change(path).days == 4
        after = json.loads(*connection.execute(select).fetchone())
    assert after["byModel"]["of another kind"] == 5
    assert (after["byEndpoint"], after["byAccount"]) == (day["byEndpoint"], [])
    # 849 x 1.75 + 27136 x 0.175 + 180 x 14 = 8754.55
    assert after["byProvider"]["codex"]["cost"] == pytest.approx(0.00875455, abs=1e-12)
