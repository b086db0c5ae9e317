"""Reads the sums of a day that 9router keeps beside its rows: asserted, never counted.

They count every stream twice that was written twice, and are filed under local days.
"""

from __future__ import annotations

import re
from typing import Any, Final

from tallybook.schema import ASSERTION, Reported
from tallybook.values import count, decode, money

PART: Final = "day"
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def day_row(record: int, day: Any, data: Any) -> Reported:
    """The row of one day; `data` is the object with the sums, or its JSON text."""
    problems: list[str] = []
    if isinstance(data, (str, bytes)):
        data = decode(data)
    if not isinstance(data, dict):
        data = {}
        problems.append("no-counts")
    row = Reported(
        record=record,
        part=PART,
        kind=ASSERTION,
        dialect="openai",
        rule="daily-sum",
        calls=count(data.get("requests"), problems),
        reported_input_tokens=count(data.get("promptTokens"), problems),
        reported_output_tokens=count(data.get("completionTokens"), problems),
        reported_cost_usd=money(data.get("cost"), problems),
        detail=f"local day {day}" if _DAY.fullmatch(str(day)) else "a day of no date",
    )
    row.problems = problems or None
    return row
