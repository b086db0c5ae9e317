"""Would play deer-flow, which its registry does not have: the packages of its name are empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.clients.play import Play
from tests.clients.room import NotPlayed, Room

PACKAGE: Final = "deerflow-harness"
REGISTRY: Final = "pip"
VERSIONS: Final[tuple[str, ...]] = ()


def play(room: Room, version: str) -> Iterator[Play]:
    """Install a version, and say why it is not played."""
    programs = room.pip(PACKAGE, version)
    modules = [one for one in programs.parent.rglob("deerflow*/*.py") if one.stat().st_size > 200]
    raise NotPlayed("no scenario is written" if modules else "the registry has an empty package")
    yield  # it is a generator, as every client's


def upgrade(room: Room, old: str, new: str) -> Iterator[Play]:
    """Nothing, for no version is played."""
    del room, old, new
    yield from ()
