from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.errors import UsageError
from tallybook.report.fields import COSTS, COUNTS, shortfalls, together
from tallybook.report.problems import SHOWN, gathered
from tallybook.report.query import KEYS, Query, check_days, names_of, parse_day, parse_keys
from tallybook.report.summary import Report, answer, money, summarise, summarise_batches
from tests.examples import tries
from tests.frames import USAGE, usage_frame

T = TypeVar("T")

USD = 10**15
Rows = list[dict[str, Any]]


def report(rows: Rows, **asked: Any) -> Report:
    return summarise(usage_frame(rows), Query(**asked))


class Usage:
    """Rows as a reading offers them."""

    older = ()

    def __init__(self, rows: Rows) -> None:
        self._rows = usage_frame(rows)

    def each(self, work: Callable[[pl.DataFrame], T]) -> Iterator[T]:
        yield work(self._rows)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def column(found: Report, name: str) -> list[Any]:
    return [row[name] for row in found.rows]


class TestSums:
    def test_a_bucket_that_no_record_states_is_null_and_counted_as_unknown(self) -> None:
        (row,) = report([{"uncached_input_tokens": 5, "output_tokens": 2}] * 2).rows
        assert row["cached_input_tokens"] is None
        assert row["unknown"] == {"cached_input_tokens": 2, "cache_creation_input_tokens": 2}

    def test_a_bucket_that_some_records_state_is_the_sum_of_those(self) -> None:
        (row,) = report([{"cached_input_tokens": 5}, {"output_tokens": 2}]).rows
        assert row["cached_input_tokens"] == 5
        assert row["unknown"]["cached_input_tokens"] == 1

    def test_zero_is_stated(self) -> None:
        (row,) = report([dict.fromkeys(COUNTS[1:6], 0) | {"output_tokens": 0}]).rows
        assert row["cached_input_tokens"] == 0
        assert row["unknown"] == {}

    def test_unsplit_tokens_are_zero_where_none_are_stated(self) -> None:
        (row,) = report([{"output_tokens": 2}]).rows
        assert row["unsplit_input_tokens"] == 0
        assert row["input_tokens"] is None
        assert row["total_tokens"] == 2

    def test_duplicates_events_assertions_and_problems_are_not_summed(self) -> None:
        left_out = [{"duplicate_of": "call-1"}]
        left_out += [{"kind": kind} for kind in ("event", "assertion", "problem")]
        rows: Rows = [{"output_tokens": 2}, *({"output_tokens": 50, **row} for row in left_out)]
        assert report(rows).totals["output_tokens"] == 2

    def test_calls_of_a_sum_that_does_not_state_them_are_null(self) -> None:
        (row,) = report([{"kind": "sum", "output_tokens": 2}]).rows
        assert (row["calls"], row["records_without_calls"]) == (None, 1)

    def test_a_lower_bound_in_a_group_makes_its_sum_one(self) -> None:
        rows: Rows = [{"model": "a"}, {"model": "b"}, {"model": "b", "lower_bound": True}]
        assert column(report(rows, sort="name"), "lower_bound") == [False, True]

    def test_totals_of_nothing_are_zero(self) -> None:
        totals = report([]).totals
        assert {totals[name] for name in COUNTS} == {0}
        assert {totals[name] for name in COSTS} == {"0"}
        assert report([]).rows == []


class TestOrigins:
    @pytest.mark.parametrize(
        ("row", "origin"),
        [
            ({}, "reported"),
            ({"uncached_input_tokens_origin": "derived"}, "reported"),
            ({"difference": True}, "derived"),
            ({"difference": True, "output_tokens_origin": "backfilled"}, "backfilled"),
            (
                {"uncached_input_tokens_origin": "assumed", "output_tokens_origin": "backfilled"},
                "assumed",
            ),
        ],
    )
    def test_a_row_is_as_good_as_its_weakest_evidence(
        self, row: dict[str, Any], origin: str
    ) -> None:
        counts = {"uncached_input_tokens": 1, "output_tokens": 1}
        assert report([counts | row]).totals["origins"] == {origin: 1}

    def test_origins_count_records_in_the_order_of_evidence(self) -> None:
        rows: Rows = [{"output_tokens": 1, "output_tokens_origin": "assumed"}, {"output_tokens": 1}]
        assert list(report(rows).totals["origins"].items()) == [("reported", 1), ("assumed", 1)]


class TestMoney:
    @pytest.mark.parametrize(
        ("femto", "text"),
        [
            (0, "0"),
            (None, None),
            (1, "0.000000000000001"),
            (12_300_000_000_000, "0.0123"),
            (100 * USD, "100"),
            (-USD // 2, "-0.5"),
            (10**30 + 1, "1000000000000000.000000000000001"),
        ],
    )
    def test_money_is_written_without_dust(self, femto: int | None, text: str | None) -> None:
        assert money(femto) == text

    def test_many_small_costs_add_up_exactly(self) -> None:
        assert report([{"cost": USD // 10}] * 3).totals["cost_usd"] == "0.3"

    def test_unpriced_tokens_are_said_and_leave_the_rest_priced(self) -> None:
        rows: Rows = [{"output_tokens": 7}, {"output_tokens": 1, "cost": USD}]
        totals = report(rows).totals
        assert (totals["cost_usd"], totals["unpriced_tokens"]) == ("1", 7)

    def test_a_group_without_a_price_has_null_cost(self) -> None:
        assert report([{"output_tokens": 7}]).totals["cost_usd"] is None

    def test_the_priced_part_of_an_unpriced_call_stays_out(self) -> None:
        rows: Rows = [{"output_cost": USD}, {"output_cost": USD, "cost": USD}]
        assert report(rows).totals["output_cost_usd"] == "1"

    def test_reported_cost_is_summed_beside_the_derived(self) -> None:
        rows: Rows = [{"reported_cost_usd": Decimal("0.10"), "cost": USD}, {"cost": USD}]
        totals = report(rows).totals
        assert (totals["reported_cost_usd"], totals["cost_usd"]) == ("0.1", "2")


class TestKeys:
    def test_days_weeks_months_and_hours_are_those_of_the_zone(self) -> None:
        rows: Rows = [{"timestamp": at("2026-12-31T23:30")}]
        found = report(rows, by=("hour", "day", "week", "month"), timezone="Europe/Berlin")
        assert {name: found.rows[0][name] for name in found.query.fields} == {
            "hour": "2027-01-01T00:00",
            "day": "2027-01-01",
            "week": "2026-W53",
            "month": "2027-01",
        }

    def test_an_hour_begins_at_the_full_hour_of_the_zone(self) -> None:
        rows: Rows = [{"timestamp": at("2026-11-20T14:45")}]
        found = report(rows, by=("hour",), timezone="Asia/Kolkata")
        assert column(found, "hour") == ["2026-11-20T20:00"]

    def test_threads_roll_up_under_their_root(self) -> None:
        rows: Rows = [
            {"thread_id": "t", "output_tokens": 1},
            {"thread_id": "t/a", "root_thread_id": "t", "output_tokens": 2},
        ]
        assert column(report(rows, by=("root-thread",)), "output_tokens") == [3]
        assert column(report(rows, by=("thread",), sort="name"), "thread_id") == ["t", "t/a"]

    def test_unknown_is_a_group_of_its_own_and_null(self) -> None:
        found = report([{"model": None}, {"model": "a"}], sort="name")
        assert column(found, "model") == ["a", None]

    def test_several_keys_group_by_their_combinations(self) -> None:
        rows: Rows = [{"model": m, "caller": c} for m in "ab" for c in ("lead", "subagent")]
        found = report([*rows, rows[0]], by=("caller", "model"), sort="name")
        keys = [(row["caller"], row["model"]) for row in found.rows]
        assert keys == [("lead", "a"), ("lead", "b"), ("subagent", "a"), ("subagent", "b")]
        assert column(found, "calls") == [2, 1, 1, 1]

    def test_parsed_keys_keep_their_order_and_count_once(self) -> None:
        assert parse_keys(["model, day", "day", "root-thread"]) == ("model", "day", "root-thread")

    @pytest.mark.parametrize("text", ["", "models", "model,,day", "thread_id"])
    def test_an_unknown_key_is_refused_by_name(self, text: str) -> None:
        with pytest.raises(UsageError, match="--by has no key"):
            parse_keys([text])


class TestDates:
    ROWS = tuple({"timestamp": at(f"2026-11-{day}T23:30")} for day in (18, 19, 20))

    @pytest.mark.parametrize(
        ("asked", "calls"),
        [
            ({"since": date(2026, 11, 19)}, 2),
            ({"until": date(2026, 11, 19)}, 2),
            ({"since": date(2026, 11, 19), "until": date(2026, 11, 19)}, 1),
            ({"since": date(2026, 11, 20), "timezone": "Europe/Berlin"}, 2),
            ({"until": date(2026, 11, 19), "timezone": "Europe/Berlin"}, 1),
        ],
    )
    def test_both_days_are_included_in_the_zone(self, asked: dict[str, Any], calls: int) -> None:
        assert report(list(self.ROWS), **asked).totals["calls"] == calls

    def test_undated_records_are_left_out_of_days_and_said(self) -> None:
        found = report([*self.ROWS, {"timestamp": None}], since=date(2026, 1, 1))
        assert (found.totals["calls"], found.coverage["undated"]) == (3, 1)
        assert report([{"timestamp": None}]).coverage["undated"] == 0

    @pytest.mark.parametrize(
        ("text", "day"),
        [
            ("2026-11-01", date(2026, 11, 1)),
            ("20261101", date(2026, 11, 1)),
            ("1d", date(2026, 11, 20)),
            ("7d", date(2026, 11, 14)),
        ],
    )
    def test_days_are_read(self, text: str, day: date) -> None:
        assert parse_day(text, date(2026, 11, 20), "--since") == day

    @pytest.mark.parametrize(
        "text",
        ["", "nope", "2026-13-01", "20260230", "0d", "999999d", "-7d", "7", "٧d", "2026-1-1"],
    )
    def test_what_is_no_date_is_refused_by_name(self, text: str) -> None:
        with pytest.raises(UsageError, match="--until") as refused:
            parse_day(text, date(2026, 11, 20), "--until")
        assert "7d" in refused.value.hint

    def test_days_in_the_wrong_order_are_refused(self) -> None:
        with pytest.raises(UsageError, match="after"):
            check_days(date(2026, 11, 2), date(2026, 11, 1))


class TestFilters:
    def test_values_are_exact_and_any_of_them_passes(self) -> None:
        rows: Rows = [{"model": model} for model in ("a", "ab", "b")]
        found = report(rows, filters={"model": ("a", "b")}, sort="name")
        assert column(found, "model") == ["a", "b"]

    def test_filters_of_several_names_all_have_to_pass(self) -> None:
        rows: Rows = [{"model": "a", "caller": "lead"}, {"model": "a", "caller": "subagent"}]
        found = report(rows, filters={"model": ("a",), "caller": ("subagent",)})
        assert found.totals["calls"] == 1

    def test_a_thread_is_taken_without_its_sub_agents(self) -> None:
        rows: Rows = [{"thread_id": "t"}, {"thread_id": "t/a", "root_thread_id": "t"}]
        assert report(rows, filters={"thread": ("t",)}).totals["calls"] == 1

    def test_a_value_that_nothing_has_is_named_with_those_there_are(self) -> None:
        found = report([{"model": "a"}, {"model": None}], filters={"model": ("A", "a")})
        assert [(odd.name, odd.value, odd.known) for odd in found.unmatched] == [
            ("model", "A", ["a"])
        ]

    @pytest.mark.parametrize(
        ("value", "names"),
        [
            ("gpt-5", ["gpt-5"]),
            ("gpt-5.", ["gpt-5.2-codex"]),
            ("gpt*", ["gpt-5", "gpt-5.2-codex"]),
            ("*5*", ["claude-5", "gpt-5", "gpt-5.2-codex"]),
            ("gpt…codex", ["gpt-5.2-codex"]),
            ("g[p]t*", []),
            ("s1", ["s1"]),
            ("s", ["s1", "s1/a", "s1/b", "s2"]),
            ("s1/", ["s1/a", "s1/b"]),
            ("S1", []),
        ],
    )
    def test_a_value_stands_for_a_name_the_beginning_of_one_or_a_pattern(
        self, value: str, names: list[str]
    ) -> None:
        known = ["claude-5", "gpt-5", "gpt-5.2-codex", "s1", "s1/a", "s1/b", "s2"]
        assert names_of(value, known) == names

    def test_the_beginning_of_a_session_is_the_session_and_none_of_its_agents(self) -> None:
        assert names_of("0a", ["0ab", "0ab/x", "0ab/y", "0b"]) == ["0ab"]

    @pytest.mark.parametrize(
        ("values", "calls", "names"),
        [
            (("gpt-5.2-c",), 1, ("gpt-5.2-codex",)),
            (("g*", "o"), 3, ("gpt-5", "gpt-5.2-codex", "o3")),
            (("gpt-5",), 1, None),
            (("gpt-5", "gpt-"), 1, None),
            (("gpt-",), 0, None),
            (("zz*",), 0, None),
        ],
    )
    def test_an_answer_is_that_of_the_names_that_are_meant(
        self, values: tuple[str, ...], calls: int, names: tuple[str, ...] | None
    ) -> None:
        usage = Usage([{"model": model} for model in ("gpt-5", "gpt-5.2-codex", "o3", None)])
        found = answer(usage, Query(filters={"model": values}), {})
        assert found.totals["calls"] == calls
        assert found.query.document()["matched"] == ({} if names is None else {"model": [*names]})

    def test_the_beginning_of_several_names_is_none_of_them_and_said(self) -> None:
        found = report(
            [{"model": "ab"}, {"model": "ac"}, {"model": "b"}], filters={"model": ("a",)}
        )
        (odd,) = found.unmatched
        assert (odd.known, odd.is_short, found.totals["calls"]) == (["ab", "ac"], True, 0)

    def test_coverage_speaks_of_what_the_filters_left(self) -> None:
        rows: Rows = [
            {"model": "a", "path": "a.jsonl"},
            {"model": "a", "duplicate_of": "call-1", "problems": ["no-time"], "path": "a.jsonl"},
            {"model": "b", "path": "b.jsonl", "problems": ["negative-bucket"]},
            # What could not be read says nothing of its model, and may be of the one asked for.
            {"model": None, "kind": "problem", "problems": ["torn-line"], "path": "c.jsonl"},
            {"model": None, "kind": "event", "path": "d.jsonl"},
            # A call without a model is of none.
            {"model": None, "path": "e.jsonl", "problems": ["no-model"]},
        ]
        found = report(rows, filters={"model": ("a",)}).coverage
        assert (found["records"], found["records_read"], found["duplicates"]) == (2, 4, 1)
        assert (found["files"], found["calls"]) == (2, 1)
        assert found["problems"] == {"no-time": 1, "torn-line": 1}
        assert [entry["path"] for entry in found["problem_list"]] == ["a.jsonl", "c.jsonl"]

    def test_coverage_speaks_of_the_days_asked_for(self) -> None:
        rows: Rows = [
            {"timestamp": datetime(2026, 11, 3, tzinfo=UTC), "problems": ["no-tier"]},
            {"timestamp": datetime(2026, 11, 5, tzinfo=UTC), "problems": ["no-model"]},
            {"timestamp": None, "problems": ["no-time"]},
            {"timestamp": None, "kind": "problem", "problems": ["bad-line"]},
        ]
        found = report(rows, since=date(2026, 11, 4)).coverage
        assert (found["records"], found["records_read"], found["undated"]) == (1, 3, 1)
        assert found["problems"] == {"bad-line": 1, "no-model": 1}


class TestOrder:
    ROWS = (
        {"model": "c", "cost": 2 * USD, "output_tokens": 1},
        {"model": "b", "cost": USD, "output_tokens": 5},
        {"model": "a", "cost": USD, "output_tokens": 5},
        {"model": "e", "output_tokens": 9},
        {"model": "d", "cost": USD, "output_tokens": 6},
        {"model": "d", "cost": 0, "output_tokens": 0},
    )

    @pytest.mark.parametrize(
        ("sort", "order"),
        [(None, "cdabe"), ("cost", "cdabe"), ("tokens", "edabc"), ("calls", "dcabe")],
    )
    def test_dearest_first_and_ties_by_name(self, sort: str | None, order: str) -> None:
        assert "".join(column(report(list(self.ROWS), sort=sort), "model")) == order

    def test_time_keys_ascend_and_what_has_no_time_comes_last(self) -> None:
        rows: Rows = [
            {"timestamp": None, "cost": 9 * USD},
            {"timestamp": at("2026-11-20T00:00"), "cost": USD},
            {"timestamp": at("2026-11-20T00:00"), "cost": 2 * USD, "model": "z"},
            {"timestamp": at("2026-11-19T00:00"), "cost": USD},
        ]
        found = report(rows, by=("model", "day"))
        assert column(found, "day") == ["2026-11-19", "2026-11-20", "2026-11-20", None]
        assert column(found, "model")[1] == "z"
        assert column(report(rows, by=("day",), sort="cost"), "day")[0] is None

    def test_the_order_of_reading_is_of_no_consequence(self) -> None:
        rows = list(self.ROWS)
        assert report(rows).rows == report(rows[::-1]).rows

    def test_a_limit_folds_the_rest_into_one_row(self) -> None:
        found = report(list(self.ROWS), limit=2)
        *_, rest = found.rows
        assert (rest["model"], rest["rest"]) == (None, 3)
        assert (rest["calls"], rest["output_tokens"], rest["cost_usd"]) == (3, 19, "2")
        assert rest["unpriced_tokens"] == 9
        assert found.totals == report(list(self.ROWS)).totals

    def test_a_limit_that_nothing_exceeds_folds_nothing(self) -> None:
        assert all("rest" not in row for row in report(list(self.ROWS), limit=5).rows)

    def test_in_the_order_of_time_a_limit_leaves_the_newest(self) -> None:
        rows: Rows = [{"timestamp": at(f"2026-11-{day}T00:00")} for day in (18, 19, 20, 21)]
        assert column(report(rows, by=("day",), limit=2), "day") == [
            "2026-11-20",
            "2026-11-21",
            None,
        ]
        assert column(report(rows, by=("day",), limit=1, reverse=True), "day")[0] == "2026-11-21"
        assert column(report(rows, by=("day",), limit=1, sort="name"), "day")[0] == "2026-11-18"

    def test_the_last_periods_are_all_that_is_left_in_rows_and_totals(self) -> None:
        rows: Rows = [
            {"timestamp": at(f"2026-11-{day}T00:00"), "model": model}
            for day in (18, 19, 21)
            for model in ("a", "b")
        ]
        found = report([*rows, {"timestamp": None}], by=("model", "day"), last=2)
        assert column(found, "day") == ["2026-11-19"] * 2 + ["2026-11-21"] * 2
        assert found.totals["calls"] == 4
        assert found.period["first"] == "2026-11-19T00:00:00Z"

    def test_threads_come_by_their_last_call_and_say_whose_and_when(self) -> None:
        rows: Rows = [
            {"thread_id": "a", "timestamp": at("2026-11-18T23:30"), "project": "/p"},
            {"thread_id": "a", "timestamp": at("2026-11-21T00:00"), "project": "/p"},
            {"thread_id": "b", "timestamp": at("2026-11-20T00:00"), "project": "/p"},
            {"thread_id": "b", "timestamp": at("2026-11-20T00:00"), "project": "/q"},
            {"thread_id": "c", "timestamp": None},
        ]
        found = report(rows, by=("thread",), sort="time", timezone="Europe/Berlin")
        told = [
            [row[n] for n in ("thread_id", "project", "first_day", "last_day")]
            for row in found.rows
        ]
        assert told == [
            ["b", None, "2026-11-20", "2026-11-20"],
            ["a", "/p", "2026-11-19", "2026-11-21"],
            ["c", None, None, None],
        ]
        turned = report(rows, by=("thread",), sort="time", reverse=True)
        assert column(turned, "thread_id") == ["a", "b", "c"]
        assert "project" not in report(rows).rows[0]


class TestPeriod:
    def test_it_is_that_of_the_calls_that_are_counted(self) -> None:
        rows: Rows = [
            {"timestamp": at("2026-11-18T23:30"), "duplicate_of": "x"},
            {"timestamp": at("2026-11-19T10:00:00.5")},
            {"timestamp": at("2026-11-20T00:00")},
            {"timestamp": None},
        ]
        ends = {"first": "2026-11-19T10:00:00.500000Z", "last": "2026-11-20T00:00:00Z"}
        assert report(rows).period == ends

    def test_of_nothing_it_is_unknown(self) -> None:
        assert report([]).period == {"first": None, "last": None}
        assert report([{"timestamp": None}]).period == {"first": None, "last": None}


class TestCoverage:
    def test_everything_that_was_read_is_accounted_for(self) -> None:
        rows: Rows = [
            {"output_tokens": 1, "output_tokens_origin": "backfilled"},
            {"duplicate_of": "call-1", "problems": ["no-model"]},
            {"kind": "thread", "problems": ["no-counts"]},
            {"kind": "event"},
            {"kind": "problem", "problems": ["torn-line", "no-model"], "detail": "cut"},
        ]
        found = summarise(usage_frame(rows), Query(), files=4).coverage
        assert found.pop("problem_list")[-1] == {
            "path": "sessions/a.jsonl",
            "record": 5,
            "last_record": 5,
            "count": 1,
            "code": "torn-line",
            "detail": "cut",
        }
        assert found == {
            "files": 4,
            "records_read": 3,
            "records": 3,
            "calls": 1,
            "older_calls": 0,
            "duplicates": 1,
            "backfilled": 1,
            "probably_same_call": {"calls": 0, "tokens": 0},
            "may_be_counted_twice": {"calls": 0, "tokens": 0},
            "problems": {"no-counts": 1, "no-model": 2, "torn-line": 1},
            "problems_listed": 4,
            "undated": 0,
        }

    def test_one_cause_in_one_file_is_one_entry_with_its_first_record(self) -> None:
        words = [f"the total rose by {n} tokens" for n in range(5000)]
        rows: Rows = [{"problems": ["total-mismatch"], "detail": each} for each in words]
        rows += [{"problems": ["total-mismatch"], "detail": "the parts are more"}]
        rows += [{"path": "sessions/b.jsonl", "problems": ["total-mismatch"], "detail": words[7]}]
        found = summarise(usage_frame(rows), Query()).coverage
        assert [
            (each["path"], each["record"], each["last_record"], each["count"], each["detail"])
            for each in found["problem_list"]
        ] == [
            ("sessions/a.jsonl", 1, 5000, 5000, words[0]),
            ("sessions/a.jsonl", 5001, 5001, 1, "the parts are more"),
            ("sessions/b.jsonl", 5002, 5002, 1, words[7]),
        ]
        assert found["problems"] == {"total-mismatch": 5002}

    def test_what_a_record_leaves_unsaid_has_no_words_of_another_problem(self) -> None:
        rows: Rows = [{"problems": ["no-model", "no-counts"], "detail": "failed"}]
        listed = summarise(usage_frame(rows), Query()).coverage["problem_list"]
        assert {each["code"]: each["detail"] for each in listed} == {
            "no-counts": "failed",
            "no-model": None,
        }

    def test_a_list_that_is_cut_says_so_and_has_every_code(self) -> None:
        rows: Rows = [
            {"kind": "problem", "problems": ["bad-line"], "path": f"{n:05}.jsonl"}
            for n in range(3000)
        ]
        rows += [{"path": "z.jsonl", "problems": ["estimated"]}] * 7
        found = summarise(usage_frame(rows), Query()).coverage
        listed = found["problem_list"]
        assert found["problems"] == {"bad-line": 3000, "estimated": 7}
        assert len(listed) == 1000
        assert found["problems_listed"] == sum(each["count"] for each in listed) == 999 + 7
        assert (listed[-1]["code"], listed[-1]["count"]) == ("estimated", 7)

    @tries(30)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b"]),
                st.sampled_from(["call", "problem"]),
                st.sampled_from([None, "cut", "lost 5", "lost 7"]),
                st.lists(st.sampled_from(["no-time", "bad-line", "no-counts"]), max_size=2),
            ),
            min_size=1,
        ),
        st.integers(1, 5),
    )
    def test_cut_into_batches_the_problems_are_the_same(
        self, problems: list[tuple[str, str, str | None, list[str]]], size: int
    ) -> None:
        names = ("path", "kind", "detail", "problems")
        frame = usage_frame([dict(zip(names, each, strict=True)) for each in problems])
        whole = summarise(frame, Query()).coverage
        apart = summarise_batches(frame.iter_slices(size), Query(), {"files": 0}).coverage
        assert apart == whole
        assert sum(whole["problems"].values()) == whole["problems_listed"]
        (written,) = gathered(frame.iter_slices(size))
        places = [tuple(each[name] for name in SHOWN) for each in whole["problem_list"]]
        assert sorted(written.rows(), key=repr) == sorted(places, key=repr)

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ({"cost": USD}, []),
            ({"cost": USD, "problems": ["no-time"]}, ["1 problem"]),
            ({}, ["3 tokens unpriced"]),
            ({"cost": USD, "lower_bound": True}, ["a sum is a lower bound"]),
            ({"cost": USD, "cost_high": 2 * USD}, ["cost between 1 and 2 USD"]),
            (
                {"cost": 2 * USD, "cost_low": USD, "output_lower_bound": True},
                ["cost at least 1 USD", "a sum is a lower bound"],
            ),
        ],
    )
    def test_what_is_incomplete_is_named(self, row: dict[str, Any], words: list[str]) -> None:
        found = report([{"output_tokens": 3, **row}])
        assert shortfalls(found.totals, found.coverage) == words


TOKENS = st.none() | st.integers(0, 10**12)
ROWS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["call", "sum", "thread", "event", "problem"]),
        "duplicate_of": st.sampled_from([None, None, None, "call-1"]),
        **{name: st.sampled_from([None, "a", "b"]) for name in ("model", "provider", "project")},
        "thread_id": st.sampled_from(["t", "u"]),
        "root_thread_id": st.sampled_from(["t", "u"]),
        "source": st.sampled_from(["codex", "claude-code"]),
        "caller": st.sampled_from(["lead", "subagent"]),
        "timestamp": st.none() | st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),  # noqa: DTZ001 - the schema makes it UTC
        **dict.fromkeys(
            ("uncached_input_tokens", "cached_input_tokens", "unsplit_input_tokens"), TOKENS
        ),
        "output_tokens": TOKENS,
        "difference": st.booleans(),
        "input_lower_bound": st.booleans(),
        "output_lower_bound": st.booleans(),
        "cost": st.none() | st.integers(0, 10**25),
        "reported_cost_usd": st.none() | st.decimals(0, 1000, places=15),
    }
)


def added(rows: Sequence[dict[str, Any]], name: str) -> Decimal:
    return sum((Decimal(row[name] or 0) for row in rows), Decimal(0))


def counted_by(rows: Sequence[dict[str, Any]], name: str) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        for word, count in row[name].items():
            found[word] = found.get(word, 0) + count
    return found


@tries(40)
@given(
    rows=st.lists(ROWS, max_size=12),
    by=st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=3, unique=True),
    limit=st.none() | st.integers(1, 3),
    zone=st.sampled_from(["UTC", "America/St_Johns", "Pacific/Apia"]),
)
def test_the_rows_add_up_to_the_totals_whatever_the_keys(
    rows: Rows, by: list[str], limit: int | None, zone: str
) -> None:
    found = report(rows, by=tuple(by), limit=limit, timezone=zone)
    alone = report(rows)
    assert found.totals == alone.totals
    sums = {*COUNTS, *COSTS, "reported_cost_usd", "unpriced_tokens", "records_without_calls"}
    if found.totals["lower_bound"]:
        sums.remove("cost_high_usd")
        assert found.totals["cost_high_usd"] is None
    for name in sums:
        assert added(found.rows, name) == Decimal(found.totals[name] or 0), name
    for name in ("unknown", "origins"):
        assert counted_by(found.rows, name) == found.totals[name]
    assert any(row["lower_bound"] for row in found.rows) == found.totals["lower_bound"]
    assert together(found.rows) == found.totals
    least = {name for row in found.rows for name in row["at_least"]}
    assert least == set(found.totals["at_least"])
    for row in found.rows:
        no_bound = row["lower_bound"] or row["cost_usd"] is None
        assert (row["cost_high_usd"] is None) == no_bound


# Calls that may have all of a remainder each, and have it once together: remainder and its tokens.
REMAINDERS: Mapping[str | None, int] = {"total 1": 100, "total 2": 7, None: 0}
SHARED = st.fixed_dictionaries(
    {
        **{name: st.sampled_from(["a", "b"]) for name in ("model", "provider", "project")},
        "thread_id": st.sampled_from(["t", "u"]),
        "root_thread_id": st.sampled_from(["t", "u"]),
        "source": st.sampled_from(["codex", "claude-code"]),
        "caller": st.sampled_from(["lead", "subagent"]),
        "timestamp": st.none()
        | st.sampled_from([datetime(2026, 6, 1, 18, n, tzinfo=UTC) for n in (14, 15, 29, 30, 44)]),
        "cost": st.integers(0, 10**6),
        "of": st.sampled_from(sorted(REMAINDERS, key=str)),
        "rate": st.integers(1, 9),
    }
)


def shared(rows: Rows) -> pl.DataFrame:
    """Priced rows whose highest cost holds the whole remainder that they share."""
    calls = [
        {key: value for key, value in row.items() if key not in {"of", "rate"}} for row in rows
    ]
    high = [row["cost"] + REMAINDERS[row["of"]] * row["rate"] for row in rows]
    return usage_frame(calls).with_columns(
        pl.Series("cost_high", high, pl.Int128),
        pl.Series(
            "perhaps_output_cost", [REMAINDERS[r["of"]] * r["rate"] for r in rows], pl.Int128
        ),
        pl.Series("perhaps_output_tokens", [REMAINDERS[row["of"]] for row in rows], pl.Int64),
        pl.Series("perhaps_output_of", [row["of"] for row in rows], pl.String),
    )


@tries(60)
@given(
    rows=st.lists(SHARED, min_size=1, max_size=8),
    by=st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=3, unique=True),
    zone=st.sampled_from(["UTC", "Asia/Kathmandu", "Australia/Eucla"]),
    model=st.none() | st.sampled_from(["a", "b"]),
)
def test_a_remainder_that_calls_share_bounds_every_row_and_is_the_same_money_in_every_report(
    rows: Rows, by: list[str], zone: str, model: str | None
) -> None:
    """A remainder may be of the dearest call of any row; then that row costs so much at most."""
    frame = shared(rows)
    asked: dict[str, Any] = {"timezone": zone, "filters": {"model": (model,)} if model else {}}
    alone = summarise(frame, Query(**asked)).totals
    found = summarise(frame, Query(by=tuple(by), **asked))
    assert found.totals == alone
    assert added(found.rows, "cost_high_usd") == Decimal(alone["cost_high_usd"] or 0)
    for row in found.rows:
        fits = [
            e
            for e in rows
            if model in {None, e["model"]} and in_row(e, by, zone) == [row[KEYS[key]] for key in by]
        ]
        dearest = {
            of: max(e["rate"] for e in fits if e["of"] == of) for of in {e["of"] for e in fits}
        }
        most = sum(e["cost"] for e in fits) + sum(
            REMAINDERS[of] * rate for of, rate in dearest.items()
        )
        assert Decimal(row["cost_high_usd"]) * USD >= most


def in_row(call: dict[str, Any], by: list[str], zone: str) -> list[str | None]:
    """The keys of the row that a call is in."""
    local = call["timestamp"] and call["timestamp"].astimezone(ZoneInfo(zone))
    forms = {"hour": "%Y-%m-%dT%H:00", "day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
    return [
        (local and local.strftime(forms[key])) if key in forms else call[KEYS[key]] for key in by
    ]


def test_nothing_bounds_a_sum_of_which_a_part_may_have_been_dearer() -> None:
    frame = usage_frame([{"cost": USD}, {"cost": USD}])
    high = pl.when(pl.col("record") == 1).then("cost_high")
    totals = summarise(frame.with_columns(cost_high=high), Query()).totals
    assert (totals["cost_low_usd"], totals["cost_high_usd"]) == ("2", None)
    assert not totals["lower_bound"]


def test_a_lazy_frame_is_as_good_as_a_frame() -> None:
    frame = usage_frame([{"output_tokens": 3}])
    assert summarise(frame.lazy(), Query()) == summarise(frame, Query())


def test_the_builder_knows_every_column_once() -> None:
    assert usage_frame([]).schema == pl.Schema(USAGE)
