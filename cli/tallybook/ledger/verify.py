"""Holds a ledger against its parts, and against the files as they are read now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import polars as pl
import pyarrow as pa

from tallybook.files.find import look
from tallybook.files.read import read_file
from tallybook.ledger.digests import reading_digest
from tallybook.ledger.folder import Folder
from tallybook.ledger.groups import batches
from tallybook.ledger.manifest import Entry
from tallybook.ledger.rows import SLICE_ROWS, StoredRows
from tallybook.ledger.store import PartDamaged, Store
from tallybook.ledger.upkeep import held
from tallybook.urls import is_url


class Disagreement(msgspec.Struct, frozen=True):
    """A path or part that is not as the ledger has it, and how."""

    path: str
    detail: str


def verify(ledger: Path) -> tuple[int, list[Disagreement]]:
    """Reads every file again that is as it was: how many, and what disagrees with the ledger.

    Of a file that has changed or is gone, or that other code has read, and of an object of storage,
    which nobody has named here, only the parts with its rows are checked.
    """
    (manifest, damage), store = held(ledger), Store([Folder(ledger).parts])
    rows = StoredRows(store)
    found = [Disagreement(str(ledger), damage)] if damage else []
    for name in sorted(set(manifest.parts())):
        try:
            store.find(name)
        except PartDamaged as error:
            found.append(Disagreement(str(Folder(ledger).parts / name), str(error)))
    unchanged = [entry for _, entry in sorted(manifest.entries.items()) if _is_unchanged(entry)]
    sizes = [sum(segment.rows for segment in entry.segments()) for entry in unchanged]
    # Each load of a part costs as much as a small file's.
    for some in batches(sizes, SLICE_ROWS):
        found += _compared([unchanged[number] for number in some], rows)
    return len(unchanged), found


def _is_unchanged(entry: Entry) -> bool:
    if is_url(entry.path):
        return False
    try:
        return entry.code == reading_digest() and entry.is_as(look(entry.path))
    except OSError:
        return False


def _compared(entries: Sequence[Entry], rows: StoredRows) -> Iterator[Disagreement]:
    """All at once, and where that is not the same each by itself, in the order of its own rows."""
    present = [msgspec.structs.replace(entry, deleted=()) for entry in entries]
    fresh = [read_file(Path(entry.path)) for entry in entries]
    try:
        kept = rows.rows(present)
    except PartDamaged:
        kept = None
    if kept is not None and kept.equals(pl.DataFrame(pa.concat_tables(fresh)), null_equal=True):
        return
    for entry, table in zip(present, fresh, strict=True):
        yield from _compared_alone(entry, pl.DataFrame(table), rows)


def _compared_alone(entry: Entry, fresh: pl.DataFrame, rows: StoredRows) -> Iterator[Disagreement]:
    try:
        kept = rows.rows([entry])
    except PartDamaged as error:
        yield Disagreement(entry.path, f"its rows are damaged: {error}")
        return
    if kept.equals(fresh, null_equal=True):
        return
    if kept.height != fresh.height:
        yield Disagreement(entry.path, f"{kept.height} rows kept, {fresh.height} read")
        return
    yield Disagreement(entry.path, f"differs in {', '.join(_differing(kept, fresh))}")


def _differing(one: pl.DataFrame, other: pl.DataFrame) -> list[str]:
    return [name for name in one.columns if not one[name].equals(other[name], null_equal=True)]
