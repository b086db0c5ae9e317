"""Puts the ledger of another machine into this one; what both hold is counted once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from tallybook.errors import TallybookError, UsageError, words_of
from tallybook.ledger.checks import Claimed, Refused, claimed, take_corrections, take_parts
from tallybook.ledger.corrections import put_corrections, read_corrections, united
from tallybook.ledger.digests import reading_digest
from tallybook.ledger.folder import Folder
from tallybook.ledger.manifest import Damaged, Entry
from tallybook.ledger.rows import StoredRows
from tallybook.ledger.store import Store
from tallybook.ledger.upkeep import committed, writing
from tallybook.names import path_of
from tallybook.urls import is_url


class Merged(NamedTuple):
    """How many files the other ledger had more of, and what of it was refused.

    They were new, or longer, or lay in a known place there and only there.
    """

    files: int
    refused: list[Refused]


def merge(ledger: Path, other: Path) -> Merged:
    """Take over what another ledger holds, but for what cannot be so.

    The other is not changed. A file of the same path is taken for the same where the rows of one
    begin with those of the other, and the longer one stays; else both do. Calls that several files
    state are settled when usage is derived, as ever, so the order of merging is of no consequence.
    Raises TallybookError.
    """
    source, refused = Folder(other), list[Refused]()
    theirs = _claimed(source, refused)
    with writing(ledger) as (folder, ours):
        if folder.root.samefile(other):
            raise UsageError(f"{other} is this ledger itself")
        new = {p: e for p, e in theirs.entries.items() if not _is_held(e, ours.entries.get(p))}
        sound = take_parts(new, source.parts, folder.parts, refused)
        taken = _taken(ours.entries, sound, StoredRows(Store([folder.parts])))
        added = take_corrections(theirs.corrections, source.parts, folder.parts, refused)
        changes: dict[str, Any] = {"entries": ours.entries | taken} if taken else {}
        if added.num_rows:
            mine = read_corrections(folder, ours)
            changes["corrections"] = put_corrections(folder, united(mine, added))
        folder.sweep(committed(folder, ours, **changes) if changes else ours)
        return Merged(len(taken), refused)


def _claimed(source: Folder, refused: list[Refused]) -> Claimed:
    try:
        if not source.is_ledger():
            raise UsageError(f"there is no ledger in {source.root}")
        return claimed(source.root, refused)
    except (Damaged, OSError) as error:
        raise TallybookError(f"cannot read the ledger {source.root}: {words_of(error)}") from error


def _is_held(entry: Entry, mine: Entry | None) -> bool:
    """Whether the very same rows are here already, and count without PATH if they do there."""
    if mine is None or mine.segments() != entry.segments():
        return False
    return bool(mine.known) or not entry.known


def _taken(ours: dict[str, Entry], theirs: dict[str, Entry], store: StoredRows) -> dict[str, Entry]:
    taken: dict[str, Entry] = {}
    for path in sorted(theirs):
        entry, mine = theirs[path], ours.get(path)
        if mine is not None and _is_same(mine, entry, store):
            if _is_better(entry, mine):
                taken[path] = _foreign(entry, path)
            if path in taken or (entry.known and not mine.known):
                is_known = mine.known or entry.known
                taken[path] = msgspec.structs.replace(taken.get(path, mine), known=is_known)
            continue
        free = mine is None and not _is_here(path)
        name = path if free else f"{path}~{_mark(entry)}"
        if name not in ours:
            taken[name] = _foreign(entry, name)
    return taken


def _foreign(entry: Entry, path: str) -> Entry:
    """The entry as it is here: nothing on this disk is known to be this file."""
    renamed = entry.renamed or path != entry.path
    gone = entry.gone if is_url(path) else not _is_here(path)
    return msgspec.structs.replace(
        entry, path=path, has_state=False, inode=0, device=0, gone=gone, renamed=renamed
    )


def _is_here(path: str) -> bool:
    """Whether a file of this machine has the path; a URL is the same object on every one."""
    return not is_url(path) and os.path.lexists(path_of(path))


def _mark(entry: Entry) -> str:
    """Tells files apart that have the same path on two machines, the same on both."""
    return f"{entry.place.head.hex() or entry.file_id}"[:12]


def _is_better(entry: Entry, mine: Entry) -> bool:
    """Whether another reading of a file is to stand for this one: it is longer, or of this code."""
    if mine.code == entry.code:
        return _extent(mine) < _extent(entry)
    code = reading_digest()
    return (mine.place.end, mine.code == code) < (entry.place.end, entry.code == code)


def _extent(entry: Entry) -> tuple[int, int, str]:
    rows = sum(segment.rows for segment in entry.segments())
    return entry.place.end, rows, entry.place.tail.hex()


def _is_same(mine: Entry, other: Entry, store: StoredRows) -> bool:
    """Whether one file goes on where the other ends."""
    if mine.place.source != other.place.source:
        return False
    if mine.segments() == other.segments():
        return True
    if mine.code != other.code:  # the same content need not be the same rows
        return _holds_the_same(mine, other)
    one, two = _rows(mine, store), _rows(other, store)
    if mine.place.is_database:
        return one.equals(two, null_equal=True)
    short = min(one.height, two.height)
    return short > 0 and one.head(short).equals(two.head(short), null_equal=True)


def _holds_the_same(mine: Entry, other: Entry) -> bool:
    """Whether two files begin alike; of databases, whether they are one that did not change."""
    if not mine.place.head_length:
        return (mine.size, mine.mtime_ns) == (other.size, other.mtime_ns)
    here, there = mine.place, other.place
    return (here.head_length, here.head) == (there.head_length, there.head)


def _rows(entry: Entry, store: StoredRows) -> pl.DataFrame:
    return store.rows([msgspec.structs.replace(entry, tentative=(), deleted=())]).drop("path")
