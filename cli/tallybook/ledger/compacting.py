"""Writes the rows of a ledger anew into few parts, each file's rows together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import polars as pl

from tallybook.ledger.folder import Folder
from tallybook.ledger.manifest import Entry, Manifest, Segment
from tallybook.ledger.parts import PartWriter
from tallybook.ledger.rows import StoredRows
from tallybook.ledger.store import Store
from tallybook.tables import READ

PART_ROWS: Final = 65_536
_HELD_PARTS: Final = 8


def compacted(folder: Folder, manifest: Manifest) -> Manifest:
    """The manifest with its rows in new parts. Raises PartDamaged, OSError."""
    loader = _Loader(StoredRows(Store([folder.parts])))
    entries: dict[str, Entry] = {}
    for batch in _batches([manifest.entries[path] for path in sorted(manifest.entries)]):
        entries |= {entry.path: entry for entry in _rewritten(folder, loader, batch)}
    return msgspec.structs.replace(manifest, entries=entries)


def _batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    rows = 0
    for entry in entries:
        batch.append(entry)
        rows += sum(segment.rows for segment in entry.segments())
        if rows >= PART_ROWS:
            yield batch
            batch, rows = [], 0
    yield batch


def _rewritten(folder: Folder, loader: _Loader, entries: Sequence[Entry]) -> list[Entry]:
    writer = PartWriter(folder.parts)
    written = [
        [
            _copied(writer, loader, entry, segments)
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
    writer: PartWriter, loader: _Loader, entry: Entry, segments: Sequence[Segment]
) -> list[Segment]:
    """The rows of some segments as one."""
    if not segments:
        return []
    rows = pl.concat([loader.rows(segment) for segment in segments])
    if entry.renamed:
        rows = rows.with_columns(path=pl.lit(entry.path))
    return [writer.add_table(rows.to_arrow().cast(READ), entry.code, entry.file_id)]


class _Loader:
    """Rows of segments, with the parts that were used last held in memory."""

    def __init__(self, store: StoredRows) -> None:
        self._store = store
        self._parts: dict[str, pl.DataFrame] = {}

    def rows(self, segment: Segment) -> pl.DataFrame:
        """The rows of a segment. Raises PartDamaged."""
        part = self._parts.pop(segment.part, None)
        if part is None:
            part = self._store.part(segment.part, READ.names)
            if len(self._parts) >= _HELD_PARTS:
                del self._parts[next(iter(self._parts))]
        self._parts[segment.part] = part
        return part.slice(segment.start, segment.rows)
