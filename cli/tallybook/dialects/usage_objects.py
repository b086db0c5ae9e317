"""What of a record may be shown: its usage objects, of these the numbers under keys of usage alone.

A key may be a word of somebody's message as well as a value, so none is shown that is not made of
the words in which usage is stated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+[a-z]?")
_KEY: Final = re.compile(r"[\w. -]{1,80}", re.ASCII)
_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "1 1h 24h 30m 5 5m accepted ai amzn audio bedrock billed byok cache cached calls "
        "candidates citation claude code completion connectors content context cost count counts "
        "created creation credits details document ephemeral eval evaluated execution fetch "
        "fetched file gen generation h hit image images in inference input interpreter is "
        "iterations last llm m mcp metadata miss n native no num output per posts predicted "
        "prediction prompt queries read reads reasoning rejected request requests response results "
        "search seconds server side sources sum text thinking thought thoughts ticks token tokens "
        "tool tools total totals uncached units upstream usage usd use used users video web window "
        "write writes written x",
    )
)
# One of these stands in each key that makes an object one of usage.
_COUNTS: Final = frozenset(
    {"token", "tokens", "usage", "cost", "count", "input", "output", "prompt", "completion", "n"}
)
# Keys on the way to a usage object that are named in its place; others are dots.
_AROUND: Final = frozenset(
    re.findall(
        r"\w+",
        "additional answer arguments body chunk data delta end event executor extra "
        "generations info item json kwargs lc main message model native params payload "
        "provider raw record result reviewer run running start stats step task tool trace "
        "turn updates value wrapper",
    )
)
_DEEP: Final = 24  # levels that are looked at; no log nests its counts as deep
_MOST: Final = 64  # entries of a list
_UNKNOWN: Final = "…"


class Shown(NamedTuple):
    """A usage object, its numbers only, and where it stands in its record."""

    at: str
    usage: Mapping[str, Any]


def usage_objects(value: object, depth: int = 0, at: tuple[str, ...] = ()) -> Iterator[Shown]:
    """The outermost objects of a decoded record that state usage, in their order."""
    if depth > _DEEP:
        return
    if isinstance(value, Mapping):
        if _is_usage(value):
            yield Shown(".".join(at), _numbers(value, depth))
            # What is beside the counts may hold more of them.
            kept: Any = {key: each for key, each in value.items() if not _is_shown(key)}
        else:
            kept = value
        for key, each in kept.items():
            yield from usage_objects(each, depth + 1, (*at, _place(key)))
    elif isinstance(value, list):
        for number, each in enumerate(value[:_MOST]):
            here = (*at[:-1], f"{at[-1]}[{number}]") if at else (f"[{number}]",)
            yield from usage_objects(each, depth + 1, here)


def _is_usage(value: Mapping[Any, Any]) -> bool:
    return any(
        _is_number(each) and _is_shown(key) and _COUNTS & _words(key) for key, each in value.items()
    )


def _numbers(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    """The numbers of an object under keys of usage, and those of the objects in it."""
    found: dict[str, Any] = {}
    for key, each in value.items():
        if not _is_shown(key):
            continue
        if each is None or _is_number(each):
            found[key] = each
        elif isinstance(each, Mapping) and depth < _DEEP:
            found[key] = _numbers(each, depth + 1)
        elif isinstance(each, list) and depth < _DEEP:
            inner = [_numbers(e, depth + 1) for e in each[:_MOST] if isinstance(e, Mapping)]
            if inner:
                found[key] = inner
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _is_shown(key: object) -> bool:
    return isinstance(key, str) and bool(words := _words(key)) and words <= _WORDS


def _words(key: str) -> frozenset[str]:
    """The words of a key; none where it has other signs than keys have."""
    if not _KEY.fullmatch(key):
        return frozenset()
    return frozenset(word.lower() for word in _WORD.findall(key))


def _place(key: object) -> str:
    words = _words(key) if isinstance(key, str) else frozenset()
    return str(key) if words and words <= _WORDS | _AROUND else _UNKNOWN
