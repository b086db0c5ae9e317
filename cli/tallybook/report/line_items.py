"""Reads the lines of a provider's costs: of which model they are, and for which kind of token.

One of OpenAI is `gpt-5.4-2026-03-05, cached input`, with `priority | ` before it, a medium after
the model or `, long context` at its end where that is so. Its `quantity`, where one is stated, is
in tokens. A line of a tool (`web search tool calls`) has no model. Anthropic states the kind apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

import msgspec

# The kinds of cost, as they are called here and in a line. What is left of a prompt is uncached.
UNCACHED: Final = "uncached"
CACHED: Final = "cached"
CREATION: Final = "creation"
OUTPUT: Final = "output"
SEARCH: Final = "search"
TOOL: Final = "tool"
KINDS: Final = (UNCACHED, CACHED, CREATION, OUTPUT, SEARCH, TOOL)
_TOKENS: Final = {
    "input": UNCACHED,
    "cached input": CACHED,
    "cache writes": CREATION,
    "output": OUTPUT,
}
_LINE: Final = re.compile(
    r"(?:[\w -]+ \| )?(?P<model>[^\s,|]+)(?: (?:audio|image|text))?, (?P<kind>[a-z ]+)"
    r"(?:, long context)?"
)
_ANTHROPIC: Final = (
    (re.compile(r"cache_read"), CACHED),
    (re.compile(r"cache_(?:write|creation)"), CREATION),
    (re.compile(r"no_cache|uncached_input"), UNCACHED),
    (re.compile(r"output"), OUTPUT),
)
_OF_ALL_MODELS: Final = {
    SEARCH: re.compile(r"(?i)web[ _-]search"),
    TOOL: re.compile(r"(?i)file[ _-]search"),
}


class Lines(msgspec.Struct):
    """The lines of a day and model: dollars by kind, and tokens by kind where each line has them.

    `costs` is None where a line is of no known kind.
    """

    costs: dict[str, Decimal] | None = {}
    tokens: dict[str, int] | None = {}
    cost: Decimal = Decimal()
    number: int = 0

    def add(self, kind: str | None, cost: Decimal, quantity: int | None) -> None:
        """Take in one line."""
        self.cost += cost
        self.number += 1
        if kind is None:
            self.costs = self.tokens = None
            return
        if self.costs is not None:
            self.costs[kind] = self.costs.get(kind, Decimal()) + cost
        if quantity is None or kind in _OF_ALL_MODELS:
            self.tokens = None
        elif self.tokens is not None:
            self.tokens[kind] = self.tokens.get(kind, 0) + quantity


def model_and_kind(item: str | None) -> tuple[str | None, str | None]:
    """The model of a line, or the words of one without, and its kind where that is known."""
    text = (item or "").strip()
    found = _LINE.fullmatch(text)
    if found is not None:
        return found["model"], _TOKENS.get(found["kind"])
    return text or None, _of_all_models(text)


def kind_of(token_type: str | None, cost_type: str | None) -> str | None:
    """The kind of one of Anthropic's costs, None where it is not stated."""
    if cost_type and (kind := _of_all_models(cost_type)):
        return kind
    return next((kind for words, kind in _ANTHROPIC if words.search(token_type or "")), None)


def _of_all_models(name: str) -> str | None:
    return next((kind for kind, words in _OF_ALL_MODELS.items() if words.match(name)), None)


def names_apart(names: Iterable[str | None]) -> dict[str, str]:
    """By kind the name among those of lines under which it stands for all models."""
    return {kind: name for name in names if name and (kind := _of_all_models(name))}


def counts(tokens: Mapping[str, int] | None) -> dict[str, int]:
    """Tokens by kind as counts of which the prompt is the whole; none where some are not stated."""
    if not tokens:
        return {}
    prompt = {name: tokens.get(name, 0) for name in (UNCACHED, CACHED, CREATION)}
    return {
        "input": sum(prompt.values()),
        "cached": prompt[CACHED],
        "creation": prompt[CREATION],
        "output": tokens.get(OUTPUT, 0),
    }
