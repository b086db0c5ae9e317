"""Holds a ledger against its parts, and against the files as they are read now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl

from tallybook.files.find import look
from tallybook.files.read import read_file
from tallybook.ledger.digests import reading_digest
from tallybook.ledger.folder import Folder
from tallybook.ledger.manifest import Entry
from tallybook.ledger.rows import StoredRows
from tallybook.ledger.store import PartDamaged, Store
from tallybook.ledger.upkeep import held
from tallybook.urls import is_url


@dataclass(frozen=True, slots=True)
class Disagreement:
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
    count = 0
    for path in sorted(manifest.entries):
        entry = manifest.entries[path]
        if _is_unchanged(entry):
            count += 1
            found += _compared(entry, rows)
    return count, found


def _is_unchanged(entry: Entry) -> bool:
    if is_url(entry.path):
        return False
    try:
        return entry.code == reading_digest() and entry.is_as(look(entry.path))
    except OSError:
        return False


def _compared(entry: Entry, rows: StoredRows) -> Iterator[Disagreement]:
    try:
        kept = rows.rows([msgspec.structs.replace(entry, deleted=())])
    except PartDamaged as error:
        yield Disagreement(entry.path, f"its rows are damaged: {error}")
        return
    fresh = pl.DataFrame(read_file(Path(entry.path)))
    if kept.equals(fresh, null_equal=True):
        return
    if kept.height != fresh.height:
        yield Disagreement(entry.path, f"{kept.height} rows kept, {fresh.height} read")
        return
    yield Disagreement(entry.path, f"differs in {', '.join(_differing(kept, fresh))}")


def _differing(one: pl.DataFrame, other: pl.DataFrame) -> list[str]:
    return [name for name in one.columns if not one[name].equals(other[name], null_equal=True)]
