"""What a declaration of a usage shape consists of, and how its counts are fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

# A step is a key, an index, or (key, value): the element of a list whose `key` is that value.
Step = str | int | tuple[str, str]
Path = tuple[Step, ...]

# What to do where more than one of a shape's dialects fits the numbers.
FIRM: Final = "firm"  # the first that fits
ASSUMED: Final = "assumed"  # the first that fits, and say that it is a guess
AMBIGUOUS: Final = "ambiguous"  # leave the input unsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One usage shape: the keys that tell it, where its counts lie, how they may be contained.

    A shape is told by any one of `keys` being there in full, none of `without`, and one of the
    paths of `within`, if it has any. Of several paths to a count the first that states it is
    taken: providers say the same number twice. `added_input` is counted on top of the input;
    `uncached` is what of the input came from no cache, from which a missing count follows.
    `dialects` are those that these keys are in use with, `hints` which one a provider uses, and
    `doubt` what to do where several fit. `total_tells_output`: an output left out is zero where
    the total proves it.
    """

    rule: str
    keys: tuple[frozenset[str], ...]
    dialects: tuple[str, ...]
    without: frozenset[str] = frozenset()
    within: tuple[Path, ...] = ()
    doubt: str = FIRM
    hints: Mapping[str, str] = field(default_factory=dict)
    input: tuple[Path, ...] = ()
    added_input: tuple[Path, ...] = ()
    uncached: tuple[Path, ...] = ()
    cached: tuple[Path, ...] = ()
    creation: tuple[Path, ...] = ()
    creation_5m: tuple[Path, ...] = ()
    creation_1h: tuple[Path, ...] = ()
    output: tuple[Path, ...] = ()
    reasoning: tuple[Path, ...] = ()
    total: tuple[Path, ...] = ()
    service_tier: tuple[Path, ...] = ()
    speed: tuple[Path, ...] = ()
    inference_geo: tuple[Path, ...] = ()
    web_searches: tuple[Path, ...] = ()
    cost: tuple[Path, ...] = ()
    cost_unit: Decimal = Decimal(1)  # US dollars
    own_key: tuple[Path, ...] = ()  # true: the cost is a fee, and `own_key_cost` comes on top
    own_key_cost: tuple[Path, ...] = ()
    total_tells_output: bool = False

    def fits(self, keys: frozenset[str]) -> bool:
        """Whether a usage object with these keys may be of this shape."""
        return self.without.isdisjoint(keys) and any(some <= keys for some in self.keys)


# The fields that hold paths to what is read.
COUNTS: Final = (
    "input",
    "added_input",
    "uncached",
    "cached",
    "creation",
    "creation_5m",
    "creation_1h",
    "output",
    "reasoning",
    "total",
    "service_tier",
    "speed",
    "inference_geo",
    "web_searches",
    "cost",
    "own_key",
    "own_key_cost",
)


def fetch(usage: Mapping[str, Any], paths: tuple[Path, ...]) -> Any:
    """The first value that is stated at one of `paths`, else None."""
    for path in paths:
        value = follow(usage, path)
        if value is not None:
            return value
    return None


def follow(value: Any, path: Path) -> Any:
    """The value at the end of `path`; None where it leads nowhere."""
    for step in path:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list):
            value = _element(value, step)
        else:
            return None
    return value


def _element(values: list[Any], step: Step) -> Any:
    if isinstance(step, int):
        return values[step] if step < len(values) else None
    if isinstance(step, tuple):
        key, wanted = step
        found = (v for v in values if isinstance(v, Mapping) and v.get(key) == wanted)
        return next(found, None)
    return None
