"""A call and its evidence in a few fields, for tests of one rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from tallybook.backfill import propose as backfill
from tests.reported import settled

START = datetime(2026, 6, 28, 9, tzinfo=UTC)
_SHORT = {
    "input": "reported_input_tokens",
    "cached": "reported_cached_tokens",
    "creation": "reported_cache_creation_tokens",
    "output": "reported_output_tokens",
    "reasoning": "reported_reasoning_tokens",
}
WHO: dict[str, Any] = {
    "source": "9router",
    "provider": "claude",
    "model": "claude-sonnet-4-6",
    "connection_id": "c1",
    "path": "data.sqlite",
}


def propose(given: pl.DataFrame) -> backfill.Proposal:
    """What is proposed of the rows, in one batch, with folders named in UTC."""
    return backfill.propose([given.lazy()], "UTC")


def call(number: int = 1, *, at: int = 0, **fields: Any) -> dict[str, Any]:
    """A counted call `at` so many milliseconds."""
    return {"identity": f"call-{number}", "record": number, **_row(at, fields)}


def answer(
    number: int = 1, *, at: int = 0, part: str | None = "tokens", **fields: Any
) -> dict[str, Any]:
    """A member of the stored detail `number`."""
    where = {"record": 1000 + number, "record_id": f"detail-{number}", "part": part}
    return {"kind": "response", **where, **_row(at, fields)}


def rows(*given: dict[str, Any]) -> pl.DataFrame:
    """USAGE rows, normalised and deduplicated."""
    return settled(*given)


def _row(at: int, fields: dict[str, Any]) -> dict[str, Any]:
    named = {_SHORT.get(name, name): value for name, value in fields.items()}
    return {**WHO, "timestamp": START + timedelta(milliseconds=at), "dialect": "openai", **named}
