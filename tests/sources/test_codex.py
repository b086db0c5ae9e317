"""The Codex reader, behaviour by behaviour, on lines made for it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.schema import Reported
from tallybook.sources import FileFacts
from tallybook.sources.codex import SOURCE
from tallybook.sources.codex.state import State
from tallybook.sources.lines import Head
from tallybook.tables import table

OWN = "019c2137-0000-7aaa-8bbb-000000000009"
PARENT = "019c2100-1111-7aaa-8bbb-000000000001"
OLD_TURN = "019c2100-2222-7aaa-8bbb-000000000002"
NEW_TURN = "019c2137-2ee0-7aaa-8bbb-00000000000a"
Row = dict[str, Any]


def line(kind: str, payload: Any, **more: Any) -> Row:
    return {"timestamp": "2026-02-03T13:00:00.000Z", "type": kind, "payload": payload, **more}


def usage(*counts: int | None, write: int | None = None) -> Row:
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens")
    stated = dict(zip(names, counts, strict=False)) | {"cache_write_input_tokens": write}
    stated["total_tokens"] = (counts[0] or 0) + (counts[2] or 0)
    return {name: value for name, value in stated.items() if value is not None}


def count(last: Any = None, total: Any = None, **more: Any) -> Row:
    info = {"total_token_usage": total, "last_token_usage": last}
    return line("event_msg", {"type": "token_count", "info": info}, **more)


def record(response: str, last: Any, total: Any = None, **payload: Any) -> Row:
    stated = {"response_id": response, "usage": last, "thread_token_usage": total, **payload}
    return line("token_usage_record", stated)


def header(thread: str = OWN, **payload: Any) -> Row:
    stated = {"id": thread, "timestamp": "2026-02-03T13:00:00.000Z", "cwd": "/w", **payload}
    return line("session_meta", stated)


def fork(**payload: Any) -> Row:
    return header(forked_from_id=PARENT, thread_source="user", **payload)


def turn(model: str | None = "gpt-5.4", turn_id: str | None = NEW_TURN, **payload: Any) -> Row:
    return line("turn_context", {"turn_id": turn_id, "model": model, "cwd": "/w", **payload})


def settings(service_tier: str | None = None, model: str | None = None, **payload: Any) -> Row:
    inner = {"model": model, "service_tier": service_tier}
    return line(
        "event_msg", {"type": "thread_settings_applied", "thread_settings": inner, **payload}
    )


def event(kind: str, **payload: Any) -> Row:
    return line("event_msg", {"type": kind, **payload})


def answer() -> Row:
    return line("response_item", {"type": "message", "role": "assistant", "content": []})


def jsonl(*rows: Row | str) -> bytes:
    texts = (
        row if isinstance(row, str) else json.dumps(row, separators=(",", ":")) for row in rows
    )
    return "".join(f"{text}\n" for text in texts).encode()


def fold(*blocks: bytes, name: str = "rollout.jsonl") -> list[Row]:
    state = SOURCE.begin(FileFacts((name,)))
    rows: list[Reported] = []
    for block in blocks:
        found, state = SOURCE.read(block, state)
        rows += found
    found_rows: list[Row] = table([*rows, *SOURCE.finish(state)]).to_pylist()
    return found_rows


def read(*rows: Row | str, name: str = "rollout.jsonl") -> list[Row]:
    return fold(jsonl(*rows), name=name)


def column(rows: list[Row], name: str) -> list[Any]:
    return [row[name] for row in rows]


def counts(row: Row) -> tuple[int | None, ...]:
    names = ("input", "cached", "cache_creation", "output", "reasoning")
    return tuple(row[f"reported_{name}_tokens"] for name in names)


FIRST, SECOND = usage(100, 60, 10, 4), usage(300, 200, 30, 9)
STEP = usage(200, 140, 20, 5)


# One file that is all its own.


def test_an_unchanged_total_repeats_the_call_before() -> None:
    rows = read(header(), turn(), count(FIRST, FIRST), count(FIRST, FIRST), count(STEP, SECOND))
    assert column(rows, "repeat") == [None, "re-emission", None]
    assert counts(rows[2]) == (200, 140, None, 20, 5)


def test_a_total_with_a_field_of_a_newer_build_is_still_unchanged() -> None:
    newer = {**FIRST, "cache_write_input_tokens": 0}
    assert column(read(header(), count(FIRST, FIRST), count(newer, newer)), "repeat") == [
        None,
        "re-emission",
    ]


def test_limits_alone_make_no_row() -> None:
    limits = line("event_msg", {"type": "token_count", "info": None, "rate_limits": {}})
    assert read(header(), limits, count()) == []


def test_a_total_alone_counts_by_its_rise_and_the_first_one_in_full() -> None:
    rows = read(header(), count(total=FIRST), count(total=SECOND))
    assert [counts(row) for row in rows] == [(100, 60, None, 10, 4), (200, 140, None, 20, 5)]
    assert column(rows, "difference") == [False, True]


def test_a_fallen_total_alone_adds_nothing_and_is_the_new_base() -> None:
    rows = read(header(), count(total=SECOND), count(total=FIRST), count(total=SECOND))
    assert column(rows, "kind") == ["call", "event", "call"]
    assert counts(rows[1]) == (None,) * 5
    assert counts(rows[2]) == (200, 140, None, 20, 5)


def test_a_call_alone_moves_the_total() -> None:
    rows = read(header(), count(FIRST), count(total=SECOND))
    assert [row["reported_input_tokens"] for row in rows] == [100, 200]


def test_a_lowered_total_counts_its_call_and_not_itself() -> None:
    high, low = usage(300_000, 0, 100), usage(250_000, 0, 90)
    rows = read(header(), count(high, high), count(usage(10_000, 0, 5), low))
    assert (rows[1]["reported_input_tokens"], rows[1]["repeat"]) == (10_000, None)


def test_a_slightly_lower_total_is_a_stale_snapshot() -> None:
    base, next_ = usage(10_000, 0, 100), usage(10_500, 0, 120)
    stale, later = usage(10_450, 0, 110), usage(10_900, 0, 130)
    rows = read(
        header(),
        count(base, base),
        count(usage(500, 0, 20), next_),
        count(usage(470, 0, 15), stale),
        count(usage(400, 0, 10), later),
    )
    assert column(rows, "repeat") == [None, None, "stale-total", None]
    assert column(rows, "problems") == [None] * 4


def test_an_earlier_total_again_is_stale_and_a_step_from_it_is_a_call() -> None:
    third = usage(150, 80, 12, 4)
    rows = read(
        header(),
        count(FIRST, FIRST),
        count(STEP, SECOND),
        count(FIRST, FIRST),
        count(usage(50, 20, 2, 0), third),
    )
    assert column(rows, "repeat") == [None, None, "stale-total", None]


def test_a_counter_that_begins_anew_counts_even_if_its_call_is_large() -> None:
    rows = read(header(), count(SECOND, SECOND), count(STEP, STEP))
    assert column(rows, "repeat") == [None, None]


def test_a_filled_context_window_is_an_event_and_resets_the_total() -> None:
    filler = {**usage(0, 0, 0, 0), "total_tokens": 258_400}
    after = {**STEP, "total_tokens": 258_620}
    rows = read(header(), count(FIRST, FIRST), count(filler, filler), count(STEP, after))
    assert column(rows, "kind") == ["call", "event", "call"]
    assert column(rows, "problems") == [None] * 3
    assert counts(rows[2]) == (200, 140, None, 20, 5)
    assert rows[1]["reported_total_tokens"] is None


def test_a_rise_other_than_the_call_is_said() -> None:
    rows = read(header(), count(FIRST, FIRST), count(usage(150, 90, 20, 5), SECOND))
    assert rows[1]["problems"] == ["total-mismatch"]
    assert rows[1]["reported_input_tokens"] == 150


def test_a_bad_number_costs_that_number() -> None:
    odd = {**FIRST, "cached_input_tokens": "many", "output_tokens": -1}
    (row,) = read(header(), turn(), count(odd, SECOND))
    assert counts(row) == (100, None, None, None, 4)
    assert row["problems"] == ["bad-number"]


def test_an_inner_shape_that_is_not_known_is_a_bad_line() -> None:
    odd = line("event_msg", {"type": "token_count", "info": "none of this"})
    rows = read(header(), odd, count(FIRST, FIRST))
    assert column(rows, "problems") == [["bad-line"], None]
    assert "none of this" not in rows[0]["detail"]


def test_a_torn_last_line_costs_one_line() -> None:
    text = jsonl(header(), count(FIRST, FIRST), count(STEP, SECOND))
    rows = fold(text[:-40])
    assert column(rows, "kind") == ["call", "problem"]
    assert (rows[1]["problems"], rows[1]["record"]) == (["torn-line"], 3)


def test_a_broken_line_inside_costs_one_line() -> None:
    rows = read(header(), '{"type":"response_item","pay', "noise", count(FIRST, FIRST))
    assert column(rows, "problems") == [["bad-line"], ["bad-line"], None]
    assert column(rows, "record") == [2, 3, 4]


def test_bad_utf8_in_a_counted_line_does_not_hide_its_counts() -> None:
    text = jsonl(header(), count(FIRST, FIRST)).replace(b'"event_msg"', b'"event_msg","x":"\xff"')
    assert [counts(row) for row in fold(text)] == [(100, 60, None, 10, 4)]


def test_a_response_item_that_speaks_of_counts_is_no_count() -> None:
    talk = line("response_item", {"type": "token_count", "info": [1], "role": "user"})
    assert read(header(), talk) == []


def test_what_was_passed_over_before_hides_no_line_that_begins_otherwise() -> None:
    said = line("response_item", {"type": "message", "role": "user", "content": "a"})
    rows: list[Row] = [said, count(FIRST, FIRST), said, said, count(STEP, SECOND)]
    numbered = [
        {"timestamp": row["timestamp"], "ordinal": n, **row} for n, row in enumerate(rows, 8)
    ]
    broken = jsonl(numbered[2]).decode().strip().replace('{"', "{'", 1)
    hiding = broken.replace('"a"', '"\\u0061"')
    found = read(header(), *numbered[:3], hiding, *numbered[3:])
    assert column(found, "record") == [3, 5, 7]
    assert column(found, "problems") == [None, ["bad-line"], None]


def test_key_order_white_space_and_line_ends_change_nothing() -> None:
    rows: list[Row] = [header(), turn(), answer(), count(FIRST, FIRST)]
    loose = [dict(reversed(row.items())) for row in rows]
    text = "".join(json.dumps(row, indent=None, separators=(" ,", " : ")) + "\r\n" for row in loose)
    assert fold(text.encode()) == read(*rows)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("2026-02-03T13:00:00.1234567Z", "2026-02-03T13:00:00.123456+00:00"),
        ("2026-02-03T15:00:00.5+02:00", "2026-02-03T13:00:00.500000+00:00"),
        (1_770_123_600, "2026-02-03T13:00:00+00:00"),
        (1_770_123_600_250, "2026-02-03T13:00:00.250000+00:00"),
    ],
)
def test_times_of_any_precision_and_offset(stated: Any, expected: str) -> None:
    (row,) = read(header(), {**count(FIRST, FIRST), "timestamp": stated})
    assert row["timestamp"].isoformat() == expected


def test_a_line_without_a_readable_time_keeps_its_counts() -> None:
    (row,) = read(header(), {**count(FIRST, FIRST), "timestamp": "soon"})
    assert (row["timestamp"], row["reported_input_tokens"]) == (None, 100)


# Model, tier and caller.


def test_a_model_that_is_named_later_is_looked_for_ahead() -> None:
    rows = read(header(), count(FIRST, FIRST), turn(""), turn("gpt-5.4"), count(STEP, SECOND))
    assert column(rows, "model") == [None, "gpt-5.4"]
    assert column(rows, "model_ahead") == [True, False]


def test_a_record_has_the_model_of_its_own_turn_not_of_the_root_turn() -> None:
    other = "019c2137-3ee0-7aaa-8bbb-00000000000b"
    rows = read(
        header(),
        turn("gpt-5.4"),
        turn("gpt-5.5", other),
        record("r", FIRST, turn_id=NEW_TURN, root_turn_id=other),
    )
    assert column(rows, "model") == ["gpt-5.4"]


def test_the_tier_holds_until_another_one_is_stated() -> None:
    rows = read(
        header(),
        count(FIRST, FIRST),
        settings("fast"),
        turn(),
        settings(None, "codex-auto-review"),
        count(STEP, SECOND),
        settings("standard"),
        count(STEP, usage(500, 340, 50, 14)),
    )
    assert column(rows, "service_tier") == [None, "priority", "default"]


@pytest.mark.parametrize(
    ("payload", "caller"),
    [
        ({"source": "cli"}, None),
        ({"source": {"subagent": "review"}}, "review"),
        ({"source": {"subagent": {"other": "guardian"}}}, "guardian"),
        ({"source": {"internal": "memory_consolidation"}}, "memory_consolidation"),
        ({"thread_source": "guardian_review"}, "guardian"),
        ({"parent_thread_id": PARENT}, "subagent"),
        ({"source": {"subagent": {"thread_spawn": {"agent_role": "worker"}}}}, "worker"),
        ({"forked_from_id": PARENT, "thread_source": "user"}, None),
    ],
)
def test_who_asks_in_the_thread(payload: Row, caller: str | None) -> None:
    (row,) = read(header(**payload), turn(), count(FIRST, FIRST))
    assert row["caller"] == caller


def test_inline_review_and_compaction_are_callers_of_their_own() -> None:
    rows = read(
        header(),
        event("entered_review_mode"),
        count(FIRST, FIRST),
        event("exited_review_mode"),
        count(STEP, SECOND),
        line("compacted", {"message": "", "compaction_response_id": "cmp"}),
        record("cmp", usage(900, 0, 9)),
    )
    assert column(rows, "caller") == ["review", None, "compact"]


def test_a_compaction_is_known_as_one_even_if_that_is_noted_behind_it() -> None:
    rows = read(
        header(),
        record("r", FIRST, FIRST),
        count(FIRST, FIRST),
        record("cmp", STEP, SECOND),
        count(STEP, SECOND),
        line("compacted", {"message": "", "compaction_response_id": "cmp"}),
        "noise",
    )
    assert column(rows, "record") == [2, 3, 4, 5, 7]
    assert column(rows, "caller") == [None, None, "compact", None, None]


# Usage records.


def test_a_count_beside_its_record_is_a_twin_and_a_count_without_one_counts() -> None:
    rows = read(
        header(), count(FIRST, FIRST), record("r", STEP, SECOND), count(STEP, SECOND), answer()
    )
    assert column(rows, "repeat") == [None, None, "twin"]
    assert rows[1]["identity"] == "response:r"


def test_a_record_behind_its_count_is_the_twin() -> None:
    rows = read(header(), count(FIRST, FIRST), record("r", FIRST, FIRST))
    assert column(rows, "repeat") == [None, "twin"]


def test_twins_move_the_total() -> None:
    rows = read(header(), record("r", FIRST, FIRST), count(FIRST, FIRST), count(total=SECOND))
    assert rows[2]["reported_input_tokens"] == 200


def test_a_remote_compaction_counts_beside_the_counts() -> None:
    rows = read(
        header(),
        record("r", FIRST, FIRST),
        count(FIRST, FIRST),
        record("cmp", usage(900, 800, 9)),
        line("compacted", {"compaction_response_id": "cmp"}),
        count(FIRST, FIRST),
        count(STEP, SECOND),
    )
    assert column(rows, "repeat") == [None, "twin", None, "re-emission", None]
    assert column(rows, "problems") == [None] * 5


def test_a_record_without_numbers_is_a_call_of_unknown_size() -> None:
    (row,) = read(header(), record("r", {}))
    assert (row["kind"], counts(row), row["problems"]) == ("call", (None,) * 5, ["no-counts"])


def test_an_embedded_record_counts_only_where_its_original_is_gone() -> None:
    copy = {"thread_id": OWN, "response_id": "r", "usage": FIRST, "thread_token_usage": FIRST}
    compacted = line("compacted", {"latest_token_usage_record": copy})
    known = read(header(), record("r", FIRST, FIRST, thread_id=OWN), compacted)
    assert column(known, "part") == [None]
    gone = read(header(), compacted, compacted, count(FIRST, FIRST))
    assert column(gone, "part") == ["latest_token_usage_record", None]
    assert column(gone, "repeat") == [None, "twin"]
    foreign = {**copy, "thread_id": PARENT}
    assert read(fork(), line("compacted", {"latest_token_usage_record": foreign})) == []


# Copied history.


def test_a_thread_without_lineage_owns_its_lines() -> None:
    (row,) = read(header(), count(FIRST, FIRST))
    assert (row["history"], row["history_thread_ids"]) == ("own", None)


def test_the_first_header_names_the_thread_and_a_foreign_one_begins_a_copy() -> None:
    rows = read(
        fork(), header(PARENT), turn("gpt-5.2", OLD_TURN), count(FIRST, FIRST), turn(),
        count(STEP, SECOND),
    )  # fmt: skip
    assert column(rows, "thread_id") == [OWN, OWN]
    assert column(rows, "history") == ["before-turn", "after-turn"]
    assert column(rows, "history_thread_ids") == [[PARENT], [PARENT]]
    assert rows[1]["model"] == "gpt-5.4"
    assert column(rows, "parent_thread_id") == [None, None]


def test_without_lineage_a_foreign_header_still_begins_a_copy() -> None:
    rows = read(header(), count(FIRST, FIRST), header(PARENT), count(STEP, SECOND))
    assert column(rows, "history") == ["own", "before-turn"]
    assert column(rows, "foreign_history") == [False, True]


@pytest.mark.parametrize(
    ("lines", "history"),
    [
        ([turn(turn_id=OLD_TURN)], "before-turn"),
        ([turn(turn_id=NEW_TURN)], "after-turn"),
        ([turn(turn_id=f"{OWN[:-4]}aaaa")], "before-turn"),
        ([event("task_started", turn_id=f"{OWN[:-4]}aaaa"), turn(turn_id=f"{OWN[:-4]}aaaa")],
         "after-turn"),
        ([turn(turn_id="t1")], "before-turn"),
        ([event("task_started", started_at=1_700_000_000), turn(turn_id="t1")], "before-turn"),
        ([event("task_started", started_at=1_790_000_000), turn(turn_id="t1")], "after-turn"),
        ([event("task_started"), line("inter_agent_communication", {"trigger_turn": True})],
         "after-turn"),
        ([event("task_started"),
          line("inter_agent_communication_metadata", {"trigger_turn": False})], "before-turn"),
        ([event("task_started", turn_id=OLD_TURN),
          line("inter_agent_communication", {"trigger_turn": True})], "before-turn"),
    ],
)  # fmt: skip
def test_where_the_threads_own_part_begins(lines: list[Row], history: str) -> None:
    spawned = header(parent_thread_id=PARENT, thread_source="subagent")
    (row,) = read(spawned, *lines, count(FIRST, FIRST))
    assert row["history"] == history


def test_a_user_fork_begins_with_a_turn_of_the_same_millisecond() -> None:
    (row,) = read(fork(), turn(turn_id=f"{OWN[:-4]}aaaa"), count(FIRST, FIRST))
    assert row["history"] == "after-turn"


def test_the_nearest_line_that_names_a_thread_decides() -> None:
    rows = read(
        fork(),
        settings("priority", thread_id=PARENT),
        count(FIRST, FIRST),
        settings("flex", thread_id=OWN),
        count(STEP, SECOND),
        header(PARENT),
        count(STEP, usage(500, 340, 50, 14)),
        header(OWN),
        count(STEP, usage(700, 480, 70, 19)),
    )
    assert column(rows, "history") == ["inherited", "own", "before-turn", "own"]
    assert column(rows, "service_tier") == [None, "flex", "flex", "flex"]


def test_settings_before_the_first_turn_hold_where_nothing_was_copied() -> None:
    spawned = header(parent_thread_id=PARENT, thread_source="subagent")
    (own,) = read(spawned, settings("priority"), turn(), count(FIRST, FIRST))
    assert own["service_tier"] == "priority"
    (copied,) = read(spawned, header(PARENT), settings("priority"), turn(), count(FIRST, FIRST))
    assert copied["service_tier"] is None


def test_a_record_belongs_to_the_thread_it_names() -> None:
    rows = read(
        fork(),
        record("p", FIRST, FIRST, thread_id=PARENT),
        count(FIRST, FIRST),
        record("o", STEP, SECOND, thread_id=OWN),
        count(STEP, SECOND),
    )
    assert column(rows, "thread_id") == [PARENT, OWN, OWN, OWN]
    assert column(rows, "is_copy") == [True, False, False, False]
    assert column(rows, "history") == ["inherited", "inherited", "own", "own"]
    assert column(rows, "repeat") == [None, None, None, "twin"]


def test_an_ordinal_decides_where_nothing_is_named() -> None:
    child = {**header(parent_thread_id=PARENT, subagent_history_start_ordinal=5), "ordinal": 0}
    at_once = count(FIRST, FIRST, ordinal=3, timestamp="2026-02-03T01:56:18.570Z")
    rows = read(child, at_once, count(STEP, SECOND, ordinal=7))
    assert column(rows, "history") == ["inherited", "own"]
    assert column(rows, "problems") == [["undecided-history"], None]
    (copied,) = read(child, header(PARENT), count(FIRST, FIRST, ordinal=3))
    assert (copied["history"], copied["problems"]) == ("inherited", None)


def test_what_was_left_out_too_late_for_a_copy_makes_the_thread_incomplete() -> None:
    child = {**header(parent_thread_id=PARENT, subagent_history_start_ordinal=5), "ordinal": 0}
    left_out, thread = read(child, count(FIRST, FIRST, ordinal=3))
    assert (left_out["history"], thread["kind"]) == ("inherited", "thread")
    assert left_out["problems"] == thread["problems"] == ["undecided-history"]


def test_a_turn_younger_than_the_thread_outweighs_the_ordinal() -> None:
    child = {**header(parent_thread_id=PARENT, subagent_history_start_ordinal=9), "ordinal": 0}
    copied = [turn(turn_id=OLD_TURN), count(FIRST, FIRST, ordinal=2)]
    rows = read(child, *copied, turn(turn_id=NEW_TURN), count(STEP, SECOND, ordinal=4))
    assert column(rows, "history") == ["inherited", "after-turn"]
    assert column(rows, "problems") == [None, None]


def test_an_ordinal_without_any_other_thread_hides_nothing() -> None:
    alone = {**header(subagent_history_start_ordinal=9), "ordinal": 0}
    assert column(read(alone, count(FIRST, FIRST, ordinal=3)), "history") == ["own"]


@pytest.mark.parametrize("cut", range(1, 10))
def test_an_answer_that_no_count_follows_is_a_call_of_unknown_counts(cut: int) -> None:
    old = header(cli_version="0.154.0")
    again = count(FIRST, FIRST)
    lines = [old, record("r1", FIRST, FIRST), again, answer(), again, again]
    lines += [count(), answer(), count()]
    rows = fold(jsonl(*lines[:cut]), *map(jsonl, lines[cut:]))
    silent = [row["record"] for row in rows if row["problems"] == ["no-counts"]]
    assert silent == [5, 9]
    assert {row["kind"] for row in rows if row["record"] in silent} == {"call"}


def test_before_the_usage_records_an_old_total_says_nothing_of_an_answer() -> None:
    rows = read(header(cli_version="0.110.0"), count(FIRST, FIRST), answer(), count(FIRST, FIRST))
    assert column(rows, "problems") == [None, None]
    assert column(rows, "repeat") == [None, "re-emission"]


@pytest.mark.parametrize(
    "marks",
    [
        [event("entered_review_mode"), event("exited_review_mode")],
        [
            event("item_completed", item={"type": "EnteredReviewMode"}),
            event("task_started"),
            event("item_completed", item={"type": "ExitedReviewMode"}),
        ],
    ],
)
def test_the_result_of_a_review_is_no_answer_of_the_thread_that_asked_for_it(
    marks: list[Row],
) -> None:
    assert read(header(), *marks, answer()) == []
    (own,) = read(header(), *marks, answer(), event("task_started"), answer())
    (broken_off,) = read(header(), marks[0], turn(), answer())
    assert own["problems"] == broken_off["problems"] == ["no-counts"]


def test_a_compaction_of_the_provider_is_a_call_of_unknown_counts() -> None:
    remote = line("compacted", {"message": "", "replacement_history": [{"type": "compaction"}]})
    local = line("compacted", {"message": "Sum.", "replacement_history": [{"type": "message"}]})
    _, compacted = read(header(), count(FIRST, FIRST), local, remote)
    assert (compacted["kind"], compacted["caller"]) == ("call", "compact")
    assert compacted["problems"] == ["no-counts"]
    assert len(read(header(cli_version="0.153.0"), count(FIRST, FIRST), remote)) == 1


def test_a_record_of_the_thread_itself_outweighs_the_ordinal() -> None:
    child = header(parent_thread_id=PARENT, subagent_history_start_ordinal=50)
    rows = read(child, record("r", FIRST, FIRST, thread_id=OWN), count(FIRST, FIRST, ordinal=4))
    assert column(rows, "history") == ["own", "own"]


def test_the_first_total_alone_of_an_heir_is_inherited() -> None:
    rows = read(fork(), turn(), count(total=FIRST), count(total=SECOND))
    assert column(rows, "history") == ["inherited", "after-turn"]
    assert rows[1]["reported_input_tokens"] == 200


def test_two_ids_in_the_name_are_the_thread_and_its_rollout() -> None:
    name = f"rollout-2026-02-03T13-00-00-{OWN}_{PARENT}.jsonl"
    (row,) = read(turn(), count(FIRST, FIRST), name=name)
    assert (row["thread_id"], row["segment_id"]) == (OWN, PARENT)


def test_a_lost_first_line_does_not_make_the_thread_its_parent() -> None:
    name = f"rollout-2026-02-03T13-00-00-{OWN}.jsonl"
    rows = read('{"timestamp":"2026', header(PARENT), count(FIRST, FIRST), name=name)
    assert (rows[1]["thread_id"], rows[1]["history"]) == (OWN, "before-turn")


# Files without counts.


def test_a_thread_in_which_a_model_answered_without_counts_is_one_row() -> None:
    (row,) = read(header(), answer())
    assert (row["record"], row["kind"], row["calls"]) == (0, "thread", None)
    assert row["problems"] == ["no-counts"]


def test_a_thread_in_which_nothing_was_asked_makes_no_row() -> None:
    assert read(header(), line("response_item", {"type": "message", "role": "user"})) == []


def test_answers_of_another_thread_are_none_of_an_untouched_fork() -> None:
    assert read(fork(), header(PARENT), answer()) == []
    assert column(read(fork(), header(PARENT), answer(), turn(), answer()), "kind") == ["thread"]


def test_logs_from_before_the_envelope_are_threads_without_counts() -> None:
    bare: list[Row] = [
        {"id": OWN, "timestamp": "2025-07-14T09:30:01.000Z", "instructions": None},
        {"type": "message", "role": "user", "content": []},
        {"record_type": "state"},
    ]
    for before in ([], ["", " "]):  # blank lines
        (row,) = read(*before, *bare)
        assert (row["kind"], row["thread_id"]) == ("thread", OWN)
        assert row["timestamp"].isoformat() == "2025-07-14T09:30:01+00:00"


def test_the_header_from_before_the_envelope_is_told_by_its_id_alone() -> None:
    other = {"id": PARENT, "timestamp": "2025-07-15T09:30:01.000Z"}
    header = {"timestamp": "2025-07-14T09:30:01.000Z", "git": {}, "id": OWN}
    message = {"type": "message", "id": PARENT, "role": "user", "content": []}
    assert column(read('{"cut', message, header, other), "thread_id") == [None, OWN]
    assert read(message) == []


@pytest.mark.parametrize("indent", [None, 2])
def test_the_first_tools_document_is_a_thread_without_counts(indent: int | None) -> None:
    session = {"timestamp": "2025-05-02T08:11:40.120Z", "id": OWN, "instructions": ""}
    text = json.dumps({"session": session, "items": [{"type": "message"}]}, indent=indent).encode()
    assert SOURCE.sniff(Head(text))
    (row,) = fold(*text.splitlines(keepends=True))
    assert (row["kind"], row["thread_id"]) == ("thread", OWN)
    assert fold(text[:-1])[1]["problems"] == ["truncated"]


# Saved standard output.


def completed(*counts: int) -> Row:
    return {"type": "turn.completed", "usage": usage(*counts)}


def test_turns_of_a_capture_state_the_threads_running_total() -> None:
    started = {"type": "thread.started", "thread_id": OWN}
    turns = completed(100, 0, 5, 0), completed(250, 90, 9, 3)
    rows = read(started, {"type": "turn.started"}, *turns)
    assert column(rows, "reported_input_tokens") == [100, 250]
    assert column(rows, "running") == [True, True]
    assert column(rows, "series") == [OWN, OWN]
    assert column(rows, "kind") == ["sum", "sum"]
    assert column(rows, "problems") == [["assumed-time"]] * 2
    assert rows[0]["timestamp"].isoformat() == "2026-02-03T01:56:18.560000+00:00"


def test_zero_in_a_capture_is_unknown() -> None:
    started = {"type": "thread.started", "thread_id": "t", "timestamp": "2026-02-03T13:00:00Z"}
    rows = read(started, completed(100, 0, 5), completed(0, 0, 0))
    assert counts(rows[1]) == (None,) * 5
    # The build states no reasoning: one of those that resume a thread at zero.
    assert column(rows, "problems") == [["perhaps-restarted"], ["no-counts"]]


def test_the_earlier_capture_states_calls() -> None:
    flat = {"id": "0", "msg": {"type": "token_count", **FIRST}}
    nested = {
        "id": "0",
        "msg": {
            "type": "token_count",
            "info": {"last_token_usage": STEP, "total_token_usage": SECOND},
        },
    }
    rows = read(
        {"model": "gpt-5", "provider": "openai", "workdir": "/w"},
        {"prompt": "do it"},
        {"id": "0", "msg": {"type": "session_configured", "session_id": OWN, "model": "gpt-5"}},
        flat,
        nested,
        nested,
    )
    assert column(rows, "evidence") == ["capture-line"] * 3
    assert column(rows, "thread_id") == [OWN] * 3
    assert column(rows, "model") == ["gpt-5"] * 3
    assert column(rows, "repeat") == [None, None, "re-emission"]


# Recognition.


@pytest.mark.parametrize(
    "first",
    [
        header(),
        answer(),
        {"type": "thread.started", "thread_id": OWN},
        {"type": "turn.started"},
        {"id": "0", "msg": {"type": "task_started"}},
        {"model": "gpt-5", "provider": "openai", "workdir": "/w"},
        {"id": OWN, "timestamp": "2025-07-14T09:30:01.000Z", "instructions": None},
    ],
)
def test_its_files_are_recognised(first: Row) -> None:
    assert SOURCE.sniff(Head(jsonl(first)))
    assert SOURCE.sniff(Head(jsonl("a word of a wrapper", first)))


def test_a_header_that_is_cut_off_is_recognised() -> None:
    assert SOURCE.sniff(Head(jsonl(header(instructions="x" * 300_000))))


@pytest.mark.parametrize(
    "first",
    [
        {"type": "user", "sessionId": OWN, "timestamp": "2026-02-03T13:00:00Z", "message": {}},
        {"type": "system", "subtype": "init", "session_id": OWN},
        {"type": "result", "usage": {}, "session_id": OWN},
        {"type": "summary", "summary": "", "leafUuid": OWN},
        {"id": OWN, "timestamp": "2026-02-03T13:00:00Z"},
        {"session": "x", "items": []},
        {"prompt": "x"},
        {},
    ],
)
def test_files_of_others_are_not(first: Row) -> None:
    assert not SOURCE.sniff(Head(jsonl(first)))


# Reading is a fold.


EVERYTHING = jsonl(
    fork(subagent_history_start_ordinal=None),
    header(PARENT),
    turn("gpt-5.2", OLD_TURN),
    settings("priority", thread_id=PARENT),
    count(FIRST, FIRST),
    count(FIRST, FIRST),
    "torn {",
    event("task_started", turn_id=NEW_TURN, started_at=1_790_000_000),
    turn(),
    settings("flex", thread_id=OWN),
    answer(),
    record("r", STEP, SECOND, thread_id=OWN, turn_id=NEW_TURN),
    count(STEP, SECOND),
    count({**STEP, "output_tokens": "x"}, usage(500, 340, 50, 14)),
    line("compacted", {"compaction_response_id": "c", "latest_token_usage_record": None}),
    record("c", usage(900, 0, 9)),
    count(usage(5, 0, 1), usage(495, 338, 50, 14)),
    event("entered_review_mode"),
    count(total=usage(800, 600, 70, 20)),
)
CAPTURE = jsonl(
    {"type": "thread.started", "thread_id": OWN}, completed(9, 0, 1), completed(0, 0, 0)
)
SILENT = jsonl(fork(), header(PARENT), answer(), turn(), answer(), event("agent_message"))
FILES = [EVERYTHING, CAPTURE, SILENT]


@pytest.mark.parametrize("text", FILES)
def test_cutting_a_file_between_lines_changes_nothing(text: bytes) -> None:
    whole = fold(text)
    lines = text.splitlines(keepends=True)
    assert fold(*lines) == whole
    for cut in range(len(lines)):
        assert fold(b"".join(lines[:cut]), b"".join(lines[cut:])) == whole


@pytest.mark.parametrize("text", FILES)
def test_reading_leaves_the_given_state_as_it_is(text: bytes) -> None:
    state = SOURCE.begin(FileFacts())
    before = msgspec.msgpack.encode(state)
    _, after = SOURCE.read(text, state)
    assert msgspec.msgpack.encode(state) == before
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(after), type=State) == after


@pytest.mark.parametrize("text", FILES)
def test_cutting_the_bytes_anywhere_never_raises(text: bytes) -> None:
    for cut in range(0, len(text), 7):
        SOURCE.sniff(Head(text[:cut]))
        fold(text[:cut])
        fold(text[cut:])


@given(st.integers(0, len(EVERYTHING) - 1), st.binary(min_size=1, max_size=3))
def test_other_bytes_anywhere_never_raise(place: int, noise: bytes) -> None:
    fold(EVERYTHING[:place] + noise + EVERYTHING[place + len(noise) :])


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
), st.integers(0, 10_000))  # fmt: skip
def test_other_values_anywhere_never_raise(value: Any, place: int) -> None:
    rows = [json.loads(text) for text in EVERYTHING.splitlines() if text != b"torn {"]
    spots = [(inner, key) for row in rows for inner in _objects(row) for key in inner]
    inner, key = spots[place % len(spots)]
    inner[key] = value
    text = jsonl(*rows)
    SOURCE.sniff(Head(text))
    fold(text)


def _objects(value: Any) -> list[Row]:
    if not isinstance(value, dict):
        return []
    return [value, *(found for inner in value.values() for found in _objects(inner))]
