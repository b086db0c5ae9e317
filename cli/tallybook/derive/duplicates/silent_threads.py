"""Finds the router's rows that are the calls of a thread whose own log states no counts.

Such a log still says when each answer was there. A router that counted the answers wrote a row as
each of them ended, so the thread is not without counts: its rows hold them, and it lends them its
name. A kept request proves it, by the thread or by the tools that the answer before asked for.
Without one it takes a row for every answer, and no other row of the model in that time.
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
    is_silent_answer,
    milliseconds,
)
from tallybook.derive.problems import has_problem
from tallybook.schema import CAPTURE_TOTAL, SUM, THREAD

LEAST: Final = 3  # answers of a thread that their times alone give rows


class Silent(NamedTuple):
    """A thread's rows, the rows of a router that hold its calls, and those that are none but its.

    `words` say what it rests on, where that is no proof.
    """

    threads: tuple[int, ...]
    routers: tuple[int, ...]
    lent: tuple[int, ...]
    words: str | None


class _Answer(NamedTuple):
    """When an answer was there and when the one before it, and what the thread had asked for."""

    last: int
    before: int
    threads: tuple[int, ...]  # the rows of the thread
    name: str
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
    at: int
    row: int
    asker: str | None
    brought: frozenset[str]


def silent_threads(rows: pl.DataFrame) -> list[Silent]:
    """The free rows of threads without counts whose every answer a free row of a router counts.

    `rows` carry `request`, and `_settled`, which is true of the rows that are paired already.
    """
    answers = _answers(rows)
    routed = _routed(rows, answers) if answers else {}
    found: list[Silent] = []
    for model, threads in answers.items():
        left = routed.get(model, [])
        for each in threads:
            found += _proved(each, left)
        done = {silent.threads for silent in found}
        taken = {row for silent in found for row in silent.routers}
        left = [row for row in left if row.row not in taken]
        for group in _together([each for each in threads if each[0].threads not in done]):
            found += _probable(group, left)
    return sorted(found)


def _answers(rows: pl.DataFrame) -> dict[str, list[list[_Answer]]]:
    """By model the answers of each silent thread, in order."""
    silent = rows.filter(is_silent_answer())
    if silent.is_empty():
        return {}
    threads = (
        rows.filter(_states_no_counts(), pl.col("duplicate_of").is_null())
        .group_by("source", "thread_id")
        .agg(threads=pl.col("row").sort(), begun=milliseconds().min())
    )
    found = (
        silent.unique("call_id", keep="first", maintain_order=True)
        .select("source", "thread_id", "tool_ids", model=bare_model("model"), last=milliseconds())
        .drop_nulls(["model", "last"])
        .join(threads, on=("source", "thread_id"))
        .sort("thread_id", "last")
        .group_by("source", "thread_id", maintain_order=True)
        .agg(pl.col("model", "last", "tool_ids"), pl.col("begun", "threads").first())
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
    times, rows, name = thread["last"], tuple(thread["threads"]), thread["thread_id"]
    before = times[0] - LONGEST_TOOL_MS if thread["begun"] is None else thread["begun"]
    asked: frozenset[str] = frozenset()
    for last, tools in zip(times, thread["tool_ids"], strict=True):
        yield _Answer(last, before, rows, name, asked)
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
    for answers in sorted(threads):
        if group and answers[0].before > end:
            yield sorted(group)
            group, end = [], 0
        group += answers
        end = max(end, answers[-1].last + TURN_MS)
    if group:
        yield sorted(group)


def _proved(answers: list[_Answer], rows: list[_Row]) -> Iterator[Silent]:
    """The thread, if the requests of rows prove each of its answers."""
    own = [row for row in rows if any(answer.is_proved(row) for answer in answers)]
    met = _matched(answers, own)
    if len(met) == len(answers):
        found = tuple(row.row for row in own)
        yield Silent(answers[0].threads, found, found, None)


def _probable(group: list[_Answer], rows: list[_Row]) -> Iterator[Silent]:
    """The threads of a group whose every answer has a row, where no row is left in their time."""
    first = min(answer.before for answer in group)
    near = [row for row in rows if first <= row.at <= group[-1].last + TURN_MS]
    near = [row for row in near if not all(answer.is_refuted(row) for answer in group)]
    met = _matched(group, near)
    if len(near) != len(group) or len(met) != len(group):
        return
    of_thread: dict[tuple[int, ...], list[tuple[_Answer, _Row]]] = defaultdict(list)
    for answer, row in met:
        of_thread[answer.threads].append((answer, row))
    for threads, pairs in of_thread.items():
        if len(pairs) >= LEAST or any(answer.is_proved(row) for answer, row in pairs):
            sole = tuple(row.row for answer, row in pairs if _is_sole(answer, row, group))
            words = f"a row of the router as each of its {len(pairs)} answers ended"
            yield Silent(threads, tuple(row.row for _, row in pairs), sole, words)


def _matched(group: list[_Answer], rows: list[_Row]) -> list[tuple[_Answer, _Row]]:
    """Each row with an answer that it fits: one that it is proved to be, else the soonest there."""
    left, met = list(group), []
    for row in rows:
        fits = [answer for answer in left if answer.fits(row)]
        if fits:
            chosen = min(fits, key=lambda answer: (not answer.is_proved(row), answer))
            left.remove(chosen)
            met.append((chosen, row))
    return met


def _is_sole(answer: _Answer, row: _Row, group: list[_Answer]) -> bool:
    """Whether a row can be of no other thread of the group."""
    others = (each for each in group if each.threads != answer.threads)
    return answer.is_proved(row) or not any(other.fits(row) for other in others)
