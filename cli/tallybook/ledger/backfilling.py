"""Finds what can be filled in all that was read, and prices it as recorded and as filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tallybook.ledger.chain import priced
from tallybook.ledger.reading import Reading

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from tallybook.backfill import Proposal

# Columns that neither prices nor reports look at; a reading may have a great many rows.
_LEFT_OUT: Final = "^(reported_.*_tokens|history.*|running_total|.*_thread_ids|chain_id|sequence)$"


@dataclass(frozen=True, slots=True)
class Plan:
    """What backfill would change: the calls as recorded and as filled, both priced.

    `corrections` and `unrecoverable` are those of the proposal, `reasons` the words of the
    latter's codes. `before` and `after` hold all counted rows, in one order.
    """

    corrections: pl.DataFrame
    unrecoverable: pl.DataFrame
    unused: int
    reasons: Mapping[str, str]
    before: pl.DataFrame
    after: pl.DataFrame


def make_plan(reading: Reading, zone: str, responses: Reading | None = None) -> Plan:
    """What can be filled in a reading that has no corrections, also from stored responses.

    `zone` is that of local times in the names of folders.
    """
    import polars as pl  # noqa: PLC0415 - after the logs are read

    from tallybook.backfill import REASONS, apply  # noqa: PLC0415
    from tallybook.schema import COUNTED_KINDS  # noqa: PLC0415

    counted = pl.col("kind").is_in(COUNTED_KINDS) & pl.col("duplicate_of").is_null()
    looked_at, kept = [], []
    for batch in reading.batches():
        looked_at.append(_looked_at(batch))
        kept.append(batch.filter(counted).select(pl.exclude(_LEFT_OUT)))
    proposal = _proposal(looked_at, zone, responses)
    before = pl.concat(kept)
    touched = before.join(proposal.corrections, on="call_id", how="semi", maintain_order="left")
    bare = touched.drop(_cost_columns(touched))
    filled = priced(apply(bare.lazy(), proposal.corrections).collect(), reading.rates)
    rest = before.join(proposal.corrections, on="call_id", how="anti", maintain_order="left")
    return Plan(
        corrections=proposal.corrections,
        unrecoverable=proposal.unrecoverable,
        unused=proposal.unused,
        reasons=REASONS,
        before=pl.concat([touched, rest]),
        after=pl.concat([filled.select(before.columns), rest]),
    )


def fill(reading: Reading, zone: str) -> None:
    """Let a reading have all that can be filled, beside what was recorded before."""
    from tallybook.ledger.proved import joined  # noqa: PLC0415 - loads pyarrow

    before, reading.corrections = reading.corrections, None
    found = _proposal([_looked_at(batch) for batch in reading.batches()], zone).corrections
    tables = [before] if before is not None else []
    reading.corrections = joined([*tables, corrections_table(found)])


def corrections_table(corrections: pl.DataFrame) -> pa.Table:
    """Proposed corrections as the ledger keeps them."""
    from tallybook.tables import CORRECTIONS  # noqa: PLC0415 - loads pyarrow

    return corrections.to_arrow().cast(CORRECTIONS)


def _proposal(frames: list[pl.DataFrame], zone: str, responses: Reading | None = None) -> Proposal:
    import polars as pl  # noqa: PLC0415 - as above

    from tallybook.backfill import propose  # noqa: PLC0415

    if responses is not None:
        frames = [*frames, *(_evidence_only(_looked_at(batch)) for batch in responses.batches())]
    return propose(pl.concat(frames), zone)


def _looked_at(rows: pl.DataFrame) -> pl.DataFrame:
    from tallybook.backfill import COLUMNS  # noqa: PLC0415 - imports polars

    return rows.select(COLUMNS)


def _evidence_only(rows: pl.DataFrame) -> pl.DataFrame:
    """What the user calls stored responses is evidence, and no call of its own."""
    import polars as pl  # noqa: PLC0415 - as above

    from tallybook.schema import COUNTED_KINDS, RESPONSE  # noqa: PLC0415

    stated = pl.col("kind").is_in([*COUNTED_KINDS, RESPONSE])
    return rows.filter(stated, pl.col("duplicate_of").is_null()).with_columns(kind=pl.lit(RESPONSE))


def _cost_columns(rows: pl.DataFrame) -> list[str]:
    from tallybook.pricing.cost import SCHEMA  # noqa: PLC0415 - imports polars

    return [name for name in SCHEMA if name in rows.columns]
