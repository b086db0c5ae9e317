"""Gives a reseller that passes on a maker's prices the cache prices that the list leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import msgspec

from tallybook.pricing.names import Names
from tallybook.pricing.table import RULE, STANDARD, Model, Provider, Rate

RESELLER: Final = "openrouter"
# Their models are served by nobody who has a price of his own.
_CLOSED: Final = frozenset({"anthropic", "google", "openai", "x-ai"})
_SOURCE: Final = "openrouter.ai/docs/features/prompt-caching"
_REASON: Final = "the maker's ratio of cached to uncached input; the list has no cache price here"


def pass_on(providers: Sequence[Provider]) -> tuple[Provider, ...]:
    """The providers, with the cache prices of OpenRouter's models that a maker has one for."""
    names = Names(providers)
    found = []
    for provider in providers:
        if provider.id == RESELLER:
            models = tuple(_passed_on(model, names) for model in provider.models)
            found.append(msgspec.structs.replace(provider, models=models))
        else:
            found.append(provider)
    return tuple(found)


def _passed_on(model: Model, names: Names) -> Model:
    maker, slash, name = model.id.partition("/")
    if not slash or not any(row.borrowed for row in model.rates):
        return model
    match = names.resolve(maker, name)
    if match is None or match.assumed or match.provider == RESELLER:
        return model
    closed = match.provider in _CLOSED
    rates = tuple(_filled(row, match.model.rates, closed) for row in model.rates)
    return msgspec.structs.replace(model, rates=rates)


def _filled(row: Rate, made: Sequence[Rate], closed: bool) -> Rate:
    """The row with the maker's latest ratio for each rate that it only borrows.

    Of a model that others may serve, only where the price is the maker's own.
    """
    if row.uncached is None:
        return row
    own = [each for each in made if each.variant == STANDARD and each.above == 0]
    base = next((r for r in reversed(own) if closed or r.uncached == row.uncached), None)
    filled = {
        name: round(Fraction(row.uncached * getattr(base, name), base.uncached))
        for name in row.borrowed
        if base is not None and base.uncached and name not in base.borrowed
    }
    if not filled:
        return row
    borrowed = tuple(name for name in row.borrowed if name not in filled)
    return msgspec.structs.replace(
        row, **filled, borrowed=borrowed, basis=RULE, source=_SOURCE, reason=_REASON
    )
