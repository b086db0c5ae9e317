"""Brings a manifest up to date with a comparison: reads what is new and says where its rows are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tallybook.files.engine import HERE, Engine
from tallybook.files.file_names import logical_name
from tallybook.files.find import Found
from tallybook.ledger.compare import FileComparison
from tallybook.ledger.gather import Gathered, Outcome, Task, as_task, gather
from tallybook.ledger.manifest import Entry, Manifest, name_once
from tallybook.ledger.store import Store
from tallybook.sources import sources
from tallybook.wording import counted

if TYPE_CHECKING:
    from tallybook.files.pool import Progress

Results = Iterator[tuple[Sequence[Found | Task], Gathered]]


class FileCounts(msgspec.Struct):
    """How many files were found to be what, and how many bytes were read for it."""

    unchanged: int = 0
    read: int = 0  # from the beginning
    continued: int = 0  # from where they ended
    moved: int = 0
    gone: int = 0
    read_bytes: int = 0


class EntryChanges(msgspec.Struct):
    """Entries to put into the manifest, and paths to take out of it; `notes` tell the user."""

    entries: dict[str, Entry] = {}
    removed: set[str] = set()
    counts: FileCounts = msgspec.field(default_factory=FileCounts)
    notes: list[str] = []

    def apply(self, manifest: Manifest) -> Manifest:
        """The next generation."""
        entries = self.entries  # where there were none
        if manifest.entries:
            left = {p: e for p, e in manifest.entries.items() if p not in self.removed}
            entries = left | entries
        return msgspec.structs.replace(
            manifest, generation=manifest.generation + 1, entries=entries
        )


def refresh(  # noqa: PLR0913, PLR0917 - what to read, where to put it, and who reads
    comparison: FileComparison,
    manifest: Manifest,
    store: Store,
    ledger: Path | None,
    progress: Progress | None = None,
    engine: Engine = HERE,
) -> EntryChanges:
    """Read what the comparison says into the store; `ledger` has the states of its readers.

    Raises OSError where the store cannot be written, TallybookError where the engine fails.
    """
    renamed = (entry.path for entry in comparison.renamed.values())
    changes = EntryChanges(removed={*comparison.superseded, *renamed})
    changes.counts.unchanged = len(comparison.unchanged)
    changes.entries |= _found_again(comparison)
    for entry, found in comparison.moved:
        changes.removed.add(entry.path)
        changes.entries[found.path] = _as_found(comparison, entry, found)
        changes.counts.moved += 1
    ready = store.with_states(comparison.tasks, ledger)
    for tasks, gathered in _gathered(ready, comparison.code, store, progress, engine, changes):
        store.take(gathered.part, gathered.table)
        store.take_states(gathered.states)
        for task, outcome in zip(map(as_task, tasks), gathered.outcomes, strict=True):
            _count(changes.counts, task, outcome)
            name_once(outcome.rows + outcome.tentative, {"": gathered.part})
            entry = _entry(comparison, manifest, task, outcome, store)
            changes.entries[entry.path] = entry
            if entry.path in comparison.origins:
                replaced = _replaced(comparison, entry.path, outcome)
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


def _gathered(  # noqa: PLR0913, PLR0917 - as `refresh`
    tasks: Sequence[Found | Task],
    code: str,
    store: Store,
    progress: Progress | None,
    engine: Engine,
    changes: EntryChanges,
) -> Results:
    """Groups of the files to read, with what reading them gave."""
    here: Sequence[Found | Task] = tasks
    if engine.scheduler is not None and tasks:
        from tallybook.ledger.afar import Afar  # noqa: PLC0415 - most runs read here

        here = [task for task in tasks if as_task(task).found.copy]  # of a pipe, which is here
        there = [task for task in tasks if not as_task(task).found.copy]
        afar = Afar(engine.scheduler, code, store)
        yield from afar.gathered(there, [_size(task) for task in there], progress, _load_chain)
        if afar.left:
            changes.notes.append(_left(len(afar.left), engine.scheduler))
        here += afar.left
    yield from _gathered_here(here, code, store, progress, engine.workers)


def _left(count: int, scheduler: str) -> str:
    workers = f"for the workers of {scheduler}"
    files = counted(count, "file")
    return f"{files} read here: {workers} out of sight, other than here, or not to be read"


def _gathered_here(
    tasks: Sequence[Found | Task],
    code: str,
    store: Store,
    progress: Progress | None,
    workers: int | None,
) -> Results:
    if not tasks:
        return iter(())
    from tallybook.files.pool import work_through  # noqa: PLC0415 - few looks read anything

    work = partial(gather, code=code, parts=store.parts, kept=store.kept is not None)
    # Rows in memory would have to be sent from process to process.
    most = workers if store.parts else 1
    sizes = [_size(task) for task in tasks]
    found = work_through(work, tasks, sizes, progress, most, meanwhile=_load_chain)
    return ((tasks[some.start : some.stop], gathered) for some, gathered in found)


def _load_chain() -> None:
    """Load what comes after the reading; it takes as long as reading 50 MB of logs."""
    import tallybook.derive.chain  # noqa: F401, PLC0415 - once the workers are forked


def _size(item: Found | Task) -> int:
    task = as_task(item)
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
    known = comparison.renamed.get(task.found.path) or manifest.entries.get(task.found.path)
    origin = next(iter(comparison.origins.get(task.found.path, ())), known)
    entry = Entry(
        path=task.found.path,  # another worker's text would be one more to hold
        file_id=outcome.file_id,
        size=task.found.size,
        mtime_ns=task.found.mtime_ns,
        inode=task.found.inode,
        device=task.found.device,
        beside=task.found.beside,
        encoded_place=_held_once(outcome.place),
        has_state=outcome.has_state,
        rows=outcome.rows,
        tentative=outcome.tentative,
        code=comparison.code,
        known=comparison.is_known(task.found.path) or (known is not None and bool(known.known)),
    )
    if outcome.failed:
        # Whether it can be read may change without a trace in its size or time.
        entry.mtime_ns = -1
    was_begun = outcome.is_ours and outcome.is_told
    if outcome.failed and known is not None and not was_begun:
        entry.encoded_place = known.encoded_place
        entry.rows, entry.deleted = known.rows, known.deleted
        entry.renamed, entry.code = _is_renamed(known, entry), known.code
        entry.removed, entry.older = known.removed, known.older
    elif outcome.continued and origin is not None:
        entry.rows = (*origin.rows, *outcome.rows)
        entry.renamed = _is_renamed(origin, entry)
        if origin.deleted:
            _keep_deleted(origin, entry, store)
    elif known is not None and _has_own_ids(known):
        _keep_deleted(known, entry, store)
        entry.renamed = _is_renamed(known, entry)
    return entry


@lru_cache(64)
def _held_once(place: bytes) -> msgspec.Raw:
    """An encoded place; where nobody goes on from it, it is the same for all files of a source."""
    return msgspec.Raw(place)


def _keep_deleted(known: Entry, entry: Entry, store: Store) -> None:
    from tallybook.ledger.deleted import keep_deleted  # noqa: PLC0415 - imports polars

    entry.deleted, entry.removed, entry.older = keep_deleted(known, entry, store)


def _has_own_ids(known: Entry) -> bool:
    """Whether a record that is no longer in a file can be told from one that was written anew."""
    place = known.place
    source = sources().get(place.source or "")
    if place.is_database or known.deleted or source is None:
        return place.is_database or bool(known.deleted)
    name = logical_name(Path(known.path)).name
    return any(fnmatchcase(name, pattern) for pattern in source.own_ids)


def _is_renamed(before: Entry, entry: Entry) -> bool:
    """Whether rows that are taken over from an entry name another path."""
    return before.renamed or before.path != entry.path


def _replaced(comparison: FileComparison, path: str, outcome: Outcome) -> set[str]:
    """Paths of entries that are proved to be this file, and are no longer there themselves."""
    origins = comparison.origins.get(path, [])
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
