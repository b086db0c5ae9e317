"""Which lines of a Claude Code transcript are passed over, and which files are not its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tallybook.schema import Reported
from tallybook.sources import claims
from tallybook.sources.claude_code import SOURCE, reader
from tallybook.sources.claude_code.lines import Line, decode_document
from tallybook.sources.claude_code.skip import spans
from tallybook.sources.claude_code.state import State
from tallybook.sources.claude_code.threads import FileIdentity
from tallybook.sources.contract import FileFacts
from tallybook.sources.lines import Head

TIME = "2026-01-01T00:00:00.000Z"
SESSION = "11111111-1111-4111-8111-111111111111"
LINK = "22222222-2222-4222-8222-222222222222"


def passed_over(*lines: bytes, agent: str | None = None) -> list[int]:
    found = spans(b"\n".join(lines) + b"\n", State(place=FileIdentity(agent=agent)))
    kept = {record for record, _, _, _ in found}
    return [index for index in range(len(lines)) if index + 1 not in kept]


def line_of(kind: str, rest: str = "", sidechain: str = "false") -> bytes:
    head = f'{{"parentUuid":"{LINK}","isSidechain":{sidechain},"cwd":"/p","sessionId":"{SESSION}",'
    return (head + kind + rest + "}").encode()


USER = '"type":"user","message":{"role":"user","content":"x"}'
PROGRESS = '"type":"progress","data":{"type":"bash_progress"}'


def test_lines_of_kinds_that_state_nothing_are_passed_over() -> None:
    assert passed_over(line_of(USER), line_of(USER), line_of(PROGRESS)) == [0, 1, 2]


def test_a_line_that_does_not_end_is_not_passed_over() -> None:
    assert passed_over(line_of(USER), line_of(USER)[:-3], line_of(USER) + b"\r") == [0]


def test_progress_that_carries_usage_is_not_passed_over() -> None:
    carried = '"type":"progress","data":{"message":{"message":{"usage":{}}}}'
    assert passed_over(line_of(USER), line_of(carried), line_of(PROGRESS)) == [0, 2]


@pytest.mark.parametrize(
    "silent",
    [
        '"type":"progress","data":{"type":"bash_progress","output":"\\u0075"}',
        '"type":"progress","data":{"type":"hook_progress","command":"\\u0075"}',
        '"type":"progress","data":{"type":"mcp_progress","serverName":"\\u0075"}',
        '"type":"system","subtype":"stop_hook_summary","content":"\\u0075"',
        '"type":"system","subtype":"turn_duration","slug":"\\u0075"',
        '"type":"system","subtype":"local_command","content":"\\u0075"',
    ],
)
def test_kinds_that_never_state_anything_are_passed_over_whatever_they_quote(silent: str) -> None:
    told = '"type":"system","subtype":"compact_boundary"'
    assert passed_over(line_of(USER), line_of(silent), line_of(told)) == [0, 1]


def test_a_word_that_a_response_broke_off_is_looked_at_wherever_its_members_stand() -> None:
    cut = '"message":{"role":"user","content":"Your response above was cut off"}'
    behind, before = f'"type":"user",{cut},"isMeta":true', f'"type":"user","isMeta":true,{cut}'
    assert passed_over(line_of(USER), line_of(behind), line_of(before)) == [0]


def test_members_inside_another_object_are_not_the_lines_own() -> None:
    inner = line_of(USER)[1:].replace(b'"parentUuid":"' + LINK.encode(), b'"x":"' + b"y" * 21)
    nested = b'{"parentUuid":"","data":{' + inner + b',"type":"assistant"}'
    assert nested.find(b'","isSidechain"') == line_of(USER).find(b'","isSidechain"')
    aligned = b'{"data":{"xy":"' + line_of(USER)[15:] + b',"type":"assistant"}'
    assert aligned.find(b'","isSidechain"') == line_of(USER).find(b'","isSidechain"')
    assert passed_over(line_of(USER), nested, aligned) == [0]


def test_each_line_of_a_sidechain_is_looked_at_in_the_sessions_own_file() -> None:
    inside = line_of(USER, sidechain="true")
    assert passed_over(inside, inside, inside) == []
    assert passed_over(inside, inside, inside, agent="a1") == [0, 1, 2]


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


def message(number: int, indent: int | None = None) -> str:
    usage = {"input_tokens": number, "output_tokens": 5}
    body = {"model": "claude-x", "id": f"msg_{number}", "usage": usage, "content": ["}", '{"']}
    line = {"type": "assistant", "session_id": SESSION, "timestamp": TIME, "message": body}
    return json.dumps(line, indent=indent)


def inputs(*lines: str) -> list[tuple[int, int | None, list[str] | None]]:
    """Record, input and problems of the rows of a file that is read a line at a time."""
    state, rows = SOURCE.begin(FileFacts()), list[Reported]()
    for line in lines:
        found, state = SOURCE.read(line.encode(), state)
        rows += found
    rows += SOURCE.finish(state)
    return [(row.record, row.reported_input_tokens, row.problems) for row in rows]


def test_a_document_is_decoded_once_and_not_at_each_bracket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its brackets may stand at the margin, as those of an array do that was put together."""
    sizes: list[int] = []

    def decoded(raw: bytes) -> Line | list[Line | None] | None:
        sizes.append(len(raw))
        return decode_document(raw)

    monkeypatch.setattr(reader, "decode_document", decoded)
    array = "[\n" + ",\n".join(message(number, 0) for number in range(1, 51)) + "\n]\n"
    assert [row[1] for row in inputs(*array.splitlines(keepends=True))] == [*range(1, 51)]
    assert [row[1] for row in inputs(array)] == [*range(1, 51)]
    assert sizes == [len(array)] * 2


def test_a_document_that_is_broken_costs_none_of_the_others() -> None:
    first, second = (message(number, 2) + "\n" for number in (1, 2))
    broken = "{\n" + '  "type": "assistant" "message": {}\n' + "}\n"
    length = first.count("\n")
    assert inputs(*(first + broken + second).splitlines(keepends=True)) == [
        (1, 1, None),
        (length + 1, None, ["bad-line"]),
        (length + 4, 2, None),
    ]
    assert inputs(first + second[:-3]) == [(1, 1, None), (length + 1, None, ["torn-line"])]


@pytest.mark.parametrize(
    "before", ["", '{"type":"mode"}\n', "\n", "\n\n", '{"cut\n', "[words] of a wrapper\n"]
)
def test_a_file_begins_with_its_first_line_that_can_be_read(before: str) -> None:
    """A session that was forked without a word begins with its queue, and copies what is older."""
    entry = {"type": "queue-operation", "timestamp": "2026-01-01T00:00:01.000Z"}
    old = message(1).replace("session_id", "sessionId")
    block = before + json.dumps(entry | {"sessionId": SESSION}) + "\n" + old + "\n"
    rows, _ = SOURCE.read(block.encode(), SOURCE.begin(FileFacts()))
    assert [row.is_copy for row in rows if row.kind == "call"] == [True]
