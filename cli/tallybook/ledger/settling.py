"""Settles rows that are not kept: finds the components of files, derives and prices them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from tallybook.derive.chain import PLACE, as_recorded, corrected, derive, priced
from tallybook.ledger.derived import Component, Derived, component
from tallybook.ledger.digests import code_digest
from tallybook.ledger.groups import batches, bundled, linked
from tallybook.ledger.manifest import Entry
from tallybook.ledger.rows import StoredRows, empty_rows
from tallybook.ledger.seams import in_pieces
from tallybook.ledger.store import Store
from tallybook.ledger.stretches import stretches
from tallybook.pricing.cost import SCHEMA

if TYPE_CHECKING:
    import pyarrow as pa

    from tallybook.pricing.rates import Rates

_PRICED_ROWS: Final = 32_768  # at once
_BUNDLES: Final = 32  # of small files, in a batch, at least

__all__ = ["batches", "components", "finished", "in_order", "settled", "unentered"]


def components(
    entries: Sequence[Entry], store: Store, derived: Derived, kept: Path | None, most: int
) -> Iterator[Component]:
    """Files that can influence each other, those of more than `most` rows in stretches.

    Of what grew, what is settled and the rest are pieces where neither needs the other. `kept` is a
    folder for what takes long to find. Raises PartDamaged.
    """
    stored = StoredRows(store)
    groups = bundled(linked(entries, stored, kept), entries, most // _BUNDLES)
    wholes = [component([entries[n] for n in group], code_digest()) for group in groups]
    pieces = in_pieces(wholes, derived, stored, kept, most) if kept else {}
    for number, whole in enumerate(wholes):
        yield from pieces.get(number) or _cut(whole, stored, kept, most)


def _cut(whole: Component, store: StoredRows, kept: Path | None, most: int) -> Iterator[Component]:
    """Files that belong together as one component, or as several where they are large."""
    entries = whole.entries
    if whole.rows <= most:
        yield whole
        return
    part, _, _ = next(s.part for e in entries for s in e.segments()).partition(".")
    name = f"{part}.{whole.name}.{most}.links"
    found = stretches(entries, store, most, kept / name if kept else None)
    for some in found:
        yield component(some, code_digest(), is_stretch=len(found) > 1)


def settled(
    components: Sequence[Component],
    there: Sequence[tuple[list[str], pl.DataFrame]],
    store: Store,
    rates: Rates,
) -> pl.DataFrame:
    """The priced USAGE rows of components, one after the other, with the column `component`.

    `there` has the rows of some of them, with other prices. Raises PartDamaged.
    """
    names = {name for some, _ in there for name in some}
    frames = [rows.drop(SCHEMA) for _, rows in there]
    for new in _rounds(each for each in components if each.name not in names):
        # Nothing else may hold the rows, nor the frames in between: each is as large.
        entries = [entry for each in new for entry in each.entries]
        frames.append(_named(derive(_with_places(StoredRows(store).rows(entries), new), None), new))
    places = {each.name: place for place, each in enumerate(components)}
    usage = frames[0] if len(frames) == 1 else in_order(pl.concat(frames), places)
    del frames
    # Prices are dear in memory, and know nothing of other rows.
    pieces = [*usage.iter_slices(_PRICED_ROWS)] or [usage]
    del usage
    return pl.concat([priced(pieces.pop(0), rates) for _ in range(len(pieces))])


def _with_places(rows: pl.DataFrame, components: Sequence[Component]) -> pl.DataFrame:
    """The rows with the place of their file: those of a component are one after the other."""
    places = {path: place for place, (path, _) in enumerate(_files(components))}
    place = pl.col("path").replace_strict(places, return_dtype=pl.UInt32)
    return rows.with_columns(place.alias(PLACE))


def _named(usage: pl.DataFrame, components: Sequence[Component]) -> pl.DataFrame:
    """The rows with the name of their component instead of the place of their file."""
    names = pl.Series([name for _, name in _files(components)])
    return usage.drop(PLACE).with_columns(component=names[usage[PLACE]])


def _files(components: Iterable[Component]) -> Iterator[tuple[str, str]]:
    """The paths of components in the order of their rows, each with the component's name."""
    for each in components:
        yield from ((path, each.name) for path in sorted({entry.path for entry in each.entries}))


def _rounds(components: Iterable[Component]) -> Iterator[list[Component]]:
    """The components, so that no two pieces of a file are together: their rows tell the file."""
    left = list(components)
    while left:
        some, paths, others = list[Component](), set[str](), list[Component]()
        for each in left:
            own = {entry.path for entry in each.entries}
            (others if paths & own else some).append(each)
            paths |= own
        yield some
        left = others


def in_order(usage: pl.DataFrame, places: Mapping[str, int]) -> pl.DataFrame:
    """The rows of components by the places of their names, those of each as they are.

    Pieces in one place are put together, in the order of path, record and part.
    """
    if len(places) == 1:
        return usage
    place = pl.col("component").replace_strict(places, return_dtype=pl.UInt32)
    if len({*places.values()}) < len(places):
        part = pl.col("part").fill_null("")
        return usage.sort(place, "path", "record", part, maintain_order=True)
    runs = [places[name] for name in usage["component"].rle().struct.field("value")]
    return usage if runs == sorted(runs) else usage.sort(place, maintain_order=True)


def finished(
    usage: pl.DataFrame, corrections: pa.Table | None, rates: Rates, *, apart: bool
) -> pl.DataFrame:
    """Priced USAGE rows with what backfill has proved; `apart` those that are probably one too."""
    if not apart and (corrections is None or not corrections.num_rows):
        return usage
    bare = usage.drop(SCHEMA)
    return priced(corrected(as_recorded(bare) if apart else bare, corrections), rates)


def unentered(failed: pa.Table | None, rates: Rates) -> pl.DataFrame:
    """The rows of paths that could not be entered; without such none, with all columns."""
    reported = empty_rows() if failed is None else failed
    return priced(derive(reported, None).with_columns(component=pl.lit("")), rates)
