"""The Arrow schemas of the rows that tallybook keeps; importing it loads pyarrow."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Final, get_args

import pyarrow as pa
from msgspec.structs import FieldInfo, fields

from tallybook.schema import Reported

_TOKENS = pa.int64()
_TEXT = pa.string()
TIMESTAMP: Final = pa.timestamp("us", tz="UTC")
MONEY: Final = pa.decimal128(38, 15)

# Each of them may be null in a column, whatever the field says.
_TYPES: Final = {
    int: pa.int64(),
    str: _TEXT,
    bool: pa.bool_(),
    datetime: TIMESTAMP,
    Decimal: MONEY,
    list[str]: pa.list_(_TEXT),
    list[int | None]: pa.list_(pa.int64()),
}


def _column(field: FieldInfo) -> tuple[str, pa.DataType]:
    kinds = [kind for kind in (get_args(field.type) or (field.type,)) if kind is not NoneType]
    return field.name, _TYPES[field.type if field.type in _TYPES else kinds[0]]


REPORTED: Final = pa.schema([_column(field) for field in fields(Reported)])

# The rows of one file, with where they come from.
READ: Final = pa.schema([("source", _TEXT), ("path", _TEXT), *REPORTED])

# What backfill proved of a call: one direction of it, put beside the facts and never into them.
CORRECTIONS: Final = pa.schema(
    [
        ("call_id", _TEXT),
        ("source", _TEXT),
        ("direction", _TEXT),  # "input" or "output"
        ("method", _TEXT),  # "twin", "detail", "response", "events"
        ("recorded", _TEXT),  # the buckets of the direction as they were when it was proved
        ("uncached_input_tokens", _TOKENS),
        ("cached_input_tokens", _TOKENS),
        ("cache_creation_input_tokens", _TOKENS),
        ("cache_creation_1h_input_tokens", _TOKENS),
        ("unsplit_input_tokens", _TOKENS),
        ("output_tokens", _TOKENS),
        ("reasoning_output_tokens", _TOKENS),
        ("evidence_path", _TEXT),
        ("evidence_record", pa.int64()),
        ("evidence_part", _TEXT),
        ("rule", _TEXT),  # how the match was proved
    ]
)
