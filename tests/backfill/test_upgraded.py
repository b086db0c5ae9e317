"""Routers that were upgraded: what their files say together, and what backfill makes of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import zlib
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tallybook.derive.chain import derive
from tallybook.derive.corrections import apply
from tallybook.files.find import walk
from tallybook.pricing.rates import Rates, load
from tests.backfill.database import SCHEMA
from tests.backfill.pairs import propose
from tests.rows_of_files import read_files

INDEX = "CREATE INDEX idx_uh_ts ON usageHistory(timestamp DESC);"
Row = dict[str, Any]
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
NODE = "openai-compatible-responses-3c3c3c3c-3333-4333-8333-333333333333"
_BUCKETS = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "unsplit_input_tokens",
    "output_tokens",
)


def row(stamp: str, provider: str, endpoint: str | None, tokens: Row, **more: Any) -> Row:
    """A usage row as 9router stores it."""
    who = {"provider": provider, "model": "gpt-5", "connectionId": "c", "apiKey": "k"}
    return {"timestamp": stamp, **who, "endpoint": endpoint, "tokens": tokens, **more}


def canonical(prompt: int, completion: int, read: int, written: int = 0) -> Row:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "cached_tokens": read,
        "cache_creation_input_tokens": written,
    }


def twins(stamp: str, provider: str, endpoint: str, *counts: int, **more: Any) -> list[Row]:
    """Both records of a stream; `counts` are prompt, completion, read, written and reasoning."""
    names = ("cache_read_input_tokens", "cache_creation_input_tokens", "reasoning_tokens")
    plain = dict(zip(("prompt_tokens", "completion_tokens"), counts, strict=False))
    whole = plain | dict(zip(names, counts[2:], strict=True))
    return [
        row(stamp, provider, None, whole, **more),
        row(stamp, provider, endpoint, plain, **more),
    ]


def detail(of: Row, tokens: Row, body: Any = "text", **more: Any) -> Row:
    """The detail of a usage row; the answer was streamed where its `body` is a text."""
    stamp, streamed = of["timestamp"], isinstance(body, str)
    return {
        "id": f"1796002178764-{zlib.crc32(json.dumps(of).encode()) % 10**9:09d}"
        if streamed
        else f"{stamp}-abcdef-gpt-5",
        **{name: of[name] for name in ("provider", "model", "connectionId", "timestamp")},
        "status": "success",
        "latency": {"ttft": 4, "total": 7},
        "tokens": tokens,
        "request": {"messages": [], "model": "gpt-5", "stream": streamed},
        "providerRequest": {},
        "providerResponse": body,
        "response": {"content": "x", "thinking": None}
        | ({"type": "streaming"} if streamed else {"finish_reason": "stop"}),
        **more,
    }


def database(
    path: Path, rows: list[Row], details: Sequence[Row] = (), meta: dict[str, str] | None = None
) -> Path:
    """A database with what its `_meta` says of it; without, it has no such table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as made:
        made.executescript((SCHEMA if meta is not None else SCHEMA.partition(";")[2]) + INDEX)
        if meta:
            made.executemany("INSERT INTO _meta VALUES (?, ?)", meta.items())
        names = ("timestamp", "provider", "model", "connectionId", "apiKey", "endpoint")
        made.executemany(
            "INSERT INTO usageHistory VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, 0, 'ok', ?, '{}')",
            [
                (
                    *(each.get(name) for name in names),
                    each["tokens"].get("prompt_tokens", 0),
                    each["tokens"].get("completion_tokens", 0),
                    json.dumps(each["tokens"]),
                )
                for each in rows
            ],
        )
        names = ("id", "timestamp", "provider", "model", "connectionId", "status")
        made.executemany(
            "INSERT INTO requestDetails VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(*(each[name] for name in names), json.dumps(each)) for each in details],
        )
        made.commit()
    return path


def documents(folder: Path, rows: list[Row], details: list[Row]) -> None:
    """The files that the router kept before it had a database, and leaves where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "usage.json").write_text(json.dumps({"history": rows, "dailySummary": {}}))
    (folder / "request-details.json").write_text(json.dumps({"records": details}))


def settled(folder: Path) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], int]:
    """The buckets of each counted call before and after backfill, and how many answers are left."""
    rows = derive(read_files(walk([folder]).files), None)
    found = propose(rows)
    counted = pl.col("kind").is_in(["call", "sum"]) & pl.col("duplicate_of").is_null()
    after = apply(rows, found.corrections)
    before, then = (
        frame.filter(counted).sort("timestamp", "output_tokens").select(_BUCKETS).rows()
        for frame in (rows, after)
    )
    return before, then, found.unused


BACKUP = "schema-0-to-1-0.5.69-20261130-013914"


@pytest.mark.parametrize("left", ["documents", "backup", "both", "all in two folders"])
def test_copies_of_a_row_have_the_answers_of_all_of_them(tmp_path: Path, left: str) -> None:
    """The old documents beside a migrated database, and backups, which hold no details."""
    home = tmp_path / "home"
    rows = twins("2026-05-30T01:29:38.767Z", "glm-node", CHAT, 25239, 2921, 0, 0, 0)
    answer = detail(
        rows[1], {"prompt_tokens": 25239, "completion_tokens": 2921, "cached_tokens": 13209}
    )
    moved = {"migratedAt": "2026-06-01T00:00:00.000Z"}
    database(home / "db/data.sqlite", rows, [answer], {"appVersion": "0.5.69"} | moved)
    if left != "backup":
        documents(home, rows, [answer])
    if left != "documents":
        database(
            home / "db/backups" / BACKUP / "data.sqlite", rows, (), {"appVersion": "0.5.18"} | moved
        )
    if left == "all in two folders":
        shutil.copytree(home, tmp_path / "a copy")
    _, after, unused = settled(tmp_path)
    assert (after, unused) == ([(12030, 13209, None, 0, 2921)], 0)


@pytest.mark.parametrize(
    ("provider", "reasoning", "before"),
    [
        # Usage in a chunk of its own keeps its reasoning: the prompt holds the cache.
        ("chat-node", 32, (12030, 13209, None, 0, 2921)),
        ("glm", 32, (12030, 13209, None, 0, 2921)),
        # It may, so nothing less was used, and the detail has the last word.
        ("chat-node", 0, (12030, 13209, None, 0, 2921)),
        # These state it in the chunk that ends the answer, from which the cache was taken out.
        ("deepseek", 0, (25239, 13209, None, 0, 2921)),
        ("codex", 0, (25239, 13209, None, 0, 2921)),
    ],
)
def test_a_stream_made_into_claude_s_tells_by_its_reasoning_what_its_prompt_holds(
    tmp_path: Path, provider: str, reasoning: int, before: tuple[int | None, ...]
) -> None:
    stamp = "2026-05-30T01:29:38.767Z"
    rows = twins(stamp, provider, MESSAGES, 25239, 2921, 13209, 0, reasoning)
    alone = database(tmp_path / "alone/data.sqlite", rows, (), {"appVersion": "0.5.69"})
    assert settled(alone.parent)[0] == [before]
    inside = {"prompt_tokens": 25239, "completion_tokens": 2921, "cached_tokens": 13209}
    beside = {"input_tokens": 25239, "output_tokens": 2921, "cache_read_input_tokens": 13209}
    for uncached, tokens in ((12030, inside), (25239, beside)):
        if uncached == before[0] or not reasoning:
            folder = tmp_path / str(uncached)
            database(folder / "data.sqlite", rows, [detail(rows[1], tokens)])
            assert settled(folder)[1:] == ([(uncached, 13209, None, 0, 2921)], 0)


@pytest.fixture(scope="module")
def rates() -> Rates:
    return load(None, None)


def _bounds(folder: Path, rates: Rates) -> tuple[Any, ...]:
    row = derive(read_files(walk([folder]).files), rates).row(0, named=True)
    return (
        row["problems"],
        row["lower_bound"],
        row["perhaps_uncached_tokens"],
        *(Decimal(row[name]).scaleb(-15) for name in ("cost_low", "cost", "cost_high")),
    )


def test_what_may_be_in_the_prompt_once_more_is_within_the_bounds(
    tmp_path: Path, rates: Rates
) -> None:
    """Claude to a client of another format, and a twin that nothing decides.

    Of 36219 the cache is 12621 read and 907 written. If it is in there twice, 9163 are uncached,
    else 22691. At 3, 15, 0.3 and 3.75 dollars a million both cost 0.0305 more than the other.
    """
    stamp = "2026-09-30T01:28:36.000Z"
    tokens = canonical(36219, 1549, 12621, 907)
    claude = {"model": "claude-sonnet-4-5"}
    for endpoint in (CHAT, RESPONSES):
        folder = tmp_path / endpoint.replace("/", "-")
        database(folder / "data.sqlite", [row(stamp, "claude", endpoint, tokens, **claude)])
        problems, least, more, *costs = _bounds(folder, rates)
        assert (problems, least, more) == (["cache-perhaps-twice"], True, 13528)
        # 9163 * 3 + 12621 * 0.3 + 907 * 3.75 + 1549 * 15; the writes at most at 6, for an hour.
        low = Decimal("0.05791155")
        assert costs[:2] == [low, low]
        assert costs[2] == low + (13528 * 3 + 907 * (6 - Decimal("3.75"))) / 10**6


@pytest.mark.parametrize("backup", [None, {"appVersion": "0.5.18"}, "no _meta"])
def test_an_upgrade_does_not_make_old_zeros_true(tmp_path: Path, backup: Any) -> None:
    """The database names the build that had it last; with or without a backup nothing says more."""
    stamp, whole = "2026-11-30T01:26:45.117Z", {"cached_tokens": 12393}
    rows = [
        row(stamp, "codex", CHAT, canonical(21703, 1017, 0)),
        row(stamp, NODE, RESPONSES, canonical(21534, 1926, 0)),
        row(stamp, "chat-node", MESSAGES, canonical(20000, 2900, 0)),
    ]
    if backup is not None:
        meta = None if backup == "no _meta" else backup
        database(tmp_path / "db/backups" / BACKUP / "data.sqlite", rows, (), meta)
    streamed = {"prompt_tokens": 21703, "completion_tokens": 1017, "prompt_tokens_details": whole}
    body = {
        "id": "resp_1",
        "object": "response",
        "usage": {
            "input_tokens": 23534,
            "input_tokens_details": {"cached_tokens": 12354},
            "output_tokens": 1926,
            "output_tokens_details": {"reasoning_tokens": 36},
        },
    }
    details = [
        detail(rows[0], streamed),
        detail(rows[1], {"prompt_tokens": 21534, "completion_tokens": 1926}, body),
        # It states that nothing was read, and that is taken.
        detail(
            rows[2], {"input_tokens": 20000, "output_tokens": 2900, "cache_read_input_tokens": 0}
        ),
    ]
    database(tmp_path / "db/data.sqlite", rows, details, {"appVersion": "0.5.69"})
    before, after, unused = settled(tmp_path)
    assert before == [
        (None, None, None, 21703, 1017),
        (None, None, None, 21534, 1926),
        (None, None, None, 20000, 2900),
    ]
    assert after == [
        (9310, 12393, None, 0, 1017),
        (9180, 12354, None, 0, 1926),
        (20000, 0, None, 0, 2900),
    ]
    assert unused == 0


_ZERO = (6100, 0, None, 0, 720)  # the 0 is believed
_DOUBTED = (None, None, None, 6100, 720)


@pytest.mark.parametrize(
    ("folder", "meta", "right"),
    [
        # The copy holds all rows that were there when 0.5.69 came: this one came later.
        (BACKUP, {"appVersion": "0.5.18"}, _ZERO),
        # A copy of 0.5.59 shows nothing of 0.5.69, which the row needs.
        ("schema-0-to-1-0.5.59-20261130-013914", {"appVersion": "0.5.18"}, _DOUBTED),
        # The driver that needs no building leaves the folder empty, and its local time to go by.
        (BACKUP, None, _ZERO),
        ("schema-0-to-1-0.5.69-20261130-233914", None, _DOUBTED),
        ("a copy of mine", {"appVersion": "0.5.18"}, _DOUBTED),
        ("schema-0-to-1-0.5.69-20269930-013914", None, _DOUBTED),
    ],
)
def test_a_copy_from_before_an_upgrade_tells_which_build_wrote_what_came_after(
    tmp_path: Path, folder: str, meta: dict[str, str] | None, right: tuple[Any, ...]
) -> None:
    """Whole answers of Responses to its own client: 0.5.69 reads their cached count."""
    before = row("2026-11-29T22:00:00.000Z", NODE, RESPONSES, canonical(5000, 610, 0))
    after = row("2026-11-30T18:00:00.000Z", NODE, RESPONSES, canonical(6100, 720, 0))
    here = tmp_path / "db"
    database(here / "data.sqlite", [before, after], (), {"appVersion": "0.5.69"})
    copy = here / "backups" / folder / "data.sqlite"
    if meta is None:
        copy.parent.mkdir(parents=True)
    else:
        database(copy, [before], (), meta)
    assert settled(tmp_path)[0] == [(None, None, None, 5000, 610), right]
    alone = derive(read_files(walk([here / "data.sqlite"]).files), None)
    assert alone.sort("timestamp").select(_BUCKETS).rows()[1] == right


def test_an_older_build_that_was_taken_up_again_is_known_by_the_next_copy(tmp_path: Path) -> None:
    """0.5.69 came, the copy from before it was put back, and 0.5.18 went on until 0.5.69 again."""
    first, second, third = (
        row(f"2026-11-{day}T10:00:00.000Z", NODE, RESPONSES, canonical(1000 * day, day, 0))
        for day in (27, 28, 29)
    )
    database(tmp_path / "data.sqlite", [first, second, third], (), {"appVersion": "0.5.69"})
    for stamp, rows in (("20261127-110000", [first]), ("20261128-110000", [first, second])):
        folder = tmp_path / "backups" / f"schema-0-to-1-0.5.69-{stamp}"
        database(folder / "data.sqlite", rows, (), {"appVersion": "0.5.18"})
    assert settled(tmp_path)[0] == [
        (None, None, None, 27000, 27),
        (None, None, None, 28000, 28),
        (29000, 0, None, 0, 29),
    ]


def test_what_came_after_the_move_out_of_the_documents_is_of_the_build_that_moved_them(
    tmp_path: Path,
) -> None:
    rows = [
        row("2026-11-29T10:00:00.000Z", NODE, RESPONSES, canonical(5000, 610, 0)),
        row("2026-11-30T10:00:00.000Z", NODE, RESPONSES, canonical(6100, 720, 0)),
    ]
    meta = {"appVersion": "0.5.69", "migratedAt": "2026-11-29T12:00:00.000Z"}
    database(tmp_path / "data.sqlite", rows, (), meta)
    (tmp_path / "backups/migrate-from-json-0.5.69-20261129-120000").mkdir(parents=True)
    assert settled(tmp_path)[0] == [(None, None, None, 5000, 610), _ZERO]


def test_what_no_build_reads_stays_unknown_beside_its_detail(tmp_path: Path) -> None:
    """Codex, whole: the answer was put together of a stream, and the detail is as bare."""
    rows = [row("2026-11-30T01:26:27.490Z", "codex", CHAT, canonical(20416, 324, 0))]
    bare = {"prompt_tokens": 20416, "completion_tokens": 324}
    database(tmp_path / "data.sqlite", rows, [detail(rows[0], bare, {})], {"appVersion": "0.5.69"})
    unknown = [(None, None, None, 20416, 324)]
    assert settled(tmp_path) == (unknown, unknown, 0)


def _said(folder: Path) -> list[tuple[list[str], list[str] | None]]:
    rows = derive(read_files(walk([folder]).files), None)
    counted = rows.filter(pl.col("kind") == "call", pl.col("duplicate_of").is_null())
    return counted.sort("timestamp").select("problems", "assumed").rows()


def test_an_estimate_is_said_of_the_call_and_only_where_it_won(tmp_path: Path) -> None:
    """The router keeps the larger of an estimate and the count, and the estimate's total."""
    stamps = [f"2026-11-30T01:26:{second}.092Z" for second in (20, 21, 22, 40)]
    counts = [(20013, 107, 2035), (2029, 16207, 2034), (2029, 5, 2034), (2029, 5, 2034)]
    rows = [
        row(stamp, "chat-node", CHAT, canonical(prompt, output, 0))
        for stamp, (prompt, output, _) in zip(stamps, counts, strict=True)
    ]
    details = [
        detail(
            each,
            {
                "prompt_tokens": prompt,
                "completion_tokens": output,
                "total_tokens": total,
                "estimated": True,
            },
        )
        for each, (prompt, output, total) in zip(rows, counts, strict=True)
    ]
    # The last one's detail is gone; one at another time says nothing of it.
    database(tmp_path / "data.sqlite", rows, details[:3], {"appVersion": "0.5.69"})
    assert _said(tmp_path) == [
        ([], None),
        (["estimated"], ["input"]),
        (["estimated"], ["input", "output"]),
        ([], None),
    ]


@pytest.mark.parametrize("key", ["cache_creation_tokens", "cache_write_tokens"])
@pytest.mark.parametrize("written", [753, 0])
def test_writes_that_a_detail_states_are_filled(tmp_path: Path, written: int, key: str) -> None:
    """Of a prompt of 20689 there were 12159 read; the row's 0 of what was written is none."""
    rows = [row("2026-11-30T01:26:29.520Z", "chat-node", CHAT, canonical(20689, 471, 12159))]
    inside = {"cached_tokens": 12159, key: written}
    body = {
        "object": "chat.completion",
        "usage": {
            "prompt_tokens": 22689,
            "completion_tokens": 471,
            "total_tokens": 23160,
            "prompt_tokens_details": inside,
        },
    }
    plain = {"prompt_tokens": 20689, "completion_tokens": 471}
    whole = detail(rows[0], plain | {"cached_tokens": 12159}, body)
    streamed = detail(rows[0], plain | {"prompt_tokens_details": inside})
    for number, each in enumerate((whole, streamed)):
        database(tmp_path / str(number) / "data.sqlite", rows, [each])
        right = [(8530 - written, 12159, written, 0, 471)]
        assert settled(tmp_path / str(number)) == ([(8530, 12159, None, 0, 471)], right, 0)


def test_a_zero_of_the_router_s_own_is_no_statement_of_a_detail(tmp_path: Path) -> None:
    """A detail may hold the same object as its row, which has a 0 for what was not found."""
    rows = [row("2026-11-30T01:26:29.520Z", NODE, RESPONSES, canonical(27965, 489, 22637))]
    database(tmp_path / "data.sqlite", rows, [detail(rows[0], rows[0]["tokens"])])
    unknown = [(5328, 22637, None, 0, 489)]
    assert settled(tmp_path) == (unknown, unknown, 0)


def test_a_stream_made_into_claude_s_leaves_unstated_writes_in_its_prompt(tmp_path: Path) -> None:
    """Reads were taken out of 40840, and the 2120 written were not: nothing is missing."""
    rows = [row("2026-11-30T01:26:29.520Z", NODE, MESSAGES, canonical(40840, 1210, 0))]
    tokens = {"input_tokens": 7800, "output_tokens": 1210, "cache_read_input_tokens": 33040}
    database(tmp_path / "data.sqlite", rows, [detail(rows[0], tokens)], {"appVersion": "0.5.18"})
    assert settled(tmp_path)[1:] == ([(7800, 33040, None, 0, 1210)], 0)
    twice = twins("2026-05-30T01:29:38.767Z", "codex", MESSAGES, 7800, 1210, 33040, 0, 0)
    folder = tmp_path / "twins"
    database(folder / "data.sqlite", twice)
    assert settled(folder) == ([(7800, 33040, None, 0, 1210)],) * 2 + (0,)
    there = derive(read_files(walk([folder]).files), None)
    assert not there.filter(pl.col("duplicate_of").is_null())["lower_bound"].any()


def test_a_stripped_answer_of_gemini_has_lost_its_thoughts(tmp_path: Path) -> None:
    """Among streams that were written twice a row without twin is a whole answer."""
    around = [
        twins(f"2026-05-30T01:0{minute}:00.000Z", "gemini", CHAT, 100, 9, 50, 0, 0)
        for minute in (1, 3)
    ]
    stripped = {"prompt_tokens": 6000, "completion_tokens": 220}
    whole = row("2026-05-30T01:02:00.000Z", "gemini", CHAT, stripped)
    database(tmp_path / "data.sqlite", [*around[0], whole, *around[1]])
    assert _said(tmp_path)[1] == ([], ["output"])


def test_a_row_of_zeros_is_filled_from_the_body_of_its_answer(tmp_path: Path) -> None:
    """Builds of February 2026 did not find the counts of Claude's whole answers, and added 2000."""
    zeros = {"prompt_tokens": 0, "completion_tokens": 0}
    rows = [row("2026-02-15T10:00:00.100Z", "claude", MESSAGES, zeros)]
    body = {
        "type": "message",
        "id": "msg_1",
        "object": "chat.completion",
        "usage": {
            "input_tokens": 2015,
            "output_tokens": 40,
            "cache_read_input_tokens": 5000,
            "cache_creation_input_tokens": 0,
        },
    }
    database(tmp_path / "data.sqlite", rows, [detail(rows[0], zeros, body)])
    before, after, unused = settled(tmp_path)
    assert before == [(None, None, None, None, None)]
    assert (after, unused) == ([(15, 5000, 0, 0, 40)], 0)


def test_a_detail_far_from_its_row_is_no_call_of_its_own(tmp_path: Path) -> None:
    rows = [row("2026-11-30T01:26:29.520Z", "chat-node", MESSAGES, canonical(20689, 471, 0))]
    stated = {"prompt_tokens": 20689, "completion_tokens": 471, "cached_tokens": 9000}
    late = rows[0] | {"timestamp": "2026-11-30T01:36:29.520Z"}
    database(tmp_path / "one/data.sqlite", rows, [detail(late, stated)])
    unknown = [(None, None, None, 20689, 471)]
    assert settled(tmp_path / "one")[:2] == (unknown, unknown)
    # One with another prompt is a request that no row states.
    database(tmp_path / "two/data.sqlite", rows, [detail(late, stated | {"prompt_tokens": 20000})])
    lost = (11000, 9000, None, 0, 471)
    assert settled(tmp_path / "two")[0] == [*unknown, lost]


@pytest.mark.parametrize("taken", ["= 2", "= 1", "= 3", "> 0", "< 3"])
def test_a_detail_whose_row_was_deleted_is_no_call_of_its_own(tmp_path: Path, taken: str) -> None:
    """Numbers are given once: where one is missing at the time, the owner took the row out."""
    rows = [
        row(f"2026-11-30T0{hour}:26:29.520Z", "chat-node", CHAT, canonical(500, hour, 100))
        for hour in (1, 2, 3)
    ]
    kept = {"prompt_tokens": 500, "cached_tokens": 100}
    details = [
        detail(each, kept | {"completion_tokens": each["tokens"]["completion_tokens"]})
        for each in rows
    ]
    path = database(tmp_path / "data.sqlite", rows, details, {"appVersion": "0.5.69"})
    with closing(sqlite3.connect(path)) as made:
        made.execute(f"DELETE FROM usageHistory WHERE id {taken}")  # noqa: S608 - words of our own
        left = [number for (number,) in made.execute("SELECT id FROM usageHistory ORDER BY 1")]
        made.commit()
    assert [counts[-1] for counts in settled(tmp_path)[0]] == left


def _stored(folder: Path, how: str, rows: list[Row], details: list[Row]) -> None:
    """Details as one of the eras stores them, beside the usage rows of it."""
    if how == "database":
        database(folder / "data.sqlite", rows, details)
        return
    documents(folder, rows, details)
    if how == "table":
        (folder / "request-details.json").unlink()
        with closing(sqlite3.connect(folder / "request-details.sqlite")) as made:
            made.executescript(
                "CREATE TABLE request_details (id TEXT PRIMARY KEY, provider TEXT, model TEXT,"
                " connection_id TEXT, timestamp INTEGER NOT NULL, status TEXT, latency TEXT,"
                " tokens TEXT, request TEXT, provider_request TEXT, provider_response TEXT,"
                " response TEXT)"
            )
            made.executemany(
                "INSERT INTO request_details VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(each[name] for name in ("id", "provider", "model", "connectionId")),
                        int(datetime.fromisoformat(each["timestamp"]).timestamp() * 1000),
                        each["status"],
                        *(
                            json.dumps(each[name])
                            for name in ("latency", "tokens", "request", "providerRequest")
                        ),
                        *(json.dumps(each[name]) for name in ("providerResponse", "response")),
                    )
                    for each in details
                ],
            )
            made.commit()


@pytest.mark.parametrize("how", ["database", "document", "table"])
def test_details_count_the_same_wherever_they_are_stored(tmp_path: Path, how: str) -> None:
    """One with a row, one far from the row that it must be of, and one of a call without a row."""
    stripped = {"prompt_tokens": 900, "completion_tokens": 20}
    rows = [
        row(f"2026-03-0{day}T10:00:00.100Z", "gemini", CHAT, stripped | {"completion_tokens": day})
        for day in (1, 2, 3)
    ]
    stated = {"prompt_tokens": 900, "completion_tokens": 1, "cached_tokens": 500}
    lost = rows[1] | {"timestamp": "2026-03-02T18:00:00.100Z"}
    far = rows[2] | {"timestamp": "2026-03-03T10:10:00.100Z"}
    details = [
        detail(rows[0], stated),
        detail(lost, stated | {"completion_tokens": 70}),
        detail(far, stated | {"completion_tokens": 3}),
    ]
    _stored(tmp_path, how, rows, details)
    before, after, _ = settled(tmp_path)
    unknown = [(None, None, None, 900, day) for day in (1, 2, 3)]
    found = (400, 500, None, 0, 70)
    assert before == [*unknown[:2], found, unknown[2]]
    assert after == [(400, 500, None, 0, 1), unknown[1], found, unknown[2]]


@pytest.mark.parametrize("left", ["no rows", "later rows", "fewer rows than ever"])
def test_a_detail_is_no_call_where_its_row_may_have_been_lost(tmp_path: Path, left: str) -> None:
    """A document that was begun anew, that its cap has cut, or out of which rows were taken."""
    plain = {"prompt_tokens": 900, "completion_tokens": 20}
    mine = row("2026-03-02T10:00:00.100Z", "gemini", CHAT, plain)
    around = [mine | {"timestamp": f"2026-03-0{day}T10:00:00.100Z"} for day in (1, 3)]
    rows = {"no rows": [], "later rows": around[1:]}.get(left, around)
    documents(tmp_path, rows, [detail(mine, plain | {"completion_tokens": 50})])
    if left == "fewer rows than ever":
        history = json.loads((tmp_path / "usage.json").read_text()) | {"totalRequestsLifetime": 3}
        (tmp_path / "usage.json").write_text(json.dumps(history))
    assert len(settled(tmp_path)[0]) == len(rows)


def test_a_model_that_is_not_known_is_none(tmp_path: Path) -> None:
    who = {"model": "unknown"}
    rows = [row("2026-11-30T01:26:29.520Z", "chat-node", CHAT, canonical(689, 471, 5), **who)]
    database(tmp_path / "data.sqlite", rows, [detail(rows[0], {"prompt_tokens": 689})])
    found = derive(read_files(walk([tmp_path]).files), None)
    assert found["model"].to_list() == [None, None]
