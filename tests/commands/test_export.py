"""What an export writes: types that others expect, Excel's mark, a folder of months."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tallybook.commands import app
from tallybook.pricing import rates

# Half an hour before November in UTC, and half an hour into it in Berlin.
LATE = "2026-10-31T23:30:00Z"
CALLS = ((LATE, 1_000), ("2026-11-05T08:10:00Z", 2_000), ("2026-09-02T08:00:00Z", 3_000))


def a_call(time: str, output: int) -> dict[str, Any]:
    """A line of Claude Code."""
    usage = {"input_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    message = {
        "id": f"msg_{time}",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "stop_reason": "end_turn",
        "content": [],
        "usage": {**usage, "output_tokens": output},
    }
    return {
        "type": "assistant",
        "uuid": time,
        "sessionId": "7b9a26a8-7c5d-4f0e-9d5b-52b1a5f6f3a1",
        "cwd": "/work",
        "timestamp": time,
        "version": "2.1.0",
        "requestId": f"req_{time}",
        "message": message,
    }


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    write(folder, *CALLS)
    return folder


def write(folder: Path, *calls: tuple[str, int]) -> None:
    lines = (json.dumps(a_call(*call)) for call in calls)
    (folder / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))


def export(*arguments: str | Path, zone: str = "UTC") -> tuple[int, str]:
    asked = ["export", *map(str, arguments), "--no-ledger", "--timezone", zone]
    found = CliRunner().invoke(app, asked)
    return found.exit_code, found.stderr


def lake(folder: Path) -> dict[str | None, list[int]]:
    """The outputs by month, as another program reads the folder."""
    found = dict[str | None, list[int]]()
    with duckdb.connect() as connection:
        rows = connection.read_parquet(f"{folder}/*/*.parquet", hive_partitioning=True)
        for month, output in rows.project("month, output_tokens").fetchall():
            found[month] = sorted([*found.get(month, []), output])
    return found


def test_money_is_exact_unless_floats_are_asked_for(logs: Path, tmp_path: Path) -> None:
    for money, kind in (("decimal", pa.decimal128(38, 15)), ("float", pa.float64())):
        file = tmp_path / f"{money}.parquet"
        assert export(file, logs, "--money", money)[0] == 0
        schema = pq.read_schema(file)
        assert schema.field("cost_usd").type == kind
        assert schema.metadata[b"money"] == money.encode()


def test_lines_of_json_have_numbers_where_floats_are_asked_for(logs: Path, tmp_path: Path) -> None:
    found = []
    for money in ("decimal", "float"):
        file = tmp_path / f"{money}.jsonl"
        assert export(file, logs, "--money", money)[0] == 0
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        found.append(sorted((row["cost_usd"] for row in rows), key=float))
    assert found == [["0.015", "0.03", "0.045"], [0.015, 0.03, 0.045]]


def test_the_digest_of_the_prices_stands_in_every_file(logs: Path, tmp_path: Path) -> None:
    digests: set[str] = set()
    for name, by in (
        ("c.csv", ()),
        ("c.jsonl", ()),
        ("c.parquet", ()),
        ("d.parquet", ("--by", "day")),
    ):
        file = tmp_path / name
        assert export(file, logs, *by)[0] == 0
        if file.suffix == ".csv":
            with file.open() as stream:
                digests.update(row["price_digest"] for row in csv.DictReader(stream))
        elif file.suffix == ".jsonl":
            lines = file.read_text().splitlines()
            digests.update(json.loads(line)["price_digest"] for line in lines)
        else:
            digests.update(pl.read_parquet(file)["price_digest"])
            digests.add(pq.read_schema(file).metadata[b"price_digest"].decode())
    assert export(f"{tmp_path}/lake/", logs)[0] == 0
    for file in (tmp_path / "lake").rglob("*.parquet"):
        digests.add(pq.read_schema(file).metadata[b"price_digest"].decode())
    assert digests == {rates.load(None, None).digest}


def test_a_csv_file_for_excel_begins_with_its_mark(logs: Path, tmp_path: Path) -> None:
    plain, marked = tmp_path / "plain.csv", tmp_path / "marked.csv"
    assert export(plain, logs)[0] == export(marked, logs, "--bom")[0] == 0
    assert marked.read_bytes() == b"\xef\xbb\xbf" + plain.read_bytes()
    code, said = export(tmp_path / "calls.parquet", logs, "--bom")
    assert (code, said.splitlines()[0]) == (2, "error: --bom is for .csv")


def test_days_and_hours_are_times_in_parquet_and_text_elsewhere(logs: Path, tmp_path: Path) -> None:
    for name in ("days.parquet", "days.csv"):
        assert (
            export(tmp_path / name, logs, "--by", "day,hour,month,thread", zone="Europe/Berlin")[0]
            == 0
        )
    rows = pl.read_parquet(tmp_path / "days.parquet").sort("hour")
    assert rows["day"].to_list() == [date(2026, 9, 2), date(2026, 11, 1), date(2026, 11, 5)]
    assert rows["first_day"].to_list() == rows["day"].to_list()
    assert [str(hour) for hour in rows["hour"]] == [
        "2026-09-02 10:00:00", "2026-11-01 00:00:00", "2026-11-05 09:00:00",
    ]  # fmt: skip
    assert rows["month"].to_list() == ["2026-09", "2026-11", "2026-11"]
    with (tmp_path / "days.csv").open() as file:
        texts = sorted((row["day"], row["hour"]) for row in csv.DictReader(file))
    assert texts[1] == ("2026-11-01", "2026-11-01T00:00")


def test_a_folder_has_a_month_each_of_the_zone_asked_for(logs: Path, tmp_path: Path) -> None:
    code, said = export(f"{tmp_path}/utc/", logs)
    assert (code, " ".join(said.split()[:7])) == (0, "3 rows of 3 months written to")
    assert lake(tmp_path / "utc") == {"2026-09": [3000], "2026-10": [1000], "2026-11": [2000]}
    assert export(f"{tmp_path}/berlin/", logs, zone="Europe/Berlin")[0] == 0
    assert lake(tmp_path / "berlin") == {"2026-09": [3000], "2026-11": [1000, 2000]}


def test_a_call_without_a_time_is_in_the_month_that_lakes_take_for_null(tmp_path: Path) -> None:
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-5", "choices": [],
              "usage": {"prompt_tokens": 1, "completion_tokens": 7, "total_tokens": 8}}  # fmt: skip
    (tmp_path / "answers.jsonl").write_text(f"{json.dumps(answer)}\n")
    assert export(f"{tmp_path}/lake/", tmp_path / "answers.jsonl")[0] == 0
    assert lake(tmp_path / "lake") == {None: [7]}


def test_a_month_that_is_read_again_takes_its_place_and_the_others_stay(
    logs: Path, tmp_path: Path
) -> None:
    target = tmp_path / "lake"
    assert export(f"{target}/", logs)[0] == 0
    before = {file: file.read_bytes() for file in target.rglob("*.parquet")}
    assert export(target, logs)[0] == 0
    assert {file: file.read_bytes() for file in target.rglob("*") if file.is_file()} == before
    write(logs, ("2026-11-05T08:10:00Z", 5_000))
    code, said = export(f"{target}/", logs, "--since", "2026-11-01")
    assert (code, " ".join(said.split()[:7])) == (0, "1 row of 1 month written to")
    assert lake(target) == {"2026-09": [3000], "2026-10": [1000], "2026-11": [5000]}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            ["--since", "2026-11-02"],
            "--since cuts a month, and a folder is written by whole months",
        ),
        (
            ["--until", "2026-11-02"],
            "--until cuts a month, and a folder is written by whole months",
        ),
        (["--by", "day"], "a folder takes one row a call, and --by asks for others"),
        (["--bom"], "--bom is for .csv"),
    ],
)
def test_what_a_folder_cannot_be_is_wrong_usage(
    asked: list[str], words: str, logs: Path, tmp_path: Path
) -> None:
    code, said = export(f"{tmp_path}/lake/", logs, *asked)
    assert (code, said.splitlines()[0]) == (2, f"error: {words}")
    assert not (tmp_path / "lake").exists()


def test_a_month_that_is_cut_is_told_with_the_day_that_cuts_none(
    logs: Path, tmp_path: Path
) -> None:
    target = f"{tmp_path}/lake/"
    assert "--since 2026-11-01" in export(target, logs, "--since", "2026-11-30")[1]
    assert "--until 2026-10-31" in export(target, logs, "--until", "2026-11-02")[1]
    assert export(target, logs, "--since", "2026-09-01", "--until", "2026-10-31")[0] == 0
    assert sorted(map(str, lake(tmp_path / "lake"))) == ["2026-09", "2026-10"]


def test_months_of_another_question_are_not_written_over(logs: Path, tmp_path: Path) -> None:
    target = tmp_path / "lake"
    assert export(f"{target}/", logs)[0] == 0
    before = lake(target)
    for more, zone in (
        (["--model", "gpt*"], "UTC"), (["--money", "float"], "UTC"), ([], "Europe/Berlin"),
    ):  # fmt: skip
        code, said = export(target, logs, *more, zone=zone)
        assert code == 2
        assert "holds months of another question" in said
    assert lake(target) == before


def test_a_file_of_another_program_is_not_written_over(logs: Path, tmp_path: Path) -> None:
    month = tmp_path / "lake" / "month=2026-11"
    month.mkdir(parents=True)
    pl.DataFrame({"a": [1]}).write_parquet(month / "calls.parquet")
    code, said = export(tmp_path / "lake", logs)
    assert code == 2
    assert "is not of this command" in said
    assert [file.name for file in (tmp_path / "lake").iterdir()] == ["month=2026-11"]


def test_times_of_calls_are_of_utc(logs: Path, tmp_path: Path) -> None:
    assert export(f"{tmp_path}/lake/", logs, zone="Europe/Berlin")[0] == 0
    rows = pl.read_parquet(tmp_path / "lake" / "month=2026-11" / "calls.parquet")
    assert datetime(2026, 10, 31, 23, 30, tzinfo=UTC) in rows["timestamp"].to_list()
