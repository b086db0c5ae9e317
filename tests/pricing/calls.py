"""Calls to price, built from the few fields that a test is about."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from tallybook.pricing import cost
from tallybook.pricing import rates as pricing
from tallybook.pricing.cost import COSTS
from tests.frames import usage_frame

NOON = datetime(2026, 9, 20, 12, tzinfo=UTC)


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    """A USAGE frame without costs; a call of no stated provider on 2026-09-20 at noon."""
    defaults = {"provider": None, "timestamp": NOON}
    whole = usage_frame([defaults | row for row in rows])
    return whole.drop(*COSTS, "price_status")


def price_one(rates: pricing.Rates, model: str | None, **stated: Any) -> dict[str, Any]:
    """One priced call; costs as Decimal dollars. `context_tokens` defaults to the whole input."""
    call: dict[str, Any] = {"model": model, **stated}
    calls = frame(call)
    if "context_tokens" not in stated:
        calls = calls.with_columns(context_tokens="input_tokens")
    (row,) = cost.price(calls, rates).to_dicts()
    return row | {name: dollars(row[name]) for name in COSTS}


def dollars(femto: int | None) -> Decimal | None:
    return None if femto is None else Decimal(femto).scaleb(-15)


def claude(tokens: str, **stated: Any) -> dict[str, Any]:
    """Counts written uncached/output/cached/written, writes of five minutes unless stated."""
    uncached, output, cached, written = (int(count) for count in tokens.split("/"))
    return {
        "uncached_input_tokens": uncached,
        "output_tokens": output,
        "cached_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "cache_creation_1h_input_tokens": 0,
        "unsplit_input_tokens": 0,
        **stated,
    }
