"""What a correction changes of a row, and what it leaves as it is."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from tallybook.derive.corrections import apply
from tests.backfill.pairs import answer, call, propose, rows


def applied(*given: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """The call after what its evidence proves of it; `changed` is what its log now states."""
    frame = rows(*given)
    corrections = propose(frame).corrections
    now = frame.with_columns(**{name: pl.lit(value) for name, value in changed.items()})
    return apply(now, corrections).row(0, named=True)


SPLIT = answer(input=9000, cached=8000, creation=0, output=5, reasoning=3)


def test_the_direction_is_replaced_and_the_sums_follow() -> None:
    row = applied(
        call(dialect="anthropic", input=14, output=5),
        answer(dialect="anthropic", input=14, cached=30, creation=12, output=5),
    )
    assert (row["input_tokens"], row["total_tokens"]) == (56, 61)
    assert not row["lower_bound"]


def test_what_the_log_stated_keeps_its_origin() -> None:
    row = applied(
        call(dialect="anthropic", input=14, output=5),
        answer(dialect="anthropic", input=14, cached=30, creation=12, output=5),
    )
    assert row["uncached_input_tokens_origin"] == "reported"
    assert row["cached_input_tokens_origin"] == "backfilled"
    assert row["output_tokens_origin"] == "reported"


def test_a_guess_that_is_proved_is_a_guess_no_longer() -> None:
    row = applied(
        call(dialect="anthropic", input=14, output=5, assumed=["input"]),
        answer(dialect="anthropic", input=14, cached=30, creation=12, output=5),
    )
    assert row["uncached_input_tokens_origin"] == "backfilled"


def test_the_evidence_is_named_on_the_row() -> None:
    row = applied(call(input=9000, output=5), SPLIT)
    assert (row["backfill_method"], row["backfill_path"], row["backfill_record"]) == (
        "detail",
        "data.sqlite",
        1001,
    )


def test_reasoning_is_filled_beside_an_output_that_stays() -> None:
    row = applied(call(input=9000, output=5), SPLIT)
    assert (row["output_tokens"], row["reasoning_output_tokens"]) == (5, 3)
    assert row["output_tokens_origin"] == "reported"
    assert row["reasoning_output_tokens_origin"] == "backfilled"


def test_cache_writes_that_neither_states_stay_unknown() -> None:
    row = applied(
        call(dialect="anthropic", input=14, output=5),
        answer(dialect="anthropic", input=14, cached=30, output=5),
    )
    assert row["cache_creation_input_tokens"] is None
    assert row["cache_creation_input_tokens_origin"] is None
    assert row["lower_bound"]


def test_an_output_that_is_proved_is_a_placeholder_no_longer() -> None:
    placeholder = call(input=9000, output=5, finished=False)
    row = applied(placeholder)
    assert (row["problems"], row["output_lower_bound"]) == (["placeholder-output"], True)
    row = applied(placeholder, SPLIT)
    assert (row["problems"], row["lower_bound"]) == ([], False)


def test_two_first_counts_that_agree_do_not_make_a_last_one() -> None:
    placeholder = call(dialect="anthropic", input=14, output=5, finished=False)
    again = answer(dialect="anthropic", input=14, cached=30, creation=12, output=5)
    row = applied(placeholder, again)
    assert (row["input_tokens"], row["problems"]) == (56, ["placeholder-output"])
    assert (row["input_lower_bound"], row["output_lower_bound"]) == (False, True)
    assert applied(placeholder, {**again, "finished": True})["problems"] == []


def test_an_answer_that_broke_off_states_no_output() -> None:
    lost = call(input=9000, output=None)
    row = applied(lost, {**SPLIT, "finished": False})
    assert (row["cached_input_tokens"], row["output_tokens"]) == (8000, None)
    assert applied(lost, SPLIT)["output_tokens"] == 5


def test_the_price_tier_is_judged_by_the_whole_prompt() -> None:
    who: dict[str, Any] = {"dialect": "anthropic", "input": 14, "output": 5}
    evidence = answer(**who, cached=200_000, creation=0)
    assert applied(call(**who), evidence)["context_tokens"] == 200_014
    assert applied(call(**who, context_tokens=7), evidence)["context_tokens"] == 7


def test_a_row_that_no_longer_states_what_was_proved_is_left_alone() -> None:
    row = applied(call(input=9000, output=5), SPLIT, unsplit_input_tokens=9001)
    assert (row["unsplit_input_tokens"], row["cached_input_tokens"]) == (9001, None)
    assert "stale-correction" in row["problems"]
    assert row["backfill_method"] == "detail"  # of the reasoning, which is as it was


def test_an_answered_question_is_a_problem_no_longer() -> None:
    row = applied(call(input=9000, output=5, problems=["ambiguous-dialect", "other"]), SPLIT)
    assert row["problems"] == ["other"]


def test_rows_that_nothing_was_proved_of_stay_as_they_are() -> None:
    frame = rows(call(input=9000, output=5), SPLIT, call(2, input=7, output=1))
    after = apply(frame, propose(frame).corrections)
    others = pl.col("call_id") != "9router:call-1"
    assert after.filter(others).select(frame.columns).equals(frame.filter(others))
    assert after.height == frame.height


@pytest.mark.parametrize("column", ["duplicate_of"])
def test_a_duplicate_is_never_filled(column: str) -> None:
    row = applied(call(input=9000, output=5), SPLIT, **{column: "9router:call-1"})
    assert (row["cached_input_tokens"], row["problems"]) == (None, [])
