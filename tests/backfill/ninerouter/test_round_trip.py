"""What was written in place is read as the corrections said it, and needs no more of them."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl

from tallybook.backfill.ninerouter.change import Correction, PlannedChanges
from tallybook.backfill.ninerouter.database import apply, plan_changes, restore
from tallybook.backfill.propose import propose
from tallybook.derive.chain import derive
from tallybook.derive.corrections import apply as put_beside
from tests.built import built
from tests.rows_of_files import read_files
from tests.test_fixtures import FIXTURES

BUCKETS = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "unsplit_input_tokens",
    "output_tokens",
)
CASE = FIXTURES / "9router" / "database-details"


def read(path: Path) -> pl.DataFrame:
    return derive(read_files([(path, path.stat().st_size)]), None)


def corrections(rows: pl.DataFrame) -> list[Correction]:
    """What backfill proposes, with the record of each call."""
    places = rows.filter(pl.col("duplicate_of").is_null()).select("call_id", "record", "part")
    found = propose(rows).corrections.join(places, on="call_id")
    names = Correction.__dataclass_fields__
    return [
        Correction(**{name: value for name, value in row.items() if name in names})
        for row in found.iter_rows(named=True)
    ]


def counts(rows: pl.DataFrame) -> list[tuple[object, ...]]:
    calls = rows.filter(pl.col("kind") == "call", pl.col("part").is_null())
    return calls.sort("record").select("record", pl.col(BUCKETS).fill_null(0)).rows()


def plan(path: Path, rows: pl.DataFrame) -> PlannedChanges:
    with closing(sqlite3.connect(path)) as connection:
        return plan_changes(connection, corrections(rows))


def test_a_database_states_itself_what_stood_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite"
    shutil.copyfile(built(CASE) / "db" / "data.sqlite", path)
    rows = read(path)
    beside = put_beside(rows.lazy(), propose(rows).corrections).collect()
    assert apply(path, plan(path, rows)).rows == 12
    after = read(path)
    assert counts(after) == counts(beside)
    # The lifetime of cache writes is all that is still proposed; such rows have no place for it.
    assert plan(path, after).rows == []
    restore(path)
    assert counts(read(path)) == counts(rows)
