"""Keeps settled rows with their prices, by component; all of it can be derived again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from zlib import crc32

import msgspec
import polars as pl

from tallybook.ledger.manifest import Damaged, Entry, Segment, name_once, sealed, unsealed
from tallybook.ledger.part_files import openable
from tallybook.ledger.store import PartDamaged
from tallybook.private import aside, open_regular, read_own, write_aside

_INDEX: Final = "index"
_KIND: Final = b"priced"
_ORPHAN_SECONDS: Final = 3600
_MANY_PACKS: Final = 8  # each takes a report some milliseconds
_LEAST_ROWS: Final = 100_000
_GROUP_ROWS: Final = 16_384  # as many of a pack as are looked at together, at least
_ROW: Final = "row"
_MOST_TOGETHER: Final = 65_536  # rows of packs that become one
_SETS: Final = 8
_MOST_PARTS: Final = 4096
_BLOCK_BYTES: Final = 1 << 20
# Other libraries cannot read a file with whole numbers of 128 bits in it.
_KEPT_FEMTO: Final = pl.Decimal(38, 0)
T = TypeVar("T")


class _Pack(msgspec.Struct, array_like=True):
    """What tells damage of a file, and how many rows it has."""

    check_sum: int
    rows: int


class _Index(msgspec.Struct):
    """Where rows are: by the digest of their prices and the name of their component.

    `sets` names the components of what was asked for last, by all that they are made of; `parts`
    are those of the ledger in the order in which they came.
    """

    known: dict[str, dict[str, Segment]] = {}
    sets: dict[str, list[str]] = {}
    parts: list[str] = []
    packs: dict[str, _Pack] = {}


class Component(NamedTuple):
    """Files, or some rows of them, that can influence each other and nobody else.

    Of files that grew it may be a piece, with the name of all their rows as a component in `of`.
    """

    name: str  # changes with anything that the derived rows depend on
    entries: list[Entry]
    rows: int
    is_stretch: bool = False  # other rows of the files are in other components
    of: str = ""


def component(
    entries: list[Entry], salt: str, *, is_stretch: bool = False, of: str = ""
) -> Component:
    """The component of some files; `salt` stands for all else that the derived rows depend on."""
    rows = sum(part.rows for e in entries for part in e.segments())
    return Component(name_of(entries, salt), entries, rows, is_stretch, of)


def name_of(entries: Iterable[Entry], salt: str) -> str:
    """A name that changes with the rows of some files, their paths, and the `salt`."""
    digest = blake2b(salt.encode(), digest_size=16)
    for entry in entries:
        digest.update(msgspec.msgpack.encode((entry.path, entry.segments())))
    return digest.hexdigest()


class Derived:
    """Priced rows by the name of their component; `prices` is the digest of what prices them.

    Without a folder nothing is kept. Whatever goes wrong with the folder costs time only.
    """

    def __init__(self, folder: Path | None, prices: str) -> None:
        self._folder, self._prices = folder, prices
        self._index = _read_index(folder) if folder else _Index()
        self._known = self._index.known.setdefault(prices, {})
        self._ages = {part: age for age, part in enumerate(self._index.parts)}
        self._whole: set[str] = set()  # packs that were looked through
        self._is_changed = False

    def has(self, name: str) -> bool:
        """Whether the rows of a component are there."""
        return name in self._known

    def is_known(self, name: str) -> bool:
        """Whether the rows of a component are there with any prices."""
        return any(name in known for known in self._index.known.values())

    def age(self, part: str) -> int:
        """The place of a part among those of the ledger, the oldest first; new ones have one."""
        return self._ages.get(part, len(self._ages))

    def take_in(self, parts: Iterable[str]) -> None:
        """Take down which parts there are by now."""
        new = sorted({*parts} - self._ages.keys())
        self._index.parts = [*self._index.parts, *new][-_MOST_PARTS:]
        self._is_changed |= bool(new)

    def names_of(self, name: str) -> list[str] | None:
        """The components of a set of files, where they were found before."""
        return self._index.sets.get(name)

    def remember(self, name: str, components: list[str]) -> None:
        """Take down what the components of a set of files are."""
        sets = self._index.sets
        sets.pop(name, None)
        sets[name] = components
        for oldest in list(sets)[:-_SETS]:
            del sets[oldest]
        self._is_changed = True

    def check(self, names: Iterable[str]) -> None:
        """Forget of these components those whose rows are gone or damaged."""
        for name in names:
            if name in self._known and not self.is_whole(self._known[name].part):
                del self._known[name]

    def is_whole(self, pack: str) -> bool:
        """Whether a pack holds what was written."""
        assert self._folder is not None  # noqa: S101 - for the type checker
        if pack not in self._whole:
            with suppress(OSError):
                known = self._index.packs.get(pack)
                if known is None or _check_sum(self._folder / pack) != known.check_sum:
                    return False
                self._whole.add(pack)
        return pack in self._whole

    def rows(self, components: Sequence[Component]) -> Iterator[tuple[list[str], pl.DataFrame]]:
        """The rows of those components that are there, with the names of these in their order.

        What cannot be read is forgotten.
        """
        yield from _read(self, self._known, [each.name for each in components])

    def priced_otherwise(self, names: Sequence[str]) -> Iterator[tuple[list[str], pl.DataFrame]]:
        """As `rows`, of components that are not there; with prices that are no longer right."""
        left = list(names)
        for known in self._index.known.values():
            if known is not self._known:
                for some, rows in _read(self, known, left):
                    found = set(some)
                    left = [name for name in left if name not in found]
                    yield some, rows

    def slices(self, component: Component, most: int) -> Iterator[pl.DataFrame]:
        """The rows of a large component, `most` at a time; none where they are not there.

        Raises PartDamaged where they went away after it had begun.
        """
        self.check([component.name])
        if component.name not in self._known:
            return
        pack, begin, rows = msgspec.structs.astuple(self._known[component.name])
        for start in range(0, rows, most):
            with _told_of(pack):
                yield self.load(pack, [Segment(pack, begin + start, min(most, rows - start))])

    def look(self, names: Collection[str], work: Callable[[pl.LazyFrame], T]) -> T:
        """What `work` makes of the rows of components that are there, in any order.

        Raises PartDamaged where they went away since `check`.
        """
        segments = [self._known[name] for name in names]
        with _told_of(segments[0].part):
            return work(self._scan(segments))

    def _scan(self, segments: Sequence[Segment]) -> pl.LazyFrame:
        """The rows of segments: packs one after the other, without what else is in them."""
        assert self._folder is not None  # noqa: S101 - for the type checker
        sizes = {each.part: self._index.packs[each.part].rows for each in segments}
        files = [openable(self._folder / pack) for pack in sizes]
        found = pl.scan_parquet(files, glob=False, row_index_name=_ROW)  # type: ignore[arg-type] # all of one sort
        if sum(each.rows for each in segments) < sum(sizes.values()):
            firsts = dict(zip(sizes, accumulate(sizes.values(), initial=0), strict=False))
            starts = pl.Series([firsts[each.part] + each.start for each in segments])
            wanted = pl.int_ranges(starts, starts + pl.Series([each.rows for each in segments]))
            rows = pl.select(wanted.explode().cast(pl.get_index_type())).to_series()
            found = found.filter(pl.col(_ROW).is_in(rows.implode()))
        return found.drop(_ROW).cast({_KEPT_FEMTO: pl.Int128})

    def load(self, pack: str, segments: Sequence[Segment]) -> pl.DataFrame:
        """The rows of segments of a pack. Raises PolarsError and OSError."""
        assert self._folder is not None  # noqa: S101 - for the type checker
        first, count = cover(segments)
        found = pl.scan_parquet(openable(self._folder / pack), glob=False).slice(first, count)
        return pick(found.collect(), segments, first).cast({_KEPT_FEMTO: pl.Int128})

    def add(self, rows: pl.DataFrame, counts: Mapping[str, int]) -> None:
        """Keep priced rows, which stand in the order of the components that have so many each."""
        if self._folder is None:
            return
        try:
            with aside(self._folder) as path:
                with path.open("r+b") as stream:
                    rows.cast({pl.Int128: _KEPT_FEMTO}).write_parquet(
                        stream, compression="lz4", statistics=False, row_group_size=_GROUP_ROWS
                    )
                name = f"{os.urandom(16).hex()}.parquet"
                self._index.packs[name] = _Pack(_check_sum(path), rows.height)
                path.replace(path.with_name(name))
        except (OSError, pl.exceptions.PolarsError):  # the latter where the disk is full
            self._folder = None
            return
        start = 0
        for component, count in counts.items():
            self._known[component] = Segment(name, start, count)
            start += count
        self._whole.add(name)
        self._is_changed = True

    def close(self, names: Iterable[str]) -> None:
        """Write down where the rows are; `names` are the components of this run."""
        if self._folder is None or not self._is_changed:
            return
        there = {name: self._known[name] for name in names if name in self._known}
        with suppress(OSError, pl.exceptions.PolarsError):
            self._put_together(there)
        if self._folder is None:
            return
        packs: dict[str, int] = {}
        for known in self._index.known.values():
            for segment in known.values():
                packs[segment.part] = packs.get(segment.part, 0) + segment.rows
        used = {self._known[name].part for name in there if name in self._known}
        kept = _worth_keeping(packs, used)
        for prices, known in list(self._index.known.items()):
            self._index.known[prices] = {n: each for n, each in known.items() if each.part in kept}
        self._index.packs = {n: each for n, each in self._index.packs.items() if n in kept}
        with suppress(OSError):
            content = msgspec.msgpack.encode(self._index)
            write_aside(self._folder / _INDEX, sealed(_KIND, content), sync=False)
            _sweep(self._folder, kept)
        self._known, self._is_changed = self._index.known[self._prices], False

    def _put_together(self, there: Mapping[str, Segment]) -> None:
        """Make one pack of those with little that is in use, where they are many."""
        held: dict[str, list[str]] = {}
        for name, segment in there.items():
            held.setdefault(segment.part, []).append(name)
        sizes = {pack: sum(there[name].rows for name in some) for pack, some in held.items()}
        small = sorted((p for p in sizes if sizes[p] < _GROUP_ROWS // 2), key=lambda p: sizes[p])
        if len(small) <= _MANY_PACKS:
            return
        together = zip(small, accumulate(sizes[pack] for pack in small), strict=True)
        chosen = [p for p, rows in together if rows <= _MOST_TOGETHER and self.is_whole(p)]
        frames = [self.load(pack, [there[name] for name in held[pack]]) for pack in chosen]
        names = [name for pack in chosen for name in held[pack]]
        self.add(pl.concat(frames), {name: there[name].rows for name in names})


def _read(
    derived: Derived, known: dict[str, Segment], names: Sequence[str]
) -> Iterator[tuple[list[str], pl.DataFrame]]:
    """The rows of those components that are known, a pack at a time."""
    packs: dict[str, list[str]] = {}
    for name in names:
        if name in known:
            packs.setdefault(known[name].part, []).append(name)
    for pack, some in packs.items():
        with suppress(pl.exceptions.PolarsError, OSError):
            if derived.is_whole(pack):
                yield some, derived.load(pack, [known[name] for name in some])
                continue
        for name in some:
            del known[name]


def cover(segments: Sequence[Segment]) -> tuple[int, int]:
    """The first row of some segments of a part, and how many rows it is to the last."""
    first = min(segment.start for segment in segments)
    return first, max(segment.start + segment.rows for segment in segments) - first


def pick(frame: pl.DataFrame, segments: Sequence[Segment], first: int) -> pl.DataFrame:
    """The rows of segments, one after the other; `frame` holds a part from row `first` on."""
    place = first
    for segment in segments:
        if segment.start != place:
            break
        place += segment.rows
    else:
        return frame.slice(0, place - first)
    starts = [segment.start - first for segment in segments]
    ends = [start + segment.rows for start, segment in zip(starts, segments, strict=True)]
    ranges = pl.select(pl.int_ranges(pl.Series(starts), pl.Series(ends)).explode())
    return frame[ranges.to_series().drop_nulls()]


@contextmanager
def _told_of(pack: str) -> Iterator[None]:
    """What goes wrong within is damage of that pack, or of another."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        raise PartDamaged(pack, str(error).partition("\n")[0]) from error


def _check_sum(path: Path) -> int:
    """Tells damage, in a quarter of the time that a digest takes. Raises OSError."""
    found = 0
    with open_regular(path) as file:
        while block := file.read(_BLOCK_BYTES):
            found = crc32(block, found)
    return found


def _worth_keeping(packs: dict[str, int], used: Set[str]) -> set[str]:
    """Of packs with their rows, oldest first: those in use, and about as many rows more."""
    kept = [*used]
    room = max(sum(packs[name] for name in used), _LEAST_ROWS)
    for name in reversed(packs):
        if name not in used and packs[name] <= room:
            room -= packs[name]
            kept.append(name)
    return set(kept)


def _read_index(folder: Path) -> _Index:
    try:
        index = msgspec.msgpack.decode(unsealed(_KIND, read_own(folder / _INDEX)), type=_Index)
        for known in index.known.values():
            name_once(known.values(), {})
        return index
    except (OSError, Damaged, msgspec.MsgspecError):
        return _Index()


def _sweep(folder: Path, kept: set[str]) -> None:
    """Remove packs that nothing refers to and that no run can be about to refer to."""
    before = time.time() - _ORPHAN_SECONDS
    for path in folder.iterdir():
        if path.name not in kept and path.suffix == ".parquet":
            with suppress(OSError):
                if path.stat().st_mtime < before:
                    path.unlink()
