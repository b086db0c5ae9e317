"""Kill: commands that write, killed at any moment; the next one completes what they leave.

Each is a process of its own, as a user starts it. Those that write into the files of 9router are
killed as well: its database is then whole and states either what it did or what was proved.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.campaign.trial import Failed, files_of, put_case, same, some_case
from tests.ledger.homes import FIXTURES, price_cache

_LONGEST: Final = 60.0
# It has rows with the details of their answers, so that there is something to fill.
_ROUTER: Final = FIXTURES / "9router" / "database-details"
_TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
_PLAN: Final = ("backfill", "--apply")


@dataclass(frozen=True)
class _Home:
    """A user's folders; `started` is a command of tallybook in them."""

    folder: Path

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    def started(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "HOME": str(self.folder),
            "XDG_CACHE_HOME": str(price_cache()),
            "TALLYBOOK_LEDGER": str(self.ledger),
            "TZ": "UTC",
        }
        command = [sys.executable, "-m", "tallybook", *arguments]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def run(self, *arguments: str) -> str:
        """What a command that is left alone prints. Raises Failed where it fails."""
        with self.started(*arguments) as process:
            out, said = process.communicate(timeout=_LONGEST)
        if process.returncode != 0 or "Traceback" in said:
            raise Failed(f"{arguments[0]} {arguments[1]}: exit {process.returncode}\n{said}")
        return out

    def killed(self, random: Random, *arguments: str) -> bool:
        """Whether a command was killed before it had ended."""
        with self.started(*arguments) as process:
            time.sleep(random.uniform(0.05, 1.2))
            process.send_signal(signal.SIGKILL)
            process.communicate()
        return process.returncode == -signal.SIGKILL

    def report(self, *options: str) -> str:
        """All that a report says of the logs, but for what the ledger alone can tell."""
        found = json.loads(self.run("usage-report", "--json", *options, str(self.logs)))
        return json.dumps([found["rows"], found["totals"]], indent=1)


def trial(random: Random, folder: Path) -> str:
    """One command killed up to three times, then left alone; which one it was."""
    home = _Home(folder)
    for case in sorted({_ROUTER, some_case(random), some_case(random)}):
        put_case(case, home.logs)
    what = random.choice(sorted(_WHAT))
    _WHAT[what](home, random)
    left = [path for path in files_of(home.ledger) if path.name.endswith(".aside")]
    if left:
        raise Failed(f"left behind in the ledger: {left[0].parent.name}/….aside")
    return what


def _fill(home: _Home, random: Random) -> None:
    for _ in range(random.randint(1, 3)):
        home.killed(random, "usage-report", str(home.logs))
    same(home.report(), home.report("--no-ledger"), "a fill that was killed differs")


def _append(home: _Home, random: Random) -> None:
    home.report()
    put_case(some_case(random), home.logs / "more")
    home.killed(random, "usage-report", str(home.logs))
    same(home.report(), home.report("--no-ledger"), "an append that was killed differs")


def _ledger_command(*arguments: str) -> Callable[[_Home, Random], None]:
    def tried(home: _Home, random: Random) -> None:
        home.report()
        home.killed(random, "ledger", *arguments)
        home.run("ledger", *arguments)
        same(home.report(), home.report("--no-ledger"), f"{arguments[0]} that was killed differs")

    return tried


def _merge(home: _Home, random: Random) -> None:
    home.report()
    other = home.folder / "other"
    home.ledger.rename(other)
    put_case(some_case(random), home.logs / "more")
    home.report()
    home.killed(random, "ledger", "merge", str(other))
    home.run("ledger", "merge", str(other))
    home.run("ledger", "verify")
    same(home.report(), home.report("--no-ledger"), "a merge that was killed differs")


def _backfill(home: _Home, random: Random) -> None:
    wanted = home.report("--backfill")
    recorded = home.report()
    home.killed(random, *_PLAN, str(home.logs))
    home.run(*_PLAN, str(home.logs))
    same(home.report(), wanted, "a backfill that was killed differs")
    home.killed(random, "backfill", "--undo")
    home.run("backfill", "--undo")
    same(home.report(), recorded, "an undo that was killed differs")


def _in_place(home: _Home, random: Random) -> None:
    path = next((home.logs / _ROUTER.parent.name / _ROUTER.name).rglob("data.sqlite"))
    before = _content(path)
    for _ in range(random.randint(1, 2)):
        home.killed(random, *_PLAN, "--in-place", str(home.logs))
        _whole(path)
    home.run(*_PLAN, "--in-place", str(home.logs))
    after = _content(path)
    if after == before:
        raise Failed("in place changed nothing")
    home.killed(random, "backfill", "--restore", str(home.logs))
    if _content(path) not in (before, after):
        raise Failed("a restore that was killed left half of it")
    home.run("backfill", "--restore", str(home.logs))
    if _content(path) != before:
        raise Failed("a restore did not give the first state back")


def _whole(path: Path) -> None:
    with closing(sqlite3.connect(path)) as base:
        ((verdict,),) = base.execute("PRAGMA integrity_check").fetchall()
    if verdict != "ok":
        raise Failed("the database is damaged")


def _content(path: Path) -> list[Any]:
    _whole(path)
    with closing(sqlite3.connect(path)) as base:
        names = [name for (name,) in base.execute(_TABLES).fetchall()]
        return [base.execute(f'SELECT * FROM "{name}"').fetchall() for name in names]  # noqa: S608


_WHAT: Final[dict[str, Callable[[_Home, Random], None]]] = {
    "fill": _fill,
    "append": _append,
    "compact": _ledger_command("compact"),
    "verify": _ledger_command("verify"),
    "merge": _merge,
    "backfill": _backfill,
    "in place": _in_place,
}
