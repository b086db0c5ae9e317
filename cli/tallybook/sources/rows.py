"""Turns a list of `Reported` rows into an Arrow table in the REPORTED schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tallybook.schema import REPORTED, Reported


def _column(rows: Sequence[Reported], field: pa.Field) -> pa.Array[Any]:
    values = [getattr(row, field.name) for row in rows]
    return pa.array(values, type=field.type)


def table(rows: Sequence[Reported]) -> pa.Table:
    """Columns in REPORTED's order and types; no rows give an empty table of that schema."""
    return pa.Table.from_arrays([_column(rows, field) for field in REPORTED], schema=REPORTED)
