"""The page on adding a format: its example works as it stands there."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from tallybook.sources import Source, claims
from tallybook.sources.contract import FileFacts
from tallybook.sources.lines import Head

ROOT = Path(__file__).parent.parent
CALL = {
    "acme_call": "c-1",
    "session": "s-1",
    "model": "gpt-5",
    "time": "2026-06-01T10:00:00Z",
    "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
}


def example() -> str:
    page = (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8")
    (code,) = [block.split("```")[0] for block in page.split("```python\n")[1:]]
    return code


@pytest.fixture(scope="module")
def source() -> Source:
    module = ModuleType("acme")
    exec(compile(example(), "acme.py", "exec"), module.__dict__)  # noqa: S102 - the page's own code
    found = module.SOURCE
    assert isinstance(found, Source)
    return found


def test_the_example_is_about_as_long_as_a_page() -> None:
    assert len(example().splitlines()) <= 55


def test_the_example_reads_its_format(source: Source) -> None:
    call = json.dumps(CALL).encode()
    content = (
        call + b'\n{"note": 1}\n{"acme_call" 2}\n{"cut": \n\n' + call + b'\n{"acme_call": "c-2", '
    )
    assert source.sniff(Head(content))
    assert claims(Head(content)) == []
    rows, state = source.read(content, source.begin(FileFacts()))
    assert [(row.record, row.problems) for row in rows] == [
        (1, None),
        (3, ["bad-line"]),
        (4, ["bad-line"]),
        (6, None),
        (7, ["torn-line"]),
    ]
    assert (rows[0].reported_input_tokens, rows[0].reported_output_tokens) == (12, 3)
    assert (rows[0].thread_id, rows[0].model, rows[0].identity) == ("s-1", "gpt-5", "c-1")
    assert not source.finish(state)


@pytest.mark.parametrize(
    ("usage", "problem"),
    [
        (None, "no-counts"),
        (5, "no-counts"),
        ("12", "no-counts"),
        ([1], "no-counts"),
        ({}, "no-counts"),
        ({"prompt_tokens": "?"}, "bad-number"),
    ],
)
def test_usage_of_another_type_costs_its_counts_and_no_more(
    source: Source, usage: object, problem: str
) -> None:
    lines = [json.dumps(call).encode() + b"\n" for call in (CALL | {"usage": usage}, CALL)]
    (odd, sound), _ = source.read(b"".join(lines), source.begin(FileFacts()))
    assert (odd.identity, odd.reported_input_tokens) == ("c-1", None)
    assert odd.problems == [problem]
    assert sound.reported_input_tokens == 12


def test_the_example_can_be_saved_behind_any_line(source: Source) -> None:
    lines = [json.dumps(CALL).encode() + b"\n", b"\n", b'{"acme_call" 2}\n', b'{"cut": \n'] * 2
    at_once, end = source.read(b"".join(lines), source.begin(FileFacts()))
    state, found = source.begin(FileFacts()), list[object]()
    for line in lines:
        rows, state = source.read(line, state)
        found += rows
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=type(state))
    assert (found, state) == (at_once, end)


def test_the_pages_speak_of_files_that_are_there() -> None:
    for name in (".github/CONTRIBUTING.md", "fixtures/README.md"):
        page = (ROOT / name).read_text("utf-8")
        named = {
            word for word in page.split("`") if word.endswith((".py", "/run")) and " " not in word
        }
        for word in named:
            assert any((ROOT / base / word).exists() for base in ("", "cli/tallybook")), word
