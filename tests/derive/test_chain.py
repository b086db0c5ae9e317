"""The chain as a whole: how the rows are held changes nothing of what becomes of them."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pytest

from tallybook.derive import chain
from tallybook.derive.chain import derive
from tallybook.derive.duplicates import best_record
from tallybook.sources import sources
from tests.test_fixtures import CASES, read


@pytest.mark.parametrize("source", sorted(sources()))
def test_columns_of_one_value_are_derived_as_all_others(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [case for case in CASES if case.parent.name == source]
    reported = pa.concat_tables([read(case) for case in cases])
    wide = derive(reported, None)
    monkeypatch.setattr(chain, "_MANY_ROWS", 1)
    narrow = derive(reported, None)
    assert narrow.schema == wide.schema
    assert narrow.equals(wide, null_equal=True)


@pytest.mark.parametrize("source", sorted(sources()))
def test_records_that_yield_to_the_next_one_are_those_that_all_ranks_would_leave_out(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [case for case in CASES if case.parent.name == source]
    reported = pa.concat_tables([read(case) for case in cases])
    at_once = derive(reported, None)
    monkeypatch.setattr(best_record, "_yields_to_next", lambda: pl.lit(value=False))
    assert derive(reported, None).equals(at_once, null_equal=True)
