"""Finds what files have grown by that can be derived apart from the rows that were there before.

Nearly all calls of a log say nothing of those before them: what one adds to a total is worked out
as it is read. Here that is proved of new rows, by all that any stage looks at beyond a row itself.
In doubt they are derived with the old ones, as if nothing were settled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import polars as pl

from tallybook.derive.attribute import with_root
from tallybook.derive.duplicates.routes import STORED
from tallybook.ledger.derived import Component, Derived, component
from tallybook.ledger.digests import code_digest
from tallybook.ledger.groups import (
    OWN_KEY,
    hashed,
    keys_of_parts,
    together,
)
from tallybook.ledger.kept_frames import KeptFrames
from tallybook.ledger.keys import Runs
from tallybook.ledger.manifest import Segment
from tallybook.ledger.rows import StoredRows
from tallybook.schema import (
    CALL,
    COMPACT,
    COMPACTED,
    COUNTED_KINDS,
    EVENT,
    LOG,
    OWN,
    PROBLEM,
    RESPONSE,
)

_MOST_PIECES: Final = 8  # each costs a question a little
_THREADS: Final = ("thread_id", "root_thread_id", "parent_thread_id")
_FACTS: Final = ("source", *_THREADS, "is_copy")
_COLUMNS: Final = (
    *_FACTS, "path", "kind", "record", "evidence", "history", "history_thread_ids", "running",
    "route", "log_source", "model_ahead", "identity", "segment_id", "sequence", "caller", "repeat",
)  # fmt: skip
_COUNTER: Final = ("source", "thread_id", "segment_id", "sequence")
_PLACES: Final = {"group": pl.UInt32, "piece": pl.UInt32, "file": pl.UInt32, "is_new": pl.Boolean}


class Grown(NamedTuple):
    """Files that belong together: the pieces of them that are settled, and what came since."""

    known: list[Component]
    new: Component

    def pieces(self) -> list[Component]:
        """All that have rows, in the order in which they came."""
        return [*self.known, self.new] if self.new.rows else self.known


def in_pieces(
    wholes: Sequence[Component], derived: Derived, store: StoredRows, cache: Path, most: int
) -> dict[int, list[Component]]:
    """By number those components of which a part is settled, and the rest needs nothing of it.

    Of several files they have no more than `most` rows, for these have to be put in order. `cache`
    is a folder where it may be kept what parts say. Raises PartDamaged.
    """
    found: dict[int, Grown] = {}
    for number, whole in enumerate(wholes):
        is_ordered = len(whole.entries) == 1 or whole.rows <= most
        grown = _grown(whole, derived) if is_ordered and not derived.is_known(whole.name) else None
        if grown is not None:
            found[number] = grown
    asked = {number: grown for number, grown in found.items() if grown.new.rows}
    together = _together(asked, store, cache) if asked else set()
    return {number: each.pieces() for number, each in found.items() if number not in together}


def _grown(whole: Component, derived: Derived) -> Grown | None:
    """What of a component is settled; None where its beginning is not."""
    if any(entry.tentative or entry.deleted for entry in whole.entries):
        return None
    ages = sorted({derived.age(part.part) for entry in whole.entries for part in entry.rows})
    known: list[tuple[int, Component]] = []
    ends = ages[:-1]  # the whole is not settled
    while found := _next(whole, derived, known, ends):
        known.append(found)
        ends = [age for age in ages if age > found[0]]
    if not known:
        return None
    new = _piece(whole, derived, known, ages[-1])
    if new.rows and len(known) >= _MOST_PIECES:
        del known[1:]
        new = _piece(whole, derived, known, ages[-1])
    return Grown([piece for _, piece in known], new)


def _next(
    whole: Component, derived: Derived, known: list[tuple[int, Component]], ends: Sequence[int]
) -> tuple[int, Component] | None:
    """The longest piece that is settled behind those that are known, with the age of its end."""
    pieces = ((age, _piece(whole, derived, known, age)) for age in reversed(ends))
    return next((each for each in pieces if derived.is_known(each[1].name)), None)


def _piece(
    whole: Component, derived: Derived, known: list[tuple[int, Component]], age: int
) -> Component:
    """What a component has in the parts up to an age that are younger than all that is known.

    It is named by what it is behind of as well: with other rows before it, it may be another.
    """
    after, last = known[-1] if known else (-1, None)
    entries = [
        msgspec.structs.replace(
            entry,
            rows=tuple(part for part in entry.rows if after < derived.age(part.part) <= age),
        )
        for entry in whole.entries
    ]
    salt = f"{code_digest()} {last.name}" if last else code_digest()
    return component([each for each in entries if each.rows], salt, of=whole.name)


def _together(asked: Mapping[int, Grown], store: StoredRows, cache: Path) -> set[int]:
    """Numbers of those whose new rows may have to do with the old ones."""
    places, runs = _places(asked)
    said = _said(places, runs, store, cache)
    counters = said.select("group", "is_new", key="counters").explode("key").drop_nulls()
    found = [_odd(said), _out_of_order(said), _of_other_roots(said), _meeting(counters)]
    # A thread says no more than its root, and that is looked at.
    named = said.filter("is_new").select(*_THREADS, row="row", path="group")
    keyed = pl.concat(hashed(named, "thread", name).select("key") for name in _THREADS)
    is_other = ~pl.col("key").is_in(keyed.collect()["key"].implode())
    new = {piece.part for grown in asked.values() for piece in _segments(grown.new)}

    def keys(parts: Sequence[str], which: pl.Expr) -> pl.DataFrame:
        every = keys_of_parts(parts, store, cache)
        of = runs.of((part, some.filter(pl.col("side") == OWN_KEY, which)) for part, some in every)
        met = pl.concat(of)
        return places[met["file"]].hstack(met.select("key"))

    own = keys([part for part in runs.parts if part in new], is_other)
    wanted = own.filter("is_new")["key"].unique().implode()
    found.append(_meeting(keys(runs.parts, pl.col("key").is_in(wanted))))
    return {number for each in found for number in each}


def _segments(piece: Component) -> Iterator[Segment]:
    return (segment for entry in piece.entries for segment in entry.rows)


def _places(asked: Mapping[int, Grown]) -> tuple[pl.DataFrame, Runs]:
    """Whose each run of rows is, and the runs, numbered so."""
    runs = Runs()
    places: list[tuple[int, int, int, bool]] = []
    files: dict[tuple[int, str], int] = {}
    for group, grown in asked.items():
        for number, piece in enumerate(grown.pieces()):
            for entry in piece.entries:
                file = files.setdefault((group, entry.path), len(files))
                for segment in entry.rows:
                    runs.add(len(places), segment)
                    places.append((group, number, file, piece is grown.new))
    return pl.DataFrame(places, schema=_PLACES, orient="row"), runs


def _said(places: pl.DataFrame, runs: Runs, store: StoredRows, cache: Path) -> pl.DataFrame:
    """What the rows of runs say, see `_sayings`, with whose they are."""
    said = runs.numbered(list(_sayings(runs.parts, store, cache))).sort("row")
    run = runs.frame()
    first, last = (
        said["row"].search_sorted(row, "right").cast(pl.Int64) - 1
        for row in (run["begin"], run["end"] - 1)
    )
    met = pl.select(place=run["file"], said=pl.int_ranges(first, last + 1)).explode("said")
    return places[met["place"]].hstack(said[met["said"]])


def _odd(said: pl.DataFrame) -> pl.Series:
    """Groups with rows of which it is not known that they say nothing of others.

    What says that a conversation was shortened means the call that was made for it.
    """
    shortened, made = pl.col("shortened"), pl.col("made")
    new = pl.col("is_new")
    meet = ((new & shortened).any() & made.any()) | ((new & made).any() & shortened.any())
    return said.group_by("group").agg(odd=pl.col("odd").any() | meet).filter("odd")["group"]


def _out_of_order(said: pl.DataFrame) -> pl.Series:
    """Groups in which new rows of a file stand before old ones, or repeat what is not new."""
    new = pl.col("is_new")
    first = {name: pl.col(name).filter(new).min() for name in ("first_record", "repeat", "stated")}
    is_before = pl.col("last_record").filter(~new).max() >= first["first_record"]
    repeats = first["repeat"] <= first["stated"].fill_null(first["repeat"])
    odd = pl.any_horizontal(is_before, repeats)
    return said.group_by("group", "file").agg(odd=odd).filter("odd")["group"]


def _of_other_roots(said: pl.DataFrame) -> pl.Series:
    """Groups in which a row has another root by all rows than by those of its piece."""
    facts = said.select("group", "piece", *_FACTS).unique().sort("piece")
    together = with_root(facts)["root_thread_id"]
    apart = [with_root(some)["root_thread_id"] for some in facts.partition_by("piece")]
    return facts.filter(together.ne_missing(pl.concat(apart)))["group"]


def _meeting(keys: pl.DataFrame) -> pl.Series:
    """Groups in which new rows have a key of old ones."""
    old, new = keys.filter(~pl.col("is_new")), keys.filter("is_new")
    return new.join(old, on=("group", "key"), how="semi")["group"]


def _sayings(
    parts: Sequence[str], store: StoredRows, cache: Path
) -> Iterator[tuple[str, pl.DataFrame]]:
    """What the rows of parts say, a line from each `row` on that tells other facts."""
    kept = KeptFrames(cache, "seams.links")
    yield from kept.there(parts)
    found: dict[str, list[pl.DataFrame]] = {}
    for slices in together(kept.missing, store, _COLUMNS):
        lines = _lines(
            pl.concat(
                some.with_row_index("row", start).with_columns(part=pl.lit(part))
                for part, start, some in slices
            )
        )
        for (part,), some in lines.partition_by("part", as_dict=True, include_key=False).items():
            found.setdefault(part, []).append(some)
    for part, pieces in found.items():
        kept.keep(part, pieces)
        yield part, pl.concat(pieces)
    kept.close()


def _lines(rows: pl.DataFrame) -> pl.DataFrame:
    counter = pl.when(pl.col("sequence").is_not_null()).then(pl.struct(_COUNTER).hash())
    is_shortened = pl.col("identity").str.starts_with(COMPACTED).fill_null(value=False)
    is_repeat, record = pl.col("repeat").is_not_null(), pl.col("record")
    is_counted = pl.col("kind").is_in(COUNTED_KINDS)
    return (
        rows.group_by(run=pl.struct("part", "path", *_FACTS).rle_id(), maintain_order=True)
        .agg(
            pl.col("part", "row", *_FACTS).first(),
            odd=_is_odd().any(),
            shortened=is_shortened.any(),
            made=((pl.col("caller") == COMPACT).fill_null(value=False) & ~is_shortened).any(),
            first_record=record.min(),
            last_record=record.max(),
            repeat=record.filter(is_repeat).min(),
            stated=record.filter(is_counted & ~is_repeat).min(),
            counters=counter.drop_nulls(),
        )
        .drop("run")
    )


def _is_odd() -> pl.Expr:
    """Rows that may say something of others of their thread or file, or be told of by them."""
    kind = pl.col("kind")
    nameless = pl.col("identity").is_null() & pl.col("sequence").is_null()
    return (
        ~kind.is_in([CALL, RESPONSE, EVENT, PROBLEM])
        | ((kind == CALL) & nameless)
        | (pl.col("evidence") != LOG)
        | (pl.col("history") != OWN)
        | (pl.col("source") == STORED)
        | pl.any_horizontal("running", "model_ahead")
        | pl.any_horizontal(pl.col("history_thread_ids", "route", "log_source").is_not_null())
    )
