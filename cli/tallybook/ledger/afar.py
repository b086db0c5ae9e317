"""Reads groups of files by the workers of a cluster; what these cannot read is read here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Final, NamedTuple

from tallybook import __version__
from tallybook.files import objects
from tallybook.files.cluster import Build, cluster, other_build, scratch
from tallybook.files.find import Found, look
from tallybook.files.pool import Progress, work_on
from tallybook.ledger.digests import working_digest
from tallybook.ledger.gather import Gathered, Task, as_task, gather
from tallybook.ledger.store import Store
from tallybook.urls import is_url

# Readers know nothing of threads, of which a worker may have several, nor would these be quicker.
_ALONE: Final = Lock()
_LOOKS: Final = 16  # at once


class Sent(NamedTuple):
    """What a worker has read, with the part that it would have written here.

    `numbers` are those of the tasks whose outcomes these are; the others it could not read.
    """

    numbers: list[int]
    gathered: Gathered
    part: bytes = b""


def build() -> Build:
    """The program that runs here."""
    return Build(__version__, working_digest())


def gather_afar(
    tasks: Sequence[Found | Task], own: Build, code: str, *, on_disk: bool, kept: bool
) -> Sent:
    """As `gather`, in a worker of another machine; what it would write is sent.

    A file that is not there as it was listed is left out, and so is one that cannot be read there:
    it may be another machine's of the same name. Raises TallybookError where this is another build
    than the one that asks, OSError where nothing can be written aside.
    """
    if build() != own:
        raise other_build("a Dask worker", own, build())
    with ThreadPoolExecutor(_LOOKS) as looks:  # an object is far away, and a look nothing but that
        as_listed = list(looks.map(_is_as_listed, (as_task(task).found for task in tasks)))
    seen = [number for number, is_so in enumerate(as_listed) if is_so]
    mine = [tasks[number] for number in seen]
    with _ALONE:
        sent = _sent(mine, code, kept=kept) if on_disk else Sent([], gather(mine, code, None))
    outcomes = sent.gathered.outcomes
    read = [number for number, each in zip(seen, outcomes, strict=True) if not each.failed]
    sent.gathered.outcomes = [each for each in outcomes if not each.failed]
    return sent._replace(numbers=read)


def _sent(tasks: Sequence[Found | Task], code: str, *, kept: bool) -> Sent:
    """What was read, with the part that was written; it is not left here."""
    with TemporaryDirectory(dir=scratch()) as name:
        folder = Path(name)
        gathered = gather(tasks, code, folder, kept=kept)
        return Sent([], gathered, (folder / gathered.part).read_bytes() if gathered.part else b"")


def _is_as_listed(found: Found) -> bool:
    """Whether a file and those beside it are here as they were where they were listed.

    An object's URL may lead to another storage here, whose names are the same.
    """
    try:
        if is_url(found.path):
            there = objects.look(found.path)
            return (there.st_size, there.st_mtime_ns) == (found.size, found.mtime_ns)
        here = look(found.path)
    except OSError:
        return False
    return (here.size, here.mtime_ns, here.beside) == (found.size, found.mtime_ns, found.beside)


class Afar:
    """One reading by the cluster of a scheduler; `left` are the tasks that it could not do."""

    def __init__(self, scheduler: str, code: str, store: Store) -> None:
        self.scheduler = scheduler
        self.left: list[Found | Task] = []
        self._store = store
        self._work = partial(
            gather_afar,
            own=build(),
            code=code,
            on_disk=store.parts is not None,
            kept=store.kept is not None,
        )

    def gathered(
        self,
        tasks: Sequence[Found | Task],
        sizes: Sequence[int],
        progress: Progress | None,
        meanwhile: Callable[[], object],
    ) -> Iterator[tuple[Sequence[Found | Task], Gathered]]:
        """Tasks with what reading them gave. Raises TallybookError, OSError as `gather` does."""
        with cluster(self.scheduler, build) as workers:
            for some, sent in work_on(
                workers, self._work, tasks, sizes, progress, meanwhile=meanwhile
            ):
                group = tasks[some.start : some.stop]
                done = set(sent.numbers) if sent else set()
                self.left += [task for n, task in enumerate(group) if n not in done]
                if sent:
                    self._store.put(sent.gathered, sent.part)
                    yield [group[n] for n in sent.numbers], sent.gathered
