"""Compares what was used with what another says of it, by day and model, and names the causes.

A cause is named where it gives the other's counts exactly: our counts with what was left out as a
duplicate, without the files that the other does not have, with the cache counted twice, and so on.
What no cause gives is `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta, tzinfo
from decimal import Decimal
from functools import reduce
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from tallybook.report.causes import (
    DUPLICATES,
    MISSING,
    PRICE,
    UNKNOWN,
    ZONE,
    Cause,
    Cell,
    Fault,
    Found,
    explained,
    named,
    together,
)
from tallybook.report.comparison import Key, document, femto_of, told, totals_of
from tallybook.report.costs import (
    CHANCE,
    Times,
    by_kind,
    common,
    femto,
    of_price,
    on_other_terms,
    part,
    ratio,
    split,
    tier_and_price,
    times_of,
)
from tallybook.report.line_items import KINDS, names_apart
from tallybook.report.pieces import LOGGED, ON_TERMS, TOKENS, Piece, Sums
from tallybook.report.statements import Statement, Statements
from tallybook.report.summary import Row
from tallybook.report.zones import own_zone

_TWICE: Final = 2  # days on which a ratio of costs of the same counts is no chance
_OFTEN: Final = 4  # and of costs without counts
_MORE: Final = "it has more of each count than any record here gives"


class Sides(msgspec.Struct, frozen=True):
    """How the other tells days and models apart, and the days that it speaks of.

    `first` and `last` are the names of periods; a week is named by its first day, `weekday` of it.
    `apart` are the names under which fees of all models stand, where they do not with these, by
    kind.
    """

    by_day: bool
    by_model: bool
    first: str | None
    last: str | None
    period: str = "day"
    weekday: int = 0
    apart: Mapping[str, str] = {}

    def key(self, day: str | None, model: str | None) -> Key:
        """The cell of a period, by its name, and a model."""
        return (day if self.by_day else None, model if self.by_model else None)

    def named(self, day: str | None) -> str | None:
        """The period that a day lies in."""
        if day is None or self.period == "day":
            return day
        if self.period == "month":
            return day[:7]
        at = date.fromisoformat(day)
        return (at - timedelta(days=(at.weekday() - self.weekday) % 7)).isoformat()

    def holds(self, period: str | None) -> bool:
        """Whether a period is one that the other speaks of."""
        if not self.by_day or self.first is None or self.last is None:
            return True
        return period is not None and self.first <= period <= self.last

    def cell(self, day: str | None, model: str | None) -> Key | None:
        """The cell of a day and model, None where the other does not speak of the day."""
        period = self.named(day)
        return self.key(period, model) if self.holds(period) else None


def sides_of(statements: Statements) -> Sides:
    """How a statement tells days and models apart."""
    days = sorted(row.day for row in statements.rows if row.day is not None)
    is_week = statements.period == "week" and bool(days)
    return Sides(
        by_day=bool(days),
        by_model=any(row.model is not None for row in statements.rows),
        first=days[0] if days else None,
        last=days[-1] if days else None,
        period=statements.period,
        weekday=date.fromisoformat(days[0]).weekday() if is_week else 0,
        apart=names_apart(row.model for row in statements.rows if row.costs),
    )


def _theirs(rows: Sequence[Statement], sides: Sides) -> dict[Key, Statement]:
    """One statement a cell; a sum is stated where all of its parts are."""
    found: dict[Key, Statement] = {}
    for row in rows:
        if sides.by_day and row.day is None:
            continue  # told by `undated`
        key = sides.key(row.day, row.model)
        found[key] = _together(found[key], row) if key in found else row
    return found


def _together(one: Statement, other: Statement) -> Statement:
    def add(name: str) -> Any:
        values = (getattr(one, name), getattr(other, name))
        return None if None in values else values[0] + values[1]

    names = ("calls", *TOKENS, "cost", "rounding")
    costs = None
    if one.costs is not None and other.costs is not None:
        both = [each.costs.get for each in (one, other) if each.costs is not None]
        costs = {kind: sum((of(kind, Decimal()) for of in both), Decimal()) for kind in KINDS}
    return replace(one, **{name: add(name) for name in names}, costs=costs)


def _ours(found: Iterable[Piece], sides: Sides, zone: tzinfo) -> dict[Key, Cell]:
    cells: dict[Key, Cell] = {}
    for piece in found:
        day = piece.at.astimezone(zone).date().isoformat() if piece.at else None
        for each in _apart(piece, sides.apart):
            key = sides.cell(day, each.model)
            if key is not None:
                cells.setdefault(key, Cell()).add(each)
    return cells


def _apart(piece: Piece, names: Mapping[str, str]) -> Iterator[Piece]:
    """A piece without its fees of some kinds, and these alone, where the other has them apart."""
    sums = piece.sums
    for kind, name in names.items():
        if fees := part(sums, kind):
            alone = Sums(**dict.fromkeys(("cost", f"{kind}_cost", *ON_TERMS), fees))  # type: ignore[arg-type]
            sums = sums.plus(alone, -1)
            yield piece._replace(sums=alone, model=name)
    yield piece._replace(sums=sums)


# ---- the comparison


class Differences(msgspec.Struct, frozen=True):
    """The cells, the largest difference first, with their causes; the sums of both sides."""

    rows: list[Row]
    totals: Row
    sides: Sides
    undated: int  # statements without a day among those with one


def compare(found: Sequence[Piece], statements: Statements, zone: str) -> Differences:
    """Compare what was used with what another says; days are those of `zone`."""
    sides = sides_of(statements)
    theirs = _theirs(statements.rows, sides)
    asked: tzinfo = ZoneInfo(zone)
    ours = _ours(found, sides, asked)
    stated = {key: each.tokens or 0 for key, each in theirs.items()}
    own = own_zone(found, stated, asked, sides.cell) if sides.by_day else None
    shifted = _ours(found, sides, own) if own else ours
    cells = {
        key: Pair(ours.get(key, Cell()), shifted.get(key, Cell()), theirs.get(key))
        for key in {*theirs, *ours, *shifted}
    }
    prices = _prices(cells)
    rows = [_row(key, each, prices.get(key[1]), statements, own) for key, each in cells.items()]
    _name_prices(rows, cells)
    rows.sort(key=_largest)
    undated = sum(row.day is None for row in statements.rows) if sides.by_day else 0
    return Differences(rows, totals_of(rows), sides, undated)


def _largest(row: Row) -> tuple[Any, ...]:
    apart = row["difference"]
    cost = abs(Decimal(apart["cost_usd"] or 0))
    return (-cost, -abs(apart["tokens"] or 0), row["day"] or "", row["model"] or "")


class Pair(msgspec.Struct):
    """Both sides of a day and model; `shifted` is ours by the days of the other's zone."""

    ours: Cell
    shifted: Cell
    theirs: Statement | None
    _found: tuple[Found | None] | None = None

    @property
    def stated(self) -> dict[str, int]:
        """The counts that the other states."""
        found = {name: getattr(self.theirs, name) for name in TOKENS} if self.theirs else {}
        return {name: count for name, count in found.items() if count is not None}

    @property
    def found(self) -> Found | None:
        """What makes our counts theirs; looked for once, it takes long."""
        if self._found is None:
            self._found = (explained(self.shifted, self.stated),)
        return self._found[0]


def _after(pair: Pair) -> Sums:
    """Our counts with the faults that make them theirs."""
    faults = pair.found.faults if pair.found else ()
    return reduce(Sums.plus, (fault.added for fault in faults), pair.shifted.counts)


def _prices(cells: Mapping[Key, Pair]) -> dict[str | None, Times]:
    """Of each model how many times our price the other has on several days, by equal counts."""
    models: dict[str | None, list[Times]] = {}
    for (_, model), pair in cells.items():
        has_both = pair.theirs is not None and pair.theirs.cost is not None and pair.stated
        if has_both and pair.shifted.counts.tokens and pair.found and not pair.found.change.cause:
            times = ratio(_after(pair), pair.theirs) if pair.theirs else None
            models.setdefault(model, []).extend([times] if times else [])
    known = {model: common(found, _TWICE) for model, found in models.items()}
    return {model: times for model, times in known.items() if times is not None}


def _row(
    key: Key, pair: Pair, price: Times | None, statements: Statements, zone: tzinfo | None
) -> Row:
    said, shifted = pair.theirs or _nothing(statements), pair.shifted
    has_some = shifted.counts.tokens or shifted.counts.cost
    causes = list(_moved(pair.ours, shifted, zone, said))
    if pair.theirs is None and has_some:
        causes.append(_lacking(shifted, said))
    elif pair.theirs is not None and not shifted.counts.calls and not has_some:
        words = "no log of ours has it" if not shifted.left_out else "all of it was left out"
        causes.append(Cause(MISSING, words, said.tokens or 0, femto_of(said.cost) or 0))
    elif pair.theirs is not None:
        causes += _causes(pair, said, price, statements.form == LOGGED)
    counts = pair.ours.counts
    return document(key, counts, said, [each for each in causes if each.tokens or each.cost])


def _nothing(statements: Statements) -> Statement:
    """A statement of nothing, in the counts that the other states at all."""
    stated: dict[str, Any] = {
        name: 0 for name in TOKENS if any(getattr(row, name) is not None for row in statements.rows)
    }
    has_cost = any(row.cost is not None for row in statements.rows)
    return replace(Statement(cost=Decimal() if has_cost else None), **stated)


def _moved(ours: Cell, shifted: Cell, zone: tzinfo | None, said: Statement) -> Iterator[Cause]:
    if zone is not None:
        moved = shifted.counts.plus(ours.counts, -1)
        cost = 0 if said.cost is None else moved.cost
        yield Cause(ZONE, f"its days are those of {zone}", moved.tokens, cost)


def _lacking(cell: Cell, said: Statement) -> Cause:
    tokens = -cell.counts.tokens if said.tokens is not None else 0
    cost = -cell.counts.cost if said.cost is not None else 0
    return Cause(MISSING, f"it has nothing of {named(cell.files)}", tokens, cost)


def _causes(pair: Pair, said: Statement, price: Times | None, same_calls: bool) -> Iterator[Cause]:
    """What turns our counts of a cell into theirs, and then our cost into theirs."""
    cell, stated, cost = pair.shifted, pair.stated, femto_of(said.cost)
    if not stated:
        yield from _causes_of_cost(cell, said, same_calls)
        return
    found = pair.found
    if found is None:
        tokens = (said.tokens or 0) - cell.counts.tokens
        name, words = (MISSING, _MORE) if _has_more(cell.counts, stated) else (UNKNOWN, "")
        yield Cause(name, words, tokens, 0 if cost is None else cost - cell.counts.cost)
        return
    for fault in found.faults:
        in_money = 0 if cost is None else fault.added.cost
        yield Cause(fault.cause, fault.words, fault.added.tokens, in_money)
    in_money, others = split(_after(pair), found.change, said, price)
    if found.change.cause:
        yield Cause(found.change.cause, found.change.words, found.more, in_money)
    yield from others


def _has_more(ours: Sums, stated: Mapping[str, int]) -> bool:
    """Whether the other has more of each count, as calls have them that no log of ours states."""
    more = {name: count - int(getattr(ours, name)) for name, count in stated.items()}
    return min(more.values()) >= 0 and more.get("input", 0) > 0 and more.get("output", 0) > 0


def _causes_of_cost(cell: Cell, said: Statement, same_calls: bool) -> Iterator[Cause]:
    """What is known of a cost alone: whose calls it holds cannot be told by counts."""
    cost = femto_of(said.cost)
    if cost is None:
        return
    rest, near = cost - cell.counts.cost, femto(said.rounding)
    if abs(rest) <= near and (
        said.costs is None or not by_kind(cell.counts, said, same_calls=True)
    ):
        return
    fault = None if same_calls else _by_money(cell, said)
    if fault is not None:
        yield Cause(fault.cause, fault.words, 0, rest)
    elif same_calls:
        yield from of_price(cell.counts, said)
    elif (tier := on_other_terms(cell.counts, said)) is not None:
        yield tier
    elif said.costs is not None:
        yield from by_kind(cell.counts, said, same_calls=False)
    else:
        yield Cause(UNKNOWN, "", 0, rest)


def _faults(cell: Cell) -> list[Fault]:
    """Each reason that the other may count by, and each file that it may lack."""
    reasons = [
        Fault(DUPLICATES, f"it counts what is left out as {reason}", together([by_file]))
        for reason, by_file in cell.left_out.items()
    ]
    return reasons + [
        Fault(MISSING, f"it has nothing of {path}", Sums().plus(sums, -1))
        for path, sums in cell.files.items()
    ]


def _by_money(cell: Cell, said: Statement, price: Times | None = None) -> Fault | None:
    """The one reason or file that costs what lies between, where that can hardly be chance.

    Where the other states costs by kind, each of them has to be right. With `price` the other has
    so many times our cost of what is left.
    """
    faults, near = _faults(cell), femto(said.rounding)
    costs = [abs(fault.added.cost) for fault in faults]
    if not costs or 2 * near * len(faults) > CHANCE * max(costs):
        return None
    return next((f for f in faults if f.added.cost and _fits(cell, f, said, price)), None)


def _fits(cell: Cell, fault: Fault, said: Statement, price: Times | None) -> bool:
    after = cell.counts.plus(fault.added)
    if price is not None:
        return price.fits(said, after.cost)
    wanted = [(said.cost or Decimal(), after.cost)]
    if said.costs is not None:
        wanted += [(said.costs.get(kind, Decimal()), part(after, kind)) for kind in KINDS]
    return all(abs(femto(cost) - ours) <= femto(said.rounding) for cost, ours in wanted)


def _name_prices(rows: Sequence[Row], cells: Mapping[Key, Pair]) -> None:
    """Name a price where costs without counts are the same times ours, for a model on many days.

    On its other days that price may come on top of a fault or a tier.
    """
    models: dict[str | None, list[Row]] = {}
    for row in rows:
        is_open = any(cause["cause"] == UNKNOWN for cause in row["causes"])
        if is_open and row["theirs"]["tokens"] is None:
            models.setdefault(row["model"], []).append(row)
    for found in models.values():
        pairs = [cells[row["day"], row["model"]] for row in found]
        times = [
            times_of(p.theirs, p.shifted.counts.cost)
            for p in pairs
            if p.theirs is not None and p.shifted.counts.cost > 0
        ]
        price = common(times, _OFTEN)
        if price is None:
            continue
        days = sum(price.fits(p.theirs, p.shifted.counts.cost) for p in pairs if p.theirs)
        words = f"it has {(price.low + price.high) / 2:.4g} times our price on {days} days"
        for row, pair in zip(found, pairs, strict=True):
            _name_price(row, pair, price, words)


def _name_price(row: Row, pair: Pair, price: Times, words: str) -> None:
    said, cell = pair.theirs, pair.shifted
    if said is None or said.cost is None:
        return
    cost = femto(said.cost)
    if price.fits(said, cell.counts.cost):
        causes = [Cause(PRICE, words, 0, cost - cell.counts.cost)]
    elif fault := _by_money(cell, said, price):
        more = fault.added.cost
        left = cost - cell.counts.cost - more
        causes = [Cause(fault.cause, fault.words, 0, more), Cause(PRICE, words, 0, left)]
    else:
        causes = tier_and_price(cell.counts, said, price)
    if causes:
        kept = [each for each in row["causes"] if each["cause"] != UNKNOWN]
        row["causes"] = kept + [told(each, has_cost=True) for each in causes]
