"""Writes the rows of a ledger anew into few parts, each file's rows together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import msgspec
import polars as pl

from tallybook.ledger.folder import Folder
from tallybook.ledger.groups import batches
from tallybook.ledger.manifest import Entry, Manifest, Segment
from tallybook.ledger.parts import PartWriter
from tallybook.ledger.rows import StoredRows
from tallybook.ledger.store import Store
from tallybook.tables import READ

PART_ROWS: Final = 65_536
_HELD_PARTS: Final = 8  # in memory, those that were used last
Part = Callable[[str], pl.DataFrame]  # the rows of a part; raises PartDamaged


def compacted(folder: Folder, manifest: Manifest) -> Manifest:
    """The manifest with its rows in new parts. Raises PartDamaged, OSError."""
    stored = StoredRows(Store([folder.parts]))
    # The rows of a file may lie in several parts, and those of the next one in the same.
    part = lru_cache(_HELD_PARTS)(lambda name: stored.part(name, READ.names))
    old = [manifest.entries[path] for path in sorted(manifest.entries)]
    sizes = [sum(segment.rows for segment in entry.segments()) for entry in old]
    entries: dict[str, Entry] = {}
    for some in batches(sizes, PART_ROWS):
        new = _rewritten(folder, part, [old[number] for number in some])
        entries |= {entry.path: entry for entry in new}
    return msgspec.structs.replace(manifest, entries=entries)


def _rewritten(folder: Folder, part: Part, entries: Sequence[Entry]) -> list[Entry]:
    writer = PartWriter(folder.parts)
    written = [
        [
            _copied(writer, part, entry, segments)
            for segments in (entry.rows, entry.tentative, entry.deleted)
        ]
        for entry in entries
    ]
    name, _ = writer.close()

    def named(segments: list[Segment]) -> tuple[Segment, ...]:
        return tuple(msgspec.structs.replace(segment, part=name) for segment in segments)

    return [
        msgspec.structs.replace(
            entry,
            rows=named(rows),
            tentative=named(tentative),
            deleted=named(deleted),
            renamed=False,
        )
        for entry, (rows, tentative, deleted) in zip(entries, written, strict=True)
    ]


def _copied(
    writer: PartWriter, part: Part, entry: Entry, segments: Sequence[Segment]
) -> list[Segment]:
    """The rows of some segments as one."""
    if not segments:
        return []
    parts = ((part(segment.part), segment) for segment in segments)
    rows = pl.concat([frame.slice(own.start, own.rows) for frame, own in parts])
    if entry.renamed:
        rows = rows.with_columns(path=pl.lit(entry.path))
    return [writer.add_table(rows.to_arrow().cast(READ), entry.code, entry.file_id)]
