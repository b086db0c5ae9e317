"""Fuzz: fixtures with changes that nobody would make, read afresh and through a ledger."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

from tests.campaign.mutate import mutate
from tests.campaign.trial import Failed, answer, files_of, put_case, same, signature, some_case


def trial(random: Random, folder: Path) -> str:
    """One to three fixtures, some of their files changed; which source the first is of."""
    logs = folder / "logs"
    chosen = {some_case(random) for _ in range(random.choice((1, 1, 1, 2, 3)))}
    for case in sorted(chosen):
        put_case(case, logs)
    files = files_of(logs)
    for path in random.sample(files, min(len(files), random.randint(1, 2))):
        if path.exists():  # a log that SQLite carried over is gone
            mutate(path, random)
    try:
        attempt(logs, folder)
    except Exception as error:
        smaller(logs, folder, signature(error))
        raise
    return min(chosen).parent.name


def attempt(logs: Path, folder: Path) -> None:
    """Read it afresh, then into a ledger, then from the ledger: the same, and it adds up."""
    ledger = folder / "ledger"
    shutil.rmtree(ledger, ignore_errors=True)
    fresh = answer(folder, None, [logs])
    same(answer(folder, ledger, [logs]), fresh, "the first look through a ledger differs")
    same(answer(folder, ledger, [logs]), fresh, "the second look through a ledger differs")


def smaller(logs: Path, folder: Path, wanted: str) -> None:
    """Leave of the input what is needed to fail alike: fewer files, then fewer lines."""
    for path in files_of(logs):
        content = path.read_bytes()
        path.unlink()
        if not _fails(logs, folder, wanted):
            path.write_bytes(content)
    for path in files_of(logs):
        _fewer_lines(path, logs, folder, wanted)


def _fewer_lines(path: Path, logs: Path, folder: Path, wanted: str) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    size = len(lines) // 2
    while size and len(lines) < 5000:
        at = 0
        while at < len(lines):
            left = lines[:at] + lines[at + size :]
            path.write_bytes(b"".join(left))
            if _fails(logs, folder, wanted):
                lines = left
            else:
                at += size
        size //= 2
    path.write_bytes(b"".join(lines))


def _fails(logs: Path, folder: Path, wanted: str) -> bool:
    try:
        attempt(logs, folder)
    except Failed as failed:
        return signature(failed) == wanted
    except Exception as error:  # noqa: BLE001 - any may be the wanted one
        return signature(error) == wanted
    return False
