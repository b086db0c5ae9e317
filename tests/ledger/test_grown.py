"""Logs that grew while a ledger knew them say the same as logs that are read at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from tallybook.report.fields import together
from tallybook.report.query import KEYS, Query
from tallybook.report.summary import answer, summarise
from tests.ledger.homes import document, opened

NOWHERE = Path("/nowhere")
STEPS = 3
GROUPINGS = [*((key,) for key in KEYS), ("day", "model"), ("thread", "model"), ("source", "caller")]


@pytest.fixture(scope="module")
def grown(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """All fixtures, and the ledger that has looked at them whenever their logs had a third more."""
    folder, ledger = (tmp_path_factory.mktemp(name) for name in ("grown", "ledger"))
    shutil.copytree(mixed, folder, dirs_exist_ok=True)
    whole = {path: path.read_bytes() for path in sorted(folder.rglob("*.jsonl"))}
    for step in range(1, STEPS + 1):
        for path, content in whole.items():
            lines = content.splitlines(keepends=True)
            path.write_bytes(b"".join(lines[: len(lines) * step // STEPS]))
        with opened(NOWHERE, ledger, [folder]) as reading:
            document(reading)
            assert step == 1 or reading.counts.continued > len(whole) // 2
    return folder, ledger


def test_every_row_is_that_of_a_reading_at_once(grown: tuple[Path, Path]) -> None:
    folder, ledger = grown
    found = []
    for kept in (None, ledger):
        with opened(NOWHERE, kept, [folder]) as reading:
            found.append(reading.rows.drop("component"))
    assert found[0].equals(found[1].select(found[0].columns), null_equal=True)


def test_by_whatever_it_is_grouped_it_is_the_same_money(grown: tuple[Path, Path]) -> None:
    folder, ledger = grown
    with opened(NOWHERE, ledger, [folder]) as reading:
        reports = [answer(reading, Query(by=by), {}) for by in GROUPINGS]
        whole = summarise(reading.rows, Query())
    for report in reports:
        assert report.totals == whole.totals
        added = together(report.rows)
        assert {name: added[name] for name in whole.totals} == whole.totals


def test_what_is_kept_is_read_by_its_columns_and_in_whatever_order(
    grown: tuple[Path, Path],
) -> None:
    folder, ledger = grown
    columns = ["path", "record", "part", "kind", "call_id", "cost", "model"]
    with opened(NOWHERE, ledger, [folder]) as reading:
        found = pl.concat(reading.each(lambda rows: rows.lazy().select(columns).collect()))
        assert found.columns == columns
        assert found.sort(columns).equals(reading.rows.select(columns).sort(columns))
