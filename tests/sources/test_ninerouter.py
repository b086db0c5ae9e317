"""The 9router reader, behaviour by behaviour, on rows made for it."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tallybook.derive.chain import derive
from tallybook.files.read import read_file
from tallybook.sources import sources
from tallybook.sources.contract import Later
from tallybook.sources.ninerouter import SOURCE
from tallybook.sources.ninerouter import columns as history
from tallybook.sources.ninerouter.builds import Builds
from tallybook.sources.ninerouter.eras import Era, judge, route, take_streams
from tallybook.sources.ninerouter.twins import pair
from tallybook.sources.ninerouter.usage_rows import Numbering, from_document
from tests.built import built
from tests.rows_of_files import read_files
from tests.test_fixtures import CASES, FIXTURES

SCHEMA = """
CREATE TABLE usageHistory (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL,
    provider TEXT, model TEXT, connectionId TEXT, apiKey TEXT, endpoint TEXT, cost REAL,
    tokens TEXT);
CREATE TABLE requestDetails (id TEXT PRIMARY KEY, timestamp TEXT NOT NULL, provider TEXT,
    model TEXT, connectionId TEXT, status TEXT, data TEXT NOT NULL);
"""
Row = dict[str, Any]


def usage(prompt: int, completion: int, *, ms: int = 0, **more: Any) -> Row:
    """A row of usage.json, stripped unless told otherwise, `ms` after nine o'clock."""
    tokens = {"prompt_tokens": prompt, "completion_tokens": completion, **more.pop("tokens", {})}
    return {
        "provider": "openai",
        "model": "gpt-5",
        "tokens": tokens,
        "timestamp": f"2026-04-20T09:{ms // 60_000:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}Z",
        "connectionId": "c",
        "endpoint": "/v1/chat/completions",
        **more,
    }


def twin(prompt: int, completion: int, read: int = 0, *, ms: int = 0, **more: Any) -> Row:
    tokens = {
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": 0,
        "reasoning_tokens": 0,
    }
    row = usage(prompt, completion, ms=ms, tokens=tokens, **more)
    del row["endpoint"]
    return row


def paired(*rows: Row) -> list[tuple[int, int]]:
    """The records that were found to be of one stream, by their places."""
    names = Numbering()
    entries = [from_document(record, row, names) for record, row in enumerate(rows, 1)]
    history._take_times(entries)
    pair(entries)
    calls: dict[str | None, list[int]] = {}
    for entry in entries:
        calls.setdefault(entry.pair, []).append(entry.record)
    return sorted((one, two) for name, (one, *rest) in calls.items() if name for two in rest)


def test_records_of_a_stream_need_not_stand_side_by_side() -> None:
    rows = [twin(10, 5, ms=4), twin(20, 5, ms=5), usage(20, 5, ms=3), usage(10, 5, ms=2)]
    assert paired(*rows) == [(1, 4), (2, 3)]


def test_the_nearest_is_taken_first() -> None:
    assert paired(usage(10, 5, ms=0), usage(10, 5, ms=400), twin(10, 5, ms=420)) == [(2, 3)]


@pytest.mark.parametrize(
    "other",
    [
        {"ms": 1200},
        {"model": "gpt-5-mini"},
        {"connectionId": "d"},
        {"apiKey": "sk-1"},
        {"timestamp": "whenever"},
    ],
)
def test_records_that_differ_are_two_calls(other: Row) -> None:
    assert paired(twin(10, 5), usage(10, 5, **other)) == []


def test_counts_that_differ_are_two_calls_but_for_a_prompt_that_was_lost() -> None:
    assert paired(twin(10, 5), usage(11, 5)) == []
    assert paired(twin(10, 5), usage(10, 6)) == []
    assert paired(twin(10, 5), usage(0, 5)) == [(1, 2)]


def test_a_record_is_part_of_one_stream_only() -> None:
    assert paired(twin(10, 5, ms=1), twin(10, 5, ms=2), usage(10, 5)) == [(2, 3)]


def read_rows(path: Path) -> list[Row]:
    rows: list[Row] = read_file(path).to_pylist()
    return sorted(rows, key=lambda row: (row["record"], row["part"] or ""))


def database(path: Path, rows: list[Row], details: list[tuple[Any, ...]] | None = None) -> Path:
    with closing(sqlite3.connect(path)) as made:
        made.executescript(SCHEMA)
        made.executemany(
            "INSERT INTO usageHistory VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(row.get(name) for name in ("timestamp", "provider", "model")),
                    *(row.get(name) for name in ("connectionId", "apiKey", "endpoint", "cost")),
                    json.dumps(row["tokens"]),
                )
                for row in rows
            ],
        )
        made.executemany("INSERT INTO requestDetails VALUES (?, ?, ?, ?, ?, ?, ?)", details or [])
        made.commit()
    return path


def test_pairs_are_found_across_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    for number in range(40):
        rows += [twin(100, number, 50, ms=10 * number + 1), usage(100, number, ms=10 * number)]
    path = database(tmp_path / "data.sqlite", rows)
    whole = read_rows(path)
    for size in (1, 3, 7):
        monkeypatch.setattr("tallybook.sources.sqlite_rows.BATCH_ROWS", size)
        monkeypatch.setattr("tallybook.sources.sqlite_rows.batches.__defaults__", (size,))
        assert read_rows(path) == whole
    assert len({row["identity"] for row in whole}) == 40


def test_every_row_of_a_database_is_a_row(tmp_path: Path) -> None:
    rows = [usage(number, 1, ms=number) for number in range(12_000)]
    got = read_rows(database(tmp_path / "data.sqlite", rows))
    assert [row["record"] for row in got] == list(range(1, 12_001))


def test_names_are_those_of_the_same_rows_in_the_old_document(tmp_path: Path) -> None:
    rows = [usage(7, 1), usage(7, 1), twin(9, 2, ms=5), usage(9, 2, ms=5), usage(1, 1, ms=9000)]
    document = tmp_path / "usage.json"
    document.write_text(json.dumps({"history": rows, "totalRequestsLifetime": 5}))
    one, other = read_rows(document), read_rows(database(tmp_path / "data.sqlite", rows))
    for column in ("identity", "record_id", "timestamp", "reported_input_tokens", "project"):
        assert [row[column] for row in one] == [row[column] for row in other]
    assert len({row["record_id"] for row in one}) == 5
    assert len({row["identity"] for row in one}) == 4


@pytest.mark.parametrize("left", [0, 1])
def test_a_stream_counts_once_where_a_copy_has_lost_one_of_its_records(
    tmp_path: Path, left: int
) -> None:
    both = [twin(9, 2, 50, ms=1), usage(9, 2)]
    files = []
    for name, rows in {"whole": both, "cut": [both[left]]}.items():
        path = tmp_path / name / "usage.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"history": rows, "totalRequestsLifetime": 5}))
        files.append((path, path.stat().st_size))
    counted = derive(read_files(files), None).filter(pl.col("duplicate_of").is_null())
    assert counted.select("path", "cached_input_tokens").rows() == [(str(files[0][0]), 50)]


def test_secrets_are_nowhere_in_the_rows() -> None:
    secrets = re.compile(r"sk-[a-z0-9]{4}")
    for case in CASES:
        if case.parent == FIXTURES / "9router":
            for path in built(case).rglob("*"):
                if path.suffix in (".json", ".sqlite", ".txt") and path.is_file():
                    assert not secrets.search(str(read_file(path).to_pylist())), path


def test_texts_of_requests_are_nowhere_in_the_rows() -> None:
    for case in CASES:
        if case.parent == FIXTURES / "9router":
            for path in built(case).rglob("*etails*"):
                if path.is_file():
                    assert "here is the plan" not in str(read_file(path).to_pylist())


def test_the_module_bears_the_name_that_a_module_can_bear() -> None:
    assert sources()["9router"] is SOURCE
    assert isinstance(SOURCE.query, Later)
    assert SOURCE.query.module.startswith("tallybook.sources.ninerouter")


@pytest.mark.parametrize(
    ("provider", "endpoint", "streamed", "reading"),
    [
        ("claude", "/v1/messages", None, "exclusive"),
        ("claude", "/v1/chat/completions", True, "inclusive"),
        ("claude", "/v1/chat/completions", False, "exclusive"),
        ("claude", "/v1/chat/completions", None, None),
        ("anthropic-compatible-1", "/v1/messages?beta=true", None, "exclusive"),
        ("claude", None, None, None),
        ("codex", "/v1/messages", True, "exclusive"),
        ("codex", "/v1/messages", False, "inclusive"),
        ("codex", "/v1/messages", None, None),
        ("codex", "/codex/v1/responses", None, "inclusive"),
        ("glm", "/v1/chat/completions", True, "inclusive"),
        ("glm", "/v1/chat/completions", False, None),
        ("glm", "/v1/messages", True, "exclusive"),
        ("glm", "/v1/messages", None, None),
        ("gemini", "/v1beta/models/x:generateContent", None, "inclusive"),
        (None, None, None, "inclusive"),
    ],
)
def test_the_route_tells_whether_the_prompt_holds_the_cache(
    provider: str | None, endpoint: str | None, streamed: bool | None, reading: str | None
) -> None:
    assert route(provider, endpoint, streamed).reading == reading


def verdict(row: Row, era: Era | None = None) -> tuple[str, list[str] | None]:
    entry = from_document(5, row, Numbering())
    take_streams([entry], era or Era())
    said = judge(entry, era or Era())
    return said.dialect, said.problems


def canonical(prompt: int, read: int, **more: Any) -> Row:
    tokens = {"cached_tokens": read, "cache_creation_input_tokens": 0, "total_tokens": prompt + 50}
    return usage(prompt, 50, tokens=tokens, **more)


NODE = "openai-compatible-responses-1"
OCTOBER = "2026-10-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("provider", "endpoint", "build"),
    [
        # Translated streams; a whole answer of Responses to a client of chat leaves no row.
        (NODE, "/v1/chat/completions", (0, 5, 59)),
        ("gemini", "/v1/chat/completions", (0, 5, 59)),
        # What is no stream, and the row does not say whether it was one.
        (NODE, "/v1/responses", (0, 5, 69)),
        ("openai", "/v1/messages", (0, 5, 69)),
        ("glm", "/v1/messages", (0, 5, 69)),
        # Whole answers that were put together of a stream never have the count.
        ("codex", "/v1/responses", (9,)),
        ("codex", "/v1/messages", (9,)),
        # Found by every build.
        ("openai", "/v1/chat/completions", (0,)),
        ("claude", "/v1/messages", (0,)),
    ],
)
def test_a_zero_is_one_where_the_build_looked_for_the_count(
    provider: str, endpoint: str, build: tuple[int, ...]
) -> None:
    """Which build wrote a row is not known of the build that had the file last."""
    row = canonical(900, 0, provider=provider, endpoint=endpoint, timestamp=OCTOBER)
    since = "2026-09-30T00:00:00.000Z"
    for known in ((0, 5, 58), (0, 5, 59), (0, 5, 69), (0, 5, 91)):
        problems = None if known >= build else ["cache-not-read"]
        assert verdict(row, Era(builds=Builds(since=((since, known),))))[1] == problems
        early = row | {"timestamp": "2026-09-29T00:00:00.000Z"}
        problems = None if build == (0,) else ["cache-not-read"]
        assert verdict(early, Era(builds=Builds(since=((since, known),))))[1] == problems
        assert verdict(row, Era(builds=Builds(last=known)))[1] == problems


def test_a_count_that_only_newer_builds_find_tells_of_the_rows_after_it() -> None:
    rows = [
        canonical(900, 0, provider=NODE, ms=1),
        canonical(900, 500, provider=NODE, ms=2),
        canonical(900, 0, provider=NODE, ms=3),
    ]
    for last, problems in ((None, None), ((0, 5, 69), None), ((0, 5, 40), ["cache-not-read"])):
        era = Era(builds=Builds(last=last))
        stamped = [row | {"timestamp": row["timestamp"].replace("04-20", "10-20")} for row in rows]
        assert [verdict(row, era)[1] for row in stamped] == [["cache-not-read"], None, problems]
    era = Era()
    assert [verdict(row, era)[1] for row in rows] == [["cache-not-read"], None, ["cache-not-read"]]


def test_a_cache_that_may_have_been_added_twice_is_said() -> None:
    assert verdict(canonical(1000, 500, provider="claude"))[1] == ["cache-perhaps-twice"]
    assert verdict(canonical(999, 500, provider="claude"))[1] is None
    assert verdict(canonical(1000, 500, provider="claude", endpoint="/v1/messages"))[1] is None
    assert verdict(canonical(1000, 500, provider="openai"))[1] is None


def test_a_row_without_twin_was_no_stream_among_streams_with_twins() -> None:
    row = usage(44, 9, provider="claude")
    assert verdict(row, Era(first_twin=1, last_twin=9)) == ("anthropic", None)
    for era in (Era(), Era(first_twin=6, last_twin=9), Era(first_twin=1, last_twin=4)):
        assert verdict(row, era) == ("openai", ["ambiguous-dialect"])


def detail(number: int, *, streamed: bool, size: int, **more: Any) -> tuple[Any, ...]:
    text = "x" * size
    record = {
        "latency": {"total": 5},
        "tokens": {"prompt_tokens": 900, "completion_tokens": 20, "cached_tokens": 512},
        "request": {"messages": [{"content": text}]},
        "providerResponse": text if streamed else {"usage": {"prompt_tokens": 900}, "x": text},
        "response": {"type": "streaming"} if streamed else {"finish_reason": "stop"},
        **more,
    }
    moment = "2026-09-01T09:00:00.000Z"
    name = f"178825{number:07d}-abcdefghi" if streamed else f"{moment}-abcde{number}-gpt-5"
    return (name, moment, "openai", "gpt-5", "c", "success", json.dumps(record))


@pytest.mark.parametrize("size", [10, 200_000])
def test_long_details_say_the_same_as_short_ones(tmp_path: Path, size: int) -> None:
    details = [detail(1, streamed=True, size=size), detail(2, streamed=False, size=size)]
    rows = read_rows(database(tmp_path / "data.sqlite", [], details))
    assert [(row["record"], row["part"]) for row in rows] == [
        (1, "tokens"),
        (2, "providerResponse"),
        (2, "tokens"),
    ]
    assert [row["reported_cached_tokens"] for row in rows if row["part"] == "tokens"] == [512, 512]
    assert [row["problems"] for row in rows] == [None, None, None]


def test_a_damaged_page_costs_its_rows_and_is_said(tmp_path: Path) -> None:
    rows = [usage(number, 1, ms=number) for number in range(3000)]
    path = database(tmp_path / "data.sqlite", rows)
    with path.open("r+b") as file:
        file.seek(4096 * 40)
        file.write(b"\x00" * 4096)
    got = read_rows(path)
    calls = [row["record"] for row in got if row["kind"] == "call"]
    said = [row for row in got if row["kind"] == "problem"]
    assert 2900 < len(calls) < 3000
    assert [(row["problems"], row["record"]) for row in said] == [
        (["truncated"], min(set(range(1, 3001)) - set(calls)))
    ]


def test_a_database_cut_short_says_that_pages_are_missing(tmp_path: Path) -> None:
    path = database(tmp_path / "data.sqlite", [usage(n, 1, ms=n) for n in range(3000)])
    os.truncate(path, path.stat().st_size // 2)
    got = read_rows(path)
    assert sum(row["kind"] == "call" for row in got) > 1000
    whole = [row for row in got if row["record"] == 0]
    assert [row["problems"] for row in whole] == [["truncated"]]
    assert "of its" in whole[0]["detail"]


def test_a_detail_on_a_damaged_page_costs_itself_only(tmp_path: Path) -> None:
    details = [detail(n, streamed=False, size=30_000) for n in range(9)]
    path = database(tmp_path / "data.sqlite", [], details)
    content = path.read_bytes()
    place = content.index(b"abcde4") // 4096 + 3
    with path.open("r+b") as file:
        file.seek(place * 4096)
        file.write(b"\xff" * 4096)
    got = read_rows(path)
    assert sum(row["part"] == "tokens" for row in got) >= 8
    assert {row["source"] for row in got} == {"9router"}
