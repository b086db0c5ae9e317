"""What was written in place is read as the corrections said it, and needs no more of them."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl

from tallybook.backfill.ninerouter.change import Correction, PlannedChanges
from tallybook.backfill.ninerouter.database import apply, plan_changes, restore
from tallybook.derive.chain import derive
from tallybook.derive.corrections import apply as put_beside
from tests.backfill import test_upgraded as upgraded
from tests.backfill.pairs import propose
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
    names = Correction.__struct_fields__
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
    beside = put_beside(rows, propose(rows).corrections)
    assert apply(path, plan(path, rows)).rows == 12
    after = read(path)
    assert counts(after) == counts(beside)
    # The lifetime of cache writes is all that is still proposed; such rows have no place for it.
    assert plan(path, after).rows == []
    restore(path)
    assert counts(read(path)) == counts(rows)


def test_what_was_written_to_a_cache_is_no_more_known_in_place_than_it_was(tmp_path: Path) -> None:
    """The form has a 0 for it: of OpenAI's kind that says nothing, of Claude it would."""
    nested = {"prompt_tokens_details": {"cached_tokens": 22536}}
    of_openai = upgraded.row(
        "2026-11-30T01:26:27.490Z", "codex", upgraded.CHAT, upgraded.canonical(27840, 482, 0)
    )
    stripped = {"prompt_tokens": 4328, "completion_tokens": 483}
    of_claude = upgraded.row("2026-06-30T01:26:27.490Z", "claude", upgraded.MESSAGES, stripped)
    path = upgraded.database(
        tmp_path / "data.sqlite",
        [of_openai, of_claude],
        [
            upgraded.detail(
                of_openai, {"prompt_tokens": 27840, "completion_tokens": 482, **nested}
            ),
            upgraded.detail(of_claude, {**stripped, "cache_read_input_tokens": 22536}),
        ],
    )
    rows = read(path)
    planned = plan(path, rows)
    assert [(each.record, each.reason) for each in planned.skipped] == [(2, "not-whole")]
    assert apply(path, planned).rows == 1
    after = read(path).filter(pl.col("kind") == "call").sort("record")
    names = (*BUCKETS[:2], "cache_creation_input_tokens")
    assert after.select(names).rows() == [(5304, 22536, None), (4328, None, None)]
