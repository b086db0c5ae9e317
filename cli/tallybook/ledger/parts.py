"""Writes reported rows into Parquet parts, any number of files to a part, and finds them again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from tallybook.ledger.manifest import Segment, sync_folder
from tallybook.tables import READ

if TYPE_CHECKING:
    import pyarrow.parquet as pq

GROUP_ROWS: Final = 16_384  # rows held back before they are written
PART: Final = pa.schema(
    [*READ, ("source_version", pa.int32()), ("file_id", pa.string())],
    metadata={"tallybook": "reported rows 1"},
)


def new_name() -> str:
    """A name that no other part has, on any machine."""
    return f"{os.urandom(12).hex()}.parquet"


class PartWriter:
    """Collects the rows of a group of files into one part.

    Without a folder the rows stay in memory. Nothing has the part's name before it is complete.
    """

    def __init__(self, folder: Path | None) -> None:
        self.name = new_name()
        self._folder = folder
        self._tables: list[pa.Table] = []
        self._held = self._rows = 0
        self._writer: pq.ParquetWriter | None = None

    def add(self, rows: pa.Table, version: int, file_id: str) -> Segment:
        """Take rows in the READ schema. Raises OSError."""
        segment = Segment(self.name, self._rows, rows.num_rows)
        more = [pa.repeat(pa.scalar(version, pa.int32()), rows.num_rows)]
        more.append(pa.repeat(file_id, rows.num_rows))
        self._tables.append(pa.Table.from_arrays([*rows.columns, *more], schema=PART))
        self._rows += rows.num_rows
        self._held += rows.num_rows
        if self._folder and self._held >= GROUP_ROWS:
            self._write()
        return segment

    def close(self) -> pa.Table | None:
        """Put the part in place; gives the rows where there is no folder. Raises OSError."""
        if self._folder is None:
            return pa.concat_tables(self._tables) if self._tables else PART.empty_table()
        if self._held:
            self._write()
        if self._writer is not None:
            self._writer.close()
            aside = self._aside
            with aside.open("rb+") as file:
                os.fsync(file.fileno())
            aside.replace(self._folder / self.name)
            sync_folder(self._folder)
        return None

    @property
    def _aside(self) -> Path:
        assert self._folder is not None  # noqa: S101 - for the type checker
        return self._folder / f"{self.name}.aside"

    def _write(self) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 - takes 0.06 s, and many runs write nothing

        if self._writer is None:
            self._writer = pq.ParquetWriter(self._aside, PART, **options())
        self._writer.write_table(pa.concat_tables(self._tables).combine_chunks())
        self._tables, self._held = [], 0


def options() -> dict[str, Any]:
    """How parts are written: checked pages, so that damage is seen when they are read."""
    return {
        "compression": "zstd",
        "compression_level": 1,
        "write_page_checksum": True,
        "write_statistics": False,
    }
