"""Reads the tables of a run store: what Mnesia keeps of runs, their evaluations and their sum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from tallybook.schema import SUMMARY, Reported
from tallybook.sources import lines
from tallybook.sources.symphony.disklog import Item, items
from tallybook.sources.symphony.runs import part_of_run, run_row, totals_row
from tallybook.sources.symphony.state import State
from tallybook.sources.symphony.terms import Cursor, TermError, hashable, opened
from tallybook.sources.symphony.transcripts import event_rows

_NAME: Final = b"symphony_run_store_"
_RUNS: Final = "symphony_run_store_runs"
_EVALS: Final = "symphony_run_store_eval_logs"
_TOTALS: Final = "symphony_run_store_totals"
_TABLES: Final = frozenset({_RUNS, _EVALS, _TOTALS})
_COMMIT: Final = 8  # elements of a transaction in the log that is not yet carried over
_CHANGE: Final = 3  # elements of a change: what of, the row, what was done
_BEFORE_CHANGES: Final = 3  # elements of a transaction between its name and the changes on disk


class Place(NamedTuple):
    """Where a table's row stands: its item and the position in that item's content."""

    record: int
    change: int | None  # place among the changes of a transaction
    position: int
    content: bytes

    def part(self, name: str | None = None) -> str | None:
        """What a row of `name` inside of this one is called."""
        names = (None if self.change is None else f"changes[{self.change}]", name)
        return ".".join(filter(None, names)) or None


def read_store(block: bytes, state: State) -> Iterator[Reported]:
    """The rows of one file of the store.

    Every write states a run anew, so of each key the last one counts. A run that was deleted later
    was paid for all the same. Several files of a store that state one run are settled as any
    records of one run are.
    """
    last: dict[Any, Place] = {}
    for item in items(block):
        state.records = item.number
        try:
            last.update(_written(item))
        except TermError as error:
            yield lines.problem(item.number, "bad-record", f"no term of Erlang's: {error}")
    for (table, _), place in sorted(last.items(), key=lambda written: written[1]):
        yield from _rows(table, place)


def _written(item: Item) -> Iterator[tuple[tuple[str, Any], Place]]:
    """Table and key of every row of ours that the item writes, and where the row stands."""
    if item.content is None:
        raise TermError("the item is cut off or damaged")
    if _NAME not in item.content:
        return
    cursor = opened(item.content)
    begin = cursor.position
    size = cursor.tuple_size()
    inner = cursor.position
    first = cursor.term()
    if isinstance(first, str) and first in _TABLES:
        yield (first, hashable(cursor.term())), Place(item.number, None, begin, cursor.data)
    elif size == _CHANGE and isinstance(first, tuple):
        yield from _changed(Cursor(cursor.data, inner), item.number, None)
    elif size == _COMMIT and first == "commit":
        yield from _committed(cursor, item.number)


def _committed(cursor: Cursor, record: int) -> Iterator[tuple[tuple[str, Any], Place]]:
    for _ in range(_BEFORE_CHANGES):
        cursor.term()
    size = cursor.list_size()
    for change in range(size):
        if cursor.tuple_size() != _CHANGE:
            raise TermError("no change of a table")
        yield from _changed(cursor, record, change)
        if change < size - 1:
            # The row, which may be overwritten later, and what was done with it.
            cursor.term()
            cursor.term()


def _changed(
    cursor: Cursor, record: int, change: int | None
) -> Iterator[tuple[tuple[str, Any], Place]]:
    """A change, read up to its row; what deletes writes the key alone in the row's place."""
    what = cursor.term()
    if not isinstance(what, tuple) or len(what) != 2:
        return
    table, key = what
    if not isinstance(table, str) or table not in _TABLES:
        return
    row = Cursor(cursor.data, cursor.position)
    if row.begins_tuple() and row.tuple_size() > 2:
        yield (table, hashable(key)), Place(record, change, cursor.position, cursor.data)


def _rows(table: str, place: Place) -> Iterator[Reported]:
    try:
        row = Cursor(place.content, place.position).term()
    except TermError as error:
        yield lines.problem(place.record, "bad-record", f"no term of Erlang's: {error}")
        return
    stated = row[-1] if isinstance(row, tuple) and row else None
    if not isinstance(stated, Mapping):
        yield lines.problem(place.record, "bad-record", "a row without its map")
        return
    for made in _stated(table, stated, place):
        if made is not None:
            made.block_index = made.block_index or place.change
            yield made


def _stated(table: str, stated: Mapping[str, Any], place: Place) -> Iterator[Reported | None]:
    record, part = place.record, place.part
    if table == _TOTALS:
        yield totals_row(stated, record, part(), None)
        return
    yield run_row(stated, record, part(), SUMMARY)
    if table == _RUNS:
        inside = part("reviewer_tokens") or ""
        yield part_of_run(stated, "reviewer_tokens", record, inside, "reviewer")
        events = stated.get("transcript_buffer")
        yield from event_rows(stated, events, record, part("transcript_buffer") or "")
