"""Small frames of reported rows for the tests of the stages."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa

from tallybook.derive.attribute import attribute
from tallybook.derive.bounds import with_bounds
from tallybook.derive.duplicates.deduplicate import deduplicate
from tallybook.derive.duplicates.requests import with_requests
from tallybook.derive.normalize import normalize
from tallybook.derive.reconcile import reconcile
from tallybook.derive.running_totals import settle_running
from tallybook.derive.sums import settle_sums
from tallybook.schema import Reported
from tallybook.tables import READ, table


def reported(*rows: dict[str, Any]) -> pl.DataFrame:
    """Rows with the columns given; `path`, `source` and `record` have defaults."""
    paths = [row.get("path", "a.jsonl") for row in rows]
    names = [row.get("source", "codex") for row in rows]
    fields = [
        Reported(**{"record": number, **_without(row, "path", "source")})
        for number, row in enumerate(rows, 1)
    ]
    columns = [pa.array(names, pa.string()), pa.array(paths, pa.string()), *table(fields).columns]
    frame = pl.DataFrame(pa.Table.from_arrays(columns, schema=READ))
    return frame.with_row_index("row")


def _without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def settled(*rows: dict[str, Any]) -> pl.DataFrame:
    """The rows after every stage but the prices."""
    frame = with_requests(reported(*rows))
    stages = (
        attribute,
        settle_running,
        normalize,
        deduplicate,
        settle_sums,
        reconcile,
        with_bounds,
    )
    for stage in stages:
        frame = stage(frame)
    return frame


def normalized(**row: Any) -> dict[str, Any]:
    """One row after `normalize`, with its bounds."""
    return with_bounds(normalize(reported(row))).row(0, named=True)
