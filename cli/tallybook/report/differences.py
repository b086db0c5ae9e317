"""Compares what was used with what another says of it, by day and model, and names the causes.

A cause is named where it gives the other's counts exactly: our counts with what was left out as a
duplicate, without the files that the other does not have, with the cache counted twice, and so on.
What no cause gives is `unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, timedelta, timezone, tzinfo
from decimal import Decimal
from itertools import combinations
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from tallybook.report.pieces import LOGGED, TOKENS, Piece, Sums
from tallybook.report.statements import Statement, Statements
from tallybook.report.summary import Row, money

DUPLICATES: Final = "duplicates"
CONVENTION: Final = "cache-convention"
REASONING: Final = "reasoning"
PLACEHOLDER: Final = "placeholder"
PRICE: Final = "price"
TIER: Final = "tier"
ZONE: Final = "time-zone"
MISSING: Final = "missing-source"
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
_MOST_PARTS: Final = 8  # of which all combinations are tried; of more only each alone
_OFFSETS: Final = tuple(timedelta(minutes=30 * n) for n in range(-24, 29))
Key = tuple[str | None, str | None]  # day and model, as far as they are told apart


@dataclass(slots=True)
class Cell:
    """Our side of one day and model."""

    counts: Sums = field(default_factory=Sums)
    files: dict[str, Sums] = field(default_factory=dict)
    left_out: dict[str, Sums] = field(default_factory=dict)


class Cause(NamedTuple):
    """A part of a difference: theirs less ours, in tokens and femto-dollars."""

    name: str
    words: str
    tokens: int
    cost: int


@dataclass(frozen=True, slots=True)
class Sides:
    """How the other tells days and models apart, and the days that it speaks of."""

    by_day: bool
    by_model: bool
    first: str | None
    last: str | None

    def key(self, day: str | None, model: str | None) -> Key:
        """The cell of a day and model."""
        return (day if self.by_day else None, model if self.by_model else None)

    def holds(self, day: str | None) -> bool:
        """Whether a day is one that the other speaks of."""
        if not self.by_day or self.first is None or self.last is None:
            return True
        return day is not None and self.first <= day <= self.last


def sides_of(rows: Sequence[Statement]) -> Sides:
    """How a statement tells days and models apart."""
    days = sorted(row.day for row in rows if row.day is not None)
    return Sides(
        by_day=bool(days),
        by_model=any(row.model is not None for row in rows),
        first=days[0] if days else None,
        last=days[-1] if days else None,
    )


def _theirs(rows: Sequence[Statement], sides: Sides) -> dict[Key, Statement]:
    """One statement a cell; a count is the sum of those stated, where any is."""
    found: dict[Key, Statement] = {}
    for row in rows:
        if sides.by_day and row.day is None:
            continue  # told by `undated`
        key = sides.key(row.day, row.model)
        found[key] = _together(found[key], row) if key in found else row
    return found


def _together(one: Statement, other: Statement) -> Statement:
    def add(name: str) -> Any:
        values = [v for v in (getattr(one, name), getattr(other, name)) if v is not None]
        return sum(values, start=type(values[0])()) if values else None

    names = ("calls", *TOKENS, "cost", "rounding")
    return replace(one, **{name: add(name) for name in names})


def _ours(found: Iterable[Piece], sides: Sides, zone: tzinfo) -> dict[Key, Cell]:
    cells: dict[Key, Cell] = {}
    for piece in found:
        day = piece.at.astimezone(zone).date().isoformat() if piece.at else None
        if not sides.holds(day):
            continue
        cell = cells.setdefault(sides.key(day, piece.model), Cell())
        if piece.reason is None:
            cell.counts = cell.counts.plus(piece.sums)
            cell.files[piece.path] = cell.files.get(piece.path, Sums()).plus(piece.sums)
        else:
            known = cell.left_out.get(piece.reason, Sums())
            cell.left_out[piece.reason] = known.plus(piece.sums)
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
    sides = sides_of(statements.rows)
    theirs = _theirs(statements.rows, sides)
    asked: tzinfo = ZoneInfo(zone)
    ours = _ours(found, sides, asked)
    own = _own_zone(found, sides, theirs, ours) if sides.by_day else None
    shifted = _ours(found, sides, own) if own else ours
    rows = [
        _row(key, ours.get(key, Cell()), shifted.get(key, Cell()), theirs.get(key), statements, own)
        for key in {*theirs, *ours, *shifted}
    ]
    rows.sort(key=_largest)
    undated = sum(row.day is None for row in statements.rows) if sides.by_day else 0
    return Differences(rows, _totals(rows), sides, undated)


def _largest(row: Row) -> tuple[Any, ...]:
    apart = row["difference"]
    cost = abs(Decimal(apart["cost_usd"] or 0))
    return (-cost, -abs(apart["tokens"] or 0), row["day"] or "", row["model"] or "")


def _own_zone(
    found: Sequence[Piece], sides: Sides, theirs: Mapping[Key, Statement], ours: Mapping[Key, Cell]
) -> tzinfo | None:
    """The offset of the other's days, where with it far more of the tokens are on the same days."""

    def apart(cells: Mapping[Key, int]) -> int:
        stated = {key: _all_tokens(each) or 0 for key, each in theirs.items()}
        return sum(abs(stated.get(key, 0) - cells.get(key, 0)) for key in {*stated, *cells})

    if not any(_all_tokens(each) for each in theirs.values()):
        return None
    counts = [piece for piece in found if piece.reason is None and piece.at is not None]
    as_asked = apart({key: cell.counts.tokens for key, cell in ours.items()})
    best, least = None, as_asked
    for offset in _OFFSETS if as_asked else ():
        cells: dict[Key, int] = {}
        for piece in counts:
            assert piece.at is not None  # noqa: S101 - for the type checker
            day = (piece.at.astimezone(UTC) + offset).date().isoformat()
            if sides.holds(day):
                key = sides.key(day, piece.model)
                cells[key] = cells.get(key, 0) + piece.sums.tokens
        if (now := apart(cells)) < least:
            best, least = timezone(offset), now
    return best if best is not None and least * 2 <= as_asked else None


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
    causes = list(_moved(ours, shifted, zone))
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


def _moved(ours: Cell, shifted: Cell, zone: tzinfo | None) -> Iterator[Cause]:
    if zone is not None:
        moved = shifted.counts.plus(ours.counts, -1)
        yield Cause(ZONE, f"its days are those of {zone}", moved.tokens, moved.cost)


def _lacking(cell: Cell, said: Statement) -> Cause:
    tokens = -cell.counts.tokens if _all_tokens(said) is not None else 0
    cost = -cell.counts.cost if said.cost is not None else 0
    return Cause(MISSING, f"it has nothing of {_named(cell.files)}", tokens, cost)


def _named(files: Iterable[str]) -> str:
    first, *more = sorted(files)
    return first if not more else f"{first} and {len(more):,} more"


class _Guess(NamedTuple):
    """Counts that the other would have for a reason."""

    cause: str
    words: str
    added: Sums


_CHANGES: Final[tuple[tuple[str, str, Callable[[Sums], dict[str, int]]], ...]] = (
    ("", "", lambda _: {}),
    (CONVENTION, "cache reads are counted twice", lambda s: {"input": s.cached}),
    (CONVENTION, "cache reads are left out", lambda s: {"input": -s.cached}),
    (CONVENTION, "cache writes are counted twice", lambda s: {"input": s.creation}),
    (CONVENTION, "cache writes are left out", lambda s: {"input": -s.creation}),
    (
        CONVENTION,
        "reads and writes of the cache are counted twice",
        lambda s: {"input": s.cached + s.creation},
    ),
    (
        CONVENTION,
        "reads and writes of the cache are left out",
        lambda s: {"input": -s.cached - s.creation},
    ),
    (REASONING, "reasoning is counted twice", lambda s: {"output": s.reasoning}),
    (REASONING, "reasoning is left out", lambda s: {"output": -s.reasoning}),
)


def _causes(cell: Cell, said: Statement, same_calls: bool) -> Iterator[Cause]:
    """What turns our counts of a cell into theirs, and then our cost into theirs."""
    stated = {name: n for name in TOKENS if (n := getattr(said, name)) is not None}
    cost = _femto(said.cost)
    if not stated:
        yield from _causes_of_cost(cell, said, same_calls)
        return
    found = _explained(cell, stated)
    if found is None:
        tokens = (_all_tokens(said) or 0) - cell.counts.tokens
        yield Cause(UNKNOWN, "", tokens, 0 if cost is None else cost - cell.counts.cost)
        return
    guess, change, words, delta = found
    after = cell.counts.plus(guess.added)
    if guess.cause:
        yield Cause(guess.cause, guess.words, guess.added.tokens, guess.added.cost if cost else 0)
    rest = 0 if cost is None else cost - after.cost
    if change:
        yield Cause(change, words, delta, rest)
    elif cost is not None and abs(rest) > (_femto(said.rounding) or 0):
        yield _of_price(after, cost, rest, said)


def _explained(cell: Cell, stated: Mapping[str, int]) -> tuple[_Guess, str, str, int] | None:
    """The first reasons that give all stated counts exactly, the simplest first."""
    for guess in _guesses(cell):
        after = cell.counts.plus(guess.added)
        for change, words, of in _CHANGES:
            delta = of(after)
            if any(delta.values()) or not change:
                made = {name: getattr(after, name) + delta.get(name, 0) for name in stated}
                if made == dict(stated):
                    return guess, change, words, sum(delta.values())
        more = stated.get("output", 0) - after.output
        others = {name: getattr(after, name) for name in stated if name != "output"}
        if after.bounded and more > 0 and others == {n: stated[n] for n in others}:
            return guess, PLACEHOLDER, "our log has only the first count of an output", more
    return None


def _guesses(cell: Cell) -> Iterator[_Guess]:
    yield _Guess("", "", Sums())
    for names, sums in _combined(cell.left_out):
        yield _Guess(DUPLICATES, f"it counts what is left out as {', '.join(names)}", sums)
    for names, sums in _combined(cell.files):
        yield _Guess(MISSING, f"it has nothing of {_named(names)}", Sums().plus(sums, -1))


def _combined(parts: Mapping[str, Sums]) -> Iterator[tuple[tuple[str, ...], Sums]]:
    """Every combination of the parts, the smaller first."""
    most = len(parts) if len(parts) <= _MOST_PARTS else 1
    for size in range(1, most + 1):
        for names in combinations(sorted(parts), size):
            whole = Sums()
            for name in names:
                whole = whole.plus(parts[name])
            yield names, whole


def _causes_of_cost(cell: Cell, said: Statement, same_calls: bool) -> Iterator[Cause]:
    """What is known of a cost alone: whose calls it holds cannot be told by counts."""
    cost = _femto(said.cost)
    if cost is None:
        return
    rest, near = cost - cell.counts.cost, _femto(said.rounding) or 0
    if abs(rest) <= near:
        return
    for guess in () if same_calls else _guesses(cell):
        if guess.cause and abs(rest - guess.added.cost) <= near:
            yield Cause(guess.cause, guess.words, 0, rest)
            return
    found = _of_price(cell.counts, cost, rest, said)
    yield found if same_calls or found.name == TIER else Cause(UNKNOWN, "", 0, rest)


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
