"""A thread of Codex whose log states no counts is counted by the rows of the router behind it.

With a chat upstream Codex writes that an answer came and that nothing is known of its usage. The
router writes a row as the answer ends, some milliseconds before; Codex runs the tool and then says
that there are no counts.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import polars as pl
import pytest

from tests.derive.test_forwarded import CODEX, Row, at, kept, routed
from tests.reported import settled

SECOND = "01a22a28-c59e-7522-9e2d-92157ce15b66"
THREAD: Row = {
    "source": "codex", "path": "rollout.jsonl", "record": 0, "kind": "thread", "calls": None,
    "dialect": "openai", "model": "mc/gpt-5", "thread_id": CODEX, "project": "/w",
    "timestamp": at(8), "problems": ["no-counts"],
}  # fmt: skip


def answer(number: int, **columns: Any) -> Row:
    """An answer of the thread, whose tool took two seconds."""
    thread = columns.get("thread_id", CODEX)
    return {
        "source": "codex", "path": "rollout.jsonl", "record": number, "kind": "event",
        "calls": None, "dialect": "openai", "model": "mc/gpt-5", "thread_id": CODEX,
        "routed": True, "tool_ids": [f"call_{number}"],
        "identity": f"answered:{thread}:{number}", "timestamp": at(10 * number + 2), **columns,
    }  # fmt: skip


def row(number: int, **columns: Any) -> Row:
    return routed(number, model="gpt-5", route="responses>openai stream", **columns)


def asked(number: int, **columns: Any) -> Row:
    """The request that the router kept, with the results of the tools that the thread asked for."""
    who = {"thread_id": None, "log_source": None, "tool_ids": [f"call_{number - 1}"]}
    return kept(number, **{"model": "gpt-5", **who, **columns})


def counts(frame: pl.DataFrame) -> list[tuple[str, str, int | None, str | None, str | None]]:
    """The rows that count, by time: source, kind, prompt, thread and project."""
    rows = frame.filter(pl.col("duplicate_of").is_null(), pl.col("kind").is_in(["call", "thread"]))
    shown = ("source", "kind", "uncached_input_tokens", "thread_id", "project")
    return rows.sort("timestamp", "source").select(shown).rows()


def lent(*numbers: int, thread: str = CODEX) -> list[tuple[str, str, int, str, str]]:
    return [("9router", "call", 1000 + n, thread, "/w") for n in numbers]


NUMBERS = (1, 2, 3)
ANSWERS = [answer(n) for n in NUMBERS]
ROWS = [row(n) for n in NUMBERS]


def test_three_answers_with_a_row_as_each_ended_are_those_calls_without_proof() -> None:
    frame = settled(THREAD, *ANSWERS, *ROWS)
    assert counts(frame) == lent(*NUMBERS)
    (silent,) = frame.filter(pl.col("duplicate_of").is_not_null()).to_dicts()
    assert (silent["kind"], silent["calls"]) == ("thread", 3)
    assert (silent["duplicate_reason"], silent["problems"]) == (
        "probably-same-call",
        ["probably-same-call"],
    )
    assert not frame.filter(pl.col("source") == "9router")["lower_bound"].any()


def test_the_order_of_reading_and_copies_change_nothing() -> None:
    copies = [{**each, "path": f"copy/{each['path']}"} for each in (THREAD, *ANSWERS, *ROWS)]
    for some in permutations([[THREAD, *ANSWERS], ROWS, copies]):
        assert counts(settled(*(each for rows in some for each in rows))) == lent(*NUMBERS)


@pytest.mark.parametrize(
    "rows",
    [
        [THREAD, *ANSWERS[:2], *ROWS[:2]],
        [THREAD, *ANSWERS, *ROWS[:2]],
        [THREAD, *ANSWERS, *ROWS, row(4, timestamp=at(15))],
        [THREAD, *ANSWERS, *ROWS[:2], row(3, timestamp=at(33.1))],
        [THREAD, *ANSWERS, *ROWS[:2], row(3, timestamp=at(21.9))],
        [THREAD, *ANSWERS, *({**each, "model": "gpt-5-mini"} for each in ROWS)],
        [THREAD, *ANSWERS, *ROWS, asked(2, tool_ids=["call_of_another"])],
        [THREAD, *({**each, "routed": False} for each in ANSWERS), *ROWS],
    ],
    ids=[
        "two",
        "a-row-less",
        "a-row-more",
        "too-late",
        "too-early",
        "model",
        "another-s",
        "direct",
    ],
)
def test_a_thread_without_counts_stays_where_its_answers_are_not_told(rows: list[Row]) -> None:
    frame = settled(*rows)
    assert [each[:2] for each in counts(frame) if each[1] == "thread"] == [("codex", "thread")]
    assert {each[3] for each in counts(frame) if each[0] == "9router"} == {None}


def test_the_thread_in_the_kept_requests_proves_even_one_answer() -> None:
    named = kept(1, thread_id=CODEX, log_source="codex", model="gpt-5")
    other = row(2, timestamp=at(10.5))
    frame = settled(THREAD, answer(1), row(1), named, other)
    assert counts(frame) == [*lent(1), ("9router", "call", 1002, None, None)]
    silent = frame.filter(pl.col("kind") == "thread")
    assert silent["duplicate_reason"].to_list() == ["witness"]


def test_two_answers_of_which_a_tool_s_result_proves_one_are_told() -> None:
    frame = settled(THREAD, *ANSWERS[:2], *ROWS[:2], asked(2))
    assert counts(frame) == lent(1, 2)
    assert frame.filter(pl.col("kind") == "thread")["problems"].to_list() == [
        ["probably-same-call"]
    ]


def test_rows_that_are_another_client_s_by_their_counts_are_not_the_thread_s() -> None:
    """A session with counts goes through the same router at the same time."""
    whole = {"thread_id": SECOND, "routed": True, "source": "codex", "path": "other.jsonl",
             "dialect": "openai", "model": "mc/gpt-5", "reported_cached_tokens": 600,
             "reported_cache_creation_tokens": 50}  # fmt: skip
    others = [
        {**whole, "record": n, "identity": f"c{n}", "timestamp": at(10 * n + 1),
         "reported_input_tokens": 1700 + n, "reported_output_tokens": 200 + n}
        for n in NUMBERS
    ]  # fmt: skip
    theirs = [
        row(n, record=200 + n, identity=f"theirs {n}", timestamp=at(10 * n + 1),
            reported_input_tokens=1700 + n, reported_output_tokens=200 + n)
        for n in NUMBERS
    ]  # fmt: skip
    frame = settled(THREAD, *ANSWERS, *ROWS, *others, *theirs)
    assert sorted(counts(frame), key=str) == sorted(
        [*lent(*NUMBERS), *(("codex", "call", 1050 + n, SECOND, None) for n in NUMBERS)], key=str
    )


def test_two_such_threads_at_once_yield_and_lend_names_to_no_row_that_may_be_the_other_s() -> None:
    later = {"thread_id": SECOND, "path": "second.jsonl", "project": "/v"}
    second = {**THREAD, **later, "timestamp": at(25)}
    answers = [
        {**answer(n + 2), "thread_id": SECOND, "path": "second.jsonl",
         "identity": f"answered:{SECOND}:{n}", "timestamp": at(10 * n + 23)}
        for n in NUMBERS
    ]  # fmt: skip
    rows = [row(n + 3, record=300 + n, timestamp=at(10 * n + 22.5)) for n in NUMBERS]
    frame = settled(THREAD, *ANSWERS, *ROWS, second, *answers, *rows)
    # The third row of the first (30.1) lies in both: the second has begun at 25 and ends at 33.
    # So does the first of the second (32.5), but no other.
    assert counts(frame) == [
        *lent(1, 2),
        ("9router", "call", 1003, None, None),
        ("9router", "call", 1004, None, None),
        ("9router", "call", 1005, SECOND, "/v"),
        ("9router", "call", 1006, SECOND, "/v"),
    ]


def test_the_saved_output_of_such_a_thread_states_no_more_than_its_log() -> None:
    capture = {**THREAD, "path": "exec.jsonl", "record": 3, "kind": "sum", "running": True,
               "evidence": "capture-total", "series": CODEX}  # fmt: skip
    assert counts(settled(THREAD, *ANSWERS, *ROWS, capture)) == lent(*NUMBERS)
    sums = settled(THREAD, *ANSWERS, *ROWS, capture).filter(pl.col("kind") == "sum")
    assert sums["duplicate_of"].null_count() == 0


def test_calls_of_unknown_counts_are_the_rows_as_well_each_one() -> None:
    """Builds that keep usage records log each such answer as a call."""
    calls = [
        {**answer(n), "kind": "call", "calls": 1, "identity": f"silent:{CODEX}:{n}",
         "project": "/w", "problems": ["no-counts"]}
        for n in NUMBERS
    ]  # fmt: skip
    frame = settled(*calls, *ROWS)
    assert counts(frame) == lent(*NUMBERS)
    left_out = frame.filter(pl.col("duplicate_of").is_not_null())
    assert left_out["duplicate_reason"].to_list() == ["probably-same-call"] * 3
    assert left_out["calls"].to_list() == [1, 1, 1]
    assert {each[0] for each in counts(settled(*calls[:2], *ROWS[:2]))} == {"codex", "9router"}
