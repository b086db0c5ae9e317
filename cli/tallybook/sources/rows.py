"""Turns a list of `Reported` rows into an Arrow table in the REPORTED schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import astuple

from tallybook.schema import Reported

if TYPE_CHECKING:
    import pyarrow as pa


def table(rows: Sequence[Reported]) -> pa.Table:
    """Columns in REPORTED's order and types; no rows give an empty table of that schema."""
    import pyarrow as pa  # noqa: PLC0415 - naming the sources must not load it

    from tallybook.tables import REPORTED  # noqa: PLC0415

    if not rows:
        return REPORTED.empty_table()
    columns = zip(*map(astuple, rows), strict=True)
    arrays = [_array(values, field.type) for values, field in zip(columns, REPORTED, strict=True)]
    return pa.Table.from_arrays(arrays, schema=REPORTED)


def _array(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    """Most columns of a block hold one value throughout, and repeating it is ten times as fast."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    first = values[0]
    if values.count(first) < len(values):
        return pa.array(values, kind)
    if first is None:
        return pa.nulls(len(values), kind)
    return pa.repeat(pa.scalar(first, kind), len(values))
