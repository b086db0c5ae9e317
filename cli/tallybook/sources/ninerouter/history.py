"""Makes table columns of usage rows, many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tallybook.dialects.values import instant
from tallybook.sources.ninerouter.entries import Entry, Numbering, hashed
from tallybook.sources.ninerouter.readings import Era, path_of, provider_of, read, take_streams
from tallybook.sources.ninerouter.tokens import CANONICAL, SHORT, TWIN
from tallybook.sources.ninerouter.twins import pair
from tallybook.sources.rows import columns

if TYPE_CHECKING:
    import pyarrow as pa

_COUNTS: Final = (
    "reported_input_tokens",
    "reported_cached_tokens",
    "reported_cache_creation_tokens",
    "reported_output_tokens",
    "reported_reasoning_tokens",
    "reported_total_tokens",
    "dialect",
    "rule",
    "assumed",
    "problems",
    "detail",
)
_HELD: Final = 256  # rows at the end of a batch whose twin may be among the next


def tables(batches: Iterable[list[Entry]], names: Numbering, era: Era) -> Iterator[pa.Table]:
    """A table of rows for each batch of entries, in no fixed order of records."""
    held: list[Entry] = []
    for batch in batches:
        entries = held + batch
        if era.last_twin is not None:
            _take_times(batch)
            pair(entries)
        held = [entry for entry in entries[-_HELD:] if _may_have_twin(entry, era)]
        waiting = {entry.record for entry in held}
        yield table([entry for entry in entries if entry.record not in waiting], era)
        names.turn()
    yield table(held, era)


def _may_have_twin(entry: Entry, era: Era) -> bool:
    if era.last_twin is None or entry.partner is not None or not entry.when:
        return False
    return entry.counts.shape not in (CANONICAL, SHORT) and entry.record <= era.last_twin


def table(entries: list[Entry], era: Era) -> pa.Table:
    """The rows of entries that have their partners."""
    take_streams(entries, era)
    ways = [path_of(entry) for entry in entries]
    said = zip(*(read(e, way, era) for e, way in zip(entries, ways, strict=True)), strict=True)
    projects = {key: f"key-{hashed(key)}" if key else None for key in {e.key for e in entries}}
    return columns(
        len(entries),
        {
            "record": [entry.record for entry in entries],
            "provider": [provider_of(entry) for entry in entries],
            "model": [entry.model for entry in entries],
            "timestamp": times([entry.timestamp for entry in entries]),
            "identity": [entry.identity for entry in entries],
            "record_id": [entry.record_id for entry in entries],
            "connection_id": [entry.connection for entry in entries],
            "project": [projects[entry.key] for entry in entries],
            "route": [way.label for way in ways],
            "is_copy": era.is_copy,
            # The twin states more than its partner, and is the later of the two records.
            "block_index": [_place(entry) for entry in entries],
            "reported_cost_usd": _money([entry.cost for entry in entries]),
            **dict(zip(_COUNTS, map(list, said), strict=False)),
        },
    )


def _place(entry: Entry) -> int | None:
    return None if entry.partner is None else int(entry.counts.shape == TWIN)


def times(values: Sequence[Any]) -> pa.Array:
    """Points in time of ISO texts or Unix numbers; null for anything else."""
    import pyarrow as pa  # noqa: PLC0415 - naming the sources must not load it

    from tallybook.tables import TIMESTAMP  # noqa: PLC0415

    try:
        return pa.array(values, pa.string()).cast(TIMESTAMP)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
        return pa.array([instant(value) for value in values], TIMESTAMP)


def _take_times(entries: list[Entry]) -> None:
    """Sets the milliseconds by which twins are found."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    found = times([entry.timestamp for entry in entries]).cast(pa.int64()).to_pylist()
    for entry, microseconds in zip(entries, found, strict=True):
        entry.when = (microseconds or 0) // 1000


def _money(values: list[float | None]) -> pa.Array:
    """Dollars to twelve decimals: counts times rates have no more, the rest is dust of floats."""
    import pyarrow as pa  # noqa: PLC0415 - as above
    import pyarrow.compute as pc  # noqa: PLC0415

    from tallybook.tables import MONEY  # noqa: PLC0415

    units = pc.cast(pc.round(pc.multiply(pa.array(values, pa.float64()), 1e12)), pa.int64())
    unit = pa.scalar(Decimal("1e-12"), pa.decimal128(13, 12))
    return pc.cast(pc.multiply(pc.cast(units, pa.decimal128(19, 0)), unit), MONEY)
