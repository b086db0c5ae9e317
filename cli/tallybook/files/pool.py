"""Reads many files, one process a core where there is enough to read, balanced by size."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pyarrow as pa

from tallybook.files.read import read_file
from tallybook.tables import READ

# Starting workers costs about 0.1 s of every core, the time in which one core reads this much.
POOL_BYTES = 48 << 20
_GROUPS_PER_WORKER = 8
Progress = Callable[[int, int], None]  # bytes read, bytes in all
File = tuple[Path, int]


def read_files(
    files: Sequence[File], progress: Progress | None = None, workers: int | None = None
) -> pa.Table:
    """The rows of all files in the READ schema, in the order of `files` whatever the workers."""
    total = sum(size for _, size in files)
    workers = min(workers or os.cpu_count() or 1, len(files))
    pooled = workers > 1 and total >= POOL_BYTES
    groups = _groups(files, workers * _GROUPS_PER_WORKER if pooled else max(len(files) // 64, 1))
    results = _read_pooled(groups, workers) if pooled else _read_here(groups)
    tables: dict[int, pa.Table] = {}
    done = 0
    for number, rows in results:
        tables[number] = rows
        done += sum(size for _, size in groups[number])
        if progress:
            progress(done, total)
    return _in_order([tables[number] for number in range(len(groups))])


def _in_order(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables) if tables else READ.empty_table()


def _groups(files: Sequence[File], count: int) -> list[list[File]]:
    """Runs of consecutive files of about the same size in bytes; a large file stands alone."""
    share = max(sum(size for _, size in files) // max(count, 1), 1)
    groups: list[list[File]] = []
    filled = share
    for file in files:
        if filled >= share:
            groups.append([])
            filled = 0
        groups[-1].append(file)
        filled += file[1]
    return groups


def _read_group(paths: Sequence[Path]) -> pa.Table:
    # Sent to another process as one piece: every piece of every column is a message of its own.
    return _in_order([read_file(path) for path in paths]).combine_chunks()


def _read_here(groups: Sequence[Sequence[File]]) -> Iterator[tuple[int, pa.Table]]:
    for number, group in enumerate(groups):
        yield number, _read_group([path for path, _ in group])


def _read_pooled(groups: Sequence[Sequence[File]], workers: int) -> Iterator[tuple[int, pa.Table]]:
    """Largest groups first; a group whose worker died is read here, so nothing is lost."""
    sizes = [sum(size for _, size in group) for group in groups]
    order = sorted(range(len(groups)), key=lambda number: -sizes[number])
    left = set(order)
    try:
        with ProcessPoolExecutor(workers, mp_context=_context()) as pool:
            pending: dict[Future[pa.Table], int] = {
                pool.submit(_read_group, [path for path, _ in groups[number]]): number
                for number in order
            }
            while pending:
                ready, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in ready:
                    number = pending.pop(future)
                    yield number, future.result()
                    left.discard(number)
    except BrokenProcessPool:
        for number in sorted(left):
            yield number, _read_group([path for path, _ in groups[number]])


def _context() -> multiprocessing.context.BaseContext:
    """Forked workers start at once, but only a process without other threads may be forked."""
    alone = threading.active_count() == 1 and "polars" not in sys.modules
    return multiprocessing.get_context("fork" if alone and sys.platform == "linux" else "spawn")
