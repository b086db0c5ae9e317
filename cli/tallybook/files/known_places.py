"""The places known for each source, and what lies there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from tallybook.files.find import walk
from tallybook.files.regular import is_folder
from tallybook.sources import Location, Source, sources
from tallybook.urls import ObjectPath


class SourceSurvey(msgspec.Struct, frozen=True):
    """Where a source is looked for, and how many files lie in each of the folders that exist."""

    name: str
    title: str
    places: list[str]
    found: list[tuple[str, int]]


def known_places(environment: Mapping[str, str], home: Path) -> dict[str, list[Path]]:
    """Per source the folders where its logs lie, whether they exist or not."""
    return {
        name: _unique(
            place for location in source.locations for place in _places(location, environment, home)
        )
        for name, source in sources().items()
    }


class KnownPlaces:
    """Tells which paths lie in a known place, as it is spelled or where links lead.

    `searched` are paths that the user named; a link in the way to one of them is seen through.
    """

    def __init__(self, places: Iterable[Path], searched: Iterable[Path] = ()) -> None:
        spelled = {os.path.abspath(place) for place in places}  # noqa: PTH100 - keeps links
        real = {os.path.realpath(place) for place in spelled}
        self._places = tuple(_opening(place) for place in spelled | real)
        files = [root for root in searched if not isinstance(root, ObjectPath)]
        roots = [(str(root), os.path.realpath(root)) for root in files]
        self._aliases = [(root, real) for root, real in roots if root != real]

    def hold(self, path: str) -> bool:
        """Whether a file lies in one of them."""
        is_below = path.startswith(self._places)
        return is_below or (bool(self._aliases) and self._is_linked(path))

    def _is_linked(self, path: str) -> bool:
        return any(
            (real + path.removeprefix(root)).startswith(self._places)
            for root, real in self._aliases
            if path == root or path.startswith(_opening(root))
        )


def _opening(folder: str) -> str:
    return folder.rstrip(os.sep) + os.sep


def known_variables() -> list[str]:
    """The environment variables that decide where logs are looked for."""
    named = {
        name
        for source in sources().values()
        for location in source.locations
        for name in (location.variable, *(_variable(root) for root in location.roots))
    }
    return sorted(filter(None, named))


def _variable(root: str) -> str | None:
    return root[1:].partition("/")[0] if root.startswith("$") else None


def _unique(paths: Iterable[Path]) -> list[Path]:
    return list(dict.fromkeys(paths))


def _places(location: Location, environment: Mapping[str, str], home: Path) -> Iterator[Path]:
    named = environment.get(location.variable or "", "").strip()
    roots = [part.strip() for part in named.split(",") if part.strip()] if named else location.roots
    for root in roots:
        folder = _expand(root, environment, home)
        below = [folder / name for name in location.folders]
        if named and not any(map(is_folder, below)):
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
    found = [(str(place), len(walk([place]).files)) for place in places if is_folder(place)]
    return SourceSurvey(source.name, source.title, [str(place) for place in places], found)
