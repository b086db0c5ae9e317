"""What is not known of a figure stands beside it, in words."""

from __future__ import annotations

from typing import Any

import pytest

from tallybook.render.html import notes

KNOWN: dict[str, Any] = {
    "at_least": [],
    "unknown": {},
    "records_without_calls": 0,
    "unpriced_tokens": 0,
    "cost_usd": "1",
}


@pytest.mark.parametrize(
    ("row", "range_", "words"),
    [
        ({}, "", ""),
        # Cache creation that Codex never had is not stated, and makes no figure a bound.
        ({"unknown": {"cache_creation_input_tokens": 9}}, "", ""),
        (
            {"at_least": ["output_tokens", "total_tokens"], "unknown": {"output_tokens": 1}},
            "≥$1.00",
            "output is a lower bound: 1 record of it too low or not stated; cost is at least $1.00",
        ),
        (
            {"at_least": ["uncached_input_tokens", "input_tokens", "total_tokens"]},
            "",
            "input is a lower bound: some records do not state all of it",
        ),
        (
            {"at_least": ["cached_input_tokens"]},
            "$0.10–$1.00",
            (
                "Cached is a lower bound: some records do not state all of it; "
                "cost is between $0.10 and $1.00"
            ),
        ),
        ({"unpriced_tokens": 1200}, "", "1,200 tokens without a price cost nothing here"),
        ({"unpriced_tokens": 1200, "cost_usd": None}, "–", "no price is known"),
        ({"records_without_calls": 2}, "", "2 records without a number of calls"),
    ],
)
def test_a_row_says_what_is_not_known_of_it(row: dict[str, Any], range_: str, words: str) -> None:
    assert notes.note({**KNOWN, **row}, range_) == words


@pytest.mark.parametrize(
    ("least", "words"),
    [
        ([], []),
        (["cached_input_tokens"], ["at least: some records do not state what was cached"]),
        (
            ["cached_input_tokens", "input_tokens"],
            ["about: some records do not state all of their input"],
        ),
    ],
)
def test_a_share_says_why_it_is_marked(least: list[str], words: list[str]) -> None:
    assert notes.of_share({**KNOWN, "at_least": least}) == words


def test_calls_that_may_be_counted_twice_are_told_beside_their_number() -> None:
    coverage = {
        "may_be_counted_twice": {"calls": 3, "tokens": 4_500},
        "probably_same_call": {"calls": 0, "tokens": 0},
    }
    assert notes.twice(coverage) == [
        "at most 3 calls of 4,500 tokens may be counted twice, as a router and its clients log them"
    ]
