"""Writes reported rows into Parquet parts, any number of files to a part, and finds them again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from tallybook.ledger.content import put_in_place
from tallybook.ledger.manifest import Segment
from tallybook.tables import READ

if TYPE_CHECKING:
    import pyarrow.parquet as pq

GROUP_ROWS: Final = 16_384  # rows held back before they are written
_MOST_TABLES: Final = 256  # a table of two rows takes as much memory as one of fifty
PART: Final = pa.schema(
    [*READ, ("source_version", pa.int32()), ("file_id", pa.string())],
    metadata={"tallybook": "reported rows 1"},
)


class PartWriter:
    """Collects the rows of a group of files into one part, which is named by its content.

    Without a folder the rows stay in memory. Nothing has the part's name before it is complete.
    """

    def __init__(self, folder: Path | None) -> None:
        self._aside = folder / f"{os.urandom(12).hex()}.aside" if folder else None
        self._tables: list[pa.Table] = []
        self._held = self._rows = 0
        self._writer: pq.ParquetWriter | None = None

    def add(self, rows: pa.Table, version: int, file_id: str) -> Segment:
        """Take rows in the READ schema; the segment lacks the name yet. Raises OSError."""
        segment = Segment("", self._rows, rows.num_rows)
        more = [pa.repeat(pa.scalar(version, pa.int32()), rows.num_rows)]
        more.append(pa.repeat(file_id, rows.num_rows))
        self._tables.append(pa.Table.from_arrays([*rows.columns, *more], schema=PART))
        if len(self._tables) >= _MOST_TABLES:
            self._tables = [pa.concat_tables(self._tables).combine_chunks()]
        self._rows += rows.num_rows
        self._held += rows.num_rows
        if self._aside and self._held >= GROUP_ROWS:
            self._write(self._aside)
        return segment

    def close(self) -> tuple[str, pa.Table | None]:
        """Put the part in place; its name, and the rows where there is no folder. Raises OSError.

        The name is empty where there are no rows.
        """
        if self._aside is None:
            table = pa.concat_tables(self._tables) if self._tables else PART.empty_table()
            return os.urandom(16).hex(), table
        if self._held:
            self._write(self._aside)
        if self._writer is None:
            return "", None
        self._writer.close()
        return put_in_place(self._aside), None

    def _write(self, aside: Path) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 - takes 0.06 s, and many runs write nothing

        if self._writer is None:
            self._writer = pq.ParquetWriter(aside, PART, **options())
        self._writer.write_table(pa.concat_tables(self._tables).combine_chunks())
        self._tables, self._held = [], 0


def options() -> dict[str, Any]:
    """How parts are written, for any Parquet reader."""
    return {
        "compression": "zstd",
        "compression_level": 1,
        "write_page_checksum": True,  # for other readers; here the name tells
        "write_statistics": False,
    }
