"""A client being played: its scenarios one after the other, with tallybook run after each."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from tests.clients.room import NotPlayed, Room
from tests.clients.upstream import Answered, Script

Row = dict[str, Any]

_WORDS: Final = re.compile(r"[a-z]{3}")  # and not the frame around them


@dataclass
class Play:
    """One client version, or one upgrade, in one home: what it wrote and what was answered."""

    label: str
    room: Room
    home: Path
    logs: tuple[Path, ...]
    lacks: frozenset[str] = frozenset()  # buckets that this version's way of counting has not
    left_out: dict[str, str] = field(default_factory=dict)  # scenarios not played, and why
    played: str = ""  # the play whose logs these are, where they are seen in another way
    ledger: str = ""  # the ledger of that play, where it is what is to be seen
    suffixes: tuple[str, ...] = (".json", ".jsonl")  # of the logs, in lower case

    @property
    def script(self) -> Script:
        """What the stand-in is to answer, and has answered."""
        return self.room.upstream.script

    @property
    def answered(self) -> list[Answered]:
        """The calls that were answered while this was played."""
        start = f"{self.played or self.label}: "
        return [one for one in self.script.answered if one.during.startswith(start)]

    def keep(self, printed: str) -> None:
        """Keep what a command printed as a user does who sends it to a file."""
        folder = self.home / "captures"
        folder.mkdir(exist_ok=True)
        number = len(list(folder.iterdir())) + 1
        (folder / f"{number:03d}.jsonl").write_text(printed, "utf-8")

    def captures_alone(self) -> Play:
        """The same play as somebody sees it who has the captures and not the home."""
        label = f"{self.label}, captures alone"
        logs = (self.home / "captures",)
        return replace(self, label=label, logs=logs, left_out={}, played=self.label)

    def kept(self, what: str) -> Play:
        """The same play as its ledger has it after something was done to it."""
        label, ledger = f"{self.label}, {what}", self.ledger or self.label
        return replace(
            self, label=label, left_out={}, played=self.played or self.label, ledger=ledger
        )

    @contextmanager
    def scenario(self, name: str, *, settle: bool = True) -> Iterator[None]:
        """Play a scenario, and note `NotPlayed`; where all is written then, a ledger meets it."""
        self.script.during = f"{self.label}: {name}"
        try:
            yield
        except NotPlayed as reason:
            self.left_out[name] = str(reason)
        if settle:
            self.read(ledger=True)

    def read(self, *, ledger: bool) -> tuple[list[Row], list[Row]]:
        """Export the calls of the logs; their rows, and the problems."""
        calls, problems = self._room / "calls.jsonl", self._room / "problems.jsonl"
        problems.unlink(missing_ok=True)
        words = [] if ledger or self.ledger else ["--no-ledger"]
        words += ["--problems", str(problems)]
        self.tallybook("export", str(calls), *words)
        return _lines(calls), _lines(problems)

    @property
    def _room(self) -> Path:
        """Where tallybook keeps what it is given to keep."""
        name = (self.ledger or self.label).replace(" ", "-")
        folder = self.room.folder / "tallybook" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def tallybook(self, *words: str) -> None:
        """Run a command of tallybook on the logs, with their ledger unless it is to have none."""
        line = [sys.executable, "-m", "tallybook", *words]
        line += [str(log) for log in self.logs if log.exists()]
        if "--no-ledger" not in words:
            line += ["--ledger", str(self._room / "ledger")]
        kept = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HOME": str(self._room)}
        done = subprocess.run(
            [*line, "--timezone", "UTC"],
            env={"PATH": os.environ["PATH"], **kept},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"tallybook {words[0]} ended with {done.returncode}: {done.stderr}")


def _lines(file: Path) -> list[Row]:
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def succeed(done: subprocess.CompletedProcess[str]) -> str:
    """The output of a command that ended well; `NotPlayed` with its last word otherwise."""
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if _WORDS.search(line)]
        words = f": {said[-1].strip()[:160]}" if said else ""
        raise NotPlayed(f"{_name(done.args)} ended with {done.returncode}{words}")
    return done.stdout


def _name(line: Sequence[str | Path]) -> str:
    """A command without its folder, and without a program that it is given as a word."""
    words = [word for word in map(str, line[1:3]) if "\n" not in word]
    return " ".join([Path(line[0]).name, *words])
