"""Reads the token object of a request detail: usage as one translator or another left it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tallybook.dialects.shape import at, fetch
from tallybook.dialects.usage import Usage
from tallybook.sources.ninerouter.eras import exclusive, states_writes
from tallybook.values import count


class Stated(NamedTuple):
    """The counts of a token object by their keys, those of a detail inside under one name."""

    prompt: int | None
    input: int | None
    output: int | None
    total: int | None
    cached: int | None
    read: int | None
    written: int | None
    inner_read: int | None
    inner_written: int | None
    input_read: int | None
    reasoning: int | None


# Where each of them stands, in their order; the first place that states one is taken.
_PLACES: Final = (
    at("prompt_tokens"),
    at("input_tokens"),
    at("completion_tokens", "output_tokens"),
    at("total_tokens"),
    at("cached_tokens"),
    at("cache_read_input_tokens"),
    at("cache_creation_input_tokens"),
    at("prompt_tokens_details/cached_tokens", "prompt_cache_hit_tokens"),
    at("prompt_tokens_details/cache_creation_tokens", "prompt_tokens_details/cache_write_tokens"),
    at("input_tokens_details/cached_tokens"),
    at(
        "reasoning_tokens",
        "completion_tokens_details/reasoning_tokens",
        "output_tokens_details/reasoning_tokens",
    ),
)


class _Prompt(NamedTuple):
    why: str
    prompt: int | None
    read: int | None
    written: int | None
    is_exclusive: bool = False
    is_open: bool = False  # nothing tells whether the prompt holds the cache


def read_statement(
    tokens: Mapping[str, Any], upstream: str, *, streamed: bool, is_forced: bool
) -> Usage | None:
    """The counts of a detail's token object; None where it states none.

    `is_forced`: the provider streamed, the client was answered in one piece. Builds that read the
    cache counts of such an answer add them to a prompt which holds them already.
    """
    problems: list[str] = []
    stated = Stated(*(count(fetch(tokens, paths), problems) for paths in _PLACES))
    if not any(stated):
        return None
    found = _prompt(stated, upstream)
    parts = (found.read or 0) + (found.written or 0)
    prompt, total = found.prompt, stated.total
    if prompt == 0 and not parts:
        prompt = None  # no request has an empty prompt
        problems.append("input-lost")
    why = found.why
    if is_forced and upstream == "responses" and found.read is not None:
        why, prompt, total = "forced-stream", None, None
    if found.is_open:
        problems.append("ambiguous-dialect")
    is_merged = tokens.get("estimated") is True or _is_mixed(found, stated)
    assumed = _estimates(found, stated) if is_merged else []
    if assumed:
        problems.append("estimated")
    return Usage(
        dialect=_dialect(found, upstream, streamed=streamed, tokens=tokens),
        rule=f"detail/{why}",
        reported_input_tokens=prompt,
        reported_cached_tokens=None if found.is_open else found.read,
        reported_cache_creation_tokens=None if found.is_open else found.written,
        reported_output_tokens=stated.output,
        reported_reasoning_tokens=stated.reasoning,
        reported_total_tokens=None if is_merged else total,
        assumed=assumed or None,
        problems=sorted(set(problems)) or None,
    )


def _prompt(s: Stated, upstream: str) -> _Prompt:
    """How the prompt is to be read, by the keys that stand beside it."""
    flat = s.read is not None or s.written is not None
    if s.prompt is None:
        return _Prompt("no-prompt", None, s.cached, s.written) if s.input is None else _input(s)
    if s.cached is not None:
        unread = s.cached == 0 and s.total is not None and upstream in ("responses", "gemini")
        cached = s.inner_read if unread else s.cached
        # A zero beside the prompt is written whatever stands inside of it.
        own = None if s.total is not None and not states_writes(upstream) else s.written
        written = _first(s.written or None, s.inner_written, own)
        return _Prompt("cached-tokens", s.prompt, cached, written)
    if flat and s.input is not None:
        return _both(s)
    if s.inner_read is not None or s.inner_written is not None:
        return _Prompt("prompt-details", s.prompt, s.inner_read, s.inner_written)
    return _flat(s, upstream) if flat else _bare(s, upstream)


def _input(s: Stated) -> _Prompt:
    if s.input_read is not None:
        return _Prompt("input-details", s.input, s.input_read, s.written)
    return _Prompt("input-tokens", s.input, s.read, s.written, is_exclusive=True)


def _bare(s: Stated, upstream: str) -> _Prompt:
    if upstream == "claude":
        return _Prompt("bare-claude", s.prompt, None, None, is_exclusive=True)
    return _Prompt("bare", s.prompt, None, None, is_open="claude" in upstream)


def _both(s: Stated) -> _Prompt:
    """Claude's answer translated: its own prompt stands beside the one made of it."""
    parts = (s.read or 0) + (s.written or 0)
    if s.prompt == (s.input or 0) + parts:
        return _Prompt("prompt-and-input", s.prompt, s.read, s.written)
    if s.prompt == s.input:
        return _Prompt("prompt-is-input", s.prompt, s.read, s.written, is_exclusive=True)
    return _Prompt("prompt-and-input", s.prompt, s.read, s.written, is_open=True)


def _flat(s: Stated, upstream: str) -> _Prompt:
    exceed = (s.read or 0) + (s.written or 0) > (s.prompt or 0)
    if "claude" in upstream or exceed:
        return _Prompt("flat-cache", s.prompt, s.read, s.written, is_exclusive=True)
    return _Prompt("flat-cache", s.prompt, s.read, s.written, is_open=True)


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _estimates(found: _Prompt, s: Stated) -> list[str]:
    """The directions that are estimates in counts that an estimate was merged with.

    Of an estimate and the counts that came after it the larger of each was kept, and the total is
    the estimate's. A prompt that exceeds it is real, and so is an output that makes up more.
    """
    prompt, output, total = s.prompt, s.output, s.total
    if prompt is not None and s.input is not None and s.read is None and s.written is None:
        return []  # the estimate is in the words of Claude's client, the counts beside it are not
    if prompt is None or output is None or total is None:
        return ["input"] if found.read or found.written else ["input", "output"]
    if prompt > total:
        return []
    return ["input", "output"] if prompt + output <= total else ["input"]


def _is_mixed(found: _Prompt, s: Stated) -> bool:
    """An estimate merged with the counts that came after it no longer adds up."""
    if found.is_exclusive or None in (s.prompt, s.output, s.total):
        return False
    sums = (s.prompt or 0) + (s.output or 0)
    return s.total not in (sums, sums + (s.reasoning or 0))


def _dialect(found: _Prompt, upstream: str, *, streamed: bool, tokens: Mapping[str, Any]) -> str:
    """Gemini's own counts leave the thoughts out of the answer; translated ones do not."""
    if found.is_exclusive:
        return exclusive(upstream, found.written)
    is_own = not streamed or tokens.get("reasoning_tokens") is not None
    return "gemini" if upstream == "gemini" and is_own else "openai"
