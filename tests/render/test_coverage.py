from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.render.coverage import (
    coverage_line,
    days,
    empty_lines,
    entry_line,
    not_looked_at_lines,
    problem_lines,
    total_line,
    unmatched_line,
)
from tallybook.render.text import display_width
from tallybook.report.codes import CODES
from tests.render.answers import answer


def test_the_line_says_what_was_read_and_left_out() -> None:
    rows: list[dict[str, Any]] = [
        {"output_tokens": 1200},
        {"duplicate_of": "call-1"},
        {"kind": "problem", "problems": ["torn-line"]},
    ]
    assert coverage_line(answer(rows)) == (
        "1 file · 2 records · 1 duplicate left out · 1 problem · 1,200 tokens unpriced"
    )


def test_the_line_says_of_how_many_records_filters_left_some() -> None:
    rows = [{"model": "a"}, {"model": "b"}, {"model": "b"}]
    line = coverage_line(answer(rows, filters={"model": ("a",)}))
    assert line.startswith("1 file · 1 of 3 records · ")


def test_backfilled_and_undated_are_said_where_there_are_any() -> None:
    found = answer([])
    line = coverage_line({**found, "coverage": found["coverage"] | {"backfilled": 2, "undated": 1}})
    assert " · 2 backfilled · 1 undated left out · 0 problems · " in line


def test_what_was_not_looked_at_is_one_line_the_most_first() -> None:
    assert not_looked_at_lines({"not_looked_at": {}}) == []
    known = {"": 3, ".har": 1, ".git/": 1, ".yaml": 1200}
    assert not_looked_at_lines({"not_looked_at": known}) == [
        "not read, for no source knows such files: 1,200 .yaml, 3 without a suffix, 1 .git/, 1 .har"
    ]
    many = {f".x{number}": 1 for number in range(9)}
    assert not_looked_at_lines({"not_looked_at": many})[0].endswith(".x4, 1 .x5, 3 others")


def test_a_filter_without_a_match_names_what_it_may_have_meant() -> None:
    known = ["claude-opus-4-5", "gpt-5.2-codex", "o4-mini"]
    line = unmatched_line("model", "gpt-5.2-codx", known)
    assert line == "no record has --model gpt-5.2-codx; there is gpt-5.2-codex, …"
    assert unmatched_line("caller", "zzz", ["lead"]) == "no record has --caller zzz; there is lead"
    assert unmatched_line("caller", "zzz", []) == "no record has --caller zzz"


def test_an_empty_report_says_where_it_looked_or_what_it_read() -> None:
    assert empty_lines({"records_read": 0}, ["/a", "/b\x1b"]) == [
        "no usage found; looked in",
        "  /a",
        r"  /b\x1b",
    ]
    assert empty_lines({"records_read": 2}, []) == ["none of 2 records matches what was asked for"]


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (None, None, ""),
        ("2026-10-31T23:30:00Z", "2026-11-02T10:00:00Z", "2026-11-01 to 2026-11-02"),
        ("2026-11-01T10:00:00.000001Z", "2026-11-01T10:00:00.000001Z", "2026-11-01"),
    ],
)
def test_a_report_says_its_days_in_the_zone_of_its_days(
    first: str | None, last: str | None, said: str
) -> None:
    assert days({"first": first, "last": last}, "Europe/Berlin") == said


def coverage(*entries: dict[str, Any]) -> dict[str, Any]:
    """Of a report whose list is whole; an entry is given by what is not as in `whole`."""
    whole: dict[str, Any] = {
        "path": "a.jsonl",
        "record": 3,
        "count": 1,
        "code": "torn-line",
        "detail": None,
    }
    found = [whole | {"count": 1, "last_record": e.get("record", 3)} | e for e in entries]
    counts: Counter[str] = Counter()
    for entry in found:
        counts[entry["code"]] += entry["count"]
    return {"problems": dict(counts), "problem_list": found}


def test_a_code_is_one_line_with_its_meaning_its_effect_and_an_example() -> None:
    found = coverage({"detail": "cut"}, {"record": 9})
    assert problem_lines(found, None) == [
        (
            "2 torn-line (the last line of a file is cut off; it is missing from the figures): "
            "a.jsonl:3, cut"
        )
    ]


def test_rare_codes_come_first_and_equal_ones_by_name() -> None:
    found = coverage(
        {"code": "no-time", "count": 1200, "last_record": 2000},
        {"code": "unclaimed", "record": 0},
        {"code": "ambiguous", "record": 0},
    )
    lines = problem_lines(found, None)
    assert [line.split()[:2] for line in lines] == [
        ["1", "ambiguous"],
        ["1", "unclaimed"],
        ["1,200", "no-time"],
    ]
    assert len({line.index(line.split()[1]) for line in lines}) == 1  # counts aligned right


def test_a_code_without_words_is_told_all_the_same() -> None:
    assert problem_lines(coverage({"code": "brand-new"}), None) == ["1 brand-new: a.jsonl:3"]


def test_what_a_log_says_is_shown_and_never_obeyed() -> None:
    found = coverage({"path": "a\x1b.jsonl", "detail": "cut\n\u202e"})
    assert problem_lines(found, None)[0].endswith(r": a\x1b.jsonl:3, cut\n\u202e")


@pytest.mark.parametrize("width", [40, 80, 120])
@given(
    path=st.text(st.characters(codec="utf-8"), min_size=1, max_size=300),
    record=st.integers(0, 10**6),
)
def test_no_line_is_wider_than_the_terminal_and_the_record_stays(
    width: int, path: str, record: int
) -> None:
    every = [{"code": code, "path": path, "record": record, "count": 10**5} for code in CODES]
    lines = problem_lines(coverage(*every), width)
    words = [word for line in lines for word in line.split(" ")]
    assert all(display_width(line) <= width for line in lines if len(line.split()) > 1)
    if record:
        assert sum(word.endswith(f":{record}") for word in words) >= len(CODES)


def test_where_all_are_to_be_had_is_said_unless_the_lines_are_all() -> None:
    assert total_line(coverage({}, {"code": "no-time"})) == ""
    assert total_line(coverage({"count": 2, "last_record": 4})) == (
        "--problems FILE writes all 2 problems with their places"
    )


def test_an_entry_says_how_many_records_it_stands_for() -> None:
    entry = {"code": "no-time", "count": 5000, "record": 1, "last_record": 5000}
    found = coverage(entry)["problem_list"][0]
    assert entry_line(found) == "no-time: a.jsonl:1 and 4,999 more to record 5000"
