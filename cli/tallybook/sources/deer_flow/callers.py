"""Finds out who asked for the tokens of a run's sums, where their numbers alone can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Final

LEAD: Final = "lead"
UNKNOWN: Final = "unknown"  # the log has no word for it, which is not to say that it was the lead
_MOST_MODELS: Final = 7  # past this the ways to divide them are too many to prove anything

# Every way to group the three callers, the finest first.
_GROUPINGS: Final = (
    (("lead",), ("subagent",), ("middleware",)),
    (("lead",), ("middleware", "subagent")),
    (("subagent",), ("lead", "middleware")),
    (("middleware",), ("lead", "subagent")),
)


def label(callers: Sequence[str]) -> str | None:
    """The caller column of a sum that several callers share; the lead alone is None."""
    names = sorted(callers)
    return None if names == [LEAD] else "+".join(names) or UNKNOWN


def divide(models: Mapping[str, int], callers: Mapping[str, int]) -> dict[str, str | None]:
    """The caller of each model's tokens; both mappings hold totals of the same tokens.

    Where just one way to divide the models among the callers gives each caller its total, that is
    how it was; else callers share a label until one way is left.
    """
    present = [name for name, tokens in callers.items() if tokens]
    shared: dict[str, str | None] = dict.fromkeys(models, label(present))
    if len(present) < 2 or not 1 < len(models) <= _MOST_MODELS:
        return shared
    for grouping in _GROUPINGS:
        groups = [kept for group in grouping if (kept := [n for n in group if n in present])]
        if len(groups) < 2:
            continue
        ways = list(_ways(list(models.values()), [sum(callers[n] for n in g) for g in groups]))
        if len(ways) == 1:
            return {model: label(groups[i]) for model, i in zip(models, ways[0], strict=True)}
    return shared


def _ways(tokens: Sequence[int], wanted: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """For each division that fits, the group of each model."""
    for way in product(range(len(wanted)), repeat=len(tokens)):
        sums = [0] * len(wanted)
        for group, amount in zip(way, tokens, strict=True):
            sums[group] += amount
        if sums == list(wanted):
            yield way
