"""Finds which files can influence each other's rows, so that the rest can be derived apart."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby
from operator import itemgetter
from pathlib import Path
from typing import Final
from zlib import crc32

import polars as pl

from tallybook.derive.duplicates.routes import (
    OUTPUT,
    STORED,
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
from tallybook.ledger.kept_frames import KeptFrames
from tallybook.ledger.keys import Keys, Runs
from tallybook.ledger.manifest import Entry
from tallybook.ledger.rows import SLICE_ROWS, StoredRows
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
_IS_TELLING: Final = pl.col("evidence").is_in(TELLING)
_IS_ASSERTED: Final = pl.col("running") | (pl.col("kind") == ASSERTION)
_OUTPUT: Final = RUNNING_COUNTS.index("reported_output_tokens")


def linked(entries: Sequence[Entry], store: StoredRows, cache: Path | None) -> Iterator[list[int]]:
    """The numbers of the entries in groups that can influence each other; see `components`.

    `cache` is a folder where the keys of a part may be kept. Raises PartDamaged.
    """
    runs = Runs()
    for number, entry in enumerate(entries):
        for part in entry.segments():
            runs.add(number, part)
    with Keys() as links:
        for keys in runs.of(keys_of_parts(runs.parts, store, cache)):
            links.add(keys)
        yield from components(len(entries), (met(several(some)) for some in links.ranges()))


def several(keys: pl.DataFrame) -> pl.DataFrame:
    """Those that more than one row has; few do. No other links anything.

    Values are sorted for that: groups of so many take ten times the memory.
    """
    ordered = keys["key"].sort()
    return keys.filter(pl.col("key").is_in(ordered.filter(ordered == ordered.shift()).implode()))


# Of more keys the file of a part, and what is made of it, would be larger than all else.
_MOST_KEPT: Final = 1 << 22
_NO_KEYS = pl.DataFrame(schema={"row": pl.UInt32, "key": pl.UInt64, "side": pl.UInt8})

# Whose a key is. Those of a router, and of the requests that it kept, mean nothing where no client
# comes by: all of its rows would hang together by chance. So do those at which a client, or a
# stored answer, may meet a router, where none comes by.
OWN_KEY, ROUTER, REQUEST, CLIENT = (pl.lit(number, pl.UInt8) for number in range(4))


def told(keys: pl.DataFrame) -> pl.Series:
    """The `row` of the requests that have a key at which a client comes by, some twice."""
    kept = keys.filter(pl.col("side") == REQUEST)
    if kept.is_empty():
        return kept["row"]
    asked = _own(keys)["key"].unique().implode()
    return kept.filter(pl.col("key").is_in(asked))["row"]


def met(keys: pl.DataFrame, requests: pl.Series | None = None) -> pl.DataFrame:
    """The keys without those of a router, and of requests by `row`, at which no client comes by.

    `keys` are all of their values. `requests` are those that any client comes by, where these keys
    do not tell it.
    """
    own, side, key = _own(keys), pl.col("side"), pl.col("key")
    kept = keys.filter(side == REQUEST)
    if kept.height:
        found = told(keys) if requests is None else requests
        kept = kept.filter(pl.col("row").is_in(found.implode()))
    router = keys.filter(side == ROUTER)
    if router.height:
        others = pl.concat([own["key"], kept["key"]]).unique().implode()
        router = router.filter(key.is_in(others))
    return pl.concat([own, kept, router]).drop("side")


def _own(keys: pl.DataFrame) -> pl.DataFrame:
    """The keys that hold by themselves, and those of clients at which a router comes by."""
    side, key = pl.col("side"), pl.col("key")
    own, clients = keys.filter(side == OWN_KEY), keys.filter(side == CLIENT)
    if clients.is_empty():
        return own
    routed = keys.filter((side == ROUTER) | (side == REQUEST))["key"].unique().implode()
    return pl.concat([own, clients.filter(key.is_in(routed))])


def keys_of_parts(
    names: Sequence[str], store: StoredRows, cache: Path | None
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The keys of parts: those that are kept, and those of the others, to be kept from now on.

    One that stands in several slices of a part comes with each.
    """
    kept = KeptFrames(cache, "links")
    yield from kept.there(names)
    for name, pieces in groupby(_keys_of(kept.missing, store), key=itemgetter(0)):
        held = [_NO_KEYS]
        for _, keys in pieces:
            yield name, keys
            if sum(each.height for each in held) <= _MOST_KEPT:
                held.append(keys)
        if sum(each.height for each in held) <= _MOST_KEPT:
            kept.keep(name, held)
    kept.close()


def _keys_of(names: Sequence[str], store: StoredRows) -> Iterator[tuple[str, pl.DataFrame]]:
    """The keys of parts, a slice at a time.

    A part may be one large database, so no more than some slices are held with all that is looked
    at. Most are small, and are looked at together: a look takes two milliseconds of itself.
    """
    row = pl.col("row")
    for slices in together(names, store, COLUMNS):
        ends = [*accumulate(some.height for _, _, some in slices)]
        keys = link_keys(pl.concat(some for _, _, some in slices), ends)
        for end, (name, start, some) in zip(ends, slices, strict=True):
            own = keys.filter(row.is_between(end - some.height, end, closed="left"))
            yield name, own.with_columns(row + start - (end - some.height))


def together(
    names: Iterable[str], store: StoredRows, columns: Sequence[str]
) -> Iterator[list[tuple[str, int, pl.DataFrame]]]:
    """Slices of parts, each with the number of its first row, of so many rows together."""
    held: list[tuple[str, int, pl.DataFrame]] = []
    count = 0
    for name in names:
        start = 0
        for rows in store.slices(name, columns):
            if held and count + rows.height > SLICE_ROWS:
                yield held
                held, count = [], 0
            held.append((name, start, rows))
            start += rows.height
            count += rows.height
    if held:
        yield held


def link_keys(rows: pl.DataFrame, ends: Sequence[int] = ()) -> pl.DataFrame:
    """Per `row` of a part the 64-bit keys that it shares with whatever it may influence.

    Two files without a common key, and without a chain of such files between them, are derived
    alike together and apart. A key that rows of a file have one after the other is given once.
    """
    rows = numbered_rows(rows, ends)
    found = ((every_key(rows), OWN_KEY), (client_keys(rows), CLIENT), (router_keys(rows), ROUTER))
    keys = pl.concat(each.with_columns(side=side) for some, side in found for each in some)
    # A thread, say, is that of the row before, of most rows.
    is_new = pl.any_horizontal(pl.col(n).ne_missing(pl.col(n).shift()) for n in ("path", "key"))
    return keys.filter(is_new).select("row", "key", "side").collect(optimizations=_AS_WRITTEN)


def numbered_rows(rows: pl.DataFrame, ends: Sequence[int] = ()) -> pl.DataFrame:
    """The rows with their numbers, and a number for each reading of a file instead of its path.

    Of a reading that failed the rows lie before those of the next, and are in no file.
    """
    path, record, part = pl.col("path"), pl.col("record"), pl.col("part")
    is_same = (record == record.shift()) & part.eq_missing(part.shift())
    is_first = (path != path.shift()) | (record < record.shift()) | is_same
    begun = (is_first | pl.col("row").is_in(ends)).cum_sum()
    return rows.with_row_index("row").with_columns(path=begun)


def every_key(rows: pl.DataFrame) -> list[pl.LazyFrame]:
    """All keys of `numbered_rows`, each with the row and the path.

    Threads are one space over all sources, for parents are looked up so; so are response ids.
    """
    threads = [hashed(rows, "thread", name) for name in COLUMNS if "thread_id" in name]
    stated, sequence = pl.col("identity").is_not_null(), pl.col("sequence")
    is_counted = pl.col("kind").is_in(COUNTED_KINDS)
    unnamed = rows.filter(~stated, pl.col("thread_id").is_null(), is_counted)
    counter, content = ("source", "segment_id", "sequence"), ("source", "kind", "record", "part")
    return [
        *threads,
        hashed(rows, "response", "response_id"),
        hashed(rows, "tool", "tool_ids"),
        *([hashed(at_request(rows), "forwarded", OUTPUT, WHEN)] if _has_route(rows) else ()),
        hashed(rows, "call", "source", "identity"),
        hashed(rows, "record", "source", "record_id", where=stated),
        hashed(unnamed, "counter", *counter),
        hashed(
            unnamed, "content", *content, "series", "timestamp", needed="record",
            where=sequence.is_null(),
        ),
        hashed(rows, "series", "source", "series"),
        *_told_keys(rows.filter(_IS_ASSERTED | _IS_TELLING)),
    ]  # fmt: skip


def _told_keys(rows: pl.DataFrame) -> list[pl.LazyFrame]:
    """The further keys of what is no log: of running totals, assertions and records of runs."""
    if rows.is_empty():
        return []
    running, asserted = pl.col("running"), _IS_ASSERTED & pl.col("thread_id").is_null()
    return [
        hashed(in_workspace(rows.filter(has_workspace())), "workspace", WORKSPACE),
        hashed(rows, "series", "source", where=running & pl.col("series").is_null()),
        hashed(rows, "begun", "source", "chain_id", where=_IS_TELLING),
        hashed(rows, "asserted", "source", where=asserted),
        *_begun_totals(rows),
    ]


def _has_route(rows: pl.DataFrame) -> bool:
    return rows["route"].null_count() < rows.height


def client_keys(rows: pl.DataFrame) -> list[pl.LazyFrame]:
    """The keys of what a router may have forwarded, which meet those of its rows."""
    keys = []
    if rows["routed"].any():
        routed = rows.filter("routed")
        keys.append(hashed(at_client(routed), "forwarded", OUTPUT, WHEN))
        keys.append(hashed(at_silent(routed), "forwarded", WHEN))
    if (rows["source"] == STORED).any():
        keys.append(hashed(at_answer(rows), "forwarded", OUTPUT, WHEN))
    return keys


def _begun_totals(rows: pl.DataFrame) -> list[pl.LazyFrame]:
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


def router_keys(rows: pl.DataFrame) -> list[pl.LazyFrame]:
    """The keys at which its client meets each call of a router; two routers meet nowhere.

    And so of agents, and of runs in the same workspace.
    """
    workspaces = hashed(first_in_workspace(rows), "workspace", WORKSPACE)
    if not _has_route(rows):
        return [workspaces]
    routed = at_router(rows)
    forwarded = [hashed(routed, "forwarded", OUTPUT, WHEN), hashed(routed, "forwarded", WHEN)]
    return [*forwarded, workspaces]


def request_keys(rows: pl.DataFrame) -> list[pl.LazyFrame]:
    """The keys by which the kept requests of a router tell what calls are one."""
    kept = rows.filter(tells_of_client())
    return [
        hashed(kept, "thread", "thread_id"),
        hashed(kept, "response", "response_id"),
        hashed(kept, "tool", "tool_ids"),
        hashed(at_request(rows), "forwarded", OUTPUT, WHEN),
    ]


_AS_WRITTEN: Final = pl.QueryOptFlags.none(projection_pushdown=True)
# What a key is of; equal values in two of these are two keys.
_SPACES: Final = (
    "thread", "response", "tool", "workspace", "forwarded", "call", "record", "counter", "content",
    "series", "begun", "asserted", "total", "saved total", "place",
)  # fmt: skip
_UNKEYED: Final = pl.LazyFrame(schema={"row": pl.UInt32, "path": pl.UInt32, "key": pl.UInt64})


def hashed(
    rows: pl.DataFrame,
    space: str,
    *columns: str,
    needed: str | None = None,
    where: pl.Expr | None = None,
) -> pl.LazyFrame:
    """A key of the columns' values, `where` that holds; one for each value of a list.

    None where the last (or the `needed`) of them is null.
    """
    last = needed or columns[-1]
    if rows[last].null_count() == rows.height:
        return _UNKEYED
    some = rows.lazy()
    if isinstance(rows.schema[last], pl.List):
        some = some.select("row", "path", last).explode(last)
    values = pl.struct(columns) if len(columns) > 1 else pl.col(columns)
    stated = pl.col(last).is_not_null()
    is_key = stated if where is None else stated & where
    key = pl.when(is_key).then(values.hash(_SPACES.index(space)))
    return some.select("row", "path", key=key).drop_nulls("key")


_BUNDLED: Final = 64  # groups of a bundle, about
_FEWEST: Final = 8  # such groups as are small fit into one


def components(files: int, links: Iterable[pl.DataFrame]) -> Iterator[list[int]]:
    """The files 0 to `files` in groups that share keys, each and all in ascending order.

    `links` have a `file` and a `key` a row, all of one key in one frame.
    """
    parents = array("L", range(files))
    for one, other in (edge for some in links for edge in _edges(some)):
        a, b = _root(parents, one), _root(parents, other)
        if a != b:
            parents[max(a, b)] = min(a, b)
    others: dict[int, list[int]] = {}
    for file in range(files):
        if (root := _root(parents, file)) != file:
            others.setdefault(root, []).append(file)
    for file in range(files):
        if parents[file] == file:
            yield [file, *others.get(file, ())]


def bundled(
    groups: Iterable[list[int]], entries: Sequence[Entry], most: int
) -> Iterator[list[int]]:
    """The groups in their order, small ones put together to bundles of `most` rows.

    Each that is derived apart is named and looked up, which takes longer than a few calls. The
    paths tell where a bundle begins, so that another file in the ledger changes no more than one.
    """
    held: list[int] = []
    count = 0
    for group in groups:
        rows = sum(part.rows for number in group for part in entries[number].segments())
        is_large = rows * _FEWEST > most
        is_first = crc32(entries[group[0]].path.encode(errors="surrogatepass")) % _BUNDLED == 0
        # Rows stand in the order of their groups, and within one in that of its files.
        if held and (is_large or is_first or count + rows > most or group[0] < held[-1]):
            yield held
            held, count = [], 0
        if is_large:
            yield group
        else:
            held += group
            count += rows
    if held:
        yield held


def _edges(links: pl.DataFrame) -> Iterator[tuple[int, int]]:
    """Pairs of files, each of those with a key and of the next one that has it."""
    key, file = pl.col("key"), pl.col("file")
    before = file.shift().alias("before")
    pairs = links.sort("key").select(pl.when(key == key.shift()).then(before), file).drop_nulls()
    yield from pairs.filter(file != pl.col("before")).unique().iter_rows()


def _root(parents: array[int], file: int) -> int:
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
