"""Makes one statement of a usage object that states its counts under two namings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tallybook.dialects.shape import follow

Usage = Mapping[str, Any]


class Naming(NamedTuple):
    """One of two ways to call the same counts, and the details of each."""

    input: str
    output: str
    input_details: str = ""
    output_details: str = ""


# Routers and batches answer with the keys of both of OpenAI's interfaces, one of them at zero.
_NAMINGS: Final = (
    (
        Naming(
            "prompt_tokens",
            "completion_tokens",
            "prompt_tokens_details",
            "completion_tokens_details",
        ),
        Naming("input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details"),
    ),
    (Naming("promptTokens", "completionTokens"), Naming("inputTokens", "outputTokens")),
    (
        Naming("gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"),
        Naming("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
    ),
)
_TOTALS: Final = ("total_tokens", "totalTokens", "gen_ai.usage.total_tokens")
_CACHES: Final = ("cache_read_input_tokens", "cache_creation_input_tokens")
_UNSAID: Final = (None, 0, "", "0")


def is_named_twice(keys: frozenset[str]) -> bool:
    """Whether an object with these keys may have some of one naming and some of the other."""
    return any(not keys.isdisjoint(one) and not keys.isdisjoint(other) for one, other in _NAMINGS)


def one_naming(usage: Usage) -> tuple[Usage, list[str]]:
    """The object under one naming, and the directions where the two state different numbers.

    A zero under one naming gives way to the number under the other, in counts and in details. Of
    two numbers those of the naming stand that the total is the sum of.
    """
    doubted: list[str] = []
    for first, second in _NAMINGS:
        if _states_any(usage, first) and _states_any(usage, second):
            kept, left = _preferred(usage, first, second)
            doubted += _doubted(usage, kept, left)
            usage = _joined(usage, kept, left)
    return usage, doubted


def _states_any(usage: Usage, naming: Naming) -> bool:
    return any(usage.get(key) is not None for key in naming)


def _preferred(usage: Usage, first: Naming, second: Naming) -> tuple[Naming, Naming]:
    """The naming that the counts are read under, and the other one."""
    one, other = _counts(usage, first), _counts(usage, second)
    if any(one) and any(other) and one != other:
        total = next((usage[key] for key in _TOTALS if key in usage), None)
        fits_one, fits_other = total == _sum(one), total == _sum(other)
        is_apart = _is_apart(usage, one[0], other[0])
        return (second, first) if is_apart or (fits_other and not fits_one) else (first, second)
    if any(one) or (not any(other) and (one != (None, None) or other == (None, None))):
        return first, second
    return second, first


def _counts(usage: Usage, naming: Naming) -> tuple[object, object]:
    return usage.get(naming.input), usage.get(naming.output)


def _sum(counts: tuple[object, object]) -> object:
    numbers = [number for number in counts if isinstance(number, int)]
    return sum(numbers) if len(numbers) == len(counts) else None


def _is_apart(usage: Usage, prompt: object, uncached: object) -> bool:
    """Whether the second naming is Anthropic's: the prompt of the first without its caches."""
    caches = [tokens for key in _CACHES if isinstance(tokens := usage.get(key), int)]
    if not isinstance(prompt, int) or not isinstance(uncached, int):
        return False
    return sum(caches) > 0 and prompt == uncached + sum(caches)


def _doubted(usage: Usage, kept: Naming, left: Naming) -> list[str]:
    """The directions in which neither number is zero, both differ, and nothing tells which."""
    counts, others = _counts(usage, kept), _counts(usage, left)
    total = next((usage[key] for key in _TOTALS if usage.get(key)), None)
    is_proved = total is not None and total == _sum(counts)
    if is_proved or _is_apart(usage, others[0], counts[0]):
        return []
    return [
        direction
        for direction, one, other in zip(("input", "output"), counts, others, strict=True)
        if one not in _UNSAID and other not in _UNSAID and one != other
    ]


def _joined(usage: Usage, kept: Naming, left: Naming) -> Usage:
    is_apart = _is_apart(usage, usage.get(left.input), usage.get(kept.input))
    joined = {key: value for key, value in usage.items() if key not in left}
    for key, other in zip(kept, left, strict=True):
        if key and (value := _said(usage.get(key), usage.get(other))) is not None:
            joined[key] = value
    # A total that leaves out caches, or that stands at zero with its naming, is none of these.
    counted = any(joined.get(key) not in _UNSAID for key in kept[:2])
    for key in _TOTALS:
        if is_apart or (counted and joined.get(key) in _UNSAID):
            joined.pop(key, None)
    return joined


def _said(one: Any, other: Any) -> Any:
    """What either says: of a zero and a number the number, of two numbers the first."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {key: _said(one.get(key), other.get(key)) for key in {**one, **other}}
    if one in _UNSAID and other not in _UNSAID:
        return other
    return other if one is None else one


def said_first(usage: Usage, paths: tuple[tuple[Any, ...], ...]) -> Any:
    """The first number other than zero at one of `paths`, else the zero, else None."""
    found = None
    for path in paths:
        value = follow(usage, path)
        if value not in _UNSAID:
            return value
        found = value if found is None else found
    return found
