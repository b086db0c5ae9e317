"""Makes table columns of usage rows, many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from tallybook.sources.ninerouter.details import Estimates
from tallybook.sources.ninerouter.eras import Era, Verdict, judge, take_streams
from tallybook.sources.ninerouter.tokens import CANONICAL, SHORT, TWIN
from tallybook.sources.ninerouter.twins import pair
from tallybook.sources.ninerouter.usage_rows import (
    UNKNOWN,
    Entry,
    Numbering,
    hashed,
    model_of,
    nth_word,
)
from tallybook.tables import MONEY, TIMESTAMP, columns
from tallybook.values import instant

_HELD: Final = 256  # rows at the end of a batch whose twin may be among the next
_TWICE: Final = "the reported cost counts reasoning twice"


def tables(
    batches: Iterable[list[Entry]], names: Numbering, era: Era, estimates: Estimates | None = None
) -> Iterator[pa.Table]:
    """A table of rows for each batch of entries, in no fixed order of records."""
    held: list[Entry] = []
    for batch in batches:
        entries = held + batch
        _take_times(batch)
        if era.last_twin is not None:
            pair(entries)
        held = [entry for entry in entries[-_HELD:] if _may_have_twin(entry, era)]
        waiting = {entry.record for entry in held}
        ready = [e for e in entries if e.record not in waiting] if held else entries
        yield table(ready, era, estimates)
        names.turn()
    yield table(held, era, estimates)


def _may_have_twin(entry: Entry, era: Era) -> bool:
    if era.last_twin is None or entry.pair is not None or entry.when == UNKNOWN:
        return False
    return entry.counts.shape not in (CANONICAL, SHORT) and entry.record <= era.last_twin


def table(entries: list[Entry], era: Era, estimates: Estimates | None = None) -> pa.Table:
    """The rows of entries that have their partners."""
    take_streams(entries, era)
    projects = {key: f"key-{hashed(key)}" if key else None for key in {e.key for e in entries}}
    verdicts = [judge(entry, era) for entry in entries]
    if estimates:
        verdicts = [estimates.revised(e, v) for e, v in zip(entries, verdicts, strict=True)]
    return columns(
        len(entries),
        {
            "record": [entry.record for entry in entries],
            "provider": _texts([entry.served_by or entry.provider for entry in entries]),
            "model": _texts([model_of(entry.model) for entry in entries]),
            "timestamp": _timestamps([entry.when for entry in entries]),
            **_identity(entries),
            "connection_id": _texts([entry.connection for entry in entries]),
            "project": [projects[entry.key] for entry in entries],
            "is_copy": era.is_copy,
            # The twin states more than its partner, and is the later of the two records.
            "block_index": [e.pair and int(e.counts.shape == TWIN) for e in entries],
            "reported_cost_usd": _money([entry.cost for entry in entries]),
            **_counts(entries, verdicts),
            **_words(entries, verdicts),
        },
    )


def _texts(texts: list[str | None]) -> pa.Array:
    """The texts that say something, as `values.text` has it; others are null."""
    found = pa.array(texts, pa.string())
    return pc.if_else(pc.utf8_is_space(found), None, found)


def _counts(entries: Sequence[Entry], verdicts: Sequence[Verdict]) -> dict[str, list[int | None]]:
    both = list(zip((entry.counts for entry in entries), verdicts, strict=True))
    return {
        "reported_input_tokens": [c.prompt if v.has_input else None for c, v in both],
        "reported_cached_tokens": [c.read if v.has_read else None for c, v in both],
        "reported_cache_creation_tokens": [c.written if v.has_written else None for c, v in both],
        "reported_output_tokens": [c.completion if v.has_output else None for c, v in both],
        "reported_reasoning_tokens": [c.reasoning for c, _ in both],
        "reported_total_tokens": [c.total if v.keeps_total else None for c, v in both],
    }


def _words(entries: Sequence[Entry], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The columns that a verdict fills; there are few verdicts for many rows."""
    places: dict[int, int] = {}
    indices = pa.array([places.setdefault(id(v), len(places)) for v in verdicts], pa.int32())
    known = {id(v): v for v in verdicts}
    distinct = [known[each] for each in places]
    words = pa.string()
    return {
        "dialect": pa.array([v.dialect for v in distinct], words).take(indices),
        "rule": pa.array([v.rule for v in distinct], words).take(indices),
        "route": pa.array([v.route for v in distinct], words).take(indices),
        "assumed": pa.array([v.assumed for v in distinct], pa.list_(words)).take(indices),
        "problems": _problems(entries, verdicts),
        "detail": [
            _TWICE if e.counts.reasoning and e.cost and v.dialect != "gemini" else None
            for e, v in zip(entries, verdicts, strict=True)
        ],
    }


def _problems(entries: Sequence[Entry], verdicts: Sequence[Verdict]) -> list[list[str] | None]:
    return [
        v.problems
        if e.problems is None
        else list(dict.fromkeys([*e.problems, *(v.problems or ())]))
        for e, v in zip(entries, verdicts, strict=True)
    ]


def _identity(entries: Sequence[Entry]) -> dict[str, pa.Array]:
    """The names of records and of the calls they make up.

    A pair bears the name of its last record. Of a call whose other record another file has, the
    name of the pair comes first.
    """
    text = pa.string()
    try:
        stamps = pa.array([e.timestamp for e in entries], text)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        stamps = pa.array([None if e.timestamp is None else str(e.timestamp) for e in entries])
    parts = (
        stamps.cast(text),
        pa.array([e.provider for e in entries], text),
        pa.array([e.model for e in entries], text),
        pa.array([e.connection for e in entries], text),
    )
    names = pc.binary_join_element_wise(*(pc.fill_null(part, "") for part in parts), "/")
    if any(entry.nth for entry in entries):
        nth = pa.array([nth_word(entry.nth) for entry in entries], text)
        names = pc.binary_join_element_wise(names, nth, "")
    pairs = pc.binary_join_element_wise("pair-", pa.array([e.pair for e in entries], text), "")
    alone = pc.binary_join_element_wise("sole-", names, "")
    return {"record_id": names, "identity": pc.coalesce(pairs, alone)}


def times(values: Sequence[Any]) -> pa.Array:
    """Points in time of ISO texts or Unix numbers; null for anything else."""
    try:
        return pa.array(values, pa.string()).cast(TIMESTAMP)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
        return pa.array([instant(value) for value in values], TIMESTAMP)


def _take_times(entries: list[Entry]) -> None:
    """Sets the time of each entry, by which twins are found too."""
    if not entries:
        return
    found = times([entry.timestamp for entry in entries]).cast(pa.int64())
    found = pc.if_else(pc.greater(found, 0), found, UNKNOWN).fill_null(UNKNOWN)
    numbers = memoryview(found.buffers()[1]).cast("q")
    for entry, microseconds in zip(entries, numbers[found.offset :], strict=False):
        entry.when = microseconds


def _timestamps(microseconds: list[int]) -> pa.Array:
    found = pa.array(microseconds, pa.int64())
    known = pc.not_equal(found, UNKNOWN)
    return pc.if_else(known, found, None).cast(TIMESTAMP)


def _money(values: list[float | None]) -> pa.Array:
    """Dollars to twelve decimals: counts times rates have no more, the rest is dust of floats."""
    units = pc.cast(pc.round(pc.multiply(pa.array(values, pa.float64()), 1e12)), pa.int64())
    unit = pa.scalar(Decimal("1e-12"), pa.decimal128(13, 12))
    return pc.cast(pc.multiply(pc.cast(units, pa.decimal128(19, 0)), unit), MONEY)
