"""The shapes that a set of keys can mean, cut down to the paths that it can have."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from tallybook.dialects.shape import Paths, Shape, fetch, follow
from tallybook.dialects.shapes import SHAPES

_KEY_SETS: Final = 1024  # one log has a handful of them; in a foreign object keys may be anything
_COUNTS: Final = {
    "reported_input_tokens": "input",
    "reported_cached_tokens": "cached",
    "reported_cache_creation_tokens": "creation",
    "reported_cache_creation_5m_tokens": "creation_5m",
    "reported_cache_creation_1h_tokens": "creation_1h",
    "reported_output_tokens": "output",
    "reported_reasoning_tokens": "reasoning",
    "reported_total_tokens": "total",
    "web_search_requests": "web_searches",
}
_TEXTS: Final = ("service_tier", "speed", "inference_geo")


class Plan(NamedTuple):
    """A shape with the paths that lead somewhere, by the field of `Usage` that they fill."""

    shape: Shape
    counts: tuple[tuple[str, Paths], ...]
    texts: tuple[tuple[str, Paths], ...]
    added_input: Paths
    uncached: Paths
    is_completed: bool  # some count may follow from others
    cost: Paths


def plan(usage: Mapping[str, Any]) -> Plan | None:
    """How to read `usage`; None where its keys are those of no shape."""
    for found in _plans(frozenset(usage)):
        if _tells(found.shape, usage):
            return found
    return None


def _tells(shape: Shape, usage: Mapping[str, Any]) -> bool:
    if shape.agree:
        one, other = (follow(usage, path) for path in shape.agree)
        return one is not None and bool(one == other)
    return not shape.within or fetch(usage, shape.within) is not None


@lru_cache(maxsize=_KEY_SETS)
def _plans(keys: frozenset[str]) -> tuple[Plan, ...]:
    return tuple(_plan(shape, keys) for shape in SHAPES if shape.may_have(keys))


def _plan(shape: Shape, keys: frozenset[str]) -> Plan:
    def here(name: str) -> Paths:
        return tuple(path for path in getattr(shape, name) if path[0] in keys)

    counts = ((column, here(name)) for column, name in _COUNTS.items())
    texts = ((name, here(name)) for name in _TEXTS)
    added, uncached = here("added_input"), here("uncached")
    return Plan(
        shape=shape,
        counts=tuple((column, paths) for column, paths in counts if paths),
        texts=tuple((name, paths) for name, paths in texts if paths),
        added_input=added,
        uncached=uncached,
        is_completed=bool(added or uncached) or shape.total_tells_output,
        cost=here("cost"),
    )
