"""A database is read again when it changes; rows that its owner or a cap took out of it stay."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tallybook.schema import Reported
from tallybook.sources import FileFacts, Source, sources
from tallybook.sources.contract import never
from tallybook.sources.rows import table
from tests.ledger.homes import coverage, told, totals


def _query(connection: sqlite3.Connection, _: FileFacts) -> Iterator[pa.Table]:
    found = connection.execute("SELECT id, name, tokens FROM calls ORDER BY id").fetchall()
    yield table(
        [
            Reported(
                record=number,
                identity=name,
                model="gpt-5.2",
                dialect="openai",
                reported_input_tokens=tokens,
                reported_cached_tokens=0,
                reported_output_tokens=1,
            )
            for number, name, tokens in found
        ]
    )


def _nothing(*_: Any) -> Any:
    raise AssertionError


SOURCE = Source(
    name="made-router",
    title="A router of these tests",
    locations=(),
    patterns=("router.sqlite",),
    sniff=never,
    begin=_nothing,
    read=_nothing,
    finish=_nothing,
    recognise=lambda tables: "calls" in tables,
    query=_query,
)
Change = Callable[..., None]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(sources(), SOURCE.name, SOURCE)
    return tmp_path / "router.sqlite"


@pytest.fixture
def change(path: Path) -> Change:
    def change(*statements: str) -> None:
        with closing(sqlite3.connect(path)) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()

    change(
        "CREATE TABLE calls (id INTEGER PRIMARY KEY, name TEXT, tokens INTEGER)",
        "INSERT INTO calls VALUES (1, 'a', 10), (2, 'b', 20), (3, 'c', 30), (4, NULL, 40)",
    )
    return change


def tokens(path: Path, ledger: Path | None) -> int | None:
    found: int | None = totals(told(path.parent, ledger, [path]))["input_tokens"]
    return found


def test_rows_that_were_taken_out_stay(path: Path, change: Change, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    assert tokens(path, ledger) == 100
    change("DELETE FROM calls WHERE id <= 2", "INSERT INTO calls VALUES (5, 'e', 50)")
    assert (tokens(path, ledger), tokens(path, None)) == (150, 120)
    change("DELETE FROM calls WHERE id = 3", "INSERT INTO calls VALUES (6, 'f', 60)")
    assert (tokens(path, ledger), tokens(path, None)) == (210, 150)
    assert coverage(told(path.parent, ledger, [path]))["files"] == 1
    path.unlink()
    assert tokens(path.parent / "", ledger) == 210


def test_a_row_that_was_changed_counts_as_it_is_now(
    path: Path, change: Change, tmp_path: Path
) -> None:
    tokens(path, tmp_path / "ledger")
    change("UPDATE calls SET tokens = 25 WHERE id = 2", "UPDATE calls SET tokens = 45 WHERE id = 4")
    assert tokens(path, tmp_path / "ledger") == tokens(path, None) == 110


def test_rows_that_were_renumbered_are_the_same(path: Path, change: Change, tmp_path: Path) -> None:
    tokens(path, tmp_path / "ledger")
    change("UPDATE calls SET id = id + 100")
    assert tokens(path, tmp_path / "ledger") == tokens(path, None) == 100


def test_a_place_that_is_used_again_is_another_call(
    path: Path, change: Change, tmp_path: Path
) -> None:
    tokens(path, tmp_path / "ledger")
    change("DELETE FROM calls", "INSERT INTO calls VALUES (1, 'x', 7)")
    assert tokens(path, tmp_path / "ledger") == 7 + 100


def test_rows_in_the_write_ahead_log_are_seen_when_they_come(
    path: Path, change: Change, tmp_path: Path
) -> None:
    change("PRAGMA journal_mode = WAL")
    tokens(path, tmp_path / "ledger")
    with closing(sqlite3.connect(path)) as database:
        database.execute("INSERT INTO calls VALUES (7, 'g', 70)")
        database.commit()
        assert tokens(path, tmp_path / "ledger") == 170
