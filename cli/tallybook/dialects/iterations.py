"""The model calls that Anthropic's servers made for one answer, and which its counts leave out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tallybook.values import count, text

# Counted in the answer's own usage; where a fallback model answered, the usage is that model's.
_WITHIN: Final = frozenset({"message", "fallback_message"})
_PROMPT: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class Iteration(NamedTuple):
    """A model call within an answer. `usage` is for `read_usage`; no model is the answer's own."""

    part: str  # place in the usage object, e.g. "iterations[1]"
    kind: str  # e.g. "compaction", "advisor_message"
    model: str | None
    usage: Mapping[str, Any]


def left_out(usage: Mapping[str, Any]) -> list[Iteration]:
    """The iterations that are calls of their own beside the counts of `usage`, in their order."""
    return [
        Iteration(f"iterations[{index}]", kind, text(entry.get("model")), entry)
        for index, kind, entry in _entries(usage)
        if kind not in _WITHIN
    ]


def largest_prompt(usage: Mapping[str, Any]) -> int | None:
    """The largest prompt of one request, where the counts of `usage` are a sum over several."""
    prompts = [_prompt(entry) for _, kind, entry in _entries(usage) if kind == "message"]
    known = [tokens for tokens in prompts if tokens is not None]
    return max(known) if len(prompts) > 1 and known else None


def _entries(usage: Mapping[str, Any]) -> list[tuple[int, str, Mapping[str, Any]]]:
    entries = usage.get("iterations")
    return [
        (index, kind, entry)
        for index, entry in enumerate(entries if isinstance(entries, list) else ())
        if isinstance(entry, Mapping) and (kind := text(entry.get("type")))
    ]


def _prompt(entry: Mapping[str, Any]) -> int | None:
    stated = [count(entry.get(key), []) for key in _PROMPT]
    known = [tokens for tokens in stated if tokens is not None]
    return sum(known) if known else None
