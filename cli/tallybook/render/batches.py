"""Writes batches of rows to an open file, as CSV, Parquet or JSON lines; memory holds one batch."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import IO, Any, Final

import polars as pl
import polars.selectors as cs

from tallybook.render.formats import FORMULA
from tallybook.render.text import visible, visible_json

# Rows of one group in a Parquet file: readers skip groups, and writers hold one in memory.
GROUP_ROWS: Final = 100_000
# The Unicode classes that do not show as themselves; everything of them is written out.
_ODD: Final = r"[\p{C}\p{Z}&&[^ ]]"


def write_csv(batches: Iterable[pl.DataFrame], stream: IO[bytes], own_text: Collection[str]) -> int:
    """RFC 4180: CR LF, null is empty, no cell that a spreadsheet would run. Number of rows.

    All batches are in the schema of the first. `own_text`: columns whose text came out of no log.
    """
    written = 0
    for number, batch in enumerate(batches):
        flat = batch.with_columns(cs.list().list.join(" ").replace("", None)).pipe(_as_text)
        foreign = cs.string() - cs.by_name(list(own_text), require_all=False)
        safe = flat.with_columns(_defused(name) for name in cs.expand_selector(flat, foreign))
        safe.write_csv(stream, include_header=not number, line_terminator="\r\n")
        written += batch.height
    return written


def write_jsonl(batches: Iterable[pl.DataFrame], stream: IO[bytes]) -> int:
    """One JSON object a line; null is null, decimals are strings, times ISO 8601 in UTC."""
    written = 0
    for batch in batches:
        lines = batch.pipe(_as_text).write_ndjson().encode()
        # JSON itself escapes no more than what is below the space.
        plain = lines.isascii() and b"\x7f" not in lines
        stream.write(lines if plain else visible_json(lines.decode()).encode())
        written += batch.height
    return written


def write_parquet(
    batches: Iterable[pl.DataFrame], stream: IO[bytes], metadata: Mapping[str, str]
) -> int:
    """Zstandard, every column nullable, `metadata` in the schema's key-value metadata."""
    part = ParquetPart(stream, metadata)
    for batch in batches:
        part.hold(batch)
        if part.held >= GROUP_ROWS:
            part.write()
    return part.close()


class ParquetPart:
    """One Parquet file, written group by group: small batches would each become one."""

    def __init__(self, stream: IO[bytes], metadata: Mapping[str, str]) -> None:
        """`metadata` is said in the schema's key-value metadata."""
        self._stream, self._metadata = stream, metadata
        self._held: list[pl.DataFrame] = []
        self._writer: Any = None
        self._written = 0

    @property
    def held(self) -> int:
        """Rows that wait to be written."""
        return sum(batch.height for batch in self._held)

    def hold(self, batch: pl.DataFrame) -> None:
        """Take rows, all in the schema of the first."""
        self._held.append(batch)

    def write(self) -> None:
        """Write what is held as one group."""
        import pyarrow as pa  # noqa: PLC0415 - only this format needs it
        import pyarrow.parquet as pq  # noqa: PLC0415

        table = _plain(pl.concat(self._held).to_arrow(), pa)
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._stream, table.schema, compression="zstd", store_schema=False
            )
            self._writer.add_key_value_metadata(self._metadata)
        self._writer.write_table(table.cast(self._writer.schema))
        self._written += table.num_rows
        self._held = []

    def close(self) -> int:
        """Write what is left, and the end of the file. Number of rows in it."""
        if self._held:
            self.write()
        self._writer.close()
        return self._written


def in_floats(batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Money as binary floats, which programs without decimals read."""
    for batch in batches:
        yield batch.with_columns(cs.decimal().cast(pl.Float64))


def with_byte_order_mark(stream: IO[bytes]) -> None:
    """What Excel needs at the beginning of a file to take it for UTF-8."""
    stream.write(codecs.BOM_UTF8)


def _plain(table: Any, pa: Any) -> Any:
    """Text with 32-bit offsets, which every reader of Parquet's Arrow schema knows."""
    kinds = {pa.large_string(): pa.string(), pa.string_view(): pa.string()}
    fields = [
        field.with_type(
            pa.list_(pa.string())
            if pa.types.is_large_list(field.type) or pa.types.is_list(field.type)
            else kinds.get(field.type, field.type)
        )
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def _as_text(batch: pl.DataFrame) -> pl.DataFrame:
    """Decimals without trailing zeros and times with a Z, as text."""
    return batch.with_columns(
        cs.decimal().cast(pl.String).str.strip_chars_end("0").str.strip_suffix("."),
        cs.datetime().dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"),
    )


def _defused(name: str) -> pl.Expr:
    """The vectorised form of `render.csv.defused`; odd characters are rare, and done one by one."""
    text = pl.col(name)
    shown = (
        pl.when(text.str.contains(_ODD))
        .then(text.map_elements(visible, pl.String, skip_nulls=True))
        .otherwise(text)
    )
    return (
        pl.when(text.str.contains(FORMULA))
        .then(pl.concat_str(pl.lit("'"), shown))
        .otherwise(shown)
        .alias(name)
    )
