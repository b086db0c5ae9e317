"""One call or thread in the logs of two sources is counted once, and only ids prove that it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from tests.reported import settled

START = datetime(2026, 2, 3, 12, tzinfo=UTC)
ID = "resp_0123456789abcdef"
THREAD = "019c2d07-9e80-7121-b8bd-661f979d7c7f"


def row(source: str, **columns: Any) -> dict[str, Any]:
    return {
        "source": source,
        "path": f"{source}.jsonl",
        "dialect": "openai",
        "model": "gpt",
        "timestamp": START,
        "identity": f"{source}-{columns.get('response_id')}-{columns.get('thread_id')}",
        "reported_input_tokens": 10,
        "reported_cached_tokens": 4,
        "reported_cache_creation_tokens": 0,
        "reported_output_tokens": 3,
        **columns,
    }


def kept(frame: pl.DataFrame) -> list[str]:
    return frame.filter(pl.col("duplicate_of").is_null())["source"].to_list()


def driven(**columns: Any) -> dict[str, Any]:
    return row("symphony", kind="sum", log_source="codex", thread_id=THREAD, **columns)


def test_a_thread_s_own_log_counts_it_and_the_program_that_drove_it_is_a_witness() -> None:
    frame = settled(driven(), row("codex", thread_id=THREAD))
    assert kept(frame) == ["codex"]
    assert frame["duplicate_reason"].to_list() == ["witness", None]
    assert frame["duplicate_of"].to_list() == [f"codex:{THREAD}", None]


def test_the_sub_agents_of_a_driven_thread_are_its_log_as_well() -> None:
    agent = row("codex", thread_id="a", root_thread_id=THREAD)
    assert kept(settled(driven(), agent)) == ["codex"]


@pytest.mark.parametrize(
    "log",
    [
        row("codex", thread_id="another"),
        row("claude-code", thread_id=THREAD),
        row("codex", thread_id=THREAD, kind="assertion"),
        row("codex", thread_id=THREAD, evidence="capture-total"),
    ],
    ids=["another-thread", "another-source", "no-call", "no-log"],
)
def test_without_the_thread_s_own_calls_the_driving_program_counts(log: dict[str, Any]) -> None:
    assert "symphony" in kept(settled(driven(), log))


def test_a_log_without_counts_yields_to_the_program_that_counted_its_thread() -> None:
    silent = row("codex", thread_id=THREAD, kind="thread", calls=None, reported_input_tokens=None,
                 reported_cached_tokens=None, reported_output_tokens=None)  # fmt: skip
    assert kept(settled(silent, driven())) == ["symphony"]


def test_one_response_id_in_two_sources_is_one_call_and_the_row_that_states_more_counts() -> None:
    stripped = row("9router", response_id=ID, reported_cached_tokens=None)
    frame = settled(stripped, row("responses", response_id=ID))
    assert kept(frame) == ["responses"]
    assert frame["duplicate_of"].to_list() == [f"responses:responses-{ID}-None", None]


def test_of_equal_rows_the_one_that_knows_its_thread_counts() -> None:
    logged = row("claude-code", response_id=ID, thread_id="s")
    for order in ([row("responses", response_id=ID), logged], [logged, row("a", response_id=ID)]):
        assert kept(settled(*order)) == ["claude-code"]


def test_a_response_whose_end_was_not_seen_yields_to_the_whole_one() -> None:
    cut = row("claude-code", response_id=ID, thread_id="s", finished=False)
    assert kept(settled(cut, row("responses", response_id=ID))) == ["responses"]


def test_three_sources_agree_on_one_winner() -> None:
    frame = settled(*(row(name, response_id=ID) for name in ("c", "a", "b")))
    assert kept(frame) == ["a"]


def test_equal_numbers_alone_prove_nothing() -> None:
    assert len(kept(settled(row("a"), row("b")))) == 2


def test_short_ids_and_ids_used_twice_prove_nothing() -> None:
    assert len(kept(settled(row("a", response_id="resp_1"), row("b", response_id="resp_1")))) == 2
    twice = [row("a", response_id=ID, identity=f"a{n}") for n in range(2)]
    assert len(kept(settled(*twice, row("b", response_id=ID)))) == 3
