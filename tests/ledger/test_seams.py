"""What files grew by is derived apart where it can be, and says the same as all of it at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.derive.chain import derive
from tallybook.ledger import settling
from tallybook.ledger.derived import Derived, component
from tallybook.ledger.digests import code_digest
from tallybook.ledger.manifest import Segment
from tallybook.ledger.rows import StoredRows
from tallybook.ledger.seams import in_pieces
from tallybook.ledger.store import Store
from tallybook.schema import COMPACT, RESPONSE, SUM, THREAD
from tallybook.tables import READ
from tests.examples import tries
from tests.ledger.homes import document, home_of, opened, session, told, transcript
from tests.ledger.rows import entry_of
from tests.reported import reported
from tests.test_fixtures import CASES

NOWHERE = Path("/nowhere")
NAMES = [f"{case.parent.name}/{case.name}" for case in CASES]


@pytest.fixture
def derived_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows went through the stages, each time."""
    heights: list[int] = []

    def counting(rows: pl.DataFrame, rates: None) -> pl.DataFrame:
        heights.append(rows.height)
        return derive(rows, rates)

    monkeypatch.setattr(settling, "derive", counting)
    return heights


def test_what_a_conversation_grew_by_is_derived_alone(
    tmp_path: Path, derived_rows: list[int]
) -> None:
    """Four conversations have 3 to 6 calls; then one has 2 more, then two have one more each."""
    home, ledger = home_of(tmp_path / "home"), tmp_path / "ledger"
    told(home, ledger)
    for growth in ({2: 6}, {2: 7, 3: 6}):
        for number, calls in growth.items():
            transcript(home, number).write_bytes(session(number, calls))
        assert told(home, ledger) == told(home, None)
    assert derived_rows == [18, 2, 20, 2, 22]
    with opened(home, ledger) as reading, opened(home, None) as fresh:
        assert reading.rows.drop("component").equals(fresh.rows.drop("component"))
        assert any(each.of for each in reading.components())
    assert derived_rows[5:] == [22]


def test_what_goes_on_over_the_seam_is_derived_whole(
    tmp_path: Path, derived_rows: list[int]
) -> None:
    """A response has a line for each of its blocks, all with its id: it is one call."""
    home, ledger = home_of(tmp_path / "home", 1), tmp_path / "ledger"
    told(home, ledger)
    path = transcript(home, 1)
    *_, last = path.read_text().splitlines()
    again = json.loads(last) | {"uuid": "00000001-0000-4000-8000-0000000000ff"}
    path.write_text(path.read_text() + json.dumps(again) + "\n")
    assert told(home, ledger) == told(home, None)
    assert derived_rows == [3, 4, 4]


def test_many_pieces_give_way_to_few(tmp_path: Path) -> None:
    home, ledger = home_of(tmp_path / "home", 1), tmp_path / "ledger"
    pieces = []
    for calls in range(3, 26):
        transcript(home, 1).write_bytes(session(1, calls))
        with opened(home, ledger) as reading:
            document(reading)
            pieces.append(len(reading.components()))
    assert max(pieces) == pieces[7] == 8
    assert pieces[:9] == [*range(1, 9), 2]
    assert told(home, ledger) == told(home, None)


def test_pieces_whose_rows_are_lost_are_derived_again(tmp_path: Path) -> None:
    """And so they are for other prices, of which nothing is kept yet."""
    home, ledger = home_of(tmp_path / "home", 2), tmp_path / "ledger"
    told(home, ledger)
    before = {path.name for path in (ledger / "derived").glob("*.parquet")}
    transcript(home, 2).write_bytes(session(2, 9))
    wanted = told(home, None)
    assert told(home, ledger) == wanted
    for is_old in (True, False):
        for path in (ledger / "derived").glob("*.parquet"):
            if (path.name in before) is is_old:
                content = bytearray(path.read_bytes())
                content[len(content) // 3] ^= 1
                path.write_bytes(content)
        assert told(home, ledger) == wanted
        with opened(home, ledger) as reading:
            assert reading.rows.height == 3 + 9


def pieces_of(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]], folder: Path) -> int:
    """In how many pieces a component is of which the old rows are settled and the new are not."""
    paths = sorted({row.get("path", "a.jsonl") for row in (*old, *new)})
    frame = reported(*old, *new).drop("row")
    store, segments = Store([]), dict[str, list[Segment]]()
    parts = {"old": frame.head(len(old)), "new": frame.tail(len(new))}
    for name, rows in parts.items():
        store.take(name, rows.to_arrow().cast(READ))
        for start, path in enumerate(rows["path"]):
            segments.setdefault(path, []).append(Segment(name, start, 1))
    whole = component([entry_of(path, segments[path]) for path in paths], code_digest())
    settled_rows = [part for path in paths for part in segments[path] if part.part == "old"]
    derived = Derived(folder, "prices")
    before = [entry_of(path, [s for s in segments[path] if s in settled_rows]) for path in paths]
    name = component([each for each in before if each.rows], code_digest()).name
    derived.add(pl.DataFrame({"component": [name]}), {name: 1})
    derived.take_in(["old"])
    derived.close([name])
    found = in_pieces([whole], Derived(folder, "prices"), StoredRows(store), folder, 100)
    return len(found.get(0, "1"))


def call(identity: str, **more: Any) -> dict[str, Any]:
    return {"identity": identity, "thread_id": "t1", **more}


def counter(sequence: str, **more: Any) -> dict[str, Any]:
    return {"sequence": sequence, "thread_id": "t1", **more}


SHORTENED = call("compacted:1", caller=COMPACT)
APART: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = [
    ([call("a")], [call("b")]),
    ([counter("5/5")], [counter("6/6")]),
    ([counter("5/5")], [counter("6/6"), counter("6/6", repeat="re-emission")]),
    ([counter("5/5"), counter("5/5", repeat="re-emission")], [counter("6/6")]),
    ([SHORTENED], [call("b")]),
    ([call("a")], [SHORTENED]),
    ([call("m", caller=COMPACT), SHORTENED], [call("b")]),
    ([call("a", root_thread_id="t")], [call("b", root_thread_id="t")]),
    ([call("a", parent_thread_id="p")], [call("b", parent_thread_id="p")]),
    ([call("a")], [call("b", path="b.jsonl", parent_thread_id="t1")]),
    ([call("a"), {"kind": RESPONSE, "response_id": "r"}], [call("b")]),
]
TOGETHER: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = [
    ([call("a")], [call("a")]),
    ([call("a", record_id="r")], [call("b", record_id="r")]),
    ([call("a", response_id="resp")], [call("b", response_id="resp")]),
    ([call("a", tool_ids=["tool"])], [call("b", tool_ids=["tool"])]),
    ([counter("5/5")], [counter("5/5")]),
    ([counter("5/5")], [counter("5/5", repeat="re-emission"), counter("6/6")]),
    ([call("a")], [{"thread_id": "t1"}]),
    ([call("a", record=9)], [call("b", record=8)]),
    ([SHORTENED], [call("m", caller=COMPACT)]),
    ([call("m", caller=COMPACT)], [SHORTENED]),
    # Of two threads that are said to have begun this one the first by name holds for all of it.
    ([call("a", parent_thread_id="p")], [call("b", parent_thread_id="o")]),
    ([call("a")], [call("b", parent_thread_id="o")]),
    # What began the one that began this one is told in rows that are settled.
    (
        [call("a", thread_id="p", parent_thread_id="o"), call("b", path="b", parent_thread_id="p")],
        [call("c", path="b", parent_thread_id="p")],
    ),
    ([call("a", kind=THREAD)], [call("b")]),
    ([call("a", kind=SUM, series="run")], [call("b", series="run")]),
    ([call("a", running=True)], [call("b")]),
    ([call("a", model_ahead=True)], [call("b", model="m")]),
    ([call("a", history="before-turn")], [call("b")]),
    ([call("a", history_thread_ids=["t2"])], [call("b")]),
    ([call("a", evidence="capture-line")], [call("b")]),
    ([call("a")], [call("b", route="claude>openai stream")]),
    ([call("a")], [call("b", log_source="codex")]),
]


@pytest.mark.parametrize(("old", "new"), APART)
def test_rows_that_need_nothing_of_older_ones_are_a_piece(
    old: list[dict[str, Any]], new: list[dict[str, Any]], tmp_path: Path
) -> None:
    """And are derived apart as together."""
    assert pieces_of(old, new, tmp_path) == 2
    once = derive(reported(*old, *new).drop("row"), None)
    parts = [
        reported(*old, *new).drop("row").slice(n, m) for n, m in ((0, len(old)), (len(old), 9))
    ]
    apart = pl.concat(derive(rows, None) for rows in parts).sort("path", "record")
    assert once.equals(apart, null_equal=True)


@pytest.mark.parametrize(("old", "new"), TOGETHER)
def test_rows_that_older_ones_may_say_something_of_are_derived_with_these(
    old: list[dict[str, Any]], new: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert pieces_of(old, new, tmp_path) == 1


@tries(6)
@given(
    chosen=st.sets(st.sampled_from(NAMES), min_size=4, max_size=12),
    seed=st.integers(0, 1 << 16),
    steps=st.integers(2, 4),
)
def test_logs_cut_anywhere_and_appended_say_what_they_say_at_once(
    mixed: Path, tmp_path_factory: pytest.TempPathFactory, chosen: set[str], seed: int, steps: int
) -> None:
    random, folder = Random(seed), tmp_path_factory.mktemp("grown")
    ledger = tmp_path_factory.mktemp("ledger")
    lines = {
        path: path.read_bytes().splitlines(keepends=True)
        for name in sorted(chosen)
        for path in sorted((mixed / name).rglob("*.jsonl"))
        if path.is_file()
    }
    for step in range(steps):
        for path, content in lines.items():
            end = len(content) if step == steps - 1 else random.randint(0, len(content))
            grown = folder / path.relative_to(mixed)
            grown.parent.mkdir(parents=True, exist_ok=True)
            held = grown.read_bytes() if grown.exists() else b""
            grown.write_bytes(max(held, b"".join(content[:end]), key=len))
        with opened(NOWHERE, ledger, [folder]) as reading:
            said = document(reading)
    with opened(NOWHERE, ledger, [folder]) as reading, opened(NOWHERE, None, [folder]) as fresh:
        assert said == document(fresh)
        assert reading.rows.drop("component").equals(fresh.rows.drop("component"), null_equal=True)
