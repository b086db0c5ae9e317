"""A call that a router forwards is one call, however far its two logs can prove it.

The numbers are those of the formats: a prompt of 1,000 uncached, 600 cached and 50 written tokens
is 1650 in a router's row that folds them, and 1,000 in the client's own log. The router shows the
client of a Responses upstream 2,000 more.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import polars as pl
import pytest

from tests.reported import settled

START = datetime(2026, 11, 30, 1, 50, tzinfo=UTC)
SESSION = "03160353-1e7c-4293-8383-ff258a122206"
OTHER = "163dd5a9-18e3-45e9-8004-c4240c7922dc"
CODEX = "01a22a28-c59e-7522-9e2d-92157ce15b65"
Row = dict[str, Any]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def client(number: int, **columns: Any) -> Row:
    """A routed call of Claude Code, whose last line is written at ten times its number."""
    return {
        "source": "claude-code",
        "path": "session.jsonl",
        "record": number,
        "dialect": "anthropic",
        "model": "claude-sonnet-4-5",
        "requested_model": "cc/claude-sonnet-4-5",
        "thread_id": SESSION,
        "root_thread_id": SESSION,
        "project": "/w",
        "routed": True,
        "timestamp": at(10 * number),
        "identity": f"msg_{columns.get('thread_id', SESSION)}{number:04}",
        "response_id": f"msg_{number:020}",
        "finished": True,
        "reported_input_tokens": 1000 + number,
        "reported_cached_tokens": 600,
        "reported_cache_creation_tokens": 50,
        "reported_output_tokens": 100 + number,
        **columns,
    }


def routed(number: int, **columns: Any) -> Row:
    """The router's row of that call, a tenth of a second later."""
    return {
        "source": "9router",
        "path": "data.sqlite",
        "record": 100 + number,
        "dialect": "openai",
        "route": "claude>claude stream",
        "provider": "anthropic-compatible-1",
        "model": "claude-sonnet-4-5",
        "timestamp": at(10 * number + 0.1),
        "identity": f"row {number}",
        "reported_input_tokens": 1650 + number,
        "reported_cached_tokens": 600,
        "reported_cache_creation_tokens": 50,
        "reported_output_tokens": 100 + number,
        **columns,
    }


def kept(number: int, **columns: Any) -> Row:
    """The request that the router kept of that call, with the session in its body."""
    return {
        "source": "9router",
        "path": "data.sqlite",
        "record": number,
        "part": "tokens",
        "kind": "response",
        "calls": None,
        "dialect": "anthropic",
        "route": "?>claude stream",
        "provider": "anthropic-compatible-1",
        "model": "claude-sonnet-4-5",
        "timestamp": at(10 * number + 0.101),
        "identity": f"detail-1796003{number:06}-a",
        "thread_id": SESSION,
        "log_source": "claude-code",
        "reported_output_tokens": 100 + number,
        **columns,
    }


def counted(frame: pl.DataFrame) -> list[tuple[str, int, str | None]]:
    """Source, uncached input and thread of the calls that count, by time."""
    rows = frame.filter(pl.col("duplicate_of").is_null(), pl.col("kind") == "call")
    return rows.sort("timestamp").select("source", "uncached_input_tokens", "thread_id").rows()


def reasons(frame: pl.DataFrame) -> list[str]:
    return frame["duplicate_reason"].drop_nulls().to_list()


def logs(count: int, **columns: Any) -> list[Row]:
    numbers = range(1, count + 1)
    return [client(n) for n in numbers] + [routed(n, **columns) for n in numbers]


SHOWN_MORE: Row = {"reported_input_tokens": 3001}


def test_the_session_in_a_kept_request_proves_one_call_and_the_client_counts_it() -> None:
    for order in permutations([client(1), routed(1), kept(1)]):
        frame = settled(*order)
        assert counted(frame) == [("claude-code", 1001, SESSION)]
        assert reasons(frame) == ["witness"]


@pytest.mark.parametrize(
    "shown",
    [
        {"reported_input_tokens": 3001},
        {"reported_output_tokens": 2},
        {"reported_input_tokens": 700, "reported_cached_tokens": 0, "reported_output_tokens": 2},
    ],
    ids=["surplus", "placeholder", "estimate"],
)
def test_the_router_counts_what_it_showed_the_client_otherwise_and_the_client_lends_its_thread(
    shown: Row,
) -> None:
    frame = settled(client(1, **shown), routed(1), kept(1))
    assert counted(frame) == [("9router", 1001, SESSION)]
    winner = frame.filter(pl.col("source") == "9router", pl.col("kind") == "call")
    assert winner.select("project", "caller", "root_thread_id").row(0) == ("/w", "lead", SESSION)


def test_a_row_that_may_hold_its_cache_twice_never_counts_for_the_client_s() -> None:
    twice = routed(1, problems=["cache-perhaps-twice"])
    frame = settled(client(1, **SHOWN_MORE), twice, kept(1))
    assert counted(frame) == [("claude-code", 3001, SESSION)]


def test_calls_that_only_one_side_has_count_beside_those_of_both() -> None:
    title = [routed(3, reported_input_tokens=90, reported_cached_tokens=0,
                    reported_cache_creation_tokens=0, model="claude-haiku-4-5"),
             kept(3, model="claude-haiku-4-5")]  # fmt: skip
    warm_up = client(2, reported_input_tokens=9, reported_output_tokens=1,
                     reported_cached_tokens=0, reported_cache_creation_tokens=0)  # fmt: skip
    frame = settled(client(1), warm_up, routed(1), kept(1), *title)
    assert [row[:2] for row in counted(frame)] == [
        ("claude-code", 1001),
        ("claude-code", 9),
        ("9router", 90),
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"timestamp": at(10.107)},
        {"reported_output_tokens": 102},
        {"model": "claude-opus-4-6"},
        {"provider": "openai"},
    ],
    ids=["seven-milliseconds", "output", "model", "provider"],
)
def test_a_kept_request_that_is_not_the_row_s_proves_nothing(other: Row) -> None:
    frame = settled(client(1), routed(1), kept(1, **other))
    assert len(counted(frame)) == 2


def test_two_sessions_at_once_are_told_apart_by_their_requests() -> None:
    shown = {"reported_input_tokens": 700, "reported_cached_tokens": 0, "reported_output_tokens": 2}
    one = client(1, **shown)
    two = client(2, **shown, thread_id=OTHER, root_thread_id=OTHER, timestamp=at(10.01))
    rows = [routed(1), routed(2, timestamp=at(10.2))]
    details = [kept(1), kept(2, thread_id=OTHER, timestamp=at(10.2))]
    frame = settled(one, two, *rows, *details)
    assert sorted(counted(frame)) == [("9router", 1001, SESSION), ("9router", 1002, OTHER)]


ESTIMATE: Row = {
    "reported_input_tokens": 700, "reported_cached_tokens": 0, "reported_output_tokens": 2,
}  # fmt: skip


@pytest.mark.parametrize("skew", [-50, -3, 20])
def test_named_requests_prove_calls_whatever_the_clock_of_the_router_says(skew: float) -> None:
    """Estimates share no count with the rows, which lie before their calls or far behind; but the
    first, each brings a tool's result."""
    numbers = (1, 2, 3)
    rows = [
        each
        for n in numbers
        for each in (
            routed(n, timestamp=at(10 * n + skew)),
            kept(n, timestamp=at(10 * n + skew + 0.001),
                 tool_ids=[f"toolu_{n - 1}"] if n > 1 else None),
        )
    ]  # fmt: skip
    shown = [client(n, **ESTIMATE, tool_ids=[f"toolu_{n}"]) for n in numbers]
    frame = settled(*shown, *rows)
    assert counted(frame) == [("9router", 1000 + n, SESSION) for n in numbers]


def test_a_named_request_beside_calls_of_which_each_has_its_own_is_another_call() -> None:
    """A compaction, which the client does not log, 40 seconds after a call that the router answered
    itself: the clocks of the others agree."""
    warm_up = client(2, reported_input_tokens=9, reported_output_tokens=1,
                     reported_cached_tokens=0, reported_cache_creation_tokens=0)  # fmt: skip
    late = {"timestamp": at(60.1), "reported_output_tokens": 800}
    frame = settled(client(1), routed(1), kept(1), warm_up, routed(6, **late), kept(6, **late))
    assert [row[:2] for row in counted(frame)] == [
        ("claude-code", 1001),
        ("claude-code", 9),
        ("9router", 1006),
    ]


def test_a_call_without_counts_leaves_the_others_of_its_session_theirs() -> None:
    """Codex logged no usage of the third; nothing of the times of three tells that."""
    way = {"model": "gpt-5", "route": "responses>responses stream"}
    silent = codex(3) | {"identity": f"silent:{CODEX}:3", "problems": ["no-counts"]}
    silent |= {name: None for name in silent if name.startswith("reported_")}
    frame = settled(*(codex(n) for n in (1, 2, 4)), silent, *(routed(n, **way) for n in (1, 2, 4)))
    assert [row[:2] for row in counted(frame)] == [
        ("codex", 1001),
        ("codex", 1002),
        ("codex", None),
        ("codex", 1004),
    ]


def test_a_tool_s_result_in_the_request_proves_the_call_behind_the_one_that_asked() -> None:
    asked = client(1, tool_ids=["toolu_1"], reported_output_tokens=7)
    answer = client(2, reported_input_tokens=700, reported_output_tokens=2)
    named = kept(2, thread_id=None, log_source=None, tool_ids=["toolu_1"])
    frame = settled(asked, answer, routed(2), named)
    assert counted(frame) == [("claude-code", 1001, SESSION), ("9router", 1002, SESSION)]


def test_a_message_id_of_the_millisecond_in_which_the_request_began_proves_the_call() -> None:
    began = 1_796_003_000_001
    bare = {"thread_id": None, "log_source": None, "route": "?>responses stream"}
    answer = client(1, identity=f"{began + 3}|a", response_id=None, reported_input_tokens=1900)
    frame = settled(answer, routed(1, route="claude>responses stream"), kept(1, **bare))
    assert reasons(frame) == ["witness"]
    late = client(1, identity=f"{began + 6}|a", response_id=None, reported_input_tokens=1900)
    frame = settled(late, routed(1, route="claude>responses stream"), kept(1, **bare))
    assert reasons(frame) == []


def test_the_id_of_a_stored_answer_proves_the_call() -> None:
    named = kept(1, part="providerResponse", thread_id=None, log_source=None,
                 response_id=f"msg_{1:020}")  # fmt: skip
    frame = settled(client(1, reported_input_tokens=5, reported_output_tokens=90), routed(1), named)
    assert reasons(frame) == ["witness"]


def test_a_whole_session_with_equal_counts_counts_once_and_says_that_this_is_no_proof() -> None:
    frame = settled(*logs(3))
    assert counted(frame) == [("claude-code", 1000 + n, SESSION) for n in (1, 2, 3)]
    assert reasons(frame) == ["probably-same-call"] * 3
    left_out = frame.filter(pl.col("duplicate_of").is_not_null())
    assert left_out["problems"].to_list() == [["probably-same-call"]] * 3
    assert all("counts equal" in detail for detail in left_out["detail"])


def test_a_session_that_was_shown_the_surplus_counts_as_the_router_has_it() -> None:
    rows = [client(n, reported_input_tokens=3000 + n) for n in (1, 2, 3)]
    frame = settled(*rows, *(routed(n) for n in (1, 2, 3)))
    assert counted(frame) == [("9router", 1000 + n, SESSION) for n in (1, 2, 3)]
    assert reasons(frame) == ["probably-same-call"] * 3


@pytest.mark.parametrize(
    "rows",
    [
        logs(2),
        [*logs(3), client(4)],
        [*logs(3)[:-1], routed(3, reported_input_tokens=1654)],
        [*logs(3)[:-1], routed(3, timestamp=at(29.9))],
        [*logs(3)[:-1], routed(3, timestamp=at(41))],
        [{**row, "reported_cached_tokens": 0, "reported_cache_creation_tokens": 0,
          "reported_input_tokens": 1650} for row in logs(3)],
        [{**row, "routed": False} for row in logs(3)],
    ],
    ids=["two", "one-more", "a-count", "before-its-line", "long-after", "no-cache", "no-signs"],
)  # fmt: skip
def test_less_than_a_whole_session_with_a_cache_and_signs_of_a_route_proves_nothing(
    rows: list[Row],
) -> None:
    frame = settled(*rows)
    assert reasons(frame) == []
    ends = frame["route_end"].value_counts().drop_nulls()
    assert ends.filter(pl.col("route_end") == "router")["count"].sum() == len(
        [row for row in rows if row["source"] == "9router"]
    )


def test_a_direct_session_of_the_same_second_counts_beside_the_routed_one() -> None:
    direct = [
        client(n, thread_id=OTHER, root_thread_id=OTHER, routed=False, requested_model=None)
        for n in (1, 2, 3)
    ]
    frame = settled(*direct, *logs(3))
    assert sorted(counted(frame)) == sorted(
        ("claude-code", 1000 + n, thread) for n in (1, 2, 3) for thread in (SESSION, OTHER)
    )


def test_two_routed_sessions_with_rows_for_one_of_them_both_count() -> None:
    twin = [client(n, thread_id=OTHER, root_thread_id=OTHER) for n in (1, 2, 3)]
    frame = settled(*twin, *logs(3))
    assert reasons(frame) == []
    assert len(counted(frame)) == 9


def test_two_routed_sessions_with_rows_for_both_count_once_each() -> None:
    twin = [client(n, thread_id=OTHER, root_thread_id=OTHER) for n in (1, 2, 3)]
    more = [routed(n, identity=f"again {n}", timestamp=at(10 * n + 0.2)) for n in (1, 2, 3)]
    frame = settled(*twin, *logs(3), *more)
    assert len(counted(frame)) == 6


def test_copies_of_both_logs_change_nothing() -> None:
    copies = [{**row, "path": f"copy/{row['path']}"} for row in logs(3)]
    frame = settled(*copies, *logs(3))
    assert [row[:2] for row in counted(frame)] == [("claude-code", 1000 + n) for n in (1, 2, 3)]


def codex(number: int, **columns: Any) -> Row:
    """A call of Codex, whose counts are written two seconds after its answer: a tool ran."""
    return client(
        number,
        source="codex",
        dialect="openai",
        model="mr/gpt-5",
        requested_model=None,
        thread_id=CODEX,
        root_thread_id=None,
        response_id=None,
        identity=f"codex {number}",
        timestamp=at(10 * number + 2),
        reported_input_tokens=1650 + number,
        **columns,
    )


def test_codex_states_its_counts_when_the_tool_has_run() -> None:
    rows = [routed(n, model="gpt-5", route="responses>responses stream") for n in (1, 2, 3)]
    frame = settled(*(codex(n) for n in (1, 2, 3)), *rows)
    assert counted(frame) == [("codex", 1000 + n, CODEX) for n in (1, 2, 3)]
    one = kept(1, thread_id=CODEX, log_source="codex", model="gpt-5")
    frame = settled(codex(1), rows[0], one)
    assert reasons(frame) == ["witness"]


def test_writes_that_the_router_did_not_find_are_in_its_uncached_prompt() -> None:
    """Codex states 50 of the prompt as written, the router nothing of it; both mean one call."""
    way = {"model": "gpt-5", "route": "responses>responses stream"}
    rows = [routed(n, **way, reported_cache_creation_tokens=None) for n in (1, 2, 3)]
    frame = settled(*(codex(n) for n in (1, 2, 3)), *rows)
    assert counted(frame) == [("codex", 1000 + n, CODEX) for n in (1, 2, 3)]


def test_a_client_s_totals_by_the_model_that_it_asked_for_hold() -> None:
    total = {
        "source": "claude-code", "path": "session.jsonl", "record": 9, "kind": "assertion",
        "calls": None, "dialect": "anthropic", "thread_id": SESSION, "root_thread_id": SESSION,
        "model": "cc/claude-sonnet-4-5", "running": True, "series": "s", "timestamp": at(99),
        "reported_input_tokens": 9006, "reported_cached_tokens": 1800,
        "reported_cache_creation_tokens": 150, "reported_output_tokens": 306,
    }  # fmt: skip
    shown = [client(n, reported_input_tokens=3000 + n) for n in (1, 2, 3)]
    rows = [routed(n) for n in (1, 2, 3)]
    assert "total-mismatch" not in _codes(settled(*shown, *rows, total))
    assert "total-mismatch" in _codes(settled(*shown, *rows, total | {"reported_input_tokens": 1}))


def _codes(frame: pl.DataFrame) -> set[str]:
    return set(frame["problems"].explode().drop_nulls())
