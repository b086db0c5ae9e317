"""States the made history as a reader of it must, so that the stage can be tested on its own."""

from __future__ import annotations

from typing import Any

import polars as pl

from tallybook.dialects.responses import find_usage
from tallybook.dialects.usage import Usage, read_usage
from tests.backfill.history import Made, usage_rows
from tests.backfill.routes import Json
from tests.reported import settled

_CLAUDE = ("claude", "anthropic", "anthropic-compatible-11")


def settled_history(made: list[Made]) -> pl.DataFrame:
    """USAGE rows of the history, normalised and deduplicated."""
    rows: list[dict[str, Any]] = []
    for record, (one, row) in enumerate(usage_rows(made), 1):
        if row["endpoint"] is None:
            continue  # the twin; its counts are put on the row that it repeats
        rows.append(_call(one, row, record))
    for record, one in enumerate(made, 1):
        if one.detail:
            rows += _evidence(one.detail, record)
    return settled(*rows)


def _who(row: Json) -> dict[str, Any]:
    return {
        "source": "9router",
        "provider": row["provider"],
        "model": row["model"],
        "connection_id": row["connectionId"],
        "timestamp": row["timestamp"],
    }


def _call(one: Made, row: Json, record: int) -> dict[str, Any]:
    tokens = row["tokens"]
    stated = {**_who(row), "record": record, "identity": f"row-{record}", "path": "data.sqlite"}
    if len(one.rows) > 1:
        tokens = one.rows[0]["tokens"]
    if "cached_tokens" in tokens:
        return stated | _inclusive(tokens, tokens["cached_tokens"]) | _suspicion(row)
    cached = tokens.get("cache_read_input_tokens")
    if one.route.lost_input or not one.route.twin:
        cached = None
    exclusive = row["endpoint"].endswith("/messages")
    if cached is not None:
        exclusive = one.route.row(one.truth)[0] != one.truth.prompt
    dialect = "anthropic" if exclusive else "openai"
    lost = one.route.lost_input and not tokens["prompt_tokens"]
    return stated | {
        "dialect": dialect,
        "reported_input_tokens": None if lost else tokens["prompt_tokens"],
        "reported_cached_tokens": cached,
        "reported_cache_creation_tokens": (
            tokens.get("cache_creation_input_tokens") if cached is not None else None
        ),
        "reported_output_tokens": tokens["completion_tokens"],
        # Neither the provider nor the endpoint tells whether the answer was streamed.
        "assumed": ["input"] if cached is None and not lost else None,
    }


def _suspicion(row: Json) -> dict[str, Any]:
    """Streams of a Claude provider to other clients may have the cache added twice."""
    tokens = row["tokens"]
    cache = tokens["cached_tokens"] + tokens["cache_creation_input_tokens"]
    may_be = row["provider"] in _CLAUDE and not row["endpoint"].endswith("/messages")
    twice = may_be and 0 < 2 * cache <= tokens["prompt_tokens"]
    return {"assumed": ["input"] if twice else None}


def _inclusive(tokens: Json, cached: int | None) -> dict[str, Any]:
    return {
        "dialect": "openai",
        "reported_input_tokens": tokens["prompt_tokens"],
        "reported_cached_tokens": cached,
        "reported_cache_creation_tokens": tokens.get("cache_creation_input_tokens"),
        "reported_output_tokens": tokens["completion_tokens"],
        "reported_reasoning_tokens": tokens.get("reasoning_tokens"),
    }


def _evidence(detail: Json, record: int) -> list[dict[str, Any]]:
    base = {
        **_who(detail),
        "kind": "response",
        "record": record,
        "path": "data.sqlite#requestDetails",
        "record_id": detail["id"],
    }
    body = detail["providerResponse"]
    codes = []
    if detail["tokens"].get("estimated"):
        codes.append("estimated")
    if isinstance(body, dict) and body.get("_truncated"):
        codes.append("truncated-body")
    rows = [base | {"part": "tokens", "problems": codes} | _tokens(detail)]
    found = find_usage(body) if isinstance(body, dict) else None
    if found is not None and found.usage:
        part = {"part": "providerResponse", "problems": codes}
        rows.append(base | part | _counts(read_usage(found.usage, found.provider)))
    return rows


def _counts(usage: Usage | None) -> dict[str, Any]:
    assert usage is not None
    names = [name for name in usage.__struct_fields__ if name.startswith("reported_")]
    return {name: getattr(usage, name) for name in ("dialect", *names)}


def _tokens(detail: Json) -> dict[str, Any]:
    tokens = detail["tokens"]
    written = tokens.get("cache_creation_input_tokens")
    if "input_tokens" in tokens and "prompt_tokens" not in tokens:
        return _claude(tokens["input_tokens"], tokens["output_tokens"], tokens)
    if "input_tokens" in tokens:
        return _inclusive(tokens, tokens["cache_read_input_tokens"])
    if written is not None or detail["provider"] in _CLAUDE:
        return _claude(tokens["prompt_tokens"] or None, tokens["completion_tokens"], tokens)
    stated = _counts(read_usage(tokens))
    streamed = detail["response"].get("type") == "streaming"
    if detail["provider"] == "gemini" and not streamed:
        stated["dialect"] = "gemini"
    return stated


def _claude(prompt: int | None, output: int, tokens: Json) -> dict[str, Any]:
    return {
        "dialect": "anthropic",
        "reported_input_tokens": prompt,
        "reported_cached_tokens": tokens.get("cache_read_input_tokens"),
        "reported_cache_creation_tokens": tokens.get("cache_creation_input_tokens"),
        "reported_output_tokens": output,
    }
