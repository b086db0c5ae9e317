"""A run's record names its latest session, but counts all: what the others logged counts once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from tests.reported import settled

START = datetime(2026, 5, 29, 2, tzinfo=UTC)
EXECUTOR = "019c2d07-9e80-7121-b8bd-661f979d7c7f"
REVIEWER = "019c2d07-9e80-7121-b8bd-661f979d7c80"
WORKSPACE = "/w/symphony-workspaces/ACME-44"


def run(**columns: Any) -> dict[str, Any]:
    """The record of a run of ten minutes whose last session was the reviewer's."""
    return {
        "source": "symphony", "path": "runs.json", "record": 1, "kind": "sum", "calls": None,
        "dialect": "openai", "evidence": "summary", "thread_id": REVIEWER, "root_thread_id": "run",
        "parent_thread_id": "run", "log_source": "codex", "project": WORKSPACE,
        "identity": "summary:run", "chain_id": "issue@2026-05-29T02:00:00", "model": "gpt-5",
        "timestamp": START + timedelta(minutes=10), "reported_input_tokens": 5000,
        "reported_cached_tokens": 4000, "reported_output_tokens": 1440, **columns,
    }  # fmt: skip


def log(minute: float = 5, **columns: Any) -> dict[str, Any]:
    """A call of the executor, by its own log."""
    return {
        "source": "codex", "path": "rollout.jsonl", "record": 9, "dialect": "openai",
        "thread_id": EXECUTOR, "project": WORKSPACE, "identity": f"call {minute}",
        "model": "gpt-5", "timestamp": START + timedelta(minutes=minute),
        "reported_input_tokens": 5000, "reported_cached_tokens": 4000,
        "reported_output_tokens": 1440, **columns,
    }  # fmt: skip


def output(frame: pl.DataFrame) -> list[tuple[str, int]]:
    rows = frame.filter(pl.col("duplicate_of").is_null())
    return sorted(rows.select("source", "output_tokens").rows())


@pytest.mark.parametrize("project", [WORKSPACE, "ACME-44"])
def test_a_run_whose_calls_are_all_in_the_executor_s_log_counts_once(project: str) -> None:
    for rows in ([run(project=project), log()], [log(), run(project=project)]):
        frame = settled(*rows)
        assert output(frame) == [("codex", 1440)]
        assert frame["duplicate_reason"].drop_nulls().to_list() == ["witness"]


def test_what_the_log_does_not_state_counts_as_the_run_s() -> None:
    more = run(reported_input_tokens=5700, reported_cached_tokens=4600, reported_output_tokens=1900)
    frame = settled(more, log())
    assert output(frame) == [("codex", 1440), ("symphony", 460)]
    (rest,) = frame.filter(pl.col("source") == "symphony").rows(named=True)
    buckets = ("uncached_input_tokens", "cached_input_tokens", "input_tokens", "total_tokens")
    assert [rest[name] for name in buckets] == [100, 600, 700, 1160]
    whole = run(reported_input_tokens=5700, reported_cached_tokens=None,
                reported_output_tokens=1900)  # fmt: skip
    (rest,) = settled(whole, log()).filter(pl.col("source") == "symphony").rows(named=True)
    assert (rest["unsplit_input_tokens"], rest["output_tokens"]) == (700, 460)


@pytest.mark.parametrize(
    "other",
    [
        log(-1),
        log(12),
        log(project="/w/other"),
        log(project="/elsewhere/ACME-44"),
        log(evidence="capture-line"),
    ],
    ids=["before", "after", "folder", "place", "no-log"],
)
def test_a_log_of_another_time_or_folder_counts_beside_the_run(other: dict[str, Any]) -> None:
    assert ("symphony", 1440) in output(settled(run(), other))


def test_counts_that_differ_either_way_both_count_and_that_is_said() -> None:
    odd = run(reported_output_tokens=1900, reported_input_tokens=4900)
    frame = settled(odd, log())
    assert output(frame) == [("codex", 1440), ("symphony", 1900)]
    (row,) = frame.filter(pl.col("source") == "symphony").rows(named=True)
    assert "may-be-counted-twice" in row["problems"]


def review(minute: float = 8, **columns: Any) -> dict[str, Any]:
    """A call of the reviewer, whose session the run names: 400 new, 600 cached, 200 out."""
    counts = {"reported_input_tokens": 1000, "reported_cached_tokens": 600,
              "reported_output_tokens": 200}  # fmt: skip
    return log(minute, path="review.jsonl", thread_id=REVIEWER, **{**counts, **columns})


@pytest.mark.parametrize(
    "known",
    [run(), run(project=None), run(chain_id=None, timestamp=None)],
    ids=["workspace", "no folder", "no time"],
)
def test_of_a_run_that_names_a_session_only_what_its_log_states_is_left_out(
    known: dict[str, Any],
) -> None:
    for rows in ([known, review()], [review(project="/elsewhere"), known]):
        (rest,) = settled(*rows).filter(pl.col("source") == "symphony").rows(named=True)
        buckets = ("uncached_input_tokens", "cached_input_tokens", "output_tokens")
        assert [rest[name] for name in buckets] == [600, 3400, 1240]
        assert rest["duplicate_of"] is None


def test_a_run_of_two_sessions_that_both_logged_counts_by_their_logs() -> None:
    both = run(reported_input_tokens=6000, reported_cached_tokens=4600, reported_output_tokens=1640)
    assert output(settled(both, log(), review())) == [("codex", 200), ("codex", 1440)]


def test_a_session_that_two_runs_went_on_with_is_taken_from_each_for_its_time() -> None:
    again = run(
        identity="summary:again", root_thread_id="again", parent_thread_id="again",
        chain_id="issue@2026-05-29T03:00:00", timestamp=START + timedelta(minutes=70),
    )  # fmt: skip
    rows = (run(), again, review(), review(68, reported_output_tokens=300))
    assert output(settled(*rows)) == [
        ("codex", 200), ("codex", 300), ("symphony", 1140), ("symphony", 1240)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "odd",
    [
        run(problems=["repeated-lines"]),
        run(reported_output_tokens=100),
        run(reported_input_tokens=4300, reported_cached_tokens=4000),
    ],
    ids=["each call several times", "less output", "less input"],
)
def test_where_a_named_session_differs_either_way_its_log_counts(odd: dict[str, Any]) -> None:
    assert output(settled(odd, review())) == [("codex", 200)]
