from __future__ import annotations

from typing import Any

import pytest

from tallybook.render.words import (
    coverage_line,
    days,
    empty_lines,
    not_looked_at_lines,
    unmatched_line,
)
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
