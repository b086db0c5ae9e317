"""Cuts a large group of files into stretches of rows that can be derived one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from tallybook.ledger.groups import (
    CLIENT,
    COLUMNS,
    OWN_KEY,
    REQUEST,
    ROUTER,
    client_keys,
    every_key,
    hashed,
    met,
    numbered_rows,
    request_keys,
    router_keys,
    several,
    told,
)
from tallybook.ledger.keys import Keys
from tallybook.ledger.manifest import Damaged, Entry, Segment, sealed, unsealed
from tallybook.ledger.rows import StoredRows
from tallybook.private import read_own, write_aside
from tallybook.schema import OWN, RESPONSE

_KIND: Final = b"stretches"
# What the stages look at within a file, beside what they look at across files.
_WITHIN: Final = (*COLUMNS, "model_ahead", "repeat", "history")
# Rows that lie scattered in their part are dear to find: so many runs of them a stretch at most.
_MOST_RUNS: Final = 8
_PLACE: Final = {"record": pl.Int64, "part": pl.String}
_SPANS: Final = {"first": pl.UInt32, "last": pl.UInt32}
# Of each stretch numbers of entries and their rows.
_Cut = list[list[tuple[int, tuple[Segment, ...]]]]


def stretches(
    entries: Sequence[Entry], store: StoredRows, most: int, kept: Path | None = None
) -> list[list[Entry]]:
    """Files, in the order of their paths, as runs of their rows that do not influence each other.

    Each stretch is some of the files with some of their rows; these stand in the order of path,
    record and part, and so do the stretches. One has `most` rows if what belongs together lets it.
    What is not worth being cut comes back whole. `kept` is a file where the answer may be kept.
    Raises PartDamaged.
    """
    cut = _load(kept) if kept else None
    if cut is None:
        cut = _cut(entries, store, most)
        if kept:
            with suppress(OSError):
                write_aside(kept, sealed(_KIND, msgspec.msgpack.encode(cut)), sync=False)
    return [[_part_of(entries[number], rows) for number, rows in stretch] for stretch in cut]


def _load(kept: Path) -> _Cut | None:
    with suppress(OSError, Damaged, msgspec.MsgspecError):
        return msgspec.msgpack.decode(unsealed(_KIND, read_own(kept)), type=_Cut)
    return None


def _part_of(entry: Entry, rows: tuple[Segment, ...]) -> Entry:
    return msgspec.structs.replace(entry, rows=rows, tentative=(), deleted=())


def _cut(entries: Sequence[Entry], store: StoredRows, most: int) -> _Cut:
    whole = [[(number, entry.segments()) for number, entry in enumerate(entries)]]
    if _is_one_thread(entries, store):
        return whole
    files: list[_File] = []
    begin = 0
    with Keys() as keys:
        for entry in entries:
            file = _looked_through(entry, store, begin, keys)
            files.append(file)
            begin += file.rows
        spans = [file.spans for file in files] + _spans(keys)
    cuts = cut_places(pl.concat(spans), begin, most)
    ends = zip([0, *cuts], [*cuts, begin], strict=True)
    found = [list(_stretch(files, first, end)) for first, end in ends]
    runs = sum(len(segments) for stretch in found for _, segments in stretch)
    return found if len(found) > 1 and runs <= _MOST_RUNS * len(found) else whole


def _spans(keys: Keys) -> list[pl.DataFrame]:
    """The rows that share keys, from the first of a key to the last."""
    asked = pl.concat([told(some) for some in keys.ranges()]).unique()
    return [_merged(_reach(met(some, asked))) for some in keys.ranges()]


def _is_one_thread(entries: Sequence[Entry], store: StoredRows) -> bool:
    """Whether the first row and the last are of one thread, as in a log of one conversation."""
    segments = [segment for entry in entries for segment in entry.segments() if segment.rows]
    first, last = segments[0], segments[-1]
    columns = ("source", "thread_id")
    ends = [
        store.part(first.part, columns, first.start, 1),
        store.part(last.part, columns, last.start + last.rows - 1, 1),
    ]
    return ends[0].equals(ends[1], null_equal=False)


class _File(msgspec.Struct):
    """One file: where its rows begin among all, and spans of them that belong together.

    `order` has the rows as they are numbered in the segments, in their order; None if they lie so.
    """

    segments: tuple[Segment, ...]
    begin: int
    rows: int
    spans: pl.DataFrame
    order: pl.Series | None


def _looked_through(entry: Entry, store: StoredRows, begin: int, keys: Keys) -> _File:
    """A file; what its rows share is put to the `keys`."""
    order, ties = _order(entry, store)
    places = None if order is None else _inverse(order)
    rows, is_told = 0, False
    for some in _slices(entry, store, _WITHIN):
        is_told = is_told or some.select(_is_told_by_neighbours().any()).item()
        found = _row_keys(some).with_columns(pl.col("row") + rows)
        if places is not None:
            found = found.with_columns(places.gather(found["row"]).alias("row"))
        keys.add(found.with_columns(pl.col("row") + begin))
        rows += some.height
    spans = [ties]
    if is_told and rows:
        spans.append(pl.DataFrame([(0, rows - 1)], schema=_SPANS, orient="row"))
    every = pl.concat(spans).with_columns(pl.all() + begin)
    return _File(entry.segments(), begin, rows, every, order)


def _slices(entry: Entry, store: StoredRows, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    for segment in entry.segments():
        yield from store.slices(segment.part, columns, segment.start, segment.rows)


def _is_told_by_neighbours() -> pl.Expr:
    """Rows that get a model, a repeat or a history from the rows around them."""
    inherits = pl.col("repeat").is_not_null() | (pl.col("history") != OWN)
    return inherits | pl.col("model_ahead") | pl.col("running")


def _row_keys(rows: pl.DataFrame) -> pl.DataFrame:
    """Per row the keys that it shares with whatever it may influence, be it in its own file.

    Evidence is derived apart from the rows that count, so it shares with evidence only, but for
    what a router keeps of its requests; and the answer that it is has no say in what becomes of it.
    """
    numbered = numbered_rows(rows)
    is_evidence = pl.col("kind") == RESPONSE
    evidence = numbered.filter(is_evidence).with_columns(response_id=pl.lit(None, pl.String))
    found = [each.select("row", "key", side=CLIENT) for each in client_keys(numbered)]
    for some, mark in ((numbered.filter(~is_evidence), 0), (evidence, 1)):
        within = hashed(some, "place", "source", "thread_id", "segment_id", "sequence")
        keys = pl.concat([*every_key(some), within])
        found.append(keys.select("row", pl.col("key").xor(pl.lit(mark, pl.UInt64)), side=OWN_KEY))
    kept = pl.concat(request_keys(numbered)).select("row", "key", side=REQUEST)
    router = pl.concat(router_keys(numbered)).select("row", "key", side=ROUTER)
    return pl.concat([*found, kept, router]).collect()


def _order(entry: Entry, store: StoredRows) -> tuple[pl.Series | None, pl.DataFrame]:
    """The numbers of the rows in the order of record and part, unless they are in order.

    And spans over those that nothing but the order of reading puts in order.
    """
    ties, rows = [pl.DataFrame(schema=_SPANS)], 0
    last = pl.DataFrame(schema=_PLACE)
    for some in _slices(entry, store, list(_PLACE)):
        places = pl.concat([last, some.select("record", pl.col("part").fill_null(""))])
        if not places.select(_is_later().slice(1).all()).item():
            return _sorted(entry, store)
        ties.append(_ties(places).with_columns(pl.all() + (rows - last.height)))
        rows += some.height
        last = places.tail(1)
    return None, pl.concat(ties)


def _is_later() -> pl.Expr:
    record, part = pl.col("record"), pl.col("part")
    return (record > record.shift()) | ((record == record.shift()) & (part >= part.shift()))


def _sorted(entry: Entry, store: StoredRows) -> tuple[pl.Series, pl.DataFrame]:
    """As `_order`, of rows that are not in order; parts are few, and their texts are not held."""
    part = pl.col("part").fill_null("").cast(pl.Categorical)
    every = pl.concat([some.select("record", part) for some in _slices(entry, store, list(_PLACE))])
    ordered = every.with_row_index("row").sort("record", "part", maintain_order=True)
    return ordered["row"], _ties(ordered.drop("row"))


def _inverse(order: pl.Series) -> pl.Series:
    """The place of each row in an order."""
    places = pl.zeros(len(order), pl.UInt32, eager=True)
    return places.scatter(order, pl.int_range(len(order), dtype=pl.UInt32, eager=True))


def _reach(keys: pl.DataFrame) -> pl.DataFrame:
    """From where to where each key reaches that several rows have, which few do."""
    reach = (
        several(keys.select("row", "key"))
        .group_by("key")
        .agg(first=pl.col("row").min(), last=pl.col("row").max())
    )
    return reach.drop("key").filter(pl.col("first") < pl.col("last"))


def _ties(places: pl.DataFrame) -> pl.DataFrame:
    """Spans over rows in order that nothing but the order of reading puts in order."""
    same = places.select(
        row=pl.all_horizontal(pl.all() == pl.all().shift()).fill_null(value=False).arg_true()
    )
    return same.select(first=pl.col("row") - 1, last="row").cast(pl.Schema(_SPANS))


def cut_places(spans: pl.DataFrame, rows: int, most: int) -> list[int]:
    """The rows before which to cut, so that no span (`first`, `last`) is cut through.

    A stretch has `most` rows, or fewer where a span begins before, or more where one is longer.
    """
    blocks = _merged(spans)
    starts, ends = blocks["first"], blocks["last"]
    cuts: list[int] = []
    begin = 0
    while begin + most < rows:
        begin += most
        number = int(starts.search_sorted(begin, "left")) - 1
        if number >= 0 and ends[number] >= begin:
            last = cuts[-1] if cuts else 0
            begin = starts[number] if starts[number] > last else ends[number] + 1
        if begin < rows:
            cuts.append(begin)
    return cuts


def _merged(spans: pl.DataFrame) -> pl.DataFrame:
    """Spans that overlap as one, in order."""
    reach = pl.col("last").cum_max()
    begins = (pl.col("first") > reach.shift()).fill_null(value=True)
    ordered = spans.sort("first").select("first", last=reach, begins=begins)
    ends = ordered.select("last", ends=pl.col("begins").shift(-1).fill_null(value=True))
    first = ordered.filter("begins")["first"]
    return pl.DataFrame([first, ends.filter("ends")["last"]])


def _stretch(
    files: Sequence[_File], first: int, end: int
) -> Iterator[tuple[int, tuple[Segment, ...]]]:
    """The files of the rows from `first` up to `end`, each with those of its rows."""
    for number, file in enumerate(files):
        begin, behind = max(first, file.begin), min(end, file.begin + file.rows)
        if begin < behind:
            yield number, _segments(file, begin - file.begin, behind - file.begin)


def _segments(file: _File, begin: int, end: int) -> tuple[Segment, ...]:
    runs = [(begin, end)] if file.order is None else _runs(file.order.slice(begin, end - begin))
    found, passed = [], 0
    for segment in file.segments:
        for first, last in runs:
            start, stop = max(first, passed), min(last, passed + segment.rows)
            if start < stop:
                place = segment.start + start - passed
                found.append(Segment(segment.part, place, stop - start))
        passed += segment.rows
    return tuple(found)


def _runs(rows: pl.Series) -> list[tuple[int, int]]:
    """Numbers as runs of consecutive ones: the first of each, and the one behind its last."""
    row = pl.col("row")
    begun = (row != row.shift() + 1).fill_null(value=True).cum_sum().alias("run")
    runs = rows.sort().to_frame("row").group_by(begun, maintain_order=True)
    return runs.agg(first=row.min(), end=row.max() + 1).select("first", "end").rows()
