from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.render.text import (
    display_width,
    encoded,
    keep_ends,
    keep_head,
    keep_tail,
    shortened,
    visible,
    visible_json,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gpt-5.2-codex", "gpt-5.2-codex"),
        ("/home/u/Größe/日本", "/home/u/Größe/日本"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066x\u2069\u200b\ufeff", r"\u2066x\u2069\u200b\ufeff"),
        ("\udbff\udc00", r"\udbff\udc00"),
        ("caf\udce9", r"caf\xe9"),
        ("\x7f\x00", r"\x7f\x00"),
        ("\u0301x", "◌\u0301x"),
        ("e\u0301x", "e\u0301x"),
    ],
)
def test_what_does_not_show_as_itself_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_shown_text_has_nothing_that_a_terminal_obeys(text: str) -> None:
    assert visible(text).isprintable()


@given(st.text())
def test_json_stays_what_it_was_and_shows_only_printable_text(text: str) -> None:
    document = visible_json(json.dumps({"a": text}, ensure_ascii=False, indent=1))
    assert json.loads(document) == {"a": text}
    assert document.replace("\n", "").isprintable()


def test_lone_surrogates_can_be_written_as_json() -> None:
    assert visible_json('"\udbff"').encode() == rb'"\udbff"'
    assert json.loads(visible_json('"caf\udce9"')) == r"caf\xe9"


def test_signs_that_an_encoding_lacks_get_plain_ones_of_the_same_width() -> None:
    assert encoded("≥1 – a…b ──", "ascii") == b">1 - a~b --"
    assert encoded("≥ 日", "ascii") == rb"> \u65e5"
    assert encoded("≥1", "utf-8") == "≥1".encode()


def test_width_counts_cells() -> None:
    assert display_width("日本go") == 6
    assert display_width("e\u0301") == 1


def test_texts_are_cut_where_it_is_said() -> None:
    assert keep_ends("abcdefghij", 5) == "ab…ij"
    assert keep_head("abcdefghij", 5) == "abcd…"
    assert keep_tail("abcdefghij", 5) == "…ghij"


def test_wide_characters_are_cut_by_cells() -> None:
    assert keep_head("日本語日本語", 5) == "日本…"
    assert keep_tail("日本語日本語", 4) == "…語"


def test_what_fits_is_left_alone() -> None:
    assert shortened(["ab", "abcdefgh"], 4) == ["ab", "ab…h"]


def test_names_are_cut_so_that_they_can_be_told_apart() -> None:
    names = ["prefix-1-suffix", "prefix-2-suffix", "other-3-suffix"]
    alike_in_the_middle = ["a1xxxxxxxz", "a2xxxxxxxz"]
    assert len(set(shortened(names, 9))) == 3
    assert len(set(shortened(alike_in_the_middle, 5))) == 2
    assert shortened(["aaaaaa1", "aaaaaa2"], 4, keep_head) == ["aa…1", "aa…2"]


@given(st.text(min_size=1), st.integers(3, 12))
def test_nothing_is_wider_than_asked(text: str, width: int) -> None:
    for cut in (keep_ends, keep_head, keep_tail):
        (cell,) = shortened([text], width, cut)
        assert display_width(cell) <= width
