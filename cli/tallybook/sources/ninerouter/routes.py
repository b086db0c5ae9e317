"""Knows how a request was forwarded, and whether its prompt count then holds the cached tokens."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

_CLAUDE: Final = frozenset({"claude", "anthropic", "agentrouter"})
# They have an endpoint in Anthropic's format and one in OpenAI's; the rows do not say which.
_EITHER: Final = frozenset({"glm", "kimi", "kimi-coding", "minimax", "minimax-cn"})
_RESPONSES: Final = frozenset({"codex", "grok-cli", "openai-responses"})
_GEMINI: Final = frozenset({"gemini", "gemini-cli", "antigravity", "vertex"})
_OWN: Final = frozenset({"kiro", "ollama", "commandcode", "cursor", "grok-web", "perplexity-web"})
# Their providers state no usage, so the counts are taken from lengths of texts, and 2000 is added.
_ESTIMATING: Final = frozenset({"cursor", "grok-web", "perplexity-web"})
# Kiro's counts are now stated, now worked out from a percentage and a length.
_GUESSES: Final = {**dict.fromkeys(_ESTIMATING, "estimated"), "kiro": "perhaps-estimated"}
# What their providers state of the cache is not read, or not before the last builds.
_CACHE_UNREAD: Final = frozenset({"commandcode", "kiro", *_ESTIMATING})

_HOW: Final = {True: " stream", False: " whole", None: ""}

INCLUSIVE: Final = "inclusive"
EXCLUSIVE: Final = "exclusive"


class Route(msgspec.Struct, frozen=True, gc=False):
    """How a request went through the router, as far as its row tells.

    `reading` is INCLUSIVE or EXCLUSIVE, None where it hangs on what is not known; `why` names the
    case. `streamed` is None where nothing tells.
    """

    client: str | None
    upstream: str
    streamed: bool | None
    reading: str | None
    why: str
    is_claude: bool  # the upstream may answer in Anthropic's format
    is_gemini: bool
    is_translated: bool | None  # client and upstream speak different formats
    cache_is_read: bool
    guess: str | None  # the problem of counts that are, or may be, estimates
    label: str  # the route in words, e.g. `claude>responses stream`


@lru_cache(maxsize=4096)
def route(provider: str | None, endpoint: str | None, streamed: bool | None) -> Route:
    """The route of a request to `provider` that came in at the path `endpoint`."""
    client, upstream = _client(endpoint), upstream_of(provider)
    readings = {
        _reading(client, streamed, is_claude=is_claude) for is_claude in _may_be_claude(upstream)
    }
    reading, why = readings.pop() if len(readings) == 1 else _agreed(readings)
    return Route(
        client=client,
        upstream=upstream,
        streamed=streamed,
        reading=reading,
        why=why,
        is_claude=True in _may_be_claude(upstream),
        is_gemini=upstream == "gemini",
        is_translated=None if client is None else client != upstream,
        cache_is_read=provider not in _CACHE_UNREAD,
        guess=_GUESSES.get(provider or ""),
        label=f"{client or '?'}>{upstream}{_HOW[streamed]}",
    )


def upstream_of(provider: str | None) -> str:
    """The format in which the provider answers, `claude|openai` where it may be either."""
    name = provider or ""
    if name in _CLAUDE or name.startswith("anthropic-compatible-"):
        return "claude"
    if name in _EITHER:
        return "claude|openai"
    if name in _RESPONSES or name.startswith("openai-compatible-responses-"):
        return "responses"
    if name in _GEMINI:
        return "gemini"
    if name.startswith("ollama"):
        return "ollama"
    return name if name in _OWN else "openai"


def _may_be_claude(upstream: str) -> tuple[bool, ...]:
    return {"claude": (True,), "claude|openai": (True, False)}.get(upstream, (False,))


_CLIENTS: Final = (
    ("/messages", "claude"),
    ("/chat/completions", "openai"),
    ("/responses", "responses"),
    ("/responses/compact", "responses"),
    ("/embeddings", "embeddings"),
    ("generatecontent", "gemini"),
)


def _client(endpoint: str | None) -> str | None:
    """The format the client spoke; by the end of the path, for prefixes come and go."""
    if not endpoint:
        return None
    path = endpoint.partition("?")[0].rstrip("/").lower()
    return next((client for end, client in _CLIENTS if path.endswith(end)), "other")


def _reading(
    client: str | None, streamed: bool | None, *, is_claude: bool
) -> tuple[str | None, str]:
    """How the prompt of a stored row is to be read, and the name of the case."""
    if is_claude and client == "claude":
        return EXCLUSIVE, "claude-to-claude"
    if is_claude and client is None:
        return None, "claude-to-unknown"
    if not is_claude and client != "claude":
        return INCLUSIVE, "other" if client else "other-to-unknown"
    # Anthropic's format came in or went out, and was translated, in streams only.
    cases = _TRANSLATED if is_claude else _TO_CLAUDE
    return cases[streamed]


_TRANSLATED: Final[dict[bool | None, tuple[str | None, str]]] = {
    True: (INCLUSIVE, "claude-to-other-stream"),
    False: (EXCLUSIVE, "claude-to-other-whole"),
    None: (None, "claude-to-other"),
}
_TO_CLAUDE: Final[dict[bool | None, tuple[str | None, str]]] = {
    True: (EXCLUSIVE, "other-to-claude-stream"),
    False: (INCLUSIVE, "other-to-claude-whole"),
    None: (None, "other-to-claude"),
}


def _agreed(readings: set[tuple[str | None, str]]) -> tuple[str | None, str]:
    """The one reading of a provider with two formats, where it is the same for both."""
    found = {reading for reading, _ in readings}
    why = " or ".join(sorted(why for _, why in readings))
    return (found.pop() if len(found) == 1 else None), why
