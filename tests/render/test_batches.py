"""Exports as other programs read them: typed, null where unknown, harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tallybook.render.batches as batches_module
from tallybook.render.batches import write_csv, write_jsonl, write_parquet
from tallybook.report.export import COLUMNS, OWN_TEXT, calls, tables
from tallybook.report.query import Query
from tallybook.report.summary import summarise
from tests.frames import usage_frame
from tests.render.answers import USD

METADATA = {"schema": "tallybook/export", "schema_version": "1"}
FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "＝1",
    "＋1",
    "－1",
    "＠A",
    "  =1",
    "\u3000＝1",
]
ROWS: list[dict[str, Any]] = [
    {"uncached_input_tokens": 7, "cached_input_tokens": 0, "output_tokens": 3, "cost": USD // 8,
     "timestamp": datetime(2026, 11, 1, 10, 0, 0, 5, tzinfo=UTC), "problems": ["no-tier", "odd"],
     "reported_cost_usd": Decimal("0.25")},
    {"model": None, "uncached_input_tokens": 2**40, "caller": "=HYPERLINK(\"x\")"},
    {"duplicate_of": "call-1", "output_tokens": 999},
    {"kind": "problem", "problems": ["torn-line"]},
]  # fmt: skip


Write = Callable[..., int]
GIVEN: dict[Any, dict[str, Any]] = {
    write_csv: {"own_text": OWN_TEXT},
    write_parquet: {"metadata": METADATA},
}


def exported(rows: list[dict[str, Any]] | None = None, **asked: Any) -> pl.DataFrame:
    return calls(usage_frame(rows or ROWS).lazy(), Query(**asked)).collect()


def written(write: Write, frame: pl.DataFrame) -> bytes:
    stream = io.BytesIO()
    assert write([frame], stream, **GIVEN.get(write, {})) == frame.height
    return stream.getvalue()


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "calls.parquet"
    path.write_bytes(written(write_parquet, exported()))
    return path


def test_only_rows_that_count_are_exported() -> None:
    assert exported()["record"].to_list() == [1, 2]


def test_parquet_is_typed_and_nullable_and_says_its_version(parquet: Path) -> None:
    schema = pq.read_schema(parquet)
    assert schema.names == list(COLUMNS)
    assert schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
    assert schema.field("cost_usd").type == pa.decimal128(38, 15)
    assert schema.field("output_tokens").type == pa.int64()
    assert schema.field("model").type == pa.string()
    assert all(field.nullable for field in schema)
    metadata = pq.read_metadata(parquet)
    assert metadata.metadata[b"schema_version"] == b"1"
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def test_duckdb_and_pandas_see_the_same_numbers(parquet: Path) -> None:
    sums = "SELECT sum(cost_usd), sum(uncached_input_tokens), count(output_tokens)"
    found = duckdb.execute(f"{sums} FROM read_parquet(?)", [str(parquet)]).fetchone()
    assert found == (Decimal("0.125"), 7 + 2**40, 1)
    frame = pd.read_parquet(parquet, dtype_backend="pyarrow")
    assert frame["cost_usd"].sum() == Decimal("0.125")
    assert frame["output_tokens"].isna().tolist() == [False, True]
    assert str(frame["timestamp"][0]) == "2026-11-01 10:00:00.000005+00:00"


def test_csv_leaves_null_empty_and_zero_zero() -> None:
    text = written(write_csv, exported()).decode()
    assert text.count("\r\n") == text.count("\n") == 3
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["cached_input_tokens"], second["cached_input_tokens"]) == ("0", "")
    assert (first["cost_usd"], second["cost_usd"]) == ("0.125", "")
    assert first["timestamp"] == "2026-11-01T10:00:00.000005Z"
    assert (first["problems"], second["problems"]) == ("no-tier odd", "")


@pytest.mark.parametrize("text", FORMULAS)
def test_csv_holds_nothing_that_a_spreadsheet_runs(text: str) -> None:
    frame = exported([{"model": text, "project": text, "thread_id": text, "path": text}])
    row = next(csv.DictReader(io.StringIO(written(write_csv, frame).decode())))
    cells = [row[name] for name in ("model", "project", "thread_id", "root_thread_id", "path")]
    assert all(cell.startswith("'") and not {"\t", "\r"} & set(cell) for cell in cells)


def test_negative_money_is_a_number_in_csv() -> None:
    frame = exported([{"reported_cost_usd": Decimal("-0.5")}])
    row = next(csv.DictReader(io.StringIO(written(write_csv, frame).decode())))
    assert row["reported_cost_usd"] == "-0.5"


def test_json_lines_show_only_what_can_be_seen_and_keep_the_values() -> None:
    name = "日\u202e\x9b\x7f"
    text = written(write_jsonl, exported([{"model": name}])).decode()
    assert text.replace("\n", "").isprintable()
    assert json.loads(text)["model"] == name


def test_json_lines_keep_null_and_money_exact() -> None:
    first, second = map(json.loads, written(write_jsonl, exported()).decode().splitlines())
    assert list(first) == list(COLUMNS)
    assert (first["cost_usd"], second["cost_usd"]) == ("0.125", None)
    assert first["problems"] == ["no-tier", "odd"]
    assert second["uncached_input_tokens"] == 2**40


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_no_rows_make_a_file_with_its_columns(write: Write) -> None:
    data = written(write, exported().clear())
    if write is write_csv:
        assert data.decode() == ",".join(COLUMNS) + "\r\n"
    elif write is write_parquet:
        assert pq.read_schema(io.BytesIO(data)).names == list(COLUMNS)
    else:
        assert data == b""


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_batches_are_written_as_they_come(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "GROUP_ROWS", 4)
    frame = exported()
    held: list[int] = []
    stream = io.BytesIO()

    def batches() -> Iterator[pl.DataFrame]:
        for _ in range(6):
            held.append(stream.tell())
            yield frame

    assert write(batches(), stream, **GIVEN.get(write, {})) == 12
    assert held[4] > held[0]


def test_a_report_is_a_table_with_its_sums() -> None:
    report = summarise(usage_frame(ROWS), Query(by=("model", "day")), files=1)
    (frame,) = tables(report)
    assert frame.columns[:3] == ["model", "day", "calls"]
    assert frame.schema["cost_usd"] == pl.Decimal(38, 15)
    assert frame["cost_usd"].to_list() == [Decimal("0.125"), None]
    assert frame["unknown_output_tokens"].to_list() == [0, 1]
