"""The chain of stages from reported rows to priced usage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import polars as pl

from tallybook.derive.attribute import attribute
from tallybook.derive.bounds import with_bounds
from tallybook.derive.corrections import apply
from tallybook.derive.duplicates.deduplicate import deduplicate
from tallybook.derive.duplicates.requests import REQUEST, with_requests
from tallybook.derive.normalize import normalize
from tallybook.derive.reconcile import reconcile
from tallybook.derive.running_totals import settle_running
from tallybook.derive.sums import settle_sums
from tallybook.derive.without_counts import settle_without_counts
from tallybook.pricing.cost import price
from tallybook.schema import AT_CLIENT, AT_ROUTER, PROBABLY_SAME, RESPONSE, TOTAL_MISMATCH

if TYPE_CHECKING:
    import pyarrow as pa

    from tallybook.pricing.rates import Rates


_Stage = Callable[[pl.DataFrame], pl.DataFrame]
_STAGES: Final[tuple[_Stage, ...]] = (
    attribute,
    settle_running,
    normalize,
    deduplicate,
    settle_sums,
    settle_without_counts,
    reconcile,
    with_bounds,
)
# So many rows of evidence go through the stages at once.
EVIDENCE_ROWS: Final = 16_384
PLACE: Final = "file_place"
_MANY_ROWS: Final = 4_096  # to look for columns of one value takes a millisecond


def derive(reported: pa.Table | pl.DataFrame, rates: Rates | None) -> pl.DataFrame:
    """The chain from reported rows (schema READ) to USAGE rows, priced where `rates` are given.

    Rows are put in the order of path, record and part first, so the order of reading is of no
    consequence; where PLACE tells that of their file, in its order. That must be the order of the
    paths of all files that concern each other.
    """
    # Rows come in as many pieces as parts that they were read from, and each step pays for each.
    frame = _narrow(pl.DataFrame(reported)).rechunk()
    del reported
    frame = with_requests(_in_order(frame).with_row_index("row"))
    parts = list(_apart(frame))
    del frame
    derived = []
    while parts:
        rows = parts.pop(0)
        for stage in _STAGES:
            rows = stage(rows)
        derived.append(rows.drop(REQUEST))
    usage = pl.concat(derived)
    return priced((usage if usage["row"].is_sorted() else usage.sort("row")).drop("row"), rates)


def _apart(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows, much evidence apart from the others and in pieces.

    It is never counted and decides nothing of other rows, so it need not be held with them. Little
    of it is: all would have to be copied into their order again.
    """
    is_evidence = rows["kind"] == RESPONSE
    if is_evidence.sum() <= EVIDENCE_ROWS:
        yield rows
        return
    yield rows.filter(~is_evidence)
    yield from rows.filter(is_evidence).iter_slices(EVIDENCE_ROWS)


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows by path, record and part; sorting copies them all, and most stand so already."""
    file = PLACE if PLACE in rows.columns else "path"
    order = rows.select(pl.arg_sort_by(file, "record", "part", maintain_order=True)).to_series()
    return rows if order.is_sorted() else rows[order]


def _narrow(rows: pl.DataFrame) -> pl.DataFrame:
    """The same rows, with columns that hold one value throughout as just that value.

    Of most logs that are half of the columns, and nothing that is done to them costs time then.
    """
    if rows.height < _MANY_ROWS:
        return rows
    schema = rows.schema
    first, last = rows.row(0), rows.row(-1)
    ends = zip(schema.items(), first, last, rows.null_count().iter_columns(), strict=True)
    plain = (pl.String, pl.Boolean, pl.Int64)
    single, likely = [], []
    for (name, dtype), one, other, nulls in ends:
        if nulls[0] == rows.height:
            single.append(name)
        elif one == other and dtype in plain:
            likely.append(name)
    same = rows.select(pl.col(likely).eq_missing(pl.col(likely).first()).all())
    single += [each.name for each in same.iter_columns() if each[0]]
    return rows.with_columns(pl.lit(rows[name][0], schema[name]).alias(name) for name in single)


def as_recorded(usage: pl.DataFrame) -> pl.DataFrame:
    """USAGE rows of which those count again that were left out without proof."""
    apart = pl.col("duplicate_reason") == PROBABLY_SAME
    if not usage.select(apart.any()).item():
        return usage
    others = usage.filter(apart)["duplicate_of"].unique().implode()
    either = apart | (pl.col("duplicate_of").is_null() & pl.col("call_id").is_in(others))
    kept = pl.col("problems").list.eval(pl.element().filter(pl.element() != PROBABLY_SAME))
    return usage.with_columns(
        duplicate_of=pl.when(~apart.fill_null(value=False)).then("duplicate_of"),
        duplicate_reason=pl.when(~apart.fill_null(value=False)).then("duplicate_reason"),
        problems=pl.when(apart).then(kept).otherwise("problems"),
        route_end=pl.coalesce(pl.when(either).then(_end_of_route()), "route_end"),
    )


def _end_of_route() -> pl.Expr:
    at_router = pl.col("route").is_not_null()
    return pl.when(at_router).then(pl.lit(AT_ROUTER)).otherwise(pl.lit(AT_CLIENT))


def corrected(usage: pl.DataFrame, corrections: pa.Table | None) -> pl.DataFrame:
    """USAGE rows, not priced yet, with what backfill has proved of them (schema CORRECTIONS)."""
    if corrections is None or not corrections.num_rows:
        return usage
    return _reconciled(usage, apply(usage, pl.DataFrame(corrections)))


def _reconciled(before: pl.DataFrame, filled: pl.DataFrame) -> pl.DataFrame:
    """The rows as `filled`, without the doubt about totals that hold now and did not `before`.

    A doubt for any other reason, such as one that a reader stated, stays. None is doubted anew:
    these may be a part of the rows that a total is over.
    """
    doubted = pl.col("running") & pl.col("problems").list.contains(TOTAL_MISMATCH)
    if not filled.select(doubted.any()).item():
        return filled
    bare = pl.col("problems").list.set_difference([TOTAL_MISMATCH])
    then, now = (
        rows.with_row_index("row")
        .with_columns(problems=pl.when(doubted).then(bare).otherwise("problems"))
        .pipe(reconcile)["problems"]
        .list.contains(TOTAL_MISMATCH)
        .fill_null(value=False)
        for rows in (before, filled)
    )
    holds = doubted.fill_null(value=False) & pl.lit(then & ~now)
    return filled.with_columns(
        problems=pl.when(holds).then(bare).otherwise("problems"),
        detail=pl.when(~holds).then("detail"),
    )


def priced(usage: pl.DataFrame, rates: Rates | None) -> pl.DataFrame:
    """USAGE rows with the columns of the cost, where there are rates."""
    return usage if rates is None else price(usage, rates)
