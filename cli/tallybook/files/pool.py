"""Reads many files, one process a core where there is enough to read, balanced by size."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from tallybook.errors import FAILURES

if TYPE_CHECKING:
    from tallybook.files.cluster import Cluster

# Starting workers costs about 0.1 s of every core, the time in which one core reads this much.
POOL_BYTES = 48 << 20
_FILE_BYTES = 64 << 10  # to open a file and to know it takes as long as reading so much
_GROUPS_PER_WORKER = 8
_MOST_GROUPS = 128  # each is a step of the progress, and may become a part of the ledger
_MOST_FILES = 2_048  # of a group: what was found out of each is held until all of them are read
_MOST_WORKERS = 61 if sys.platform == "win32" else 999  # no process can wait for more there
# A forked worker has all that is known of the files before it has read one, half a KB of each.
_MANY_FILES = 65_536
# Of a cluster. A lost worker costs what it was at; each group is a part, which questions pay for.
_MOST_BYTES: Final = 1 << 30
_LEAST_BYTES = 4 << 20
_TASKS_PER_WORKER: Final = 4  # more at once only cost the scheduler
_QUIET_SECONDS = 5.0
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
) -> Iterator[tuple[range, R]]:
    """What `work` makes of groups of consecutive items, each with the numbers of these.

    `sizes` are the bytes to read for each item. `work` must pickle, for it runs in processes where
    that saves time; while these do the last of it, `meanwhile` is done here. What they raise is
    raised.
    """
    total = sum(sizes)
    most = min(workers or os.cpu_count() or 1, _MOST_WORKERS)
    is_much = is_pooled(sizes) and most > 1
    workers = min(most, len(items)) if is_much else 1
    # One large file too: what reading it took is given back. And a little, where a worker starts at
    # once: to load the rest takes as long.
    pooled = is_much or (most > 1 and meanwhile is not None and _is_forked())
    cuts = _groups(sizes, workers * _GROUPS_PER_WORKER if is_much else _apart(sizes))
    groups = [items[cut.start : cut.stop] for cut in cuts]
    weights = _weights(cuts, sizes)
    done = 0
    for number, result in (
        _work_pooled(work, groups, weights, workers, meanwhile)
        if pooled
        else _work_here(work, groups)
    ):
        done += weights[number]
        if progress:
            progress(done, total)
        yield cuts[number], result


def work_on(  # noqa: PLR0913 - as `work_through`
    cluster: Cluster,
    work: Callable[[Sequence[T]], R],
    items: Sequence[T],
    sizes: Sequence[int],
    progress: Progress | None = None,
    *,
    meanwhile: Callable[[], object] | None = None,
) -> Iterator[tuple[range, R | None]]:
    """As `work_through`, by the workers of a cluster; None for a group that they could not do.

    Raises TallybookError where the cluster is gone.
    """
    workers = max(cluster.workers(), 1)
    effort = _effort(sizes)
    count = min(workers * _GROUPS_PER_WORKER, effort // _LEAST_BYTES + 1)
    cuts = _groups(sizes, max(count, effort // _MOST_BYTES + 1))
    weights = _weights(cuts, sizes)
    groups = [items[cut.start : cut.stop] for cut in cuts]
    found = _done(
        cluster,
        partial(_tidily, work),
        groups,
        _largest_first(weights),
        workers * _TASKS_PER_WORKER,
        (workers, meanwhile),
        cluster.check,
    )
    done = 0
    for number, future in found:
        result = cluster.result(future)
        done += weights[number]
        if progress:
            progress(done, sum(sizes))
        yield cuts[number], result


def _weights(cuts: Sequence[range], sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[cut.start : cut.stop]) for cut in cuts]


def _largest_first(weights: Sequence[int]) -> list[int]:
    return sorted(range(len(weights)), key=lambda number: -weights[number])


def _done(  # noqa: PLR0913, PLR0917 - who does what with what, and how
    executor: Executor,
    work: Callable[[Sequence[T]], R],
    groups: Sequence[Sequence[T]],
    order: Sequence[int],
    window: int,
    at_end: tuple[int, Callable[[], object] | None],
    quiet: Callable[[], object] | None = None,
) -> Iterator[tuple[int, Future[R]]]:
    """The numbers of groups in the order in which work on them is done.

    No more than `window` wait for it at once. `at_end`: what is done here once no more than so many
    are left; `quiet` is called where nothing comes for a while.
    """
    few, meanwhile = at_end
    waiting = iter(order)
    pending: dict[Future[R], int] = {}
    while True:
        with _uninterrupted():
            for number in islice(waiting, window - len(pending)):
                pending[executor.submit(work, groups[number])] = number
        if not pending:
            return
        if meanwhile and len(pending) <= few:
            meanwhile()
            meanwhile = None
        seconds = _QUIET_SECONDS if quiet else None
        ready, _ = wait(pending, seconds, return_when=FIRST_COMPLETED)
        if quiet and not ready:
            quiet()
        for future in ready:
            yield pending.pop(future), future


def is_pooled(sizes: Sequence[int]) -> bool:
    """Whether items of so many bytes are read by several processes."""
    return _effort(sizes) >= POOL_BYTES


def _effort(sizes: Sequence[int]) -> int:
    """What reading files takes, in the bytes of one large file that would take as long."""
    return sum(sizes) + len(sizes) * _FILE_BYTES


def _apart(sizes: Sequence[int]) -> int:
    """How many groups one process makes, so that there is some progress."""
    return min(_effort(sizes) // max(POOL_BYTES, 1) + 1, _MOST_GROUPS)


def _groups(sizes: Sequence[int], count: int) -> list[range]:
    """Runs of consecutive files that take about as long to read; a large file stands alone."""
    share = max(_effort(sizes) // count, 1)
    cuts: list[range] = []
    begin, filled = 0, 0
    for number, size in enumerate(sizes):
        filled += size + _FILE_BYTES
        if filled >= share or number + 1 - begin == _MOST_FILES:
            cuts.append(range(begin, number + 1))
            begin, filled = number + 1, 0
    if begin < len(sizes):
        cuts.append(range(begin, len(sizes)))
    return cuts


def _work_here(
    work: Callable[[Sequence[T]], R], groups: Sequence[Sequence[T]]
) -> Iterator[tuple[int, R]]:
    for number, group in enumerate(groups):
        yield number, _tidily(work, group)


def _tidily(work: Callable[[Sequence[T]], R], group: Sequence[T]) -> R:
    """What `work` makes of a group; rings among what it leaves are looked for once, at its end.

    Rows are in none. Looking for some among them again and again takes a twentieth of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return work(group)
    finally:
        if was_enabled:
            gc.enable()
        gc.collect(1)


def _work_pooled(
    work: Callable[[Sequence[T]], R],
    groups: Sequence[Sequence[T]],
    weights: Sequence[int],
    workers: int,
    meanwhile: Callable[[], object] | None,
) -> Iterator[tuple[int, R]]:
    """Largest groups first; a group whose worker died, or never began, is read here."""
    order = _largest_first(weights)
    left = set(order)
    is_many = sum(map(len, groups)) >= _MANY_FILES
    if is_many:
        meanwhile = None  # while workers are there, there is enough to hold
    try:
        with _broken_by(OSError, NotImplementedError):  # where processes cannot share memory
            executor = ProcessPoolExecutor(
                workers,
                _context(is_many=is_many),
                initializer=_take_over,
                initargs=(FAILURES.raised, _hidden()),
            )
        with executor as pool:
            tidily = partial(_tidily, work)

            def at_end() -> None:
                """All is given out: workers end with it, and nobody waits for that."""
                pool.shutdown(wait=False)
                if meanwhile:
                    meanwhile()

            try:
                found = _done(pool, tidily, groups, order, len(order), (workers, at_end))
                for number, future in _begun(found):
                    yield number, future.result()
                    left.discard(number)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                # Interrupted while they start, workers wait for work that nobody gives them, and
                # this process for them. What they write is aside, and nobody's any more.
                for worker in multiprocessing.active_children():
                    worker.terminate()
                    worker.join()
                raise
    except BrokenProcessPool:
        for number in sorted(left):
            yield number, work(groups[number])


@contextmanager
def _broken_by(*errors: type[Exception]) -> Iterator[None]:
    try:
        yield
    except errors as error:
        raise BrokenProcessPool(str(error)) from error


def _begun(found: Iterator[T]) -> Iterator[T]:
    """The same; workers that cannot be started are as good as dead."""
    with _broken_by(OSError):
        yield from found


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


def _hidden() -> list[str]:
    """The modules that are not to be found, whether they are installed or not."""
    return [name for name, module in list(sys.modules.items()) if module is None]


def _take_over(raised: bool, hidden: Iterable[str]) -> None:
    """What becomes of failures here becomes of them in a worker, which may know nothing of it.

    What it was born with is left out of its collections: they would copy all of it, page by page.
    """
    FAILURES.raised = raised
    for name in hidden:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type] # so that it is not found
    gc.freeze()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End a worker whose parent was killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _context(*, is_many: bool) -> multiprocessing.context.BaseContext:
    return multiprocessing.get_context("fork" if _is_forked() and not is_many else "spawn")


def _is_forked() -> bool:
    """Whether workers start at once; only a process without other threads may be forked."""
    alone = threading.active_count() == 1 and "polars" not in sys.modules
    return alone and sys.platform == "linux"
