"""Holds keys of rows by ranges of their values, so that equal ones come together."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO, Final

import polars as pl

MOST: Final = 1 << 21  # keys held in memory; they take 13 bytes each, and the same when sorted
_RANGES: Final = 64  # of a hundred million keys one takes 20 MB
_WIDTH: Final = (1 << 64) // _RANGES


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
