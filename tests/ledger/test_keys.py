"""Keys that are too many for memory come back from the disk, all of one value together."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.ledger import keys as module
from tallybook.ledger.keys import Keys

# From all ranges, and some of them often.
KEY = st.integers(0, 2**64 - 1) | st.sampled_from([0, 7, 2**58, 2**63, 2**64 - 1])


def put(frames: list[list[int]], most: int) -> list[pl.DataFrame]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "MOST", most)
        with Keys() as keys:
            row = 0
            for found in frames:
                rows = pl.Series(range(row, row + len(found)), dtype=pl.UInt32)
                keys.add(pl.DataFrame({"row": rows, "key": pl.Series(found, dtype=pl.UInt64)}))
                row += len(found)
            ranges, again = list(keys.ranges()), list(keys.ranges())
    assert all(some.equals(other) for some, other in zip(ranges, again, strict=True))
    return ranges


@given(st.lists(st.lists(KEY, max_size=6), min_size=1, max_size=6), st.integers(0, 20))
def test_all_keys_come_back_and_those_of_one_value_in_one_frame(
    frames: list[list[int]], most: int
) -> None:
    ranges = put(frames, most)
    every = [key for found in frames for key in found]
    assert sorted(row for some in ranges for row in some.rows()) == list(enumerate(every))
    frames_of = Counter(key for some in ranges for key in some["key"].unique())
    assert set(frames_of.values()) <= {1}


def test_where_the_disk_is_full_they_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(module, "TemporaryFile", full)
    assert [some["key"].to_list() for some in put([[3, 1], [2**63]], 1)] == [[3, 1, 2**63]]
