"""Reads values as databases and LangChain have them: bytes, times, ids, who was served."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from tallybook import values
from tallybook.values import UUID, party

_LANGCHAIN_ID: Final = re.compile(rf"(?:lc_)?run-{{1,2}}({UUID.pattern})(?:-\d+)?", re.IGNORECASE)
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
    """A text that says something, also one of a database, bad UTF-8 in it replaced."""
    return values.text(value.decode("utf-8", "replace") if value.__class__ is bytes else value)


@lru_cache(maxsize=_NAMES)
def name(value: bytes | str | None) -> str | None:
    """A text that many rows share, such as the id of their run."""
    return text(value)


def instant(value: Any) -> datetime | None:
    """The time of a row or line; a database keeps none but UTC, without saying so."""
    stated = text(value)
    if stated is None:
        return values.instant(value)
    zoned = values.instant(f"{stated}+00:00") if len(stated) in _STORED else None
    return zoned or values.instant(stated)


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
    named = party(stated)
    return _provider(named, model) if named is not None else None


@lru_cache(maxsize=_NAMES)
def _provider(stated: str, model: str | None) -> str | None:
    if stated == "openai" and (model is None or not _OPENAI_MODEL.match(model)):
        return None
    return _PROVIDERS.get(stated, text(stated))
