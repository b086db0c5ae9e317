"""Keeps the rows that the owner, or a cap, has taken out of a database since it was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tallybook.ledger.manifest import Entry, Segment
from tallybook.ledger.parts import PartWriter
from tallybook.ledger.store import Store
from tallybook.schema import PROBLEM

if TYPE_CHECKING:
    import polars as pl

_PLACE = ("record", "part")
_NAMES = ("identity", "record_id", "response_id", "request_id")


def keep_deleted(known: Entry, entry: Entry, store: Store) -> list[Segment]:
    """The rows of `known` that are no longer in the database, written into a part of their own.

    A row is gone where neither its place, unless that is another call's now, nor any of its names,
    nor its content under another number is there: changed or renumbered, it is still the same.
    """
    import polars as pl  # noqa: PLC0415 - after the logs are read

    if entry.place.source != known.place.source:
        return known.deleted
    before, now = store.rows([known]), store.rows([_without_deleted(entry)])
    before = before.filter(pl.col("kind") != PROBLEM)
    there = now.select(*_PLACE, _there=pl.lit(value=True), _identity="identity").unique(_PLACE)
    other = (pl.col("identity") != pl.col("_identity")).fill_null(value=False)
    lost = (
        before.join(there, on=_PLACE, how="left", nulls_equal=True, maintain_order="left")
        .filter(pl.col("_there").is_null() | other)
        .drop("_there", "_identity")
    )
    for name in _NAMES:
        lost = lost.join(now.select(name), on=name, how="anti", maintain_order="left")
    content = [name for name in now.columns if name not in {*_PLACE, "path"}]
    lost = lost.filter(~_hashes(lost, content).is_in(_hashes(now, content).implode()))
    return _written(lost, known, store) if lost.height else []


def _without_deleted(entry: Entry) -> Entry:
    return Entry(
        **{name: getattr(entry, name) for name in Entry.__struct_fields__ if name != "deleted"}
    )


def _hashes(rows: pl.DataFrame, columns: list[str]) -> pl.Series:
    return rows.select(columns).hash_rows()


def _written(rows: pl.DataFrame, known: Entry, store: Store) -> list[Segment]:
    from tallybook.tables import READ  # noqa: PLC0415

    writer = PartWriter(store.parts)
    segment = writer.add_table(rows.to_arrow().cast(READ), known.place.version, known.file_id)
    name, table = writer.close()
    store.take(name, table)
    return [msgspec.structs.replace(segment, part=name)]
