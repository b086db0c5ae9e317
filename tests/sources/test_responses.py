"""What is taken for a provider's response, and what a reader keeps between two blocks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from tallybook.derive.chain import derive
from tallybook.files.find import walk
from tallybook.sources import FileFacts, sources
from tallybook.sources.lines import Head
from tallybook.sources.responses.sniff import is_document, sniff
from tests.rows_of_files import read_files
from tests.test_fixtures import FIXTURES

USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
CHAT = {
    "id": "chatcmpl-000000000000000000001",
    "object": "chat.completion",
    "created": 1790000000,
    "model": "gpt-4-0613",
    "choices": [{"index": 0, "message": {"content": "said"}, "finish_reason": "stop"}],
    "usage": USAGE,
}


def line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


FOREIGN: list[Any] = [
    {"name": "package", "version": "1.0.0", "dependencies": {}},
    {"usage": USAGE},
    {"model": "gpt-5.2", "usage": USAGE},
    {"type": "message", "role": "assistant", "content": "hi"},
    # Logs of tools that keep a provider's object within a record of their own.
    {"type": "assistant", "sessionId": "s", "message": {"type": "message", "role": "assistant"}},
    {"type": "message", "role": "assistant", "model": "m", "usage": USAGE, "sessionId": "s"},
    {"type": "event_msg", "payload": {"type": "token_count", "info": {}}},
    {"lc": 1, "type": "constructor", "id": ["AIMessage"], "kwargs": {"usage_metadata": USAGE}},
    {"candidates": ["a", "b"], "votes": 3},
    {"error": "no such file"},
    {"error": {"message": "no", "type": "x"}, "rows": []},
    {"request": {"url": "https://example.org"}, "response": {"status": 200, "body": {"a": 1}}},
    {"request": {"url": "https://example.org"}, "response": {"status": 200, "body": ""}},
    {"object": "list", "data": [{"id": "gpt-4", "object": "model"}]},
    {"object": "model", "id": "gpt-4"},
    {"created_at": "2026-09-21", "model": "m", "done": "yes"},
    {"type": "ping-pong"},
    {"metadata": {"usage": {"inputTokens": 1}}, "id": "x"},
    [],
    [1, 2],
    "text",
    None,
]


@pytest.mark.parametrize("value", FOREIGN, ids=lambda value: json.dumps(value)[:40])
def test_other_json_is_not_claimed(value: object) -> None:
    assert not sniff(Head(line(value)))
    assert not sniff(Head(json.dumps(value, indent=2).encode()))


@pytest.mark.parametrize(
    "head",
    [b"", b"\n", b"\x00\xff", b"words\n", b"data: words\n", b"event: x\ndata: {}\n", b"{", b"[{"],
)
def test_what_is_no_json_is_not_claimed(head: bytes) -> None:
    assert not sniff(Head(head))


def test_a_log_that_quotes_a_response_now_and_then_is_not_claimed() -> None:
    quoted = [{"step": n, "note": "x"} for n in range(5)]
    assert not sniff(Head(b"".join(map(line, [CHAT, *quoted]))))


def test_a_response_longer_than_what_is_looked_at_is_claimed_by_how_it_begins() -> None:
    text = "x" * 300_000
    chat = {**CHAT, "choices": [{"message": {"content": text}}]}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": text}
    vectors = {"object": "list", "data": [{"embedding": [0.1] * 60_000}], "usage": USAGE}
    dump = {
        "request": {"method": "POST", "url": "https://api.openai.com/v1/responses", "body": text},
        "response": {"status": 200, "body": CHAT},
    }
    for value in (chat, message, vectors, dump):
        for whole in (line(value), json.dumps(value, indent=2).encode()):
            assert sniff(Head(whole)), whole[:80]
    assert not sniff(Head(line({"sessionId": "s", **message})))
    assert not sniff(Head(line({"note": text})))


@pytest.mark.parametrize(
    ("head", "document"),
    [
        (b'{\n "id": 1}', True),
        (b"[", True),
        (b' [{"a":1}]', True),
        (b'{"a":1}\n{"a":2}\n', False),
        (b'{"a":1}', False),
        (b"data: {\n", False),
    ],
)
def test_a_document_is_told_from_lines(head: bytes, document: bool) -> None:
    assert is_document(Head(head)) is document


def test_no_text_of_an_answer_is_kept_between_two_blocks() -> None:
    source = sources()["responses"]
    for path in sorted(FIXTURES.glob("responses/*/input/**/*")):
        if path.is_dir():
            continue
        content = path.read_bytes()
        if source.whole(Head(content)):
            continue
        state = source.begin(FileFacts())
        for piece in content.splitlines(keepends=True):
            _, state = source.read(piece, state)
            if any(getattr(state, name) for name in source.holds):
                continue  # such a state is never kept
            assert b"Fine." not in msgspec.msgpack.encode(state), path


def rows(*paths: Path) -> list[tuple[str, str | None, list[str] | None]]:
    table = read_files(walk(paths).files)
    return [(Path(row["path"]).name, row["source"], row["problems"]) for row in table.to_pylist()]


def test_an_answer_that_an_agent_logged_too_is_counted_once(tmp_path: Path) -> None:
    """Its own row and that of the call within it, which has an id of its own."""
    case = FIXTURES / "claude-code" / "compaction-iteration" / "input"
    (log,) = case.rglob("*.jsonl")
    answer = json.loads(log.read_text("utf-8").splitlines()[1])["message"]
    (tmp_path / "body.json").write_bytes(line(answer))
    calls = derive(read_files(walk([case, tmp_path]).files), None)
    assert len(calls) == 4
    counted = calls.filter(pl.col("duplicate_of").is_null())
    assert counted["source"].to_list() == ["claude-code", "claude-code"]
    assert counted["input_tokens"].sum() == 23000 + 180000
    assert set(calls["duplicate_reason"].drop_nulls()) == {"witness"}


def test_text_files_are_passed_over_unless_named_or_claimed(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("words\n")
    (tmp_path / "capture.txt").write_bytes(b"data: " + line(CHAT))
    (tmp_path / "other.json").write_text("{}\n")
    assert [path.name for path, _ in walk([tmp_path]).files] == ["capture.txt", "other.json"]
    named = walk([tmp_path / "notes.txt"]).files
    assert [path.name for path, _ in named] == ["notes.txt"]
    assert rows(tmp_path / "notes.txt") == [("notes.txt", None, ["unclaimed"])]
