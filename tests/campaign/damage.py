"""Damage: a ledger with files that were broken, cut, emptied, lost or mixed up."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random
from typing import Final

from tests.campaign.trial import answer, files_of, put_case, same, some_case

_BLOCK: Final = 64


def trial(random: Random, folder: Path) -> str:
    """A filled ledger, one to three of its files damaged, while all logs are there."""
    logs, ledger = folder / "logs", folder / "ledger"
    for case in sorted({some_case(random) for _ in range(3)}):
        put_case(case, logs)
    wanted = answer(folder, None, [logs])
    same(answer(folder, ledger, [logs]), wanted, "the first look through a ledger differs")
    if random.random() < 0.3:
        _grow(logs, random)
        answer(folder, ledger, [logs])
        wanted = answer(folder, None, [logs])
    there = files_of(ledger)
    harmed = random.sample(there, min(len(there), random.randint(1, 3)))
    for path in harmed:
        _harm(path, there, random)
    same(answer(folder, ledger, [logs]), wanted, f"differs after damage to {_names(harmed)}")
    same(answer(folder, ledger, [logs]), wanted, "the look after the repair differs")
    return harmed[0].parent.name if harmed[0].parent != ledger else harmed[0].name


def _names(harmed: list[Path]) -> str:
    return ", ".join(sorted({path.parent.name for path in harmed}))


def _grow(logs: Path, random: Random) -> None:
    """More of one log, so that there is a generation before."""
    path = random.choice(files_of(logs))
    if path.suffix == ".jsonl":
        path.write_bytes(path.read_bytes() + b"\n\n")


def _harm(path: Path, there: list[Path], random: Random) -> None:
    content = path.read_bytes()
    at = random.randrange(len(content) + 1)
    what = random.randrange(6)
    if what == 0:
        path.unlink()
    elif what == 1:
        path.write_bytes(content[:at])
    elif what == 2:
        path.write_bytes(b"")
    elif what == 3:
        path.write_bytes(content[:at] + random.randbytes(_BLOCK) + content[at + _BLOCK :])
    elif what == 4:
        others = [each for each in there if each.is_file()]
        path.write_bytes(random.choice(others).read_bytes() if others else b"")
    else:
        path.unlink()
        path.mkdir()
        shutil.rmtree(path) if random.random() < 0.5 else None
