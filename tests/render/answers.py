"""Envelopes of usage reports over small frames, as the commands make them."""

from __future__ import annotations

from typing import Any

from tallybook.render.formats import envelope
from tallybook.report.query import Query
from tallybook.report.summary import Report, summarise
from tests.frames import usage_frame
from tests.readings import StatedPrices

USD = 10**15
PRICES: Any = StatedPrices(["list 2026-11-20"], "d1")
# What a command that has read files adds.
_OF_FILES: dict[str, Any] = {"older_files": 0, "removed_calls": 0, "not_looked_at": {}}


def answer(rows: list[dict[str, Any]], **asked: Any) -> dict[str, Any]:
    """The envelope of a report over `rows` of `usage_frame`; `asked` are fields of Query."""
    return wrapped(summarise(usage_frame(rows), Query(**asked), files=1))


def wrapped(report: Report) -> dict[str, Any]:
    """The envelope of a report."""
    return envelope(
        "usage-report",
        query=report.query.document(),
        prices=PRICES,
        rows=list(report.rows),
        totals=report.totals,
        coverage={**_OF_FILES, **report.coverage},
        period=report.period,
    )
