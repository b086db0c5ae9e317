"""Rows of a large file that are derived in stretches are the same as when derived together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tallybook.backfill.plan import make_plan
from tallybook.ledger import keys, settling
from tallybook.ledger import reading as module
from tallybook.ledger.manifest import Segment
from tallybook.ledger.reading import Reading
from tallybook.ledger.rows import StoredRows
from tallybook.ledger.store import Store
from tallybook.ledger.stretches import cut_places, stretches
from tallybook.schema import RESPONSE, SUM, SUMMARY
from tallybook.tables import READ
from tests.backfill.database import write
from tests.backfill.history import history
from tests.ledger.homes import document, opened
from tests.ledger.rows import entry_of
from tests.reported import reported

NOWHERE = Path("/nowhere")
WHOLE = 10**9


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made history of a router as one database; details lie behind all rows of usage."""
    folder = tmp_path_factory.mktemp("router")
    write(folder / "data.sqlite", history(700, seed=3))
    return folder


def rows(*paths: Path, ledger: Path | None = None) -> pl.DataFrame:
    with opened(NOWHERE, ledger, paths) as reading:
        return reading.rows.drop("component")


def test_all_fixtures_are_derived_alike_and_in_one_order(
    read: Reading, whole: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", 30)
    cut = replace(read)
    assert any(each.is_stretch for each in cut.components())
    assert whole.equals(cut.rows.drop("component"), null_equal=True)


def test_single_rows_of_a_source_are_derived_alike(
    mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", WHOLE)
    some = sorted((mixed / "9router").iterdir())[::3]
    whole = rows(*some)
    monkeypatch.setattr(module, "BATCH_ROWS", 1)
    assert whole.equals(rows(*some), null_equal=True)


def test_a_database_is_cut_and_derived_alike_and_kept(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", WHOLE)
    whole = rows(database)
    monkeypatch.setattr(module, "BATCH_ROWS", 100)
    with opened(NOWHERE, tmp_path / "ledger", [database]) as reading:
        cut = reading.components()
        assert len(cut) > whole.height / 200
        assert whole.equals(reading.rows.drop("component"), null_equal=True)

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(settling, "derive", never)
    assert whole.equals(rows(database, ledger=tmp_path / "ledger"), null_equal=True)
    # Keys that are too many for memory tell the same.
    monkeypatch.setattr(keys, "MOST", 50)
    with opened(NOWHERE, None, [database]) as reading:
        assert [each.rows for each in reading.components()] == [each.rows for each in cut]


def test_what_a_large_thread_is_kept_as_comes_back_in_slices(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", WHOLE)
    path, ledger = mixed / "codex", tmp_path / "ledger"
    whole = rows(path)
    monkeypatch.setattr(module, "BATCH_ROWS", 20)
    assert whole.equals(rows(path, ledger=ledger), null_equal=True)
    with opened(NOWHERE, ledger, [path]) as reading:
        batches = list(reading.batches())
    assert max(batch.height for batch in batches) <= 20
    assert whole.equals(pl.concat(batches).drop("component"), null_equal=True)


def test_a_report_says_the_same_of_stretches(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for most in (WHOLE, 200):
        monkeypatch.setattr(module, "BATCH_ROWS", most)
        with opened(NOWHERE, None, [database]) as reading:
            said.append(document(reading))
    assert said[0] == said[1]


def test_backfill_proposes_the_same_of_stretches(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = []
    for most in (WHOLE, 250):
        monkeypatch.setattr(module, "BATCH_ROWS", most)
        with opened(NOWHERE, None, [database]) as reading:
            plans.append(make_plan(reading, "UTC"))
    one, other = plans
    assert one.corrections.height > 140
    for name in ("corrections", "unrecoverable", "before", "after", "rest"):
        assert getattr(one, name).equals(getattr(other, name), null_equal=True), name
    assert one.unused == other.unused


SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), max_size=12)


@given(spans=SPANS, most=st.integers(1, 20), rows=st.integers(1, 91))
def test_no_span_is_cut_and_no_place_to_cut_is_passed_over(
    spans: list[tuple[int, int]], most: int, rows: int
) -> None:
    within = [(begin, begin + length) for begin, length in spans if begin + length < rows]
    frame = pl.DataFrame(within, schema={"first": pl.UInt32, "last": pl.UInt32}, orient="row")
    cuts = cut_places(frame, rows, most)
    free = [n for n in range(1, rows) if not any(first < n <= last for first, last in within)]
    assert set(cuts) <= set(free)
    assert cuts == sorted(set(cuts))
    for begin, end in zip([0, *cuts], [*cuts, rows], strict=True):
        # What is longer than it should be could not be cut.
        assert end - begin <= most or not any(begin < n < end for n in free)


LINKS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"identity": "m1"}, {"identity": "m1"}),
    ({"identity": "m1", "record_id": "r1"}, {"identity": "m2", "record_id": "r1"}),
    ({"response_id": "resp_1"}, {"response_id": "resp_1"}),
    ({"thread_id": "t1"}, {"thread_id": "t1"}),
    ({"thread_id": "t1"}, {"thread_id": "t2", "parent_thread_id": "t1"}),
    ({"thread_id": "t1"}, {"thread_id": "t2", "root_thread_id": "t1"}),
    ({"thread_id": "t1"}, {"thread_id": "t2", "history_thread_ids": ["t1"]}),
    ({"sequence": "5/5"}, {"sequence": "5/5"}),
    ({"kind": SUM, "series": "run"}, {"series": "run"}),
    ({"kind": RESPONSE, "identity": "m1"}, {"kind": RESPONSE, "identity": "m1"}),
    ({"repeat": "same-record"}, {}),
    ({"model_ahead": True}, {}),
    ({"history": "inherited"}, {}),
    ({"running": True}, {}),
    ({"evidence": SUMMARY, "chain_id": "c"}, {"evidence": SUMMARY, "chain_id": "c"}),
]


def stretches_of(*given: dict[str, Any]) -> list[list[int]]:
    """The records of each stretch of one file, as short as stretches can be."""
    frame = reported(*given).drop("row")
    store = Store([])
    store.take("part", frame.to_arrow().cast(READ))
    entry = entry_of("a.jsonl", [Segment("part", 0, frame.height)])
    held = StoredRows(store)
    found = stretches([entry], held, 1)
    return [held.rows(some)["record"].to_list() for some in found]


@pytest.mark.parametrize(("first", "last"), LINKS)
def test_rows_that_may_influence_each_other_stay_together(
    first: dict[str, Any], last: dict[str, Any]
) -> None:
    rest: list[dict[str, Any]] = [{"thread_id": f"u{n}"} for n in range(3)]
    assert stretches_of(first, *rest, last) == [[1, 2, 3, 4, 5]]


def test_rows_that_share_nothing_come_apart() -> None:
    assert stretches_of({"identity": "a"}, {"identity": "b"}, {}) == [[1], [2], [3]]
    # Evidence has no say in what becomes of the call that it answers.
    assert len(stretches_of({"identity": "a"}, {}, {"kind": RESPONSE, "identity": "a"})) == 3


def test_rows_come_in_the_order_of_their_records_however_they_lie() -> None:
    given = [{"record": number, "identity": f"m{number}"} for number in (3, 1, 2)]
    assert stretches_of(*given) == [[1], [2], [3]]
