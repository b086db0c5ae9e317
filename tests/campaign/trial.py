"""What a trial is made of: an input from the fixtures, a reading of it, and what must hold."""

from __future__ import annotations

import json
import shutil
import traceback
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.built import built
from tests.ledger.homes import FIXTURES, told

COUNTS: Final = (
    "calls",
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "unsplit_input_tokens",
    "input_tokens",
    "output_tokens",
    "total_tokens",
)
_PARTS_OF_INPUT: Final = COUNTS[1:5]
_COSTS: Final = ("cost_usd", "cost_low_usd")
_PACKAGE: Final = "tallybook"
Row = dict[str, Any]


class Failed(Exception):  # noqa: N818 - it is the trial that failed
    """What must hold does not."""


def signature(error: BaseException) -> str:
    """What went wrong and where in the package, the same for inputs that fail alike."""
    if isinstance(error, Failed):
        return str(error).splitlines()[0]
    frames = traceback.extract_tb(error.__traceback__)
    inner = [frame for frame in frames if f"/{_PACKAGE}/" in frame.filename] or list(frames)
    place = inner[-1].filename.rpartition(f"/{_PACKAGE}/")[2]
    return f"{type(error).__name__} at {place}:{inner[-1].lineno}"


@cache
def cases() -> list[Path]:
    """The folders of all fixtures, in order."""
    return sorted(path.parent for path in FIXTURES.glob("*/*/expected.jsonl"))


def some_case(random: Random) -> Path:
    """One fixture, each source as often as the others."""
    source = random.choice(sorted({case.parent for case in cases()}))
    return random.choice([case for case in cases() if case.parent == source])


def put_case(case: Path, folder: Path) -> Path:
    """A copy of a fixture's input that can be changed."""
    target = folder / case.parent.name / case.name
    shutil.copytree(built(case), target, symlinks=True)
    return target


def files_of(folder: Path) -> list[Path]:
    """The regular files below a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def answer(home: Path, ledger: Path | None, paths: Sequence[Path] | None) -> str:
    """What is said of these paths, after checking that it adds up and that no reader failed."""
    text = told(home, ledger, paths)
    check(text)
    return text


def check(text: str) -> None:
    """Raises Failed where a report does not add up or a reader has failed."""
    rows, totals, coverage = json.loads(text)
    for problem in coverage["problem_list"]:
        if problem["code"] == "reader-failed":
            raise Failed(f"reader-failed: {problem['detail']}")
    for fault in _faults(rows, totals):
        raise Failed(fault)


def same(got: str, wanted: str, what: str) -> None:
    """Raises Failed where two reports differ."""
    if got == wanted:
        return
    pairs = zip(got.splitlines(), wanted.splitlines(), strict=False)
    first = next((f"{a.strip()} / {b.strip()}" for a, b in pairs if a != b), "one is longer")
    raise Failed(f"{what}\nfirst difference: {first}")


def _faults(rows: list[Row], totals: Row) -> Iterator[str]:
    for name in COUNTS:
        if (totals[name] or 0) != sum(row[name] or 0 for row in rows):
            yield f"rows do not add up to the total: {name}"
    for name in _COSTS:
        if Decimal(totals[name] or 0) != sum(Decimal(row[name] or 0) for row in rows):
            yield f"rows do not add up to the total: {name}"
    for row in [*rows, totals]:
        yield from _faults_of(row)


def _faults_of(row: Row) -> Iterator[str]:
    if any((row[name] or 0) < 0 for name in COUNTS):
        yield "a count below zero"
    if (row["input_tokens"] or 0) != sum(row[name] or 0 for name in _PARTS_OF_INPUT):
        yield "buckets do not add up to the input"
    low, cost, high = (row[name] for name in ("cost_low_usd", "cost_usd", "cost_high_usd"))
    if cost is not None and Decimal(low) > Decimal(cost):
        yield "a cost below its lower bound"
    if cost is not None and high is not None and Decimal(high) < Decimal(cost):
        yield "a cost above its upper bound"
