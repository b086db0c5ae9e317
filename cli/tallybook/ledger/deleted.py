"""Finds the records that the owner of a file has taken out of it, and keeps them.

They are told where records have ids of their own, as the rows of a table have. A question that
names the file is about what it holds now, and leaves them out.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import polars as pl

from tallybook.ledger.manifest import Entry, Segment
from tallybook.ledger.parts import PartWriter
from tallybook.ledger.rows import StoredRows
from tallybook.ledger.store import Store
from tallybook.schema import COUNTED_KINDS, PROBLEM
from tallybook.tables import READ

_PLACE = ("record", "part")
_NAMES = ("identity", "record_id", "response_id", "request_id")
# What a reader takes over as it is written, however it is read otherwise.
_PLAIN = ("timestamp", "reported_input_tokens", "reported_output_tokens")


class Kept(NamedTuple):
    """Rows that were taken out of a file, how many calls, and how many of these other code read."""

    segments: tuple[Segment, ...]
    calls: int
    older: int


def keep_deleted(known: Entry, entry: Entry, store: Store) -> Kept:
    """The rows of `known` that are no longer in the file, written into a part of their own.

    A row is gone where neither its place, unless that is another call's now, nor any of its names,
    nor its content under another number is there: changed or renumbered, it is still the same.
    Where other code has read `known`, names and content may differ for that: then whatever stands
    in its place in a table is the row, and so is any with its time and counts. Of a file that is no
    database only what has a name can be told; one that is empty now has lost all of it.
    """
    sources = {entry.place.source, known.place.source} - {None}
    if len(sources) > 1:
        return Kept(known.deleted, known.removed, known.older)
    held = StoredRows(store)
    is_table = known.place.is_database
    now = held.rows([_only(entry, rows=entry.rows, tentative=entry.tentative)])
    if known.code == entry.code:
        lost = _taken_out(held.rows([known]), now)
    else:
        before = held.rows([_only(known, rows=known.rows, tentative=known.tentative)])
        taken_out_before = held.rows([_only(known, deleted=known.deleted)])
        if is_table:
            before = before.join(now, on="record", how="anti", maintain_order="left")
        lost = _unlike(pl.concat([before, taken_out_before]), now)
    lost = lost.filter(pl.col("kind") != PROBLEM)
    if not is_table:
        lost = lost.filter(pl.col("identity").is_not_null())
    if not lost.height:
        return Kept((), 0, 0)
    calls = _calls(lost)
    older = calls if known.code != entry.code else known.older
    return Kept(_written(lost, known.code, entry, store), calls, older)


def _calls(rows: pl.DataFrame) -> int:
    """How many calls rows state; the records of one bear the same identity."""
    counted = rows.filter(pl.col("kind").is_in(COUNTED_KINDS))
    named = counted.filter(pl.col("identity").is_not_null()).unique("identity")
    nameless = counted.filter(pl.col("identity").is_null())
    return int(named["calls"].sum()) + int(nameless["calls"].sum())


def _only(entry: Entry, **segments: tuple[Segment, ...]) -> Entry:
    """The file with some of its rows."""
    nothing = dict.fromkeys(("rows", "tentative", "deleted"), ())
    return msgspec.structs.replace(entry, **(nothing | segments))


def _taken_out(before: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """Rows that are no longer there; both were read by the same code."""
    there = now.select(*_PLACE, _there=pl.lit(value=True), _identity="identity").unique(_PLACE)
    other = (pl.col("identity") != pl.col("_identity")).fill_null(value=False)
    left = (
        before.join(there, on=_PLACE, how="left", nulls_equal=True, maintain_order="left")
        .filter(pl.col("_there").is_null() | other)
        .drop("_there", "_identity")
    )
    left = _nameless(left, now)
    content = [name for name in now.columns if name not in {*_PLACE, "path"}]
    return left.filter(~_hashes(left, content).is_in(_hashes(now, content).implode()))


def _unlike(before: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """Rows that have neither a name nor the time and the counts of one that is there."""
    left = _nameless(before, now)
    dated = now.filter(now["timestamp"].is_not_null())
    return left.join(dated, on=_PLAIN, how="anti", nulls_equal=True, maintain_order="left")


def _nameless(before: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """Rows without a name that one of those that are there has."""
    for name in _NAMES:
        before = before.join(now.select(name), on=name, how="anti", maintain_order="left")
    return before


def _hashes(rows: pl.DataFrame, columns: list[str]) -> pl.Series:
    return rows.select(columns).hash_rows()


def _written(rows: pl.DataFrame, code: str, entry: Entry, store: Store) -> tuple[Segment, ...]:
    """The rows in a part; their file id tells what entry keeps them."""
    writer = PartWriter(store.parts, kept=store.kept is not None)
    segment = writer.add_table(rows.to_arrow().cast(READ), code, entry.file_id)
    name, table = writer.close()
    store.take(name, table)
    return (msgspec.structs.replace(segment, part=name),)
