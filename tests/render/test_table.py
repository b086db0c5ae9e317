from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.render.table import Column, drawing, fitted, padding, table
from tallybook.render.text import display_width, keep_ends, visible

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


def test_what_is_left_out_is_named_and_what_is_shortened_is_not() -> None:
    place = Column("Looked for in", ["/home/u/.codex/sessions"], cut=keep_ends)
    served = Column("Served", ["standard"], cut=keep_ends)
    left: list[str] = []
    shown = fitted([place, served, CALLS, COST], 18, left)
    assert [column.title for column in shown] == ["Lo…n", "Se…d", "Cost"]
    assert left == ["Calls"]
    fitted([place, served, CALLS, COST], 12, left := [])
    assert left == ["Served", "Calls"]


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


# Wide, joined and bidirectional text, emoji, marks, very long ids: all that a log may name.
NAME = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(min_codepoint=0x1100, max_codepoint=0x1FAFF), max_size=12),
    st.sampled_from(
        ["日本語" * 9, "👩‍👩‍👧", "❤️x", "e\u0301" * 30, "مرحبا" * 5, "x" * 300, "", "  a "]
    ),
).map(visible)
ROWS = st.lists(st.tuples(NAME, NAME, NAME), max_size=6)


def _columns(rows: list[tuple[str, str, str]]) -> list[Column]:
    names, numbers, more = zip(*rows, strict=True) if rows else ((), (), ())
    return [
        Column("Model", names, "Total", cut=keep_ends),
        Column("Project", more, rank=1, cut=keep_ends),
        Column("Cost", [number[:9] for number in numbers], "≥$1.00"),
    ]


@given(ROWS)
def test_a_long_table_looks_like_a_short_one(rows: list[tuple[str, str, str]]) -> None:
    columns = _columns(rows)
    for some in (list(zip(*(c.cells for c in columns), strict=True)), []):
        assert padding(columns)(some) == drawing(columns)(some)


@given(ROWS, st.integers(40, 200))
def test_no_content_makes_a_line_wider_than_the_terminal(
    rows: list[tuple[str, str, str]], width: int
) -> None:
    lines = table(_columns(rows), width, totals=True).splitlines()
    assert max(display_width(line) for line in lines) <= width
