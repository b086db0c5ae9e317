"""Parts: the reported rows of many files in one, Parquet where they are kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa

from tallybook.files.read import tables
from tallybook.ledger.manifest import Segment
from tallybook.ledger.part_files import put_aside, put_in_place
from tallybook.private import new_aside
from tallybook.schema import Reported
from tallybook.sources.contract import Rows
from tallybook.tables import READ, array

if TYPE_CHECKING:
    import pyarrow.parquet as pq

GROUP_ROWS: Final = 16_384  # rows held back before they are written
_TABLE_ROWS: Final = 4096  # rows made into a table at once; as they are read they take 1 KB each
_MOST_TABLES: Final = 256  # a table of two rows takes as much memory as one of fifty
PART: Final = pa.schema(
    [*READ, ("code", pa.string()), ("file_id", pa.string())],
    metadata={"tallybook": "reported rows 1"},
)


class Where(NamedTuple):
    """The columns that all rows of a file have in common."""

    source: str | None
    path: str
    code: str  # digest of the code that read them
    file_id: str


class PartWriter:
    """Collects the rows of a group of files into one part, which is named by its content.

    Without a folder the rows stay in memory. Nothing has the part's name before it is complete. One
    that is not `kept` is written as quickly as can be. `failed` are the ids of files with rows that
    Arrow cannot hold, when all are settled.
    """

    def __init__(self, folder: Path | None, *, kept: bool = True) -> None:
        self._folder, self._is_kept = folder, kept
        self._aside: Path | None = None  # what is written so far
        # Rows that are in no table yet: one for each file would cost more than reading it.
        self._loose: list[Reported] = []
        self._runs: list[tuple[Where, int]] = []  # what they have in common, and how many do
        self._tables: list[pa.Table] = []
        self._held = self._rows = 0
        self._sink: pa.OSFile | None = None
        self._writer: pq.ParquetWriter | pa.ipc.RecordBatchFileWriter | None = None
        self.failed: set[str] = set()

    def add(self, rows: Rows, where: Where) -> Segment:
        """Take rows of a file; the segment lacks the name yet. Raises OSError."""
        if isinstance(rows, pa.Table):
            self._settle()
            self._tables.append(_placed(rows, [(where, len(rows))]))
        else:
            self._loose += rows
            self._runs.append((where, len(rows)))
            if len(self._loose) >= _TABLE_ROWS:
                self._settle()
        return self._taken(len(rows))

    def add_table(self, rows: pa.Table, code: str, file_id: str) -> Segment:
        """Take rows in the READ schema; as `add`."""
        self._settle()
        more = [pa.repeat(text, len(rows)) for text in (code, file_id)]
        self._tables.append(pa.Table.from_arrays([*rows.columns, *more], schema=PART))
        return self._taken(len(rows))

    def close(self) -> tuple[str, pa.Table | None]:
        """Put the part in place; its name, and the rows where there is no folder. Raises OSError.

        The name is empty where there are no rows.
        """
        self._settle()
        if self._folder is None:
            found = pa.concat_tables(self._tables) if self._tables else PART.empty_table()
            return os.urandom(16).hex(), found
        with self._or_nothing():
            if self._held:
                self._write(self._folder)
            if self._writer is None or self._sink is None or self._aside is None:
                return "", None
            self._writer.close()
            self._sink.close()
            return (put_in_place if self._is_kept else put_aside)(self._aside), None

    def _taken(self, count: int) -> Segment:
        segment = Segment("", self._rows, count)
        self._rows += count
        self._held += count
        if len(self._tables) >= _MOST_TABLES:
            self._tables = [pa.concat_tables(self._tables).combine_chunks()]
        if self._folder and self._held >= GROUP_ROWS:
            self._settle()
            with self._or_nothing():
                self._write(self._folder)
        return segment

    def _settle(self) -> None:
        """Make a table of the rows that are in none."""
        if self._loose:
            failed: set[int] = set()
            found = pa.concat_tables(tables(self._loose, failed))
            self._tables.append(_placed(found, self._runs))
            if failed:
                ids = [where.file_id for where, count in self._runs for _ in range(count)]
                self.failed |= {ids[row] for row in failed}
            self._loose, self._runs = [], []

    def _write(self, folder: Path) -> None:
        if self._writer is None:
            self._aside = new_aside(folder)
            # By its bytes: a folder may have a name that is no UTF-8.
            self._sink = pa.OSFile(os.fsencode(self._aside), "wb")
            self._writer = (_kept if self._is_kept else _passing)(self._sink)
        self._writer.write_table(pa.concat_tables(self._tables).combine_chunks())
        self._tables, self._held = [], 0

    @contextmanager
    def _or_nothing(self) -> Iterator[None]:
        """Leave no half part behind; on a full disk it would stay for good."""
        try:
            yield
        except BaseException:
            with suppress(Exception):
                if self._writer is not None:
                    self._writer.close()
            with suppress(OSError):
                if self._sink is not None:
                    self._sink.close()
            with suppress(OSError):
                if self._aside is not None:
                    self._aside.unlink()
            raise


def _kept(sink: pa.NativeFile) -> pq.ParquetWriter:
    import pyarrow.parquet as pq  # noqa: PLC0415 - takes 0.06 s, and many runs keep nothing

    return pq.ParquetWriter(sink, PART, **options())


def _passing(sink: pa.NativeFile) -> pa.ipc.RecordBatchFileWriter:
    """What writes rows as they are in memory, small enough for a disk that is one's memory."""
    return pa.ipc.new_file(
        sink, PART, options=pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    )


def _placed(rows: pa.Table, runs: list[tuple[Where, int]]) -> pa.Table:
    """Rows in the PART schema, of which so many have each of `runs` in common."""

    def column(name: str) -> pa.Array:
        values = [value for where, count in runs for value in [getattr(where, name)] * count]
        return array(values, PART.field(name).type)

    first, last = ("source", "path"), ("code", "file_id")
    columns = [*map(column, first), *rows.columns, *map(column, last)]
    return pa.Table.from_arrays(columns, schema=PART)


def options() -> dict[str, Any]:
    """How parts are written, for any Parquet reader."""
    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": False,  # which takes a quarter longer to write, and a fifth more room
        "write_page_checksum": True,  # for other readers; here the name tells
        "write_statistics": False,
    }
