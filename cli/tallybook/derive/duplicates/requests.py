"""Joins the requests that a router kept to its rows: who asked, in answer to what, and when."""

from __future__ import annotations

from typing import Final

import polars as pl

from tallybook.derive.beside import beside
from tallybook.derive.duplicates.routes import (
    OUTPUT,
    REQUEST_MS,
    WHEN,
    at_request,
    at_router,
    is_request,
    is_router,
)

REQUEST: Final = "request"
FACTS: Final = pl.Struct(
    {
        "asker": pl.String,  # the thread of the client, as its own log names it
        "tool_ids": pl.List(pl.String),  # whose results it brought
        "begun": pl.Int64,  # milliseconds since 1970, where it was streamed
        "answer_id": pl.String,  # the provider's id of the answer
    }
)
_STREAM_ID: Final = r"^detail-(\d{13})-"


def with_requests(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds `request` (FACTS) to rows that carry a `row`; null where none belongs to the row.

    A request belongs to the row of the same provider and model and of an equal output that was
    written within REQUEST_MS of it. One that has no row is the record of its call itself.
    """
    found = _found(rows) if rows["route"].null_count() < rows.height else None
    if found is None or found.is_empty():
        return rows.with_columns(pl.lit(None, FACTS).alias(REQUEST))
    return beside(rows, found.rename({"_facts": REQUEST}))


def _found(rows: pl.DataFrame) -> pl.DataFrame:
    own = rows.filter(is_router(), pl.col("identity").str.starts_with("detail-"))
    found = own.select("row", _facts=_facts())
    has_kept = rows.select(is_request().any()).item()
    return pl.concat([found, _joined(rows)]) if has_kept else found


def _facts() -> pl.Expr:
    begun = pl.col("identity").str.extract(_STREAM_ID).cast(pl.Int64)
    return pl.struct(
        asker=pl.col("thread_id"),
        tool_ids=pl.col("tool_ids"),
        begun=begun,
        answer_id=pl.col("response_id"),
    ).cast(FACTS)


def _joined(rows: pl.DataFrame) -> pl.DataFrame:
    """`row` and `_facts` of rows to which one kept request belongs and no other as well."""
    kept = at_request(rows).with_columns(_facts=_facts(), _kept="identity")
    met = (
        at_router(rows)
        .filter(~pl.col("identity").str.starts_with("detail-"))
        .select("row", "provider", "model", "_ms", OUTPUT, WHEN)
        .join(
            kept.select("_kept", "_facts", "provider", "model", OUTPUT, WHEN, _at="_ms"),
            on=["provider", "model", OUTPUT, WHEN],
        )
        .with_columns(_apart=(pl.col("_ms") - pl.col("_at")).abs())
        .filter(pl.col("_apart") <= REQUEST_MS)
        .sort("row", "_apart", "_kept")
    )
    nearest = met.filter(pl.col("_apart") == pl.col("_apart").min().over("row"))
    single = nearest.filter(pl.col("_kept").n_unique().over("row") == 1)
    # The body's row alone has the id of the answer.
    facts = [pl.col("_facts").struct.field(name) for name in ("asker", "tool_ids", "begun")]
    answer = pl.col("_facts").struct.field("answer_id").drop_nulls().first()
    return single.group_by("row", maintain_order=True).agg(
        _facts=pl.struct(*(fact.first() for fact in facts), answer_id=answer).cast(FACTS)
    )
