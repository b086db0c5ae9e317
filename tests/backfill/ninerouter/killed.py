"""Stops runs that write in place at every step, and checks what they leave.

    python -m tests.backfill.ninerouter.killed FOLDER database|document steps|full [EVERY]

`EVERY` passes over all but every so many steps or sizes.
Runs in a process of its own, which can be forked. A step is whatever touches the disk; a full disk
is a limit on how large a file may become.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tallybook.backfill.ninerouter.backup import backups
from tallybook.errors import TallybookError
from tests.backfill.ninerouter.made import CORRECTIONS
from tests.backfill.ninerouter.routers import Database, Document

_PATCHED = (
    (os, "fsync"),
    (os, "link"),
    (os, "open"),
    (Path, "replace"),
    (Path, "unlink"),
    (Path, "write_bytes"),
    (shutil, "copystat"),
)
_DIED = 9
_CONNECT: Any = sqlite3.connect


def stopped(work: Callable[[], object], step: int) -> bool:
    """Whether a process that does this came to its nth step, before which it stops dead."""

    def dying() -> None:
        left = [step]

        def count() -> None:
            left[0] -= 1
            if left[0] < 0:
                os._exit(_DIED)

        for owner, name in _PATCHED:
            setattr(owner, name, _counted(getattr(owner, name), count))
        sqlite3.connect = _connecting(count)
        work()

    return _forked(dying) == _DIED


def _counted(original: Any, count: Callable[[], None]) -> Any:
    def call(*arguments: Any, **options: Any) -> Any:
        count()
        return original(*arguments, **options)

    return call


def _connecting(count: Callable[[], None]) -> Any:
    """Opens databases whose every statement is a step, and every bit of a copy."""
    connect = sqlite3.connect

    class Dying(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            count()
            return super().execute(*arguments)

        def backup(self, *arguments: Any, **_: Any) -> None:
            super().backup(*arguments, pages=1, progress=lambda *_: count())

    def call(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect(*arguments, **options, factory=Dying)

    return call


def on_full_disk(work: Callable[[], object], size: int) -> bool:
    """Whether a process that may write no file beyond this size gave up and said so."""
    import resource  # noqa: PLC0415 - not everywhere

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            work()
        except TallybookError:
            os._exit(_DIED)

    code = _forked(limited)
    assert code in {0, _DIED}
    return code == _DIED


def _forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


class Trial:
    """A router's file that is changed and given back, as it was and as it is to be."""

    def __init__(self, folder: Path, kind: type[Database | Document]) -> None:
        self.folder, self.kind = folder / "trial", kind
        self.begin()
        self.before = self.router.state()
        self.router.change(CORRECTIONS)
        self.after = self.router.state()

    def begin(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.router = self.kind(self.folder)

    def work(self, name: str) -> Callable[[], object]:
        """What is done to the file in another process; it is planned in this one."""
        if name == "restore":
            return self.router.restore
        router, planned = self.router, self.router.plan(CORRECTIONS)
        return lambda: router.apply(planned)

    def check(self, *, is_whole: bool = True) -> None:
        """What a run left: all or nothing; it can be taken back, and the next one completes it."""
        state = self.router.state()
        assert state in (self.before, self.after), state
        found = backups(self.router.path)
        assert found or state == self.before
        if found:
            done = self.router.restore()
            assert (done.skipped, done.lost) == ([], False)
            assert not is_whole or not done.passed_over
        assert self.router.state() == self.before
        self.router.change(CORRECTIONS)
        assert self.router.state() == self.after
        self.router.restore()
        assert self.router.state() == self.before


def at_every_step(trial: Trial, every: int) -> int:
    return sum(
        _deaths(trial, every, begun, work) for begun, work in ((False, "apply"), (True, "restore"))
    )


def _deaths(trial: Trial, every: int, is_changed: bool, work: str) -> int:
    step = 0
    while True:
        trial.begin()
        if is_changed:
            trial.router.change(CORRECTIONS)
        if not stopped(trial.work(work), step):
            return step
        trial.check()
        step += every


def on_disks_of_every_size(trial: Trial, every: int) -> int:
    """From a disk without any room to one with enough; a run that gives up leaves nothing."""
    failures, size = 0, 0
    while True:
        trial.begin()
        failed = on_full_disk(trial.work("apply"), size)
        # SQLite leaves its own two where it cannot shorten them.
        names = {each.name for each in trial.folder.iterdir()} - {
            "data.sqlite-wal",
            "data.sqlite-shm",
        }
        if not failed:
            break
        assert trial.router.state() == trial.before
        assert names == {trial.router.name}, names
        trial.check()
        failures, size = failures + 1, size + 512 * every
    assert trial.router.state() == trial.after
    return failures


def _no_sync(_: Any) -> None:
    """What a killed process has written is there for the next one without it, and much sooner."""


def _not_waiting(*arguments: Any, **options: Any) -> Any:
    connection = _CONNECT(*arguments, **options)
    sqlite3.Connection.execute(connection, "PRAGMA synchronous = OFF")
    return connection


def main() -> None:
    os.fsync = _no_sync  # type: ignore[assignment] # it is called with a handle only
    sqlite3.connect = _not_waiting
    folder, kind, how, *step = sys.argv[1:]
    every = int(step[0]) if step else 1
    trial = Trial(Path(folder), Database if kind == "database" else Document)
    print(at_every_step(trial, every) if how == "steps" else on_disks_of_every_size(trial, every))


if __name__ == "__main__":
    main()
