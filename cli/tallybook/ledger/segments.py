"""Rows of a frame by the segments of the part, or the pack, that they come from."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tallybook.ledger.manifest import Segment


def cover(segments: Sequence[Segment]) -> tuple[int, int]:
    """The first row of some segments of a part, and how many rows it is to the last."""
    first = min(segment.start for segment in segments)
    return first, max(segment.start + segment.rows for segment in segments) - first


def pick(frame: pl.DataFrame, segments: Sequence[Segment], first: int) -> pl.DataFrame:
    """The rows of segments, one after the other; `frame` holds a part from row `first` on."""
    place = first
    for segment in segments:
        if segment.start != place:
            break
        place += segment.rows
    else:
        return frame.slice(0, place - first)
    starts = [segment.start - first for segment in segments]
    ends = [start + segment.rows for start, segment in zip(starts, segments, strict=True)]
    ranges = pl.select(pl.int_ranges(pl.Series(starts), pl.Series(ends)).explode())
    return frame[ranges.to_series().drop_nulls()]
