"""Opens a ledger for a question: refreshes it, or answers aside where it cannot be written."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from tallybook.errors import TallybookError
from tallybook.files.find import Search, Verdicts, folders_of, walk
from tallybook.files.known_places import KnownPlaces, known_places, known_variables
from tallybook.files.pipes import copied
from tallybook.files.price_file import read_price_file
from tallybook.files.regular import is_folder
from tallybook.ledger import kept_prices
from tallybook.ledger.catalog import load, prepared, save
from tallybook.ledger.compare import FileComparison, compare_files
from tallybook.ledger.folder import Folder
from tallybook.ledger.gather import as_task
from tallybook.ledger.manifest import Damaged, Entry, Manifest
from tallybook.ledger.question import Question
from tallybook.ledger.refresh import EntryChanges, refresh
from tallybook.ledger.store import MANY_PARTS, PartDamaged, Store
from tallybook.names import path_of, text_of
from tallybook.urls import ObjectPath, as_path
from tallybook.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from tallybook.files.pool import Progress
    from tallybook.ledger.reading import Reading
    from tallybook.pricing.rates import Rates

# So long a run waits for another that writes; then it answers without writing.
LOCK_SECONDS: Final = 3.0
_LOST: Final = "the ledger was damaged where it has this file, and the file is gone"
_NO_COPIES: Final[Mapping[str, str]] = {}
T = TypeVar("T")


def usage(
    question: Question,
    progress: Progress | None = None,
    damaged: Collection[str] = (),
    copies: Mapping[str, str] = _NO_COPIES,
) -> Reading:
    """Reads what is new and gives all usage that the question is about.

    Raises TallybookError for a damaged price file; whatever is wrong with a log is a row, and with
    a ledger a word in `notes`. What lies in `damaged` parts is read again; `copies` says where the
    content of pipes lies. See `with_usage`.
    """
    stack = ExitStack()
    try:
        search = find(
            question.paths, question.environment, question.home, copies, _verdicts(question)
        )
        opened = _Opened(question, search, progress, stack, damaged)
        return opened.reading()
    except BaseException:
        stack.close()
        raise


def with_usage(
    question: Question, work: Callable[[Reading], T], progress: Progress | None = None
) -> T:
    """What `work` makes of the usage; it is begun again where it meets a damaged part.

    Pipes among the paths are read to their end first. Raises TallybookError as `usage` does, for
    such a pipe, and where a part stays damaged, or is as soon as it has been written.
    """
    damaged: set[str] = set()
    with copied(map(_absolute, question.paths or ())) as copies:
        while True:
            with usage(question, progress, damaged, copies) as reading:
                try:
                    return work(reading)
                except PartDamaged as error:
                    if error.name in damaged or reading.has_written(error.name):
                        raise TallybookError(f"the ledger cannot be used: part {error}") from error
                    damaged.add(error.name)


def _absolute(path: Path) -> Path:
    if isinstance(path, ObjectPath):
        return path
    return Path(os.path.abspath(path))  # noqa: PTH100 - keeps links


def find(
    paths: Sequence[Path] | None,
    environment: Mapping[str, str],
    home: Path,
    copies: Mapping[str, str] = _NO_COPIES,
    verdicts: Verdicts | None = None,
) -> Search:
    """The files below `paths`, or below the known places of every source; their paths are texts."""
    if paths is not None:
        return walk(map(_absolute, paths), by_hand=True, copies=copies, verdicts=verdicts)
    places = _known(environment, home)
    search = walk(sorted(set(filter(is_folder, places))))
    search.searched = [Path(text_of(str(place))) for place in dict.fromkeys(places)]
    return search


def _verdicts(question: Question) -> Verdicts:
    """What is remembered of the objects that may be any file, where some are looked at."""
    if question.ledger is None or not _has_objects(question.paths or ()):
        return {}
    from tallybook.ledger.looked_into import verdicts  # noqa: PLC0415 - few name a URL

    return verdicts(Folder(question.ledger).derived)


def _has_objects(paths: Iterable[Path]) -> bool:
    return any(isinstance(each, ObjectPath) for each in paths)


def _known(environment: Mapping[str, str], home: Path) -> list[Path]:
    """The known places of every source, absolute."""
    places = known_places(environment, home).values()
    return [_absolute(place) for found in places for place in found]


class _Opened:
    """One question on its way from a search to a reading."""

    def __init__(
        self,
        question: Question,
        search: Search,
        progress: Progress | None,
        stack: ExitStack,
        damaged: Collection[str],
    ) -> None:
        self.question = question
        self.search = search
        self.progress = progress
        self.stack = stack
        self.damaged = damaged
        self.notes: list[str] = []
        self.held: Manifest | None = None  # the manifest that names the corrections
        named = question.paths is not None
        places = _known(question.environment, question.home)
        self.known_places = KnownPlaces(places, search.searched if named else ())

    def reading(self) -> Reading:
        """Through the ledger, where there is one that can be used."""
        if self.question.ledger is None:
            return self._aside(Manifest(), None)
        folder = Folder(self.question.ledger)
        piped = [found.path for found in self.search.found if found.copy]
        if piped:
            # The path means another content the next time, so nothing can be known by it.
            self.notes.append(f"nothing is kept of what was read from {' and '.join(piped)}")
            return self._beside(folder)
        try:
            folder.make()
            with folder.lock(LOCK_SECONDS) as held:
                if held:
                    return self._within(folder)
            self.notes.append(f"another run is writing {folder.root}: answered without it")
        except Damaged as error:
            self.notes.append(f"the ledger is left alone, everything is read afresh: {error}")
            return self._aside(Manifest(), None)
        except OSError as error:
            words = error.strerror or str(error)
            self.notes.append(f"cannot write the ledger {folder.root}: {words}")
        return self._beside(folder)

    def _within(self, folder: Folder) -> Reading:
        """Reads into the ledger and commits; only one run at a time does."""
        try:
            return self._refreshed(folder)
        except (OSError, TallybookError):
            # What this run has written before the disk was full, or those who read were gone, is of
            # no use to any other.
            with suppress(Damaged, OSError):
                folder.sweep(load(folder.root)[0])
            raise

    def _refreshed(self, folder: Folder) -> Reading:
        before, damage = prepared(folder.root)
        if damage:
            self.notes.append(f"{damage}; what was sound is kept, the rest is read again")
        manifest = self._mended(before)
        comparison = self._compared(manifest)
        store = Store([], folder.parts, kept=folder.root)
        changes = self._read(comparison, manifest, store, folder.root)
        after = manifest
        if changes.entries or changes.removed or damage or manifest is not before:
            after = changes.apply(manifest)
            save(folder.root, after, before, store.states)
            if len(set(after.parts())) > MANY_PARTS:
                from tallybook.ledger.compacting import compacted  # noqa: PLC0415 - imports polars

                with suppress(PartDamaged, OSError):
                    fewer = compacted(folder, after)
                    fewer.generation += 1
                    save(folder.root, fewer, after)
                    after = fewer
            folder.sweep(after)
        if _has_objects(self.search.searched):
            from tallybook.ledger.looked_into import remember  # noqa: PLC0415 - few name a URL

            remember(folder.derived, self.search)
        self.held = after
        reading = self._reading(comparison, manifest, after, changes, store)
        reading.derived = folder.derived
        reading.is_settled = _is_settled(reading.entries, self.search)
        return reading

    def _read(
        self, comparison: FileComparison, manifest: Manifest, store: Store, states: Path | None
    ) -> EntryChanges:
        engine = self.question.engine
        changes = refresh(comparison, manifest, store, states, self.progress, engine)
        self.notes += changes.notes
        return changes

    def _beside(self, folder: Folder) -> Reading:
        """Uses what the ledger holds without writing to it."""
        try:
            manifest, _ = load(folder.root)
        except (Damaged, OSError):
            return self._aside(Manifest(), None)
        self.held = manifest
        return self._aside(manifest, folder)

    def _aside(self, manifest: Manifest, folder: Folder | None) -> Reading:
        """Reads into a folder of its own, or into memory what is little."""
        from tallybook.files.pool import is_pooled  # noqa: PLC0415 - as in `refresh`

        manifest = self._mended(manifest)
        comparison = self._compared(manifest)
        known = [folder.parts] if folder else []
        ledger = folder.root if folder else None
        if is_pooled([as_task(task).found.size for task in comparison.tasks]):
            try:
                store = Store(known, _aside(self.stack))
                changes = self._read(comparison, manifest, store, ledger)
                after = changes.apply(manifest)
                return self._reading(comparison, manifest, after, changes, store)
            except OSError as error:
                words = error.strerror or str(error)
                self.notes.append(f"cannot write aside, all is held in memory: {words}")
                self.stack.close()
        store = Store(known)
        changes = self._read(comparison, manifest, store, ledger)
        after = changes.apply(manifest)
        return self._reading(comparison, manifest, after, changes, store)

    def _mended(self, manifest: Manifest) -> Manifest:
        """Without what lies in damaged parts, and with it noted how each file came in."""
        for changed in (self._without_damaged, self._marked):
            if entries := changed(manifest):
                manifest = manifest.with_entries(entries)
        return manifest

    def _without_damaged(self, manifest: Manifest) -> list[Entry]:
        touched = manifest.touched(self.damaged) if self.damaged else []
        if touched:
            files = counted(len(touched), "file")
            self.notes.append(f"a part of the ledger is damaged: {files} read again")
        return touched

    def _compared(self, manifest: Manifest) -> FileComparison:
        compared = compare_files(manifest, self.search, self.known_places.hold, self._is_asked_for)
        # Not to be held twice; where the disk is full they are compared once more.
        self.search.found = [compared.found[each.path] for each in self.search.found]
        return compared

    def _is_asked_for(self, entry: Entry) -> bool:
        """Whether a file is meant that does not lie where was searched.

        What once lay in a known place is, whatever variable made it known.
        """
        return self.question.everything or (self.question.paths is None and bool(entry.known))

    def _marked(self, manifest: Manifest) -> list[Entry]:
        """Files of which an older program did not note how they came in: their place tells."""
        marked = [
            msgspec.structs.replace(entry, known=self.known_places.hold(entry.path))
            for entry in manifest.entries.values()
            if entry.known is None
        ]
        others = sum(not entry.known for entry in marked)
        if others:
            files = f"{counted(others, 'file')} of the ledger"
            self.notes.append(f"{files} outside the known places: from now on only --all has them")
        return marked

    def _reading(
        self,
        comparison: FileComparison,
        before: Manifest,
        after: Manifest,
        changes: EntryChanges,
        store: Store,
    ) -> Reading:
        # The logs are read before polars is imported: worker processes can then be forked at once.
        from tallybook.ledger.reading import Reading  # noqa: PLC0415 - see above

        folders = folders_of(comparison.found, self.search.folders)
        paths = {*comparison.found, *comparison.gone} - changes.removed
        entries: list[Entry] = [after.entries[path] for path in sorted(paths)]
        # All that is to be known of them their entries say, and there may be very many.
        self.search.found = []
        comparison.found.clear()
        comparison.tasks.clear()
        del paths
        _give_back_memory()
        if self.question.paths is not None:
            entries = [entry.as_it_is() if entry.deleted else entry for entry in entries]
        return Reading(
            entries=entries,
            searched=self.search.searched,
            store=store,
            rates=self._rates(),
            failed=_failed(self.search, entries),
            corrections=self._corrections(),
            apart=self.question.apart,
            foreign=self.search.foreign,
            not_looked_at=self.search.passed_over,
            folders=folders,
            missing=[
                *comparison.gone,
                *(
                    str(place)
                    for place in self.search.searched
                    if not os.path.lexists(path_of(str(place)))
                ),
            ],
            variables=known_variables(),
            counts=changes.counts,
            notes=self.notes,
            has_written=lambda part: part in after.parts() and part not in before.parts(),
            stack=self.stack,
        )

    def _rates(self) -> Rates:
        """Today's prices, which are kept for another day, or those of the day that is asked for."""
        from tallybook.pricing.rates import load  # noqa: PLC0415 - as above

        question = self.question
        folder = Folder(question.ledger).prices if question.ledger else None
        if question.prices_at is not None and folder is not None:
            rates, note = kept_prices.at(folder, question.prices_at)
            self.notes += [note] if note else []
            return rates
        rates = load(question.cache, question.price_file, read_price_file)
        if folder is not None:
            kept_prices.keep(folder, rates)
        return rates

    def _corrections(self) -> pa.Table | None:
        """What backfill has recorded, unless the question is what the logs themselves record."""
        if self.question.ledger is None or self.question.as_recorded:
            return None
        if self.held is not None and not self.held.corrections:
            return None
        from tallybook.ledger.corrections import corrections  # noqa: PLC0415 - loads pyarrow

        try:
            return corrections(self.question.ledger, self.held)
        except TallybookError as error:
            self.notes.append(f"without backfill: {error.message}")
            return None


def _aside(stack: ExitStack) -> Path:
    """A folder of this run's own that is removed at its end. Raises OSError."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tallybook-")))


def _give_back_memory() -> None:
    """What reading took and freed, which pyarrow keeps; polars has an allocator of its own."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None:
        pyarrow.default_memory_pool().release_unused()


def _is_settled(entries: Sequence[Entry], search: Search) -> bool:
    """Whether all could be read, and a look at files tells whether it is as it was.

    What could not be read may be readable tomorrow, unchanged.
    """
    if _has_objects(search.searched):
        return False
    return not search.failed and all(entry.mtime_ns >= 0 for entry in entries)


def _failed(search: Search, entries: Sequence[Entry]) -> pa.Table | None:
    """A row for each path that could not be entered, or whose rows were lost."""
    problems = [(path, "unreadable", words) for path, words in search.failed]
    problems += [(as_path(entry.path), "lost", _LOST) for entry in entries if entry.lost]
    if not problems:
        return None
    import pyarrow as pa  # noqa: PLC0415 - takes 0.06 s

    from tallybook.files.read import located_problem  # noqa: PLC0415 - as above

    return pa.concat_tables(located_problem(*each) for each in problems)
