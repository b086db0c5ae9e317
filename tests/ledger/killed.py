"""Kills runs that write a ledger, again and again, and checks what they leave.

    python -m tests.ledger.killed FOLDER steps|random SEED DEATHS

Runs in a process of its own: one without the threads of a data frame library can be forked.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tallybook.ledger.open import usage
from tallybook.ledger.question import Question
from tests.ledger.homes import home_of, put, session, transcript
from tests.ledger.rows import Row, held
from tests.prices_once import prices_read_once

_PATCHED = ((os, "fsync"), (os, "link"), (Path, "replace"), (Path, "unlink"), (os, "open"))


class Trial:
    """A home that changes, a ledger that is killed, and the rows that must be in it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.home = home_of(folder / "home")
        self.ledger = folder / "ledger"
        self.random = random.Random(seed)
        self.sizes = {number: number + 2 for number in range(1, 5)}
        self.gone: dict[str, list[Row]] = {}

    def change(self) -> None:
        """Append to some transcripts, begin one, move one."""
        for number in self.random.sample(sorted(self.sizes), 2):
            self.sizes[number] += self.random.randrange(1, 4)
            path = next(self.home.rglob(f"{number:08d}*"))
            content = session(number, self.sizes[number])
            path.write_bytes(content[: self.random.choice([None, -5])])
        number = max(self.sizes) + 1
        self.sizes[number] = 2
        put(transcript(self.home, number), session(number, 2))
        moved = next(self.home.rglob(f"{self.random.choice(sorted(self.sizes)):08d}*"))
        target = moved.parent.with_name(f"-home-u-{self.random.randrange(9)}") / moved.name
        target.parent.mkdir(exist_ok=True)
        moved.rename(target)

    def delete(self) -> None:
        """Delete a transcript that the ledger holds."""
        number = self.random.choice(sorted(self.sizes)[:-2])
        del self.sizes[number]
        path = next(self.home.rglob(f"{number:08d}*"))
        self.gone[str(path)] = held(self.ledger)[str(path)]
        path.unlink()

    def refresh(self, ledger: Path | None = None) -> None:
        """Bring a ledger up to date, in this process."""
        asked = Question(
            None, {}, self.home, ledger or self.ledger, self.folder / "cache"
        )  # fmt: skip
        with usage(asked) as reading:
            assert not reading.notes, reading.notes

    def check(self) -> None:
        """Whether the ledger holds what is there, and what has been deleted since."""
        self.refresh()
        clean = self.folder / "clean"
        shutil.rmtree(clean, ignore_errors=True)
        self.refresh(clean)
        assert held(self.ledger) == held(clean) | self.gone


def killed(work: Callable[[], None], after: float) -> bool:
    """Whether a process that does this had to be killed after so many seconds."""
    child = _forked(work)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def stopped(work: Callable[[], None], step: int) -> bool:
    """Whether a process that does this came to its nth step on the disk, where it stops dead."""

    def dying() -> None:
        left = [step]

        def patched(original: Any) -> Any:
            def call(*arguments: Any, **options: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)
                return original(*arguments, **options)

            return call

        for owner, name in _PATCHED:
            setattr(owner, name, patched(getattr(owner, name)))
        work()

    child = _forked(dying)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def _forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def at_random(trial: Trial, wanted: int) -> int:
    trial.refresh()
    begun = time.perf_counter()
    os.waitpid(_forked(trial.refresh), 0)
    span = time.perf_counter() - begun
    number = deaths = 0
    while deaths < wanted:
        number += 1
        if number % 5 == 4:
            trial.delete()
        trial.change()
        for _ in range(2):
            deaths += killed(trial.refresh, trial.random.uniform(0.001, span * 1.5))
        trial.check()
    return deaths


def at_every_step(trial: Trial) -> int:
    trial.refresh()
    step = 0
    trial.change()
    while stopped(trial.refresh, step):
        trial.check()
        trial.change()
        step += 1
    return step


def _no_sync(_: Any) -> None:
    """What a killed process has written is there for the next one without it, and much sooner."""


def main() -> None:
    os.fsync = _no_sync  # type: ignore[assignment] # it is called with a handle only
    folder, how, seed, wanted = sys.argv[1:]
    trial = Trial(Path(folder), int(seed))
    with prices_read_once():
        died = at_every_step(trial) if how == "steps" else at_random(trial, int(wanted))
    print(died, flush=True)
    # All is checked. A process that has forked may fail to join the threads of its libraries.
    os._exit(0)


if __name__ == "__main__":
    main()
