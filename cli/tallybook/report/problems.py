"""The problems of USAGE rows as entries: one a cause and file, with how many records have it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import polars as pl

from tallybook.schema import PROBLEM, SAID_OF_COUNTED

# Entries of a report's list; of each code the first ones, and every code is among them.
LISTED: Final = 1000
# What an entry is: a problem of records that were read is told from others of their file by its
# code and its words but for their numbers. A record that could not be read is an entry of its own,
# and `alone` is its number; elsewhere that is -1.
KEY: Final = ("path", "code", "alone", "cause")
SHOWN: Final = ("path", "record", "last_record", "count", "code", "detail")
# What these leave unsaid is plain; the words of the row are about something else.
_PLAIN: Final = tuple(code for code in SAID_OF_COUNTED if code != "no-counts")
_OF_KEY: Final = ("record", "last_record", "count", "detail")
_BATCH: Final = 10_000
_NONE: Final = pl.DataFrame(
    schema=dict.fromkeys((*KEY, *_OF_KEY), pl.String)
    | dict.fromkeys(("alone", "record", "last_record", "count"), pl.Int64)
)

_TABLE: Final = """
CREATE TABLE entries (path, code, alone, cause, record, last_record, count, detail)
"""
_ONCE: Final = "CREATE UNIQUE INDEX causes ON entries (path, code, cause) WHERE alone < 0"
_PUT: Final = """
INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (path, code, cause) WHERE alone < 0 DO UPDATE SET
    detail = CASE WHEN excluded.record < record THEN excluded.detail ELSE detail END,
    record = min(record, excluded.record), last_record = max(last_record, excluded.last_record),
    count = count + excluded.count
"""
_ALL: Final = """
SELECT path, record, last_record, count, code, detail FROM entries
    ORDER BY path, record, code, alone, cause, detail
"""


def entries(rows: pl.DataFrame, *by: str) -> pl.DataFrame:
    """The entries of USAGE rows: the columns `by`, KEY, the first and last record, count, detail.

    `count` is the number of records, as in the counts by code.
    """
    detail = pl.when(~pl.col("code").is_in(_PLAIN)).then("detail")
    unread = pl.col("kind") == PROBLEM
    words = pl.when(unread).then("detail").otherwise(pl.col("detail").str.replace_all(r"\d+", "#"))
    stated = (
        rows.select(*by, "path", "record", "kind", "detail", code="problems")
        .filter(pl.col("code").list.len() > 0)
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


def together(found: pl.DataFrame, *by: str) -> pl.DataFrame:
    """What is one entry of several frames put together; `detail` is that of the first record."""
    is_alone = pl.col("alone") >= 0
    first = pl.col("detail").sort_by("record", "detail").first()
    causes = (
        found.filter(~is_alone)
        .group_by(*by, *KEY)
        .agg(pl.col("record").min(), pl.col("last_record").max(), pl.col("count").sum(), first)
    )
    # There may be a great many that stand alone, and to group them takes much memory.
    return pl.concat([causes, found.filter(is_alone).select(*by, *KEY, *_OF_KEY)])


def first_of_each(found: pl.DataFrame, *by: str) -> pl.DataFrame:
    """The first LISTED entries of every code, by KEY.

    Those of several frames have all that is among the first of the frames together, so the counts
    stay right.
    """
    place = pl.int_range(pl.len()).over(*by, "code")
    first = found.sort(*KEY, *_OF_KEY).filter(place < LISTED)
    # Those that were left out would stay in memory, for the texts of a frame lie together.
    anew = first.height < found.height
    return pl.DataFrame(first.rows(), first.schema, orient="row") if anew else first


def listed(found: pl.DataFrame) -> list[dict[str, Any]]:
    """At most LISTED entries, of every code as many as there is room for; by place."""
    place = pl.int_range(pl.len()).over("code")
    chosen = found.sort(*KEY, *_OF_KEY).with_columns(place=place).sort("place", *KEY).head(LISTED)
    return chosen.sort("path", "record", "code", "alone", "cause").select(SHOWN).to_dicts()


class ProblemCount:
    """The problems of batches of USAGE rows: how many there are of each code, and the first."""

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter()
        self.first = _NONE

    def add(self, rows: pl.DataFrame) -> None:
        """Count those of one more batch."""
        found = entries(rows)
        self._put(dict(found.group_by("code").agg(pl.col("count").sum()).iter_rows()), [found])

    def join(self, others: Sequence[ProblemCount]) -> None:
        """Count what others have counted."""
        for each in others:
            self.codes.update(each.codes)
        self._put({}, [each.first for each in others])

    def _put(self, codes: Mapping[str, int], found: Iterable[pl.DataFrame]) -> None:
        self.codes.update(codes)
        self.first = first_of_each(together(pl.concat([self.first, *found])))

    def coverage(self) -> dict[str, Any]:
        """What the coverage of a JSON document says of them."""
        shown = listed(self.first)
        return {
            "problems": dict(sorted(self.codes.items())),
            "problems_listed": sum(entry["count"] for entry in shown),
            "problem_list": shown,
        }


def gathered(batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """All entries of batches of USAGE rows in frames of some thousands, by path and record.

    They wait in a database on the disk, for there may be more of them than fit into memory. Raises
    OSError where it has no room.
    """
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as database:
            database.execute(_TABLE)
            database.execute(_ONCE)
            for rows in batches:
                found = entries(rows).select(*KEY, *_OF_KEY).sort(*KEY, *_OF_KEY)
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
