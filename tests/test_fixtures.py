"""Every fixture against its hand-made rows, and what must hold for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from tallybook.derive import chain
from tallybook.derive.chain import derive
from tallybook.files.blocks import blocks, open_log
from tallybook.files.file_names import logical_name
from tallybook.files.find import walk
from tallybook.files.read import read_file
from tallybook.files.sqlite import is_database
from tallybook.schema import TOOL_COUNTS
from tallybook.sources import claims, sources
from tallybook.sources.lines import Head
from tests.built import built
from tests.rows_of_files import read_files

FIXTURES = Path(__file__).parent.parent / "fixtures"
CASES = sorted(path.parent for path in FIXTURES.glob("*/*/expected.jsonl"))
COUNTS = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_1h_input_tokens",
    "unsplit_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
)
ALWAYS = (
    "model",
    "thread_id",
    "calls",
    *COUNTS,
    "service_tier",
    "speed",
    "inference_geo",
    "web_search_requests",
    *TOOL_COUNTS,
    "caller",
)
WHEN_GIVEN = ("root_thread_id", "project", "provider", "lower_bound", "call_id", "duplicate_of")
COUNTED = ("call", "sum", "thread")
Row = dict[str, Any]


def name(case: Path) -> str:
    return f"{case.parent.name}/{case.name}"


@cache
def found(case: Path) -> list[tuple[Path, int]]:
    return walk([built(case)]).files


@cache
def read(case: Path) -> pa.Table:
    return read_files(found(case))


def has_several_files(case: Path) -> bool:
    return sum(path.is_file() for path in (case / "input").rglob("*")) > 1


@cache
def usage(case: Path) -> pl.DataFrame:
    return derive(read(case), None)


def expected(case: Path) -> list[Row]:
    lines = (case / "expected.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    return [with_defaults(row) for row in rows]


def problems(codes: list[str] | None, duplicate: str | None) -> list[str]:
    """What nothing is known of is said of rows that count; of a duplicate it does not matter."""
    missing = {"no-model", "no-time", "no-counts"} if duplicate else set()
    return sorted(set(codes or []) - missing)


def with_defaults(row: Row) -> Row:
    kind = row.setdefault("kind", "call")
    row.setdefault("part", None)
    row.setdefault("duplicate", None)
    row["problems"] = problems(row.get("problems"), row["duplicate"])
    if kind in COUNTED and row["duplicate"] is None:
        row.setdefault("caller", "lead")
        row.setdefault("calls", 1 if kind == "call" else None)
        for column in (*ALWAYS, "reported_cost_usd"):
            row.setdefault(column, None)
    return row


def actual(case: Path) -> Iterator[Row]:
    for row in usage(case).iter_rows(named=True):
        row["path"] = Path(row["path"]).relative_to(built(case)).as_posix()
        row["duplicate"] = row["duplicate_reason"]
        row["problems"] = problems(row["problems"], row["duplicate_reason"])
        row["timestamp"] = row["timestamp"] and row["timestamp"].isoformat()
        row.update(zip(TOOL_COUNTS, row["tool_counts"] or [None] * len(TOOL_COUNTS), strict=True))
        row["origins"] = {bucket: row[f"{bucket}_origin"] for bucket in COUNTS}
        yield row


def comparable(row: Row, want: Row) -> Row:
    """The part of a row that its expected line speaks of, in the expected line's terms."""
    got = {column: row.get(column) for column in want}
    if "unsplit_input_tokens" in want and want["unsplit_input_tokens"] is None:
        got["unsplit_input_tokens"] = got["unsplit_input_tokens"] or None
    if "origins" in want:
        got["origins"] = {bucket: row["origins"][bucket] for bucket in want["origins"]}
    if want.get("reported_cost_usd") is not None:
        want["reported_cost_usd"] = Decimal(want["reported_cost_usd"])
        got["reported_cost_usd"] = row["reported_cost_usd"] and Decimal(row["reported_cost_usd"])
    if want.get("timestamp"):
        want["timestamp"] = (
            pl.Series([want["timestamp"]])
            .str.to_datetime(time_unit="us", time_zone="UTC")[0]
            .isoformat()
        )
    return got


@pytest.mark.parametrize("case", CASES, ids=name)
def test_rows_are_the_expected_ones(case: Path) -> None:
    want = expected(case)
    rows = list(actual(case))
    place = [(row["path"], row["record"], row["part"]) for row in rows]
    assert place == [(row["path"], row["record"], row["part"]) for row in want]
    got = [comparable(row, line) for row, line in zip(rows, want, strict=True)]
    assert got == want


def test_every_case_has_expected_rows(request: pytest.FixtureRequest) -> None:
    """With `--accept` what is missing is written; it is a claim about the truth, so read it."""
    missing = [path.parent for path in FIXTURES.glob("*/*/input") if path.parent not in CASES]
    for case in missing if request.config.getoption("--accept") else ():
        rows = (json.dumps(accepted(row)) + "\n" for row in actual(case))
        (case / "expected.jsonl").write_text("".join(rows), "utf-8")
    assert not missing, "read what --accept wrote, row by row, before it is committed"


def test_what_is_accepted_is_what_is_expected() -> None:
    """On a case of every source, problems, duplicates and what is unknown among them."""
    for case in CASES[::9]:
        rows = list(actual(case))
        want = [with_defaults(json.loads(json.dumps(accepted(row)))) for row in rows]
        assert [comparable(*pair) for pair in zip(rows, want, strict=True)] == want


def accepted(row: Row) -> Row:
    """A row as a line of an expected file has it: what it states and `with_defaults` does not."""
    line = {name: row[name] for name in ("path", "record", "part", "kind", "duplicate")}
    line |= {"problems": row["problems"]}
    if row["kind"] in COUNTED and row["duplicate"] is None:
        line |= {name: row[name] for name in (*ALWAYS, *WHEN_GIVEN[:3], "timestamp")}
        cost = row["reported_cost_usd"]
        line["reported_cost_usd"] = None if cost is None else str(cost)
        line["origins"] = {bucket: origin for bucket, origin in row["origins"].items() if origin}
    known = {"kind": row["kind"], "duplicate": row["duplicate"]}
    defaults = with_defaults({**known}) | {"kind": "call", "duplicate": None}
    always = {"path", "record"}
    return {n: value for n, value in line.items() if n in always or value != defaults.get(n)}


SEVERAL = [case for case in CASES if has_several_files(case)]


@pytest.mark.parametrize("case", SEVERAL, ids=name)
def test_reading_order_changes_nothing(case: Path) -> None:
    """What is derived is of rows in their order, and these are the same whatever was read first."""
    turned = read_files(found(case)[::-1])
    ordered = [chain._in_order(pl.DataFrame(rows)) for rows in (turned, read(case))]
    assert ordered[0].equals(ordered[1], null_equal=True)
    if case in SEVERAL[::9]:
        assert derive(turned, None).equals(usage(case), null_equal=True)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_exactly_one_source_claims_each_file(case: Path) -> None:
    for path, _ in found(case):
        if case.name.startswith(("broken", "empty")) or "unclaimed" in case.name:
            continue
        if is_database(path):
            assert set(read_file(path)["source"].to_pylist()) <= {case.parent.name}, path
            continue
        with open_log(path) as read:
            head = b"".join(blocks(read)) if "truncated" not in case.name else b""
        if head.strip():
            claimed = claims(Head(head), logical_name(path).as_posix())
            assert claimed == [case.parent.name], path


def test_every_source_has_fixtures_one_broken_and_one_empty() -> None:
    for source in sources():
        cases = {case.name.split("-")[0] for case in CASES if case.parent.name == source}
        assert {"broken", "empty"} <= cases, source
        assert len(cases) > 2, source
