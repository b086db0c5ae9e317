"""Why another's cost of a day and model is not ours, once the calls are the same.

Two causes of one cost are told apart where something else decides one of them: what a change of
counts costs at our prices, or how many times our price the other has on other days.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import combinations
from typing import Final, NamedTuple

from msgspec.structs import replace

from tallybook.report.causes import (
    CONVENTION,
    MISSING,
    PLACEHOLDER,
    PRICE,
    TIER,
    UNKNOWN,
    Cause,
    Change,
)
from tallybook.report.line_items import CACHED, CREATION, KINDS, OUTPUT, SEARCH, TOOL, UNCACHED
from tallybook.report.pieces import Sums
from tallybook.report.statements import Statement

_FEMTO: Final = 10**15
CHANCE: Final = Decimal("0.05")  # of all that a sum may be, what lies near enough to some part
_SEVERAL: Final = 2  # kinds of token whose costs are no chance where all are as many times ours,
_PRECISE: Final = Decimal("0.01")  # if that is known so well
_TIERS: Final = {
    "base": "it has no tier of long prompts",
    "standard": "it has the standard service tier",
    "brief": "it has writes for an hour at the price of five minutes",
}
# What a cost may be on other terms, one of them or two.
_ON_TERMS: Final = (
    *_TIERS.items(),
    *(
        (f"{one}_{other}", f"{_TIERS[one]}, and {_TIERS[other]}")
        for one, other in combinations(_TIERS, 2)
    ),
)
_WORDS: Final = {
    UNCACHED: "input",
    CACHED: "cached input",
    CREATION: "cache writes",
    OUTPUT: "output",
    SEARCH: "searches",
    TOOL: "tools",
}


def femto(cost: Decimal) -> int:
    """Whole femto-dollars."""
    return int((cost * _FEMTO).to_integral_value())


class Times(NamedTuple):
    """How many times our cost another one is, at least and at most."""

    low: Decimal
    high: Decimal

    def fits(self, said: Statement, ours: int) -> bool:
        """Whether what is said may be so many times as much."""
        if ours <= 0 or said.cost is None:
            return False
        other = times_of(said, ours)
        return other.low <= self.high and other.high >= self.low


def times_of(said: Statement, ours: int) -> Times:
    """How many times `ours`, in femto-dollars, a stated cost is."""
    cost, own = said.cost or Decimal(), Decimal(ours).scaleb(-15)
    return Times((cost - said.rounding) / own, (cost + said.rounding) / own)


def common(found: Sequence[Times], least: int) -> Times | None:
    """The ratio that most of several have, `least` of them, where that can hardly be chance."""
    best, most = None, least - 1
    for each in found:
        low, high, number = each.low, each.high, 0
        for other in found:
            if other.low <= high and other.high >= low:
                low, high, number = max(low, other.low), min(high, other.high), number + 1
        if number > most and high - low <= low * CHANCE:
            best, most = Times(low, high), number
    return best


# ---- with the same counts


def ratio(counts: Sums, said: Statement) -> Times | None:
    """How many times our cost another has, where nothing but a price explains that."""
    if said.cost is None or counts.unpriced or counts.cost <= 0 or said.cost <= 0:
        return None
    cost, near = femto(said.cost), femto(said.rounding)
    if abs(cost - counts.cost) <= near or _on_terms(counts, cost, near):
        return None
    return times_of(said, counts.cost)


def split(
    counts: Sums, change: Change, said: Statement, price: Times | None
) -> tuple[int, list[Cause]]:
    """What of a difference in money is a change's of the counts, and what else is in it.

    The other may count so in its money too, or only in its counts. Where neither that nor its price
    on other days, `price`, gives its cost, all is the change's.
    """
    if said.cost is None:
        return 0, []
    cost, near = femto(said.cost), femto(said.rounding)
    rest, own = cost - counts.cost, change.money(counts)
    if not change.cause:
        return 0, [] if _is_same(counts, said) else list(of_price(counts, said, price))
    if min(abs(rest - own), abs(rest)) <= near:
        return rest, []
    if (words := _on_terms(counts, cost, near)) is not None:
        return 0, [Cause(TIER, words[1], 0, rest)]
    for in_money in (own, 0):
        if price is not None and price.fits(said, counts.cost + in_money):
            words_of = _has(said, counts.cost + in_money)
            return in_money, [Cause(PRICE, words_of, 0, rest - in_money)]
    return rest, []


def _is_same(counts: Sums, said: Statement) -> bool:
    near = femto(said.rounding)
    return abs(femto(said.cost or Decimal()) - counts.cost) <= near and not _apart(counts, said)


def of_price(counts: Sums, said: Statement, price: Times | None = None) -> Iterator[Cause]:
    """What makes another cost of the same calls; `price` is what is known of other days."""
    cost, near = femto(said.cost or Decimal()), femto(said.rounding)
    rest = cost - counts.cost
    if (found := _on_terms(counts, cost, near)) is not None:
        yield Cause(TIER, found[1], 0, rest)
    elif counts.unpriced:
        yield Cause(PRICE, f"we have no price of {counts.unpriced:,} tokens", 0, rest)
    elif not cost:
        yield Cause(PRICE, "it has no price of it", 0, rest)
    elif (
        price is not None
        and not price.fits(said, counts.cost)
        and (two := tier_and_price(counts, said, price))
    ):
        yield from two
    elif said.costs is not None:
        yield from by_kind(counts, said, same_calls=True)
    else:
        yield Cause(PRICE, _has(said, counts.cost), 0, rest)


def tier_and_price(counts: Sums, said: Statement, price: Times) -> list[Cause]:
    """Another tier and a price that is known of other days, where both together give a cost."""
    cost = femto(said.cost or Decimal())
    for name, words in _ON_TERMS:
        other = int(getattr(counts, name))
        if other != counts.cost and price.fits(said, other):
            return [
                Cause(TIER, words, 0, other - counts.cost),
                Cause(PRICE, _has(said, other), 0, cost - other),
            ]
    return []


def on_other_terms(counts: Sums, said: Statement) -> Cause | None:
    """The tier that gives a stated cost, None where none does."""
    cost = femto(said.cost or Decimal())
    found = _on_terms(counts, cost, femto(said.rounding))
    return None if found is None else Cause(TIER, found[1], 0, cost - counts.cost)


def _on_terms(counts: Sums, cost: int, near: int) -> tuple[str, str] | None:
    for name, words in _ON_TERMS:
        other = int(getattr(counts, name))
        if other != counts.cost and abs(cost - other) <= near:
            return name, words
    return None


def _has(said: Statement, ours: int) -> str:
    cost = femto(said.cost or Decimal())
    return f"it has {Decimal(cost) / ours:.4g} times our price" if ours else ""


# ---- by kind of token


def part(counts: Sums, kind: str) -> int:
    """Our cost of a kind."""
    return int(getattr(counts, f"{kind}_cost"))


def by_kind(counts: Sums, said: Statement, *, same_calls: bool) -> list[Cause]:
    """What makes the costs of some kinds differ.

    They are of the same calls where those of another kind agree, or all are as many times ours.
    """
    apart = _apart(counts, said)
    near = femto(said.rounding)
    agree = any(part(counts, kind) > near for kind in KINDS if kind not in apart)
    if (same_calls or agree) and (moved := _moved(counts, apart, near)) is not None:
        return [Cause(CONVENTION, moved, 0, sum(apart.values()))]
    if _are_alike(counts, said):
        return [Cause(PRICE, _has(said, counts.cost), 0, sum(apart.values()))]
    if not (same_calls or agree):
        return [Cause(UNKNOWN, _WORDS[kind], 0, more) for kind, more in apart.items()]
    return [_of_kind(counts, kind, more, same_calls=same_calls) for kind, more in apart.items()]


def _apart(counts: Sums, said: Statement) -> dict[str, int]:
    """Theirs less ours of each kind that differs."""
    if said.costs is None:
        return {}
    stated = {kind: femto(said.costs.get(kind, Decimal())) for kind in KINDS}
    between = {kind: cost - part(counts, kind) for kind, cost in stated.items()}
    return {kind: more for kind, more in between.items() if abs(more) > femto(said.rounding)}


def _of_kind(counts: Sums, kind: str, more: int, *, same_calls: bool) -> Cause:
    """The cause of one kind, where another kind shows that the calls are the same."""
    own, word = part(counts, kind), _WORDS[kind]
    if kind == OUTPUT and counts.bounded and more > 0 and not same_calls:
        return Cause(PLACEHOLDER, "our log has only the first count of an output", 0, more)
    if not own:
        return Cause(MISSING, f"no log of ours has its {word}", 0, more)
    if own + more == 0:
        return Cause(PRICE, f"it has no price of {word}", 0, more)
    return Cause(PRICE, f"{word}: it has {Decimal(own + more) / own:.4g} times our price", 0, more)


def _moved(counts: Sums, apart: Mapping[str, int], near: int) -> str | None:
    """How many tokens of the prompt are of another kind there, where that gives both costs."""
    cached = next((kind for kind in (CACHED, CREATION) if kind in apart), None)
    if cached is None or apart.keys() != {UNCACHED, cached}:
        return None
    tokens = {
        UNCACHED: counts.input - counts.cached - counts.creation,
        cached: int(getattr(counts, cached)),
    }
    rates = {k: Decimal(part(counts, k)) / n for k, n in tokens.items() if n > 0}
    if len(rates) < len(tokens) or not all(rates.values()):
        return None
    less, more = (sign * apart[k] / rates[k] for sign, k in ((-1, UNCACHED), (1, cached)))
    if abs(less - more) > 1 + sum(near / rate for rate in rates.values()):
        return None
    word = "more" if more > 0 else "less"
    return f"it has {abs(round(more)):,} {word} of the prompt as {_WORDS[cached]}"


def _are_alike(counts: Sums, said: Statement) -> bool:
    """Whether all kinds are as many times ours, and enough of them large enough to tell."""
    if said.costs is None or counts.cost <= 0:
        return False
    if any(cost and not part(counts, kind) for kind, cost in said.costs.items()):
        return False
    whole, precise = times_of(said, counts.cost), 0
    for kind in KINDS:
        own = part(counts, kind)
        if own > 0:
            stated = replace(said, cost=said.costs.get(kind, Decimal()))
            if not whole.fits(stated, own):
                return False
            low, high = times_of(stated, own)
            precise += high - low <= high * _PRECISE
    return precise >= _SEVERAL
