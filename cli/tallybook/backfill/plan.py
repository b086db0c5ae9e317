"""Finds what can be filled in all that was read, and prices it as recorded and as filled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Final

import msgspec
import polars as pl
import pyarrow as pa

from tallybook.backfill.evidence import in_doubt
from tallybook.backfill.propose import REASONS, Proposal, propose
from tallybook.derive.chain import priced
from tallybook.derive.corrections import (
    COUNTS,
    INPUT_COUNTS,
    OUTPUT_COUNTS,
    apply,
    at_begin,
    recorded,
)
from tallybook.ledger.corrections import joined
from tallybook.ledger.reading import Reading
from tallybook.pricing.cost import SCHEMA
from tallybook.schema import BOUND, COUNTED_KINDS, RESPONSE
from tallybook.tables import CORRECTIONS
from tallybook.values import names_in

# Columns that neither prices nor reports of a plan look at; a reading may have a great many rows.
_LEFT_OUT: Final = (
    *names_in(
        "rule assumed evidence parent_thread_id model_ahead identity request_id response_id"
        " connection_id record_id chain_id segment_id log_source route sequence history"
        " history_thread_ids foreign_history fresh_counter running_total repeat is_copy sidechain"
        " finished block_index running series requested_model routed tool_ids component"
        " price_status price_model price_provider price_from media_counts"
    ),
    "^reported_.*_tokens$",
)

_NOW: Final = " now"  # behind the name of what a row states beside a correction


class BackfillPlan(msgspec.Struct, frozen=True):
    """What backfill would change: the calls as recorded and as filled, both priced.

    `corrections` and `unrecoverable` are those of the proposal, `reasons` the words of the
    latter's codes. `before` and `after` hold the calls that are filled or bounded, in one order,
    and `rest` all other counted rows.
    """

    corrections: pl.DataFrame
    unrecoverable: pl.DataFrame
    unused: int
    reasons: Mapping[str, str]
    before: pl.DataFrame
    after: pl.DataFrame
    rest: pl.DataFrame

    @property
    def filled(self) -> set[str]:
        """The calls that are filled; one that is only bounded is not."""
        return set(self.corrections.filter(pl.col("method") != BOUND)["call_id"])


def make_plan(
    reading: Reading,
    zone: str,
    responses: Reading | None = None,
    seen: Callable[[pl.DataFrame], object] = lambda _: None,
) -> BackfillPlan:
    """What can be filled in a reading that has no corrections, also from stored responses.

    `zone` is that of local times in the names of folders. Each batch of the reading is `seen`.
    """
    kept: list[pl.DataFrame] = []
    proposal = _proposal(_kept(reading, kept, seen), zone, responses)
    counted = pl.concat(kept)
    kept.clear()
    is_filled = pl.col("call_id").is_in(proposal.corrections["call_id"].implode())
    rest, before = counted.filter(~is_filled), counted.filter(is_filled)
    del counted
    filled = apply(before.drop(list(SCHEMA), strict=False), proposal.corrections)
    return BackfillPlan(
        corrections=proposal.corrections,
        unrecoverable=proposal.unrecoverable,
        unused=proposal.unused,
        reasons=REASONS,
        before=before,
        after=priced(filled, reading.rates).select(before.columns),
        rest=rest,
    )


def _kept(
    reading: Reading, kept: list[pl.DataFrame], seen: Callable[[pl.DataFrame], object]
) -> Iterator[pl.DataFrame]:
    """The rows of a reading; of the counted ones what a plan is priced by goes to `kept`."""
    counted = pl.col("kind").is_in(COUNTED_KINDS) & pl.col("duplicate_of").is_null()
    for batch in reading.batches():
        seen(batch)
        kept.append(batch.filter(counted).select(pl.exclude(_LEFT_OUT)))
        yield batch


def fill(reading: Reading, zone: str) -> None:
    """Let a reading have all that can be filled, beside what was recorded before."""
    before, reading.corrections = reading.corrections, None
    found = _proposal(reading.batches(), zone).corrections
    tables = [before] if before is not None else []
    reading.corrections = joined([*tables, corrections_table(found)])


def stated(plan: BackfillPlan, known: pl.DataFrame) -> set[tuple[str, str]]:
    """Which of the corrections, by call and direction, the rows of a plan state themselves by now.

    They stated something else when the correction was proved, or were in doubt and are no longer.
    What the plan would still correct they do not state, nor what they state another count of. A
    bound is over as soon as its call has a last count.
    """
    key, names = ["call_id", "direction"], list(COUNTS.values())
    rows = pl.concat([plan.before, plan.rest]).select(
        "call_id", *names, doubted=in_doubt(), begun=at_begin()
    )
    left = known.join(plan.corrections, on=key, how="anti")
    beside = left.join(rows, on="call_id", suffix=_NOW).filter(
        (pl.col("recorded") != _recorded()) | ~pl.col("doubted")
    )
    # A correction is of one direction, and nothing of the other.
    same = [pl.col(name).is_null() | pl.col(name).eq_missing(_now(name)) for name in names]
    is_bound = pl.col("method") == BOUND
    holds = pl.when(is_bound).then(~pl.col("begun")).otherwise(pl.all_horizontal(same))
    return set(beside.filter(holds).select(key).iter_rows())


def _recorded() -> pl.Expr:
    """What the row states of a correction's direction, as a correction says it."""
    prompt, output = (
        recorded(tuple(f"{COUNTS[name]}{_NOW}" for name in names))
        for names in (INPUT_COUNTS, OUTPUT_COUNTS)
    )
    return pl.when(pl.col("direction") == "input").then(prompt).otherwise(output)


def _now(name: str) -> pl.Expr:
    count = pl.col(f"{name}{_NOW}")
    return count.fill_null(0) if name == "unsplit_input_tokens" else count


def corrections_table(corrections: pl.DataFrame) -> pa.Table:
    """Proposed corrections as the ledger keeps them."""
    return corrections.to_arrow().cast(CORRECTIONS)


def _proposal(
    batches: Iterator[pl.DataFrame], zone: str, responses: Reading | None = None
) -> Proposal:
    more = map(_evidence_only, responses.batches()) if responses is not None else ()
    return propose((rows.lazy() for rows in chain(batches, more)), zone)


def _evidence_only(rows: pl.DataFrame) -> pl.DataFrame:
    """What the user calls stored responses is evidence, and no call of its own."""
    stated = rows.filter(pl.col("kind").is_in([*COUNTED_KINDS, RESPONSE]))
    is_copy = pl.col("duplicate_of").is_not_null()
    counts = list(COUNTS.values())
    # A copy of an answer that states something else says that one of the two is wrong.
    others = stated.filter(is_copy).join(
        stated.filter(~is_copy),
        left_on=["duplicate_of", *counts],
        right_on=["call_id", *counts],
        how="anti",
        nulls_equal=True,
    )
    kept = pl.concat([stated.filter(~is_copy), others])
    return kept.with_columns(kind=pl.lit(RESPONSE), duplicate_of=pl.lit(None, pl.String))
