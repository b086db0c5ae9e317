"""The rows of files as a run reads them that keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from tallybook.files.pool import Progress, work_through
from tallybook.files.read import read_file
from tallybook.tables import READ

File = tuple[Path, int]


def read_files(
    files: Sequence[File], progress: Progress | None = None, workers: int | None = None
) -> pa.Table:
    """The rows of all files in the READ schema, in the order of `files` whatever the workers."""
    sizes = [size for _, size in files]
    tables = dict(work_through(_read_group, files, sizes, progress, workers))
    return _in_order([tables[some] for some in sorted(tables, key=lambda some: some.start)])


def _read_group(files: Sequence[File]) -> pa.Table:
    return _in_order([read_file(path) for path, _ in files]).combine_chunks()


def _in_order(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables) if tables else READ.empty_table()
