"""Takes the usage of sub-agents out of messages that it was added to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tallybook.sources.deer_flow.values import text

_COUNTS: Final = ("input_tokens", "output_tokens", "total_tokens")
RAW: Final = "checkpoint-raw"  # the provider's own object was there, and nobody adds to that
TOLD: Final = "checkpoint-less-tasks"  # what was added is said to have been
GUESSED: Final = "checkpoint-less-tasks-guessed"  # it was taken off on the strength of the order
Added = tuple[bool, Mapping[str, Any]]


def deflate(messages: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str | None]]:
    """The messages of one write, those without additions that asked for tasks answered in it.

    A message whose tasks are answered in the same write was written again after them, and by then
    their usage had been added to it: since August 2026 with a word of it at the task's result,
    before without one. What was done about it is said beside it: `RAW`, `TOLD` or `GUESSED`.
    """
    results = [message for message in messages if message.get("type") == "tool"]
    for message in messages:
        usage = message.get("usage_metadata")
        added = list(_added(message, results)) if isinstance(usage, dict) else []
        yield _without(message, usage, added) if added else (message, None)


def _without(
    message: dict[str, Any], usage: Any, added: Sequence[Added]
) -> tuple[dict[str, Any], str | None]:
    raw = _raw(message)
    if raw is not None:
        return {**message, "usage_metadata": raw}, RAW
    less = {name: _minus(usage, added, name) for name in _COUNTS}
    if any(value is not None and value < 0 for value in less.values()):
        return message, None
    mark = TOLD if all(flagged for flagged, _ in added) else GUESSED
    return {**message, "usage_metadata": {**usage, **less}}, mark


def _added(message: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> Iterator[Added]:
    """The usage of each task that the message asked for, and whether it says it was added."""
    calls = message.get("tool_calls")
    found = calls if isinstance(calls, list) else []
    asked = {text(call.get("id")) for call in found if isinstance(call, dict)}
    for result in results:
        extra = result.get("additional_kwargs")
        if not isinstance(extra, dict) or text(result.get("tool_call_id")) not in asked:
            continue
        usage = extra.get("subagent_token_usage")
        if isinstance(usage, dict):
            yield extra.get("subagent_token_usage_attributed") is True, usage


def _minus(usage: Mapping[str, Any], added: Sequence[Added], name: str) -> int | None:
    total, parts = usage.get(name), [each.get(name) for _, each in added]
    numbers = [number for number in (total, *parts) if isinstance(number, int)]
    return numbers[0] - sum(numbers[1:]) if len(numbers) == len(parts) + 1 else None


def _raw(message: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the provider itself stated, which nothing was added to."""
    answer = message.get("response_metadata")
    if not isinstance(answer, dict):
        return None
    found = answer.get("token_usage") or answer.get("usage")
    return found if isinstance(found, dict) else None
