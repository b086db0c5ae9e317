"""Joins the requests that a router kept to its rows: who asked, in answer to what, and when."""

from __future__ import annotations

from typing import Final

import polars as pl

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
    lazy = rows.lazy()
    nothing = rows.with_columns(pl.lit(None, FACTS).alias(REQUEST))
    there = rows.select(is_router().any().alias("rows"), is_request().any().alias("kept"))
    if not there["rows"].item():
        return nothing
    own = lazy.filter(is_router(), pl.col("identity").str.starts_with("detail-"))
    found = own.select("row", _facts=_facts()).collect()
    if there["kept"].item():
        found = pl.concat([found, _joined(lazy)])
    if found.is_empty():
        return nothing
    return rows.join(found, on="row", how="left", maintain_order="left").rename({"_facts": REQUEST})


def _facts() -> pl.Expr:
    begun = pl.col("identity").str.extract(_STREAM_ID).cast(pl.Int64)
    return pl.struct(
        asker=pl.col("thread_id"),
        tool_ids=pl.col("tool_ids"),
        begun=begun,
        answer_id=pl.col("response_id"),
    ).cast(FACTS)


def _joined(rows: pl.LazyFrame) -> pl.DataFrame:
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
        .collect()
    )
    nearest = met.filter(pl.col("_apart") == pl.col("_apart").min().over("row"))
    single = nearest.filter(pl.col("_kept").n_unique().over("row") == 1)
    # The body's row alone has the id of the answer.
    facts = [pl.col("_facts").struct.field(name) for name in ("asker", "tool_ids", "begun")]
    answer = pl.col("_facts").struct.field("answer_id").drop_nulls().first()
    return single.group_by("row", maintain_order=True).agg(
        _facts=pl.struct(*(fact.first() for fact in facts), answer_id=answer).cast(FACTS)
    )
