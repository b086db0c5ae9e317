"""Lines as programs write them: what strict decoders refuse costs no line."""

from __future__ import annotations

import pytest

from tallybook.sources.lines import decode


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b'{"a":"cut \\ud83d","n":1}', {"a": "cut ?", "n": 1}),
        (b'{"a":"whole \\ud83d\\ude00"}', {"a": "whole \U0001f600"}),
        (b'{"a":NaN,"b":-Infinity,"c":1e999,"n":1}', {"a": None, "b": None, "c": None, "n": 1}),
        (b'{"a":"tab\there","n":1}', {"a": "tab\there", "n": 1}),
        (b'{"a":"\xff","n":1}', {"a": "\ufffd", "n": 1}),
    ],
    ids=["half-a-pair", "a-pair", "no-numbers", "control", "bad-utf-8"],
)
def test_a_line_is_read_in_spite_of_what_its_writer_got_wrong(line: bytes, value: object) -> None:
    assert decode(line) == value


@pytest.mark.parametrize("line", [b'{"a":1', b"{'a':1}", b'{"a":\\ud83d}', b"[" * 100_000])
def test_what_is_no_json_is_none(line: bytes) -> None:
    assert decode(line) is None
