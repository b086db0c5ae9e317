"""Grow: logs that name each other's calls come line by line, and a ledger is asked at each step."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

from tests.campaign.trial import answer, cases, files_of, put_case, same

_SOURCES = ("claude-code", "codex")  # what goes on for months, a line at a time
_NAMES = tuple(
    re.compile(pattern)
    for pattern in (
        rb'"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"',
        rb'"(?:msg|req|resp)_[\w-]+"',
    )
)


def trial(random: Random, folder: Path) -> str:
    """One to three fixtures of a source, in two to five steps; of which source they are."""
    source = random.choice(_SOURCES)
    chosen = random.sample([case for case in cases() if case.parent.name == source], 3)
    for case in chosen[: random.randint(1, 3)]:
        put_case(case, folder / "whole")
    lines = {
        path: path.read_bytes().splitlines(keepends=True)
        for path in files_of(folder / "whole")
        if path.suffix == ".jsonl"
    }
    for _ in range(random.randint(0, 4) if lines else 0):
        _share_a_name(random, lines)
    logs, ledger = folder / "logs", folder / "ledger"
    logs.mkdir()
    ends = dict.fromkeys(lines, 0)
    for _ in range(random.randint(2, 5)):
        for path, content in lines.items():
            ends[path] = random.randint(ends[path], len(content))
            grown = logs / path.relative_to(folder / "whole")
            grown.parent.mkdir(parents=True, exist_ok=True)
            grown.write_bytes(b"".join(content[: ends[path]]))
        wanted = answer(folder, None, [logs])
        same(answer(folder, ledger, [logs]), wanted, "logs that grew differ in a ledger")
    return source


def _share_a_name(random: Random, lines: dict[Path, list[bytes]]) -> None:
    """Put an id of one log in place of one in a line of another, or of the same."""
    one, other = (random.choice(list(lines)) for _ in range(2))
    name = random.choice(_NAMES)
    found = [each for line in lines[one] for each in name.findall(line)]
    if found and lines[other]:
        number, put = random.randrange(len(lines[other])), random.choice(found)
        lines[other][number] = name.sub(lambda _: put, lines[other][number], count=1)
