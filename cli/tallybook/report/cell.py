"""A cell of a report as a user types it; read without loading a data frame library."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

import msgspec

from tallybook.errors import UsageError
from tallybook.report.query import KEYS

TOTAL: Final = "total"  # the last row of a report
UNKNOWN: Final = ("", "(unknown)")  # as a report writes what nothing states

_KEY: Final = "|".join(sorted(KEYS, key=len, reverse=True))
_NAMED: Final = re.compile(rf"(?:^|,)({_KEY})=")
_LOOKS_NAMED: Final = re.compile(r"([a-z-]{3,20})=")


class Cell(msgspec.Struct, frozen=True):
    """The rows of a report that have these values in these keys; None is what nothing states."""

    values: Mapping[str, str | None]

    @property
    def fields(self) -> dict[str, str | None]:
        """The same by the fields of a report's row."""
        return {KEYS[key]: value for key, value in self.values.items()}


def parse_cell(text: str, by: Sequence[str] = ()) -> Cell | None:
    """Read `model=gpt-5.4,day=2026-11-20`, `total`, or the values of the keys `by` in their order.

    None for what is the id of a call or a thread. Raises UsageError.
    """
    if text == TOTAL:
        return Cell({})
    found = list(_NAMED.finditer(text))
    if found and found[0].start() == 0:
        return _named(text, found)
    if by:
        return _in_order(text, by)
    if looks := _LOOKS_NAMED.match(text):
        close = get_close_matches(looks[1], KEYS, n=1)
        perhaps = f"perhaps {close[0]}; " if close else ""
        raise UsageError(
            f"a cell has no key {looks[1]!r}", hint=f"{perhaps}keys: {', '.join(KEYS)}"
        )
    return None


def _named(text: str, found: Sequence[re.Match[str]]) -> Cell:
    ends = [each.start() for each in found[1:]] + [len(text)]
    values: dict[str, str | None] = {}
    for each, end in zip(found, ends, strict=True):
        if each[1] in values:
            raise UsageError(f"the cell names {each[1]} twice")
        values[each[1]] = _value(text[each.end() : end])
    return Cell(values)


def _in_order(text: str, by: Sequence[str]) -> Cell:
    values = text.split(",") if len(by) > 1 else [text]
    if len(values) != len(by):
        keys = ",".join(f"{key}=…" for key in by)
        raise UsageError(
            f"{text!r} does not have a value for each of --by {','.join(by)}", hint=f"write {keys}"
        )
    return Cell({key: _value(value) for key, value in zip(by, values, strict=True)})


def _value(text: str) -> str | None:
    return None if text in UNKNOWN else text
