"""Keeps what was derived, a component at a time; all of it can be thrown away and derived again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import polars as pl

from tallybook.ledger.manifest import Damaged, Entry, Segment, name_once, sealed, unsealed
from tallybook.ledger.part_files import is_whole, openable, put_in_place
from tallybook.ledger.rows import cover, pick
from tallybook.ledger.store import PartDamaged
from tallybook.private import aside, read_own, write_aside

_INDEX: Final = "index"
_KIND: Final = b"derived"
_ORPHAN_SECONDS: Final = 3600
_MANY_PACKS: Final = 64
_LARGEST: Final = 16
_LEAST_ROWS: Final = 100_000
_GROUP_ROWS: Final = 16_384  # as many of a pack as are looked at together, at least


class Component(NamedTuple):
    """Files, or some rows of them, that can influence each other and nobody else."""

    name: str  # changes with anything that the derived rows depend on
    entries: list[Entry]
    rows: int
    is_stretch: bool = False  # other rows of the files are in other components


def component(entries: list[Entry], salt: str, *, is_stretch: bool = False) -> Component:
    """The component of some files; `salt` stands for all else that the derived rows depend on."""
    facts = [
        (entry.path, [(part.part, part.start, part.rows) for part in entry.segments()])
        for entry in entries
    ]
    name = blake2b(f"{salt} {facts!r}".encode(), digest_size=16).hexdigest()
    rows = sum(part.rows for e in entries for part in e.segments())
    return Component(name, entries, rows, is_stretch)


class Derived:
    """Derived rows by the name of their component.

    Without a folder nothing is kept. Whatever goes wrong with the folder costs time only.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: dict[str, Segment] = _read_index(folder) if folder else {}
        self._is_changed = False

    def has(self, name: str) -> bool:
        """Whether the rows of a component are there."""
        return name in self._known

    def rows(
        self, components: Sequence[Component], columns: Sequence[str] | None
    ) -> Iterator[tuple[list[str], pl.DataFrame]]:
        """The rows of those components that are there, with the names of these in their order.

        What cannot be read is forgotten.
        """
        packs: dict[str, list[str]] = {}
        for each in components:
            if each.name in self._known:
                packs.setdefault(self._known[each.name].part, []).append(each.name)
        for pack, names in packs.items():
            segments = [self._known[name] for name in names]
            try:
                self._check(pack)
                first, count = cover(segments)
                found = pick(self._load(pack, first, count, columns), segments, first)
            except (pl.exceptions.PolarsError, OSError, ValueError):
                for name in names:
                    del self._known[name]
                continue
            yield names, found

    def slices(
        self, component: Component, most: int, columns: Sequence[str] | None
    ) -> Iterator[pl.DataFrame]:
        """The rows of a large component, `most` at a time; none where they are not there.

        Raises PartDamaged where they went away after it had begun.
        """
        if component.name not in self._known:
            return
        pack, begin, rows = msgspec.structs.astuple(self._known[component.name])
        try:
            self._check(pack)
        except (OSError, ValueError):
            del self._known[component.name]
            return
        for start in range(0, rows, most):
            try:
                yield self._load(pack, begin + start, min(most, rows - start), columns)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise PartDamaged(pack, str(error).partition("\n")[0]) from error

    def _check(self, pack: str) -> None:
        assert self._folder is not None  # noqa: S101 - for the type checker
        if not is_whole(self._folder / pack):
            raise ValueError(pack)

    def _load(
        self, pack: str, first: int, rows: int, columns: Sequence[str] | None
    ) -> pl.DataFrame:
        assert self._folder is not None  # noqa: S101 - for the type checker
        found = pl.scan_parquet(openable(self._folder / pack), glob=False).slice(first, rows)
        return (found if columns is None else found.select(columns)).collect()

    def add(self, rows: pl.DataFrame, components: Sequence[Component]) -> None:
        """Keep derived rows, which stand in the order of their components."""
        if self._folder is None:
            return
        try:
            with aside(self._folder) as path:
                with path.open("r+b") as stream:
                    rows.write_parquet(
                        stream, compression="lz4", statistics=False, row_group_size=_GROUP_ROWS
                    )
                name = put_in_place(path)
        except (OSError, pl.exceptions.PolarsError):  # the latter where the disk is full
            self._folder = None
            return
        start = 0
        for each in components:
            self._known[each.name] = Segment(name, start, each.rows)
            start += each.rows
        self._is_changed = True

    def close(self, names: Iterable[str]) -> None:
        """Write down where the rows are; `names` are the components of this run."""
        if self._folder is None or not self._is_changed:
            return
        packs: dict[str, int] = {}
        for segment in self._known.values():
            packs[segment.part] = packs.get(segment.part, 0) + segment.rows
        used = {self._known[name].part for name in names if name in self._known}
        kept = _worth_keeping(packs, used)
        index = {name: known for name, known in self._known.items() if known.part in kept}
        with suppress(OSError):
            write_aside(self._folder / _INDEX, sealed(_KIND, msgspec.msgpack.encode(index)))
            _sweep(self._folder, kept)


def _worth_keeping(packs: dict[str, int], used: Set[str]) -> set[str]:
    """Of packs with their rows, oldest first: those in use, and about as many rows more.

    Where many small ones are in use, all but the largest are derived again, into one.
    """
    kept = [name for name in used if packs[name] >= _GROUP_ROWS]
    small = sorted(used - {*kept}, key=lambda name: -packs[name])
    kept += small[:_LARGEST] if len(small) > _MANY_PACKS else small
    room = max(sum(packs[name] for name in used), _LEAST_ROWS)
    for name in reversed(packs):
        if name not in used and packs[name] <= room:
            room -= packs[name]
            kept.append(name)
    return set(kept)


def _read_index(folder: Path) -> dict[str, Segment]:
    try:
        payload = unsealed(_KIND, read_own(folder / _INDEX))
        index = msgspec.msgpack.decode(payload, type=dict[str, Segment])
        name_once(index.values(), {})
        return index
    except (OSError, Damaged, msgspec.MsgspecError):
        return {}


def _sweep(folder: Path, kept: set[str]) -> None:
    """Remove packs that nothing refers to and that no run can be about to refer to."""
    before = time.time() - _ORPHAN_SECONDS
    for path in folder.iterdir():
        if path.name not in kept and path.suffix == ".parquet":
            with suppress(OSError):
                if path.stat().st_mtime < before:
                    path.unlink()
