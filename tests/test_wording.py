"""One place knows of singular and plural."""

from __future__ import annotations

import re

import pytest

from tallybook.wording import counted
from tests.test_imports import PACKAGE

# `{'' if n == 1 else 's'}`, `{'file' if n == 1 else 'files'}`
_BY_HAND = re.compile(r"""if [\w.]+ [=!>]=? ?1 else ['"]\w*s?['"]""")


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 files"), (1, "1 file"), (2, "2 files"), (12_345, "12,345 files")],
)
def test_one_is_singular_and_nothing_is_plural(count: int, words: str) -> None:
    assert counted(count, "file") == words


def test_a_plural_that_is_not_made_by_an_s_is_named() -> None:
    assert counted(1, "sum of calls", "sums of calls") == "1 sum of calls"
    assert counted(2, "sum of calls", "sums of calls") == "2 sums of calls"


def test_no_other_module_makes_plurals() -> None:
    by_hand = [
        f"{path.name}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        if path.name != "wording.py"
        for line in path.read_text().splitlines()
        if _BY_HAND.search(line)
    ]
    assert not by_hand
