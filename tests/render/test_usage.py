from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.render.formats import json_text
from tallybook.render.text import display_width
from tallybook.render.usage import (
    Drawn,
    column_names,
    columns,
    legend,
    markdown_lines,
    marked,
    short_ids,
    table_lines,
    title,
    usage_csv,
    with_subtotals,
    without_dates,
)
from tallybook.report.query import KEYS, names_of
from tests.render.answers import USD, answer

CENT = USD // 100
Rows = list[dict[str, Any]]


def cells(rows: Rows, heading: str, **asked: Any) -> list[str]:
    """The cells of a column and its total."""
    found = [c for c in columns(answer(rows, **asked)) if c.title == heading]
    return [*found[0].cells, found[0].total] if found else []


def table_text(found: dict[str, Any], width: int | None) -> str:
    return "".join(table_lines(found, width, colour=False))


def markdown_text(found: dict[str, Any]) -> str:
    return "".join(markdown_lines(found))


def legend_of(text: str) -> str:
    marks: set[str] = set()
    assert "".join(marked(text.splitlines(keepends=True), marks)) == text
    return legend(marks)


def cell(row: dict[str, Any], heading: str) -> str:
    return cells([row], heading)[0]


class TestCells:
    def test_digits_are_grouped_and_null_is_a_dash(self) -> None:
        row = {"output_tokens": 1_234_567}
        assert cell(row, "Output") == "1,234,567"
        assert cell(row, "Input") == "–"

    def test_a_sum_that_some_records_do_not_state_is_at_least(self) -> None:
        rows: Rows = [{"cached_input_tokens": 5, "cost": USD}, {"output_tokens": 2, "cost": USD}]
        assert cells(rows, "Cached") == ["≥5", "≥5"]
        assert cells(rows, "Output") == ["≥2", "≥2"]

    def test_calls_are_at_least_where_a_record_does_not_state_them(self) -> None:
        assert cells([{}, {"kind": "sum"}], "Calls") == ["≥1", "≥1"]

    def test_input_is_exact_where_only_its_split_is_unknown(self) -> None:
        row = {"uncached_input_tokens": 5, "cached_input_tokens": 1, "output_tokens": 1}
        assert cell(row, "Input") == "6"
        assert cell(row | {"lower_bound": True}, "Input") == "≥6"
        assert cell(row | {"lower_bound": True}, "Total") == "≥7"

    def test_cost_is_at_least_with_unpriced_tokens_or_a_lower_bound(self) -> None:
        rows: Rows = [{"cost": USD}, {"output_tokens": 1}]
        assert cells(rows, "Cost") == ["≥$1.00", "≥$1.00"]
        assert cell({"cost": USD, "lower_bound": True}, "Cost") == "≥$1.00"

    def test_cost_is_about_where_its_bounds_differ(self) -> None:
        row = {"cost": 2 * USD, "cost_low": USD, "cost_high": 3 * USD}
        assert cell(row, "Cost") == "~$2.00"
        assert cell(row, "Cost range") == "$1.00–$3.00"

    def test_cost_that_may_be_less_is_only_about_a_lower_bound(self) -> None:
        row = {"cost": 2 * USD, "cost_high": 3 * USD, "lower_bound": True}
        assert cell(row, "Cost") == "≥$2.00"
        assert cell(row | {"cost_low": USD}, "Cost") == "≥~$2.00"

    def test_a_range_is_shown_only_where_there_is_one(self) -> None:
        assert cells([{"cost": USD}], "Cost range") == []
        rows: Rows = [{"cost": USD}, {"model": "b", "cost": USD, "cost_high": 2 * USD}]
        assert cells(rows, "Cost range", sort="name") == ["$1.00–$2.00", "", "$2.00–$3.00"]

    def test_the_ends_of_a_range_show_that_they_differ(self) -> None:
        row = {"cost": 881 * USD // 1000, "cost_low": 881 * USD // 1000}
        assert cell(row | {"cost_high": 884 * USD // 1000}, "Cost") == "~$0.88"
        assert cell(row | {"cost_high": 884 * USD // 1000}, "Cost range") == "$0.881–$0.884"
        assert cell(row | {"cost_high": 89 * CENT}, "Cost range") == "$0.88–$0.89"
        little = {"cost": 30 * USD, "cost_low": USD // 1000, "cost_high": 2 * USD // 1000}
        assert cell(little, "Cost range") == "$0.001–$0.002"

    def test_an_output_that_is_too_low_marks_what_it_is_in_and_nothing_else(self) -> None:
        whole = {"uncached_input_tokens": 5, "cached_input_tokens": 4, "output_tokens": 3}
        rows: Rows = [
            {**whole, "cache_creation_input_tokens": 2, "cost": USD, "output_lower_bound": True},
            {**whole, "model": "b", "cost": 2 * USD},  # its log has no cache writes
        ]
        shown = {c.title: [*c.cells, c.total] for c in columns(answer(rows, sort="name"))}
        assert shown["Output"] == ["3", "≥3", "≥6"]
        assert shown["Total"] == ["12", "≥14", "≥26"]
        assert shown["Cost"] == ["$2.00", "≥$1.00", "≥$3.00"]
        assert shown["Input"] == ["9", "11", "20"]
        assert shown["Cache write"] == ["–", "2", "2"]
        assert "Cost range" not in shown

    def test_a_lower_bound_that_may_be_less_has_a_range_without_an_end(self) -> None:
        row = {"cost": 2 * USD, "cost_low": USD, "output_lower_bound": True}
        assert cell(row, "Cost range") == "≥$1.00"
        rows: Rows = [row, {"model": "b", "cost": USD, "cost_high": 3 * USD}]
        assert cells(rows, "Cost range", sort="name") == ["$1.00–$3.00", "≥$1.00", "≥$2.00"]

    @pytest.mark.parametrize(
        ("costs", "shown"),
        [
            ([1234 * USD, USD], ["$1,234.00", "$1.00"]),
            ([USD, 5 * CENT], ["$1.000", "$0.050"]),
            ([USD, CENT // 10], ["$1.0000", "$0.0010"]),
            ([USD, CENT // 1000], ["$1.0000", "<$0.0001"]),
            ([314 * USD, CENT // 10], ["$314.00", "<$0.01"]),
            ([USD, 0], ["$1.00", "$0.00"]),
        ],
    )
    def test_small_sums_stay_visible_and_decimals_aligned(
        self, costs: list[int], shown: list[str]
    ) -> None:
        rows: Rows = [{"model": str(n), "cost": cost} for n, cost in enumerate(costs)]
        assert cells(rows, "Cost")[:-1] == shown

    def test_no_price_is_no_zero(self) -> None:
        rows: Rows = [{"output_tokens": 5}, {"model": "free", "cost": 0}]
        assert cells(rows, "Cost") == ["$0.00", "–", "≥$0.00"]

    def test_the_log_s_own_cost_stands_beside_ours(self) -> None:
        assert cells([{"cost": USD}], "Reported") == []
        assert cell({"cost": USD, "reported_cost_usd": Decimal("2.5")}, "Reported") == "$2.50"

    def test_unknown_names_and_the_rest_say_so(self) -> None:
        rows: Rows = [{"model": None, "cost": USD}, {"model": "a"}, {"model": "b"}]
        assert cells(rows, "Model", limit=1) == ["(unknown)", "(2 more)", "Total"]

    def test_control_characters_of_a_name_are_written_out(self) -> None:
        assert cell({"model": "\x1b]0;x\x07"}, "Model") == r"\x1b]0;x\x07"


class TestTitle:
    @pytest.mark.parametrize(
        ("asked", "words"),
        [
            ({}, "Usage by model"),
            ({"by": ("project", "day")}, "Usage by project, day · UTC"),
            ({"since": date(2026, 11, 1)}, "Usage by model · from 2026-11-01 · UTC"),
            (
                {"until": date(2026, 11, 2), "timezone": "Europe/Berlin"},
                "Usage by model · until 2026-11-02 · Europe/Berlin",
            ),
            (
                {"since": date(2026, 11, 1), "until": date(2026, 11, 2)},
                "Usage by model · 2026-11-01 to 2026-11-02 · UTC",
            ),
            ({"filters": {"model": ("a", "b\x1b")}}, r"Usage by model · model a or b\x1b"),
        ],
    )
    def test_the_title_says_what_was_asked(self, asked: dict[str, Any], words: str) -> None:
        assert title(answer([], **asked)["query"]) == words


class TestTable:
    ROWS: tuple[dict[str, Any], ...] = tuple(
        {
            "model": f"claude-sonnet-4-5-2025092{n}",
            "project": f"/home/u/projects/customer-{n}/backend",
            "thread_id": f"019ab{n}02-7c11-7d3e-9a4b-00000025ad{n}e/agent-{n}",
            "timestamp": datetime(2026, 11, n + 1, tzinfo=UTC),
            "uncached_input_tokens": 10**9,
            "cached_input_tokens": 10**10,
            "output_tokens": 10**8,
            "unsplit_input_tokens": 10**7,
            "reasoning_output_tokens": 10**7,
            "cost": 3000 * USD,
            "cost_high": 4000 * USD,
            "lower_bound": True,
            "reported_cost_usd": Decimal("3.5"),
        }
        for n in range(5)
    )

    @pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 200, 300])
    @pytest.mark.parametrize("by", [("model",), ("thread", "project"), ("day", "model", "thread")])
    def test_it_fits_the_terminal_and_always_shows_cost(
        self, width: int, by: tuple[str, ...]
    ) -> None:
        text = table_text(answer(list(self.ROWS), by=by), width)
        assert max(display_width(line) for line in text.splitlines()) <= width
        assert text.splitlines()[2].split()[-1] in {"Cost", "range", "Reported"}
        assert "≥$15,000.00" in text

    def test_in_a_pipe_nothing_is_cut(self) -> None:
        text = table_text(answer(list(self.ROWS), by=("thread", "project")), None)
        assert "…" not in text
        assert all(row["thread_id"] in text for row in self.ROWS)

    def test_nothing_to_show_is_no_table(self) -> None:
        assert table_text(answer([]), 80) == ""

    def test_the_legend_explains_the_marks_that_are_there(self) -> None:
        text = table_text(answer([{"cost": USD, "lower_bound": True}]), 80)
        assert legend_of(text).startswith("≥ at least")
        assert "– not stated" in legend_of(text)
        assert "~" not in legend_of(text)
        both = {"cost": USD, "cost_low": CENT, "lower_bound": True}
        text = table_text(answer([both]), 80)
        assert "≥~$1.00" in text
        assert "≥ at least" in legend_of(text)
        assert "~ about" in legend_of(text)
        assert legend_of("Model  Cost\na-b  $1.00\n") == ""


class TestMarkdown:
    def test_names_cannot_break_the_table(self) -> None:
        text = markdown_text(answer([{"model": "a|b*c_d_ `x` <i>\n", "cost": USD}]))
        assert r"| a\|b\*c_d\_ \`x\` \<i\>\\n | 1 |" in text

    @pytest.mark.parametrize(
        ("name", "cell"),
        [
            ("http://x.y/z", r"http\://x.y/z"),
            ("see HTTPS://x.y", r"see HTTPS\://x.y"),
            ("ftp://x.y", r"ftp\://x.y"),
            ("www.x.y", r"www\.x.y"),
            ("WWW.x.y", r"WWW\.x.y"),
            ("mailto:a_b@c.de|", r"mailto:`a_b@c.de`\|"),
            ("`a@b.c`", r"\`a<!-- -->@b.c\`"),
            ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5@20250929"),
            ("$x$ $1.00", r"\$x\$ $1.00"),
            ("a:b gpt-5.2", "a:b gpt-5.2"),
        ],
    )
    def test_nothing_becomes_a_link(self, name: str, cell: str) -> None:
        """As cmark-gfm 0.29 renders these: as the name, and without a link."""
        assert f"\n| {cell} |" in markdown_text(answer([{"model": name}]))

    def test_the_legend_knows_marks_that_are_escaped(self) -> None:
        row = {"cost": USD, "cost_low": CENT, "lower_bound": True}
        assert "~ about" in legend_of(markdown_text(answer([row])))

    def test_numbers_are_aligned_right_and_totals_bold(self) -> None:
        lines = markdown_text(answer([{"cost": USD}])).splitlines()
        assert lines[0] == "Usage by model · prices d1"
        assert lines[2].startswith("| Model | Calls |")
        assert lines[3].startswith("| --- | ---: |")
        assert lines[-1].startswith("| **Total** | **1** |")
        assert len({line.count(" | ") for line in lines[2:]}) == 1

    def test_without_rows_there_is_a_heading_only(self) -> None:
        assert len(markdown_text(answer([])).splitlines()) == 4


class TestCsv:
    def test_rows_are_flat_null_is_empty_and_money_plain(self) -> None:
        rows: Rows = [{"output_tokens": 3, "cost": 1}]
        (row,) = csv.DictReader(io.StringIO("".join(usage_csv(answer(rows)))))
        assert row["model"] == "gpt-5.2-codex"
        assert row["cost_usd"] == "0.000000000000001"
        assert (row["cached_input_tokens"], row["output_tokens"]) == ("", "3")
        assert (row["unknown_cached_input_tokens"], row["origin_reported"]) == ("1", "1")
        assert (row["lower_bound"], row["rest"]) == ("false", "")

    def test_the_fields_are_the_same_whatever_the_rows(self) -> None:
        empty = "".join(usage_csv(answer([], by=("thread", "day"))))
        full = "".join(usage_csv(answer([{}], by=("thread", "day"), limit=1)))
        assert empty.splitlines()[0] == full.splitlines()[0]
        assert empty.startswith("thread_id,day,calls,")


NAMES = st.text(
    st.sampled_from("ab-/ 日語한é\u0301🧑\u200d🚀🇩🇪\u202eשל\t\x1b्"), min_size=1, max_size=300
)


class TestWidth:
    @given(
        names=st.lists(st.tuples(NAMES, NAMES, st.integers(0, 10**13)), min_size=1, max_size=4),
        keys=st.sets(st.sampled_from(sorted(KEYS)), min_size=1),
        width=st.integers(40, 200),
    )
    def test_no_line_is_wider_than_the_terminal_whatever_the_names(
        self, names: list[tuple[str, str, int]], keys: set[str], width: int
    ) -> None:
        rows = [
            {"model": one, "thread_id": other, "project": other, "caller": one,
             "output_tokens": n, "cost": n * USD // 7, "cost_low": 0}
            for one, other, n in names
        ]  # fmt: skip
        found = answer(rows, by=tuple(sorted(keys)), filters={"model": (names[0][0],)})
        lines = table_text(found, width).splitlines()
        assert max(map(display_width, lines), default=0) <= width


class TestJson:
    def test_the_envelope_is_that_of_the_interface(self) -> None:
        document = json.loads(json_text(answer([{"cost": USD}])))
        assert list(document) == [
            "schema",
            "schema_version",
            "tool_version",
            "query",
            "prices",
            "rows",
            "totals",
            "coverage",
            "period",
        ]
        assert (document["schema"], document["schema_version"]) == ("tallybook/usage-report", 1)
        assert next(iter(document["rows"][0])) == "model"
        assert set(document["rows"][0]) - set(document["totals"]) == {"model"}

    def test_the_same_rows_give_the_same_bytes(self) -> None:
        rows: Rows = [{"model": name, "cost": USD} for name in "cab"]
        assert json_text(answer(rows)) == json_text(answer(rows[::-1]))

    @pytest.mark.parametrize("count", [0, 1, 1001])
    def test_it_is_indented_as_python_does_it(self, count: int) -> None:
        """Rows by the thousand; and half a surrogate pair, which no file has, is escaped."""
        rows = [{"model": f"a{n}", "ids": [{"": [n]}], "of": {}, "in": []} for n in range(count)]
        document = {"rows": rows, "totals": {"calls": None, "name": "\ud800"}}
        plain = json.dumps(document, indent=2, ensure_ascii=False)
        assert json_text(document) == plain.replace("\ud800", "\\ud800") + "\n"

    def test_a_name_is_the_value_of_the_log_and_shows_no_controls(self) -> None:
        text = json_text(answer([{"model": "日\u202e\x1b\x9b"}]))
        assert json.loads(text)["rows"][0]["model"] == "日\u202e\x1b\x9b"
        assert '"日\\u202e\\u001b\\u009b"' in text


class TestNames:
    def test_an_id_is_cut_to_what_can_be_typed(self) -> None:
        ids = ["019f17f8-aaaa", "1021a0c4-1111", "1021a0c4-1222", "1021a0c4-1111/agent-7", "short"]
        assert short_ids(ids) == [
            "019f17f8",
            "1021a0c4-1111",
            "1021a0c4-1222",
            "1021a0c4-1111/agent-7",
            "short",
        ]
        for cut, whole in zip(
            short_ids([*ids, "2" * 36 + "/a"]), [*ids, "2" * 36 + "/a"], strict=True
        ):
            assert names_of(cut, sorted([*ids, "2" * 36, "2" * 36 + "/a"])) == [whole]

    def test_ids_are_whole_where_nothing_needs_to_fit(self) -> None:
        found = answer([{"thread_id": "0" * 36}], by=("thread",))
        assert "0" * 36 in table_text(found, None)
        assert "0" * 36 not in table_text(found, 200)

    def test_a_day_of_release_goes_where_it_tells_no_two_models_apart(self) -> None:
        models = ["claude-opus-4-5-20251101", "gpt-4o-2024-05-13", "gpt-4o-2024-08-06", "o3"]
        assert without_dates(models) == ["claude-opus-4-5", *models[1:]]
        rows: Rows = [{"model": model, "cost": USD} for model in models]
        assert "claude-opus-4-5-20251101" in table_text(answer(rows), 120)
        assert "claude-opus-4-5 " in table_text(answer(rows), 36)

    def test_a_thread_shows_whose_it_is_and_when_where_there_is_room(self) -> None:
        row = {"thread_id": "t", "project": "/p", "timestamp": datetime(2026, 11, 20, tzinfo=UTC)}
        found = answer([row], by=("thread",))
        heading, _, line = table_text(found, 200).splitlines()[2:5]
        assert heading.split()[:4] == ["Thread", "Project", "First", "Last"]
        assert line.split()[:4] == ["t", "/p", "2026-11-20", "2026-11-20"]
        assert "Project" not in table_text(found, 40)


class TestSubtotals:
    DAYS: Final = tuple(
        {"timestamp": datetime(2026, 11, day, tzinfo=UTC), "model": model, "cost": USD}
        for day, model in ((19, "a"), (20, "a"), (20, "b"))
    )

    def test_several_rows_of_a_period_are_followed_by_their_sum(self) -> None:
        lines = table_text(answer(list(self.DAYS), by=("day", "model")), None).splitlines()[4:]
        shown = [(line.split()[0], line.split()[-1]) for line in lines]
        assert shown[:4] == [
            ("2026-11-19", "$1.00"),
            ("2026-11-20", "$1.00"),
            ("2026-11-20", "$1.00"),
            ("2026-11-20", "$2.00"),
        ]
        assert shown[-1] == ("Total", "$3.00")

    @pytest.mark.parametrize(
        "asked", [{"by": ("model", "day")}, {"by": ("day",)}, {"sort": "cost"}, {"limit": 2}]
    )
    def test_there_are_none_where_periods_are_no_blocks(self, asked: dict[str, Any]) -> None:
        found = answer(list(self.DAYS), **{"by": ("day", "model"), **asked})
        assert with_subtotals(found) == found["rows"]

    def test_they_stand_out_in_colour(self) -> None:
        found = answer(list(self.DAYS), by=("day", "model"))
        lines = "".join(table_lines(found, None, colour=True)).splitlines()
        assert [line.startswith("\x1b[1m2026-11-20") for line in lines].count(True) == 1


class TestColumns:
    def test_those_that_find_no_room_are_named(self) -> None:
        found, drawn = answer([{"cost": USD, "output_tokens": 5}]), Drawn()
        text = "".join(table_lines(found, 40, colour=False, drawn=drawn))
        heading = text.splitlines()[2]
        whole = table_text(found, None).splitlines()[2]
        assert drawn.left_out == [
            c.title for c in columns(found) if c.title in whole and c.title not in heading
        ]
        assert "Uncached" in drawn.left_out

    def test_only_those_that_are_named_are_shown_in_their_order(self) -> None:
        found = answer([{"cost": USD, "cache_creation_input_tokens": 5}])
        text = "".join(table_lines(found, None, colour=False, wanted=["cost", "cache-write"]))
        assert text.splitlines()[2].split() == ["Model", "Cost", "Cache", "write"]
        assert {"cost", "cache-write", "calls", "project"} <= set(column_names())
