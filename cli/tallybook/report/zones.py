"""At which hour another's days begin, told by the days that its counts are on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from tallybook.report.pieces import Piece

# Every offset that some zone has today.
_OFFSETS: Final = (
    *(timedelta(hours=hours) for hours in range(-12, 15)),
    *(timedelta(minutes=60 * hours + 30) for hours in (-10, -4, -3, 3, 4, 5, 6, 9, 10)),
    *(timedelta(minutes=60 * hours + 45) for hours in (5, 8, 12, 13)),
)
_SUMMER: Final = timedelta(hours=1)
Key = tuple[str | None, str | None]


class Fit(NamedTuple):
    """How far another's counts are from ours with its days in a zone."""

    apart: int
    zone: tzinfo | None


def own_zone(
    found: Iterable[Piece],
    stated: Mapping[Key, int],
    asked: tzinfo,
    key: Callable[[str, str | None], Key | None],
) -> tzinfo | None:
    """The zone of the other's days, where with it far more of the tokens are on the same days.

    `stated` are tokens of the other; `key` gives the cell of a day and model, None beyond its days.
    """
    if not any(stated.values()):
        return None
    # Another may have a fault besides, in all of its days: each of these is compared with it.
    sides = [
        side
        for count in (
            lambda p: p.sums.tokens if p.reason is None else 0,
            lambda p: p.sums.tokens,
            lambda p: p.sums.tokens + p.sums.cached if p.reason is None else 0,
        )
        if (side := _by_slot(found, count))
    ]

    def fit(zone: tzinfo) -> Fit:
        return Fit(min(_apart(side, stated, zone, key) for side in sides), zone)

    if not sides or not (as_asked := fit(asked)).apart:
        return None
    best = min(map(fit, map(timezone, _OFFSETS)), key=lambda each: each.apart)
    if best.apart and best.apart * 4 <= as_asked.apart * 3:
        best = min([best, *map(fit, _zones_like(best.zone, sides[0]))], key=lambda each: each.apart)
    return best.zone if best.apart * 2 <= as_asked.apart else None


_Slots = Mapping[tuple[datetime, str | None], int]


def _by_slot(found: Iterable[Piece], count: Callable[[Piece], int]) -> _Slots:
    sums: dict[tuple[datetime, str | None], int] = {}
    for piece in found:
        if piece.at is not None and (tokens := count(piece)):
            at = (piece.at.astimezone(UTC), piece.model)
            sums[at] = sums.get(at, 0) + tokens
    return sums


def _apart(
    slots: _Slots,
    stated: Mapping[Key, int],
    zone: tzinfo,
    key: Callable[[str, str | None], Key | None],
) -> int:
    cells: dict[Key, int] = {}
    for (at, model), tokens in slots.items():
        cell = key(at.astimezone(zone).date().isoformat(), model)
        if cell is not None:
            cells[cell] = cells.get(cell, 0) + tokens
    return sum(abs(stated.get(cell, 0) - cells.get(cell, 0)) for cell in {*stated, *cells})


def _zones_like(like: tzinfo | None, slots: _Slots) -> Iterator[tzinfo]:
    """Zones that have summer time and are at times no further than that from an offset.

    Of those with the same hours in all this time one is enough.
    """
    times = sorted({at.replace(hour=12, minute=0) for at, _ in slots})
    offset = like.utcoffset(None) if like is not None else None
    seen: set[tuple[timedelta | None, ...]] = set()
    for name in sorted(available_timezones()) if offset is not None else ():
        zone = ZoneInfo(name)
        first = times[0].astimezone(zone).utcoffset()
        if first is None or offset is None or abs(first - offset) > _SUMMER:
            continue
        hours = tuple(at.astimezone(zone).utcoffset() for at in times)
        if len(set(hours)) > 1 and hours not in seen:
            seen.add(hours)
            yield zone
