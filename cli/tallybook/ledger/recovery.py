"""Makes up a catalogue that was damaged or lost: from what is sound of it, and from the parts.

What is there is read again by it, so what this finds matters for files that are gone, and for
records that their owner has taken out of a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import polars as pl

from tallybook.files.resume import ReadPosition
from tallybook.files.sqlite import is_database
from tallybook.ledger.catalog import NAME, Rows, entry_of
from tallybook.ledger.folder import Folder
from tallybook.ledger.manifest import Damaged, Entry, Manifest, Segment, encoded
from tallybook.ledger.part_files import is_whole, openable

_COLUMNS: Final = ("path", "source", "code", "file_id", "record")
_FAILURES: Final = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


def recovered(root: Path) -> Manifest:
    """What can be known without a catalogue that is sound. Nothing is written.

    What backfill had recorded is known from the catalogue alone. Raises OSError.
    """
    manifest = _sound(root)
    lost = _lost(Folder(root).parts, manifest)
    return manifest.with_entries(_entries(lost))


def _sound(root: Path) -> Manifest:
    """What is sound of the catalogue: each entry shows by itself whether it is."""
    try:
        rows = Rows(root / NAME)
    except (Damaged, FileNotFoundError):
        return Manifest()
    entries: dict[str, Entry] = {}
    for path, content in rows.files.items():
        with suppress(Damaged):
            entries[path] = entry_of(path, content)
    return Manifest(generation=rows.generation, entries=entries, corrections=rows.corrections)


def _lost(parts: Path, manifest: Manifest) -> pl.DataFrame:
    """The rows of files that no entry is left of, with their place and the age of their part."""
    held: dict[str, list[Segment]] = {}
    for entry in manifest.entries.values():
        for segment in entry.segments():
            held.setdefault(segment.part, []).append(segment)
    found = [_NONE]
    with suppress(FileNotFoundError):
        for path in sorted(parts.glob("*.parquet")):
            with suppress(*_FAILURES):
                if is_whole(path):
                    found.append(_rows(path, held.get(path.name, ())))
    return pl.concat(found).filter(~pl.col("path").is_in(list(manifest.entries)))


_NONE: Final = pl.DataFrame(
    schema={
        "part": pl.String,
        "row": pl.UInt32,
        "age": pl.Int64,
        **dict.fromkeys(_COLUMNS[:-1], pl.String),
        "record": pl.Int64,
    }
)


def _rows(path: Path, held: Iterable[Segment]) -> pl.DataFrame:
    """The rows of a part that are nobody's; a part of corrections has none."""
    rows = pl.read_parquet(openable(path), columns=list(_COLUMNS), glob=False)
    place = pl.lit(path.name).alias("part"), pl.lit(path.stat().st_mtime_ns).alias("age")
    free = [True] * rows.height
    for segment in held:
        free[segment.start : segment.start + segment.rows] = [False] * segment.rows
    numbered = rows.with_row_index("row").with_columns(*place).select(_NONE.columns)
    return numbered.filter(pl.Series(free, dtype=pl.Boolean)).cast(_NONE.schema)


def _entries(rows: pl.DataFrame) -> Iterator[Entry]:
    """An entry for each file that rows are left of.

    A file may have been read several times. What a later reading begins with stands for all that an
    earlier one had from there on, be it read from the beginning or from where the earlier ended.
    """
    ends = pl.col("record").min(), pl.col("age").max()
    readings = rows.group_by("path", "file_id").agg(*ends).sort("age", "record")
    later = pl.col("record").reverse().cum_min().reverse().shift(-1).over("path")
    bounds = readings.select("path", "file_id", bound=later, several=pl.len().over("path") > 1)
    kept = rows.join(bounds, on=["path", "file_id"], nulls_equal=True).filter(
        pl.col("bound").is_null() | (pl.col("record") < pl.col("bound"))
    )
    for own in kept.sort("age", "part", "row").partition_by("path", maintain_order=True):
        yield _entry(own)


def _entry(rows: pl.DataFrame) -> Entry:
    """The file that rows are of; looked at, it differs from whatever is there."""
    last = rows.row(-1, named=True)
    place = ReadPosition(last["source"], is_database=_is_database(last["path"]))
    return Entry(
        path=last["path"],
        file_id=last["file_id"],
        size=0,
        mtime_ns=0,
        inode=0,
        device=0,
        beside=(),
        encoded_place=encoded(place),
        rows=tuple(_runs(rows)),
        code=last["code"],
        lost=last["several"],
    )


def _is_database(path: str) -> bool:
    with suppress(OSError):
        return is_database(Path(path))
    return False


def _runs(rows: pl.DataFrame) -> Iterator[Segment]:
    row, part = pl.col("row"), pl.col("part")
    begun = (row != row.shift() + 1) | (part != part.shift())
    run = begun.fill_null(value=True).cum_sum().alias("run")
    runs = rows.group_by(run, maintain_order=True)
    found = runs.agg(part.first(), row.first(), count=pl.len()).drop("run")
    yield from (Segment(*each) for each in found.iter_rows())
