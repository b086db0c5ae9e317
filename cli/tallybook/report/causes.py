"""What turns our counts of a day and model into those of another: the fewest faults that do.

A fault is linear in the counts: records that are counted as well, files that are not, a part of
the prompt that is counted twice. So a set of faults is a subset whose sums give the other's counts
exactly; how it came to a cost is asked of the counts that are left then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial, reduce
from itertools import combinations
from typing import Final, NamedTuple

import msgspec

from tallybook.report.pieces import TOKENS, Piece, Sums

DUPLICATES: Final = "duplicates"
CONVENTION: Final = "cache-convention"
REASONING: Final = "reasoning"
PLACEHOLDER: Final = "placeholder"
MISSING: Final = "missing-source"
PRICE: Final = "price"
TIER: Final = "tier"
ZONE: Final = "time-zone"
UNKNOWN: Final = "unknown"

# Of more files than this only one is looked for, or all but one.
_MOST_FILES: Final = 18
_MOST_BESIDE: Final = 10  # where another fault is looked for as well
_MOST_REASONS: Final = 5
COPIES: Final = "the same call in another file"


class Cell(msgspec.Struct):
    """Our side of one day and model: what counts, and by file; what does not, by why and file.

    `lone` is what of a file no other one has.
    """

    counts: Sums = msgspec.field(default_factory=Sums)
    files: dict[str, Sums] = {}
    lone: dict[str, Sums] = {}
    left_out: dict[str, dict[str, Sums]] = {}

    def add(self, piece: Piece) -> None:
        """Take one piece in."""
        if piece.reason is None:
            self.counts = self.counts.plus(piece.sums)
            _add(self.files, piece)
            if piece.lone:
                _add(self.lone, piece)
        else:
            _add(self.left_out.setdefault(piece.reason, {}), piece)
            if piece.again:
                _add(self.left_out.setdefault(COPIES, {}), piece)


def _add(files: dict[str, Sums], piece: Piece) -> None:
    files[piece.path] = files.get(piece.path, Sums()).plus(piece.sums)


class Cause(NamedTuple):
    """A part of a difference: theirs less ours, in tokens and femto-dollars."""

    name: str
    words: str
    tokens: int
    cost: int


class Fault(NamedTuple):
    """A cause in words, and what it adds to our counts, in money at our prices."""

    cause: str
    words: str
    added: Sums


class Change(NamedTuple):
    """A way of counting: how many times which count is added to each of TOKENS.

    `costs` are the parts of Sums that are added to our cost where the other counts so in money too.
    """

    cause: str
    words: str
    input: Mapping[str, int] = {}
    cached: Mapping[str, int] = {}
    creation: Mapping[str, int] = {}
    output: Mapping[str, int] = {}
    costs: Mapping[str, int] = {}

    def made(self, sums: Sums, names: Sequence[str]) -> tuple[int, ...]:
        """The counts of those names, counted so."""
        return tuple(getattr(sums, name) + self.added(sums, name) for name in names)

    def added(self, sums: Sums, name: str) -> int:
        """What it adds to the count of a name."""
        return _times(getattr(self, name), sums)

    def money(self, sums: Sums) -> int:
        """What it adds to the cost of these sums, at our prices."""
        return _times(self.costs, sums)


def _times(of: Mapping[str, int], sums: Sums) -> int:
    return sum(times * int(getattr(sums, name)) for name, times in of.items())


_CACHED, _CREATION, _BOTH = {"cached": 1}, {"creation": 1}, {"cached": 1, "creation": 1}


def _less(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: -times for name, times in counts.items()}


def _of_cache() -> Iterator[Change]:
    for words, added in (
        ("cache reads", _CACHED),
        ("cache writes", _CREATION),
        ("reads and writes of the cache", _BOTH),
    ):
        own = {name: {name: -1} for name in added}
        less = _less({f"{name}_cost": 1 for name in added})
        full = {f"{name}_full": 1 for name in added}
        yield Change(CONVENTION, f"{words} are counted twice", added, costs=full)
        yield Change(
            CONVENTION, f"{words} are left out of the prompt", _less(added), costs=_less(full)
        )
        yield Change(CONVENTION, f"{words} are left out", _less(added), **own, costs=less)
        yield Change(
            CONVENTION, f"{words} are counted as uncached input", **own, costs={**full, **less}
        )


_PLAIN: Final = Change("", "")
_CHANGES: Final = (
    _PLAIN,
    *_of_cache(),
    Change(
        REASONING,
        "reasoning is counted twice",
        output={"reasoning": 1},
        costs={"reasoning_cost": 1},
    ),
    Change(
        REASONING, "reasoning is left out", output={"reasoning": -1}, costs={"reasoning_cost": -1}
    ),
    Change(
        PLACEHOLDER,
        "it has the first count of an output, and not the last",
        output={"late": -1},
        costs={"late_cost": -1},
    ),
)


_NEVER_CAME: Final = Change(PLACEHOLDER, "our log has only the first count of an output")


class Found(NamedTuple):
    """The faults that give the other's counts, and the change of what is left after them.

    `more` is what the change adds to the tokens.
    """

    faults: tuple[Fault, ...]
    change: Change
    more: int


def explained(cell: Cell, stated: Mapping[str, int]) -> Found | None:
    """The fewest reasons that give all stated counts exactly; None where nothing does.

    `stated` are those of TOKENS that the other states.
    """
    names = [name for name in TOKENS if name in stated]
    wanted = tuple(stated[name] for name in names)
    for reasons in _reasons(cell):
        whole = cell.counts.plus(together(cell.left_out[reason] for reason in reasons))
        files = _files(cell, reasons)
        for change in _CHANGES:
            if change is _PLAIN or any(change.added(whole, name) for name in names):
                made = partial(change.made, names=names)
                is_alone = change is _PLAIN and not reasons
                most = _MOST_FILES if is_alone else _MOST_BESIDE
                lacking = _lacking(files, made, _apart(made(whole), wanted), most)
                if lacking is not None:
                    after = whole.plus(lacking.added)
                    more = change.added(after, "input") + change.added(after, "output")
                    return Found(_faults(cell, reasons, lacking), change, more)
        found = _never_came(cell, reasons, whole, stated)
        if found is not None:
            return found
    return None


def together(several: Iterable[Mapping[str, Sums]]) -> Sums:
    """The sums of all files of several reasons."""
    return total(part for by_file in several for part in by_file.values())


def total(parts: Iterable[Sums]) -> Sums:
    """All of them added."""
    return reduce(Sums.plus, parts, Sums())


def _apart(ours: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    return tuple(one - other for one, other in zip(ours, wanted, strict=True))


def _faults(cell: Cell, reasons: Sequence[str], lacking: Fault) -> tuple[Fault, ...]:
    added = together(cell.left_out[reason] for reason in reasons)
    words = f"it counts what is left out as {', '.join(reasons)}"
    counted = [Fault(DUPLICATES, words, added)] if reasons else []
    return (*counted, *([lacking] if lacking.cause else []))


def _never_came(
    cell: Cell, reasons: Sequence[str], whole: Sums, stated: Mapping[str, int]
) -> Found | None:
    """The other has more output of calls of which our log has only a first count."""
    others = [name for name in TOKENS if name in stated and name != "output"]
    if not others or "output" not in stated or not cell.counts.bounded:
        return None
    apart = _apart(_PLAIN.made(whole, others), [stated[name] for name in others])
    made = partial(_PLAIN.made, names=others)
    lacking = _lacking(_files(cell, reasons), made, apart, _MOST_BESIDE)
    if lacking is None:
        return None
    more = stated["output"] - whole.plus(lacking.added).output
    return Found(_faults(cell, reasons, lacking), _NEVER_CAME, more) if more > 0 else None


def _reasons(cell: Cell) -> Iterator[tuple[str, ...]]:
    """Every set of reasons whose records the other may count, the smaller first."""
    known = sorted(cell.left_out)
    most = len(known) if len(known) <= _MOST_REASONS else 1
    for size in range(most + 1):
        for reasons in combinations(known, size):
            if size < 2 or COPIES not in reasons:  # copies stand under other reasons too
                yield reasons


# ---- what is not counted


def _files(cell: Cell, reasons: Sequence[str]) -> list[Mapping[str, Sums]]:
    """What each file has of that which the other counts, in every way that it may be without one.

    What another file has too it counts all the same, unless it counts each file by itself.
    """
    if not reasons:
        return [own for own in (cell.lone, cell.files) if own]
    sums = dict(cell.files)
    for reason in reasons:
        for path, more in cell.left_out[reason].items():
            sums[path] = sums.get(path, Sums()).plus(more)
    return [sums]


def _lacking(
    files: Iterable[Mapping[str, Sums]],
    made: Callable[[Sums], tuple[int, ...]],
    apart: tuple[int, ...],
    most: int,
) -> Fault | None:
    """The files that the other does not have, where without them its counts are ours."""
    if not any(apart):
        return Fault("", "", Sums())
    for own in files:
        paths = subset({path: made(each) for path, each in own.items()}, apart, most)
        if paths:
            added = Sums().plus(total(own[path] for path in paths), -1)
            return Fault(MISSING, f"it has nothing of {named(paths)}", added)
    return None


def named(files: Iterable[str]) -> str:
    """One of the files by name, and how many more."""
    first, *more = sorted(files)
    return first if not more else f"{first} and {len(more):,} more"


def subset(
    vectors: Mapping[str, tuple[int, ...]], wanted: tuple[int, ...], most: int = _MOST_FILES
) -> list[str] | None:
    """The fewest names whose vectors add up to `wanted`; None where none do.

    Of more than `most` names only sets of one are looked at, and of all but one.
    """
    names = sorted(name for name, vector in vectors.items() if any(vector))
    if len(names) > most:
        rest = _apart(_added(vectors.values(), len(wanted)), wanted)
        for name in names:
            if vectors[name] == wanted:
                return [name]
        return next(([n for n in names if n != o] for o in names if vectors[o] == rest), None)
    half = len(names) // 2
    left, right = (_sets(vectors, part, wanted) for part in (names[:half], names[half:]))
    best: list[str] | None = None
    for vector, some in left.items():
        more = right.get(_apart(wanted, vector))
        if more is not None and (best is None or len(some) + len(more) < len(best)):
            best = [*some, *more]
    return best


def _sets(
    vectors: Mapping[str, tuple[int, ...]], names: Sequence[str], wanted: tuple[int, ...]
) -> dict[tuple[int, ...], tuple[str, ...]]:
    """Every sum of some of the names, with the fewest names that give it."""
    found: dict[tuple[int, ...], tuple[str, ...]] = {(0,) * len(wanted): ()}
    for name in names:
        for vector, some in list(found.items()):
            whole = tuple(a + b for a, b in zip(vector, vectors[name], strict=True))
            if whole not in found or len(found[whole]) > len(some) + 1:
                found[whole] = (*some, name)
    return found


def _added(vectors: Iterable[tuple[int, ...]], width: int) -> tuple[int, ...]:
    return tuple(map(sum, zip(*vectors, strict=True))) or (0,) * width
