"""The rows of parts, as frames: of whole files, of some segments, or a slice at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Final

import polars as pl

from tallybook.ledger.derived import cover, pick
from tallybook.ledger.manifest import Entry, Segment
from tallybook.ledger.part_files import is_aside, openable
from tallybook.ledger.store import PartDamaged, Store
from tallybook.schema import DEFAULTS, read_types

_TYPES: Final = {
    int: pl.Int64(),
    str: pl.String(),
    bool: pl.Boolean(),
    datetime: pl.Datetime("us", "UTC"),
    Decimal: pl.Decimal(38, 15),
    list[str]: pl.List(pl.String()),
    list[int | None]: pl.List(pl.Int64()),
}
# So many rows are looked through at once where not all of their columns are needed.
SLICE_ROWS: Final = 16_384


class StoredRows:
    """The rows of the parts in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def rows(self, entries: Iterable[Entry]) -> pl.DataFrame:
        """The rows of files in the READ schema, in no particular order. Raises PartDamaged."""
        wanted: dict[str, list[tuple[Segment, str | None]]] = {}
        for entry in entries:
            path = entry.path if entry.renamed else None
            for segment in entry.segments():
                wanted.setdefault(segment.part, []).append((segment, path))
        frames = [frame for name in wanted for frame in self._pieces(name, wanted[name])]
        return pl.concat(frames) if frames else empty_rows()

    def _pieces(
        self, name: str, wanted: Sequence[tuple[Segment, str | None]]
    ) -> Iterable[pl.DataFrame]:
        for near in _near(wanted):
            first, rows = cover([segment for segment, _ in near])
            frame = self._load(name, first, rows)
            in_place = [segment for segment, path in near if path is None]
            if in_place:
                yield pick(frame, in_place, first)
            for segment, path in near:
                if path is not None:
                    part = frame.slice(segment.start - first, segment.rows)
                    yield part.with_columns(path=pl.lit(path))

    def _load(self, name: str, start: int, rows: int) -> pl.DataFrame:
        frame = self.part(name, list(read_types()), start, rows)
        if frame.height != rows:
            raise PartDamaged(name, f"{frame.height} rows where there should be {rows}")
        return frame

    def part(
        self, name: str, columns: Sequence[str], start: int = 0, rows: int | None = None
    ) -> pl.DataFrame:
        """Columns of a part, of all rows or of so many from `start`. Raises PartDamaged.

        A column that came after the part was written holds its default.
        """
        table = self._store.held(name)
        if table is not None:
            return pl.DataFrame(table.select(columns).slice(start, rows))
        try:
            found = _scanned(name, self._store.find(name)).slice(start, rows)
            try:
                frame = found.select(columns).collect()
            except pl.exceptions.ColumnNotFoundError:
                there = found.collect_schema().names()
                frame = found.select(name for name in columns if name in there).collect()
            return _as_of_today(frame, columns)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise PartDamaged(name, str(error).partition("\n")[0]) from error

    def slices(
        self, name: str, columns: Sequence[str], start: int = 0, rows: int | None = None
    ) -> Iterator[pl.DataFrame]:
        """As `part`, some rows at a time. Raises PartDamaged."""
        left = sys.maxsize if rows is None else rows
        while left > 0:
            wanted = min(left, SLICE_ROWS)
            found = self.part(name, columns, start, wanted)
            yield found
            if found.height < wanted:
                return
            start, left = start + wanted, left - wanted


def _scanned(name: str, path: Path) -> pl.LazyFrame:
    if is_aside(name):
        return pl.scan_ipc(openable(path), glob=False)
    return pl.scan_parquet(openable(path), glob=False)


def _near(
    wanted: Sequence[tuple[Segment, str | None]],
) -> Iterator[list[tuple[Segment, str | None]]]:
    """Segments of a part from its front to its back, in groups to be loaded at once."""
    group: list[tuple[Segment, str | None]] = []
    end = 0
    for each in sorted(wanted, key=lambda each: each[0].start):
        segment, _ = each
        if group and segment.start > end + SLICE_ROWS:
            yield group
            group = []
        group.append(each)
        end = max(end, segment.start + segment.rows)
    if group:
        yield group


def _as_of_today(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The rows of a part with the columns and types that the schema has by now."""
    wanted = {name: dtype for name, dtype in _of_today().items() if name in columns}
    there = frame.schema  # made anew each time it is asked for
    if all(there.get(name) == dtype for name, dtype in wanted.items()):
        return frame
    missing = {n: DEFAULTS[n] for n in wanted if n in DEFAULTS and n not in there}
    added = [pl.lit(value, wanted[name]).alias(name) for name, value in missing.items()]
    return frame.with_columns(added).select(columns).cast(pl.Schema(wanted))


@cache
def empty_rows() -> pl.DataFrame:
    """No rows, in the READ schema."""
    return pl.DataFrame(schema=_of_today())


@cache
def _of_today() -> pl.Schema:
    return pl.Schema({name: _TYPES[kind] for name, kind in read_types().items()})
