"""Compares what was used with what another says of it, by day and model, and names the causes.

A cause is named where it gives the other's counts exactly: our counts with what was left out as a
duplicate, without the files that the other does not have, with the cache counted twice, and so on.
What no cause gives is `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from tallybook.report.causes import (
    CONVENTION,
    COPIES,
    DUPLICATES,
    MISSING,
    PLACEHOLDER,
    REASONING,
    Fault,
    Parts,
    explained,
    named,
    together,
)
from tallybook.report.pieces import LOGGED, TOKENS, Piece, Sums
from tallybook.report.statements import Statement, Statements
from tallybook.report.summary import Row, money
from tallybook.report.zones import own_zone

PRICE: Final = "price"
TIER: Final = "tier"
ZONE: Final = "time-zone"
UNKNOWN: Final = "unknown"
CAUSES: Final = (
    DUPLICATES,
    CONVENTION,
    REASONING,
    PLACEHOLDER,
    PRICE,
    TIER,
    ZONE,
    MISSING,
    UNKNOWN,
)

_FEMTO: Final = 10**15
_CHANCE: Final = Decimal("0.05")  # of all that a sum may be, what lies near enough to some part
_OFTEN: Final = 4  # days on which a ratio of costs is no chance
_MORE: Final = "it has more of each count than any record here gives"
Key = tuple[str | None, str | None]  # day and model, as far as they are told apart


@dataclass(slots=True)
class Cell:
    """Our side of one day and model; the files of what counts, and of what does not by reason."""

    counts: Sums = field(default_factory=Sums)
    files: dict[str, Sums] = field(default_factory=dict)
    lone: dict[str, Sums] = field(default_factory=dict)
    left_out: dict[str, dict[str, Sums]] = field(default_factory=dict)

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

    @property
    def parts(self) -> Parts:
        """What causes are looked for among."""
        return Parts(self.counts, self.files, self.lone, self.left_out)


def _add(files: dict[str, Sums], piece: Piece) -> None:
    files[piece.path] = files.get(piece.path, Sums()).plus(piece.sums)


class Cause(NamedTuple):
    """A part of a difference: theirs less ours, in tokens and femto-dollars."""

    name: str
    words: str
    tokens: int
    cost: int


@dataclass(frozen=True, slots=True)
class Sides:
    """How the other tells days and models apart, and the days that it speaks of.

    `first` and `last` are the names of periods; a week is named by its first day, `weekday` of it.
    """

    by_day: bool
    by_model: bool
    first: str | None
    last: str | None
    period: str = "day"
    weekday: int = 0

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
    return replace(one, **{name: add(name) for name in names})


def _ours(found: Iterable[Piece], sides: Sides, zone: tzinfo) -> dict[Key, Cell]:
    cells: dict[Key, Cell] = {}
    for piece in found:
        day = piece.at.astimezone(zone).date().isoformat() if piece.at else None
        key = sides.cell(day, piece.model)
        if key is not None:
            cells.setdefault(key, Cell()).add(piece)
    return cells


# ---- the comparison


@dataclass(frozen=True, slots=True)
class Differences:
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
    stated = {key: _all_tokens(each) or 0 for key, each in theirs.items()}
    own = own_zone(found, stated, asked, sides.cell) if sides.by_day else None
    shifted = _ours(found, sides, own) if own else ours
    rows = [
        _row(key, ours.get(key, Cell()), shifted.get(key, Cell()), theirs.get(key), statements, own)
        for key in {*theirs, *ours, *shifted}
    ]
    _name_prices(rows, theirs)
    rows.sort(key=_largest)
    undated = sum(row.day is None for row in statements.rows) if sides.by_day else 0
    return Differences(rows, _totals(rows), sides, undated)


def _largest(row: Row) -> tuple[Any, ...]:
    apart = row["difference"]
    cost = abs(Decimal(apart["cost_usd"] or 0))
    return (-cost, -abs(apart["tokens"] or 0), row["day"] or "", row["model"] or "")


def _all_tokens(stated: Statement) -> int | None:
    if stated.input is None and stated.output is None:
        return None
    return (stated.input or 0) + (stated.output or 0)


def _row(  # noqa: PLR0913, PLR0917 - the two sides of a cell
    key: Key,
    ours: Cell,
    shifted: Cell,
    theirs: Statement | None,
    statements: Statements,
    zone: tzinfo | None,
) -> Row:
    said = theirs or _nothing(statements)
    causes = list(_moved(ours, shifted, zone, said))
    if theirs is None and shifted.counts.tokens:
        causes.append(_lacking(shifted, said))
    elif theirs is not None and not shifted.counts.calls and not shifted.counts.tokens:
        words = "no log of ours has it" if not shifted.left_out else "all of it was left out"
        causes.append(Cause(MISSING, words, _all_tokens(said) or 0, _femto(said.cost) or 0))
    elif theirs is not None:
        causes += _causes(shifted, said, statements.form == LOGGED)
    return _document(key, ours.counts, said, [each for each in causes if each.tokens or each.cost])


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
    tokens = -cell.counts.tokens if _all_tokens(said) is not None else 0
    cost = -cell.counts.cost if said.cost is not None else 0
    return Cause(MISSING, f"it has nothing of {named(cell.files)}", tokens, cost)


def _causes(cell: Cell, said: Statement, same_calls: bool) -> Iterator[Cause]:
    """What turns our counts of a cell into theirs, and then our cost into theirs."""
    stated = {name: n for name in TOKENS if (n := getattr(said, name)) is not None}
    cost = _femto(said.cost)
    if not stated:
        yield from _causes_of_cost(cell, said, same_calls)
        return
    found = explained(cell.parts, stated)
    if found is None:
        tokens = (_all_tokens(said) or 0) - cell.counts.tokens
        name, words = (MISSING, _MORE) if _has_more(cell.counts, stated) else (UNKNOWN, "")
        yield Cause(name, words, tokens, 0 if cost is None else cost - cell.counts.cost)
        return
    after = cell.counts
    for fault in found.faults:
        after = after.plus(fault.added)
        in_money = 0 if cost is None else fault.added.cost
        yield Cause(fault.cause, fault.words, fault.added.tokens, in_money)
    rest = 0 if cost is None else cost - after.cost
    if found.change.cause:
        yield Cause(found.change.cause, found.change.words, found.more, rest)
    elif cost is not None and abs(rest) > (_femto(said.rounding) or 0):
        yield _of_price(after, cost, rest, said)


def _has_more(ours: Sums, stated: Mapping[str, int]) -> bool:
    """Whether the other has more of each count, as calls have them that no log of ours states."""
    more = {name: count - int(getattr(ours, name)) for name, count in stated.items()}
    return min(more.values()) >= 0 and more.get("input", 0) > 0 and more.get("output", 0) > 0


def _causes_of_cost(cell: Cell, said: Statement, same_calls: bool) -> Iterator[Cause]:
    """What is known of a cost alone: whose calls it holds cannot be told by counts."""
    cost = _femto(said.cost)
    if cost is None:
        return
    rest, near = cost - cell.counts.cost, _femto(said.rounding) or 0
    if abs(rest) <= near:
        return
    fault = None if same_calls else _by_money(cell, rest, near)
    if fault is not None:
        yield Cause(fault.cause, fault.words, 0, rest)
        return
    found = _of_price(cell.counts, cost, rest, said)
    yield found if same_calls or found.name == TIER else Cause(UNKNOWN, "", 0, rest)


def _by_money(cell: Cell, rest: int, near: int) -> Fault | None:
    """The one reason or file that costs what lies between, where that can hardly be chance."""
    faults = [
        Fault(DUPLICATES, f"it counts what is left out as {reason}", together([by_file]))
        for reason, by_file in cell.left_out.items()
    ]
    faults += [
        Fault(MISSING, f"it has nothing of {path}", Sums().plus(sums, -1))
        for path, sums in cell.files.items()
    ]
    costs = [abs(fault.added.cost) for fault in faults]
    if not costs or 2 * near * len(faults) > _CHANCE * max(costs):
        return None
    return next((fault for fault in faults if abs(rest - fault.added.cost) <= near), None)


def _name_prices(rows: Sequence[Row], theirs: Mapping[Key, Statement]) -> None:
    """Name a price where costs without counts are the same times ours, for a model on many days."""
    models: dict[str | None, list[tuple[Row, Row]]] = {}
    for row in rows:
        for cause in row["causes"]:
            if cause["cause"] == UNKNOWN and row["theirs"]["tokens"] is None:
                models.setdefault(row["model"], []).append((row, cause))
    for found in models.values():
        times = [_times(row, theirs[row["day"], row["model"]].rounding) for row, _ in found]
        low, high = max(least for least, _ in times), min(most for _, most in times)
        if len(found) >= _OFTEN and low <= high and high - low <= low * _CHANCE:
            for _, cause in found:
                words = f"it has {(low + high) / 2:.4g} times our price on {len(found)} days"
                cause.update(cause=PRICE, words=words)


def _times(row: Row, near: Decimal) -> tuple[Decimal, Decimal]:
    """How many times our cost the other's is, at least and at most."""
    ours, theirs = Decimal(row["ours"]["cost_usd"] or 0), Decimal(row["theirs"]["cost_usd"])
    return ((theirs - near) / ours, (theirs + near) / ours) if ours else (Decimal(1), Decimal(0))


def _of_price(counts: Sums, cost: int, rest: int, said: Statement) -> Cause:
    near = _femto(said.rounding) or 0
    for other, words in (
        (counts.base, "it has no tier of long prompts"),
        (counts.standard, "it has the standard service tier"),
        (counts.brief, "it has writes for an hour at the price of five minutes"),
    ):
        if other != counts.cost and abs(cost - other) <= near:
            return Cause(TIER, words, 0, rest)
    if counts.unpriced:
        return Cause(PRICE, f"we have no price of {counts.unpriced:,} tokens", 0, rest)
    if not cost:
        return Cause(PRICE, "it has no price of it", 0, rest)
    times = "" if not counts.cost else f"it has {cost / counts.cost:.4g} times our price"
    return Cause(PRICE, times, 0, rest)


def _femto(cost: Decimal | None) -> int | None:
    return None if cost is None else int((cost * _FEMTO).to_integral_value())


def _document(key: Key, ours: Sums, said: Statement, causes: Sequence[Cause]) -> Row:
    tokens, cost = _all_tokens(said), _femto(said.cost)
    return {
        "day": key[0],
        "model": key[1],
        "ours": {
            "calls": ours.calls,
            **{f"{name}_tokens": getattr(ours, name) for name in TOKENS},
            "tokens": ours.tokens,
            "cost_usd": money(ours.cost),
        },
        "theirs": {
            "calls": said.calls,
            **{f"{name}_tokens": getattr(said, name) for name in TOKENS},
            "tokens": tokens,
            "cost_usd": money(cost),
        },
        "difference": {
            "tokens": None if tokens is None else tokens - ours.tokens,
            "cost_usd": None if cost is None else money(cost - ours.cost),
        },
        "causes": [
            {
                "cause": each.name,
                "words": each.words,
                "tokens": each.tokens,
                "cost_usd": None if cost is None else money(each.cost),
            }
            for each in causes
        ],
    }


def _totals(rows: Sequence[Row]) -> Row:
    """The sums of both sides and of each cause, and how much of all differences is named."""
    causes = {
        name: {
            "cells": len(found),
            "tokens": sum(each["tokens"] for each in found),
            "cost_usd": _plain(sum((Decimal(e["cost_usd"] or 0) for e in found), Decimal())),
        }
        for name in CAUSES
        if (found := list(_of(rows, name)))
    }
    return {
        **{side: _side(rows, side) for side in ("ours", "theirs", "difference")},
        "causes": causes,
        "apart": {
            "tokens": sum(abs(row["difference"]["tokens"] or 0) for row in rows),
            "cost_usd": _plain(_sum_of(rows, "difference", absolute=True)),
        },
        "unknown": {
            "tokens": sum(abs(e["tokens"]) for e in _of(rows, UNKNOWN)),
            "cost_usd": _plain(
                sum((abs(Decimal(e["cost_usd"] or 0)) for e in _of(rows, UNKNOWN)), Decimal())
            ),
        },
    }


def _of(rows: Sequence[Row], cause: str) -> Iterator[Row]:
    return (each for row in rows for each in row["causes"] if each["cause"] == cause)


def _side(rows: Sequence[Row], side: str) -> Row:
    stated = [row[side]["tokens"] for row in rows if row[side]["tokens"] is not None]
    has_cost = any(row[side]["cost_usd"] is not None for row in rows)
    return {
        "tokens": sum(stated) if stated else None,
        "cost_usd": _plain(_sum_of(rows, side)) if has_cost else None,
    }


def _sum_of(rows: Sequence[Row], side: str, *, absolute: bool = False) -> Decimal:
    costs = (Decimal(row[side]["cost_usd"] or 0) for row in rows)
    return sum((abs(cost) if absolute else cost for cost in costs), Decimal())


def _plain(amount: Decimal) -> str:
    return money(int((amount * _FEMTO).to_integral_value())) or "0"
