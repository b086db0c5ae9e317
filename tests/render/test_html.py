"""The page says what the JSON says, runs nothing that a log wrote, and asks for nothing outside."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest

from tallybook.render.html.chart import between, chart, shares, stacks, unit
from tallybook.render.html.page import page, sections
from tallybook.report.query import Query
from tallybook.report.summary import Report, summarise
from tests.frames import usage_frame
from tests.render.answers import USD, answer, wrapped

HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m"


class Page(HTMLParser):
    """The tags, and of every table its headings and the rows of its body, a cell (text, exact)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[list[str]] = []
        self.tables: list[list[list[tuple[str, str | None]]]] = []
        self._part = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        self.tags.append((tag, own))
        if tag in {"thead", "tbody", "tfoot"}:
            self._part = tag
        if tag == "thead":
            self.headings.append([])
            self.tables.append([])
        elif tag == "tr" and self._part == "tbody":
            self.tables[-1].append([])
        elif tag in {"th", "td"} and self._part == "thead":
            self.headings[-1].append("")
        elif tag in {"th", "td"} and self._part == "tbody":
            self.tables[-1][-1].append(("", own.get("data-v")))

    def handle_data(self, data: str) -> None:
        if self._part == "thead" and self.headings[-1] and self.tags[-1][0] == "th":
            self.headings[-1][-1] += data.strip()
        elif self._part == "tbody" and self.tags[-1][0] in {"th", "td"}:
            text, exact = self.tables[-1][-1][-1]
            self.tables[-1][-1][-1] = (text + data.strip(), exact)

    def column(self, heading: str, table: int = 0) -> list[tuple[str, str | None]]:
        """The cells below a heading."""
        place = self.headings[table].index(heading)
        return [row[place] for row in self.tables[table]]


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


def test_the_cells_say_the_numbers_of_the_json() -> None:
    text, document = rendered(ROWS)
    page_, rows = Page(text), document["rows"]
    shown = [cell.replace(",", "").lstrip("≥~") for cell, _ in page_.column("Input")]
    assert shown == [str(row["input_tokens"] or "–") for row in rows]
    # A third of a dollar is rounded, and sorts by all that is known of it; three dollars are three.
    costs = [(cell.lstrip("≥~"), exact) for cell, exact in page_.column("Cost")]
    assert costs == [("$3.00", "3"), ("$0.33", "0.333333333333333"), ("–", None)]


def test_a_figure_stands_once_in_a_table_and_nowhere_beside_it() -> None:
    row = {"uncached_input_tokens": 929_279, "output_tokens": 5, "thread_id": "t-7"}
    text, _ = rendered([row, {"thread_id": "t-8"}], by=("thread",))
    assert "929279" not in text
    assert [cell for cell, _ in Page(text).column("Uncached")] == ["929,279", "–"]
    assert text.count("t-7") == 1


@pytest.mark.parametrize("by", [("thread",), ("root-thread",), ("project", "thread")])
def test_there_is_one_table_of_threads(by: tuple[str, ...]) -> None:
    headings = Page(rendered(ROWS, by=by)[0]).headings
    assert sum(not {"Thread", "Root thread"}.isdisjoint(own) for own in headings) == 1


def test_periods_are_told_newest_first_and_what_is_not_known_of_them_beside_their_sums() -> None:
    page_ = Page(rendered(ROWS)[0])
    assert page_.headings[1][:3] == ["Day", "Cost", "Cached share"]
    assert [cell for cell, _ in page_.column("Day", 1)] == ["2026-11-03", "2026-11-01"]
    third, first = (cell for cell, _ in page_.column("Not known", 1))
    assert third == (
        "Uncached, Cached, Cache write are lower bounds: some records do not state all of it; "
        "7 tokens without a price cost nothing here"
    )
    assert not first


def test_of_the_last_periods_all_tables_are_on_the_same_calls() -> None:
    rows = [
        {"model": model, "cost": USD, "timestamp": datetime(2026, 11, day, 9, tzinfo=UTC)}
        for model, day in (("earlier-model", 1), ("a", 8), ("b", 20))
    ]
    text, _ = rendered(rows, by=("day",), last=2)
    page_ = Page(text)
    assert page_.headings[1][0] == "Model"
    assert sorted(cell for cell, _ in page_.column("Model", 1)) == ["a", "b"]
    assert len(page_.tables) == 3
    assert "earlier-model" not in text
    assert len(Page(rendered(rows, by=("hour",), last=2)[0]).tables) == 1


def test_names_from_logs_are_shown_and_never_run() -> None:
    text, _ = rendered(ROWS)
    tags = Page(text).tags
    assert "\x1b" not in text
    assert not [tag for tag, _ in tags if tag in {"img", "iframe", "link"}]
    assert "&lt;/script&gt;&lt;img" in text


def test_the_page_asks_for_nothing_outside() -> None:
    text, _ = rendered(ROWS)
    (policy,) = (own["content"] for tag, own in Page(text).tags if "http-equiv" in own)
    for part in ("style", "script"):
        own = text.partition(f"<{part}>")[2].partition(f"</{part}>")[0]
        digest = b64encode(sha256(own.encode()).digest()).decode()
        assert f"{part}-src 'sha256-{digest}'" in str(policy)
    assert "default-src 'none'" in str(policy)
    assert "unsafe" not in str(policy)
    assert not [tag for tag, own in Page(text).tags if own.keys() & {"style", "onclick"}]
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
    rows = [
        {"thread_id": f"{n:08}-2a6a-4dee-a5b5-84761e0ed928", "project": f"/home/dev/code/some-{n}",
         "uncached_input_tokens": 5_373 + n, "cached_input_tokens": 561_886 + n,
         "cache_creation_input_tokens": 31_916 + n, "output_tokens": 1, "cost": n * USD // 7}
        for n in range(2003)
    ]  # fmt: skip
    found = Query(by=("thread",)).for_page()
    text, document = rendered(rows, by=found.by, limit=found.limit)
    assert len(Page(text).tables[0]) == 2000
    assert len(text) < 600_000
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
    assert text.count("cost is at least $1.00") == 3  # the card, and a row of each table
    assert "None" not in text


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
    lower, upper = drawn.stacks[0].bars
    assert [line.text for line in drawn.lines] == ["0", "2", "4", "6", "8"]
    assert (lower.y, lower.height) == (62.5, 37.5)  # three eighths, from the bottom
    assert (upper.y, upper.height) == (12.5, 50)
    assert [stack.left + stack.slot for stack in drawn.stacks] == [50, 100]


def test_a_stack_says_what_it_is_made_of_the_largest_first() -> None:
    drawn = chart(["x"], [("a", [Decimal(3)]), ("b", [Decimal(4)]), ("c", [Decimal(0)])], "$")
    assert drawn is not None
    assert drawn.stacks[0].words == "x: $7 = b $4 + a $3"


def test_a_line_across_is_named_in_a_few_cells() -> None:
    drawn = chart(["x"], [("a", [Decimal(1_900_000_000)])], "")
    assert drawn is not None
    assert [line.text for line in drawn.lines] == ["0", "500M", "1B", "1.5B", "2B"]


def test_money_across_has_one_number_of_decimals() -> None:
    drawn = chart(["x"], [("a", [Decimal("1.12")])], "$")
    assert drawn is not None
    assert [line.text for line in drawn.lines] == ["$0.00", "$0.50", "$1.00", "$1.50"]


def test_of_many_names_below_a_narrow_window_shows_a_third_and_none_leaves_the_chart() -> None:
    times = [f"2026-11-{n:02}" for n in range(1, 30)]
    drawn = chart(times, [("a", [Decimal(1)] * 29)], "")
    assert drawn is not None
    assert [name.text[-2:] for name in drawn.names] == [
        "01", "05", "09", "13", "17", "21", "25", "29",
    ]  # fmt: skip
    assert [name.text[-2:] for name in drawn.names if name.is_main] == ["01", "13", "25"]
    assert (drawn.names[-1].anchor, drawn.names[-1].at) == ("end", 100)


def test_a_share_that_is_not_known_has_no_bar() -> None:
    drawn = shares(["x", "y"], [Decimal("0.25"), None], ["25.0 %", "–"])
    assert [(bar.y, bar.height) for bar in drawn.stacks[0].bars] == [(75, 25)]
    assert [stack.words for stack in drawn.stacks] == ["x: 25.0 %", "y: –"]
    assert not drawn.stacks[1].bars


def test_nothing_to_draw_is_no_chart() -> None:
    assert chart([], [], "$") is None
    assert chart(["x"], [("a", [Decimal(0)])], "$") is None
