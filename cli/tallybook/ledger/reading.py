"""What was read for a question, and its usage rows: in order, or as a report adds them up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
import polars as pl

from tallybook.files.find import Found
from tallybook.ledger.derived import Component, Derived, name_of
from tallybook.ledger.digests import code_digest, reading_digest
from tallybook.ledger.manifest import Entry
from tallybook.ledger.refresh import FileCounts
from tallybook.ledger.store import Store
from tallybook.urls import is_url

if TYPE_CHECKING:
    import pyarrow as pa

    from tallybook.pricing.rates import Rates

# Rows that go through the chain at once: some 100 MB with all that the stages make of them.
BATCH_ROWS: Final = 32_768
T = TypeVar("T")


class Reading(msgspec.Struct):
    """Usage of the files that a question is about; a context manager, for it may hold a folder.

    `searched` are the places that were looked at, `found`, `folders` (with their mtime) and
    `missing` all that was seen there, `foreign` what of it is no log; `variables` of the
    environment decided it. `notes` are words for the user.
    """

    entries: list[Entry]
    searched: list[Path]
    store: Store
    rates: Rates
    failed: pa.Table | None = None  # rows that stand for paths which could not be entered
    corrections: pa.Table | None = None  # what backfill proved; rows are kept without it
    apart: bool = False  # records that are probably one call count both
    derived: Path | None = None  # where derived rows may be kept
    counts: FileCounts = msgspec.field(default_factory=FileCounts)
    is_settled: bool = False  # all of it is in the ledger, and stays so while nothing changes
    foreign: list[Found] = []
    not_looked_at: dict[str, int] = {}  # files by suffix, see `Search`
    folders: dict[str, int] = {}
    missing: list[str] = []
    variables: list[str] = []
    notes: list[str] = []
    has_written: Callable[[str], bool] = lambda _: False  # whether this run wrote that part
    stack: ExitStack = msgspec.field(default_factory=ExitStack)
    _found: list[Component] | None = None
    _derived: Derived | None = None

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what was written aside."""
        self.stack.close()

    @property
    def found(self) -> Iterator[Found]:
        """The files that were seen, as they looked; made when asked for, there may be very many.

        Objects of storage are not looked at by who asks.
        """
        files = (entry for entry in self.entries if not is_url(entry.path))
        yield from (entry.as_found() for entry in files if not entry.gone)
        yield from self.foreign

    @property
    def files(self) -> int:
        """How many files the usage comes from."""
        return len(self.entries)

    @property
    def gone(self) -> int:
        """How many of them are no longer there."""
        return sum(entry.gone for entry in self.entries)

    @property
    def older(self) -> list[str]:
        """Paths of those that other code has read, and that could not be read again."""
        code = reading_digest()
        return [each.path for each in self.entries if each.code != code and each.segments()]

    @property
    def removed(self) -> int:
        """How many calls were taken out of files that are there, and count all the same."""
        return sum(entry.removed for entry in self.entries)

    @property
    def older_deleted(self) -> int:
        """How many calls other code has read that have been taken out of their file since."""
        code = reading_digest()
        return sum(entry.older for entry in self.entries if entry.code == code)

    @property
    def rows(self) -> pl.DataFrame:
        """All batches as one frame."""
        return pl.concat(self.batches())

    def each(self, work: Callable[[pl.DataFrame | pl.LazyFrame], T]) -> Iterator[T]:
        """What `work` makes of all priced USAGE rows, in at least one frame and in any order.

        What is kept is one frame on the disk, read by the columns that are asked of it, in a thread
        while the rest comes as `batches` has it.
        """
        derived = self._kept()
        name = name_of(self.entries, f"{code_digest()} {BATCH_ROWS}")
        names = derived.names_of(name) or []
        derived.check(names)
        if not names or not all(map(derived.has, names)):
            names = [each.name for each in self.components()]
            derived.remember(name, names)
            derived.check(names)
        others = {name for name in names if not derived.has(name)}
        others |= {*names} if self.apart else self._corrected(names)
        kept = [name for name in names if name not in others]
        with ThreadPoolExecutor(1) as thread:
            looking = thread.submit(derived.look, kept, work) if kept else None
            if others or self.failed is not None or not names:
                yield from map(work, self._batches(others))
            if looking is not None:
                yield looking.result()
        derived.close(names)

    def derive_aside(self) -> None:
        """Keep what is derived of much that was read for this run alone until its end.

        For those who ask for it more than once.
        """
        self.derived = self.derived or self.store.parts

    def _corrected(self, names: Collection[str]) -> set[str]:
        """The components that have calls of which backfill has proved something."""
        if self.corrections is None or not self.corrections.num_rows:
            return set()
        calls = pl.Series(self.corrections["call_id"]).unique().implode()
        there = [name for name in names if self._kept().has(name)]
        if not there:
            return set()

        def meet(rows: pl.LazyFrame) -> set[str]:
            found = rows.filter(pl.col("call_id").is_in(calls)).select("component")
            return set(found.collect(engine="streaming").to_series())

        return self._kept().look(there, meet)

    def batches(self, only: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        """Priced USAGE rows of every kind, at least one frame, which may be empty.

        Files that share threads or calls are derived together, as a component, and so are the rows
        of a large file that nothing links to its others. Components come by the path of their first
        file; within one, rows are in the order of path, record and part. So the order is the same
        whatever was read when. A batch has at most BATCH_ROWS rows, a large component several
        batches. The column `component` holds its name; `only` picks some.
        """
        yield from self._batches(only)
        self._kept().close(component.name for component in self.components())

    def _batches(self, only: Collection[str] | None) -> Iterator[pl.DataFrame]:
        from tallybook.ledger import settling  # noqa: PLC0415 - takes 0.1 s, many runs need none

        derived, every = self._kept(), self.components()
        chosen = [each for each in every if only is None or each.name in only]
        wholes = [list(some) for _, some in groupby(chosen, lambda each: each.of or each.name)]
        # A stretch comes alone, for its rows could not be told from others of its file.
        sizes = [BATCH_ROWS if some[0].is_stretch else sum(c.rows for c in some) for some in wholes]
        # A batch is let go as soon as it has been passed on, here and below: the next is as large.
        finished = partial(
            settling.finished, corrections=self.corrections, rates=self.rates, apart=self.apart
        )
        for batch in settling.batches(sizes, BATCH_ROWS):
            some = [each for n in batch for each in wholes[n]]
            yield from map(finished, self._usage(some, derived))
        if self.failed is not None or not chosen:
            yield settling.unentered(self.failed, self.rates)

    def _kept(self) -> Derived:
        if self._derived is None:
            self._derived = Derived(self.derived, self.rates.digest)
        return self._derived

    def components(self) -> list[Component]:
        """The groups of files that are derived apart, those without rows left out."""
        from tallybook.ledger import settling  # noqa: PLC0415 - see `batches`

        if self._found is None:
            kept = self._kept()
            found = settling.components(self.entries, self.store, kept, self.derived, BATCH_ROWS)
            self._found = [each for each in found if each.rows]
            kept.take_in(part.part for entry in self.entries for part in entry.rows)
        return self._found

    def _usage(self, chosen: Sequence[Component], derived: Derived) -> Iterator[pl.DataFrame]:
        """The USAGE rows of components, those of one that is large in slices, piece by piece."""
        if len(chosen) > 1 and sum(each.rows for each in chosen) <= BATCH_ROWS:
            yield self._batch(chosen, derived)
            return
        for each in chosen:
            yield from derived.slices(each, BATCH_ROWS)
            if not derived.has(each.name):
                yield from self._batch([each], derived).iter_slices(BATCH_ROWS)

    def _batch(self, chosen: Sequence[Component], derived: Derived) -> pl.DataFrame:
        """The USAGE rows of components, one component after the other."""
        from tallybook.ledger import settling  # noqa: PLC0415 - see `batches`

        frames = [frame for _, frame in derived.rows(chosen)]
        new = [each for each in chosen if not derived.has(each.name)]
        if new:
            there = list(derived.priced_otherwise([each.name for each in new]))
            usage = settling.settled(new, there, self.store, self.rates)
            derived.add(usage, {each.name: each.rows for each in new})
            frames.append(usage)
        wholes = {name: place for place, name in enumerate(each.of or each.name for each in chosen)}
        places = {each.name: wholes[each.of or each.name] for each in chosen}
        return settling.in_order(pl.concat(frames), places)
