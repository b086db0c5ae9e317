from __future__ import annotations

import pytest

from tallybook.render.table import Column, fitted, table
from tallybook.render.text import display_width, keep_ends

NAMES = Column("Model", ["gpt-5.2-codex", "claude-opus-4-5-20251101"], "Total", cut=keep_ends)
CALLS = Column("Calls", ["1", "23"], "24", rank=2)
INPUT = Column("Input", ["1,234,567", "0"], "1,234,567", rank=1)
COST = Column("Cost", ["$1.00", "–"], "≥$1.00")
COLUMNS = [NAMES, CALLS, INPUT, COST]


def test_numbers_are_aligned_right_and_names_left() -> None:
    assert table(COLUMNS, None, totals=True) == (
        "Model                     Calls      Input    Cost\n"
        "────────────────────────  ─────  ─────────  ──────\n"
        "gpt-5.2-codex                 1  1,234,567   $1.00\n"
        "claude-opus-4-5-20251101     23          0       –\n"
        "────────────────────────  ─────  ─────────  ──────\n"
        "Total                        24  1,234,567  ≥$1.00\n"
    )


def test_names_are_shortened_before_columns_go() -> None:
    shown = fitted(COLUMNS, 48)
    assert [column.title for column in shown] == ["Model", "Calls", "Input", "Cost"]
    assert shown[0].cells == ["gpt-5.2-codex", "claude-opus…5-20251101"]


def test_what_ranks_last_goes_first_and_cost_never() -> None:
    assert [c.title for c in fitted(COLUMNS, 44)] == ["Model", "Input", "Cost"]
    assert [c.title for c in fitted(COLUMNS, 32)] == ["Model", "Cost"]
    assert [c.title for c in fitted(COLUMNS, 14)] == ["Model", "Cost"]


@pytest.mark.parametrize("width", [16, 20, 32, 40, 48, 50, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = table(COLUMNS, width, totals=True).splitlines()
    assert max(display_width(line) for line in lines) <= width


def test_spare_room_goes_to_the_names() -> None:
    project = Column("Project", ["/home/u/a-long-way/to/the-project"] * 2, cut=keep_ends)
    short, long, _ = fitted([NAMES, project, COST], 64)
    assert short.cells == NAMES.cells
    assert long.width == 64 - 24 - 6 - 4


def test_a_column_keeps_the_cells_that_it_needs() -> None:
    hour = Column("Hour", ["2026-11-20T14:00"], cut=keep_ends, least=16)
    assert fitted([hour, NAMES, COST], 33)[0].cells == ["2026-11-20T14:00"]


def test_wide_characters_keep_the_columns_straight() -> None:
    columns = [Column("Project", ["日本語", "a"], cut=keep_ends), Column("Calls", ["1", "2"])]
    first, second = table(columns, 40).splitlines()[2:]
    assert (display_width(first), first, second) == (14, "日本語       1", "a            2")


def test_colour_marks_heading_rules_and_totals_only_when_asked() -> None:
    plain = table(COLUMNS, 80, totals=True)
    coloured = table(COLUMNS, 80, totals=True, colour=True)
    assert "\x1b" not in plain
    lines = coloured.splitlines()
    assert [line.startswith("\x1b[") for line in lines] == [True, True, False, False, True, True]
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[2m"):
        coloured = coloured.replace(code, "")
    assert coloured == plain


def test_a_table_without_rows_has_its_heading() -> None:
    assert table([Column("Calls", [])], 80) == "Calls\n─────\n"
