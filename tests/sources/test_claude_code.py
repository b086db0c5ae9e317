"""The two ways to read a line of a Claude Code transcript agree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tallybook.schema import Reported
from tallybook.sources import claims
from tallybook.sources.claude_code.lines import decode
from tallybook.sources.claude_code.plain import PlainReader
from tallybook.sources.claude_code.skip import spans
from tallybook.sources.claude_code.state import State
from tallybook.sources.claude_code.threads import FileIdentity
from tallybook.sources.claude_code.transcript import read_assistant
from tallybook.sources.lines import Head

FIXTURES = Path(__file__).parents[2] / "fixtures" / "claude-code"
SESSION = "11111111-1111-4111-8111-111111111111"
LINK = "22222222-2222-4222-8222-222222222222"


def fixture_lines() -> Iterator[bytes]:
    for path in sorted(FIXTURES.glob("*/input/**/*.jsonl")):
        yield from (line for line in path.read_bytes().split(b"\n") if b'"usage"' in line)


def both_ways(raw: bytes, place: FileIdentity) -> tuple[list[Reported], Reported | None]:
    line = decode(raw)
    is_assistant = line is not None and line.type == "assistant"
    slow = read_assistant(line, 1, None, State(place=place), 0) if line and is_assistant else []
    return slow, PlainReader(State(place=place)).read(raw, 1)


@pytest.mark.parametrize(
    "place", [FileIdentity(), FileIdentity(SESSION), FileIdentity(SESSION, "a1", "helper")]
)
def test_a_plain_line_is_read_as_any_other_line(place: FileIdentity) -> None:
    found = [both_ways(raw, place) for raw in fixture_lines()]
    plain = [([row], slow) for slow, row in found if row is not None]
    assert len(plain) > 50
    assert all(ours == theirs for ours, theirs in plain)


def usage(**counts: Any) -> dict[str, Any]:
    return {"input_tokens": 3, "output_tokens": 5, **counts}


@pytest.mark.parametrize(
    "counts",
    [
        usage(input_tokens=-1),
        usage(input_tokens="3"),
        usage(input_tokens=None),
        usage(output_tokens=2**60),
        usage(cache_read_input_tokens=1.5),
        usage(service_tier=""),
        usage(iterations=[{"type": "advisor_message", "input_tokens": 1}]),
        usage(output_tokens_details={"thinking_tokens": 2}),
        {"input_tokens": 3},
        [],
    ],
)
def test_what_departs_from_the_shape_is_left_to_the_other_way(counts: object) -> None:
    message = {"model": "claude-x", "id": "msg_1", "usage": counts}
    line = {
        "type": "assistant",
        "uuid": LINK,
        "sessionId": SESSION,
        "isSidechain": False,
        "timestamp": "2026-01-01T00:00:00.000Z",
        "message": message,
    }
    assert both_ways(json.dumps(line).encode(), FileIdentity())[1] is None


def passed_over(*lines: bytes, agent: str | None = None) -> list[int]:
    block = b"\n".join(lines) + b"\n"
    found = spans(block, State(place=FileIdentity(agent=agent)))
    kept = {index for index, begin, _, _ in found if begin < len(block)}
    return [index for index in range(len(lines)) if index not in kept]


def line_of(kind: str, rest: str = "", sidechain: str = "false") -> bytes:
    head = f'{{"parentUuid":"{LINK}","isSidechain":{sidechain},"cwd":"/p","sessionId":"{SESSION}",'
    return (head + kind + rest + "}").encode()


USER = '"type":"user","message":{"role":"user","content":"x"}'
PROGRESS = '"type":"progress","data":{"type":"bash_progress"}'


def test_lines_of_kinds_that_state_nothing_are_passed_over_once_one_was_seen() -> None:
    assert passed_over(line_of(USER), line_of(USER), line_of(PROGRESS)) == [1, 2]


def test_a_line_that_does_not_end_is_not_passed_over() -> None:
    assert passed_over(line_of(USER), line_of(USER)[:-3], line_of(USER) + b"\r") == []


def test_progress_that_carries_usage_is_not_passed_over() -> None:
    carried = '"type":"progress","data":{"message":{"message":{"usage":{}}}}'
    assert passed_over(line_of(USER), line_of(carried), line_of(PROGRESS)) == [2]


def test_members_inside_another_object_are_not_the_lines_own() -> None:
    inner = line_of(USER)[1:].replace(b'"parentUuid":"' + LINK.encode(), b'"x":"' + b"y" * 21)
    nested = b'{"parentUuid":"","data":{' + inner + b',"type":"assistant"}'
    assert nested.find(b'","isSidechain"') == line_of(USER).find(b'","isSidechain"')
    assert passed_over(line_of(USER), nested) == []


def test_each_line_of_a_sidechain_is_looked_at_in_the_sessions_own_file() -> None:
    inside = line_of(USER, sidechain="true")
    assert passed_over(inside, inside, inside) == []
    assert passed_over(inside, inside, inside, agent="a1") == [1, 2]


PROMPTS = [{"sessionId": SESSION, "messageId": 0, "type": "user", "message": "/model set"}]
CHAT: list[dict[str, Any]] = [
    {"sessionId": "s1", "projectHash": "00", "startTime": "2025-12-06T15:00:00.000Z"},
    {"id": "m1", "type": "user", "content": "hi", "sessionId": "s1"},
    {"id": "m2", "type": "gemini", "sessionId": "s1", "tokens": {"input": 100, "output": 50}},
]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(PROMPTS, indent=2).encode(),
        b"".join(json.dumps(value).encode() + b"\n" for value in CHAT),
        b"".join(json.dumps(value).encode() + b"\n" for value in CHAT[1:]),
    ],
)
def test_what_gemini_cli_keeps_is_not_claimed(content: bytes) -> None:
    assert claims(Head(content)) == []
