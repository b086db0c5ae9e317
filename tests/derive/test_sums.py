"""Sums over a series of calls, beside the calls."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import tries
from tests.reported import settled

Row = dict[str, Any]


def at(minute: int) -> datetime:
    return datetime(2026, 6, 1, 12, minute, tzinfo=UTC)


def call(tokens: int, output: int, **more: Any) -> Row:
    """A call of run r-1 on model m-1."""
    row = {
        "source": "deer-flow",
        "dialect": "openai",
        "series": "r-1",
        "thread_id": "t-1",
        "model": "m-1",
        "timestamp": at(0),
        "identity": f"call-{tokens}",
        "reported_input_tokens": tokens,
        "reported_output_tokens": output,
    }
    return row | more


def total(tokens: int | None, output: int | None, **more: Any) -> Row:
    """The sum of run r-1."""
    stated = {"kind": "sum", "calls": None, "model": None, "identity": f"run-{more.get('model')}"}
    return call(tokens or 0, output or 0) | {
        "reported_input_tokens": tokens,
        "reported_output_tokens": output,
    } | stated | more  # fmt: skip


def caller(name: str, tokens: int) -> Row:
    """What the run asserts of one caller."""
    said = {"caller": name, "reported_total_tokens": tokens, "identity": None, "calls": None}
    return total(None, None, **said) | {"kind": "assertion"}


def task(tokens: int, output: int, name: str = "a", **more: Any) -> Row:
    """The sum of a sub-agent."""
    thread = {"thread_id": f"t-1/{name}", "parent_thread_id": "t-1", "root_thread_id": "t-1"}
    said = {"identity": f"task-{name}", "caller": "subagent", "model": "configured"}
    return total(tokens, output) | thread | said | more


def counted(*rows: Row) -> list[tuple[Any, ...]]:
    """Kind, model, caller, calls, input and output of the rows that count, sums last."""
    frame = settled(*rows).filter(
        pl.col("duplicate_of").is_null(), pl.col("kind").is_in(["call", "sum"])
    )
    return frame.select("kind", "model", "caller", "calls", "input_tokens", "output_tokens").rows()


def test_a_sum_without_calls_counts() -> None:
    assert counted(total(30, 3, calls=2)) == [("sum", None, "lead", 2, 30, 3)]


def test_a_sum_whose_calls_are_on_record_is_an_assertion() -> None:
    rows = settled(total(30, 3), call(10, 1), call(20, 2))
    assert rows["kind"].to_list() == ["assertion", "call", "call"]
    assert rows["problems"].to_list() == [[], [], []]


def test_the_calls_may_stand_in_another_file() -> None:
    rows = (total(30, 3), call(10, 1, path="b.jsonl"), call(20, 2, path="c.jsonl"))
    assert [row[0] for row in counted(*rows)] == ["call", "call"]


def test_calls_of_another_series_or_source_have_no_part_in_it() -> None:
    rows = (total(30, 3), call(30, 3, series="r-2"), call(30, 3, source="codex", identity="x"))
    assert [row[0] for row in counted(*rows)] == ["sum", "call", "call"]


def test_the_rest_of_a_sum_counts_and_says_whose_it_is_where_that_adds_up() -> None:
    rows = (total(30, 3, calls=3), caller("subagent", 22), call(10, 1))
    assert counted(*rows) == [
        ("sum", None, "subagent", None, 20, 2),
        ("call", "m-1", "lead", 1, 10, 1),
    ]


def test_a_rest_has_the_calls_that_are_left_and_no_model_that_was_a_guess() -> None:
    guess = {"model": "m-1", "problems": ["assumed-model"]}
    rows = settled(total(30, 3, calls=3, **guess), call(10, 1))
    rest = rows.row(0, named=True)
    assert (rest["model"], rest["calls"], rest["input_tokens"]) == (None, 2, 20)
    assert rest["problems"] == ["no-model"]
    assert rest["unsplit_input_tokens_origin"] == "derived"


def test_a_rest_keeps_what_was_read_from_a_cache_where_all_calls_state_it() -> None:
    sums = total(30, 3, reported_cached_tokens=15, model="m-1")
    known = settled(sums, call(10, 1, reported_cached_tokens=4)).row(0, named=True)
    unknown = settled(sums, call(10, 1)).row(0, named=True)
    assert (known["uncached_input_tokens"], known["cached_input_tokens"]) == (9, 11)
    assert (unknown["unsplit_input_tokens"], unknown["cached_input_tokens"]) == (20, None)


def test_sums_by_model_are_compared_model_by_model() -> None:
    rows = (total(30, 3, model="m-1"), total(5, 1, model="m-2"), call(30, 3))
    assert [row[:2] for row in counted(*rows)] == [("sum", "m-2"), ("call", "m-1")]


def test_calls_of_a_model_that_no_sum_has_are_taken_from_the_largest_sum() -> None:
    rows = (total(30, 3, model="m-3"), total(5, 1, model="m-2"), call(10, 1))
    assert [(row[1], row[4]) for row in counted(*rows)] == [("m-3", 20), ("m-2", 5), ("m-1", 10)]


def test_a_sum_below_its_calls_does_not_hold() -> None:
    rows = settled(total(25, 3), call(10, 1), call(20, 2))
    assert rows["kind"][0] == "assertion"
    assert rows["problems"][0].to_list() == ["total-mismatch"]
    assert rows["detail"][0] == "input 25 asserted, 30 counted"


def test_a_sum_that_added_a_repeated_record_again_leaves_no_rest() -> None:
    rows = (total(20, 2), call(10, 1), call(10, 1))
    assert counted(*rows) == [("call", "m-1", "lead", 1, 10, 1)]
    assert settled(*rows)["problems"][0].to_list() == ["total-mismatch"]


@pytest.mark.parametrize("holder", ["subagent", "lead+subagent", "unknown"])
def test_where_sub_agents_calls_are_on_record_they_are_all_there_are(holder: str) -> None:
    rows = (total(50, 5, caller=holder), call(10, 1), call(20, 2, caller="subagent"), task(20, 2))
    assert [row[4] for row in counted(*rows)] == [10, 20]


def test_a_lead_that_lost_a_record_is_not_taken_for_doubled_sub_agents() -> None:
    rows = (
        total(40, 4, model="m-1"),
        total(40, 4, model="m-2", caller="subagent"),
        call(10, 1),
        call(20, 2, caller="subagent", model="m-2"),
    )
    assert [(row[1], row[4]) for row in counted(*rows)] == [("m-1", 30), ("m-1", 10), ("m-2", 20)]


def test_a_task_counts_where_no_sum_is_there_to_hold_it() -> None:
    assert counted(task(20, 2)) == [("sum", "configured", "subagent", None, 20, 2)]


def test_a_task_yields_to_a_sum_that_holds_it() -> None:
    rows = (total(30, 3, model="m-2", caller="subagent"), task(20, 2), task(10, 1, "b"))
    assert [row[:2] for row in counted(*rows)] == [("sum", "m-2")]
    assert settled(*rows)["duplicate_reason"].to_list() == [None, "in-sum", "in-sum"]


def test_a_task_counts_where_the_sums_state_nothing() -> None:
    rows = (total(None, None, problems=["no-counts"]), call(10, 1), task(20, 2))
    assert [row[4] for row in counted(*rows)] == [10, 20]


def test_a_task_that_is_larger_than_the_rest_counts_in_place_of_it() -> None:
    rows = (total(15, 2, caller="lead+subagent"), call(10, 1), task(20, 2))
    assert [row[4] for row in counted(*rows)] == [10, 20]
    assert settled(*rows)["problems"][0].to_list() == ["total-mismatch"]


def test_a_silent_sum_beside_calls_says_nothing() -> None:
    rows = settled(total(None, None, problems=["no-counts"]), call(10, 1))
    assert rows["kind"].to_list() == ["assertion", "call"]
    assert rows["problems"][0].to_list() == []


def state(tokens: int, output: int, minute: int, **more: Any) -> Row:
    """An answer in a saved state, which names no run."""
    saved = {"series": None, "evidence": "state", "timestamp": at(minute)}
    return call(tokens, output) | saved | more


def test_an_answer_in_a_saved_state_belongs_to_the_run_of_its_time() -> None:
    rows = (
        total(30, 3, timestamp=at(1), calls=2),
        total(50, 5, timestamp=at(9), series="r-2", identity="run-2"),
        state(10, 1, 2),
        state(7, 1, 0),
    )
    assert [(row[0], row[4]) for row in counted(*rows)] == [
        ("sum", 20),
        ("sum", 50),
        ("call", 10),
        ("call", 7),
    ]


@pytest.mark.parametrize("untimed", ["sum", "state"])
def test_an_answer_in_a_saved_state_never_counts_beside_the_sum_that_may_hold_it(
    untimed: str,
) -> None:
    stated = total(30, 3, timestamp=None if untimed == "sum" else at(5))
    saved = state(10, 1, 2, **({"timestamp": None} if untimed == "state" else {}))
    assert [(row[0], row[4]) for row in counted(stated, saved)] == [("sum", 20), ("call", 10)]


def test_an_answer_in_a_saved_state_that_does_not_fit_yields_to_the_sum() -> None:
    rows = (total(5, 3, timestamp=at(1)), state(10, 1, 2))
    assert [(row[0], row[4]) for row in counted(*rows)] == [("sum", 5)]


def test_an_answer_in_a_saved_state_yields_to_its_own_record() -> None:
    rows = (total(10, 1, timestamp=at(1)), call(10, 1), state(10, 1, 2))
    assert [(row[0], row[4]) for row in counted(*rows)] == [("call", 10)]


def test_a_task_in_a_saved_state_is_the_one_among_the_records() -> None:
    saved: Row = {"series": None, "evidence": "state", "timestamp": at(2), "identity": "other"}
    rows = (total(None, None, timestamp=at(1)), task(20, 2), task(20, 2, **saved))
    assert [(row[0], row[4]) for row in counted(*rows)] == [("sum", None), ("sum", 20)]


def running(tokens: int, output: int, **more: Any) -> Row:
    """What a run that has not ended had added up when its row was last written."""
    return total(tokens, output, timestamp=at(1), finished=False, caller="unknown", **more)


def test_a_call_that_a_run_made_after_its_snapshot_counts_beside_it() -> None:
    title = running(30, 3, model="m-2", calls=1), caller("middleware", 33)
    rows = (*title, state(10, 1, 2))
    assert [(row[0], row[4]) for row in counted(*rows)] == [("sum", 30), ("call", 10)]


def test_what_a_run_used_is_unknown_where_nothing_but_a_saved_state_tells_of_it() -> None:
    silent = total(None, None, finished=False, timestamp=at(1), problems=["no-counts"])
    rows = settled(silent, state(10, 1, 2))
    assert rows["kind"].to_list() == ["sum", "call"]
    assert rows["problems"][0].to_list() == ["no-counts", "no-model"]
    assert settled(silent, call(10, 1))["kind"].to_list() == ["assertion", "call"]


def test_a_snapshot_holds_the_first_calls_of_the_lead_up_to_its_total() -> None:
    rows = (running(30, 3, model="m-1"), state(10, 1, 2), state(20, 2, 3), state(40, 4, 4))
    assert [(row[0], row[4]) for row in counted(*rows)] == [
        ("call", 10),
        ("call", 20),
        ("call", 40),
    ]
    assert settled(*rows)["problems"].to_list() == [[]] * 4


def test_a_snapshot_never_holds_a_part_of_a_call() -> None:
    rows = (running(29, 3, model="m-1"), state(10, 1, 2), state(20, 2, 3))
    assert [(row[0], row[4]) for row in counted(*rows)] == [
        ("sum", 19),
        ("call", 10),
        ("call", 20),
    ]


def test_calls_on_record_may_be_newer_than_the_snapshot() -> None:
    rows = settled(running(10, 1, model="m-1"), call(10, 1), call(20, 2))
    assert rows["kind"].to_list() == ["assertion", "call", "call"]
    assert rows["problems"].to_list() == [[]] * 3


def test_a_task_that_ended_after_the_snapshot_counts_beside_the_one_in_it() -> None:
    first, second = task(20, 2, timestamp=at(2)), task(30, 3, "b", timestamp=at(3))
    rows = (running(20, 2, model="m-2"), second, first, caller("subagent", 22))
    assert [(row[1], row[4]) for row in counted(*rows)] == [("m-2", 20), ("configured", 30)]


def test_a_sum_is_not_the_leads_where_all_calls_of_the_lead_are_on_record() -> None:
    rows = (
        total(30, 3, model="m-1", caller="unknown"),
        total(30, 3, model="m-2", caller="unknown"),
        total(5, 1, model="m-3", caller="middleware"),
        caller("subagent", 33),
        caller("middleware", 6),
        call(30, 3),
    )
    assert [(row[1], row[2]) for row in counted(*rows)] == [
        ("m-2", "subagent"),
        ("m-3", "middleware"),
        ("m-1", "lead"),
    ]


def test_equal_totals_alone_do_not_say_whose_a_sum_is() -> None:
    sums = [total(30, 3, model=name, caller="unknown") for name in ("m-1", "m-2")]
    assert [row[2] for row in counted(*sums, caller("subagent", 33))] == ["unknown", "unknown"]


def test_a_task_told_by_an_event_and_in_a_saved_state_is_one_without_a_run() -> None:
    saved: Row = {"series": None, "evidence": "state", "timestamp": at(2), "identity": "message"}
    rows = (task(20, 2), task(20, 2, **saved), task(20, 2, "b", **saved | {"identity": "other"}))
    assert [(row[0], row[4]) for row in counted(*rows)] == [("sum", 20), ("sum", 20)]


COUNTS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), max_size=4)


@tries(20)
@given(recorded=st.tuples(COUNTS, COUNTS), lost=st.tuples(COUNTS, COUNTS))
def test_what_is_on_record_and_the_rests_add_up_to_the_sums(recorded: Any, lost: Any) -> None:
    rows = []
    for number, (here, gone) in enumerate(zip(recorded, lost, strict=True)):
        model, both = f"m-{number}", [*here, *gone]
        rows.append(total(sum(i for i, _ in both), sum(o for _, o in both), model=model))
        rows += [
            call(i, o, model=model, identity=f"{model}/{place}")
            for place, (i, o) in enumerate(here)
        ]
    whole = [both for pair in (*recorded, *lost) for both in pair]
    got = counted(*rows)
    assert sum(row[4] for row in got) == sum(i for i, _ in whole)
    assert sum(row[5] for row in got) == sum(o for _, o in whole)
