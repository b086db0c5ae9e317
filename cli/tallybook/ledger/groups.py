"""Finds which files can influence each other's rows, so that the rest can be derived apart."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Final

import polars as pl

from tallybook.derive.duplicates.routes import (
    OUTPUT,
    WHEN,
    at_answer,
    at_client,
    at_request,
    at_router,
    at_silent,
    tells_of_client,
)
from tallybook.derive.duplicates.same_run import TELLING
from tallybook.derive.duplicates.workspaces import (
    WORKSPACE,
    first_in_workspace,
    has_workspace,
    in_workspace,
)
from tallybook.ledger.digests import code_digest
from tallybook.ledger.manifest import Damaged, Entry, Segment, sealed, unsealed
from tallybook.ledger.rows import StoredRows
from tallybook.private import write_aside
from tallybook.schema import (
    ASSERTION,
    CAPTURE_TOTAL,
    COUNTED_KINDS,
    PERHAPS_INHERITED,
    RUNNING_COUNTS,
)

# What the stages look at across files; see `link_keys`.
COLUMNS = (
    "source",
    "path",
    "kind",
    "record",
    "part",
    "timestamp",
    "thread_id",
    "parent_thread_id",
    "root_thread_id",
    "history_thread_ids",
    "identity",
    "record_id",
    "response_id",
    "segment_id",
    "sequence",
    "running",
    "series",
    "evidence",
    "chain_id",
    "route",
    "routed",
    "tool_ids",
    "project",
    "reported_output_tokens",
    "reported_reasoning_tokens",
    "turn_counts",
    "problems",
)
_OUTPUT: Final = RUNNING_COUNTS.index("reported_output_tokens")


def linked(entries: Sequence[Entry], store: StoredRows, cache: Path | None) -> list[list[int]]:
    """The numbers of the entries in groups that can influence each other; see `components`.

    `cache` is a folder where the keys of a part may be kept. Raises PartDamaged.
    """
    held: dict[str, _Held] = {}
    for number, entry in enumerate(entries):
        for part in entry.segments():
            held.setdefault(part.part, _Held()).add(number, part)
    links = [_of_files(_part_keys(name, store, cache), held[name]) for name in held]
    found = pl.concat(links) if links else _of_files(_NO_KEYS, _Held())
    return components(len(entries), met(found))


class _Held:
    """The runs of rows of a part: number of the file, first row, last row + 1.

    In arrays, for there are several a file.
    """

    def __init__(self) -> None:
        self.columns = {name: array("Q") for name in ("file", "begin", "end")}

    def add(self, number: int, segment: Segment) -> None:
        """Put one more behind the others."""
        run = (number, segment.start, segment.start + segment.rows)
        for column, value in zip(self.columns.values(), run, strict=True):
            column.append(value)

    def frame(self) -> pl.DataFrame:
        """The runs, one a row."""
        return pl.DataFrame(
            [pl.Series(name, each, pl.UInt32) for name, each in self.columns.items()]
        )


_NO_KEYS = pl.DataFrame(schema={"row": pl.UInt32, "key": pl.UInt64, "side": pl.UInt8})

# Whose a key is. Those of a router, and of the requests that it kept, mean nothing where no client
# comes by: all of its rows would hang together by chance.
OWN_KEY, ROUTER, REQUEST = (pl.lit(number, pl.UInt8) for number in range(3))


def met(keys: pl.DataFrame) -> pl.DataFrame:
    """The keys without those of a router, and of requests by `row`, at which no client comes by."""
    side, key = pl.col("side"), pl.col("key")
    own = keys.filter(side == OWN_KEY)["key"].unique().implode()
    kept = keys.filter(side == REQUEST)
    if kept.height:
        told = kept.filter(key.is_in(own))["row"].unique().implode()
        kept = kept.filter(pl.col("row").is_in(told))
    others = pl.concat([own.explode(), kept["key"]]).unique().implode()
    router = keys.filter(side == ROUTER).filter(key.is_in(others))
    return pl.concat([keys.filter(side == OWN_KEY), kept, router]).drop("side")


def _part_keys(name: str, store: StoredRows, cache: Path | None) -> pl.DataFrame:
    # Hashes are the same within a version of the library only.
    kept = cache / f"{name.removesuffix('.parquet')}.{pl.__version__}.links" if cache else None
    kind = b"links-" + code_digest().encode()  # other code may look at other columns
    if kept is not None:
        with suppress(OSError, Damaged, pl.exceptions.PolarsError):
            return pl.read_ipc(unsealed(kind, kept.read_bytes()))
    keys = _keys_of_all(store.slices(name, COLUMNS))
    if kept is not None:
        with suppress(OSError):
            buffer = BytesIO()
            keys.write_ipc(buffer)
            write_aside(kept, sealed(kind, buffer.getvalue()), sync=False)
    return keys


def _keys_of_all(slices: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The keys of a part from slices of it; one that stands in several slices is given with each.

    A part may be one large database, so no more than a slice is held with all that is looked at.
    """
    found, start = [_NO_KEYS], 0
    for rows in slices:
        found.append(link_keys(rows).with_columns(pl.col("row") + start))
        start += rows.height
    return pl.concat(found)


def _of_files(keys: pl.DataFrame, held: _Held) -> pl.DataFrame:
    """The keys of a part by the files that hold its rows."""
    ranges = held.frame().select("file", row=pl.int_ranges("begin", "end", dtype=pl.UInt32))
    return ranges.explode("row").drop_nulls().join(keys, on="row").drop("row")


def link_keys(rows: pl.DataFrame) -> pl.DataFrame:
    """Per `row` of a part the 64-bit keys that it shares with whatever it may influence.

    Two files without a common key, and without a chain of such files between them, are derived
    alike together and apart. A key that a file has several times is given once.
    """
    lazy = rows.lazy().with_row_index("row")
    own = pl.concat(every_key(lazy)).with_columns(side=OWN_KEY)
    found = pl.concat([own, router_keys(lazy).with_columns(side=ROUTER)])
    first = found.unique(["path", "key"], keep="first", maintain_order=True)
    return first.drop("path").collect()


def every_key(rows: pl.LazyFrame) -> list[pl.LazyFrame]:
    """All keys of rows that carry a `row`, each with this and its path.

    Threads are one space over all sources, for parents are looked up so; so are response ids.
    """
    threads = [hashed(rows, "thread", name) for name in COLUMNS if name.endswith("thread_id")]
    history = rows.select("row", "path", "history_thread_ids").explode("history_thread_ids")
    tools = rows.select("row", "path", "tool_ids").explode("tool_ids")
    forwarded = (at_request(rows), at_client(rows), at_answer(rows))
    stated = pl.col("identity").is_not_null()
    unnamed = ~stated & pl.col("thread_id").is_null() & pl.col("kind").is_in(COUNTED_KINDS)
    counter, content = ("source", "segment_id", "sequence"), ("source", "kind", "record", "part")
    asserted = pl.col("running") | (pl.col("kind") == ASSERTION)
    return [
        *threads,
        hashed(history, "thread", "history_thread_ids"),
        hashed(rows, "response", "response_id"),
        hashed(tools, "tool", "tool_ids"),
        hashed(in_workspace(rows.filter(has_workspace())), "workspace", WORKSPACE),
        *(hashed(some, "forwarded", OUTPUT, WHEN) for some in forwarded),
        hashed(at_silent(rows), "forwarded", WHEN),
        hashed(rows, "call", "source", "identity"),
        hashed(rows.filter(stated), "record", "source", "record_id"),
        hashed(rows.filter(unnamed), "counter", *counter),
        hashed(
            rows.filter(unnamed & pl.col("sequence").is_null()),
            "content",
            *content,
            "series",
            "timestamp",
            needed="record",
        ),
        hashed(rows, "series", "source", "series"),
        hashed(rows.filter(pl.col("running"), pl.col("series").is_null()), "series", "source"),
        hashed(rows.filter(pl.col("evidence").is_in(TELLING)), "begun", "source", "chain_id"),
        hashed(rows.filter(asserted, pl.col("thread_id").is_null()), "asserted", "source"),
        *_begun_totals(rows),
    ]


def _begun_totals(rows: pl.LazyFrame) -> list[pl.LazyFrame]:
    """The keys by which the saved total of a fork meets that of its parent, which it began with.

    Where nothing says what its turn took, any other saved total may be the one.
    """
    total, taken = pl.col("reported_output_tokens"), pl.col("turn_counts")
    saved = rows.filter(pl.col("running"), pl.col("evidence") == CAPTURE_TOTAL)
    before = total - taken.list.get(_OUTPUT, null_on_oob=True)
    doubted = taken.is_null() & pl.col("problems").list.contains(PERHAPS_INHERITED)
    return [
        hashed(saved.with_columns(total=total), "total", "source", "total"),
        hashed(saved.filter(before > 0).with_columns(total=before), "total", "source", "total"),
        hashed(saved.filter(doubted), "saved total", "source"),
    ]


def router_keys(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The keys at which its client meets each call of a router; two routers meet nowhere.

    And so of agents, and of runs in the same workspace.
    """
    routed = at_router(rows)
    forwarded = [hashed(routed, "forwarded", OUTPUT, WHEN), hashed(routed, "forwarded", WHEN)]
    return pl.concat([*forwarded, hashed(first_in_workspace(rows), "workspace", WORKSPACE)])


def request_keys(rows: pl.LazyFrame) -> list[pl.LazyFrame]:
    """The keys by which the kept requests of a router tell what calls are one."""
    kept = rows.filter(tells_of_client())
    tools = kept.select("row", "path", "tool_ids").explode("tool_ids")
    return [
        hashed(kept, "thread", "thread_id"),
        hashed(kept, "response", "response_id"),
        hashed(tools, "tool", "tool_ids"),
        hashed(at_request(rows), "forwarded", OUTPUT, WHEN),
    ]


def hashed(
    rows: pl.LazyFrame, space: str, *columns: str, needed: str | None = None
) -> pl.LazyFrame:
    """A key of the columns' values; none where the last (or the `needed`) of them is null."""
    key = pl.struct(pl.lit(space).alias("space"), *columns).hash().alias("key")
    return rows.filter(pl.col(needed or columns[-1]).is_not_null()).select("row", "path", key)


def components(files: int, links: pl.DataFrame) -> list[list[int]]:
    """The files 0 to `files` in groups that share keys, each and all in ascending order.

    `links` has a `file` and a `key` a row.
    """
    parents = list(range(files))
    for one, other in _edges(links):
        a, b = _root(parents, one), _root(parents, other)
        if a != b:
            parents[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = {}
    for file in range(files):
        groups.setdefault(_root(parents, file), []).append(file)
    return list(groups.values())


def _edges(links: pl.DataFrame) -> Iterator[tuple[int, int]]:
    first = pl.col("file").min().over("key").alias("first")
    pairs = links.lazy().select("file", first).filter(pl.col("file") != pl.col("first")).unique()
    yield from pairs.collect().iter_rows()


def _root(parents: list[int], file: int) -> int:
    while parents[file] != file:
        parents[file] = parents[parents[file]]
        file = parents[file]
    return file


def batches(sizes: Iterable[int], most: int) -> Iterator[list[int]]:
    """Numbers of consecutive groups that have at most `most` rows together, if not one alone."""
    batch: list[int] = []
    held = 0
    for number, size in enumerate(sizes):
        if batch and held + size > most:
            yield batch
            batch, held = [], 0
        batch.append(number)
        held += size
    if batch:
        yield batch
