"""Reads the token object of a usage row, and tells by its keys which build wrote it."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from tallybook import values
from tallybook.values import MAX_COUNT, count

CANONICAL: Final = "canonical"  # since 0.5.18: the prompt holds what was read and written
TWIN: Final = "twin"  # the first of two records of a stream, all five keys, zero where not known
STRIPPED: Final = "stripped"  # prompt and completion only; the rest was thrown away
SHORT: Final = "short"  # streams of a week in February 2026, under other names
RAW: Final = "raw"  # whatever the first builds took over from the provider
COLUMNS: Final = "columns"  # no token object, only the two columns of a database

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]


class Tokens(msgspec.Struct, gc=False):
    """A token object as stored; a key that holds null counts as absent."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None
    cached_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    input: Count | None = None
    output: Count | None = None
    cacheRead: Count | None = None  # noqa: N815 - the key of the log
    cacheCreation: Count | None = None  # noqa: N815
    reasoning: Count | None = None


class TokenCounts(msgspec.Struct, gc=False):
    """What a token object states; `read` and `written` say nothing where their keys are absent."""

    shape: str
    prompt: int | None = None
    completion: int | None = None
    read: int | None = None
    written: int | None = None
    reasoning: int | None = None
    total: int | None = None
    is_flat: bool = False  # reads under `cached_tokens`, which only providers use that include them
    is_anthropic: bool = False  # the prompt under `input_tokens`, without any `prompt_tokens`


decode_sound: Final = msgspec.json.Decoder(Tokens).decode  # raises DecodeError for all others
_NAMES: Final = Tokens.__struct_fields__


def decode(text: str | bytes, problems: list[str]) -> Tokens | None:
    """The token object of a row; None where it is none.

    A count that is no number costs that count, and a `bad-number` says so.
    """
    return convert(values.decode(text), problems)


def convert(found: Any, problems: list[str]) -> Tokens | None:
    """The token object of a decoded row; None where it is none."""
    if not isinstance(found, dict):
        return None
    return Tokens(*(count(found.get(name), problems) for name in _NAMES))


def counts(tokens: Tokens, *, has_endpoint: bool) -> TokenCounts:
    """The counts of a token object by its shape.

    The zero of a twin or a short object stands for whatever was not found; of reasoning it never
    says that there was none.
    """
    t = tokens
    if t.prompt_tokens is None and (t.input is not None or t.output is not None):
        return TokenCounts(
            SHORT, t.input, t.output, t.cacheRead, t.cacheCreation, t.reasoning or None
        )
    prompt, completion = t.prompt_tokens, t.completion_tokens
    if t.cached_tokens is not None and t.total_tokens is not None:
        return TokenCounts(
            CANONICAL,
            prompt,
            completion,
            t.cached_tokens,
            t.cache_creation_input_tokens,
            t.reasoning_tokens,
            t.total_tokens,
        )
    read, written = t.cache_read_input_tokens, t.cache_creation_input_tokens
    if read is None and written is None and t.cached_tokens is None:
        if t.reasoning_tokens is None and t.total_tokens is None and t.input_tokens is None:
            return TokenCounts(STRIPPED, prompt, completion)
    elif not has_endpoint and None not in (read, written, t.reasoning_tokens, prompt):
        return TokenCounts(TWIN, prompt, completion, read, written, t.reasoning_tokens or None)
    is_flat = t.cached_tokens is not None
    is_anthropic = prompt is None and t.input_tokens is not None
    return TokenCounts(
        RAW,
        t.input_tokens if is_anthropic else prompt,
        t.output_tokens if completion is None else completion,
        t.cached_tokens if is_flat else read,
        written,
        t.reasoning_tokens,
        t.total_tokens,
        is_flat,
        is_anthropic,
    )
