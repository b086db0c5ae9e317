"""Turns running totals, which say what a thread has used so far, into what each record adds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

import polars as pl
import polars.selectors as cs

from tallybook.derive.beside import beside
from tallybook.derive.problems import has_problem, with_problems, without_problems
from tallybook.schema import (
    ASSERTION,
    CAPTURE_TOTAL,
    EARLIER_USAGE,
    PERHAPS_INHERITED,
    PERHAPS_RESTARTED,
    RUNNING_COUNTS,
)

COUNTS = (
    *RUNNING_COUNTS,
    "web_search_requests",
    "reported_cost_usd",
    "reported_cache_creation_5m_tokens",
    "reported_cache_creation_1h_tokens",
)
Total: TypeAlias = tuple[int | Decimal | None, ...]
_WHOLE_TURN: Final = len(RUNNING_COUNTS) + 1  # counts of a turn that lacks nothing
_PROMPT: Final = slice(0, 3)
_COMPARED: Final = slice(0, 4)  # not all builds state the rest


class Snapshot(NamedTuple):
    """One running total: the row it stands in and its counts in the order of `COUNTS`.

    `turn` is what its last turn took, where that is known; as far as it goes, if it is shorter than
    the counts with the web searches behind them.
    """

    row: int
    total: Total
    turn: list[int | None] | None = None
    is_doubted: bool = False  # its reader says that it may hold what another thread has used
    when: datetime | None = None
    may_restart: bool = False  # its reader says that it may have begun at zero

    @property
    def has_whole_turn(self) -> bool:
        """Whether the turn is all that the total has risen by."""
        return self.turn is not None and len(self.turn) == _WHOLE_TURN

    def before(self) -> Total | None:
        """The total before its turn; None where the turn is not known."""
        if self.turn is None:
            return None
        return _minus(self.total, [*self.turn, *[None] * (len(self.total) - len(self.turn))])


# What one record says of a process: the total of each model, or of all in one.
Statement: TypeAlias = dict[str, Snapshot]
Totals: TypeAlias = Mapping[str, Total]


class Change(NamedTuple):
    """What a snapshot adds: its row, whether that is a difference, how it repeats another."""

    row: int
    difference: bool
    repeat: str | None
    problem: str | None
    counts: Total


def settle_running(rows: pl.DataFrame) -> pl.DataFrame:
    """Replaces running totals by differences; `rows` carry a unique `row` number.

    The first total of a process counts in full, but where it begins with the total of another
    thread, as that of a fork does, or says what its run took of it. Another file of the same thread
    goes on from the last total where no count of any model is lower and the last turn fits into the
    increase, else it starts anew: for years a process that resumed a session began at zero. A total
    that was seen before becomes a repeat. Assertions stay as they are: nobody adds them up.
    """
    asked = ["row", "source", "series", "path", "record", "turn_counts", "problems", "timestamp"]
    if not rows["running"].any():
        return rows
    running = rows.filter(pl.col("running"), pl.col("kind") != ASSERTION).select(
        *asked, *COUNTS, _thread=_thread()
    )
    settled = pl.DataFrame(
        [(*change[:4], *change.counts) for change in _changes(running)],
        schema={
            "row": running.schema["row"],
            "_difference": pl.Boolean,
            "_repeat": pl.String,
            "_problem": pl.String,
            **{f"_{name}": running.schema[name] for name in COUNTS},
        },
        orient="row",
    )
    return _replace(rows, settled)


def _thread() -> pl.Expr:
    """The thread of which one record states the totals of all models; null where a row is alone."""
    is_capture = pl.col("evidence") == CAPTURE_TOTAL
    of_thread = pl.col("series").str.starts_with(pl.col("thread_id"))
    return pl.when(is_capture & of_thread.fill_null(value=False)).then("thread_id")


def _replace(rows: pl.DataFrame, settled: pl.DataFrame) -> pl.DataFrame:
    touched = pl.col("_difference").is_not_null()
    settled_otherwise = [
        (touched & pl.col("_problem").ne_missing(doubt) & has_problem(doubt), [doubt])
        for doubt in (PERHAPS_INHERITED, PERHAPS_RESTARTED)
    ]
    return (
        beside(rows, settled)
        .with_columns(
            *(pl.when(touched).then(f"_{name}").otherwise(name).alias(name) for name in COUNTS),
            difference=pl.col("difference") | pl.col("_difference").fill_null(value=False),
            repeat=pl.coalesce("repeat", "_repeat"),
        )
        .pipe(without_problems, *settled_otherwise[0])
        .pipe(without_problems, *settled_otherwise[1])
        .pipe(with_problems, (EARLIER_USAGE, pl.col("_problem").eq_missing(EARLIER_USAGE)))
        .drop(cs.starts_with("_"))
    )


def _changes(running: pl.DataFrame) -> Iterator[Change]:
    for (source,), group in running.group_by("source", maintain_order=True):
        threads = _threads(group)
        others = _Others(threads)
        for thread, files in threads.items():
            yield from settle(files, others.of(thread) if source is not None else None)


def _threads(running: pl.DataFrame) -> dict[tuple[str, str | None], list[list[Statement]]]:
    """The statements of each thread or series, a list a file, in the order the files went on."""
    files: dict[Any, dict[str, dict[int, Statement]]] = {}
    for row, _, series, path, record, turn, problems, when, *counts, thread in running.iter_rows():
        if all(value is None for value in counts):
            continue
        key = ("series", series) if thread is None else ("thread", thread)
        place = row if thread is None else record
        model = "" if thread is None else series.removeprefix(thread)
        doubted = PERHAPS_INHERITED in (problems or ())
        may_restart = PERHAPS_RESTARTED in (problems or ())
        snapshot = Snapshot(row, tuple(counts), turn, doubted, when, may_restart)
        files.setdefault(key, {}).setdefault(path, {}).setdefault(place, {})[model] = snapshot
    return {
        key: sorted((list(file.values()) for file in found.values()), key=in_order)
        for key, found in files.items()
    }


def in_order(file: Sequence[Statement]) -> Any:
    """Sort key of one process: the highest total it reached, then all of its totals."""
    totals = [
        tuple(sum(value or 0 for value in values) for values in zip(*totals, strict=True))
        for statement in file
        if (totals := [snapshot.total for snapshot in statement.values()])
    ]
    return max(totals), totals


class _Others:
    """The totals that threads stated, to be found by the counts of one model."""

    def __init__(self, threads: Mapping[Any, list[list[Statement]]]) -> None:
        self._found: dict[Any, list[tuple[Any, Statement]]] = {}
        for thread, files in threads.items():
            for statement in (each for file in files for each in file):
                for model, snapshot in statement.items():
                    place = (model, snapshot.total[_COMPARED])
                    self._found.setdefault(place, []).append((thread, statement))
        self._open = sorted(
            (
                (thread, each)
                for thread, files in threads.items()
                for file in files
                for statement in file
                for each in statement.values()
                if each.is_doubted and each.turn is None and any(each.total[_PROMPT])
            ),
            key=lambda pair: _size(pair[1].total),
        )

    def of(self, thread: Any) -> _OthersOf:
        return _OthersOf(self, thread)

    def stating(self, model: str, total: Total) -> Iterator[tuple[Any, Statement]]:
        yield from self._found.get((model, total[_COMPARED]), ())

    def up_to(self, total: Total) -> Iterator[tuple[Any, Snapshot]]:
        """Totals of which nothing says whether others went on from them, the smallest first."""
        for thread, snapshot in self._open:
            if _size(snapshot.total) > _size(total):
                return
            yield thread, snapshot


class _OthersOf(NamedTuple):
    """The totals that other threads than this one stated."""

    others: _Others
    thread: Any

    def inherited(self, statement: Statement) -> Totals | None:
        """The total of another thread with which this one began: it is this without its turn."""
        for model, snapshot in statement.items():
            before = snapshot.before()
            if before is None or not any(before[_PROMPT]):
                continue
            for thread, other in self.others.stating(model, before):
                found = {name: each.total for name, each in other.items()}
                if thread != self.thread and _began_with(statement, found):
                    return found
        return None

    def may_be_in(self, snapshot: Snapshot) -> bool:
        """Whether an older thread had used no more of anything, so that this may go on from it."""
        return any(
            thread != self.thread
            and (each.when is None or snapshot.when is None or each.when < snapshot.when)
            and not _has_lower(snapshot.total[_COMPARED], each.total[_COMPARED])
            for thread, each in self.others.up_to(snapshot.total)
        )


def _began_with(statement: Statement, found: Totals) -> bool:
    whole = {model: each.before() or () for model, each in statement.items() if each.has_whole_turn}
    nothing = (0,) * len(COUNTS)
    return not _is_lower(statement, found) and all(
        before[_COMPARED] == found.get(model, nothing)[_COMPARED] for model, before in whole.items()
    )


def _size(total: Total) -> int | Decimal:
    return sum(value or 0 for value in total[_COMPARED])


def settle(files: list[list[Statement]], others: _OthersOf | None = None) -> Iterator[Change]:
    """What every snapshot of a thread adds; `files` are in the order in which they went on."""
    last: Totals = {}
    seen: set[frozenset[tuple[str, Total]]] = set()
    for file in files:
        if _named(file[0]) not in seen and _is_lower(file[0], last):
            last = {}
        for statement in file:
            named = _named(statement)
            if named in seen:
                yield from (
                    Change(each.row, False, "same-record", None, each.total)
                    for each in statement.values()
                )
                continue
            seen.add(named)
            if not _goes_on(statement, last):
                last = {}
            if last or others is None:
                yield from _beyond(statement, last)
            else:
                yield from _first(statement, others)
            last = {model: each.total for model, each in statement.items()}


def _named(statement: Statement) -> frozenset[tuple[str, Total]]:
    return frozenset((model, each.total) for model, each in statement.items())


def _beyond(statement: Statement, last: Totals) -> Iterator[Change]:
    """What a statement has beyond the one before it."""
    for model, snapshot in statement.items():
        before = last.get(model)
        if before == snapshot.total:
            yield Change(snapshot.row, False, "same-record", None, snapshot.total)
        else:
            problem = PERHAPS_RESTARTED if last and snapshot.may_restart else None
            yield Change(snapshot.row, bool(last), None, problem, _rise(snapshot.total, before))


def _first(statement: Statement, others: _OthersOf) -> Iterator[Change]:
    """What the first statement of a process adds: all of it, or what its run took."""
    if found := others.inherited(statement):
        yield from _beyond(statement, found)
        return
    for snapshot in statement.values():
        before = snapshot.before()
        if snapshot.has_whole_turn and any((before or ())[_PROMPT]):
            rest = [None] * (len(COUNTS) - _WHOLE_TURN)  # is not told apart
            turn = (*(snapshot.turn or ()), *rest)
            yield Change(snapshot.row, True, None, EARLIER_USAGE, turn)
            continue
        is_doubted = snapshot.is_doubted and (before is not None or others.may_be_in(snapshot))
        problem = PERHAPS_INHERITED if is_doubted else None
        yield Change(snapshot.row, False, None, problem, snapshot.total)


def _goes_on(statement: Statement, last: Totals) -> bool:
    if _is_lower(statement, last):
        return False
    turns = [each for each in statement.values() if each.has_whole_turn]
    if turns and not any(any((each.before() or ())[_PROMPT]) for each in turns):
        return False  # all that it states is its turn's
    return not any(
        took is not None and more is not None and more < took
        for model, each in statement.items()
        for took, more in zip(each.turn or (), _minus(each.total, last.get(model)), strict=False)
    )


def _is_lower(statement: Statement, last: Totals) -> bool:
    """Whether a model was said to have used more, so that the counting began anew."""
    return any(
        model not in statement or _has_lower(statement[model].total, before)
        for model, before in last.items()
    )


def _has_lower(total: Total, last: Total) -> bool:
    return any(
        value is not None and before is not None and value < before
        for value, before in zip(total, last, strict=True)
    )


def _rise(total: Total, last: Total | None) -> Total:
    """How far each count has risen; null where the total before, of another build, has none."""
    if last is None:
        return total
    return tuple(
        None if value is None or before is None else value - before
        for value, before in zip(total, last, strict=True)
    )


def _minus(total: Total, last: Iterable[int | Decimal | None] | None) -> Total:
    if last is None:
        return total
    return tuple(
        value if value is None or before is None else value - before
        for value, before in zip(total, last, strict=True)
    )
