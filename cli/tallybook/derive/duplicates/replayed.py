"""Finds the rows at the start of a fork or sub-agent that replay another thread's history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl

from tallybook.schema import AFTER_TURN, BEFORE_TURN, CALL, INHERITED, OWN

# Copied records are written in one burst, milliseconds apart; no model answers that fast twice.
BURST = 1_000_000  # microseconds


class Row(NamedTuple):
    """What the decision about one record needs; the time in microseconds since 1970."""

    row: int
    history: str
    sequence: str | None
    timestamp: int | None
    foreign_history: bool
    fresh_counter: bool
    running_total: list[int | None] | None
    history_thread_ids: list[str] | None


class Verdict(NamedTuple):
    """A replayed row: the row it copies, if that is on disk, and the thread whose history it is."""

    row: int
    copied_row: int | None
    owner: str | None
    owner_is_read: bool


_COLUMNS = Row._fields


def replayed(rows: pl.DataFrame) -> pl.DataFrame:
    """The replayed rows among `rows` (unique `row`, in file order) as a frame of `Verdict`."""
    is_state = pl.col("sequence").is_not_null() | (pl.col("history") == INHERITED)
    narrow = rows.select(
        *("path", "thread_id", "is_copy", "repeat", *_COLUMNS),
        _counts=(pl.col("kind") == CALL) & is_state,
    ).with_columns(pl.col("timestamp").dt.timestamp("us"))
    states = pl.col("_counts") & pl.col("repeat").is_null()
    is_own = pl.col("history") == OWN
    begun = {*narrow.select("path", _=states & is_own).filter("_")["path"].unique()}
    heirs = _by_file(narrow.filter(states & ~is_own))
    histories = _histories(narrow, heirs)
    verdicts = [
        verdict
        for path, file in heirs.items()
        for verdict in _judge(file, histories, has_own=path in begun)
    ]
    return pl.DataFrame(
        verdicts,
        schema={
            "row": pl.get_index_type(),
            "copied_row": pl.get_index_type(),
            "owner": pl.String,
            "owner_is_read": pl.Boolean,
        },
        orient="row",
    )


def _is_after(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one > other


def _by_file(rows: pl.DataFrame) -> dict[str, list[Row]]:
    """Per file, in order, its rows."""
    files: dict[str, list[Row]] = {}
    for path, *values in _values(rows.select("path", *_COLUMNS)):
        files.setdefault(path, []).append(Row(*values))
    return files


def _values(rows: pl.DataFrame) -> Iterable[tuple[Any, ...]]:
    """The rows, by way of the columns: where these are lists it is four times as fast."""
    return zip(*(column.to_list() for column in rows.iter_columns()), strict=True)


class History:
    """The counter states that one thread went through, as its own file states them."""

    def __init__(self, rows: Iterable[tuple[int, str, int | None]]) -> None:
        self._rows = list(rows)
        self._places: dict[str, list[int]] = {}
        for place, (_, sequence, _) in enumerate(self._rows):
            self._places.setdefault(sequence, []).append(place)

    def __len__(self) -> int:
        return len(self._rows)

    def match(self, copies: Sequence[Row]) -> list[tuple[int, int | None]]:
        """Rows, with their times, that the longest run from the start of `copies` repeats.

        A copy is never older than what it copies: the parent may come to the same numbers later.
        """
        matched: list[tuple[int, int | None]] = []
        place = -1
        for copy in copies:
            later = [
                at
                for at in self._places.get(copy.sequence or "", ())
                if at > place and not _is_after(self._rows[at][2], copy.timestamp)
            ]
            if not later:
                break
            place = later[0]
            row, _, time = self._rows[place]
            matched.append((row, time))
        return matched


def _histories(rows: pl.DataFrame, heirs: dict[str, list[Row]]) -> dict[str, History]:
    """Of every thread that some file may replay, the longest history on disk.

    Twins count as states here: where a usage record and a counter state one call, a copy may have
    kept either.
    """
    wanted = {
        thread for file in heirs.values() for row in file for thread in row.history_thread_ids or ()
    }
    if not wanted:
        return {}
    states = rows.select(
        *("thread_id", "path", "row", "sequence", "timestamp"),
        _=pl.col("thread_id").is_in(wanted)
        & pl.col("_counts")
        & pl.col("sequence").is_not_null()
        & ~pl.col("is_copy")
        & (pl.col("repeat").is_null() | (pl.col("repeat") == "twin")),
    ).filter("_")
    files: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for thread, path, *state in _values(states.drop("_")):
        files.setdefault((thread, path), []).append(tuple(state))
    # Of several files of a thread that are as long the first counts.
    longest: dict[str, list[tuple[Any, ...]]] = {}
    for (thread, _), found in files.items():
        if len(found) > len(longest.get(thread, ())):
            longest[thread] = found
    return {thread: History(found) for thread, found in longest.items()}


def _judge(
    doubtful: list[Row], histories: dict[str, History], *, has_own: bool
) -> Iterable[Verdict]:
    """The verdicts on one file: proof first, then equal numbers, then turns, then bursts.

    `doubtful` are those of its rows that are not proved to be its own; `has_own`: others are.
    """
    owner, copies = _longest_match(doubtful, histories)
    turned = has_own or any(row.history == AFTER_TURN for row in doubtful)
    inherited = set(copies) | _inherited(doubtful, copies, turned=turned)
    for row in doubtful:
        if row.row in inherited:
            thread = owner or next(iter(row.history_thread_ids or ()), None)
            read = any(name in histories for name in row.history_thread_ids or ())
            yield Verdict(row.row, copies.get(row.row), thread, read)


def _longest_match(
    rows: Sequence[Row], histories: dict[str, History]
) -> tuple[str | None, dict[int, int]]:
    """The thread that the rows repeat longest from their start, and copy -> copied row."""
    best: tuple[str | None, dict[int, int]] = (None, {})
    for thread in dict.fromkeys(name for row in rows for name in row.history_thread_ids or ()):
        matched = histories[thread].match(rows) if thread in histories else []
        copies = rows[: len(matched)]
        if len(matched) > len(best[1]) and not _is_coincidence(copies, [at for _, at in matched]):
            best = (thread, {copy.row: row for copy, (row, _) in zip(copies, matched, strict=True)})
    return best


def _is_coincidence(copies: Sequence[Row], times: Sequence[int | None]) -> bool:
    """Equal first calls prove nothing where an own turn and a fresh counter stand before them.

    But for several that were written at once, or at the times of what they equal: no thread asks
    like that.
    """
    first = copies[0]
    if not first.fresh_counter or first.foreign_history or first.history != AFTER_TURN:
        return False
    at_once = len(_burst(copies)) == len(copies)
    at_their_times = all(copy.timestamp == at for copy, at in zip(copies, times, strict=True))
    return len(copies) == 1 or not (at_once or at_their_times)


def _inherited(rows: Sequence[Row], copies: dict[int, int], *, turned: bool) -> set[int]:
    """Replayed rows beyond those that `copies` finds by equal numbers.

    `turned`: the file shows where the thread's own part begins, so all before that is replay.
    """
    proved = {row.row for row in rows if row.history == INHERITED}
    rest = [row for row in rows if row.row not in copies and row.row not in proved]
    early = {row.row for row in rest if row.history == BEFORE_TURN}
    if not turned:
        early = set() if copies else _burst([row for row in rows if row.row in early | proved])
    return proved | early | _stale(rows, proved | early | set(copies))


def _burst(rows: Sequence[Row]) -> set[int]:
    """The run of rows at the start that were written at most a second apart, if two or more."""
    run = {rows[0].row} if rows else set()
    for last, row in pairwise(rows):
        if last.timestamp is None or row.timestamp is None:
            break
        if row.timestamp - last.timestamp > BURST:
            break
        run.add(row.row)
    return run if len(run) > 1 else set()


def _stale(rows: Sequence[Row], inherited: set[int]) -> set[int]:
    """Rows after the replay whose running total has not passed the inherited one yet.

    They state the inherited counter again. A total that equals its own call is a counter which
    began anew, and once the total has passed the inherited one a lower total is the thread's own.
    """
    baseline: list[int | None] | None = None
    stale: set[int] = set()
    for row in rows:
        if row.row in inherited:
            baseline = row.running_total
        elif baseline and row.running_total and not row.fresh_counter:
            if not _within(row.running_total, baseline):
                break
            stale.add(row.row)
        else:
            break
    return stale


def _within(total: Sequence[int | None], baseline: Sequence[int | None]) -> bool:
    return all((value or 0) <= (before or 0) for value, before in zip(total, baseline, strict=True))
