"""Holds keys of rows by ranges of their values, and finds whose rows have them."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO, Final

import polars as pl

from tallybook.ledger.manifest import Segment
from tallybook.ledger.rows import SLICE_ROWS

MOST: Final = 1 << 21  # keys held in memory; they take 13 bytes each, and the same when sorted
_RANGES: Final = 64  # of a hundred million keys one takes 20 MB
_WIDTH: Final = (1 << 64) // _RANGES
_PART_ROWS: Final = 1 << 32  # more than any part has


class Keys:
    """Frames with a 64-bit `key`, given back so that all of one value are in one frame.

    Many go to a temporary file, which is as long as they are; where the disk is full they stay in
    memory. A context manager, for that file.
    """

    def __init__(self) -> None:
        self._most = MOST
        self._held: list[pl.DataFrame] = []
        self._count = 0
        self._file: IO[bytes] | None = None
        self._places: list[list[tuple[int, int]]] = [[] for _ in range(_RANGES)]

    def __enter__(self) -> Keys:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, keys: pl.DataFrame) -> None:
        """Take some more, all with the same columns."""
        self._held.append(keys)
        self._count += keys.height
        if self._count > self._most:
            try:
                self._put_away()
            except OSError:
                self._most = sys.maxsize

    def ranges(self) -> Iterator[pl.DataFrame]:
        """The keys, a frame a range; they may be asked for again, and none twice by one run."""
        if self._file is None:
            if self._held:
                yield pl.concat(self._held)
            return
        held = pl.concat(self._held) if self._held else None
        for number in range(_RANGES):
            found = [self._read(place) for place in self._places[number]]
            if held is not None:
                found.append(held.filter(pl.col("key") // _WIDTH == number))
            if found:
                yield pl.concat(found)

    def _put_away(self) -> None:
        """Write what is held behind the rest of its ranges. Raises OSError."""
        if self._file is None:
            self._file = TemporaryFile()  # noqa: SIM115 - it is closed when this is left
        keys = pl.concat(self._held)
        number = (keys["key"] // _WIDTH).alias("range")
        parts = keys.with_columns(number).partition_by("range", as_dict=True, include_key=False)
        places = {}
        end = self._file.seek(0, 2)
        for (each,), some in parts.items():
            buffer = BytesIO()
            some.write_ipc(buffer)
            places[each] = (end, self._file.write(buffer.getbuffer()))
            end += places[each][1]
        self._file.flush()
        for each, place in places.items():
            self._places[each].append(place)
        self._held, self._count = [], 0

    def _read(self, place: tuple[int, int]) -> pl.DataFrame:
        assert self._file is not None  # noqa: S101 - for the type checker
        begin, size = place
        self._file.seek(begin)
        return pl.read_ipc(self._file.read(size))


class Runs:
    """Runs of rows of parts: number of the file, first row, last row + 1.

    In arrays, for there are several a file. Rows are numbered through all parts.
    """

    def __init__(self) -> None:
        self._parts: dict[str, int] = {}
        self._columns = {name: array("Q") for name in ("file", "begin", "end")}

    @property
    def parts(self) -> list[str]:
        """The names of the parts that have some."""
        return list(self._parts)

    def add(self, number: int, segment: Segment) -> None:
        """Put one more behind the others."""
        begin = self._parts.setdefault(segment.part, len(self._parts)) * _PART_ROWS + segment.start
        file, begins, ends = self._columns.values()
        file.append(number)
        begins.append(begin)
        ends.append(begin + segment.rows)

    def frame(self) -> pl.DataFrame:
        """Those with rows, one a line, in order."""
        columns = [pl.Series(name, each, pl.UInt64) for name, each in self._columns.items()]
        return pl.DataFrame(columns).filter(pl.col("begin") < pl.col("end")).sort("begin")

    def numbered(self, found: Sequence[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
        """What is known of a `row` of parts, with its number among all."""
        before = [self._parts[part] * _PART_ROWS for part, _ in found]
        sizes = [each.height for _, each in found]
        first = pl.select(pl.lit(pl.Series(before, dtype=pl.UInt64)).repeat_by(pl.Series(sizes)))
        number = pl.col("row") + first.to_series().explode()
        return pl.concat([each for _, each in found]).with_columns(number)

    def of(self, found: Iterable[tuple[str, pl.DataFrame]]) -> Iterator[pl.DataFrame]:
        """The keys of parts by the files that hold their rows, those of many parts together."""
        runs = self.frame()
        for some in _some(found):
            keys = self.numbered(some)
            place = runs["begin"].search_sorted(keys["row"], "right").cast(pl.Int64) - 1
            run = runs[place.clip(0)] if runs.height else runs
            yield keys.select(run["file"].cast(pl.UInt32), "key", "side").filter(
                (keys["row"] >= run["begin"]) & (keys["row"] < run["end"])
            )


def _some(found: Iterable[tuple[str, pl.DataFrame]]) -> Iterator[list[tuple[str, pl.DataFrame]]]:
    """As many at once as are not much to hold."""
    held: list[tuple[str, pl.DataFrame]] = []
    count = 0
    for part, keys in found:
        held.append((part, keys))
        count += keys.height
        if count > SLICE_ROWS:
            yield held
            held, count = [], 0
    if held:
        yield held
