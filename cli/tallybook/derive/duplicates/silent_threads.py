"""Finds the router's rows of the answers whose usage their client's log does not state.

Such a log still says when each answer was there. A router that counted the answers wrote a row as
each of them ended, so the thread is not without counts: the rows hold them, and it lends them its
name. A kept request proves it, by the thread or by the tools that were asked for before. Without
one it takes a row for every answer, and no other row of the model in that time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import polars as pl

from tallybook.derive.duplicates.requests import REQUEST
from tallybook.derive.duplicates.routes import (
    LONGEST_TOOL_MS,
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


class _Answer(NamedTuple):
    """When an answer was there and when the one before it, and what the thread had asked for.

    `rows` are those that speak of it: its own, or those of the thread as a whole.
    """

    last: int
    before: int
    name: str
    rows: tuple[int, ...]
    asked: frozenset[str]

    def fits(self, row: _Row) -> bool:
        """Whether the row was written as the answer ended, and no request says otherwise."""
        return self.before <= row.at <= self.last + TURN_MS and not self.is_refuted(row)

    def is_refuted(self, row: _Row) -> bool:
        """Whether the request that was kept is another conversation's."""
        is_other = row.asker is not None and row.asker != self.name
        return is_other or (bool(row.brought) and not row.brought & self.asked)

    def is_proved(self, row: _Row) -> bool:
        """Whether the request that was kept names the thread, or a tool that it asked for."""
        return row.asker == self.name or bool(row.brought & self.asked)


class _Row(NamedTuple):
    """A row of a router, and what the request of it says, if that was kept."""

    at: int
    row: int
    asker: str | None
    brought: frozenset[str]


_Pairs = list[tuple[_Answer, _Row]]


def silent_threads(rows: pl.DataFrame) -> list[Silent]:
    """What of the free rows without counts a router's free rows count, a thread an item.

    `rows` carry `request`, and `_settled`, which is true of the rows that are paired already.
    """
    answers = _answers(rows)
    routed = _routed(rows, answers) if answers else {}
    found: list[Silent] = []
    for model, threads in answers.items():
        left, others = routed.get(model, []), []
        for each in threads:
            own = [row for row in left if any(answer.is_proved(row) for answer in each)]
            met = _matched(each, own)
            if len(met) == len(each):
                found.append(_silent(met, own, own, None))
                left = [row for row in left if row not in own]
            else:
                others.append(each)
        for group in _together(others):
            found += _probable(group, left)
    return sorted(found)


def _answers(rows: pl.DataFrame) -> dict[str, list[list[_Answer]]]:
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
    by_model: dict[str, list[list[_Answer]]] = defaultdict(list)
    for thread in found.iter_rows(named=True):
        if len(set(thread["model"])) == 1:
            by_model[thread["model"][0]].append(list(_of_thread(thread)))
    return by_model


def _states_no_counts() -> pl.Expr:
    """Rows that stand for a thread as a whole: the log's own, or that of its saved output."""
    total = (pl.col("kind") == SUM) & (pl.col("evidence") == CAPTURE_TOTAL)
    return (pl.col("kind") == THREAD) | (total & has_problem("no-counts"))


def _of_thread(thread: dict[str, Any]) -> Iterator[_Answer]:
    name, before = thread["thread_id"], thread["begun"] or 0
    asked: frozenset[str] = frozenset()
    columns = (thread["last"], thread["tool_ids"], thread["rows"])
    for last, tools, rows in zip(*columns, strict=True):
        yield _Answer(last, max(before, last - LONGEST_TOOL_MS), name, tuple(rows), asked)
        asked, before = asked.union(tools or ()), last


def _routed(rows: pl.DataFrame, models: Iterable[str]) -> dict[str, list[_Row]]:
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
    by_model: dict[str, list[_Row]] = defaultdict(list)
    for row, model, at, asker, brought in found.iter_rows():
        by_model[model].append(_Row(at, row, asker, frozenset(brought or ())))
    return by_model


def _together(threads: Sequence[list[_Answer]]) -> Iterator[list[_Answer]]:
    """The answers of threads that overlap in time, in order."""
    group: list[_Answer] = []
    end = 0
    for answers in sorted(threads, key=lambda answers: answers[0].before):
        if group and answers[0].before > end:
            yield sorted(group)
            group, end = [], 0
        group += answers
        end = max(end, answers[-1].last + TURN_MS)
    if group:
        yield sorted(group)


def _probable(group: list[_Answer], rows: list[_Row]) -> Iterator[Silent]:
    """The threads of a group whose every answer has a row, where no row is left in their time."""
    near = [row for row in rows if any(answer.fits(row) for answer in group)]
    met = _matched(group, near)
    if len(near) != len(group) or len(met) != len(group):
        return
    of_thread: dict[str, _Pairs] = defaultdict(list)
    for answer, row in met:
        of_thread[answer.name].append((answer, row))
    for pairs in of_thread.values():
        if len(pairs) >= LEAST or any(answer.is_proved(row) for answer, row in pairs):
            sole = [row for answer, row in pairs if _is_sole(answer, row, group)]
            words = f"a row of the router as each of its {len(pairs)} answers ended"
            yield _silent(pairs, [row for _, row in pairs], sole, words)


def _silent(pairs: _Pairs, rows: list[_Row], sole: list[_Row], words: str | None) -> Silent:
    yields: dict[int, int] = {}
    calls: dict[int, int] = defaultdict(int)
    for answer, row in pairs:
        for each in answer.rows:
            yields.setdefault(each, row.row)
        calls[answer.rows[0]] += 1
    numbers = tuple(calls[each] for each in yields)
    named = tuple(row.row for row in sole)
    return Silent(tuple(yields.items()), numbers, tuple(row.row for row in rows), named, words)


def _matched(group: list[_Answer], rows: list[_Row]) -> _Pairs:
    """Each row with an answer that it fits: one that it is proved to be, else the soonest there."""
    left, met = list(group), []
    for row in rows:
        fits = [answer for answer in left if answer.fits(row)]
        if fits:
            chosen = min(fits, key=lambda answer: (not answer.is_proved(row), answer.last))
            left.remove(chosen)
            met.append((chosen, row))
    return met


def _is_sole(answer: _Answer, row: _Row, group: list[_Answer]) -> bool:
    """Whether a row can be of no other thread of the group."""
    others = (each for each in group if each.name != answer.name)
    return answer.is_proved(row) or not any(other.fits(row) for other in others)
