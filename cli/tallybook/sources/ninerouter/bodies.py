"""Settles the counts of a stored answer, to whose prompt the router may have added a surplus.

Before it passes an answer on, it raises the prompt count by 2000 and drops the keys that the
client's format does not know. Where client and provider speak one format, that is what it keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tallybook.dialects import Usage
from tallybook.values import begins, count

# States of an answer without counts.
BARE: Final = "bare"  # nothing at all: the provider streamed, the client did not ask for that
CUT: Final = "cut"  # too long to be kept
FILTERED: Final = "filtered"  # the counts were taken out for the client
SURPLUS: Final = 2000
_PROMPTS: Final = ("prompt_tokens", "input_tokens")
_LEFT_BY_FILTER: Final = frozenset(
    {
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
    }
)


def settle(usage: Usage, raw: Mapping[str, Any], body: Mapping[str, Any], own: set[int]) -> Usage:
    """The counts of a body without its surplus; `own` are the prompts the detail states itself.

    A prompt that the detail's own does not prove is left out, and one that nothing can be held
    against is a guess.
    """
    stated = next((count(raw[name], []) for name in _PROMPTS if raw.get(name) is not None), None)
    if stated is None or stated in own:
        usage.rule = f"body/{usage.rule}"
    elif own:
        altered = stated - SURPLUS in own
        usage.rule = f"{'altered-body' if altered else 'unproved-body'}/{usage.rule}"
        usage.reported_input_tokens = usage.reported_total_tokens = None
    else:
        _guess(usage, raw, body, stated)
    return usage


def _guess(usage: Usage, raw: Mapping[str, Any], body: Mapping[str, Any], stated: int) -> None:
    """A body of which nothing else is kept: what was done to it tells whether it was raised."""
    marked = body.get("object") == "chat.completion" and "output_tokens" in raw
    filtered = "output_tokens" in raw and raw.keys() <= _LEFT_BY_FILTER
    usage.reported_total_tokens = None
    usage.assumed = sorted({*(usage.assumed or []), "input"})
    if (marked or filtered) and stated >= SURPLUS and usage.reported_input_tokens is not None:
        usage.reported_input_tokens -= SURPLUS
        usage.rule = f"altered-body-less-surplus/{usage.rule}"
    else:
        usage.rule = f"unproved-body/{usage.rule}"


def opened(body: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """An answer out of its envelope, and its state where its counts are gone."""
    if "_preview" in body:
        found = _from_preview(body["_preview"])
        return found, None if found else CUT
    data = body.get("data")
    body = data if isinstance(data, dict) and "usage" in data else body
    return body, FILTERED if body.get("usage") == {} else None


def _from_preview(preview: Any) -> dict[str, Any]:
    """The usage object in the first characters of an answer that was cut, where it is whole."""
    place = preview.find('"usage":') if isinstance(preview, str) else -1
    if place < 0:
        return {}
    found = begins(preview, place + len('"usage":'))
    return {"usage": found[0]} if found and isinstance(found[0], dict) else {}
