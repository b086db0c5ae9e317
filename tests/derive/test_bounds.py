"""What is known to be too low, from the row that states it to the sums that hold it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.derive.chain import derive
from tallybook.derive.problems import has_problem
from tallybook.dialects.containment import DIALECTS
from tallybook.files.find import walk
from tallybook.pricing import cost
from tallybook.pricing import rates as pricing
from tallybook.report.fields import together
from tallybook.report.query import KEYS, Query
from tallybook.report.summary import Row, summarise
from tallybook.schema import TOOL_FEES
from tallybook.sources import sources
from tests.examples import tries
from tests.reported import settled
from tests.rows_of_files import read_files
from tests.test_fixtures import FIXTURES

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def rates() -> pricing.Rates:
    return pricing.load(None, None)


def line(number: int, output: int | None, stop: bool | None = True, **columns: Any) -> Row:
    """A line of response `number`; `stop` says whether its counts are final."""
    return {
        "source": "claude-code",
        "dialect": "anthropic",
        "identity": f"msg_{number}",
        "thread_id": "s",
        "model": "claude-sonnet-4-5",
        "timestamp": NOON + timedelta(minutes=number),
        "reported_input_tokens": 10,
        "reported_cached_tokens": 1000,
        "reported_cache_creation_tokens": 200,
        "reported_cache_creation_5m_tokens": 200,
        "reported_output_tokens": output,
        "finished": stop,
        **columns,
    }


def turn(**columns: Any) -> Row:
    """A call as Codex states it before there were cache writes."""
    return {
        "source": "codex",
        "dialect": "openai",
        "sequence": "a",
        "thread_id": "t",
        "model": "gpt-5-codex",
        "timestamp": NOON,
        "reported_input_tokens": 1000,
        "reported_cached_tokens": 600,
        "reported_output_tokens": 50,
        **columns,
    }


def flagged(*rows: Row) -> list[int]:
    """The outputs of the counted calls that are placeholders."""
    found = settled(*rows).filter(pl.col("problems").list.contains("placeholder-output"))
    assert found["lower_bound"].all()
    return found["output_tokens"].to_list()


class TestPlaceholders:
    def test_lines_that_agree_on_a_count_that_streams_begin_with(self) -> None:
        assert flagged(line(1, 3, stop=False), line(1, 3, stop=False)) == [3]

    def test_one_line_that_says_more_than_another_has_the_last_count(self) -> None:
        assert flagged(line(1, 1, stop=False), line(1, 6, stop=False)) == []
        assert flagged(line(1, 4, stop=False), line(1, 333, stop=None)) == []

    def test_a_line_that_ended_stands_for_those_before_it(self) -> None:
        assert flagged(line(1, 3, stop=False), line(1, 3)) == []

    def test_a_build_that_says_when_it_ends_is_believed_whatever_the_count(self) -> None:
        assert flagged(line(1, 36, stop=False), line(1, 36, stop=False)) == [36]
        assert flagged(line(1, 36, stop=False), line(1, 611, stop=False)) == []

    def test_a_stream_that_broke_off_ended_nowhere(self) -> None:
        word = {**line(1, None, stop=False), "kind": "event", "calls": None, "model": None}
        assert flagged(line(1, 2), line(1, 40), word, line(2, 2)) == [40]

    def test_a_line_with_its_cost_was_finished(self) -> None:
        assert flagged(line(1, 3, stop=False, reported_cost_usd=Decimal("0.01"))) == []


class TestSums:
    def totals(self, rates: pricing.Rates, *rows: Row) -> Row:
        usage = cost.price(settled(*rows), rates)
        return summarise(usage, Query()).totals

    def test_a_placeholder_counts_as_unknown_though_it_holds_a_number(
        self, rates: pricing.Rates
    ) -> None:
        found = self.totals(rates, line(1, 3, stop=False), line(2, 500))
        assert found["output_tokens"] == 503
        assert found["unknown"] == {"output_tokens": 1}
        assert found["at_least"] == ["output_tokens", "total_tokens"]
        assert found["lower_bound"]

    def test_nothing_bounds_its_cost_from_above(self, rates: pricing.Rates) -> None:
        found = self.totals(rates, line(1, 3, stop=False), line(2, 500))
        assert found["cost_high_usd"] is None
        # 2 x (10 at 3 + 1000 at 0.30 + 200 at 3.75) + 503 at 15 dollars a million; the lifetime
        # of the writes is not doubted.
        assert found["cost_low_usd"] == found["cost_usd"] == "0.009705"

    def test_a_bucket_that_a_way_of_counting_lacks_marks_nothing(
        self, rates: pricing.Rates
    ) -> None:
        found = self.totals(rates, turn(), line(1, 500))
        assert found["unknown"] == {"cache_creation_input_tokens": 1}
        assert (found["lower_bound"], found["at_least"]) == (False, [])
        assert found["cost_high_usd"] == found["cost_usd"]

    def test_nor_does_it_beside_an_output_that_is_too_low(self, rates: pricing.Rates) -> None:
        found = self.totals(rates, turn(), line(1, 3, stop=False))
        assert found["at_least"] == ["output_tokens", "total_tokens"]

    def test_a_prompt_that_is_not_split_may_hold_more_of_each_bucket(
        self, rates: pricing.Rates
    ) -> None:
        found = self.totals(rates, turn(reported_cached_tokens=None), line(1, 500))
        buckets = ["uncached_input_tokens", "cached_input_tokens", "cache_creation_input_tokens"]
        assert found["at_least"] == buckets
        assert not found["lower_bound"]
        assert found["cost_high_usd"] is not None

    def test_a_prompt_whose_parts_lie_beside_it_is_too_low_without_them(
        self, rates: pricing.Rates
    ) -> None:
        found = self.totals(rates, line(1, 500, reported_cached_tokens=None))
        assert found["at_least"] == ["cached_input_tokens", "input_tokens", "total_tokens"]
        assert found["cost_high_usd"] is None


def check_costs(usage: pl.DataFrame) -> None:
    """No cost lies outside of its bounds, and nothing bounds what is too low from above.

    Nor is there a bound where the way of being served has no rate, and may have been dearer, or
    where the provider charged for what nothing counts.
    """
    counted = usage.filter(pl.col("kind").is_in(["call", "sum", "thread"])).filter(
        pl.col("duplicate_of").is_null()
    )
    endless = pl.col("cost").is_not_null() & pl.col("cost_high").is_null()
    dearer = (pl.col("price_status") == "assumed_list_price") | has_problem(TOOL_FEES)
    wrong = (
        (pl.col("cost_low") > pl.col("cost"))
        | (pl.col("cost") > pl.col("cost_high"))
        | (pl.col("cost").is_null() != pl.col("cost_low").is_null())
        | (pl.col("cost").is_null() | pl.col("unbounded")) & pl.col("cost_high").is_not_null()
        | endless & ~pl.col("unbounded") & ~dearer
    )
    assert counted.filter(wrong).is_empty()


def check_sums(usage: pl.DataFrame, limit: int | None) -> None:
    """Whatever the keys, the rows add up to the totals, and say together what these say."""
    totals = summarise(usage, Query()).totals
    for key in KEYS:
        found = summarise(usage, Query(by=(key,), limit=limit))
        assert found.totals == totals, key
        assert any(row["lower_bound"] for row in found.rows) == totals["lower_bound"], key
        least = {name for row in found.rows for name in row["at_least"]}
        assert least == set(totals["at_least"]), key
        assert together(found.rows) == totals, key


@pytest.mark.parametrize("source", list(sources()))
def test_no_cost_of_a_fixture_lies_outside_of_its_bounds(rates: pricing.Rates, source: str) -> None:
    files = walk(sorted(Path(FIXTURES / source).glob("*/input"))).files
    usage = derive(read_files(files), rates)
    check_costs(usage)
    check_sums(usage, limit=2)


COUNT = st.none() | st.integers(0, 10**7)
ROWS = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["claude-code", "codex", "responses"]),
        "dialect": st.sampled_from([None, *DIALECTS]),
        "kind": st.sampled_from(["call", "call", "sum", "thread", "event"]),
        "identity": st.sampled_from([None, "a", "b"]),
        "thread_id": st.sampled_from(["s", "t"]),
        "model": st.sampled_from(
            [None, "claude-sonnet-4-5", "gpt-5-codex", "gpt-5.5", "gemini-2.5-pro", "glm-4.6", "?"]
        ),
        "speed": st.sampled_from([None, "fast"]),
        "service_tier": st.sampled_from([None, "batch", "flex"]),
        "timestamp": st.none() | st.just(NOON),
        "finished": st.sampled_from([None, True, False]),
        "reported_input_tokens": COUNT,
        "reported_cached_tokens": COUNT,
        "reported_cache_creation_tokens": COUNT,
        "reported_cache_creation_1h_tokens": COUNT,
        "reported_output_tokens": st.none() | st.integers(0, 12) | st.integers(0, 10**6),
        "reported_reasoning_tokens": COUNT,
        "web_search_requests": st.none() | st.integers(0, 3),
    }
)


@tries(10)
@given(rows=st.lists(ROWS, min_size=1, max_size=8), limit=st.none() | st.integers(1, 2))
def test_no_cost_lies_outside_of_its_bounds(
    rates: pricing.Rates, rows: list[Row], limit: int | None
) -> None:
    usage = cost.price(settled(*rows), rates)
    check_costs(usage)
    check_sums(usage, limit)
