"""Finds the router's rows of the answers whose usage their client's log does not state.

Such a log still says when each answer was there. A router that counted the answers wrote a row as
each of them ended, so the thread is not without counts: the rows hold them, and it lends them its
name. A kept request proves it, by the thread or by the tools that were asked for before. Without
one it takes a row for every answer, and no other row of the model in that time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import polars as pl

from tallybook.derive.duplicates.fitting import Answer, Answers, Row, Thread
from tallybook.derive.duplicates.requests import REQUEST
from tallybook.derive.duplicates.routes import (
    TURN_MS,
    bare_model,
    is_router,
    is_silent,
    milliseconds,
)
from tallybook.derive.problems import has_problem
from tallybook.schema import CALL, CAPTURE_TOTAL, EVENT, SUM, THREAD

LEAST: Final = 3  # answers of a thread that their times alone give rows


class Silent(NamedTuple):
    """Rows without counts that yield, each to a row of a router that has the counts.

    `calls` are how many answers each of them stands for, `routers` all rows of these, `lent` those
    that are of no other thread. `words` say what it rests on, where that is no proof.
    """

    yields: tuple[tuple[int, int], ...]
    calls: tuple[int, ...]
    routers: tuple[int, ...]
    lent: tuple[int, ...]
    words: str | None


_Pairs = list[tuple[Answer, Row]]


def silent_threads(rows: pl.DataFrame) -> list[Silent]:
    """What of the free rows without counts a router's free rows count, a thread an item.

    `rows` carry `request`, and `_settled`, which is true of the rows that are paired already.
    """
    answers = _answers(rows)
    routed = _routed(rows, answers) if answers else {}
    found: list[Silent] = []
    for model, threads in answers.items():
        left, others = _Left(routed.get(model, [])), []
        for each in threads:
            own = left.of(each[0].thread)
            met = Answers(each).matched(own)
            if len(met) == len(each):
                found.append(_silent(met, own, own, None))
                left.take(own)
            else:
                others.append(each)
        for group in _together(others):
            found += _probable(group, left)
    return sorted(found)


class _Left:
    """The rows of a model that are of no silent thread yet, in the order of time."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows
        self._taken: set[int] = set()
        self._asked: dict[str, list[int]] = defaultdict(list)
        self._brought: dict[str, list[int]] = defaultdict(list)
        for number, row in enumerate(rows):
            if row.asker is not None:
                self._asked[row.asker].append(number)
            for tool in row.brought:
                self._brought[tool].append(number)

    def of(self, thread: Thread) -> list[Row]:
        """Those that are proved to be of any answer of a thread."""
        tools = (tool for tool, place in thread.asked.items() if place < len(thread.answers))
        numbers = set(self._asked.get(thread.name, ()))
        numbers.update(number for tool in tools for number in self._brought.get(tool, ()))
        return self._without_taken(self._rows[number] for number in sorted(numbers))

    def between(self, begin: int, end: int) -> list[Row]:
        """Those that were written then."""
        first = bisect_left(self._rows, begin, key=lambda row: row.at)
        behind = bisect_right(self._rows, end, key=lambda row: row.at)
        return self._without_taken(self._rows[first:behind])

    def take(self, rows: Iterable[Row]) -> None:
        """They are of a thread now."""
        self._taken.update(row.row for row in rows)

    def _without_taken(self, rows: Iterable[Row]) -> list[Row]:
        return [row for row in rows if row.row not in self._taken]


def _answers(rows: pl.DataFrame) -> dict[str, list[list[Answer]]]:
    """By model the answers of each silent thread, in order."""
    free = pl.col("duplicate_of").is_null()
    silent = rows.filter(is_silent(), free, ~pl.col("_settled"))
    if silent.is_empty():
        return {}
    threads = (
        rows.filter(_states_no_counts(), free)
        .group_by("source", "thread_id")
        .agg(threads=pl.col("row").sort(), begun=milliseconds().min())
    )
    of_thread = (pl.col("kind") == EVENT) & pl.col("threads").is_not_null()
    found = (
        silent.unique("call_id", keep="first", maintain_order=True)
        .join(threads, on=("source", "thread_id"), how="left")
        .filter(of_thread | (pl.col("kind") == CALL))
        .select(
            "source",
            "thread_id",
            "tool_ids",
            "begun",
            model=bare_model("model"),
            last=milliseconds(),
            rows=pl.when(of_thread).then("threads").otherwise(pl.concat_list("row")),
        )
        .drop_nulls(["thread_id", "model", "last"])
        .sort("source", "thread_id", "last")
        .group_by("source", "thread_id", maintain_order=True)
        .agg(pl.col("model", "last", "tool_ids", "rows"), pl.col("begun").first())
    )
    by_model: dict[str, list[list[Answer]]] = defaultdict(list)
    for thread in found.iter_rows(named=True):
        if len(set(thread["model"])) == 1:
            answers = zip(thread["last"], thread["tool_ids"], thread["rows"], strict=True)
            read = Thread(thread["thread_id"], thread["begun"], answers)
            by_model[thread["model"][0]].append(read.answers)
    return by_model


def _states_no_counts() -> pl.Expr:
    """Rows that stand for a thread as a whole: the log's own, or that of its saved output."""
    total = (pl.col("kind") == SUM) & (pl.col("evidence") == CAPTURE_TOTAL)
    return (pl.col("kind") == THREAD) | (total & has_problem("no-counts"))


def _routed(rows: pl.DataFrame, models: Iterable[str]) -> dict[str, list[Row]]:
    """By model the router's rows that no other call of a client is, in the order of time."""
    facts = pl.col(REQUEST).struct
    free = is_router() & pl.col("duplicate_of").is_null() & ~pl.col("_settled")
    found = (
        rows.filter(free & pl.col("output_tokens").is_not_null())
        .select(
            "row",
            model=bare_model("model"),
            at=milliseconds(),
            asker=facts.field("asker"),
            brought=facts.field("tool_ids"),
        )
        .drop_nulls("at")
        .filter(pl.col("model").is_in(list(models)))
        .sort("at", "row")
    )
    by_model: dict[str, list[Row]] = defaultdict(list)
    for row, model, at, asker, brought in found.iter_rows():
        by_model[model].append(Row(at, row, asker, frozenset(brought or ())))
    return by_model


def _together(threads: Sequence[list[Answer]]) -> Iterator[list[Answer]]:
    """The answers of threads that overlap in time, in order."""
    group: list[Answer] = []
    end = 0
    for answers in sorted(threads, key=lambda answers: answers[0].before):
        if group and answers[0].before > end:
            yield sorted(group)
            group, end = [], 0
        group += answers
        end = max(end, answers[-1].last + TURN_MS)
    if group:
        yield sorted(group)


def _probable(group: list[Answer], left: _Left) -> Iterator[Silent]:
    """The threads of a group whose every answer has a row, where no row is left in their time."""
    answers = Answers(group)
    begin = min(answer.before for answer in group)
    near = [row for row in left.between(begin, group[-1].last + TURN_MS) if answers.fit(row)]
    if len(near) != len(group):
        return
    met = answers.matched(near)
    if len(met) != len(group):
        return
    of_thread: dict[str, _Pairs] = defaultdict(list)
    for answer, row in met:
        of_thread[answer.name].append((answer, row))
    for pairs in of_thread.values():
        if len(pairs) >= LEAST or any(answer.is_proved(row) for answer, row in pairs):
            sole = [row for answer, row in pairs if _is_sole(answer, row, answers)]
            words = f"a row of the router as each of its {len(pairs)} answers ended"
            yield _silent(pairs, [row for _, row in pairs], sole, words)


def _silent(pairs: _Pairs, rows: list[Row], sole: list[Row], words: str | None) -> Silent:
    yields: dict[int, int] = {}
    calls: dict[int, int] = defaultdict(int)
    for answer, row in pairs:
        for each in answer.rows:
            yields.setdefault(each, row.row)
        calls[answer.rows[0]] += 1
    numbers = tuple(calls[each] for each in yields)
    named = tuple(row.row for row in sole)
    return Silent(tuple(yields.items()), numbers, tuple(row.row for row in rows), named, words)


def _is_sole(answer: Answer, row: Row, answers: Answers) -> bool:
    """Whether a row can be of no other thread of the group."""
    return answer.is_proved(row) or answers.threads_at(row.at) == 1
