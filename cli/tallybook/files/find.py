"""Finds the logs below the paths that are given, as quickly as folders can be looked at."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from tallybook.files.file_names import (
    WRITE_AHEAD,
    ZSTD,
    compression_of,
    folders_of_copies,
    holds_no_logs,
    is_ignored,
    join,
    names_beside,
    names_of_any_file,
    names_of_logs,
    plain_name,
    suffix_of,
)
from tallybook.files.regular import NotRegularError
from tallybook.names import path_of, text_of
from tallybook.urls import as_path, as_text, is_url

if TYPE_CHECKING:
    from tallybook.files.objects import Listing, ObjectEntry, ObjectState

# Folders of tools that unpack foreign files by the thousand and never hold a log.
_NEVER = frozenset({".git", "node_modules", "__pycache__", ".venv"})
_OF_A_DATABASE = (WRITE_AHEAD, "-shm", "-journal")
# A ledger of ours may lie among the logs; what it holds is none, and other after every run.
_OF_A_LEDGER: Final = frozenset({"lock", "parts", "derived", "answers"})
# What may be a log among other things. It is looked into where the user names the folder.
_OFFERED: Final = frozenset({"", ".log", ".txt", ".chunks"})

Neighbours = tuple[tuple[str, int, int], ...]  # name, size, mtime in ns
# Of a folder by name. One that was asked for its state keeps it, 1 KB; so the logs' are let go.
Entries = dict[str, "os.DirEntry[str] | ObjectEntry | None"]


class Found(msgspec.Struct, frozen=True, order=True, gc=False):
    """A file as a look at its folder shows it; all that tells whether it has changed."""

    path: str
    size: int
    mtime_ns: int
    inode: int
    device: int
    beside: Neighbours = ()  # the small files that say something about this one
    copy: str = ""  # where the content of a pipe lies


_devices: Final[dict[int, int]] = {}  # the number of each, held once for all of its files
# By URL size and mark of an object that may be any file, and whether a source claims it.
Verdicts = dict[str, tuple[int, int, bool]]
_NO_COPIES: Final[Mapping[str, str]] = {}
State: TypeAlias = "os.stat_result | ObjectState"


class Search(msgspec.Struct):
    """What a walk found, in path order, and what could not be entered; paths as texts, see `names`.

    `folders` are those that were entered, with their mtime in ns: a file comes or goes only with
    its folder's mtime. `objects` are the URLs of all that lies in the storage that was named, and
    `verdicts` what is known of some. `foreign` files were looked into and left out. `passed_over`
    counts them and
    all whose name says that they are no logs by suffix (lower case, "" for none), and folders that
    are never entered by name (`.git/`). Files that a tool is known to keep beside its logs, and
    that hold no usage, are not in it.
    """

    found: list[Found] = []
    searched: list[Path] = []
    failed: list[tuple[Path, str]] = []
    folders: dict[str, int] = {}
    objects: set[str] = set()
    verdicts: Verdicts = {}
    foreign: list[Found] = []
    passed_over: dict[str, int] = {}

    @property
    def files(self) -> list[tuple[Path, int]]:
        """The files with their sizes in bytes."""
        return [(Path(each.path), each.size) for each in self.found]

    def pass_over(self, key: str) -> None:
        """Count one more file of this suffix, or folder of this name."""
        self.passed_over[key] = self.passed_over.get(key, 0) + 1


def walk(
    paths: Iterable[Path],
    *,
    by_hand: bool = False,
    copies: Mapping[str, str] = _NO_COPIES,
    verdicts: Verdicts | None = None,
) -> Search:
    """Every file below `paths` that some source's name patterns fit, each once.

    In folders that the user named (`by_hand`) a file that may be anything by its name is a log
    where a source claims what is in it. `copies` says where the content of pipes lies, `verdicts`
    what an earlier walk has told of objects.

    Links are followed; a file or folder that is reached twice counts once. A path that names a file
    is taken whatever its name; below a folder a name of any sort of file is taken only where a
    source claims what is in it. The compressed copy of a plain file is left out where its tool
    writes both for a moment and goes by the plain one.
    """
    searched = [as_path(as_text(path)) for path in paths]
    search = Search(searched=searched, verdicts=dict(verdicts or {}))
    look_around = _LookAround(search, by_hand=by_hand)
    for path in search.searched:
        _enter(str(path), look_around, copies)
    search.found.sort()
    search.found = _without_compressed(search.found)
    search.passed_over = dict(sorted(search.passed_over.items()))
    return search


def _without_compressed(found: list[Found]) -> list[Found]:
    """The files without those whose plain form is there."""
    packed = {each.path for each in found if each.path.lower().endswith(ZSTD)}
    if not packed:
        return found
    paths = {each.path for each in found}
    twice = {path for path in packed if path[: -len(ZSTD)] in paths}
    return [each for each in found if each.path not in twice]


def look(path: str) -> Found:
    """One file as it is now, with what lies beside it. Raises OSError."""
    state = _state(path)
    folder, name = os.path.split(path)
    beside = tuple(
        (each, there.st_size, there.st_mtime_ns)
        for each in _names_beside(name, folder, {})
        if (there := _stat(join(folder, each))) is not None
    )
    return _found(path, state, beside)


def _names_beside(name: str, folder: str, listed: Listing) -> list[str]:
    """What says something about a file of a folder, with the copies of it: they may change too."""
    names = names_beside(name)
    if not names:
        return names
    copies = (
        f"{each}/{one}"
        for each in folders_of_copies(plain_name(name))
        for one in _in(join(folder, each), listed)
    )
    # The folder too: where there is no copy in it, one may come.
    return [*names, *(other for copy in copies for other in (copy, f"{copy}/{name}"))]


def _in(folder: str, listed: Listing) -> list[str]:
    """The names in a folder, none of one that is not there."""
    if is_url(folder):
        places = (each.rpartition("/") for each in listed)
        return sorted(name for above, _, name in places if above == folder)
    try:
        return sorted(map(text_of, os.listdir(path_of(folder))))
    except OSError:
        return []


def _state(path: str) -> State:
    if is_url(path):
        from tallybook.files import objects  # noqa: PLC0415 - few name a URL

        return objects.look(path)
    return os.stat(path_of(path))


def _stat(path: str) -> State | None:
    try:
        return _state(path)
    except OSError:
        return None


def _found(path: str, state: State, beside: Neighbours) -> Found:
    device = _devices.setdefault(state.st_dev, state.st_dev)
    return Found(path, state.st_size, state.st_mtime_ns, state.st_ino, device, beside)


def _enter(top: str, look_around: _LookAround, copies: Mapping[str, str]) -> None:
    """Takes a file as it is named, or all that lies below a folder."""
    search = look_around.search
    begun = _take_named(top, look_around, copies)
    pending = [(top, begun)] if begun is not None else []
    while pending:
        folder, state = pending.pop()
        if not look_around.is_new(state):
            continue
        try:
            here = look_around.entries(folder)
        except OSError as error:
            search.failed.append((as_path(folder), error.strerror or str(error)))
            here = {}
        if not here.keys() >= _OF_A_LEDGER:
            search.folders[folder] = state.st_mtime_ns
            pending += reversed(list(look_around(folder, here)))


def _take_named(top: str, look_around: _LookAround, copies: Mapping[str, str]) -> State | None:
    """Takes a file whatever its name; the state of what is a folder."""
    found = look_around.search.found
    try:
        state = os.stat(copies[top]) if top in copies else _state(top)
        if top in copies:
            if look_around.is_new(state):
                found.append(Found(top, state.st_size, state.st_mtime_ns, 0, 0, copy=copies[top]))
        elif stat.S_ISDIR(state.st_mode):
            return state
        elif not stat.S_ISREG(state.st_mode):
            raise NotRegularError(top)
        elif look_around.is_new(state):
            found.append(look(top))
    except OSError as error:
        look_around.search.failed.append((as_path(top), error.strerror or str(error)))
    return None


def _entries(folder: str) -> Entries:
    """What lies in a folder, by name and in its order. Raises OSError."""
    with os.scandir(path_of(folder)) as scanned:
        entries = sorted(scanned, key=attrgetter("name"))
    return {text_of(entry.name): entry for entry in entries}


class _LookAround:
    """Takes the logs of one folder after the other into a search, each file and folder once."""

    def __init__(self, search: Search, *, by_hand: bool) -> None:
        self.search = search
        self._by_hand = by_hand
        self._named: dict[str, set[str]] = {}  # names by folder
        for path in search.searched:
            self._named.setdefault(str(path.parent), set()).add(path.name)
        self._seen: dict[int, set[int]] = {}  # inodes by device
        self._beside: set[str] = set()  # what says something about a log
        self._listed: Listing = {}  # of the storage that is walked through

    def entries(self, folder: str) -> Entries:
        """What lies in a folder, by name and in its order. Raises OSError."""
        if not is_url(folder):
            return _entries(folder)
        from tallybook.files import objects  # noqa: PLC0415 - few name a URL

        folder = folder.rstrip("/")
        if folder not in self._listed:
            self._listed = objects.listing(folder)
            self.search.objects |= objects.objects_of(self._listed)
        return dict(self._listed[folder])

    def is_new(self, state: State) -> bool:
        """Whether a file or folder is met for the first time."""
        inode = state.st_ino
        seen = self._seen.setdefault(state.st_dev, set())
        if inode in seen:
            return not inode
        seen.add(inode)
        return True

    def __call__(self, folder: str, here: Entries) -> Iterator[tuple[str, State]]:
        """Takes the logs of a folder; yields the folders in it."""
        loud, is_barren, within = names_of_logs(), holds_no_logs(folder), join(folder, "")
        left: list[str] = []
        self._beside.clear()
        for name, entry in here.items():
            try:
                assert entry is not None  # noqa: S101 - for the type checker
                if entry.is_dir():
                    if name in _NEVER:
                        self.search.pass_over(f"{name}/")
                    else:
                        yield within + name, entry.stat()
                    continue
                plain = plain_name(name)
                is_loud = bool(loud(plain))
                if is_barren or (is_loud and is_ignored(folder, plain)):
                    continue
                if is_loud or self._may_be_one(folder, plain):
                    self._take(within, name, here, is_loud=is_loud, left=left)
                else:
                    left.append(name)
            except OSError as error:
                failed = as_path(join(folder, name))
                self.search.failed.append((failed, error.strerror or str(error)))
        self._pass_over(folder, left, here)

    def _may_be_one(self, folder: str, plain: str) -> bool:
        """Whether a file may be a log, as a file of any sort may."""
        is_quiet = self._by_hand and suffix_of(plain) in _OFFERED
        return (is_quiet or bool(names_of_any_file()(plain))) and not is_ignored(folder, plain)

    def _take(
        self, within: str, name: str, here: Entries, *, is_loud: bool, left: list[str]
    ) -> None:
        """Takes a file of a folder if it is a log, else leaves its name. Raises OSError."""
        path, entry = within + name, here[name]
        assert entry is not None  # noqa: S101 - for the type checker
        state = entry.stat()
        here[name] = None
        is_regular = stat.S_ISREG(state.st_mode)
        if not is_loud and (not is_regular or self._is_foreign(path, state)):
            self.search.foreign.append(_found(path, state, ()))
            left.append(name)
            return
        if not is_regular:
            raise NotRegularError(path)
        if self.is_new(state):
            names = _names_beside(name, within.removesuffix("/"), self._listed)
            beside = _beside(names, within, here, self._listed) if names else ()
            self.search.found.append(_found(path, state, beside))
            if beside:
                self._beside.update(name for name, _, _ in beside)

    def _is_foreign(self, path: str, state: State) -> bool:
        """Whether no source claims a file; what cannot be read is none, nobody knows."""
        from tallybook.files.told import is_claimed  # noqa: PLC0415 - few files ask for it

        if not is_url(path):
            return is_claimed(Path(path)) is False
        known = self.search.verdicts.get(path)
        if known is None or known[:2] != (state.st_size, state.st_mtime_ns):
            from tallybook.files import objects  # noqa: PLC0415 - few name a URL

            for _ in objects.ahead([(path, state.st_size)]):  # in one request, if it is small
                claimed = is_claimed(as_path(path))
            if claimed is None:
                return False
            known = self.search.verdicts[path] = (state.st_size, state.st_mtime_ns, claimed)
        return not known[2]

    def _pass_over(self, folder: str, names: Iterable[str], here: Entries) -> None:
        """Count files that are no logs, but for those which are read with a log, or by name."""
        known = self._beside | self._named.get(folder, set())
        for name in names:
            if name in known or (name.endswith(_OF_A_DATABASE) and _is_index(name, here)):
                continue
            plain = plain_name(name)
            if not is_ignored(folder, plain):
                self.search.pass_over(suffix_of(plain) + compression_of(name).lower())


def _is_index(name: str, here: Entries) -> bool:
    """Whether SQLite keeps the file for a database beside it."""
    return any(name.endswith(each) and name.removesuffix(each) in here for each in _OF_A_DATABASE)


def _beside(names: list[str], within: str, here: Entries, listed: Listing) -> Neighbours:
    states = [(each, _state_of(each, within, here, listed)) for each in names]
    return tuple((each, state.st_size, state.st_mtime_ns) for each, state in states if state)


def _state_of(name: str, within: str, here: Entries, listed: Listing) -> State | None:
    entry = here.get(name)
    if entry is not None:
        return entry.stat()
    if is_url(within):
        above, _, name = f"{within}{name}".rpartition("/")
        there = listed.get(above, {}).get(name)
        return there.stat() if there else None
    return _stat(within + name) if name in here or "/" in name else None


def folders_of(paths: Iterable[str], known: Mapping[str, int]) -> dict[str, int]:
    """The folders of files, and those where something may come to lie beside them; with mtime.

    `known` are those of which the time is known.
    """
    folders = set()
    for path in paths:
        if is_url(path):
            continue  # no folder there has a time
        folder, name = os.path.split(path)
        folders.add(folder)
        beside = [os.path.dirname(other) for other in names_beside(name) if "/" in other]
        folders.update(join(folder, other) for other in beside)
    states = ((folder, _stat(folder)) for folder in sorted(folders - known.keys()))
    return {folder: state.st_mtime_ns for folder, state in states if state} | dict(known)
