"""Which rates apply to a request: its model, service tier, speed and region, its prompt's tier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import prod
from typing import Final

import msgspec
from msgspec.structs import replace

from tallybook.pricing import rules
from tallybook.pricing.names import GATEWAYS, Match, Names
from tallybook.pricing.price_file import Discount, Overrides, Price
from tallybook.pricing.table import (
    BATCH,
    FAST,
    FLEX,
    PRIORITY,
    RATES,
    RULE,
    STANDARD,
    ULTRAFAST,
    Fee,
    Rate,
    holds_at,
    scale,
)

_TIERS: Final = {
    "": STANDARD,
    "standard": STANDARD,
    "standard_only": STANDARD,
    "default": STANDARD,
    "auto": STANDARD,
    "on_demand": STANDARD,
    "priority": PRIORITY,
    "fast": FAST,
    "flex": FLEX,
    "batch": BATCH,
    "ultrafast": ULTRAFAST,
}
_OTHER: Final = "other"
_FREE: Final = Rate(0, 0, 0, 0, 0, 0)


class Key(msgspec.Struct, frozen=True):
    """What of a call decides which rates apply; each as logged."""

    provider: str | None = None
    model: str | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None


class Layer(msgspec.Struct, frozen=True):
    """Rates of one origin. `assumed`: nobody states that this price is the one that was paid."""

    rates: tuple[Rate, ...]
    assumed: bool = False
    notes: tuple[str, ...] = ()
    least: Fraction = Fraction(1)  # of the rates, what was paid at least
    is_bounded: bool = True  # nothing dearer was paid


class Tariff(msgspec.Struct, frozen=True):
    """All rates for a key; where several layers have one in force, the first holds."""

    provider: str | None
    model: str | None
    match: Match | None
    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()
    fees: tuple[Fee, ...] = ()  # of tools, whatever the tokens cost

    def in_force(self, instant: int, second: int | None) -> tuple[Layer | None, tuple[Rate, ...]]:
        """The layer and its rates at `instant` (microseconds), base tier first.

        `second` of the UTC week picks the daily window; None gives the rates of all windows.
        """
        for layer in self.layers:
            rows = [row for row in layer.rates if holds_at(row, instant)]
            if second is not None:
                rows = [row for row in rows if row.holds_in_week(second)]
            if rows:
                return layer, tuple(sorted(rows, key=lambda row: row.above))
        return None, ()


def tariff_of(key: Key, names: Names, overrides: Overrides) -> Tariff:
    """Resolve the names of `key` and collect the rates: the user's, then the list's."""
    logged = key
    key, notes = _aliased(key, names, overrides)
    match = names.resolve(key.provider, key.model)
    sellers = _sellers(key, match, names)
    own = [p for p in reversed(overrides.prices) if _applies(p, key, match, sellers)]
    layers = [_own_layer(price, key, match) for price in own]
    if _is_free(logged, key, sellers, overrides):
        layers.append(Layer((_FREE,), notes=("costs nothing at this provider",)))
    elif match is not None and match.model.rates:
        discounts = [each for each in overrides.discounts if each.provider in sellers]
        layers.append(_list_layer(key, match, discounts))
    model = match.model.id if match else own[0].model if own else None
    seller = match.provider if match else own[0].provider if own else None
    if match is None and layers and not own:
        model, seller = key.model, key.provider
    fees = names.fees(match.provider, match.model.id) if match is not None else ()
    return Tariff(seller, model, match, tuple(layers), notes, fees)


def tier_of_prompt(rows: tuple[Rate, ...], prompt: int, *, is_exact: bool) -> tuple[Rate, ...]:
    """The rates of the tier that a request with a prompt of so many tokens is billed at.

    The whole prompt decides, whatever of it was cached. Unless the size `is_exact`, it is the most
    that the prompt can have been, and every tier up to that one is possible. `rows` are in the
    order of their tiers.
    """
    reached = tuple(row for row in rows if row.above == 0 or row.above < prompt)
    if not is_exact or not reached:
        return reached
    return tuple(row for row in reached if row.above == reached[-1].above)


def _aliased(key: Key, names: Names, overrides: Overrides) -> tuple[Key, tuple[str, ...]]:
    model = (key.model or "").strip().lower()
    stated = {(key.provider or "").strip().lower(), names.provider_id(key.provider)}
    for alias in reversed(overrides.aliases):
        if alias.source != model:
            continue
        if alias.provider is None or not key.provider or alias.provider in stated:
            provider = alias.provider or key.provider
            changed = Key(provider, alias.target, key.service_tier, key.speed, key.inference_geo)
            return changed, (f"alias of {alias.target}",)
    return key, ()


def _sellers(key: Key, match: Match | None, names: Names) -> frozenset[str]:
    """Every name under which the price file may mean the provider of this call."""
    seller = names.provider_id(key.provider)
    found = {(key.provider or "").strip().lower(), seller}
    if match is not None and not match.assumed and not names.resells(seller, match.provider):
        found.add(match.provider)
    return frozenset(name for name in found if name)


def _applies(price: Price, key: Key, match: Match | None, sellers: frozenset[str]) -> bool:
    if price.model not in _models(key, match):
        return False
    return price.provider is None or not sellers or price.provider in sellers


def _models(key: Key, match: Match | None) -> set[str]:
    found = {(key.model or "").strip().lower()}
    if match is not None:
        found.add(match.model.id.lower())
    return found


def _is_free(logged: Key, key: Key, sellers: frozenset[str], overrides: Overrides) -> bool:
    stated = None if (key.provider or "").strip().lower() in GATEWAYS else key.provider
    if overrides.free & sellers or rules.is_local(stated, key.model):
        return True
    return any((k.model or "").strip().lower().endswith(":free") for k in (logged, key))


def _discounted(row: Rate, discounts: Sequence[Discount]) -> Iterator[Rate]:
    """The rate by period, at the last discount in force; one without a period is so always."""
    edges = {edge for each in discounts for edge in (each.valid_from, each.valid_to)}
    starts, ends = row.valid_from, row.valid_to
    inner = sorted(
        edge
        for edge in edges
        if edge is not None and (starts is None or starts < edge) and (ends is None or edge < ends)
    )
    for start, end in zip([starts, *inner], [*inner, ends], strict=True):
        factors = [each.factor for each in discounts if _is_in_force(each, start)]
        yield scale(row.during(start, end), factors[-1] if factors else Fraction(1), names=RATES)


def _is_in_force(discount: Discount, start: int | None) -> bool:
    begun = discount.valid_from is None or (start is not None and discount.valid_from <= start)
    return begun and (discount.valid_to is None or start is None or start < discount.valid_to)


def _own_layer(price: Price, key: Key, match: Match | None) -> Layer:
    # A price stated for the very name in the log already holds what that name asks for.
    named = price.model == (key.model or "").strip().lower()
    fast = match is not None and match.fast and not named
    provider = price.provider or (match.provider if match else "")
    model = match.model.id if match else price.model
    layer = _surcharged(price.rates, key, fast, provider, model)
    return replace(layer, notes=("price of the price file", *layer.notes))


def _list_layer(key: Key, match: Match, discounts: Sequence[Discount]) -> Layer:
    seller = "" if match.assumed else match.provider
    layer = _surcharged(match.model.rates, key, match.fast, seller, match.model.id)
    layer = replace(layer, assumed=layer.assumed or match.assumed)
    if not discounts:
        return layer
    rates = tuple(part for row in layer.rates for part in _discounted(row, discounts))
    factors = dict.fromkeys(f"x {float(each.factor):g}" for each in discounts)
    notes = (*layer.notes, f"discount of the price file: {', '.join(factors)}")
    return replace(layer, rates=rates, notes=notes)


def _surcharged(rates: Sequence[Rate], key: Key, fast: bool, provider: str, model: str) -> Layer:
    """The variant that the key asks for, with the surcharges that no list states."""
    known = frozenset(row.variant for row in rates)
    tier = _TIERS.get((key.service_tier or "").strip().lower(), _OTHER)
    fast = fast or tier == FAST or (key.speed or "").strip().lower() == "fast"
    steps = []
    if fast:
        steps.append(_fast_step(known, model))
    # Codex says fast in both ways, and means it once; Claude's priority tier is something else.
    if tier != FAST and not (fast and tier == PRIORITY and not rules.is_claude(model)):
        steps.append(_tier_step(tier, known if not fast else frozenset(), provider, model))
    if (key.inference_geo or "").strip().lower() == "us":
        steps.append(_Step(factor=rules.us_premium(provider, model), why="US inference"))
    if provider == "aws" and (key.model or "").strip().lower().startswith("us-gov."):
        steps.append(_Step(factor=rules.GOVERNMENT, why="US government's region"))
    return _layer(rates, steps, provider, model)


class _Step(msgspec.Struct, frozen=True):
    """One thing a call asks for: a listed variant, or a factor by rule, or nobody knows."""

    variant: str = STANDARD
    factor: Fraction = Fraction(1)
    why: str = ""
    assumed: bool = False
    least: Fraction = Fraction(1)
    is_bounded: bool = True


def _fast_step(known: frozenset[str], model: str) -> _Step:
    if FAST in known:
        return _Step(FAST)
    # A model without a fast mode runs at its standard price.
    return _Step(factor=rules.fast_factor(model) or Fraction(1), why=FAST)


def _tier_step(tier: str, known: frozenset[str], provider: str, model: str) -> _Step:
    if tier in known or tier == STANDARD:
        return _Step(tier)
    if tier == BATCH and provider in rules.BATCH_AT_HALF:
        return _Step(factor=rules.HALF, why=BATCH)
    # Claude's priority tier is capacity bought ahead; what it costs is in no list.
    factor = rules.fast_factor(model) if tier == PRIORITY and not rules.is_claude(model) else None
    if factor is not None:
        return _Step(factor=factor, why=tier)
    # No list takes more than half off, and how dear haste may be nobody knows.
    is_dear, is_cheap = tier in {PRIORITY, ULTRAFAST}, tier in {FLEX, BATCH}
    least = Fraction(1) if is_dear and not rules.is_claude(model) else rules.HALF
    return _Step(why=tier, assumed=True, least=least, is_bounded=is_cheap)


def _layer(rates: Sequence[Rate], steps: Sequence[_Step], provider: str, model: str) -> Layer:
    variant = next((step.variant for step in steps if step.variant != STANDARD), STANDARD)
    factors = [step for step in steps if step.factor != 1]
    open_steps = [step for step in steps if step.assumed]
    factor = prod((step.factor for step in factors), start=Fraction(1))
    rows = (scale(row, factor, RULE) for row in rates if row.variant == variant)
    return Layer(
        rates=tuple(_with_search(row, rules.search_fee(provider, model)) for row in rows),
        assumed=any(step.assumed for step in steps),
        notes=(
            *(f"{step.why}: x {float(step.factor):g}" for step in factors),
            *(f"the price of the tier ({step.why}) is not known" for step in open_steps),
        ),
        least=min((step.least for step in steps), default=Fraction(1)),
        is_bounded=all(step.is_bounded for step in steps),
    )


def _with_search(row: Rate, fee: int | None) -> Rate:
    return row if row.search is not None else msgspec.structs.replace(row, search=fee)
