"""Sums of batches: the same however the rows are cut, each gone through only so often."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl
import pytest

from tallybook.report import summary
from tallybook.report.query import Query
from tallybook.report.summary import Report, summarise, summarise_batches
from tallybook.report.sums import Partial, joined, partial
from tests.frames import usage_frame

BY_THREAD = Query(by=("thread",))


def in_threads(threads: Iterable[int]) -> pl.DataFrame:
    """A call in each, of as many tokens as its number; every third has no price."""
    rows: list[dict[str, Any]] = [
        {
            "thread_id": f"t{number:05d}",
            "project": f"/p{number % 2}",
            "output_tokens": number,
            "cost": None if number % 3 == 0 else number * 10**15,
            "lower_bound": number % 5 == 0,
        }
        for number in threads
    ]
    return usage_frame(rows)


def told(report: Report) -> list[Any]:
    return [list(report.rows), report.totals, report.period]


def test_sums_of_batches_are_those_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some threads are in one batch, some in several, with many batches or few held at once."""
    batches = [in_threads(range(n, n + 7)) for n in range(1, 40, 5)]
    whole = told(summarise(pl.concat(batches), BY_THREAD))
    assert whole[1]["output_tokens"] == sum(sum(range(n, n + 7)) for n in range(1, 40, 5))
    for most, packed in ((10**6, 10**6), (10**6, 0), (20, 10**6), (3, 0)):
        monkeypatch.setattr(summary, "_MOST_ROWS", most)
        monkeypatch.setattr(summary, "_SLICE", packed or 2)
        assert told(summarise_batches(batches, BY_THREAD, {"files": 0})) == whole


def test_sums_are_not_added_up_anew_with_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100,000 threads that took longer than all else, for none of them was in two batches."""
    added: list[int] = []

    def counting(partials: Iterable[Partial], query: Query) -> Partial:
        held = list(partials)
        added.append(sum(each.groups.height for each in held))
        return joined(held, query)

    monkeypatch.setattr(summary, "joined", counting)
    monkeypatch.setattr(summary, "_MOST_ROWS", 4)
    batches = [in_threads([number]) for number in range(64)]
    assert len(summarise_batches(batches, BY_THREAD, {"files": 0}).rows) == 64
    assert sum(added) < 4 * 64


def test_sums_of_many_threads_that_wait_for_others_take_little() -> None:
    sums = partial(in_threads(range(3000)), BY_THREAD)
    waiting = summary._Waiting(sums)
    assert 3 * waiting.packed.tell() < sums.groups.estimated_size()
    assert next(summary._unpacked([waiting])).groups.equals(sums.groups, null_equal=True)
