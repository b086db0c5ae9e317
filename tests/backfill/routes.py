"""What a router writes of a request on each of its routes: client format, upstream format, stream.

Written from the facts of the format and not from any reader: every function says what the router
of that time put into the usage row, its twin, the detail and the kept body, given the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Json = dict[str, Any]
BUFFER = 2000  # what the router adds to the prompt of an answer that it passes on in its own format


class Truth(NamedTuple):
    """What the request really used."""

    uncached: int
    cached: int
    creation: int
    output: int
    reasoning: int = 0

    @property
    def prompt(self) -> int:
        """The whole prompt."""
        return self.uncached + self.cached + self.creation


@dataclass(frozen=True)
class Route:
    """One way through the router.

    `row` gives the prompt and output counts of the usage row; `twin` the cached and written counts
    of the second row of a stream; `tokens` and `body` what the detail keeps. `why` is the reason
    that the cached count is lost although a detail is there; `canonical` says what the row of later
    builds states as (prompt, cached, written).
    """

    name: str
    provider: str
    model: str
    endpoint: str
    stream: bool
    row: Callable[[Truth], tuple[int, int]]
    tokens: Callable[[Truth], Json]
    body: Callable[[Truth], Json | str]
    twin: bool = True
    why: str | None = None
    writes: bool = False  # the provider counts cache writes
    thinks: bool = False
    lost_input: bool = False
    canonical: Callable[[Truth], tuple[int, int, int]] | None = None
    mended_by_late: bool = False


def _inclusive(t: Truth) -> tuple[int, int]:
    return t.prompt, t.output


def _exclusive(t: Truth) -> tuple[int, int]:
    return t.uncached, t.output


def _right(t: Truth) -> tuple[int, int, int]:
    return t.prompt, t.cached, t.creation


def _zero(t: Truth) -> tuple[int, int, int]:
    return t.prompt, 0, 0


def _twice(t: Truth) -> tuple[int, int, int]:
    return t.prompt + t.cached + t.creation, t.cached, t.creation


def _text(_: Truth) -> str:
    return "the answer"


def _flat_claude(t: Truth) -> Json:
    return {
        "prompt_tokens": t.uncached,
        "completion_tokens": t.output,
        "cache_read_input_tokens": t.cached,
        "cache_creation_input_tokens": t.creation,
    }


def _translated_claude(t: Truth) -> Json:
    return {
        "prompt_tokens": t.prompt,
        "completion_tokens": t.output,
        "total_tokens": t.prompt + t.output,
        "input_tokens": t.uncached,
        "output_tokens": t.output,
        "cache_read_input_tokens": t.cached,
        "cache_creation_input_tokens": t.creation,
    }


def _to_claude(t: Truth) -> Json:
    return {
        "input_tokens": t.uncached,
        "output_tokens": t.output,
        "cache_read_input_tokens": t.cached,
    }


def _nested(t: Truth) -> Json:
    return {
        "prompt_tokens": t.prompt,
        "completion_tokens": t.output,
        "total_tokens": t.prompt + t.output,
        "prompt_tokens_details": {"cached_tokens": t.cached},
        "completion_tokens_details": {"reasoning_tokens": t.reasoning},
    }


def _flat(t: Truth) -> Json:
    return {
        "prompt_tokens": t.prompt,
        "completion_tokens": t.output,
        "cached_tokens": t.cached,
        "reasoning_tokens": t.reasoning,
    }


def _bare(t: Truth) -> Json:
    return {"prompt_tokens": t.prompt, "completion_tokens": t.output}


def _claude_body(t: Truth, *, altered: bool) -> Json:
    usage: Json = {
        "input_tokens": t.uncached + (BUFFER if altered else 0),
        "output_tokens": t.output,
        "cache_read_input_tokens": t.cached,
        "cache_creation_input_tokens": t.creation,
    }
    if altered:
        more: Json = {"object": "chat.completion", "created": 1782637200}
    else:
        more = {}
        usage |= {
            "cache_creation": {
                "ephemeral_5m_input_tokens": t.creation,
                "ephemeral_1h_input_tokens": 0,
            },
            "service_tier": "standard",
        }
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "ok"}],
        **more,
        "usage": usage,
    }


def _openai_body(t: Truth, *, altered: bool) -> Json:
    more = BUFFER if altered else 0
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}}],
        "usage": {
            "prompt_tokens": t.prompt + more,
            "completion_tokens": t.output,
            "total_tokens": t.prompt + t.output + more,
            "prompt_tokens_details": {"cached_tokens": t.cached},
            "completion_tokens_details": {"reasoning_tokens": t.reasoning},
        },
    }


def _responses_body(t: Truth) -> Json:
    return {
        "id": "resp_1",
        "object": "response",
        "output": [],
        "usage": {
            "input_tokens": t.prompt + BUFFER,
            "output_tokens": t.output,
            "input_tokens_details": {"cached_tokens": t.cached},
            "output_tokens_details": {"reasoning_tokens": t.reasoning},
        },
    }


def _gemini_body(t: Truth) -> Json:
    return {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "ok"}]}}],
        "usageMetadata": {
            "promptTokenCount": t.prompt,
            "cachedContentTokenCount": t.cached,
            "candidatesTokenCount": t.output - t.reasoning,
            "thoughtsTokenCount": t.reasoning,
            "totalTokenCount": t.prompt + t.output,
        },
    }


def _emptied(t: Truth) -> Json:
    return {**_openai_body(t, altered=False), "usage": {}}


def _estimate(t: Truth) -> Json:
    return {**_bare(t), "total_tokens": t.prompt + t.output, "estimated": True}


_CHAT, _MESSAGES, _RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
_ANY: Mapping[str, Any] = {"body": _text, "stream": True}

ROUTES: tuple[Route, ...] = (
    Route(
        "claude-claude-stream",
        "claude",
        "claude-sonnet-4-6",
        _MESSAGES,
        row=_exclusive,
        tokens=_flat_claude,
        writes=True,
        canonical=_right,
        **_ANY,
    ),
    Route(
        "claude-claude-stream-no-input",
        "anthropic-compatible-11",
        "claude-sonnet-4-6",
        _MESSAGES,
        row=lambda t: (0, t.output),
        tokens=lambda t: {"prompt_tokens": 0, "completion_tokens": t.output},
        lost_input=True,
        why="response-without-counts",
        twin=False,
        **_ANY,
    ),
    Route(
        "claude-openai-stream",
        "claude",
        "claude-opus-4-6",
        _CHAT,
        row=_inclusive,
        tokens=_translated_claude,
        writes=True,
        canonical=_twice,
        **_ANY,
    ),
    Route(
        "claude-claude",
        "claude",
        "claude-haiku-4-5",
        _MESSAGES,
        stream=False,
        row=_exclusive,
        tokens=_flat_claude,
        body=lambda t: _claude_body(t, altered=True),
        writes=True,
        canonical=_right,
    ),
    Route(
        "claude-openai",
        "anthropic",
        "claude-sonnet-4-5",
        _CHAT,
        stream=False,
        row=_exclusive,
        tokens=_flat_claude,
        body=lambda t: _claude_body(t, altered=False),
        writes=True,
        canonical=_right,
    ),
    Route(
        "openai-openai-stream",
        "openai",
        "gpt-5",
        _CHAT,
        row=_inclusive,
        tokens=_flat,
        thinks=True,
        canonical=_right,
        **_ANY,
    ),
    Route(
        "openai-claude-stream",
        "glm",
        "glm-4.7",
        _MESSAGES,
        row=_exclusive,
        tokens=_to_claude,
        canonical=_right,
        **_ANY,
    ),
    Route(
        "openai-openai",
        "openai",
        "gpt-4o",
        _CHAT,
        stream=False,
        row=_inclusive,
        tokens=_flat,
        body=lambda t: _openai_body(t, altered=True),
        thinks=True,
        canonical=_right,
    ),
    Route(
        "openai-claude-emptied",
        "kimi",
        "kimi-k2.5",
        _MESSAGES,
        stream=False,
        row=_inclusive,
        tokens=_flat,
        body=_emptied,
        canonical=_right,
    ),
    Route(
        "codex-openai-stream",
        "codex",
        "gpt-5.3-codex",
        _CHAT,
        row=_inclusive,
        tokens=_nested,
        thinks=True,
        canonical=_zero,
        mended_by_late=True,
        **_ANY,
    ),
    Route(
        "codex-claude-stream",
        "codex",
        "gpt-5.2-codex",
        _MESSAGES,
        row=_exclusive,
        tokens=_to_claude,
        canonical=_right,
        **_ANY,
    ),
    Route(
        "codex-forced",
        "codex",
        "gpt-5.1-codex",
        _CHAT,
        stream=False,
        row=_inclusive,
        tokens=_bare,
        body=lambda _: {},
        why="response-without-counts",
    ),
    Route(
        "responses-responses",
        "openai-compatible-responses-33",
        "gpt-5-mini",
        _RESPONSES,
        stream=False,
        row=_inclusive,
        tokens=_bare,
        body=_responses_body,
        thinks=True,
        canonical=_zero,
        mended_by_late=True,
    ),
    Route(
        "gemini-openai",
        "gemini",
        "gemini-2.5-pro",
        _CHAT,
        stream=False,
        row=lambda t: (t.prompt, t.output - t.reasoning),
        tokens=lambda t: {
            "prompt_tokens": t.prompt,
            "completion_tokens": t.output - t.reasoning,
            "reasoning_tokens": t.reasoning,
        },
        body=_gemini_body,
        thinks=True,
        canonical=_right,
    ),
    Route(
        "gemini-openai-stream",
        "gemini-cli",
        "gemini-2.5-flash",
        _CHAT,
        row=_inclusive,
        tokens=_nested,
        thinks=True,
        canonical=_zero,
        mended_by_late=True,
        **_ANY,
    ),
    Route(
        "deepseek-openai-stream",
        "deepseek",
        "deepseek-chat",
        _CHAT,
        row=_inclusive,
        tokens=lambda t: {
            "prompt_tokens": t.prompt,
            "completion_tokens": t.output,
            "cached_tokens": t.cached,
        },
        canonical=_right,
        **_ANY,
    ),
    Route(
        "ollama",
        "ollama-local",
        "llama3.3",
        _CHAT,
        stream=False,
        row=_inclusive,
        tokens=_bare,
        body=lambda t: {"done": True, "prompt_eval_count": t.prompt, "eval_count": t.output},
        why="response-without-counts",
    ),
    Route(
        "commandcode-openai-stream",
        "commandcode",
        "deepseek/deepseek-v4-pro",
        _CHAT,
        row=_inclusive,
        tokens=_bare,
        why="response-without-counts",
        twin=False,
        **_ANY,
    ),
    Route(
        "cursor-openai-stream",
        "cursor",
        "auto",
        _CHAT,
        row=_inclusive,
        tokens=_estimate,
        why="estimated",
        twin=False,
        **_ANY,
    ),
)
