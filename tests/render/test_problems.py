from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.render.problems import entry_line, problem_lines, total_line
from tallybook.render.text import display_width
from tallybook.report.codes import CODES


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
