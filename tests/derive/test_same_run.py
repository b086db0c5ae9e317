"""Which of several accounts of one run counts."""

from __future__ import annotations

from typing import Any

import polars as pl

from tallybook.schema import CALL, LOG, SNAPSHOT, SUM, SUMMARY, THREAD, TRANSCRIPT
from tests.reported import settled

RUN, OTHER = "issue-1-1", "issue-1-2"


def row(evidence: str, output: int | None, **more: Any) -> dict[str, Any]:
    return {
        "source": "symphony",
        "kind": SUM,
        "calls": None,
        "evidence": evidence,
        "dialect": "openai",
        "thread_id": "t",
        "parent_thread_id": RUN,
        "root_thread_id": RUN,
        "reported_input_tokens": 100,
        "reported_cached_tokens": 40,
        "reported_output_tokens": output,
        **more,
    }


def counted(*rows: dict[str, Any]) -> list[int]:
    """Records of the rows that count."""
    frame = settled(*({"path": f"{place}.json", **each} for place, each in enumerate(rows)))
    return sorted(frame.filter(pl.col("duplicate_of").is_null())["record"])


def test_the_log_counts_where_all_accounts_have_the_same_output() -> None:
    rows = [row(SUMMARY, 30), row(SNAPSHOT, 30), row(LOG, 10), row(LOG, 20), row(TRANSCRIPT, 30)]
    assert counted(*rows) == [3, 4]


def test_an_account_with_more_output_has_seen_more() -> None:
    assert counted(row(LOG, 10), row(SUMMARY, 30)) == [2]


def test_of_equal_accounts_the_one_that_splits_the_input_counts() -> None:
    assert counted(row(LOG, 30, reported_cached_tokens=None), row(SUMMARY, 30)) == [2]


def test_each_snapshot_is_an_account_of_its_own() -> None:
    assert counted(row(SNAPSHOT, 10), row(SNAPSHOT, 30), row(SNAPSHOT, 20)) == [2]


def test_the_rows_of_one_series_are_one_account() -> None:
    rows = [row(SNAPSHOT, 10, series="a"), row(SNAPSHOT, 30, series="a"), row(SNAPSHOT, 35)]
    assert counted(*rows) == [1, 2]


def test_counts_beat_a_row_that_knows_none() -> None:
    silent = row(SUMMARY, None, kind=THREAD, thread_id=RUN, reported_input_tokens=None)
    assert counted(silent, row(TRANSCRIPT, 5)) == [2]


def test_two_runs_are_two_runs_whatever_else_they_share() -> None:
    other = {"parent_thread_id": OTHER, "root_thread_id": OTHER}
    rows = [row(SUMMARY, 30, chain_id="i@1"), row(SUMMARY, 20, chain_id="i@1", **other)]
    assert counted(*rows) == [1, 2]


def test_a_row_without_a_run_is_tied_to_one_by_its_thread() -> None:
    loose = {"parent_thread_id": None, "root_thread_id": None}
    assert counted(row(LOG, 30), row(SNAPSHOT, 20, **loose)) == [1]


def test_a_row_without_a_run_is_tied_to_one_by_what_was_begun_when() -> None:
    loose = {"parent_thread_id": None, "root_thread_id": None, "thread_id": "earlier"}
    rows = [row(SUMMARY, 30, chain_id="i@1"), row(SNAPSHOT, 20, chain_id="i@1", **loose)]
    assert counted(*rows) == [1]
    rows[1]["chain_id"] = "i@2"
    assert counted(*rows) == [1, 2]


def test_equal_numbers_alone_prove_nothing() -> None:
    loose = {"parent_thread_id": None, "root_thread_id": None, "thread_id": "another"}
    assert counted(row(SUMMARY, 30), row(SNAPSHOT, 30, **loose)) == [1, 2]


def test_sources_without_such_accounts_are_left_alone() -> None:
    rows = [row(LOG, 30, source="codex"), row(LOG, 30, source="codex", thread_id="u")]
    assert counted(*rows) == [1, 2]


def test_a_certain_reading_beats_one_in_doubt() -> None:
    doubtful = row(SUMMARY, 30, identity="r", problems=["ambiguous-dialect"])
    assert counted(doubtful, row(SUMMARY, 30, identity="r")) == [2]


def test_a_thread_with_a_log_of_its_own_is_left_to_it_after_the_account_was_chosen() -> None:
    """Had the log taken its thread first, the run's own record would seem to have more output."""
    own = {"source": "codex", "kind": CALL, "parent_thread_id": None, "root_thread_id": None}
    rows = [
        row(LOG, 30, log_source="codex"),
        row(LOG, 5, log_source="codex", thread_id="other"),
        row(SUMMARY, 30, log_source="codex", thread_id="other"),
        row(LOG, 30, **own),
    ]
    assert counted(*rows) == [2, 4]
