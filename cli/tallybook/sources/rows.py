"""Makes an Arrow table in the REPORTED schema of `Reported` rows, or of columns ready made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import astuple

from tallybook.schema import Reported

if TYPE_CHECKING:
    import pyarrow as pa

_DEFAULTS: Final = dict(
    zip(reversed(Reported.__struct_fields__), reversed(Reported.__struct_defaults__), strict=False)
)


def table(rows: Sequence[Reported]) -> pa.Table:
    """Columns in REPORTED's order and types; no rows give an empty table of that schema."""
    import pyarrow as pa  # noqa: PLC0415 - naming the sources must not load it

    from tallybook.tables import REPORTED  # noqa: PLC0415

    if not rows:
        return REPORTED.empty_table()
    columns = zip(*map(astuple, rows), strict=True)
    arrays = [_array(values, field.type) for values, field in zip(columns, REPORTED, strict=True)]
    return pa.Table.from_arrays(arrays, schema=REPORTED)


def columns(count: int, values: Mapping[str, Any]) -> pa.Table:
    """A table of `count` rows from its columns, ten times as fast as from rows.

    A value is a list or an Arrow array of that length, or else one value for every row. A column
    that is not given holds its default.
    """
    import pyarrow as pa  # noqa: PLC0415 - as above

    from tallybook.tables import REPORTED  # noqa: PLC0415

    def array(name: str, kind: pa.DataType) -> pa.Array:
        value = values[name] if name in values else _DEFAULTS[name]
        if isinstance(value, pa.Array):
            return value
        return _array(value if isinstance(value, list) else [value] * count, kind)

    if not count:
        return REPORTED.empty_table()
    return pa.Table.from_arrays([array(f.name, f.type) for f in REPORTED], schema=REPORTED)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Most columns of a block hold one value throughout, and repeating it is ten times as fast."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    first = values[0]
    if values.count(first) < len(values):
        return pa.array(values, kind)
    if first is None:
        return pa.nulls(len(values), kind)
    return pa.repeat(pa.scalar(first, kind), len(values))
