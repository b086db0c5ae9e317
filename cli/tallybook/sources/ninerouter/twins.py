"""Finds the two records that builds from February to June 2026 wrote of every stream."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

from tallybook.sources.ninerouter.entries import Entry
from tallybook.sources.ninerouter.tokens import RAW, STRIPPED, TWIN

_APART: Final = 1000  # milliseconds; in practice it is a few
Key = tuple[str | None, str | None, str | None, int | None]


def pair(entries: Sequence[Entry]) -> None:
    """Sets `partner` on both records of a stream, one to one, the nearest in time first.

    A twin keeps what its partner lost: the partner's prompt is the same, or 0 where it was lost.
    """
    twins = _by_key(e for e in entries if e.counts.shape == TWIN)
    if not twins:
        return
    others = _by_key(e for e in entries if e.counts.shape in (STRIPPED, RAW))
    edges = [
        edge for key in twins.keys() & others.keys() for edge in _edges(twins[key], others[key])
    ]
    for *_, twin, other in sorted(edges, key=lambda edge: edge[:4]):
        if twin.partner is None and other.partner is None:
            twin.partner, other.partner = other, twin


def _by_key(entries: Iterable[Entry]) -> dict[Key, list[Entry]]:
    found: dict[Key, list[Entry]] = {}
    for entry in entries:
        if entry.partner is None and entry.when:
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
