"""The problems of USAGE rows as entries: one a cause and file, with how many records have it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, Final

import polars as pl

from tallybook.schema import PROBLEM, SAID_OF_COUNTED

# Entries of a report's list; of each code the first ones, and every code is among them.
LISTED: Final = 1000
# What an entry is: a problem of a record that was read is told from others of its file by its code
# and its words but for their numbers; a record that could not be read stands `alone`.
KEY: Final = ("path", "code", "alone", "cause")
SHOWN: Final = ("path", "record", "last_record", "count", "code", "detail")
# What these leave unsaid is plain; the words of the row are about something else.
_PLAIN: Final = tuple(code for code in SAID_OF_COUNTED if code != "no-counts")
_BATCH: Final = 10_000

_TABLE: Final = """
CREATE TABLE entries (path, code, alone, cause, record, last_record, count, detail,
    PRIMARY KEY (path, code, alone, cause)) WITHOUT ROWID
"""
_PUT: Final = """
INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    detail = CASE WHEN excluded.record < record THEN excluded.detail ELSE detail END,
    record = min(record, excluded.record), last_record = max(last_record, excluded.last_record),
    count = count + excluded.count
"""
_ALL: Final = """
SELECT path, record, last_record, count, code, detail FROM entries
    ORDER BY path, record, code, alone, cause
"""


def entries(rows: pl.LazyFrame, *by: str) -> pl.LazyFrame:
    """The entries of USAGE rows: the columns `by`, KEY, the first and last record, count, detail.

    `count` is the number of records, as in the counts by code.
    """
    detail = pl.when(~pl.col("code").is_in(_PLAIN)).then("detail")
    unread = pl.col("kind") == PROBLEM
    words = pl.when(unread).then("detail").otherwise(pl.col("detail").str.replace_all(r"\d+", "#"))
    stated = (
        rows.filter(pl.col("problems").list.len() > 0)
        .select(*by, "path", "record", "kind", "detail", code="problems")
        .explode("code")
        .with_columns(detail=detail)
        .with_columns(
            alone=pl.when(unread).then("record").otherwise(-1).cast(pl.Int64),
            cause=words.fill_null(""),
            last_record="record",
            count=pl.lit(1, pl.Int64),
        )
    )
    return together(stated, *by)


def together(found: pl.LazyFrame, *by: str) -> pl.LazyFrame:
    """The same entries in several frames as one; `detail` is that of the first record."""
    first = pl.col("detail").sort_by("record", "detail").first()
    return found.group_by(*by, *KEY).agg(
        pl.col("record").min(), pl.col("last_record").max(), pl.col("count").sum(), first
    )


def first_of_each(found: pl.LazyFrame, *by: str) -> pl.LazyFrame:
    """The first LISTED entries of every code, by KEY.

    Those of several frames have all that is among the first of the frames together, so the counts
    stay right.
    """
    return found.sort(*by, *KEY).group_by(*by, "code", maintain_order=True).head(LISTED)


def listed(found: pl.DataFrame) -> list[dict[str, Any]]:
    """At most LISTED entries, of every code as many as there is room for; by place."""
    place = pl.int_range(pl.len()).over("code")
    chosen = found.sort(KEY).with_columns(place=place).sort("place", *KEY).head(LISTED)
    return chosen.sort("path", "record", "code", "cause").select(SHOWN).to_dicts()


def gathered(batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """All entries of batches of USAGE rows in frames of some thousands, by path and record.

    They wait in a database on the disk, for there may be more of them than fit into memory. Raises
    OSError where it has no room.
    """
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as database:
            database.execute(_TABLE)
            for rows in batches:
                found = entries(rows.lazy()).sort(KEY).collect()
                database.executemany(_PUT, found.iter_rows())
            yield from _frames(database)
    except sqlite3.Error as error:
        raise OSError(f"no room for the problems: {error}") from error


def _frames(database: sqlite3.Connection) -> Iterator[pl.DataFrame]:
    schema = dict.fromkeys(SHOWN, pl.String) | dict.fromkeys(SHOWN[1:4], pl.Int64)
    rows = database.execute(_ALL)
    part: Sequence[Any] = rows.fetchmany(_BATCH)
    yield pl.DataFrame(part, schema, orient="row")
    while part := rows.fetchmany(_BATCH):
        yield pl.DataFrame(part, schema, orient="row")
