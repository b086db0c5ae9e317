"""Priced USAGE frames built from the few fields that a test is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from tallybook.schema import MEDIA_COUNTS

BUCKETS = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_1h_input_tokens",
    "unsplit_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
)
INPUTS = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "unsplit_input_tokens",
)
COSTS = (
    "uncached_input_cost",
    "cached_input_cost",
    "cache_creation_cost",
    "output_cost",
    "web_search_cost",
    "tool_cost",
    "cost",
    "cost_low",
    "cost_high",
)
USAGE: Mapping[str, Any] = {
    "source": pl.String,
    "path": pl.String,
    "record": pl.Int64,
    "part": pl.String,
    "kind": pl.String,
    "call_id": pl.String,
    "duplicate_of": pl.String,
    "duplicate_reason": pl.String,
    "route_end": pl.String,
    "provider": pl.String,
    "model": pl.String,
    "thread_id": pl.String,
    "root_thread_id": pl.String,
    "caller": pl.String,
    "project": pl.String,
    "timestamp": pl.Datetime("us", "UTC"),
    "calls": pl.Int64,
    **dict.fromkeys(BUCKETS, pl.Int64),
    **{f"{bucket}_origin": pl.String for bucket in BUCKETS},
    "input_tokens": pl.Int64,
    "total_tokens": pl.Int64,
    "input_lower_bound": pl.Boolean,
    "output_lower_bound": pl.Boolean,
    "lower_bound": pl.Boolean,
    "unbounded": pl.Boolean,
    "perhaps_uncached_tokens": pl.Int64,
    "perhaps_output_tokens": pl.Int64,
    "perhaps_output_of": pl.String,
    "difference": pl.Boolean,
    "context_tokens": pl.Int64,
    "service_tier": pl.String,
    "speed": pl.String,
    "inference_geo": pl.String,
    **dict.fromkeys(MEDIA_COUNTS, pl.Int64),
    "web_search_requests": pl.Int64,
    "tool_counts": pl.List(pl.Int64),
    "refused": pl.Boolean,
    "reported_cost_usd": pl.Decimal(38, 15),
    **dict.fromkeys(COSTS, pl.Int128),
    "perhaps_output_cost": pl.Int128,
    "price_status": pl.String,
    "problems": pl.List(pl.String),
    "detail": pl.String,
}


def usage_row(record: int = 1, **stated: Any) -> dict[str, Any]:
    """One USAGE row: a lead call of codex, with the derived columns worked out."""
    kind = stated.get("kind", "call")
    row = dict.fromkeys(USAGE) | {
        "source": "codex",
        "path": "sessions/a.jsonl",
        "record": record,
        "kind": "call",
        "call_id": f"call-{record}",
        "provider": "openai",
        "model": "gpt-5.2-codex",
        "thread_id": "t-1",
        "caller": "lead",
        "calls": 1 if kind == "call" else None,
        "input_lower_bound": False,
        "output_lower_bound": False,
        "perhaps_uncached_tokens": 0,
        "perhaps_output_tokens": 0,
        "difference": False,
        "problems": [],
    }
    row |= stated
    if row["lower_bound"] is None:
        row["lower_bound"] = row["input_lower_bound"] or row["output_lower_bound"]
    elif row["lower_bound"] and not row["output_lower_bound"]:
        row["input_lower_bound"] = True
    if row["unbounded"] is None:
        row["unbounded"] = row["lower_bound"]
    row |= {
        f"{name}_origin": row[f"{name}_origin"] or "reported"
        for name in BUCKETS
        if row[name] is not None
    }
    row["root_thread_id"] = row["root_thread_id"] or row["thread_id"]
    row["input_tokens"] = _sum(row[name] for name in INPUTS)
    row["total_tokens"] = _sum([row["input_tokens"], row["output_tokens"]])
    row |= {name: row["cost"] for name in ("cost_low", "cost_high") if row[name] is None}
    row["price_status"] = "unpriced" if row["cost"] is None else "priced"
    return row


def usage_frame(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """A frame with every USAGE column; `rows` name the fields that differ from `usage_row`."""
    whole = [usage_row(**{"record": n, **row}) for n, row in enumerate(rows, start=1)]
    return pl.DataFrame(whole, schema=USAGE, orient="row")


def _sum(values: Iterable[int | None]) -> int | None:
    stated = [value for value in values if value is not None]
    return sum(stated) if stated else None
