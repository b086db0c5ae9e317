from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.render.formats import csv_lines, defused


def test_lines_end_as_the_standard_says_and_cells_are_quoted_where_needed() -> None:
    text = "".join(csv_lines(["a", "b"], [{"a": 'x,"y"', "b": 1}, {"a": None, "b": True}]))
    assert text == 'a,b\r\n"x,""y""",1\r\n,true\r\n'


@pytest.mark.parametrize("start", [*"=+-@＝＋－＠\t\r", " =", "  \u3000＠", "\n="])
def test_a_cell_that_would_run_as_a_formula_is_defused(start: str) -> None:
    assert defused(f"{start}1+1").startswith("'")


@pytest.mark.parametrize("text", ["", " ", "a=1", " a", "1", "\u3000a", "−1"])
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert not defused(text).startswith("'")


def test_decimals_in_number_fields_stay_numbers() -> None:
    text = "".join(csv_lines(["name", "cost"], [{"name": "-1", "cost": "-0.5"}], numbers=["cost"]))
    assert text.splitlines()[1] == "'-1,-0.5"


@given(st.lists(st.text(), min_size=2, max_size=2))
def test_every_row_is_one_line_and_reads_back(cells: list[str]) -> None:
    text = "".join(csv_lines(["a", "b"], [dict(zip("ab", cells, strict=True))]))
    assert list(csv.reader(io.StringIO(text)))[1] == [defused(cell) for cell in cells]
    assert len(text.splitlines()) == 2
