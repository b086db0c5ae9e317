"""What backfill proved, kept in the ledger beside the facts."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from tallybook.errors import TallybookError, words_of
from tallybook.ledger.catalog import load
from tallybook.ledger.folder import Folder
from tallybook.ledger.manifest import Damaged, Manifest
from tallybook.ledger.part_files import openable, put_in_place
from tallybook.ledger.parts import options
from tallybook.ledger.upkeep import committed, writing
from tallybook.private import aside
from tallybook.tables import CORRECTIONS

_KEY = ("call_id", "direction")


def corrections(ledger: Path, manifest: Manifest | None = None) -> pa.Table:
    """All corrections in the CORRECTIONS schema, one a call and direction, in their order.

    A `manifest` that was read already need not be read again. Raises TallybookError where the
    ledger cannot be read.
    """
    try:
        return read_corrections(Folder(ledger), manifest or load(ledger)[0])
    except (Damaged, OSError) as error:
        raise TallybookError(f"cannot read the ledger {ledger}: {words_of(error)}") from error


def append_corrections(
    ledger: Path, table: pa.Table, without: Collection[tuple[str, str]] = ()
) -> int:
    """Add corrections, all or none; a later one of the same call and direction replaces the other.

    In the same step those of `without` go, by call and direction. Returns of how many calls one was
    not there before; the same again changes nothing. Raises TallybookError.
    """
    return len(_change(ledger, table, without))


def clear_corrections(ledger: Path) -> int:
    """Take all corrections back; returns of how many calls. Raises TallybookError."""
    return len(_change(ledger, None, ()))


def _change(ledger: Path, table: pa.Table | None, without: Collection[tuple[str, str]]) -> set[str]:
    with writing(ledger) as (folder, manifest):
        before = read_corrections(folder, manifest)
        after = before.slice(0, 0)
        if table is not None:
            after = joined([_left(before, without), table])
        new = new_of(before, after) if table is not None else new_of(after, before)
        if new or after.num_rows != before.num_rows:
            names = put_corrections(folder, after)
            folder.sweep(committed(folder, manifest, corrections=names))
        return new


def joined(tables: list[pa.Table]) -> pa.Table:
    """One correction a call and direction, the last that is given, in the order of these."""
    rows = {}
    for table in tables:
        for row in table.select(CORRECTIONS.names).to_pylist():
            rows[tuple(row[name] for name in _KEY)] = row
    return pa.Table.from_pylist([rows[key] for key in sorted(rows)], schema=CORRECTIONS)


def _left(table: pa.Table, without: Collection[tuple[str, str]]) -> pa.Table:
    keys = zip(*(table[name].to_pylist() for name in _KEY), strict=True)
    return table.filter([key not in without for key in keys]) if without else table


def new_of(before: pa.Table, after: pa.Table) -> set[str]:
    """The calls of which the second states a correction that the first does not."""
    known = {tuple(row.values()) for row in before.to_pylist()}
    return {row["call_id"] for row in after.to_pylist() if tuple(row.values()) not in known}


def read_corrections(folder: Folder, manifest: Manifest) -> pa.Table:
    """The corrections that a manifest names. Raises OSError."""
    names = manifest.corrections
    if not names:
        return CORRECTIONS.empty_table()
    import pyarrow.parquet as pq  # noqa: PLC0415 - takes 0.06 s, and few ledgers have corrections

    tables = [
        pq.read_table(openable(folder.parts / name), page_checksum_verification=True)
        for name in names
    ]
    return joined([CORRECTIONS.empty_table(), *tables])


def put_corrections(folder: Folder, table: pa.Table) -> list[str]:
    """Write corrections; the names of their parts. Raises OSError."""
    if not table.num_rows:
        return []
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    with aside(folder.parts) as path:
        with path.open("r+b") as stream:
            pq.write_table(table, stream, **options())
        return [put_in_place(path)]


def united(one: pa.Table, other: pa.Table) -> pa.Table:
    """The corrections of both; where they differ on a call, the same one whatever their order."""
    rows = sorted([*one.to_pylist(), *other.to_pylist()], key=repr)
    return joined([pa.Table.from_pylist(rows, schema=one.schema)])
