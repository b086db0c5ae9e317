"""Finds the tools that a provider ran for an answer and charges for by the call, but for searches.

What has a listed fee is counted (schema.TOOL_COUNTS); of the rest it is told that there are some.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from tallybook.dialects.shape import follow
from tallybook.schema import TOOL_COUNTS
from tallybook.values import count, text

NOTED: Final = "tallybook.tools"  # put in place of content that told of them
_OTHERS: Final = "others"

# docs.x.ai/developers/pricing: what runs for nothing, or for its tokens alone, is not here. Which
# tool a search of documents is no page says, and an image costs by the model that made it.
_XAI: Final = {
    "code_interpreter_calls": "code_execution_calls",
    "file_search_calls": "file_search_calls",
    "x_search_calls": "x_search_calls",
    "x_posts_fetched": "x_posts_fetched",
    "x_users_fetched": "x_users_fetched",
}
_XAI_UNCOUNTED: Final = ("document_search_calls", "image_generation_calls")
_SIZES: Final = ("low", "medium", "high")
# Items of OpenAI's output. A container is charged for by its size and time, an image by its tokens,
# and neither is stated.
_FILE_SEARCH: Final = "file_search_call"
_UNCOUNTED: Final = frozenset({"code_interpreter_call", "image_generation_call"})


class Tools(NamedTuple):
    """Counts in the order of TOOL_COUNTS; `others` where tools ran whose fees nothing counts."""

    counts: list[int | None] | None = None
    others: bool = False


def _counted(stated: Mapping[str, int | None]) -> list[int | None] | None:
    found = [stated.get(name) for name in TOOL_COUNTS]
    return found if any(n is not None for n in found) else None


# ---- in a usage object


def _xai(usage: Mapping[str, Any], problems: list[str]) -> Tools:
    details = usage.get("server_side_tool_usage_details")
    details = details if isinstance(details, Mapping) else {}
    calls = {str(name): count(number, problems) for name, number in details.items()}
    stated = {own: calls.get(name) for name, own in _XAI.items()}
    if stated["x_posts_fetched"] is not None:
        # What a search of X has found is charged for in place of the search, since both are stated.
        stated["x_search_calls"] = None
    named = sum(number or 0 for name, number in calls.items() if name.endswith("_calls"))
    unnamed = (count(usage.get("num_server_side_tools_used"), problems) or 0) > named
    return Tools(_counted(stated), any(map(calls.get, _XAI_UNCOUNTED)) or unnamed)


def _perplexity(usage: Mapping[str, Any], problems: list[str]) -> Tools:
    queries, size = usage.get("num_search_queries"), text(usage.get("search_context_size"))
    stated = {"search_queries": count(queries, problems)}
    if queries is None and size in _SIZES:
        stated[f"{size}_context_requests"] = 1
    # What is cited is charged for by tokens of its own.
    return Tools(_counted(stated), bool(count(usage.get("citation_tokens"), problems)))


def _mistral(usage: Mapping[str, Any], problems: list[str]) -> Tools:
    connectors = usage.get("connectors")
    ran = connectors.values() if isinstance(connectors, Mapping) else ()
    return Tools(None, bool(sum(count(number, problems) or 0 for number in ran)))


_OF_USAGE: Final[Mapping[str, Callable[[Mapping[str, Any], list[str]], Tools]]] = {
    "xai": _xai,
    "perplexity": _perplexity,
    "mistral": _mistral,
}


def tools_in_usage(name: str, usage: Mapping[str, Any], problems: list[str]) -> Tools:
    """The tools that a usage object tells of; `name` is whose way of telling it is."""
    return _OF_USAGE[name](usage, problems)


# ---- in an answer


def tools_in_answer(body: Mapping[str, Any]) -> Tools | None:
    """The tools that an answer tells of outside of its usage; None where there are none."""
    noted = body.get(NOTED)
    if isinstance(noted, Mapping):
        return Tools(_counted(noted), bool(noted.get(_OTHERS)))
    kinds = [text(item.get("type")) for item in _items(body.get("output"))]
    files, others = kinds.count(_FILE_SEARCH), not _UNCOUNTED.isdisjoint(kinds)
    # Anthropic charges for the hours of a container, Google for answers from its maps.
    others = others or isinstance(body.get("container"), Mapping) or _is_from_maps(body)
    if not files and not others:
        return None
    return Tools(_counted({"file_search_calls": files}) if files else None, others)


def note_of(answers: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What to put under NOTED for all tools that several parts of one answer tell of."""
    found = [tools for each in answers if (tools := tools_in_answer(each)) is not None]
    if not found:
        return None
    counts = [dict(zip(TOOL_COUNTS, each.counts or (), strict=False)) for each in found]
    most = {name: max((each.get(name) or 0 for each in counts), default=0) for name in TOOL_COUNTS}
    stated = {name: number for name, number in most.items() if number}
    return {**stated, _OTHERS: any(each.others for each in found)}


def added_notes(notes: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Several such notes as one, each of tools of its own."""
    found = list(notes)
    sums = {name: sum(each.get(name) or 0 for each in found) for name in TOOL_COUNTS}
    stated = {name: number for name, number in sums.items() if number}
    return {**stated, _OTHERS: any(each.get(_OTHERS) for each in found)}


def _is_from_maps(body: Mapping[str, Any]) -> bool:
    return any(
        isinstance(chunk.get("maps"), Mapping)
        for candidate in _items(body.get("candidates"))
        for place in (
            ("groundingMetadata", "groundingChunks"),
            ("grounding_metadata", "grounding_chunks"),
        )
        for chunk in _items(follow(candidate, place))
    )


def _items(value: object) -> list[Mapping[str, Any]]:
    return [e for e in value if isinstance(e, Mapping)] if isinstance(value, list) else []
