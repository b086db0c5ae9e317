"""What was read for a question, and its usage rows in batches that fit into memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from tallybook.ledger.chain import code_digest, corrected, derive, priced
from tallybook.ledger.derived import Derived, component_digest
from tallybook.ledger.manifest import Entry
from tallybook.ledger.refresh import Counts
from tallybook.ledger.store import Store, empty_rows

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from tallybook.pricing import Rates

# Rows that go through the chain at once: some 30 MB with all their columns.
BATCH_ROWS: Final = 16_384


@dataclass(slots=True)
class Reading:
    """Usage of the files that a question is about; a context manager, for it may hold a folder.

    `searched` are the places that were looked at, `gone` the files that the ledger holds and no
    disk does any more, `notes` words for the user.
    """

    entries: list[Entry]
    searched: list[Path]
    store: Store
    rates: Rates
    failed: pa.Table | None = None  # rows that stand for paths which could not be entered
    corrections: pa.Table | None = None  # what backfill proved; the rows are kept without it
    derived: Path | None = None  # where derived rows may be kept
    counts: Counts = field(default_factory=Counts)
    generation: int | None = None  # of the ledger, where all that was read is in it
    notes: list[str] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)

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
    def files(self) -> int:
        """How many files the usage comes from."""
        return len(self.entries)

    @property
    def gone(self) -> int:
        """How many of them are no longer there."""
        return sum(entry.gone for entry in self.entries)

    @property
    def price_sources(self) -> list[str]:
        """The names of the price lists."""
        return self.rates.sources

    @property
    def price_digest(self) -> str:
        """Changes with any price."""
        return self.rates.digest

    @property
    def rows(self) -> pl.DataFrame:
        """All batches as one frame."""
        import polars as pl  # noqa: PLC0415 - after the logs are read

        return pl.concat(self.batches())

    def batches(self) -> Iterator[pl.DataFrame]:
        """Priced USAGE rows of every kind, at least one frame, which may be empty.

        Files that share threads or calls come together, by the path of the first of them; within
        these, rows are in the order of path, record and part. So the order is the same whatever
        was read when. A batch has about BATCH_ROWS rows unless one such group alone has more.
        """
        for usage in self._usage():
            yield priced(corrected(usage, self.corrections), self.rates)

    def _usage(self) -> Iterator[pl.DataFrame]:
        from tallybook.ledger.links import batches, linked  # noqa: PLC0415 - imports polars

        derived = Derived(self.derived)
        groups = [
            [self.entries[number] for number in group]
            for group in linked(self.entries, self.store, self.derived)
        ]
        salt = code_digest()
        sizes = [sum(part.rows for e in group for part in e.segments()) for group in groups]
        digests = [component_digest(group, salt) for group in groups]
        for batch in batches(sizes, BATCH_ROWS):
            chosen = [(digests[n], groups[n], sizes[n]) for n in batch if sizes[n]]
            if chosen:
                yield self._batch(chosen, derived)
        yield derive(empty_rows() if self.failed is None else self.failed, None)
        derived.close()

    def _batch(
        self, chosen: Sequence[tuple[str, list[Entry], int]], derived: Derived
    ) -> pl.DataFrame:
        import polars as pl  # noqa: PLC0415 - as above

        order = {digest: number for number, (digest, _, _) in enumerate(chosen)}
        sizes = {digest: size for digest, _, size in chosen}
        frames = [
            _numbered(kept, [(order[digest], sizes[digest]) for digest in digests])
            for digests, kept in derived.rows(list(order))
        ]
        new = [each for each in chosen if not derived.has(each[0])]
        if new:
            usage = derive(self.store.rows([entry for _, group, _ in new for entry in group]), None)
            of = {entry.path: order[digest] for digest, group, _ in new for entry in group}
            usage = usage.with_columns(
                _component=pl.col("path").replace_strict(of, return_dtype=pl.UInt32)
            ).sort("_component", maintain_order=True)
            derived.add(usage.drop("_component"), {digest: size for digest, _, size in new})
            frames.append(usage)
        whole = pl.concat(frames).sort("_component", maintain_order=True)
        return whole.drop("_component")


def _numbered(kept: pl.DataFrame, sizes: Sequence[tuple[int, int]]) -> pl.DataFrame:
    """The rows with the number of their component, of which each has so many rows."""
    import polars as pl  # noqa: PLC0415 - as above

    numbers = pl.DataFrame(sizes, schema={"n": pl.UInt32, "size": pl.UInt32}, orient="row")
    return kept.with_columns(
        _component=numbers.select(pl.col("n").repeat_by("size").explode()).to_series()
    )


def aside(stack: ExitStack) -> Path:
    """A folder of this run's own that is removed at its end. Raises OSError."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tallybook-")))
