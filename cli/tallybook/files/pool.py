"""Reads many files, one process a core where there is enough to read, balanced by size."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from tallybook.errors import FAILURES

# Starting workers costs about 0.1 s of every core, the time in which one core reads this much.
POOL_BYTES = 48 << 20
_GROUPS_PER_WORKER = 8
_MOST_GROUPS = 128  # each is a step of the progress, and may become a part of the ledger
Progress = Callable[[int, int], None]  # bytes read, bytes in all
T = TypeVar("T")
R = TypeVar("R")


def work_through(  # noqa: PLR0913 - what to do with what, and how
    work: Callable[[Sequence[T]], R],
    items: Sequence[T],
    sizes: Sequence[int],
    progress: Progress | None = None,
    workers: int | None = None,
    *,
    meanwhile: Callable[[], object] | None = None,
) -> Iterator[tuple[int, R]]:
    """What `work` makes of groups of consecutive items, each with the group's number.

    `sizes` are the bytes to read for each item. `work` must pickle, for it runs in processes where
    that saves time; while these do the last of it, `meanwhile` is done here. What they raise is
    raised.
    """
    total = sum(sizes)
    workers = min(workers or os.cpu_count() or 1, len(items))
    pooled = is_pooled(total) and workers > 1
    apart = min(max(len(items) // 64, 1), _MOST_GROUPS)
    cuts = _groups(sizes, workers * _GROUPS_PER_WORKER if pooled else apart)
    groups = [items[cut] for cut in cuts]
    weights = [sum(sizes[cut]) for cut in cuts]
    done = 0
    for number, result in (
        _work_pooled(work, groups, weights, workers, meanwhile)
        if pooled
        else _work_here(work, groups)
    ):
        done += weights[number]
        if progress:
            progress(done, total)
        yield number, result


def is_pooled(total: int) -> bool:
    """Whether so many bytes are read by several processes."""
    return total >= POOL_BYTES


def _groups(sizes: Sequence[int], count: int) -> list[slice]:
    """Runs of consecutive files of about the same size in bytes; a large file stands alone."""
    share = max(sum(sizes) // max(count, 1), 1)
    cuts: list[slice] = []
    begin, filled = 0, 0
    for number, size in enumerate(sizes):
        filled += size
        if filled >= share:
            cuts.append(slice(begin, number + 1))
            begin, filled = number + 1, 0
    if begin < len(sizes):
        cuts.append(slice(begin, len(sizes)))
    return cuts


def _work_here(
    work: Callable[[Sequence[T]], R], groups: Sequence[Sequence[T]]
) -> Iterator[tuple[int, R]]:
    for number, group in enumerate(groups):
        yield number, work(group)


def _work_pooled(
    work: Callable[[Sequence[T]], R],
    groups: Sequence[Sequence[T]],
    weights: Sequence[int],
    workers: int,
    meanwhile: Callable[[], object] | None,
) -> Iterator[tuple[int, R]]:
    """Largest groups first; a group whose worker died is read here, so nothing is lost."""
    order = sorted(range(len(groups)), key=lambda number: -weights[number])
    left = set(order)
    try:
        with ProcessPoolExecutor(
            workers, _context(), initializer=_take_over, initargs=(FAILURES.raised,)
        ) as pool:
            pending: dict[Future[R], int] = {}
            try:
                with _uninterrupted():
                    for number in order:
                        pending[pool.submit(work, groups[number])] = number
                while pending:
                    if meanwhile and len(pending) <= workers:
                        meanwhile()
                        meanwhile = None
                    ready, _ = wait(pending, return_when=FIRST_COMPLETED)
                    for future in ready:
                        number = pending.pop(future)
                        yield number, future.result()
                        left.discard(number)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                # Interrupted while they start, workers wait for work that nobody gives them, and
                # this process for them. What they write is aside, and nobody's any more.
                for worker in multiprocessing.active_children():
                    worker.terminate()
                raise
    except BrokenProcessPool:
        for number in sorted(left):
            yield number, work(groups[number])


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Have an interrupt wait. Processes that begin meanwhile leave it to this one for good.

    A terminal interrupts them all. Each would tell where it was, and some before they can be told
    not to.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _take_over(raised: bool) -> None:
    """What becomes of failures here becomes of them in a worker, which may know nothing of it.

    What it was born with is left out of its collections: they would copy all of it, page by page.
    """
    FAILURES.raised = raised
    gc.freeze()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End a worker whose parent was killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _context() -> multiprocessing.context.BaseContext:
    """Forked workers start at once, but only a process without other threads may be forked."""
    alone = threading.active_count() == 1 and "polars" not in sys.modules
    return multiprocessing.get_context("fork" if alone and sys.platform == "linux" else "spawn")
