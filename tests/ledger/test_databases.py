"""A database is read again when it changes; rows that its owner or a cap took out of it stay."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import replace

from tallybook.ledger.open import with_usage
from tallybook.ledger.upkeep import status
from tallybook.schema import Reported
from tallybook.sources import FileFacts, Location, Source, sources
from tallybook.sources.contract import never
from tallybook.tables import table
from tests.backfill import test_upgraded as upgraded
from tests.ledger.homes import asked, coverage, document, told, totals


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
    locations=(Location(None, ("~/router",)),),
    patterns=("data*.sqlite",),
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
    path = tmp_path / "router" / "data-router.sqlite"
    path.parent.mkdir()
    return path


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


def said(path: Path, ledger: Path | None) -> str:
    """What a report on the known places says; the database lies in one of them."""
    return told(path.parent.parent, ledger)


def tokens(path: Path, ledger: Path | None) -> int | None:
    found: int | None = totals(said(path, ledger))["input_tokens"]
    return found


def test_rows_that_were_taken_out_stay(path: Path, change: Change, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    assert tokens(path, ledger) == 100
    change("DELETE FROM calls WHERE id <= 2", "INSERT INTO calls VALUES (5, 'e', 50)")
    assert (tokens(path, ledger), tokens(path, None)) == (150, 120)
    change("DELETE FROM calls WHERE id = 3", "INSERT INTO calls VALUES (6, 'f', 60)")
    assert (tokens(path, ledger), tokens(path, None)) == (210, 150)
    found = coverage(said(path, ledger))
    assert (found["files"], found["gone"], found["removed_calls"]) == (1, 0, 3)
    path.unlink()
    assert tokens(path, ledger) == 210


@pytest.mark.parametrize("is_there", [True, False])
def test_rows_that_were_taken_out_stay_where_the_catalogue_is_lost(
    path: Path, change: Change, tmp_path: Path, *, is_there: bool
) -> None:
    ledger = tmp_path / "ledger"
    tokens(path, ledger)
    change("DELETE FROM calls WHERE id <= 2", "INSERT INTO calls VALUES (5, 'e', 50)")
    tokens(path, ledger)
    change("DELETE FROM calls WHERE id = 3", "INSERT INTO calls VALUES (6, 'f', 60)")
    tokens(path, ledger)
    if not is_there:
        path.unlink()
    (ledger / "catalog.sqlite").unlink()
    assert [tokens(path, ledger) for _ in range(2)] == [210, 210]


def test_with_its_path_a_database_is_what_it_holds_now(
    path: Path, change: Change, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    tokens(path, ledger)
    change("DELETE FROM calls WHERE id <= 2")
    for named in (path, path.parent):
        found = told(tmp_path, ledger, [named])
        assert found == told(tmp_path, None, [named])
        assert (totals(found)["input_tokens"], coverage(found)["removed_calls"]) == (70, 0)
    everything = with_usage(asked(tmp_path, ledger, everything=True), document)
    assert totals(everything)["input_tokens"] == 100


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


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch, path: Path) -> Callable[[], Any]:
    """In its context the program is an older one, which named calls in another way."""

    @contextmanager
    def older() -> Iterator[None]:
        def query(connection: sqlite3.Connection, facts: FileFacts) -> Iterator[pa.Table]:
            for rows in _query(connection, facts):
                names = [f"older {name}" for name in rows["identity"].to_pylist()]
                place = rows.schema.get_field_index("identity")
                yield rows.set_column(place, rows.schema.field(place), pa.array(names))

        with monkeypatch.context() as patch:
            patch.setattr("tallybook.ledger.compare.reading_digest", lambda: "older")
            patch.setitem(sources(), SOURCE.name, replace(SOURCE, query=query))
            yield

    return older


def test_rows_that_other_code_named_otherwise_are_not_taken_for_deleted_ones(
    path: Path, change: Change, tmp_path: Path, older: Callable[[], Any]
) -> None:
    with older():
        assert tokens(path, tmp_path / "ledger") == 100
    change("UPDATE calls SET tokens = 25 WHERE id = 2")
    assert tokens(path, tmp_path / "ledger") == tokens(path, None) == 105


def test_rows_that_were_taken_out_stay_and_are_said_to_be_of_an_older_reading(
    path: Path, change: Change, tmp_path: Path, older: Callable[[], Any]
) -> None:
    ledger = tmp_path / "ledger"
    with older():
        tokens(path, ledger)
        change("DELETE FROM calls WHERE id = 4")
        assert tokens(path, ledger) == 100
        change("DELETE FROM calls WHERE id = 1", "INSERT INTO calls VALUES (4, 'd', 50)")
    for _ in range(2):
        assert tokens(path, ledger) == 150
        found = coverage(said(path, ledger))
        assert (found["older_files"], found["older_calls"], found["removed_calls"]) == (0, 2, 2)
    change("DELETE FROM calls WHERE id = 2")
    assert tokens(path, ledger) == 150
    assert coverage(said(path, ledger))["older_calls"] == 2


def test_a_database_that_was_moved_is_the_one_that_it_was(
    path: Path, change: Change, tmp_path: Path, older: Callable[[], Any]
) -> None:
    ledger, other = tmp_path / "ledger", path.with_name("other") / path.name
    with older():
        tokens(path, ledger)
        change("DELETE FROM calls WHERE id = 1", "INSERT INTO calls VALUES (7, 'g', 70)")
        assert tokens(path, ledger) == 170
    other.parent.mkdir()
    path.rename(other)
    text = said(path, ledger)
    assert (totals(text)["input_tokens"], coverage(text)["files"]) == (170, 1)
    assert status(ledger)[1]["files"] == 1


def test_a_copy_that_comes_to_lie_beside_a_database_is_heeded(tmp_path: Path) -> None:
    """Nothing of the database itself changes by it."""
    home, ledger = tmp_path / "home", tmp_path / "ledger"
    stamp = "2026-11-30T18:00:00.000Z"
    here = [upgraded.row(stamp, upgraded.NODE, upgraded.RESPONSES, upgraded.canonical(6100, 20, 0))]
    path = upgraded.database(home / ".9router/db/data.sqlite", here, (), {"appVersion": "0.5.69"})
    assert totals(told(home, ledger))["unknown"]["cached_input_tokens"] == 1
    (path.parent / "backups" / upgraded.BACKUP).mkdir(parents=True)
    found = told(home, ledger)
    assert "cached_input_tokens" not in totals(found)["unknown"]
    assert totals(found)["uncached_input_tokens"] == 6100


def test_a_copy_beside_a_database_that_becomes_whole_is_heeded(tmp_path: Path) -> None:
    """Its last row is earlier than that of the database, which the later build wrote, then.

    Until then its folder tells the time, in a zone that nobody knows.
    """
    home, ledger = tmp_path / "home", tmp_path / "ledger"
    early, late = (
        upgraded.row(time, upgraded.NODE, upgraded.RESPONSES, upgraded.canonical(tokens, 20, 0))
        for time, tokens in (("2026-11-30T09:00:00.000Z", 500), ("2026-11-30T18:00:00.000Z", 6100))
    )
    upgraded.database(home / ".9router/db/data.sqlite", [early, late], (), {"appVersion": "0.5.69"})
    copy = home / ".9router/db/backups/schema-1-to-2-0.5.69-20261130-120000/data.sqlite"
    upgraded.database(copy, [early], (), {"appVersion": "0.5.59"})
    content = copy.read_bytes()
    copy.unlink()
    assert totals(told(home, ledger))["unknown"]["cached_input_tokens"] == 2
    copy.write_bytes(content[:100])
    assert "unreadable" in coverage(told(home, ledger))["problems"]
    copy.write_bytes(content)
    found = told(home, ledger)
    assert totals(found)["unknown"]["cached_input_tokens"] == 1
    assert totals(found)["uncached_input_tokens"] == 6100
