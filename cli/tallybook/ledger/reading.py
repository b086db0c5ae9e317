"""What was read for a question, and its usage rows in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

import polars as pl

from tallybook.derive.chain import as_recorded, corrected, derive, priced
from tallybook.files.find import Found
from tallybook.ledger.derived import Component, Derived, component
from tallybook.ledger.digests import code_digest, reading_digest
from tallybook.ledger.groups import batches, linked
from tallybook.ledger.manifest import Entry
from tallybook.ledger.refresh import FileCounts
from tallybook.ledger.rows import StoredRows, empty_rows
from tallybook.ledger.stretches import stretches
from tallybook.pricing.cost import NEEDED as PRICED

if TYPE_CHECKING:
    import pyarrow as pa

    from tallybook.pricing.rates import Rates

# Rows that go through the chain at once: some 50 MB with all that the stages make of them.
BATCH_ROWS: Final = 16_384


@dataclass(slots=True)
class Reading:
    """Usage of the files that a question is about; a context manager, for it may hold a folder.

    `searched` are the places that were looked at, `found`, `folders` (with their mtime) and
    `missing` all that was seen there, `foreign` what of it is no log; `variables` of the
    environment decided it. `notes` are words for the user.
    """

    entries: list[Entry]
    searched: list[Path]
    store: StoredRows
    rates: Rates
    failed: pa.Table | None = None  # rows that stand for paths which could not be entered
    corrections: pa.Table | None = None  # what backfill proved; rows are kept without it
    apart: bool = False  # records that are probably one call count both
    derived: Path | None = None  # where derived rows may be kept
    sums: Path | None = None  # where sums of them may be kept
    counts: FileCounts = field(default_factory=FileCounts)
    is_settled: bool = False  # all of it is in the ledger, and stays so while nothing changes
    foreign: list[Found] = field(default_factory=list)
    not_looked_at: dict[str, int] = field(default_factory=dict)  # files by suffix, see `Search`
    folders: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    has_written: Callable[[str], bool] = lambda _: False  # whether this run wrote that part
    stack: ExitStack = field(default_factory=ExitStack)
    _found: list[Component] | None = None

    def __enter__(self) -> Reading:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what was written aside."""
        self.stack.close()

    @property
    def found(self) -> Iterator[Found]:
        """The files that were seen, as they looked; made when asked for, there may be very many."""
        yield from (entry.as_found() for entry in self.entries if not entry.gone)
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
    def price_sources(self) -> list[str]:
        """The names of the price lists."""
        return self.rates.sources

    @property
    def price_digest(self) -> str:
        """Changes with any price, whatever the program."""
        return self.rates.digest

    @property
    def digest(self) -> str:
        """Changes with any price and with any correction."""
        if self.corrections is None or not self.corrections.num_rows:
            return self.price_digest
        text = repr(self.corrections.to_pydict()).encode("utf-8", "surrogatepass")
        return f"{self.price_digest} {blake2b(text, digest_size=8).hexdigest()}"

    @property
    def rows(self) -> pl.DataFrame:
        """All batches as one frame."""
        return pl.concat(self.batches())

    def components(self) -> list[str]:
        """Names of the groups of files that are derived apart, those without rows left out.

        A name changes with the rows, the files' paths and the program.
        """
        return [component.name for component in self._components()]

    def batches(
        self, only: Collection[str] | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[pl.DataFrame]:
        """Priced USAGE rows of every kind, at least one frame, which may be empty.

        Files that share threads or calls are derived together, as a component, and so are the rows
        of a large file that nothing links to its others. Components come by the path of their first
        file; within one, rows are in the order of path, record and part. So the order is the same
        whatever was read when. A batch has at most BATCH_ROWS rows, a large component several
        batches. The column `component` holds its name; `only` picks some. `columns` are all that is
        asked for beside the prices, where it is not every column.
        """
        if self.apart or (self.corrections is not None and self.corrections.num_rows):
            columns = None  # these look at the others as well
        if columns is not None:
            columns = list(dict.fromkeys((*columns, *PRICED)))
        derived = Derived(self.derived)
        every = self._components()
        chosen = [each for each in every if only is None or each.name in only]
        # A stretch comes alone, for its rows could not be told from others of its file.
        sizes = [BATCH_ROWS if each.is_stretch else each.rows for each in chosen]
        for batch in batches(sizes, BATCH_ROWS):
            # Prices are dear in memory, and know nothing of other rows.
            yield from map(
                self._finished, self._usage([chosen[n] for n in batch], derived, columns)
            )
        if self.failed is not None or not chosen:
            yield self._finished(self._unentered())
        derived.close(component.name for component in every)

    def _finished(self, usage: pl.DataFrame) -> pl.DataFrame:
        usage = as_recorded(usage) if self.apart else usage
        return priced(corrected(usage, self.corrections), self.rates)

    def _components(self) -> list[Component]:
        if self._found is None:
            groups = linked(self.entries, self.store, self.derived)
            found = (self._cut([self.entries[n] for n in group]) for group in groups)
            self._found = [each for some in found for each in some if each.rows]
        return self._found

    def _cut(self, entries: list[Entry]) -> Iterator[Component]:
        """Files that belong together as one component, or as several where they are large."""
        whole = component(entries, code_digest())
        if whole.rows <= BATCH_ROWS:
            yield whole
            return
        part, _, _ = next(s.part for e in entries for s in e.segments()).partition(".")
        name = f"{part}.{whole.name}.{BATCH_ROWS}.links"
        found = stretches(
            entries, self.store, BATCH_ROWS, self.derived / name if self.derived else None
        )
        for some in found:
            yield component(some, code_digest(), is_stretch=len(found) > 1)

    def _unentered(self) -> pl.DataFrame:
        """The rows of paths that could not be entered."""
        reported = empty_rows() if self.failed is None else self.failed
        return derive(reported, None).with_columns(component=pl.lit(""))

    def _usage(
        self, chosen: Sequence[Component], derived: Derived, columns: Sequence[str] | None
    ) -> Iterator[pl.DataFrame]:
        """The USAGE rows of components, of one alone that may be large in slices."""
        first, *more = chosen
        if not more:
            yield from derived.slices(first, BATCH_ROWS, columns)
        if more or not derived.has(first.name):
            yield from self._batch(chosen, derived, columns).iter_slices(BATCH_ROWS)

    def _batch(
        self, chosen: Sequence[Component], derived: Derived, columns: Sequence[str] | None
    ) -> pl.DataFrame:
        """The USAGE rows of components, one component after the other."""
        known = list(derived.rows(chosen, columns))
        names = [name for some, _ in known for name in some]
        frames = [frame for _, frame in known]
        new = [each for each in chosen if not derived.has(each.name)]
        if new:
            usage = derive(self.store.rows([e for each in new for e in each.entries]), None)
            usage = _named(usage, new)
            derived.add(usage, new)
            frames.append(usage if columns is None else usage.select(columns))
            names += [each.name for each in new]
        found = pl.concat(frames)
        return found if names == [each.name for each in chosen] else _in_order(found, chosen)


def _named(usage: pl.DataFrame, components: Sequence[Component]) -> pl.DataFrame:
    """The rows with the name of their component, one component after the other."""
    if len(components) == 1:
        return usage.with_columns(component=pl.lit(components[0].name))
    of = {entry.path: each.name for each in components for entry in each.entries}
    name = pl.col("path").replace_strict(of, return_dtype=pl.String)
    return _in_order(usage.with_columns(component=name), components)


def _in_order(usage: pl.DataFrame, components: Sequence[Component]) -> pl.DataFrame:
    """The rows of components in the order of these, those of each as they are."""
    numbers = {component.name: number for number, component in enumerate(components)}
    place = pl.col("component").replace_strict(numbers, return_dtype=pl.UInt32)
    return usage.sort(place, maintain_order=True)
