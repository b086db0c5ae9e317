"""Answers a query from a reading."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import polars as pl

from tallybook.report.query import Query
from tallybook.report.summary import Report, added_up, report
from tallybook.report.sums import ASKED, partial


class UsageOfFiles(Protocol):
    """What a reading has to offer; see `tallybook.ledger.reading.Reading`."""

    @property
    def older(self) -> Collection[str]:
        """Paths of files that another program has read."""

    def frames(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """These columns of all priced USAGE rows, in any order, in at least one frame."""


def answer(usage: UsageOfFiles, query: Query, read: Mapping[str, Any]) -> Report:
    """Answer `query`; `read` opens the coverage.

    Where filters stand for other names than themselves, which only the rows tell, these are asked
    for then.
    """
    found = _answer(usage, query, read)
    if not found.matched or query.matched:
        return found
    return _answer(usage, replace(query, matched=found.matched), read)


def _answer(usage: UsageOfFiles, query: Query, read: Mapping[str, Any]) -> Report:
    older = usage.older
    partials = (partial(rows, query, older) for rows in usage.frames(ASKED))
    return report(added_up(partials, query), query, read)
