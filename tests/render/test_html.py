"""The page says what the JSON says, runs nothing that a log wrote, and asks for nothing outside."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest

from tallybook.render.html import page
from tallybook.render.html.chart import BOTTOM, HEIGHT, TOP, between, chart, stacks, unit
from tallybook.render.html.page import sections
from tallybook.report.query import Query
from tallybook.report.summary import Report, summarise
from tests.frames import usage_frame
from tests.render.answers import USD, answer, wrapped

HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m"


class Page(HTMLParser):
    """The cells of every table by its heading, and the texts of the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tbody":
            self.tables.append([])
        elif tag == "tr" and self.tables and self.tags[-2][0] != "tfoot":
            self.tables[-1].append([])
        elif tag == "td" and self.tables[-1]:
            self.tables[-1][-1].append(dict(attrs).get("data-value"))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and data.strip():
            self.scripts.append(data)


def rendered(rows: list[dict[str, Any]], **asked: Any) -> tuple[str, dict[str, Any]]:
    frame = usage_frame(rows)

    def answered(query: Query) -> Report:
        return summarise(frame, query, files=1)

    document = answer(rows, **asked)
    more = sections(answered, Query(**asked))
    return page(document, {name: wrapped(each) for name, each in more.items()}), document


ROWS: list[dict[str, Any]] = [
    {"model": "a", "uncached_input_tokens": 900, "cached_input_tokens": 100, "output_tokens": 50,
     "cost": 3 * USD, "timestamp": datetime(2026, 11, 1, 10, tzinfo=UTC)},
    {"model": "b", "uncached_input_tokens": 10, "output_tokens": 5, "cost": USD // 3,
     "timestamp": datetime(2026, 11, 3, 10, tzinfo=UTC), "thread_id": "t-2"},
    {"model": HOSTILE, "output_tokens": 7, "timestamp": datetime(2026, 11, 3, 11, tzinfo=UTC)},
]  # fmt: skip


def test_the_document_in_the_page_is_the_answer() -> None:
    text, document = rendered(ROWS)
    assert json.loads(Page(text).scripts[0]) == json.loads(json.dumps(document))


def test_the_cells_sort_by_the_numbers_of_the_json() -> None:
    text, document = rendered(ROWS)
    table = Page(text).tables[0]
    costs = [cells[1] for cells in table[: len(document["rows"])]]
    assert costs == [row["cost_usd"] for row in document["rows"]]
    inputs = [cells[4] for cells in table[: len(document["rows"])]]
    assert inputs == [
        None if row["input_tokens"] is None else str(row["input_tokens"])
        for row in document["rows"]
    ]


def test_names_from_logs_are_shown_and_never_run() -> None:
    text, _ = rendered(ROWS)
    tags = Page(text).tags
    assert "\x1b" not in text
    assert not [tag for tag, _ in tags if tag in {"img", "iframe", "link"}]
    assert "&lt;/script&gt;&lt;img" in text


def test_the_page_asks_for_nothing_outside() -> None:
    text, _ = rendered(ROWS)
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|url\(|@import|src=[^x]|<link", text)


def test_problems_are_a_line_a_code_and_the_places_that_are_not_shown_are_counted() -> None:
    rows: list[dict[str, Any]] = [{"problems": ["no-time"]}] * 3
    rows += [{"kind": "problem", "path": f"{n}<b>", "problems": ["bad-line"]} for n in range(80)]
    text, _ = rendered([*ROWS, *rows])
    assert "<h3>Problems: 83</h3>" in text
    assert text.index("3 no-time (a record has no time;") < text.index("80 bad-line (a record")
    assert "<li>bad-line: 0&lt;b&gt;:7</li>" in text
    assert "<li>33 more are not listed here; --problems FILE writes all of them</li>" in text


def test_a_page_of_many_rows_shows_the_first_and_says_so_and_the_sums_stay() -> None:
    rows = [{"thread_id": f"t-{n:04}", "output_tokens": 1} for n in range(2003)]
    found = Query(by=("thread",)).for_page()
    text, document = rendered(rows, by=found.by, limit=found.limit)
    assert len(Page(text).tables[0]) == 2001 + 1  # and the totals below
    assert sum(row["output_tokens"] for row in document["rows"]) == 2003
    assert "(3 more)" in text
    assert "The first 2,000 of 2,003 rows are shown, the others as one;" in text
    assert Query(limit=5).for_page().limit == 5


def test_an_answer_without_rows_says_so() -> None:
    text, _ = rendered([])
    assert "No usage was found." in text
    assert "<svg" not in text


def test_the_share_of_cache_hits_is_marked_where_some_records_do_not_state_it() -> None:
    text, _ = rendered(ROWS)
    assert "≥9.9 %" in text  # 100 of 1,010, the second and third record are silent
    assert "10.0 %" in text  # 100 of 1,000 in the row of the first model


def test_a_cost_without_an_upper_bound_is_at_least_so_much() -> None:
    row = {"output_tokens": 7, "cost": 3 * USD, "cost_low": USD, "output_lower_bound": True}
    text, _ = rendered([row])
    assert "≥~$3.00" in text
    assert "at least $1.00" in text
    assert "None" not in text.partition("application/json")[0]


def test_equal_answers_are_equal_bytes() -> None:
    assert rendered(ROWS)[0] == rendered(ROWS[::-1])[0]


@pytest.mark.parametrize(
    ("days", "key"),
    [
        ([], "day"),
        ([None, "2026-11-01"], "day"),
        (["2026-01-01", "2026-04-02"], "day"),
        (["2026-01-01", "2026-04-03"], "week"),
        (["2024-01-01", "2026-04-03"], "month"),
    ],
)
def test_the_bars_are_as_fine_as_the_span_allows(days: list[str | None], key: str) -> None:
    assert unit(days) == key


@pytest.mark.parametrize(
    ("key", "times", "all_times"),
    [
        ("day", ["2026-02-27", "2026-03-01"], ["2026-02-27", "2026-02-28", "2026-03-01"]),
        ("week", ["2026-W52", "2027-W01"], ["2026-W52", "2026-W53", "2027-W01"]),
        ("month", ["2026-11", "2027-02"], ["2026-11", "2026-12", "2027-01", "2027-02"]),
        ("day", [], []),
    ],
)
def test_idle_times_keep_their_place(key: str, times: list[str], all_times: list[str]) -> None:
    assert between(key, times) == all_times


def test_small_models_are_one_series() -> None:
    rows = [
        {"day": "2026-11-01", "model": name, "cost_usd": cost}
        for name, cost in (("a", "5"), ("b", "1"), ("c", "0.5"), (None, "2"))
    ]
    bars = stacks([*rows, {"day": None, "model": "a", "cost_usd": "9"}], "day", "cost_usd", 2)
    assert bars["times"] == ["2026-11-01"]
    assert bars["series"] == [
        ("a", [Decimal(5)]), ("", [Decimal(2)]), (None, [Decimal("1.5")]),
    ]  # fmt: skip


def test_bars_stand_on_one_another_and_below_the_top_line() -> None:
    drawn = chart(
        ["x", "y"], [("a", [Decimal(3), Decimal(1)]), ("b", [Decimal(4), Decimal(0)])], ""
    )
    assert drawn is not None
    lower, upper, _ = drawn.bars
    assert lower.y + lower.height == pytest.approx(HEIGHT - BOTTOM)
    assert upper.y + upper.height == pytest.approx(lower.y)
    assert upper.y >= TOP - 0.01
    assert lower.height / upper.height == pytest.approx(3 / 4, rel=0.01)
    assert drawn.lines[-1].text == "8"


def test_nothing_to_draw_is_no_chart() -> None:
    assert chart([], [], "$") is None
    assert chart(["x"], [("a", [Decimal(0)])], "$") is None
