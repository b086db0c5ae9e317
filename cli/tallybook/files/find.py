"""Where logs are looked for: the paths a user gives, and the places known for each source."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from tallybook.files.blocks import DAMAGE, blocks, open_log
from tallybook.sources import Location, Source, claims, sources

COMPRESSED = (".gz", ".zst")
HEAD_BYTES = 256 << 10  # what a source recognises a file by
# Folders of tools that unpack foreign files by the thousand and never hold a log.
_NEVER = frozenset({".git", "node_modules", "__pycache__", ".venv"})


@dataclass(slots=True)
class Search:
    """What a walk found: files in path order with their sizes, and what could not be entered."""

    files: list[tuple[Path, int]] = field(default_factory=list)
    searched: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SourceSurvey:
    """Where a source is looked for, and how many files lie in each of the folders that exist."""

    name: str
    title: str
    places: list[str]
    found: list[tuple[str, int]]


def walk(paths: Iterable[Path]) -> Search:
    """Every file below `paths` that some source's name patterns fit, each once.

    Links are followed; a file or folder that is reached twice counts once. A path that names a file
    is taken whatever its name; below a folder a name of any sort of file is taken only where a
    source claims what is in it. The compressed twin of a plain file is left out where its tool
    writes both for a moment and goes by the plain one.
    """
    search = Search()
    seen: set[tuple[int, int]] = set()
    for path in paths:
        search.searched.append(path)
        _enter(path, search, seen, named=True)
    search.files.sort()
    plain = {path for path, _ in search.files}
    search.files = [
        (path, size)
        for path, size in search.files
        if path.suffix != ".zst" or path.with_suffix("") not in plain
    ]
    return search


def _enter(path: Path, search: Search, seen: set[tuple[int, int]], *, named: bool) -> None:
    pending = [path]
    while pending:
        here = pending.pop()
        try:
            state = here.stat()
            identity = (state.st_dev, state.st_ino)
            if identity in seen and state.st_ino:
                continue
            seen.add(identity)
            if here.is_dir():
                pending.extend(_entries(here))
            elif (named and here == path) or (is_log_name(here) and not _is_quiet(here)):
                search.files.append((here, state.st_size))
        except OSError as error:
            search.failed.append((here, error.strerror or str(error)))


def _entries(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [
            folder / entry.name
            for entry in sorted(entries, key=lambda entry: entry.name, reverse=True)
            if (entry.name not in _NEVER if _is_dir(entry) else is_log_name(folder / entry.name))
        ]


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def logical_name(path: Path) -> Path:
    """The path without its compression suffix."""
    return path.with_suffix("") if path.suffix in COMPRESSED else path


def is_log_name(path: Path) -> bool:
    """Whether some source wants a look at a file of this name."""
    plain = logical_name(path)
    text = plain.as_posix()
    wanted = any(
        fnmatchcase(plain.name, pattern)
        for source in sources().values()
        for pattern in source.patterns
    )
    return wanted and not _is_ignored(text)


def _is_quiet(path: Path) -> bool:
    """Whether only patterns that fit any sort of file fit its name, and no source claims it.

    A file that cannot be opened is no quiet one: nobody knows what it is.
    """
    name = logical_name(path).name
    fitting = [
        pattern in source.quiet
        for source in sources().values()
        for pattern in source.patterns
        if fnmatchcase(name, pattern)
    ]
    if not all(fitting):
        return False
    try:
        with open_log(path) as read:
            return not claims(next(blocks(read), b"")[:HEAD_BYTES])
    except DAMAGE:
        return False


def _is_ignored(text: str) -> bool:
    """A source's own metadata is no log for the others either."""
    return any(
        fnmatchcase(text, f"*/{ignored}")
        for source in sources().values()
        for ignored in source.ignores
    )


def known_places(environment: Mapping[str, str], home: Path) -> dict[str, list[Path]]:
    """Per source the folders where its logs lie, whether they exist or not."""
    return {
        name: _unique(
            place for location in source.locations for place in _places(location, environment, home)
        )
        for name, source in sources().items()
    }


def _unique(paths: Iterable[Path]) -> list[Path]:
    return list(dict.fromkeys(paths))


def _places(location: Location, environment: Mapping[str, str], home: Path) -> Iterator[Path]:
    named = environment.get(location.variable or "", "").strip()
    roots = [part.strip() for part in named.split(",") if part.strip()] if named else location.roots
    for root in roots:
        folder = _expand(root, environment, home)
        below = [folder / name for name in location.folders]
        if named and not any(path.is_dir() for path in below):
            yield folder
        else:
            yield from below or [folder]


def _expand(root: str, environment: Mapping[str, str], home: Path) -> Path:
    if root.startswith("~/") or root == "~":
        return home / root[2:]
    if root.startswith("$"):
        variable, _, rest = root[1:].partition("/")
        default = {"XDG_CONFIG_HOME": ".config", "XDG_DATA_HOME": ".local/share"}
        base = environment.get(variable) or home / default.get(variable, "")
        return Path(base) / rest
    return Path(root)


def survey(environment: Mapping[str, str], home: Path) -> list[SourceSurvey]:
    """For every source the places it is looked for, and what is there now."""
    places = known_places(environment, home)
    return [_survey(source, places[name]) for name, source in sources().items()]


def _survey(source: Source, places: Sequence[Path]) -> SourceSurvey:
    found = [(str(place), len(walk([place]).files)) for place in places if place.is_dir()]
    return SourceSurvey(source.name, source.title, [str(place) for place in places], found)
