"""Picks out of the rows the calls that may be filled and the evidence that may fill them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import polars as pl

from tallybook.backfill.columns import (
    COUNTS,
    INPUT_COUNTS,
    OUTPUT_COUNTS,
    SEEN,
    has_problem,
    recorded,
    true,
    whole_prompt,
)
from tallybook.backfill.words import BODY, DETAIL, EVENTS, FALSE_ZEROS, TWIN
from tallybook.schema import ASSUMED, CALL, RESPONSE, SUM

_WHO: Final = (
    "source",
    "provider",
    "model",
    "connection_id",
    "response_id",
    "request_id",
    "problems",
)
_WHERE: Final = ("path", "record", "part")
_EVENT_SOURCES: Final = ("deer-flow",)


def gather(batches: Iterable[pl.LazyFrame], zone: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The calls and the evidence in USAGE rows of every kind; see `_calls` and `_evidence`.

    Of each batch no more is held than what is compared.
    """
    found = [pl.collect_all([_calls(rows), _evidence(rows, zone)]) for rows in batches]
    calls = pl.concat(calls for calls, _ in found)
    evidence = pl.concat(evidence for _, evidence in found)
    return (
        # A call id that stands on several rows cannot say which of them a correction means.
        calls.filter(pl.col("call_id").is_unique()).with_row_index("call"),
        evidence.with_columns(pl.col("seen_group").rank("dense")).with_row_index("evidence"),
    )


def _calls(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The counted calls and sums: identity, counts, what is unknown (`needs_input`, ...).

    `open` tells the calls where the reader could only guess whether the prompt count holds the
    cached tokens.
    """
    counted = pl.col("kind").is_in([CALL, SUM]) & pl.col("duplicate_of").is_null()
    return (
        rows.filter(counted)
        .select("call_id", "dialect", *_WHO, *_counts(), _time(), open=_open() | _is_doubted())
        .with_columns(
            needs_input=(pl.col("unsplit").fill_null(0) > 0)
            | ~whole_prompt()
            # A whole split may be the guess of a tool that is known to have lost counts.
            | (pl.col("open") & pl.col("source").is_in(FALSE_ZEROS)),
            needs_output=pl.col("output").is_null(),
            recorded_input=recorded(INPUT_COUNTS),
            recorded_output=recorded(OUTPUT_COUNTS),
        )
        .drop("dialect")
    )


def _evidence(rows: pl.LazyFrame, zone: str) -> pl.LazyFrame:
    """The stored answers and twins, a row each; `seen_group` is the record they stand in.

    Captures lie in folders that are named by the time in `zone` at which the request began.
    """
    # What lost against the row that counts may still state what that one does not.
    lost = pl.col("duplicate_of").is_not_null() & pl.col("kind").is_in([CALL, SUM])
    twin = lost & pl.col("source").is_in(FALSE_ZEROS)
    kept = rows.filter((pl.col("kind") == RESPONSE) | twin).select(
        *_WHO,
        *_WHERE,
        "dialect",
        *_final_counts(),
        _time(_of_folder(zone)),
        # An estimate proves nothing, however well it fits.
        open=_open() | has_problem("estimated"),
        method=_method(twin),
        is_twin=twin,
        # A reader that knows whose answer it is gives it the identity of that call.
        answers=pl.when(twin).then("duplicate_of").otherwise("call_id"),
        group=pl.coalesce(
            pl.concat_str("source", pl.lit(":"), pl.col("record_id")),
            pl.concat_str("path", pl.lit(":"), pl.col("record").cast(pl.String)),
        ),
    )
    return kept.rename(lambda name: f"{SEEN}{name}")


def _counts() -> list[pl.Expr]:
    return [pl.col(bucket).alias(name) for name, bucket in COUNTS.items()]


def _final_counts() -> list[pl.Expr]:
    """The counts of an answer; one that broke off states no output, only what had come of it."""
    is_final = pl.col("finished").fill_null(value=True)
    return [
        count if name in INPUT_COUNTS else pl.when(is_final).then(count).alias(name)
        for name, count in zip(COUNTS, _counts(), strict=True)
    ]


def _time(otherwise: pl.Expr | None = None) -> pl.Expr:
    stated = pl.col("timestamp").dt.epoch("us")
    return (stated if otherwise is None else pl.coalesce(stated, otherwise)).alias("time")


def _of_folder(zone: str) -> pl.Expr:
    stamp = pl.col("path").str.extract(r"_(\d{8}_\d{6}_\d{3})[/\\]5_res_provider\.")
    local = stamp.str.to_datetime("%Y%m%d_%H%M%S_%3f", time_unit="us", strict=False)
    placed = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return placed.dt.epoch("us")


def _open() -> pl.Expr:
    inputs = [COUNTS[name] for name in INPUT_COUNTS if name != "creation_1h"]
    guessed = [true(pl.col(f"{bucket}_origin") == ASSUMED) for bucket in inputs]
    return pl.any_horizontal(*guessed, has_problem("ambiguous-dialect"))


def _is_doubted() -> pl.Expr:
    """Whether the reader says that what the record states may be wrong as it stands."""
    return has_problem("cache-perhaps-twice")


def _method(twin: pl.Expr) -> pl.Expr:
    return (
        pl.when(twin)
        .then(pl.lit(TWIN))
        .when(pl.col("source").is_in(_EVENT_SOURCES))
        .then(pl.lit(EVENTS))
        .when(true(pl.col("part") == "tokens"))
        .then(pl.lit(DETAIL))
        .otherwise(pl.lit(BODY))
    )
