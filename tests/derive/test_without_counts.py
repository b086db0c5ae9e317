"""What a client's total leaves to compactions: only where nothing else of the session is unknown.

The calls take 10/2000/100 and 12/0/1500 (uncached, read, written) for 300 and 80 tokens, and the
session's total is 27/4000/2050 and 1080: that leaves 5/2000/450 and 700 to the compaction between
them, which had 2410 tokens to shorten.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from tallybook.derive.chain import derive
from tallybook.files.find import walk
from tests.rows_of_files import read_files

SESSION = "aaaaaaaa-0000-4000-8000-000000000001"
MODEL = "claude-opus-5-5"
Line = dict[str, Any]


def line(number: int, **columns: Any) -> Line:
    return {
        "isSidechain": False,
        "uuid": f"a0000000-0000-4000-8000-{number:012d}",
        "timestamp": f"2026-11-03T10:{number:02d}:00.000Z",
        "cwd": "/w/app",
        "sessionId": SESSION,
        "version": "2.1.332",
    } | columns


def said(number: int, uncached: int, read: int, written: int, output: int, **more: Any) -> Line:
    usage = {
        "input_tokens": uncached,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "output_tokens": output,
    }
    message = {
        "id": f"msg_01Response0000000{number:04d}",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": "end_turn",
        "usage": usage,
    }
    return line(number, type="assistant", requestId=f"req_{number}", message=message) | more


def compacted(number: int, tokens: int = 2410) -> Line:
    metadata = {"trigger": "auto", "preTokens": tokens}
    return line(number, type="system", subtype="compact_boundary", compactMetadata=metadata)


def total(uncached: int, read: int, written: int, output: int) -> Line:
    usage = {
        "inputTokens": uncached,
        "cacheReadInputTokens": read,
        "cacheCreationInputTokens": written,
        "outputTokens": output,
    }
    return {
        "type": "cost-state",
        "sessionId": SESSION,
        "startTime": 1796041667038,
        "modelUsage": {MODEL: usage},
    }


FIRST, LAST = said(1, 10, 2000, 100, 300), said(3, 12, 0, 1500, 80)
WHOLE = total(27, 4000, 2050, 1080)


def rows(home: Path, *lines: Line) -> pl.DataFrame:
    file = home / "projects" / "-w-app" / f"{SESSION}.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("".join(f"{json.dumps(each)}\n" for each in lines), "utf-8")
    return derive(read_files(walk([home]).files), None)


def sums(found: pl.DataFrame) -> list[tuple[int, ...]]:
    counts = ("uncached", "cached", "cache_creation")
    names = ["record", *(f"{name}_input_tokens" for name in counts), "output_tokens"]
    return found.filter(kind="sum").select(names).rows()


def is_open(found: pl.DataFrame) -> bool:
    counted = pl.col("duplicate_of").is_null() & pl.col("kind").is_in(["call", "sum"])
    return bool(found.filter(counted).select(pl.col("lower_bound").any()).item())


def test_the_last_compaction_takes_what_the_total_leaves_to_all_of_them(tmp_path: Path) -> None:
    found = rows(tmp_path, FIRST, compacted(2, 1000), LAST, compacted(4, 1400), WHOLE)
    assert sums(found) == [(4, 5, 2000, 450, 700)]
    assert found.filter(record=2).get_column("duplicate_reason").to_list() == ["in-sum"]
    assert not is_open(found)


def test_a_total_that_leaves_less_than_was_shortened_leaves_nothing(tmp_path: Path) -> None:
    found = rows(tmp_path, FIRST, compacted(2, 1100), LAST, compacted(4, 1400), WHOLE)
    assert not sums(found)
    assert is_open(found)


def test_nothing_is_left_where_an_output_is_not_the_last_one(tmp_path: Path) -> None:
    first = said(1, 10, 2000, 100, 3)
    first["message"]["stop_reason"] = None
    found = rows(tmp_path, first, compacted(2), LAST, WHOLE)
    assert not sums(found)


def test_nothing_is_left_to_a_session_that_begins_with_anothers_calls(tmp_path: Path) -> None:
    copied = FIRST | {"forkedFrom": {"sessionId": "b", "messageUuid": FIRST["uuid"]}}
    assert not sums(rows(tmp_path, copied, compacted(2), LAST, WHOLE))


def test_nothing_is_left_where_a_router_may_have_logged_the_compaction(tmp_path: Path) -> None:
    routed = {name: value for name, value in LAST.items() if name != "requestId"}
    assert not sums(rows(tmp_path, FIRST, compacted(2), routed, WHOLE))


def test_a_total_of_another_model_leaves_nothing(tmp_path: Path) -> None:
    other = WHOLE | {"modelUsage": {"claude-haiku-4-5": WHOLE["modelUsage"][MODEL]}}
    assert not sums(rows(tmp_path, FIRST, compacted(2), LAST, other))
