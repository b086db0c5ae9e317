"""Counts the searches that a provider ran for an answer, and that it charges for one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tallybook.dialects.shape import follow
from tallybook.values import text

SEARCHES: Final = "tallybook.searches"  # put in place of content that told of so many

# Up to Gemini 2.5 a prompt with any search is charged for once, from 3 on each query is.
_CHARGED_ONCE: Final = re.compile(r"gemini-(?:1|2)\b")


def searches(body: Mapping[str, Any], model: str | None = None) -> int | None:
    """How many searches an answer is charged for; None where it tells of none."""
    noted = body.get(SEARCHES)
    found = noted if isinstance(noted, int) else _called(body) or _queried(body)
    return min(found, 1) if found and _CHARGED_ONCE.search(model or "") else found or None


def is_search(item: object) -> bool:
    """Whether an item of OpenAI's output is a search; to open a page of its results is free.

    The oldest answers state no action.
    """
    if not isinstance(item, Mapping) or item.get("type") != "web_search_call":
        return False
    return text(follow(item, ("action", "type"))) in {None, "search"}


def _called(body: Mapping[str, Any]) -> int:
    output = body.get("output")
    return sum(map(is_search, output)) if isinstance(output, list) else 0


def _queried(body: Mapping[str, Any]) -> int:
    candidates = body.get("candidates")
    found = (
        follow(candidate, ("groundingMetadata", "webSearchQueries"))
        or follow(candidate, ("grounding_metadata", "web_search_queries"))
        for candidate in (candidates if isinstance(candidates, list) else ())
    )
    return sum(len(queries) for queries in found if isinstance(queries, list))
