"""Every key by which a stage joins rows of different files is a link between these files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.derive.chain import derive
from tallybook.files.find import walk
from tallybook.ledger import groups as module
from tallybook.ledger.groups import COLUMNS, components, every_key, link_keys, met
from tests.built import built
from tests.examples import tries
from tests.reported import reported
from tests.rows_of_files import read_files
from tests.test_fixtures import CASES

DAY = datetime(2026, 6, 1, tzinfo=UTC)


COUNT = st.sampled_from([None, 5, 5, 9])


def few(*values: str) -> st.SearchStrategy[str]:
    """One of few values, so that rows of several files often have the same."""
    return st.sampled_from(values)


# What any two rows may share, be they of the same file or not.
SHARED: dict[str, st.SearchStrategy[Any]] = {
    "thread_id": few("a", "b"),
    "parent_thread_id": few("a", "b"),
    "root_thread_id": few("a", "b"),
    "identity": few("one", "two"),
    "request_id": few("r"),
    "response_id": few("response-0123456789"),
    "log_source": few("codex"),
    "record_id": few("rec"),
    "chain_id": few("begun"),
    "segment_id": few("s"),
    "sequence": few("q"),
    "history_thread_ids": st.just(["a"]),
    "series": few("u", "v"),
    "route": few("claude>claude stream"),
    "routed": st.just(value=True),
    "tool_ids": st.just(["call_0123456789"]),
    "model": few("gpt-5", "gpt-5-mini"),
    "timestamp": st.sampled_from([DAY, DAY + timedelta(hours=1)]),
}
KINDS = ["call", "call", "call", "sum", "sum", "sum", "thread", "assertion", "response"]
TOOLS = ["log", "log", "log", "transcript", "summary", "snapshot", "state", "capture-total",
         "capture-line"]  # fmt: skip


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """A row that states few of the things that it could share with others."""
    row = {
        "source": draw(st.sampled_from(["deer-flow", "deer-flow", "codex", "9router"])),
        "path": draw(st.sampled_from(["/1", "/2", "/3"])),
        "record": draw(st.integers(1, 2)),
        "kind": draw(st.sampled_from(KINDS)),
        "evidence": draw(st.sampled_from(TOOLS)),
        "running": draw(st.sampled_from([False, False, True])),
        "history": draw(st.sampled_from(["own", "own", "own", "inherited", "before-turn"])),
        "repeat": draw(st.sampled_from([None, None, None, "twin"])),
        "finished": draw(st.sampled_from([None, None, True, False])),
        "reported_input_tokens": draw(COUNT),
        "reported_output_tokens": draw(COUNT),
    }
    named = draw(st.sets(st.sampled_from(sorted(SHARED)), max_size=4))
    return row | {name: draw(SHARED[name]) for name in sorted(named)}


ORDER = ("path", "record", "part")


@tries(20)
@given(st.lists(rows(), min_size=2, max_size=6))
def test_files_without_a_common_key_are_derived_alike_together_and_apart(
    found: list[dict[str, Any]],
) -> None:
    frame = reported(*({**row, "part": f"{n}"} for n, row in enumerate(found))).drop("row")
    groups = linked(frame)
    apart = pl.concat(derive(frame.filter(pl.col("path").is_in(g)), None) for g in groups)
    whole = derive(frame, None)
    assert whole.sort(ORDER).equals(apart.sort(ORDER), null_equal=True)


def linked(rows: pl.DataFrame) -> list[list[str]]:
    """The paths of rows in the groups that share keys."""
    paths = sorted(set(rows["path"]))
    numbers = pl.DataFrame({"path": paths}).with_row_index("file")
    keys = link_keys(rows.select(COLUMNS))
    placed = rows.with_row_index("row").select("row", "path").join(keys, on="row")
    keyed = placed.join(numbers, on="path").select("file", "key", "side")
    found = components(len(paths), [met(keyed)])
    return [[paths[number] for number in group] for group in found]


@pytest.mark.parametrize("anew", [[1, 2], [2]])
def test_what_a_reading_left_that_failed_has_no_key_for_the_next(anew: list[int]) -> None:
    row = {"path": "/1", "thread_id": "a"}
    rows = reported(*({**row, "record": record} for record in (2, *anew))).select(COLUMNS)
    assert {*link_keys(rows)["row"]} == {0, 1}


STAGES = "tallybook.derive."
# What a stage makes of the columns of a row, and the columns that it has its links by.
MADE = {
    "run": ("root_thread_id",),
    "thread": ("root_thread_id",),
    "call_id": ("source", "identity"),
    "_call": ("source", "identity"),
    "id": ("response_id",),
}
WITHIN_A_FILE = {"path"}
# Numbers of rows, whatever these are to each other.
ROWS = {"row", "copied_row", "router", "client", "giver", "_of"}
# It takes rows out whose run has the same condition on it, so it decides nothing.
NEUTRAL = ("tallybook.derive.duplicates.same_run", frozenset({"source"}))


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, frozenset[str]]]:
    """By which columns the stages put rows together, once they have run."""
    found: set[tuple[str, frozenset[str]]] = set()

    def watch(owner: Any, name: str, *options: str) -> None:
        original = getattr(owner, name)

        def watched(self: Any, *given: Any, **named: Any) -> Any:
            module = sys._getframe(1).f_globals["__name__"]
            places = [named[option] for option in options if option in named]
            columns = frozenset(_columns(places or (given[1:] if "on" in options else given)))
            if module.startswith(STAGES) and columns:
                found.add((module, columns))
            return original(self, *given, **named)

        monkeypatch.setattr(owner, name, watched)

    watch(pl.Expr, "over")
    for frame in (pl.LazyFrame, pl.DataFrame):
        watch(frame, "join", "on", "left_on")
        watch(frame, "join_asof", "on", "by")
        watch(frame, "group_by")
    return found


def _columns(keys: Any) -> Iterator[str]:
    for key in keys:
        if isinstance(key, str):
            yield key
        elif isinstance(key, pl.Expr):
            yield from key.meta.root_names()
        elif isinstance(key, Sequence):
            yield from _columns(key)


def links(monkeypatch: pytest.MonkeyPatch) -> set[frozenset[str]]:
    """The columns of every link."""
    found: set[frozenset[str]] = set()

    def hashed(rows: pl.DataFrame, _: str, *columns: str, **__: Any) -> pl.DataFrame:
        found.add(frozenset(columns))
        return rows

    monkeypatch.setattr(module, "hashed", hashed)
    every_key(reported({"route": "claude>openai", "running": True}))
    return found


def test_stages_put_rows_of_several_files_together_by_links_only(
    joined: set[tuple[str, frozenset[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [file for case in CASES for file in walk([built(case)]).files]
    derive(read_files(files), None)
    linking = links(monkeypatch)
    assert {name for name, _ in joined} >= {
        "tallybook.derive.sums",
        "tallybook.derive.duplicates.other_sources",
    }
    for stage, columns in joined - {NEUTRAL}:
        known = {each for name in columns for each in MADE.get(name, (name,))}
        assert known & (WITHIN_A_FILE | ROWS) or any(link <= known for link in linking), (
            stage,
            columns,
        )
