"""Brings a manifest up to date with a comparison: reads what is new and says where its rows are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tallybook.derive.chain import load_stages
from tallybook.files.find import Found
from tallybook.files.pool import Progress, work_through
from tallybook.ledger.compare import FileComparison
from tallybook.ledger.gather import Gathered, Outcome, Task, gather
from tallybook.ledger.manifest import Entry, Manifest, Segment, encoded
from tallybook.ledger.parts import PartWriter
from tallybook.ledger.store import Store
from tallybook.schema import COUNTED_KINDS, PROBLEM

if TYPE_CHECKING:
    import polars as pl


_PLACE = ("record", "part")
_NAMES = ("identity", "record_id", "response_id", "request_id")
# What a reader takes over as it is written, however it is read otherwise.
_PLAIN = ("timestamp", "reported_input_tokens", "reported_output_tokens")


def keep_deleted(known: Entry, entry: Entry, store: Store) -> tuple[tuple[Segment, ...], int]:
    """The rows of `known` that are no longer in the database, written into a part of their own.

    Also how many calls of them other code has read.

    A row is gone where neither its place, unless that is another call's now, nor any of its names,
    nor its content under another number is there: changed or renumbered, it is still the same.
    Where other code has read `known`, names and content may differ for that: then whatever stands
    in its place is the row, and so is any with its time and counts.
    """
    import polars as pl  # noqa: PLC0415 - after the logs are read

    if entry.place.source != known.place.source:
        return known.deleted, known.older
    now = store.rows([_only(entry, rows=entry.rows, tentative=entry.tentative)])
    if known.code == entry.code:
        lost = _taken_out(store.rows([known]), now)
    else:
        before = store.rows([_only(known, rows=known.rows, tentative=known.tentative)])
        taken_out_before = store.rows([_only(known, deleted=known.deleted)])
        left = before.join(now.select("record"), on="record", how="anti", maintain_order="left")
        lost = _unlike(pl.concat([left, taken_out_before]), now)
    lost = lost.filter(pl.col("kind") != PROBLEM)
    if not lost.height:
        return (), 0
    calls = int(lost.filter(pl.col("kind").is_in(COUNTED_KINDS))["calls"].sum())
    return _written(lost, known, store), calls if known.code != entry.code else known.older


def _only(entry: Entry, **segments: tuple[Segment, ...]) -> Entry:
    """The file with some of its rows."""
    nothing = dict.fromkeys(("rows", "tentative", "deleted"), ())
    return msgspec.structs.replace(entry, **(nothing | segments))


def _taken_out(before: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """Rows that are no longer there; both were read by the same code."""
    import polars as pl  # noqa: PLC0415 - as above

    there = now.select(*_PLACE, _there=pl.lit(value=True), _identity="identity").unique(_PLACE)
    other = (pl.col("identity") != pl.col("_identity")).fill_null(value=False)
    left = (
        before.join(there, on=_PLACE, how="left", nulls_equal=True, maintain_order="left")
        .filter(pl.col("_there").is_null() | other)
        .drop("_there", "_identity")
    )
    left = _nameless(left, now)
    content = [name for name in now.columns if name not in {*_PLACE, "path"}]
    return left.filter(~_hashes(left, content).is_in(_hashes(now, content).implode()))


def _unlike(before: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """Rows that have neither a name nor the time and the counts of one that is there."""
    left = _nameless(before, now)
    dated = now.filter(now["timestamp"].is_not_null())
    return left.join(dated, on=_PLAIN, how="anti", nulls_equal=True, maintain_order="left")


def _nameless(before: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """Rows without a name that one of those that are there has."""
    for name in _NAMES:
        before = before.join(now.select(name), on=name, how="anti", maintain_order="left")
    return before


def _hashes(rows: pl.DataFrame, columns: list[str]) -> pl.Series:
    return rows.select(columns).hash_rows()


def _written(rows: pl.DataFrame, known: Entry, store: Store) -> tuple[Segment, ...]:
    from tallybook.tables import READ  # noqa: PLC0415

    writer = PartWriter(store.parts)
    segment = writer.add_table(rows.to_arrow().cast(READ), known.code, known.file_id)
    name, table = writer.close()
    store.take(name, table)
    return (msgspec.structs.replace(segment, part=name),)


@dataclass(slots=True)
class FileCounts:
    """How many files were found to be what, and how many bytes were read for it."""

    unchanged: int = 0
    read: int = 0  # from the beginning
    continued: int = 0  # from where they ended
    moved: int = 0
    gone: int = 0
    read_bytes: int = 0


@dataclass(slots=True)
class EntryChanges:
    """Entries to put into the manifest, and paths to take out of it."""

    entries: dict[str, Entry] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    counts: FileCounts = field(default_factory=FileCounts)

    def apply(self, manifest: Manifest) -> Manifest:
        """The next generation."""
        entries = {p: e for p, e in manifest.entries.items() if p not in self.removed}
        return msgspec.structs.replace(
            manifest, generation=manifest.generation + 1, entries=entries | self.entries
        )


def refresh(
    comparison: FileComparison,
    manifest: Manifest,
    store: Store,
    states: Path | None,
    progress: Progress | None = None,
) -> EntryChanges:
    """Read what the comparison says into the store; `states` is where the ledger keeps its own.

    Raises OSError where the store cannot be written.
    """
    renamed = (entry.path for entry in comparison.renamed.values())
    changes = EntryChanges(removed={*comparison.superseded, *renamed})
    changes.counts.unchanged = len(comparison.unchanged)
    changes.entries |= _found_again(comparison)
    for entry, found in comparison.moved:
        changes.removed.add(entry.path)
        changes.entries[found.path] = _as_found(comparison, entry, found)
        changes.counts.moved += 1
    tasks = {task.found.path: task for task in comparison.tasks}
    for gathered in _gathered(comparison, store, states, progress):
        store.take(gathered.part, gathered.table)
        for outcome in gathered.outcomes:
            task = tasks.pop(outcome.path)
            _count(changes.counts, task, outcome)
            entry = _entry(comparison, manifest, task, outcome, store)
            entry.states = gathered.states if outcome.has_state else None
            changes.entries[entry.path] = entry
            replaced = _replaced(comparison, outcome)
            entry.known = entry.known or any(manifest.entries[path].known for path in replaced)
            changes.removed |= replaced
    # What no source has claimed held nothing to be remembered.
    changes.removed |= {
        p for p, e in comparison.gone.items() if e.place.source is None and not e.lost
    }
    for path, entry in comparison.gone.items():
        if path not in changes.removed:
            changes.counts.gone += 1
            if not entry.gone:
                changes.entries[path] = msgspec.structs.replace(entry, gone=True)
    for path, copy in comparison.superseded.items():
        entry = changes.entries.get(copy) or manifest.entries[copy]
        is_known = bool(entry.known or manifest.entries[path].known)
        changes.entries[copy] = msgspec.structs.replace(entry, known=is_known)
    changes.removed -= changes.entries.keys()  # another file is in the place of one that moved
    return changes


def _found_again(comparison: FileComparison) -> Iterator[tuple[str, Entry]]:
    """Unchanged files that were gone, or that did not come in through a known place until now."""
    for path, entry in comparison.unchanged.items():
        is_known = bool(entry.known) or comparison.is_known(path)
        if entry.gone or entry.known != is_known:
            yield path, msgspec.structs.replace(entry, gone=False, known=is_known)


def _gathered(
    comparison: FileComparison, store: Store, states: Path | None, progress: Progress | None
) -> Iterator[Gathered]:
    ready = store.with_states(comparison.tasks, states)
    work = partial(gather, code=comparison.code, parts=store.parts, states=store.states)
    # Rows in memory would have to be sent from process to process.
    workers = None if store.parts else 1
    sizes = [_size(task) for task in ready]
    found = work_through(work, ready, sizes, progress, workers, meanwhile=load_stages)
    return (gathered for _, gathered in found)


def _size(task: Task) -> int:
    done = task.after.offset if task.after and task.after.state else 0
    return max(task.found.size - done, 0)


def _count(counts: FileCounts, task: Task, outcome: Outcome) -> None:
    done = task.after.offset if task.after and outcome.continued else 0
    counts.continued += outcome.continued
    counts.read += not outcome.continued
    counts.read_bytes += max(task.found.size - done, 0)


def _entry(
    comparison: FileComparison, manifest: Manifest, task: Task, outcome: Outcome, store: Store
) -> Entry:
    """The file as it is now known, what an earlier reading found of it included."""
    known = comparison.renamed.get(outcome.path) or manifest.entries.get(outcome.path)
    origin = next(iter(comparison.origins.get(outcome.path, ())), known)
    entry = Entry(
        path=task.found.path,  # another worker's text would be one more to hold
        file_id=task.file_id,
        size=task.found.size,
        mtime_ns=task.found.mtime_ns,
        inode=task.found.inode,
        device=task.found.device,
        beside=task.found.beside,
        encoded_place=encoded(outcome.place),
        rows=tuple(outcome.rows),
        tentative=tuple(outcome.tentative),
        code=comparison.code,
        known=comparison.is_known(outcome.path) or (known is not None and bool(known.known)),
    )
    if outcome.failed:
        # Whether it can be read may change without a trace in its size or time.
        entry.mtime_ns = -1
    was_begun = outcome.is_ours and outcome.place.source is not None
    if outcome.failed and known is not None and not was_begun:
        entry.encoded_place = known.encoded_place
        entry.rows, entry.deleted = known.rows, known.deleted
        entry.renamed, entry.code = _is_renamed(known, entry), known.code
        entry.older = known.older
    elif outcome.continued and origin is not None:
        entry.rows = (*origin.rows, *outcome.rows)
        entry.renamed = _is_renamed(origin, entry)
    elif known is not None and known.place.is_database and entry.place.is_database:
        entry.deleted, entry.older = keep_deleted(known, entry, store)
        entry.renamed = _is_renamed(known, entry)
    return entry


def _is_renamed(before: Entry, entry: Entry) -> bool:
    """Whether rows that are taken over from an entry name another path."""
    return before.renamed or before.path != entry.path


def _replaced(comparison: FileComparison, outcome: Outcome) -> set[str]:
    """Paths of entries that are proved to be this file, and are no longer there themselves."""
    origins = comparison.origins.get(outcome.path, [])
    first = origins[:1] if outcome.continued else []
    met = [
        each
        for each in origins
        if outcome.met.get((each.place.end, each.place.tail_length)) == each.place.tail
    ]
    return {each.path for each in [*first, *met] if each.path in comparison.gone}


def _as_found(comparison: FileComparison, entry: Entry, found: Found) -> Entry:
    """A file that only has another name than it had."""
    return msgspec.structs.replace(
        entry,
        path=found.path,
        size=found.size,
        mtime_ns=found.mtime_ns,
        inode=found.inode,
        device=found.device,
        beside=found.beside,
        gone=False,
        renamed=True,
        known=bool(entry.known) or comparison.is_known(found.path),
    )
