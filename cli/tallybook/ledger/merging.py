"""Puts the ledger of another machine into this one; what both hold is counted once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tallybook.errors import TallybookError
from tallybook.ledger.content import is_whole, put_in_place
from tallybook.ledger.folder import Folder
from tallybook.ledger.manifest import Entry, save
from tallybook.ledger.proved import put_corrections, read_corrections, united
from tallybook.ledger.store import PartDamaged, Store
from tallybook.ledger.upkeep import held, writing
from tallybook.private import aside

if TYPE_CHECKING:
    import polars as pl


def merge(ledger: Path, other: Path) -> int:
    """Take over what another ledger holds; how many files are new or longer there.

    The other is not changed. A file of the same path is taken for the same where the rows of one
    begin with those of the other, and the longer one stays; else both do. Calls that several files
    state are settled when usage is derived, as ever, so the order of merging is of no consequence.
    Raises TallybookError.
    """
    if not (other / "manifest").is_file():
        raise TallybookError(f"there is no ledger in {other}")
    theirs = held(other)
    with writing(ledger) as (folder, ours):
        if folder.root.samefile(other):
            raise TallybookError(f"{other} is this ledger itself")
        source = Folder(other)
        store = Store([folder.parts, source.parts])
        taken = _taken(ours.entries, theirs.entries, store)
        names = {segment.part for entry in taken.values() for segment in entry.segments()}
        for name in sorted(names):
            _copy(source.parts / name, folder.parts)
        mine, added = read_corrections(folder, ours), read_corrections(source, theirs)
        after = msgspec.structs.replace(
            ours, generation=ours.generation + 1, entries=ours.entries | taken
        )
        if added.num_rows:
            after.corrections = put_corrections(folder, united(mine, added))
        save(folder.root, after)
        folder.sweep(after)
        return len(taken)


def _taken(ours: dict[str, Entry], theirs: dict[str, Entry], store: Store) -> dict[str, Entry]:
    taken: dict[str, Entry] = {}
    for path in sorted(theirs):
        entry, mine = theirs[path], ours.get(path)
        if mine is not None and _is_same(mine, entry, store):
            if _extent(mine) < _extent(entry):
                taken[path] = _foreign(entry, path)
            continue
        free = mine is None and not os.path.lexists(path)
        name = path if free else f"{path}~{_mark(entry)}"
        if name not in ours:
            taken[name] = _foreign(entry, name)
    return taken


def _foreign(entry: Entry, path: str) -> Entry:
    """The entry as it is here: nothing on this disk is known to be this file."""
    renamed = entry.renamed or path != entry.path
    gone = not os.path.lexists(path)
    return msgspec.structs.replace(
        entry, path=path, states=None, inode=0, device=0, gone=gone, renamed=renamed
    )


def _mark(entry: Entry) -> str:
    """Tells files apart that have the same path on two machines, the same on both."""
    return f"{entry.place.head.hex() or entry.file_id}"[:12]


def _extent(entry: Entry) -> tuple[int, int, str]:
    rows = sum(segment.rows for segment in entry.segments())
    return entry.place.end, rows, entry.place.tail.hex()


def _is_same(mine: Entry, other: Entry, store: Store) -> bool:
    """Whether one file goes on where the other ends."""
    if mine.place.source != other.place.source:
        return False
    if mine.segments() == other.segments():
        return True
    one, two = _rows(mine, store), _rows(other, store)
    if mine.place.is_database:
        return one.equals(two, null_equal=True)
    short = min(one.height, two.height)
    return short > 0 and one.head(short).equals(two.head(short), null_equal=True)


def _rows(entry: Entry, store: Store) -> pl.DataFrame:
    return store.rows([msgspec.structs.replace(entry, ending=[], deleted=[])]).drop("path")


def _copy(part: Path, folder: Path) -> None:
    """Copy a part; its name tells whether it came over whole. Raises PartDamaged, OSError."""
    target = folder / part.name
    if target.exists() and is_whole(target):
        return
    with aside(folder) as path:
        try:
            shutil.copyfile(part, path)
        except FileNotFoundError as error:
            raise PartDamaged(part.name, "missing") from error
        if put_in_place(path) != part.name:
            raise PartDamaged(part.name, "damaged")
