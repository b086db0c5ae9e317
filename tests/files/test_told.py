"""A file is of the source that claims most of its first lines, whatever stands in front of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallybook.files import blocks, resume
from tallybook.files.blocks import beginning, open_log
from tallybook.files.find import walk
from tallybook.files.read import read_file
from tallybook.files.told import told
from tests.built import built
from tests.test_fixtures import FIXTURES

LOGS = (
    "claude-code/gateway-models",
    "claude-code/headless-stream-json",
    "codex/exec-json",
    "codex/model-change",
    "deer-flow/jsonl-events",
    "responses/openai-batch",
    "symphony/audit-a1-codex",
    "symphony/ledger-beside-states",
    "verifiers/v1-4-episodes",
    "verifiers/v1-3-call-records",
)
# A count of Codex's without the time that its lines have, as a shell's `cat` of two logs leaves it.
FOREIGN = b'{"type":"event_msg","payload":{"type":"token_count","info":null}}\n'
CODEX = b'{"timestamp":"2026-02-01T10:00:00Z",' + FOREIGN[1:]
DEEP = b'{"a":' * 60_000 + b"1" + b"}" * 60_000 + b"\n"  # longer than what files are told by
FRONTS = {
    "another's line": FOREIGN,
    "a whole line of another's": CODEX,
    "empty objects": b"{}\n" * 300,
    "a broken line": b'{"timestamp":"2026-\n',
    "a line that is nested deep": DEEP,
    "an array that is nested deep": b"[" * 140_000 + b"]" * 140_000 + b"\n",
}


def log(case: str) -> Path:
    """The longest log of a case that has a record a line."""
    files = [path for path, _ in walk([built(FIXTURES / case)]).files]
    lines = [path for path in files if path.suffix in (".jsonl", ".ndjson")]
    return max(lines, key=lambda path: path.read_bytes().count(b"\n"))


# Each log with each front, the long ones with one log alone.
TRIES = [
    (case, front) for case in LOGS for front in FRONTS if "deep" not in front or case == LOGS[0]
]


def rows(path: Path, without: int = 0) -> list[dict[str, object]]:
    """The rows that state anything, their records counted behind so many lines."""
    found = read_file(path).to_pylist()
    for row in found:
        row["record"] -= without if row["record"] else 0
    return [{**row, "path": None} for row in found if row["record"] > 0 or row["kind"] != "problem"]


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("case", "front"), TRIES)
def test_what_stands_in_front_of_a_log_costs_itself(tmp_path: Path, case: str, front: str) -> None:
    source, content = log(case), FRONTS[front]
    alone = written(tmp_path / "alone" / source.name, source.read_bytes())
    path = written(tmp_path / "behind" / source.name, content + source.read_bytes())
    assert rows(path, content.count(b"\n")) == rows(alone)


def test_a_first_line_that_is_too_long_costs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "MAX_LINE_BYTES", 1 << 20)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 19)
    source = log("codex/model-change")
    path = tmp_path / source.name
    path.write_bytes(b'{"junk":"' + b"x" * (3 << 20) + b'"}\n' + source.read_bytes())
    assert rows(path, 1) == rows(source)
    first = read_file(path).to_pylist()[0]
    assert (first["record"], first["problems"]) == (1, ["bad-line"])


def test_another_s_line_among_the_first_ones_leaves_a_log_what_it_is(tmp_path: Path) -> None:
    source = log("claude-code/gateway-models")
    lines = source.read_bytes().splitlines(keepends=True)
    path = tmp_path / source.name
    path.write_bytes(b"".join([*lines[:2], CODEX, *lines[2:]]))
    assert len(rows(path)) == len(rows(source)) + 1
    assert [row["record"] for row in rows(path) if row["problems"] == ["other-format"]] == [3]


def test_a_log_is_nobody_s_where_one_line_of_many_could_be_somebody_s(tmp_path: Path) -> None:
    ours = log("claude-code/gateway-models").read_bytes().splitlines(keepends=True)[0]
    path = tmp_path / "chat.jsonl"
    path.write_bytes(b'{"sessionId":"a","type":"user","message":{"parts":[]}}\n' * 3 + ours)
    assert read_file(path)["problems"].to_pylist() == [["unclaimed"]]


def test_a_file_of_any_name_is_a_log_by_the_same_rule(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"{}\n" * 300 + log("codex/model-change").read_bytes())
    assert [found.path for found in walk([tmp_path], by_hand=True).found] == [str(path)]
    assert resume.is_log(path)
    with open_log(path) as read:
        assert told(path, beginning(read).head).claimed == ["codex"]


LINES = {
    "claude-code": b'{"type":"assistant","sessionId":"s","uuid":"u","message":{"id":"msg_1",'
    b'"model":"m","usage":{"input_tokens":1,"output_tokens":2}}}\n',
    "codex": CODEX,
    "deer-flow": b'{"thread_id":"t","run_id":"r","event_type":"llm.ai.response","content":{}}\n',
    "responses": b'{"id":"chatcmpl-1","object":"chat.completion","model":"m","choices":[],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\n',
    "symphony": b'{"event":"run.ended","issue_identifier":"A-1","tokens":{"total_tokens":3}}\n',
    "verifiers": b'{"example_id":1,"prompt":[],"completion":[],"reward":1.0}\n',
}
# Each of their lines says for itself what it lacks of a rollout.
SILENT = [name for name in LINES if name != "verifiers"]


@pytest.mark.parametrize("own", SILENT)
@pytest.mark.parametrize("other", LINES)
def test_lines_of_another_tool_are_counted_where_the_first_one_stands(
    tmp_path: Path, own: str, other: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(LINES[own] * 3 + LINES[other] * 2 + LINES[own])
    said = [row for row in read_file(path).to_pylist() if row["problems"] == ["other-format"]]
    told = [(row["record"], row["detail"]) for row in said]
    assert told == ([] if own == other else [(4, f"this one and 1 more line of {other}")])
