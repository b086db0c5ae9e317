"""The page on adding a format: its example works as it stands there."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

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


@pytest.fixture(scope="module")
def source() -> Source:
    page = (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8")
    (code,) = [block.split("```")[0] for block in page.split("```python\n")[1:]]
    module = ModuleType("acme")
    exec(compile(code, "acme.py", "exec"), module.__dict__)  # noqa: S102 - the page's own code
    found = module.SOURCE
    assert isinstance(found, Source)
    return found


def test_the_example_reads_its_format(source: Source) -> None:
    content = json.dumps(CALL).encode() + b"\n" + b'{"note": 1}\n' + b'{"acme_call": "c-2", '
    assert source.sniff(Head(content))
    assert claims(Head(content)) == []
    rows, state = source.read(content, source.begin(FileFacts()))
    assert [row.record for row in rows] == [1, 3]
    assert (rows[0].reported_input_tokens, rows[0].reported_output_tokens) == (12, 3)
    assert (rows[0].thread_id, rows[0].model, rows[0].identity) == ("s-1", "gpt-5", "c-1")
    assert rows[1].problems == ["torn-line"]
    assert state.records == 3
    assert not source.finish(state)


def test_the_pages_speak_of_files_that_are_there() -> None:
    for name in (".github/CONTRIBUTING.md", "fixtures/README.md"):
        page = (ROOT / name).read_text("utf-8")
        named = {
            word for word in page.split("`") if word.endswith((".py", "/run")) and " " not in word
        }
        for word in named:
            assert any((ROOT / base / word).exists() for base in ("", "cli/tallybook")), word
