"""Finds the rates at which 9router priced a row, and prices corrected counts at the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final, NamedTuple

from tallybook.backfill.ninerouter.price_table import (
    APRIL_MODELS,
    APRIL_PATTERNS,
    FIRST_PROVIDERS,
    MODELS,
    PATTERNS,
    Rates,
)

# The prices were lowered on this day.
_LOWERED: Final = "2026-07-10"
_MILLION: Final = 1_000_000
_DECIMALS: Final = 12  # as many as counts times rates can have
_SAME: Final = 1e-9
Overrides = Mapping[tuple[str, str], Rates]  # provider, model -> what the user set


class RowCounts(NamedTuple):
    """A row's counts as 9router keeps them: the prompt holds the cache or does not."""

    prompt: int
    completion: int
    read: int = 0
    written: int = 0
    reasoning: int = 0


def rates_of(
    provider: str, model: str, timestamp: str, stated: tuple[RowCounts, float], overrides: Overrides
) -> Rates | None:
    """The rates that make the stored cost of the stated counts; None where none of them do.

    A row that has no cost was written before there were any, or when its model had none; it is
    given those of its day.
    """
    counts, cost = stated
    known = list(_candidates(provider, model, timestamp, overrides))
    if not cost:
        return known[0] if known else None
    return next((rates for rates in known if _makes(rates, counts, cost)), None)


def cost_of(rates: Rates, counts: RowCounts) -> float:
    """Dollars for counts whose prompt holds the cache and whose completion holds the reasoning.

    9router adds the price of the reasoning to that of the completion; no provider does.
    """
    rest = max(counts.prompt - counts.read - counts.written, 0)
    outside = max(counts.reasoning - counts.completion, 0)
    return round(
        (
            rest * rates.input
            + counts.read * (rates.cached or rates.input)
            + counts.written * (rates.creation or rates.input)
            + (counts.completion + outside) * rates.output
        )
        / _MILLION,
        _DECIMALS,
    )


def _candidates(provider: str, model: str, timestamp: str, overrides: Overrides) -> Iterator[Rates]:
    own = overrides.get((provider, model))
    if own is not None:
        yield own
    tables = ((MODELS, PATTERNS), (APRIL_MODELS, APRIL_PATTERNS))
    for models, patterns in tables if timestamp >= _LOWERED else tables[::-1]:
        found = _listed(model, models, patterns)
        if found is not None:
            yield found
    first = FIRST_PROVIDERS.get((provider, model))
    if first is not None:
        yield first


def _listed(model: str, models: Mapping[str, Rates], patterns: Mapping[str, Rates]) -> Rates | None:
    bare = model.rsplit("/", 1)[-1]
    if bare in models or model in models:
        return models.get(bare) or models[model]
    fits = (p for p in patterns if _pattern(p).match(bare) or _pattern(p).match(model))
    return next((patterns[pattern] for pattern in fits), None)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))) + r"\Z", re.IGNORECASE)


def _makes(rates: Rates, counts: RowCounts, cost: float) -> bool:
    """Whether one of the formulas that 9router has had gives the cost."""
    held = (counts.read, counts.read + counts.written)
    return any(abs(_as_stored(rates, counts, inside) - cost) <= _SAME for inside in held)


def _as_stored(rates: Rates, counts: RowCounts, inside: int) -> float:
    return (
        max(counts.prompt - inside, 0) * rates.input
        + counts.read * (rates.cached or rates.input)
        + counts.completion * rates.output
        + counts.reasoning * (rates.reasoning or rates.output)
        + counts.written * (rates.creation or rates.input)
    ) / _MILLION
