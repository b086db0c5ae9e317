"""An explanation adds up to its cell to the last digit, whatever the cell and the log."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

import polars as pl
import pytest

from tallybook.derive.chain import derive
from tallybook.errors import TallybookError, UsageError
from tallybook.files.find import walk
from tallybook.pricing.cost import price
from tallybook.pricing.rates import Rates, load
from tallybook.report.cell import Cell, parse_cell
from tallybook.report.codes import REASONS
from tallybook.report.explain import Asked, Explanation, explain, find
from tallybook.report.query import KEYS, TIME_KEYS, Query
from tallybook.report.summary import Row, summarise
from tallybook.report.working import STATED, Place
from tallybook.schema import BUCKETS, SUBCOUNTS, TOOL_COUNTS
from tallybook.sources import sources
from tests.built import built
from tests.frames import COSTS, usage_frame
from tests.rows_of_files import read_files
from tests.test_fixtures import CASES

# Every key of a report stands in one of them.
BYS: tuple[tuple[str, ...], ...] = (
    ("model",),
    ("day", "provider"),
    ("thread", "caller"),
    ("root-thread", "source"),
    ("project", "hour"),
    ("week", "month"),
)
COUNTS = (*BUCKETS, *SUBCOUNTS)
COST_OF = {
    "uncached_input_tokens": "uncached_input_cost_usd",
    "unsplit_input_tokens": "uncached_input_cost_usd",
    "cached_input_tokens": "cached_input_cost_usd",
    "cache_creation_5m_input_tokens": "cache_creation_cost_usd",
    "cache_creation_1h_input_tokens": "cache_creation_cost_usd",
    "output_tokens": "output_cost_usd",
    "web_search_requests": "web_search_cost_usd",
    **dict.fromkeys(TOOL_COUNTS, "tool_cost_usd"),
    "audio_input_tokens": "uncached_input_cost_usd",
    "image_input_tokens": "uncached_input_cost_usd",
    "cached_audio_input_tokens": "cached_input_cost_usd",
    "cached_image_input_tokens": "cached_input_cost_usd",
    "audio_output_tokens": "output_cost_usd",
    "image_output_tokens": "output_cost_usd",
}

# What is not text, fresh and out of a cache.
MEDIA = {
    "audio_input_tokens": {"audio_input_tokens", "cached_audio_input_tokens"},
    "image_input_tokens": {"image_input_tokens", "cached_image_input_tokens"},
    "audio_output_tokens": {"audio_output_tokens"},
    "image_output_tokens": {"image_output_tokens"},
}


class Usage:
    """What a reading offers, of rows that are there; a batch is no more than `size` rows."""

    def __init__(self, rows: pl.DataFrame, rates: Rates, size: int = 10_000) -> None:
        self.rows = rows.with_columns(component=pl.lit("all"))
        self.rates = rates
        self.size = size

    def batches(self, only: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        if only is None or "all" in only:
            yield from self.rows.iter_slices(self.size)


@cache
def rates() -> Rates:
    return load(None, None)


@cache
def usage(source: str) -> pl.DataFrame:
    """The priced rows of all fixtures of a source, read as one folder of many."""
    cases = [built(case) for case in CASES if case.parent.name == source]
    rows = derive(read_files(walk(cases).files), None)
    return price(rows, rates())


def nothing_beside(rows: pl.DataFrame) -> Place:
    log = {"state": "gone", "words": "the log is gone", "usage": []}
    return Place(reported={}, corrections={}, logged=lambda _: log)


def explained(rows: Usage, asked: Asked, limit: int | None = None) -> Explanation:
    return explain(rows, asked, nothing_beside, limit)


def money(texts: Sequence[str | None]) -> Decimal:
    return sum((Decimal(text) for text in texts if text is not None), Decimal())


def check(rows: Sequence[Row], cell: Mapping[str, Any]) -> None:
    """Raise where the told calls are not the cell: every count, every cost, the arithmetic."""
    assert money([row["cost_usd"] for row in rows]) == Decimal(cell["cost_usd"] or 0)
    assert sum(row["total_tokens"] or 0 for row in rows) == (cell["total_tokens"] or 0)
    assert sum(row["calls"] or 0 for row in rows) == (cell["calls"] or 0)
    for name in COUNTS:
        stated = [b["tokens"] for row in rows for b in row["buckets"] if b["bucket"] == name]
        assert sum(stated) == (cell[name] or 0), name
    costs = dict.fromkeys(COST_OF.values(), Decimal())
    for row in rows:
        if row["cost_usd"] is not None:
            for part in row["arithmetic"]:
                costs[COST_OF[part["bucket"]]] += Decimal(part["cost_usd"])
                per = 10**6 if part["unit"] == "million tokens" else 1000
                assert part["count"] * Decimal(part["usd_per_unit"]) / per == Decimal(
                    part["cost_usd"]
                )
    assert costs == {name: Decimal(cell[name] or 0) for name in costs}
    for name, parts in MEDIA.items():
        told = [e for row in rows for e in row["arithmetic"] if e["bucket"] in parts]
        assert sum(e["count"] for e in told) == (cell[name] or 0), name
    known = [row for row in rows if row["cost_usd"] is not None]
    assert money([row["cost_low_usd"] for row in known]) == Decimal(cell["cost_low_usd"] or 0)
    highest = [row["cost_high_usd"] for row in known]
    if cell["cost_high_usd"] is not None:
        # Of an output that belongs to one of several calls a sum has the dearest alone.
        assert money(highest) >= Decimal(cell["cost_high_usd"]) >= Decimal(cell["cost_usd"])


@pytest.mark.parametrize("source", sources())
def test_the_calls_of_every_cell_of_every_fixture_add_up_to_it(source: str) -> None:
    rows = usage(source)
    told = explained(Usage(rows, rates()), Asked(Query()))
    assert told.adds_up
    keyed: dict[tuple[str, ...], Sequence[Any]] = {}
    for by in BYS:
        report = summarise(rows, Query(by=by))
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in told.rows:
            groups.setdefault(tuple(key_of(row, key) for key in by), []).append(row)
        assert len(groups) == len(report.rows)
        for cell in report.rows:
            check(groups[tuple(cell[KEYS[key]] for key in by)], cell)
        keyed[by] = report.rows
    check(told.rows, summarise(rows, Query()).totals)
    for by, cells in keyed.items():
        cell = cells[len(cells) // 2]
        values = {key: cell[KEYS[key]] for key in by}
        found = explained(Usage(rows, rates(), 200), Asked(Query(), Cell(values)))
        assert found.totals == {name: cell[name] for name in found.totals}
        check(found.rows, cell)


def key_of(row: Row, key: str) -> Any:
    """The value of a key as UTC reports have it."""
    if key not in TIME_KEYS:
        return row[KEYS[key]]
    if row["timestamp"] is None:
        return None
    forms = {"hour": "%Y-%m-%dT%H:00", "day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
    return datetime.fromisoformat(row["timestamp"]).strftime(forms[key])


def priced(*rows: dict[str, Any]) -> Usage:
    """A usage of made-up rows, priced by the list."""
    frame = usage_frame(rows).drop(*COSTS, "price_status")
    blank = {name: pl.lit(None, pl.String) for name in TEXTS}
    whole = frame.with_columns(
        **blank,
        **{name: pl.lit(None, pl.Int64) for name in STATED if name not in frame.columns},
        running=pl.lit(value=False),
        assumed=pl.lit(None, pl.List(pl.String)),
    )
    return Usage(price(whole, rates()), rates(), 2)


TEXTS = ("requested_model", "evidence", "dialect", "rule", "response_id")
CALL = {"model": "gpt-5.4", "uncached_input_tokens": 100, "output_tokens": 10}


def test_a_chain_of_duplicates_ends_at_the_call_that_counts() -> None:
    rows = priced(
        {**CALL, "call_id": "a:1"},
        {**CALL, "call_id": "a:2", "duplicate_of": "a:1", "duplicate_reason": "witness"},
        {**CALL, "call_id": "a:3", "duplicate_of": "a:2", "duplicate_reason": "same-run"},
        {**CALL, "call_id": "a:4", "duplicate_of": "a:t", "duplicate_reason": "capture"},
        # Two that name each other lead nowhere.
        {**CALL, "call_id": "a:5", "duplicate_of": "a:6", "duplicate_reason": "witness"},
        {**CALL, "call_id": "a:6", "duplicate_of": "a:5", "duplicate_reason": "witness"},
    )
    found = explained(rows, Asked(Query()))
    (row,) = found.rows
    assert [(each["record"], each["reason"]) for each in row["left_out"]] == [
        (2, "witness"),
        (3, "same-run"),
    ]
    assert found.not_counted["reasons"] == {"capture": 1, "witness": 2}
    assert row["left_out"][0]["words"] == "another source states the same call"


def test_what_is_left_out_of_a_cell_is_that_of_the_cell() -> None:
    copy = {"duplicate_of": "elsewhere", "duplicate_reason": "replayed-history"}
    rows = priced(
        {**CALL, "thread_id": "t-1"},
        {**CALL, "thread_id": "t-1", **copy},
        {**CALL, "thread_id": "t-2", **copy},
        {**CALL, "thread_id": "t-1", "kind": "assertion"},
        {"thread_id": "t-1", "kind": "problem"},
    )
    found = explained(rows, Asked(Query(), thread="t-1"))
    assert [row["record"] for row in found.rows] == [1]
    listed = [(each["record"], each["reason"]) for each in found.not_counted["rows"]]
    assert listed == [(2, "replayed-history"), (4, "assertion")]


def test_the_calls_beyond_the_limit_are_told_together() -> None:
    small = {**CALL, "output_tokens": 1}  # 100 x 2.5 + 1 x 15 = 265 millionths
    rows = priced(small, {**CALL, "output_tokens": 1000}, small, small, small)
    found = explained(rows, Asked(Query()), 2)
    assert [row["record"] for row in found.rows] == [2, 1]
    assert found.rest == {"records": 3, "total_tokens": 303, "cost_usd": "0.000795"}
    assert found.adds_up


def test_a_call_without_a_price_says_which_count_has_no_rate() -> None:
    found = explained(priced({**CALL, "model": "mystery-9"}), Asked(Query()))
    (row,) = found.rows
    assert row["cost_usd"] is None
    assert row["price"]["status"] == "unpriced"
    assert row["price"]["path"] == ["no model of that name is known"]
    assert [(each["bucket"], each["usd_per_unit"]) for each in row["arithmetic"]] == [
        ("uncached_input_tokens", None),
        ("output_tokens", None),
    ]


def test_the_tier_of_a_long_prompt_is_the_one_that_is_named() -> None:
    long = {**CALL, "uncached_input_tokens": 300_000, "context_tokens": 300_000}
    (row,) = explained(priced(long), Asked(Query())).rows
    # Above 272,000 tokens gpt-5.4 costs 5 and 22.50.
    assert row["cost_usd"] == "1.500225"
    (rate,) = row["price"]["rates"]
    assert rate["above_tokens"] == 272_000


IDS = priced(
    {**CALL, "call_id": "codex:aa-1:x", "thread_id": "aa-1"},
    {**CALL, "call_id": "codex:aa-1:y", "thread_id": "aa-1"},
    {**CALL, "call_id": "claude-code:msg_1", "thread_id": "ab-2"},
    {**CALL, "call_id": "claude-code:msg_2", "thread_id": "ab-2/agent"},
    {**CALL, "call_id": "claude-code:msg_22", "thread_id": "ab-2/agent"},
)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("aa", {"thread": "aa-1"}),
        ("aa-1:x", {"call": "codex:aa-1:x"}),
        ("codex:aa-1:y", {"call": "codex:aa-1:y"}),
        ("ab", {"thread": "ab-2"}),  # its sub-agents begin so too
        ("ab-2/a", {"thread": "ab-2/agent"}),
        ("msg_1", {"call": "claude-code:msg_1"}),
        ("msg_2", {"call": "claude-code:msg_2"}),  # whole, though another goes on
    ],
)
def test_an_id_is_known_by_its_beginning(text: str, want: dict[str, str]) -> None:
    assert find(IDS.batches(), text) == want


@pytest.mark.parametrize(
    ("text", "error"), [("a", UsageError), ("msg", UsageError), ("zz", TallybookError)]
)
def test_an_id_that_is_none_or_several_is_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        find(IDS.batches(), text)


def test_a_cell_keeps_commas_that_belong_to_a_value() -> None:
    found = parse_cell("project=/home/u/a,b,model=gpt-5.4")
    assert found == Cell({"project": "/home/u/a,b", "model": "gpt-5.4"})
    assert parse_cell("model=(unknown)") == Cell({"model": None})
    assert parse_cell("codex:aa=1") is None


def test_every_reason_that_is_met_has_words() -> None:
    met = {
        str(row["duplicate_reason"] or row["kind"])
        for source in ("codex", "9router")
        for row in usage(source).iter_rows(named=True)
        if row["duplicate_of"] or row["kind"] in {"assertion", "event", "response"}
    }
    assert met <= set(REASONS)
