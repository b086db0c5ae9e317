"""Which rows are of a router, of a request that it kept or of its client, and when two may meet."""

from __future__ import annotations

from typing import Final

import polars as pl

from tallybook.schema import CALL, RESPONSE, SILENT_ANSWER, SILENT_CALL

# A router writes its row when the answer ends. Codex writes its own when the tool has run as well.
LONGEST_TOOL_MS: Final = 600_000
TURN_MS: Final = 1_000  # a row of Codex may come so much later than the counts
# What keeps answers stamps them with their beginning.
LONGEST_ANSWER_MS: Final = 900_000
CLOCKS_MS: Final = 60_000
REQUEST_MS: Final = 5  # between a router's row and the request that it kept
OUTPUT: Final = "_output"
WHEN: Final = "_when"
_SLOT_MS: Final = 600_000
STORED: Final = "responses"  # the source of stored answers


_PREFIX: Final = r"^.*/"


def bare_model(column: str) -> pl.Expr:
    """The model without what chose its route."""
    return pl.col(column).str.replace(_PREFIX, "").str.to_lowercase()


def milliseconds() -> pl.Expr:
    """The time of a row since 1970."""
    return pl.col("timestamp").dt.epoch("ms")


def is_router() -> pl.Expr:
    """Calls that a router forwarded, by its own record."""
    return (pl.col("kind") == CALL) & pl.col("route").is_not_null()


def is_silent() -> pl.Expr:
    """Answers in the log of a client that states no counts of them."""
    named = [pl.col("identity").str.starts_with(begin) for begin in (SILENT_ANSWER, SILENT_CALL)]
    return pl.col("routed") & pl.any_horizontal(named)


def is_request() -> pl.Expr:
    """Requests that a router kept beside its records."""
    return (pl.col("kind") == RESPONSE) & pl.col("route").is_not_null()


def tells_of_client() -> pl.Expr:
    """Requests that a router kept and that say anything of who asked, or what was answered."""
    is_clocked = pl.col("route").str.ends_with(">responses stream")
    named = pl.any_horizontal(pl.col("thread_id", "tool_ids", "response_id").is_not_null())
    return is_request() & (named | is_clocked)


def at_router(rows: pl.DataFrame) -> pl.DataFrame:
    """The calls of a router, each with its OUTPUT and the one WHEN that it lies in."""
    return _at(rows.filter(is_router()).with_columns(_output="reported_output_tokens"), 0)


def at_request(rows: pl.DataFrame) -> pl.DataFrame:
    """The kept requests, with every OUTPUT and WHEN that the row of the same may have."""
    output = pl.col("reported_output_tokens").fill_null(0)
    thoughts = pl.col("reported_reasoning_tokens").fill_null(0)
    outputs = pl.concat_list(output, output + thoughts, (output - thoughts).abs()).list.unique()
    found = rows.filter(tells_of_client()).with_columns(_output=outputs).explode(OUTPUT)
    return _at(found, -REQUEST_MS, REQUEST_MS)


def at_client(rows: pl.DataFrame) -> pl.DataFrame:
    """The clients' calls with signs of a route, with every WHEN that the router's row may have."""
    found = rows.filter(pl.col("routed")).with_columns(_output="reported_output_tokens")
    return _at(found, -LONGEST_TOOL_MS, 0, CLOCKS_MS)


def at_answer(rows: pl.DataFrame) -> pl.DataFrame:
    """The stored answers that count, with every WHEN that the router's row may have."""
    stored = (pl.col("kind") == CALL) & (pl.col("source") == STORED)
    found = rows.filter(stored).with_columns(_output="reported_output_tokens")
    return _at(found, -CLOCKS_MS, *range(0, LONGEST_ANSWER_MS + 1, _SLOT_MS // 2))


def at_silent(rows: pl.DataFrame) -> pl.DataFrame:
    """The answers without counts, with every WHEN that the router's row may have."""
    found = rows.filter(is_silent()).with_columns(pl.lit(0).alias(OUTPUT))
    return _at(found, -LONGEST_TOOL_MS, 0, CLOCKS_MS)


def _at(rows: pl.DataFrame, *apart: int) -> pl.DataFrame:
    found = rows.with_columns(_ms=milliseconds()).drop_nulls([OUTPUT, "_ms"])
    if found.is_empty():
        return found.with_columns(pl.lit(None, pl.Int64).alias(WHEN))
    slots = [(pl.col("_ms") + each) // _SLOT_MS for each in apart]
    if len(slots) == 1:
        return found.with_columns(slots[0].alias(WHEN))
    return found.with_columns(pl.concat_list(slots).list.unique().alias(WHEN)).explode(WHEN)
