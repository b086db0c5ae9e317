"""Reads one log through the source that claims it; what is wrong with the file becomes a row."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from tallybook.files.blocks import DAMAGE, blocks, open_log
from tallybook.files.database import Unclaimed, is_database, read_database
from tallybook.files.find import COMPRESSED, logical_name
from tallybook.sources import FileFacts, Source, claims, sources
from tallybook.sources.lines import problem
from tallybook.sources.rows import table
from tallybook.tables import READ, REPORTED

HEAD_BYTES = 256 << 10
_NEIGHBOUR_BYTES = 64 << 10
_PARTS = 6  # deep enough for every layout that tells something by its folders


def read_file(path: Path) -> pa.Table:
    """Every row of one file in the READ schema; never raises for what the file holds."""
    tables: list[pa.Table] = []
    name: str | None = None
    try:
        if is_database(path):
            return _database(path)
        with open_log(path) as read:
            pieces = blocks(read)
            first = next(pieces, b"")
            if _is_blank(first):
                first = first + b"".join(pieces)
            if not _is_blank(first):
                claimed = claims(first[:HEAD_BYTES])
                if len(claimed) != 1:
                    return _located([_unclaimed(claimed, path)], path, None)
                name = claimed[0]
                whole = itertools.chain([first], pieces)
                # One by one, so that what was read before damage is kept.
                for rows in _fold(sources()[name], path, whole):
                    tables.append(rows)  # noqa: PERF402
    except DAMAGE as error:
        tables.append(_damaged(error, begun=bool(tables)))
    return _located(tables, path, name)


def _is_blank(block: bytes) -> bool:
    """Stripping would copy the block."""
    return not block or block.isspace()


def located_problem(path: Path, code: str, detail: str) -> pa.Table:
    """One row in the READ schema that says what is wrong with a path as a whole."""
    return _located([table([problem(0, code, detail)])], path, None)


def _database(path: Path) -> pa.Table:
    """The rows of a database, and of what was read of a damaged one."""
    tables: list[pa.Table] = []
    name: str | None = None
    try:
        for source, rows in read_database(path, _facts):
            name = source
            tables.append(rows)
    except Unclaimed as error:
        tables.append(_unclaimed(error.names, path))
    except sqlite3.Error as error:
        tables.append(_damaged(error, begun=bool(tables)))
    return _located(tables, path, name)


def _unclaimed(claimed: list[str], path: Path) -> pa.Table:
    if claimed:
        return table([problem(0, "ambiguous", f"claimed by {' and '.join(sorted(claimed))}")])
    if path.suffix in COMPRESSED:
        return table([problem(0, "unreadable", f"not a {path.suffix} stream")])
    return table([problem(0, "unclaimed", "no source recognises this file")])


def _damaged(error: Exception, *, begun: bool) -> pa.Table:
    """A compressed file that breaks off keeps what was read of it before."""
    words = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
    return table([problem(0, "truncated" if begun else "unreadable", words)])


def _fold(source: Source, path: Path, pieces: Iterator[bytes]) -> Iterator[pa.Table]:
    state = source.begin(_facts(source, path))
    first = next(pieces, b"")
    rest = itertools.chain([first], pieces)
    for block in [b"".join(rest)] if source.whole(first[:HEAD_BYTES]) else rest:
        rows, state = source.read(block, state)
        yield rows
    yield source.finish(state)


def _facts(source: Source, path: Path) -> FileFacts:
    plain = logical_name(path)
    beside = source.neighbour(plain.name) if source.neighbour else None
    return FileFacts(
        parts=plain.parts[-_PARTS:],
        neighbour=_small(path.with_name(beside)) if beside else None,
    )


def _small(path: Path) -> bytes | None:
    try:
        with path.open("rb") as stream:
            return stream.read(_NEIGHBOUR_BYTES)
    except OSError:
        return None


def _located(tables: list[pa.Table], path: Path, name: str | None) -> pa.Table:
    rows = pa.concat_tables(tables) if tables else REPORTED.empty_table()
    count = rows.num_rows
    named = pa.repeat(name, count) if name else pa.nulls(count, pa.string())
    where = pa.repeat(str(path), count)
    return pa.Table.from_arrays(
        [named.cast(pa.string()), where.cast(pa.string()), *rows.columns], schema=READ
    )
