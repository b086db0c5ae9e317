"""Answers with a disk that takes no more than so many bytes a file, in every state of a ledger.

    python -m tests.ledger.full FOLDER

Runs in a process of its own, for the limit is one of the whole process. It is met by every writer,
native ones too, as a full disk is; the number of the error alone is another.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from tallybook.errors import TallybookError
from tallybook.ledger.merging import merge
from tallybook.ledger.open import with_usage
from tallybook.ledger.reading import Reading
from tallybook.ledger.upkeep import compact
from tallybook.report.query import Query
from tests.ledger.homes import answers, asked, document, home_of, put, session, told, transcript
from tests.prices_once import prices_read_once

LIMITS = (0, 1500, 20_000)


@contextmanager
def full(most: int) -> Iterator[None]:
    """Files of at most so many bytes can be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Trial:
    """A home, and ledgers in all states that a run may find."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = home_of(folder / "home")
        self.states = {name: folder / name for name in ("none", "whole", "behind", "bare")}
        for path in self.home.rglob("*"):
            os.utime(path, (1_700_000_000, 1_700_000_000))  # so that answers are kept
        for name in ("behind", "whole", "bare"):
            told(self.home, self.states[name])
            if name == "behind":
                put(transcript(self.home, 1), session(1, calls=300))
                put(transcript(self.home, 9), session(9, calls=3))
        for name in ("derived", "answers"):
            shutil.rmtree(self.states["bare"] / name)
        self.right = told(self.home, None)

    def questions(self) -> Iterator[tuple[str, Path]]:
        """Copies of all states, each with its name."""
        for name, state in self.states.items():
            copy = self.folder / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            if state.exists():
                shutil.copytree(state, copy)
            yield name, copy

    def answered(self, most: int) -> None:
        """Each report is right, nothing half is left, and the next one finds a sound ledger."""
        for name, ledger in self.questions():
            with full(most):
                found = answers(self.home, ledger, Query(by=("model", "thread")))
            assert found == self.right, (name, most)
            assert not list(ledger.rglob("*.aside")), (name, most)
            after = with_usage(asked(self.home, ledger), _noted)
            assert after == ([], self.right), (name, most)

    def answered_aside(self, most: int) -> None:
        """Logs that are large enough to be read into a folder aside are then held in memory."""
        much = patch("tallybook.files.pool.is_pooled", lambda _: True)
        # Processes take 2 s to start: by them with one limit, and here with the others.
        here = patch("os.cpu_count", lambda: 2 if most == LIMITS[1] else 1)
        with much, here, full(most):
            assert told(self.home, None) == self.right, most

    def kept_up(self, most: int) -> None:
        """What cannot be done says so, and costs nothing."""
        for work in (compact, lambda ledger: merge(ledger, self.states["behind"])):
            for name, ledger in self.questions():
                if name in {"none", "bare"}:
                    continue
                told(self.home, ledger)
                with full(most):
                    said = _failure(work, ledger)
                assert said is None or "cannot write" in said, said
                assert not list(ledger.rglob("*.aside")), (name, most)
                assert told(self.home, ledger) == self.right, (name, most)


def _noted(reading: Reading) -> tuple[list[str], str]:
    text = document(reading)
    return reading.notes, text


def _failure(work: Callable[[Path], object], ledger: Path) -> str | None:
    try:
        work(ledger)
    except TallybookError as error:
        return error.message
    return None


def main() -> None:
    with prices_read_once():
        trial = Trial(Path(sys.argv[1]))
        for most in LIMITS:
            trial.answered(most)
            trial.answered_aside(most)
            trial.kept_up(most)
    print("answered")


if __name__ == "__main__":
    main()
