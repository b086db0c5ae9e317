"""Compares what lies on disk with what the ledger holds: what is new, has grown, moved or gone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

import msgspec

from tallybook.errors import FAILURES
from tallybook.files.file_names import COMPRESSED, compression_of
from tallybook.files.find import Found, Search, look
from tallybook.files.resume import ReadPosition, encoded, head_of
from tallybook.ledger.digests import reading_digest
from tallybook.ledger.gather import Task
from tallybook.ledger.manifest import Entry, Manifest
from tallybook.sources import sources
from tallybook.urls import as_path, is_url


class FileComparison(msgspec.Struct):
    """What a run has to do to bring the ledger up to date, entries keyed by path.

    `origins` names, for a file to read, the entries that may be the same file under another path;
    it is read on from where the first of them ended. `code` is the digest of the code that reads;
    what other code has read is read afresh. `is_known` tells the paths in a known place.
    """

    code: str
    is_known: Callable[[str], bool]
    unchanged: dict[str, Entry] = {}
    moved: list[tuple[Entry, Found]] = []
    tasks: list[Found | Task] = []
    found: dict[str, Found] = {}
    origins: dict[str, list[Entry]] = {}
    renamed: dict[str, Entry] = {}  # by new path: to be read anew
    gone: dict[str, Entry] = {}
    superseded: dict[str, str] = {}  # by path its compressed copy


def compare_files(
    manifest: Manifest,
    search: Search,
    is_known: Callable[[str], bool],
    is_asked_for: Callable[[Entry], bool],
) -> FileComparison:
    """What is to be done for the files of a search, and for those that lay where was searched.

    `is_asked_for` tells which files that the ledger knows from elsewhere are looked at as well. The
    rest of the ledger is left alone.
    """
    found = dict(_as_known(search.found, manifest.entries))
    comparison = FileComparison(reading_digest(), is_known, found=found)
    roots = [str(root) for root in search.searched]
    candidates: list[Entry] = []
    for path, entry in manifest.entries.items():
        if path in comparison.found:
            continue
        below = any(_is_below(path, root) for root in roots)
        there = _listed(path, search) if is_url(path) else _look(path)
        if there is None:
            candidates.append(entry)
            if below or is_asked_for(entry):
                comparison.gone[path] = entry
        elif not below and is_asked_for(entry):  # below, the search had its reason to leave it out
            comparison.found[path] = there
    _compare(comparison, manifest, candidates)
    return comparison


def _as_known(found: Iterable[Found], known: Mapping[str, Entry]) -> Iterator[tuple[str, Found]]:
    """Files by path; those that the ledger knows as they are in its words, not to hold them twice.

    Of a small file path, size and time are half of what is held.
    """
    for each in found:
        entry = known.get(each.path)
        if entry is not None and entry.is_as(each) and not each.copy:
            each = entry.as_found()  # noqa: PLW2901 - the same
        yield each.path, each


def _is_below(path: str, root: str) -> bool:
    separator = "/" if is_url(root) else os.sep
    return path == root or path.startswith(root.rstrip(separator) + separator)


def _listed(path: str, search: Search) -> Found | None:
    """An object as it was, or None where it is gone, which only a listing tells."""
    failed = {str(each) for each, _ in search.failed}
    tops = {str(each) for each in search.searched} & search.folders.keys()
    is_told = path not in search.objects and any(_is_below(path, top) for top in tops - failed)
    return None if is_told else Found(path, -1, 0, 0, 0)


def _look(path: str) -> Found | None:
    """The file, or None where it is gone; one that cannot be looked at is taken as it was."""
    try:
        return look(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return Found(path, -1, 0, 0, 0)


def _compare(comparison: FileComparison, manifest: Manifest, vanished: list[Entry]) -> None:
    new: list[Found] = []
    changed: list[tuple[Entry, Found]] = []
    for path, found in comparison.found.items():
        entry = manifest.entries.get(path)
        if entry is None:
            new.append(found)
        elif found.size < 0 or (entry.is_as(found) and entry.code == comparison.code):
            comparison.unchanged[path] = entry
        else:
            changed.append((entry, found))
    # What was rotated away lies elsewhere now, and another file in its place.
    displaced = [e for e, found in changed if e.inode != found.inode or e.size > found.size]
    candidates = _Candidates([*vanished, *displaced], manifest.entries, new)
    taken = _place_new(comparison, new, candidates)
    for path in taken:
        comparison.unchanged.pop(path, None)
    for entry, found in changed:
        if entry.path in taken and entry.inode == found.inode:
            continue  # a link: the file is looked at under another name
        after = None if entry.path in taken else _after(comparison, entry)
        comparison.tasks.append(Task(found, after, _state_of(entry)))
    for path, entry in list(comparison.gone.items()):
        copy = _compressed_copy(entry, manifest.entries, comparison.found)
        if copy is not None:
            comparison.superseded[path] = copy.path
        if path in taken or path in comparison.superseded:
            comparison.gone.pop(path)


def _after(comparison: FileComparison, entry: Entry) -> ReadPosition | None:
    """Where a reading can go on; the state of other code means nothing to this one."""
    goes_on = entry.has_state and entry.code == comparison.code and not entry.place.is_database
    return entry.place if goes_on else None


def _state_of(entry: Entry) -> str | None:
    return entry.file_id if entry.has_state else None


class _Candidates:
    """Entries whose file is no longer where it was, and so may be one of the new ones."""

    def __init__(
        self, entries: Sequence[Entry], known: Mapping[str, Entry], new: Iterable[Found]
    ) -> None:
        wanted = {(found.device, found.inode) for found in new} if known else set()
        # A link to a known file is that file under another name.
        linked = (each for each in known.values() if wanted and not each.gone)
        self._inodes = {
            (each.device, each.inode): each
            for each in chain(linked, entries)
            if each.inode and (each.device, each.inode) in wanted
        }
        self._heads: dict[tuple[int, bytes], list[Entry]] = {}
        for entry in entries:
            if entry.place.head_length:
                key = entry.place.head_length, entry.place.head
                self._heads.setdefault(key, []).append(entry)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._inodes or self._heads)

    def by_inode(self, found: Found) -> Entry | None:
        """The entry of the same inode."""
        return self._inodes.get((found.device, found.inode))

    def by_head(self, path: str) -> list[Entry]:
        """Entries of files that began as this one does, the longest first."""
        if not self._heads:
            return []
        head = head_of(as_path(path))
        found = [
            entry
            for (length, digest), entries in self._heads.items()
            if length <= len(head) and ReadPosition.digest(head[:length]) == digest
            for entry in entries
        ]
        return sorted(found, key=lambda entry: (-entry.place.end, entry.path))


def _place_new(comparison: FileComparison, new: list[Found], candidates: _Candidates) -> set[str]:
    """Sorts new files into moved ones and such that are to be read; returns the paths taken up."""
    taken: set[str] = set()
    if not candidates:
        comparison.tasks += new
        return taken
    for found in new:
        entry = candidates.by_inode(found)
        if entry is not None and entry.path not in taken and _is_untouched(entry, found):
            taken.add(entry.path)
            if _says_the_same(comparison, entry, found):
                comparison.moved.append((entry, found))
            else:
                comparison.renamed[found.path] = entry
                comparison.tasks.append(found)
            continue
        origins = [each for each in candidates.by_head(found.path) if each.path not in taken]
        if entry is not None and entry.path not in taken and entry not in origins:
            origins.insert(0, entry)
        first = next((each for each in origins if _after(comparison, each)), None)
        probes = tuple({(each.place.end, each.place.tail_length) for each in origins})
        if first is not None:
            origins.insert(0, first)
            task = Task(found, first.place, _state_of(first), probes)
        else:
            task = Task(found, probes=probes)
        if origins:
            comparison.origins[found.path] = origins
        comparison.tasks.append(task if origins else found)
    return taken


def _is_untouched(entry: Entry, found: Found) -> bool:
    """Whether a file of the same inode only has another name."""
    return (entry.size, entry.mtime_ns) == (found.size, found.mtime_ns)


def _says_the_same(comparison: FileComparison, entry: Entry, found: Found) -> bool:
    """Whether a file that only has another name says the same under it."""
    source = sources().get(entry.place.source or "")
    if source is None or entry.place.is_database or entry.code != comparison.code:
        return False
    if compression_of(entry.path).lower() != compression_of(found.path).lower():
        return False
    from tallybook.files.read import facts  # noqa: PLC0415 - loads pyarrow, 0.06 s

    try:
        begun = encoded(source.begin(facts(source, found.path)))
    except Exception:  # the reading meets it again, and says so
        if FAILURES.raised:
            raise
        return False
    return ReadPosition.digest(begun) == entry.place.begun


def _compressed_copy(
    entry: Entry, known: Mapping[str, Entry], found: Mapping[str, Found]
) -> Entry | None:
    """The compressed copy that has taken the place of a plain file that is gone."""
    copies = (
        copy
        for copy in _compressed_copies(entry.path, known)
        if copy.place.head == entry.place.head and copy.place.end >= entry.place.end > 0
    )
    return next((copy for copy in copies if copy.path in found), None)


def _compressed_copies(path: str, known: Mapping[str, Entry]) -> Iterator[Entry]:
    return filter(None, (known.get(path + suffix) for suffix in COMPRESSED))
