"""Home folders with logs in them, and what is answered about them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tallybook.commands.kept_answers import Answer, Answers
from tallybook.ledger.digests import basis
from tallybook.ledger.open import usage, with_usage
from tallybook.ledger.question import Question
from tallybook.ledger.reading import Reading
from tallybook.report.query import Query
from tallybook.report.summary import answer

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"


@cache
def price_cache() -> Path:
    """Where the price list is built once."""
    return Path(mkdtemp(prefix="prices-"))


def asked(
    home: Path,
    ledger: Path | None,
    paths: Sequence[Path] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    everything: bool = False,
) -> Question:
    return Question(
        paths=paths,
        environment=environment or {},
        home=home,
        ledger=ledger,
        cache=price_cache(),
        everything=everything,
    )


def opened(home: Path, ledger: Path | None, paths: Sequence[Path] | None = None) -> Reading:
    return usage(asked(home, ledger, paths))


def document(reading: Reading, by: Sequence[str] = ("model", "thread")) -> str:
    """All that a report says, as one text."""
    read = {
        "files": reading.files,
        "gone": reading.gone,
        "removed_calls": reading.removed,
        "older_files": len(reading.older),
        "older_calls": reading.older_deleted,
        "not_looked_at": reading.not_looked_at,
    }
    report = answer(reading, Query(by=tuple(by)), read)
    return json.dumps([list(report.rows), report.totals, report.coverage], indent=1)


def answers(home: Path, ledger: Path | None, query: Query) -> str:
    """As the command tells it: an answer that was kept, or a new one, which is kept if it can be.

    The text is that of `document`.
    """
    asking = asked(home, ledger)
    kept = Answers(asking, query, basis(asking))

    def work(reading: Reading) -> str:
        text = document(reading, query.by)
        rows, all_of_it, coverage = json.loads(text)
        kept.keep(Answer({"rows": rows, "totals": all_of_it, "coverage": coverage}), reading)
        return text

    found = kept.find()
    if found is None:
        return with_usage(asking, work)
    return json.dumps([found.envelope[n] for n in ("rows", "totals", "coverage")], indent=1)


def told(home: Path, ledger: Path | None, paths: Sequence[Path] | None = None) -> str:
    return with_usage(asked(home, ledger, paths), document)


def totals(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)[1]
    return found


def coverage(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)[2]
    return found


def session(number: int = 1, calls: int = 3) -> bytes:
    """A small Claude Code transcript."""
    lines = [_line(number, call) for call in range(1, calls + 1)]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _line(number: int, call: int) -> dict[str, Any]:
    session_id = f"{number:08d}-0000-4000-8000-000000000000"
    return {
        "type": "assistant",
        "sessionId": session_id,
        "uuid": f"{number:08d}-0000-4000-8000-{call:012d}",
        "requestId": f"req_{number}_{call}",
        "cwd": "/home/u/project",
        "version": "2.1.0",
        "timestamp": f"2026-06-{number % 27 + 1:02d}T10:{call % 60:02d}:00.000Z",
        "message": {
            "id": f"msg_{number}_{call}",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5-20250929",
            "stop_reason": "end_turn",
            "content": [],
            "usage": {
                "input_tokens": 3,
                "cache_creation_input_tokens": 100 * number,
                "cache_read_input_tokens": 1000 * call,
                "output_tokens": 50 + call,
            },
        },
    }


def transcript(home: Path, number: int = 1, folder: str = "-home-u-project") -> Path:
    """Where the transcript of that number lies."""
    name = f"{number:08d}-0000-4000-8000-000000000000.jsonl"
    return put(home / ".claude/projects" / folder / name, b"")


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if content or not path.exists():
        path.write_bytes(content)
    return path


def home_of(folder: Path, sessions: int = 4) -> Path:
    """A home with some transcripts."""
    for number in range(1, sessions + 1):
        put(transcript(folder, number), session(number, calls=number + 2))
    return folder
