"""Finds the two records that builds from February to June 2026 wrote of every stream."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Final

from tallybook.sources.ninerouter.tokens import RAW, STRIPPED, TWIN
from tallybook.sources.ninerouter.usage_rows import UNKNOWN, Entry, join

_APART: Final = 1_000_000  # microseconds; in practice it is a few thousand
_USUAL: Final = 10_000
_SHAPES: Final = frozenset({TWIN, STRIPPED, RAW})
Key = tuple[str | None, str | None, str | None, int | None]


def pair(entries: Sequence[Entry]) -> None:
    """Joins the two records of each stream, one to one: neighbours, then the nearest in time.

    A twin keeps what its partner lost: the partner's prompt is the same, or 0 where it was lost.
    """
    for one, next_one in pairwise(entries):
        if one.counts.shape == TWIN:
            _join_neighbours(one, next_one)
        elif next_one.counts.shape == TWIN:
            _join_neighbours(next_one, one)
    left = [entry for entry in entries if entry.pair is None and entry.counts.shape in _SHAPES]
    twins = _by_key(entry for entry in left if entry.counts.shape == TWIN)
    if not twins:
        return
    others = _by_key(entry for entry in left if entry.counts.shape != TWIN)
    edges = [
        edge for key in twins.keys() & others.keys() for edge in _edges(twins[key], others[key])
    ]
    for *_, twin, other in sorted(edges, key=lambda edge: edge[:4]):
        if twin.pair is None and other.pair is None:
            join(twin, other)


def _join_neighbours(twin: Entry, other: Entry) -> None:
    """The two records mostly stand side by side, and then nothing is nearer."""
    ours, theirs = twin.counts, other.counts
    if (
        ours.prompt == theirs.prompt
        and ours.completion == theirs.completion
        and theirs.shape in (STRIPPED, RAW)
        and twin.pair is None
        and other.pair is None
        and abs(twin.when - other.when) < _USUAL
        and twin.model == other.model
        and twin.connection == other.connection
        and twin.key == other.key
        and twin.when != UNKNOWN
    ):
        join(twin, other)


def _by_key(entries: Iterable[Entry]) -> dict[Key, list[Entry]]:
    found: dict[Key, list[Entry]] = {}
    for entry in entries:
        if entry.when != UNKNOWN:
            key = (entry.model, entry.connection, entry.key, entry.counts.completion)
            found.setdefault(key, []).append(entry)
    return found


def _edges(
    twins: Sequence[Entry], others: list[Entry]
) -> Iterable[tuple[bool, int, int, int, Entry, Entry]]:
    others.sort(key=attrgetter("when", "record"))
    times = [other.when for other in others]
    for twin in twins:
        first, last = twin.when - _APART, twin.when + _APART
        for other in others[bisect_left(times, first) : bisect_right(times, last)]:
            differs = other.counts.prompt != twin.counts.prompt
            if not differs or not other.counts.prompt:
                apart = abs(twin.when - other.when)
                yield differs, apart, twin.record, other.record, twin, other
