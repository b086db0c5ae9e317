from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.schema import BUCKETS
from tests.reported import normalized

COUNT = st.none() | st.integers(0, 10**9)


def openai(**counts: int) -> dict[str, Any]:
    return normalized(dialect="openai", **{f"reported_{k}_tokens": v for k, v in counts.items()})


def anthropic(**counts: int) -> dict[str, Any]:
    return normalized(dialect="anthropic", **{f"reported_{k}_tokens": v for k, v in counts.items()})


def test_openai_input_holds_reads_and_writes() -> None:
    row = openai(input=30000, cached=20000, cache_creation=8000, output=500, reasoning=100)
    assert [row[bucket] for bucket in BUCKETS] == [2000, 20000, 8000, 0, 500]
    assert row["reasoning_output_tokens"] == 100
    assert row["input_tokens"] == 30000
    assert row["total_tokens"] == 30500
    assert row["uncached_input_tokens_origin"] == "derived"
    assert row["cached_input_tokens_origin"] == "reported"


def test_reads_that_a_program_took_out_of_the_input_lie_beside_it() -> None:
    row = normalized(
        dialect="reads-outside",
        reported_input_tokens=176,
        reported_cached_tokens=1024,
        reported_output_tokens=300,
    )
    assert [row[bucket] for bucket in BUCKETS] == [176, 1024, None, 0, 300]
    assert row["uncached_input_tokens_origin"] == "reported"
    assert not row["lower_bound"]


def test_writes_that_were_added_to_the_input_leave_it_unsplit_beside_its_reads() -> None:
    row = normalized(
        dialect="writes-hidden",
        reported_input_tokens=50,
        reported_cached_tokens=100,
        reported_output_tokens=17,
    )
    assert [row[bucket] for bucket in BUCKETS] == [None, 100, None, 50, 17]
    assert (row["input_tokens"], row["unsplit_input_tokens_origin"]) == (150, "reported")
    assert not row["lower_bound"]


def test_reads_outside_that_nobody_states_make_the_input_a_lower_bound() -> None:
    row = normalized(dialect="writes-hidden", reported_input_tokens=50, reported_output_tokens=17)
    assert row["lower_bound"]


def test_openai_without_a_count_of_writes_leaves_it_null_and_the_total_whole() -> None:
    row = openai(input=9000, cached=3000, output=400)
    assert row["cache_creation_input_tokens"] is None
    assert row["uncached_input_tokens"] == 6000
    assert row["input_tokens"] == 9000
    assert not row["lower_bound"]


def test_openai_without_a_count_of_reads_cannot_be_split() -> None:
    row = openai(input=9000, output=400)
    assert row["unsplit_input_tokens"] == 9000
    assert row["uncached_input_tokens"] is None
    assert row["cached_input_tokens"] is None
    assert row["input_tokens"] == 9000


def test_parts_larger_than_the_whole_are_a_problem_and_null() -> None:
    row = openai(input=100, cached=150, output=5)
    assert row["problems"] == ["negative-bucket"]
    assert [row[bucket] for bucket in BUCKETS] == [None, None, None, None, 5]
    assert row["input_tokens"] is None
    assert row["lower_bound"]


def test_reasoning_larger_than_output_is_a_problem_and_null() -> None:
    row = openai(input=1, cached=0, output=5, reasoning=6)
    assert row["reasoning_output_tokens"] is None
    assert row["output_tokens"] == 5
    assert row["problems"] == ["negative-bucket"]


def test_a_total_that_is_not_the_sum_is_a_problem() -> None:
    assert openai(input=10, cached=0, output=5, total=15)["problems"] == []
    assert openai(input=10, cached=0, output=5, total=16)["problems"] == ["total-mismatch"]


def test_anthropic_input_holds_neither_reads_nor_writes() -> None:
    row = anthropic(input=6, cached=5200, cache_creation=300, output=40)
    assert [row[bucket] for bucket in BUCKETS] == [6, 5200, 300, 0, 40]
    assert row["input_tokens"] == 5506
    assert not row["lower_bound"]


def test_anthropic_without_cache_keys_is_a_lower_bound() -> None:
    row = anthropic(input=50, output=2)
    assert row["cached_input_tokens"] is None
    assert row["cache_creation_input_tokens"] is None
    assert row["input_tokens"] == 50
    assert row["lower_bound"]


@pytest.mark.parametrize(
    ("stated", "creation", "one_hour", "problems"),
    [
        ((300, None, None), 300, None, []),  # lifetime not stated
        ((0, None, None), 0, 0, []),
        ((0, 0, 700), 700, 700, []),  # builds that wrote only the split
        ((None, 100, 700), 800, 700, []),
        ((2000, 500, 1500), 2000, 1500, []),
        ((900, 0, 0), 900, 0, []),  # gateways that leave zeros in the split
        ((1000, 100, 1200), 1000, 1000, ["cache-split-mismatch"]),
        ((1000, 100, 200), 1000, 200, ["cache-split-mismatch"]),
    ],
)
def test_cache_writes_and_their_split(
    stated: tuple[int | None, int | None, int | None],
    creation: int,
    one_hour: int | None,
    problems: list[str],
) -> None:
    flat, five, hour = stated
    row = normalized(
        dialect="anthropic",
        reported_cache_creation_tokens=flat,
        reported_cache_creation_5m_tokens=five,
        reported_cache_creation_1h_tokens=hour,
    )
    assert row["cache_creation_input_tokens"] == creation
    assert row["cache_creation_1h_input_tokens"] == one_hour
    assert row["problems"] == problems


def test_a_difference_of_totals_is_derived() -> None:
    row = normalized(
        dialect="openai", difference=True, reported_input_tokens=5, reported_cached_tokens=1
    )
    assert row["cached_input_tokens_origin"] == "derived"
    assert row["context_tokens"] is None


def counted(dialect: str, **counts: int) -> dict[str, Any]:
    return normalized(dialect=dialect, **{f"reported_{k}_tokens": v for k, v in counts.items()})


@pytest.mark.parametrize("dialect", ["gemini", "xai"])
def test_reasoning_outside_of_the_output_is_added_to_it(dialect: str) -> None:
    row = counted(dialect, input=10, cached=4, output=5, reasoning=7, total=22)
    assert row["output_tokens"] == 12
    assert row["output_tokens_origin"] == "derived"
    assert row["reasoning_output_tokens"] == 7
    assert row["reasoning_output_tokens_origin"] == "reported"
    assert row["total_tokens"] == 22
    assert row["problems"] == []


def test_a_total_without_the_reasoning_outside_is_a_mismatch() -> None:
    row = counted("gemini", input=10, cached=4, output=5, reasoning=7, total=15)
    assert row["problems"] == ["total-mismatch"]
    assert row["output_tokens"] == 12


def test_no_reasoning_stated_leaves_the_output_as_reported() -> None:
    row = counted("gemini", input=10, cached=4, output=5, total=15)
    assert (row["output_tokens"], row["output_tokens_origin"]) == (5, "reported")
    assert row["reasoning_output_tokens"] is None
    assert row["problems"] == []


def test_reasoning_without_an_output_to_add_it_to_leaves_the_output_unknown() -> None:
    row = counted("gemini", input=10, cached=4, reasoning=7)
    assert row["output_tokens"] is None
    assert row["lower_bound"]


def test_reasoning_that_only_the_total_shows_is_derived_from_it() -> None:
    row = counted("gemini-openai", input=35, output=12, total=109)
    assert (row["output_tokens"], row["reasoning_output_tokens"]) == (74, 62)
    assert row["output_tokens_origin"] == row["reasoning_output_tokens_origin"] == "derived"
    assert row["problems"] == []


def test_a_total_too_small_shows_no_reasoning() -> None:
    row = counted("gemini-openai", input=35, output=12, total=40)
    assert (row["output_tokens"], row["reasoning_output_tokens"]) == (12, None)
    assert row["problems"] == ["total-mismatch"]


def test_a_total_over_the_caches_outside_of_the_input() -> None:
    counts = {"input": 3, "cached": 10, "cache_creation": 9, "output": 4}
    row = counted("bedrock", **counts, total=26)
    assert [row[bucket] for bucket in BUCKETS] == [3, 10, 9, 0, 4]
    assert row["problems"] == []
    assert counted("bedrock", **counts, total=7)["problems"] == ["total-mismatch"]
    assert counted("anthropic", **counts, total=7)["problems"] == []


def test_a_total_over_writes_that_only_their_split_states() -> None:
    row = counted("bedrock", input=3, cached=0, cache_creation_1h=9, output=4, total=16)
    assert row["problems"] == []


def test_without_a_cache_all_input_is_uncached() -> None:
    row = counted("cacheless", input=8, output=0, total=8)
    assert [row[bucket] for bucket in BUCKETS] == [8, 0, 0, 0, 0]
    assert row["cached_input_tokens_origin"] == "derived"
    assert row["cache_creation_input_tokens_origin"] == "derived"
    assert not row["lower_bound"]
    assert counted("cacheless", output=1)["cached_input_tokens"] is None


def test_a_guessed_direction_makes_all_its_buckets_assumed() -> None:
    counts = {"input": 9, "cached": 3, "output": 4, "reasoning": 1}
    columns = {f"reported_{name}_tokens": count for name, count in counts.items()}
    row = normalized(dialect="openai", assumed=["input"], **columns)
    origins = {name: row[f"{name}_origin"] for name in BUCKETS}
    assert origins == {
        "uncached_input_tokens": "assumed",
        "cached_input_tokens": "assumed",
        "cache_creation_input_tokens": None,
        "unsplit_input_tokens": "assumed",
        "output_tokens": "reported",
    }
    row = normalized(dialect="openai", assumed=["output"], **columns)
    assert row["output_tokens_origin"] == row["reasoning_output_tokens_origin"] == "assumed"
    assert row["uncached_input_tokens_origin"] == "derived"


@given(
    st.sampled_from(["openai", "anthropic", None]),
    st.fixed_dictionaries(
        {
            f"reported_{name}_tokens": COUNT
            for name in (
                "input",
                "cached",
                "cache_creation",
                "cache_creation_5m",
                "cache_creation_1h",
                "output",
                "reasoning",
            )
        }
    ),
)
def test_buckets_add_up_to_what_is_reported_or_the_row_says_why(
    dialect: str | None, counts: dict[str, int | None]
) -> None:
    row = normalized(dialect=dialect, **counts)
    known = [row[bucket] for bucket in BUCKETS if row[bucket] is not None]
    assert all(value >= 0 for value in known)
    assert row["total_tokens"] == (sum(known) if known else None)
    if row["problems"]:
        return
    stated = counts["reported_input_tokens"]
    if dialect == "openai" and stated is not None:
        assert row["input_tokens"] == stated
    if dialect == "anthropic" and stated is not None:
        assert row["uncached_input_tokens"] == stated
    for bucket in BUCKETS:
        assert (row[bucket] is None) == (row[f"{bucket}_origin"] is None)
