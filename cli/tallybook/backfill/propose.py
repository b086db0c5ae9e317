"""Finds the evidence of each call, proves the match, and says what it would fill, or why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import polars as pl

from tallybook.backfill import evidence
from tallybook.backfill.agreement import judge
from tallybook.backfill.evidence import elsewhere, gather, miscounted
from tallybook.backfill.matching import Search, agrees, differs, edges
from tallybook.backfill.remainders import lost_outputs
from tallybook.derive.corrections import COUNTS, INPUT_COUNTS, OUTPUT_COUNTS, true
from tallybook.schema import BOUND, INPUT, OUTPUT
from tallybook.tables import CORRECTIONS

# Why a call keeps what is unknown, the reason nearest to a proof first.
REASONS: Final[Mapping[str, str]] = {
    "ambiguous-match": "several answers fit several calls, and they state different counts",
    "evidence-disagrees": "two records of the same answer state different counts",
    "shared-remainder": "a total bounds it together with other calls, and fills none of them",
    "input-disagrees": "an answer fits but for the prompt that both state",
    "output-disagrees": "an answer fits but for the output that both state",
    "estimated": "the counts of call and answer are estimates of the tool",
    "truncated-body": "the answer was cut before its counts",
    "body-altered": "the counts were taken out of the answer before it was kept",
    "ambiguous-dialect": "nothing proves whether a count holds the cached tokens",
    "response-without-counts": "the answer does not state the counts that are unknown",
    "outside-tolerance": "an answer with these counts lies too far away in time",
    "no-response-kept": "no answer to this call was kept",
}

# Problems of the evidence that explain what it lacks, the most telling first.
_OF_EVIDENCE: Final = ("estimated", "truncated-body", "body-altered")


def reasons(calls: pl.DataFrame, search: Search) -> pl.DataFrame:
    """The calls with their `reason`, the first that applies."""
    found = [
        *(edges.select("call", reason=_of_match()) for edges in search.matched),
        *(_all(edges, "ambiguous-match") for edges in search.refused),
        *(_all(edges, "input-disagrees") for edges in search.rejected),
        *(edges.select("call", reason=_of_match()) for edges in search.silent),
        _all(miscounted(calls, search.evidence), "output-disagrees"),
        _all(elsewhere(calls, search.evidence), "outside-tolerance"),
    ]
    first = pl.concat(found).unique("call", keep="first", maintain_order=True)
    return calls.join(first, on="call", how="left", maintain_order="left").with_columns(
        reason=pl.col("reason").fill_null(_of_call())
    )


def _all(edges: pl.DataFrame, reason: str) -> pl.DataFrame:
    return edges.select("call", reason=pl.lit(reason))


def _of_match() -> pl.Expr:
    """Why evidence that belongs to the call does not fill it."""
    states = {
        "evidence-disagrees": pl.col("clash"),
        "input-disagrees": (differs(INPUT) | pl.col("contradicts")) & ~pl.col("torn"),
        "output-disagrees": differs(OUTPUT),
        **{code: true(pl.col("codes").list.contains(code)) for code in _OF_EVIDENCE},
        "ambiguous-dialect": pl.col("torn") | pl.col("unproved"),
    }
    found = [pl.when(holds).then(pl.lit(reason)) for reason, holds in states.items()]
    return pl.coalesce(*found, pl.lit("response-without-counts"))


def _of_call() -> pl.Expr:
    estimated = true(pl.col("problems").list.contains("estimated"))
    return pl.when(estimated).then(pl.lit("estimated")).otherwise(pl.lit("no-response-kept"))


SCHEMA: Final = pl.DataFrame(CORRECTIONS.empty_table()).schema
# What no match looks at: what is put in place of what, and where the evidence lies.
_SAID_LATER: Final = ("needs_input", "needs_output", "recorded_input", "recorded_output")
_PLACES: Final = {
    "evidence_path": "seen_path",
    "evidence_record": "seen_record",
    "evidence_part": "seen_part",
}
_UNRECOVERABLE: Final = pl.Schema(dict.fromkeys(("call_id", "source", "reason"), pl.String()))


class Proposal(msgspec.Struct, frozen=True):
    """What backfill found: `corrections` (tables.CORRECTIONS) and the calls it cannot fill.

    `unrecoverable` has `call_id`, `source` and `reason` (a key of `REASONS`), a row for each
    call whose prompt or output stays unknown. `unused` counts evidence that answers no call.
    """

    corrections: pl.DataFrame
    unrecoverable: pl.DataFrame
    unused: int


def propose(batches: Iterable[pl.LazyFrame], zone: str) -> Proposal:
    """What can be filled in batches of USAGE rows of every kind, normalised and deduplicated.

    A direction is proposed as a whole, and only where call and evidence agree on what both state.
    `zone` is that of folders of captures, which are named in local time.
    """
    calls, yielded, names, evidence, told = gather(batches, zone)
    search = Search(calls.drop(_SAID_LATER), names, evidence.drop(_PLACES.values()))
    if not evidence.is_empty():
        _match_by_link(search)
        _match_by_time(search)
        _match_captures(search)
    corrections = _corrections(search, calls, evidence)
    lost = lost_outputs(told, calls, corrections, SCHEMA)
    corrections = pl.concat([corrections, lost.corrections])
    return Proposal(
        corrections=corrections,
        unrecoverable=_unrecoverable(search, calls, corrections, lost.reasons),
        unused=_unused(search, yielded.drop(_SAID_LATER)),
    )


def _unused(search: Search, yielded: pl.DataFrame) -> int:
    """How many records of evidence answer no call, not even one that a client's record counts."""
    left = search.evidence.filter(~pl.col("seen_is_twin"))
    if left.is_empty() or yielded.is_empty():
        return left["seen_group"].n_unique()
    theirs = evidence.by_time(yielded, left).join(left.select("evidence", "seen_group"), "evidence")
    return left.join(theirs, on="seen_group", how="anti")["seen_group"].n_unique()


def _match_by_link(search: Search) -> None:
    """An id is proof enough of the match; what is filled is judged by the counts all the same.

    Evidence that fills nothing does not keep its call from other evidence, but it is no other
    call's either. What a router keeps may fill a client's call of the same id, and is still that of
    its own row.
    """
    pairs = evidence.by_link(search.calls, search.names, search.evidence)
    if pairs.is_empty():
        return
    found = edges(judge(pairs))
    lent = found.join(_of_another_source(found, search), on=["call", "seen_group"], how="semi")
    found = found.join(lent, on=["call", "seen_group"], how="anti")
    fills = pl.col("input_fill").is_not_null()
    search.take(found.filter(fills), "by id")
    search.silent.append(search.left(found.filter(~fills & ~pl.col("is_twin"))))
    search.own(found.filter(~pl.col("is_twin")))
    search.lend(lent.filter(fills), "by id")


def _of_another_source(found: pl.DataFrame, search: Search) -> pl.DataFrame:
    """Those edges whose evidence is of another source than the call, one with calls of its own."""
    groups = search.evidence.select("seen_group", "seen_source").unique("seen_group")
    calls = search.every.select("call", "source")
    sources = calls["source"].unique().implode()
    placed = found.select("call", "seen_group").join(calls, on="call").join(groups, on="seen_group")
    other = (pl.col("source") != pl.col("seen_source")) & pl.col("seen_source").is_in(sources)
    return placed.filter(other).select("call", "seen_group")


def _match_by_time(search: Search) -> None:
    """The nearest first, and those that state the same prompt and output before all others."""
    pairs = evidence.by_time(search.every, search.evidence)
    if pairs.is_empty():
        return
    found = edges(judge(pairs))
    near = pl.col("distance") <= evidence.NEAR
    whole = agrees(INPUT) & agrees(OUTPUT)
    for level, proof in ((whole & near, "at the same time"), (whole, "at nearly the same time")):
        search.take(search.left(found.filter(level)), proof)
    # Where one of the two is silent, only a single candidate is a proof.
    said = agrees(INPUT) | agrees(OUTPUT) | pl.col("input_fill").is_not_null()
    half = said & ~differs(INPUT) & ~differs(OUTPUT) & ~whole & near
    silent = search.left(found.filter(half))
    alone = (pl.len().over("call") == 1) & (pl.len().over("seen_group") == 1)
    search.take(silent.filter(alone), "the only one at the time")
    search.refused.append(search.left(silent))
    search.rejected.append(search.left(found.filter(agrees(OUTPUT) & differs(INPUT))))
    # What only repeats what another record has proved of its call is that call's all the same.
    search.own(found.filter(whole).join(search.calls, on="call", how="anti"))


def _match_captures(search: Search) -> None:
    pairs = evidence.by_capture(search.calls, search.evidence)
    if pairs.is_empty():
        return
    found = edges(judge(pairs))
    search.take(found.filter(agrees(INPUT) & agrees(OUTPUT)), "by model, time and counts")


def _corrections(search: Search, calls: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """What changes, a row a call and direction, in the order of the calls."""
    if not search.matched:
        return SCHEMA.to_frame()
    beside = (
        pl.concat(search.matched).join(calls, on="call", how="left", suffix="_of_call").sort("call")
    )
    found = [_direction(beside, INPUT, INPUT_COUNTS), _direction(beside, OUTPUT, OUTPUT_COUNTS)]
    ordered = ["call", *SCHEMA.names()]
    places = evidence.select("evidence", **_PLACES)
    rows = [part.join(places, on="evidence", how="left").select(ordered) for part in found]
    return pl.concat(rows).sort("call", "direction").select(SCHEMA.names())


def _direction(matched: pl.DataFrame, direction: str, counts: tuple[str, ...]) -> pl.DataFrame:
    def filled(name: str) -> pl.Expr:
        return pl.col(f"{direction}_fill").struct.field(f"fill_{name}")

    rule = (
        pl.col(f"{direction}_fill").struct.field("rule")
        if direction == INPUT
        else pl.when("begun").then(pl.lit("last output")).otherwise(pl.lit("same output"))
    )
    changed = pl.any_horizontal(filled(name).ne_missing(pl.col(name)) for name in counts)
    # A guess that turns out right is a guess no longer, and a first count may be the last one.
    changed |= pl.col("open") if direction == INPUT else pl.col("needs_output")
    nothing = {name: pl.lit(None, pl.Int64) for name in COUNTS if name not in counts}
    buckets = {name: filled(name) for name in counts} | nothing
    return matched.filter(pl.col(f"{direction}_fill").is_not_null() & changed).select(
        "call",
        "call_id",
        "source",
        direction=pl.lit(direction),
        evidence=pl.col(f"{direction}_fill").struct.field("evidence"),
        method=pl.col(f"{direction}_fill").struct.field("seen_method"),
        recorded=pl.col(f"recorded_{direction}"),
        **{COUNTS[name]: value for name, value in buckets.items()},
        rule=pl.concat_str("proof", pl.lit(": "), rule),
    )


def _unrecoverable(
    search: Search, calls: pl.DataFrame, corrections: pl.DataFrame, known: dict[str, str]
) -> pl.DataFrame:
    filled = corrections.filter(pl.col("method") != BOUND)
    lacking = [
        calls.filter(f"needs_{direction}").join(
            filled.filter(pl.col("direction") == direction), on="call_id", how="anti"
        )
        for direction in (INPUT, OUTPUT)
    ]
    left = calls.join(pl.concat(lacking).select("call"), on="call", how="semi")
    if left.is_empty():
        return _UNRECOVERABLE.to_frame()
    better = pl.col("call_id").replace_strict(known, default=None, return_dtype=pl.String)
    found = reasons(left, search).with_columns(reason=pl.coalesce(better, "reason"))
    return found.select(_UNRECOVERABLE.names())
