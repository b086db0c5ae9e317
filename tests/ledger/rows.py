"""The rows that a ledger holds, read with nothing but a Parquet reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tallybook.ledger.manifest import Entry, load

Row = tuple[Any, ...]


def held(ledger: Path) -> dict[str, list[Row]]:
    """By path the rows of each file in their order."""
    manifest, _ = load(ledger)
    return {path: rows_of(ledger, entry) for path, entry in manifest.entries.items()}


def rows_of(ledger: Path, entry: Entry) -> list[Row]:
    rows: list[Row] = []
    for segment in entry.segments():
        table = pq.read_table(ledger / "parts" / segment.part, page_checksum_verification=True)
        part = table.slice(segment.start, segment.rows)
        assert part.num_rows == segment.rows
        names = ("record", "kind", "identity", "reported_output_tokens")
        rows += zip(*(part[name].to_pylist() for name in names), strict=True)
    return sorted(rows, key=repr)
