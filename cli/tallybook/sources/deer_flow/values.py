"""Reads single values of a row or line: texts, points in time, ids of messages, who was served."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

_LANGCHAIN_ID: Final = re.compile(
    r"(?:lc_)?run-{1,2}([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:-\d+)?", re.IGNORECASE
)
# Long enough to be random: a gateway may answer every request with "chatcmpl-1".
_RANDOM_ID: Final = re.compile(r"(?:[A-Za-z0-9]+[_-])*[A-Za-z0-9]{16,}")
_OPENAI_MODEL: Final = re.compile(r"(?:ft:)?(?:gpt-|o\d|chatgpt|codex-|text-|computer-use)")
_STORED: Final = (26, 19)  # lengths of a time as databases keep it, with microseconds and without
_NAMES: Final = 4096  # remembered; neighbours in a log share theirs
# LangChain's words for providers where they are not the usual ones.
_PROVIDERS: Final = {
    "google_genai": "google",
    "google_vertexai": "google",
    "google_anthropic_vertex": "google",
    "amazon_bedrock": "aws",
    "bedrock_converse": "aws",
    "azure_openai": "azure",
}


def text(value: Any) -> str | None:
    """A text that says something, bad UTF-8 in it replaced; anything else is None."""
    if value.__class__ is bytes:
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str) and value and not value.isspace() else None


@lru_cache(maxsize=_NAMES)
def name(value: bytes | str | None) -> str | None:
    """A text that many rows share, such as the id of their run."""
    return text(value)


def instant(value: Any) -> datetime | None:
    """The UTC time of an ISO text; a database keeps none but UTC, without saying so."""
    stated = text(value)
    if stated is None:
        return None
    if len(stated) in _STORED:
        try:
            return datetime.fromisoformat(f"{stated}+00:00")
        except ValueError:
            pass
    return _loose_instant(stated)


def _loose_instant(stated: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(stated.strip().upper())
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def langchain_run(message_id: str | None) -> str | None:
    """The id of the call inside an id that LangChain made; equal for all of its generations."""
    found = _LANGCHAIN_ID.fullmatch(message_id) if message_id else None
    return found[1].lower() if found else None


def own_id(message_id: str, scope: str | None) -> str:
    """The identity of an answer by an id that LangChain did not make; a short one has a scope."""
    return message_id if _RANDOM_ID.fullmatch(message_id) else f"{scope}:{message_id}"


def caller(stated: Any) -> str | None:
    """The caller of a call, None for the lead: `subagent`, or the middleware's own name."""
    if stated == "lead_agent" or (tag := text(stated)) is None:
        return None
    group, _, rest = tag.partition(":")
    if group == "middleware":
        return rest or group
    return "subagent" if group == "subagent" else tag


def provider(stated: Any, model: str | None) -> str | None:
    """Who served a model; a client for OpenAI's interface says `openai` of any server."""
    return _provider(stated, model) if isinstance(stated, str) else None


@lru_cache(maxsize=_NAMES)
def _provider(stated: str, model: str | None) -> str | None:
    if stated == "openai" and (model is None or not _OPENAI_MODEL.match(model)):
        return None
    return _PROVIDERS.get(stated, text(stated))
