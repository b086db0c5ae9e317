from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from tests.reported import settled

START = datetime(2026, 2, 3, 12, tzinfo=UTC)


def counted(frame: pl.DataFrame) -> list[int]:
    free = frame.filter(pl.col("duplicate_of").is_null(), pl.col("kind") != "problem")
    return free["record"].to_list()


def reasons(frame: pl.DataFrame) -> list[str | None]:
    return frame["duplicate_reason"].to_list()


def response(output: int = 5, **columns: Any) -> dict[str, Any]:
    return {
        "source": "claude-code",
        "dialect": "anthropic",
        "identity": "msg_1",
        "thread_id": "s",
        "model": "claude",
        "timestamp": START,
        "reported_input_tokens": 1,
        "reported_cached_tokens": 2,
        "reported_cache_creation_tokens": 0,
        "reported_output_tokens": output,
        **columns,
    }


def step(sequence: str, **columns: Any) -> dict[str, Any]:
    return {
        "dialect": "openai",
        "thread_id": "t",
        "sequence": sequence,
        "model": "gpt",
        "timestamp": START,
        "reported_input_tokens": 10,
        "reported_cached_tokens": 0,
        "reported_output_tokens": 1,
        **columns,
    }


def test_the_line_with_the_highest_output_stands_for_the_response() -> None:
    frame = settled(response(2), response(310), response(2))
    assert counted(frame) == [2]
    assert reasons(frame) == ["same-response", None, "same-response"]
    assert frame["duplicate_of"].drop_nulls().unique().to_list() == ["claude-code:msg_1"]


def test_of_equal_lines_the_one_that_splits_the_prompt_counts() -> None:
    snapshot = response(
        reported_cached_tokens=None, reported_cache_creation_tokens=None, finished=True
    )
    assert counted(settled(snapshot, response())) == [2]


def test_a_sidechain_replay_under_another_request_yields_to_the_original() -> None:
    replay = response(900, sidechain=True, request_id="r2", path="b.jsonl", record=1)
    frame = settled(replay, response(request_id="r1"))
    assert counted(frame) == [2]


def test_a_copy_that_lost_its_model_yields_to_the_file_that_has_it() -> None:
    assert counted(settled(response(model=None), response(path="z.jsonl"))) == [2]


def test_an_original_beats_its_copy() -> None:
    frame = settled(response(is_copy=True), response(path="z.jsonl"))
    assert counted(frame) == [2]


def test_an_embedded_copy_counts_only_where_the_original_is_gone() -> None:
    copy = response(900, evidence="copy")
    assert counted(settled(copy, response())) == [2]
    alone = settled(copy)
    assert counted(alone) == [1]
    assert alone["problems"].to_list() == [["only-copy"]]


def test_an_id_used_again_for_another_model_is_another_call() -> None:
    later: dict[str, Any] = {
        "timestamp": START + timedelta(hours=1),
        "record_id": "u2",
        "chain_id": "u2",
    }
    first = response(record_id="u1", chain_id="u1")
    assert counted(settled(first, response(model="other", **later))) == [1, 2]
    assert counted(settled(first, response(**later))) == [2]


def test_a_response_that_changed_its_model_stays_one_call() -> None:
    frame = settled(response(request_id="r"), response(9, request_id="r", model="other"))
    assert counted(frame) == [2]


def test_a_response_without_an_end_is_a_placeholder() -> None:
    open_, done = response(finished=False), response(finished=True)
    assert settled(open_)["problems"].to_list() == [["placeholder-output"]]
    assert settled(open_, done)["problems"].to_list() == [[], []]


def test_copies_of_a_file_change_nothing() -> None:
    rows = [step("a"), step("b"), step("a")]  # the counters were reset, `a` came twice
    copies = [{**row, "path": "b.jsonl", "record": n} for n, row in enumerate(rows, 1)]
    frame = settled(*rows, *copies)
    assert frame.filter(pl.col("duplicate_of").is_null())["path"].to_list() == ["a.jsonl"] * 3
    assert set(reasons(frame)[3:]) == {"same-record"}


def test_equal_numbers_in_two_threads_are_two_calls() -> None:
    assert counted(settled(step("a"), step("a", thread_id="u"))) == [1, 2]


def test_a_repeat_points_at_the_call_before_it() -> None:
    frame = settled(step("a"), step("a", repeat="re-emission"))
    assert reasons(frame) == [None, "re-emission"]
    assert frame["duplicate_of"][1] == frame["call_id"][0]


def child(sequence: str, history: str = "before-turn", **columns: Any) -> dict[str, Any]:
    return step(
        sequence,
        path="child.jsonl",
        thread_id="c",
        history=history,
        history_thread_ids=["t"],
        **columns,
    )


def test_a_fork_counts_only_what_follows_the_parents_history() -> None:
    late: dict[str, Any] = {"timestamp": START + timedelta(hours=1)}
    frame = settled(step("a"), step("b"), child("a"), child("b", **late), child("c", **late))
    assert reasons(frame) == [None, None, "replayed-history", "replayed-history", None]
    assert frame["duplicate_of"][2] == frame["call_id"][0]


def test_a_fork_whose_parent_is_gone_counts_from_its_first_own_turn() -> None:
    frame = settled(child("a", foreign_history=True), child("b", "after-turn"))
    assert reasons(frame) == ["replayed-history", None]
    assert frame["problems"].to_list() == [["parent-missing"], []]


def test_a_burst_of_copies_is_left_out_where_nothing_else_tells() -> None:
    times = [START, START + timedelta(milliseconds=20), START + timedelta(seconds=9)]
    frame = settled(*(child(s, timestamp=time) for s, time in zip("abc", times, strict=True)))
    assert reasons(frame) == ["replayed-history", "replayed-history", None]


def test_a_sub_agent_that_starts_with_the_parents_numbers_counts() -> None:
    frame = settled(step("a"), child("a", "after-turn", fresh_counter=True))
    assert reasons(frame) == [None, None]


def test_an_inherited_total_that_comes_again_after_the_first_own_turn_is_not_counted() -> None:
    frame = settled(
        child("a", running_total=[300, 0, None, 9, 0, 309], foreign_history=True),
        child("x", "after-turn", running_total=[280, 0, None, 9, 0, 289]),
        child("b", "after-turn", running_total=[320, 0, None, 9, 0, 329]),
        child("c", "after-turn", running_total=[250, 0, None, 9, 0, 259]),
    )
    assert reasons(frame) == ["replayed-history", "replayed-history", None, None]


def capture(total: int, **columns: Any) -> dict[str, Any]:
    return {
        "kind": "sum",
        "calls": None,
        "dialect": "openai",
        "evidence": "capture-total",
        "thread_id": "t",
        "running": True,
        "series": "t",
        "reported_input_tokens": total,
        "reported_cached_tokens": 0,
        "reported_output_tokens": 1,
        **columns,
    }


def test_running_totals_count_by_their_differences() -> None:
    frame = settled(capture(100), capture(250), capture(250))
    assert frame["input_tokens"].to_list()[:2] == [100, 150]
    assert reasons(frame) == [None, None, "same-record"]


def test_running_totals_go_on_in_the_next_file_or_start_anew() -> None:
    onwards = capture(300, path="b.jsonl")
    assert settled(capture(100), onwards)["input_tokens"].to_list() == [100, 200]
    anew = [capture(500, path="b.jsonl"), capture(40, path="b.jsonl")]
    assert settled(*anew)["input_tokens"].to_list() == [500, 40]


def test_a_count_that_an_older_build_left_out_of_the_total_has_risen_by_nobody_knows() -> None:
    newer = capture(300, path="b.jsonl", reported_reasoning_tokens=90, reported_output_tokens=9)
    frame = settled(capture(100), newer)
    assert frame["output_tokens"].to_list() == [1, 8]
    assert frame["reasoning_output_tokens"].to_list() == [None, None]
    assert frame["problems"].to_list() == [["no-model", "no-time"]] * 2


def test_a_capture_yields_to_the_threads_own_log() -> None:
    frame = settled(step("a"), capture(100, path="out.jsonl"))
    assert reasons(frame) == [None, "capture"]


def test_lines_of_a_capture_yield_to_its_totals_but_not_to_a_sum_of_the_run() -> None:
    line = response(evidence="capture-line", thread_id="t", source="codex")
    assert reasons(settled(line, capture(100))) == ["capture", None]
    assert reasons(settled(line, capture(100, running=False))) == [None, "capture"]


def test_a_thread_without_counts_is_one_only_where_no_file_counts_it() -> None:
    thread = {"kind": "thread", "thread_id": "t", "calls": None, "problems": ["no-counts"]}
    assert counted(settled({**thread, "path": "old.jsonl"})) == [1]
    assert counted(settled(step("a"), {**thread, "path": "old.jsonl"})) == [1]


def asserted(output: int, **columns: Any) -> dict[str, Any]:
    return response(output, kind="assertion", running=True, series="s|1", identity=None, **columns)


def test_an_assertion_that_holds_is_quiet_and_one_that_does_not_says_both_numbers() -> None:
    frame = settled(response(5), asserted(3), asserted(5))
    assert frame["problems"].to_list() == [[], [], []]
    frame = settled(response(5), asserted(3), asserted(9))
    assert frame["problems"].to_list() == [[], [], ["total-mismatch"]]
    assert frame["detail"][2] == "output 9 asserted, 5 counted"


def test_assertions_are_never_counted() -> None:
    frame = settled(response(5), asserted(9, model="side"))
    assert frame.filter(pl.col("kind") == "call")["output_tokens"].to_list() == [5]
    assert frame["problems"][1].to_list() == ["total-mismatch"]
