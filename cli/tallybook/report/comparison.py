"""What a comparison says: a row a day and model, with both sides and the causes, and the totals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from tallybook.report.causes import UNKNOWN, Cause
from tallybook.report.codes import CAUSES
from tallybook.report.costs import femto, part
from tallybook.report.fields import plain
from tallybook.report.line_items import KINDS
from tallybook.report.pieces import TOKENS, Sums
from tallybook.report.statements import Statement
from tallybook.report.summary import Row, money

# The fields of a side for what is stated by kind.
_PARTS: Final = {
    "uncached": "uncached_input_cost_usd",
    "cached": "cached_input_cost_usd",
    "creation": "cache_creation_cost_usd",
    "output": "output_cost_usd",
    "search": "web_search_cost_usd",
    "tool": "tool_cost_usd",
}
Key = tuple[str | None, str | None]  # day and model, as far as they are told apart


def femto_of(cost: Decimal | None) -> int | None:
    """Whole femto-dollars of a cost that may not be stated."""
    return None if cost is None else femto(cost)


def document(key: Key, ours: Sums, said: Statement, causes: Sequence[Cause]) -> Row:
    """The row of a day and model."""
    tokens, cost = said.tokens, femto_of(said.cost)
    stated = {} if said.costs is None else {k: femto(said.costs.get(k, Decimal())) for k in KINDS}
    return {
        "day": key[0],
        "model": key[1],
        "ours": {
            "calls": ours.calls,
            **{f"{name}_tokens": getattr(ours, name) for name in TOKENS},
            "tokens": ours.tokens,
            "cost_usd": money(ours.cost),
            **{name: money(part(ours, kind)) for kind, name in _PARTS.items()},
        },
        "theirs": {
            "calls": said.calls,
            **{f"{name}_tokens": getattr(said, name) for name in TOKENS},
            "tokens": tokens,
            "cost_usd": money(cost),
            **{name: money(stated.get(kind)) for kind, name in _PARTS.items()},
        },
        "difference": {
            "tokens": None if tokens is None else tokens - ours.tokens,
            "cost_usd": None if cost is None else money(cost - ours.cost),
        },
        "causes": [told(each, has_cost=cost is not None) for each in causes],
    }


def told(cause: Cause, *, has_cost: bool) -> Row:
    """A cause, in money where the other states a cost."""
    return {
        "cause": cause.name,
        "words": cause.words,
        "tokens": cause.tokens,
        "cost_usd": money(cause.cost) if has_cost else None,
    }


def totals_of(rows: Sequence[Row]) -> Row:
    """The sums of both sides and of each cause, and how much of all differences is named."""
    causes = {
        name: {
            "cells": len(found),
            "tokens": sum(each["tokens"] for each in found),
            "cost_usd": plain(sum((Decimal(e["cost_usd"] or 0) for e in found), Decimal())),
        }
        for name in CAUSES
        if (found := list(_of(rows, name)))
    }
    return {
        **{side: _side(rows, side) for side in ("ours", "theirs", "difference")},
        "causes": causes,
        "apart": {
            "tokens": sum(abs(row["difference"]["tokens"] or 0) for row in rows),
            "cost_usd": plain(_sum_of(rows, "difference", absolute=True)),
        },
        "unknown": {
            "tokens": sum(abs(e["tokens"]) for e in _of(rows, UNKNOWN)),
            "cost_usd": plain(
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
        "cost_usd": plain(_sum_of(rows, side)) if has_cost else None,
    }


def _sum_of(rows: Sequence[Row], side: str, *, absolute: bool = False) -> Decimal:
    costs = (Decimal(row[side]["cost_usd"] or 0) for row in rows)
    return sum((abs(cost) if absolute else cost for cost in costs), Decimal())
