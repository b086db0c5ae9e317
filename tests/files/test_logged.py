"""What a log still says at a record: the usage object as it stands there, and no word besides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tallybook.dialects.usage_objects import usage_objects
from tallybook.files.logged import GONE, THERE, UNREAD, Record, logged
from tests.built import built
from tests.test_fixtures import FIXTURES


@pytest.mark.parametrize(
    ("case", "name", "record", "part", "want"),
    [
        (  # a line of a compressed log
            "codex/zst-only",
            "*12-10-00*.zst",
            4,
            None,
            {
                "payload.info.total_token_usage": {
                    "input_tokens": 33200,
                    "cached_input_tokens": 26880,
                    "output_tokens": 650,
                    "reasoning_output_tokens": 384,
                    "total_tokens": 33850,
                },
                "payload.info.last_token_usage": {
                    "input_tokens": 17200,
                    "cached_input_tokens": 15872,
                    "output_tokens": 140,
                    "reasoning_output_tokens": 0,
                    "total_tokens": 17340,
                },
            },
        ),
        (  # a part of a document over several lines; dots in it belong to a model's name
            "claude-code/headless-pretty-printed",
            "result.json",
            1,
            "modelUsage.claude-sonnet-5",
            {
                "": {
                    "inputTokens": 25,
                    "outputTokens": 640,
                    "cacheReadInputTokens": 31000,
                    "cacheCreationInputTokens": 5200,
                    "webSearchRequests": 0,
                    "costUSD": 0.02565,
                    "contextWindow": 1_000_000,
                }
            },
        ),
        (  # an entry of a list in a document
            "9router/usage-json-first-builds",
            "usage.json",
            9,
            None,
            {
                "": {
                    "tokens": {
                        "prompt_tokens": 15,
                        "completion_tokens": 600,
                        "cache_read_input_tokens": 21000,
                        "cache_creation_input_tokens": 800,
                    },
                    "cost": 0.0486,
                }
            },
        ),
        (  # a text in a row of the table that the part stands for
            "9router/database-details",
            "data.sqlite",
            7,
            "tokens",
            {
                "data.tokens": {
                    "prompt_tokens": 88000,
                    "completion_tokens": 1900,
                    "reasoning_tokens": 700,
                }
            },
        ),
        (  # a message in a packed cell
            "deer-flow/checkpoints-alone",
            "checkpoints.db",
            1,
            "writes[0]",
            {
                "value[0].usage_metadata": {
                    "input_tokens": 1800,
                    "output_tokens": 240,
                    "total_tokens": 2040,
                    "input_token_details": {"cache_read": 1280},
                    "output_token_details": {"reasoning": 64},
                }
            },
        ),
        (  # the last event of a stream, whose first one has the prompt
            "responses/anthropic-streams",
            "late-writes.sse",
            5,
            None,
            {
                "message_start.message.usage": {
                    "input_tokens": 5,
                    "cache_creation_input_tokens": 100,
                    "cache_read_input_tokens": 400,
                    "cache_creation": {
                        "ephemeral_5m_input_tokens": 0,
                        "ephemeral_1h_input_tokens": 100,
                    },
                    "output_tokens": 1,
                },
                "message_delta.usage": {"cache_creation_input_tokens": 160, "output_tokens": 9},
            },
        ),
        (  # a body that is JSON in a text
            "responses/dump-request-and-response",
            "plain.jsonl",
            2,
            "response",
            {"usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}},
        ),
    ],
)
def test_the_usage_object_is_that_of_the_record(
    case: str, name: str, record: int, part: str | None, want: dict[str, Any]
) -> None:
    (path,) = built(FIXTURES / case).rglob(name)
    where = Record(case.partition("/")[0], record, part)
    found = logged(str(path), [where])[where]
    assert found.state == THERE
    assert {each.at: each.usage for each in found.usage} == want


def test_of_many_records_each_has_its_own(tmp_path: Path) -> None:
    log = tmp_path / "answers.jsonl"
    lines = [{"usage": {"prompt_tokens": n, "completion_tokens": 1}} for n in range(1, 6)]
    log.write_text("\n".join(map(json.dumps, lines)) + "\nno JSON\n")
    records = [Record("responses", n, None) for n in (5, 2, 6, 9)]
    found = logged(str(log), records)
    assert [[each.usage["prompt_tokens"] for each in found[r].usage] for r in records] == [
        [5],
        [2],
        [],
        [],
    ]
    assert [found[record].state for record in records] == [THERE, THERE, UNREAD, UNREAD]


def test_a_log_that_is_gone_or_no_longer_one_is_said_to_be(tmp_path: Path) -> None:
    record = Record("codex", 1, None)
    assert logged(str(tmp_path / "a.jsonl"), [record])[record].state == GONE
    (tmp_path / "a.jsonl").mkdir()
    assert logged(str(tmp_path / "a.jsonl"), [record])[record].state == UNREAD
    cut = tmp_path / "b.sqlite"
    cut.write_bytes(b"SQLite format 3\0" + b"\xff" * 200)
    assert logged(str(cut), [Record("9router", 1, None)]).popitem()[1].state == UNREAD


def test_no_word_and_no_key_of_anybody_is_shown() -> None:
    record = {
        "usage": {
            "input_tokens": 3,
            "secret-of-mine": 4,
            "input_tokens_of_bob": 5,
            "service_tier": "what I said",
            "details": {"cached_tokens": 1, "a note": 2, "text": "hello"},
            "iterations": [{"output_tokens": 2, "type": "message"}],
        },
        "content": [{"type": "tool_use", "input": {"pin": 1234, "my tokens": "5"}}],
        "bob": {"usage": {"output_tokens": 9}},
    }
    assert [tuple(each) for each in usage_objects(record)] == [
        (
            "usage",
            {
                "input_tokens": 3,
                "details": {"cached_tokens": 1},
                "iterations": [{"output_tokens": 2}],
            },
        ),
        ("….usage", {"output_tokens": 9}),
    ]


def test_every_count_of_a_tool_is_shown() -> None:
    lines = (FIXTURES / "responses" / "tools" / "input" / "xai.jsonl").read_text().splitlines()
    record = json.loads(lines[-1])
    (shown,) = usage_objects(record)
    assert shown.usage == record["usage"]
