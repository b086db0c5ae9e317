"""Tries what nobody thought of, for as long as is asked, and keeps what failed.

    python -m tests.campaign fuzz|kill|damage|cut|grow --seconds N --seed S [--keep DIR] [--trial N]

What a test of the suite tries with few made-up examples it tries with more by `pytest --examples
20`, and kills of commands and mutations of fixtures go on here for as long as there is time.

Each trial is made from the seed and its number alone, so `--trial` repeats one. A worker makes
them, one after the other; where it dies or hangs, that is the trial's failure and another worker
goes on with the next. What failed lies in the folder `--keep`, made as small as could be.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from random import Random
from typing import Final

from tests.campaign import cut, damage, fuzz, grow, kill
from tests.campaign.trial import Failed, signature

_TRIALS: Final[dict[str, Callable[[Random, Path], str]]] = {
    "fuzz": fuzz.trial,
    "kill": kill.trial,
    "damage": damage.trial,
    "cut": cut.trial,
    "grow": grow.trial,
}
_LONGEST: Final = 90.0  # seconds that a trial may take; the slowest takes some ten


def main() -> None:
    """Run the campaign that the command line asks for; exit 1 where a trial failed."""
    asked = _arguments()
    if asked.trial is not None:
        _one(asked.what, asked.seed, asked.trial, asked.keep)
    elif asked.worker is not None:
        _work(asked.what, asked.seed, asked.worker, asked.keep)
    else:
        sys.exit(_campaign(asked.what, asked.seconds, asked.seed, asked.keep))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaign",
        description="Tries what nobody thought of, and keeps what failed.",
        epilog="The tests try few made-up examples; `pytest --examples 20` tries 20 times as many.",
    )
    parser.add_argument("what", choices=sorted(_TRIALS))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "campaign")
    parser.add_argument("--trial", type=int, help="repeat this trial alone")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _campaign(what: str, seconds: float, seed: int, keep: Path) -> int:
    until = time.monotonic() + seconds
    counts: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    number = 0
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        room = Path(name)  # what a worker that was lost has left goes with it
        while time.monotonic() < until:
            for outcome in _outcomes(what, seed, number, room, keep, until):
                kind, _, words = outcome.partition(" ")
                counts["failed" if kind == "failed" else words] += 1
                if kind == "failed":
                    failures[words] += 1
                    print(f"trial {number}: {words}", flush=True)
                number += 1
    _print_counts(what, seed, number, counts, failures, keep)
    return 1 if failures else 0


def _print_counts(  # noqa: PLR0917 - all that there is to say
    what: str, seed: int, trials: int, counts: Counter[str], failures: Counter[str], keep: Path
) -> None:
    print(f"{what}, seed {seed}: {trials} trials, {sum(failures.values())} failed")
    for words, n in sorted(counts.items()):
        print(f"  {n:>7} {words}")
    for words, n in failures.most_common():
        print(f"  {n:>7} × {words}")
    if failures:
        print(f"kept in {keep}")


def _outcomes(  # noqa: PLR0917 - a trial by its name, and where it leaves what
    what: str, seed: int, first: int, room: Path, keep: Path, until: float
) -> Iterator[str]:
    """One line a trial, until time is up or the worker is lost; then its input is kept."""
    command = [sys.executable, "-m", "tests.campaign", what, "--seed", str(seed)]
    command += ["--keep", str(keep), "--worker", str(first)]
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(room)}
    number = first
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as worker:
        assert worker.stdout is not None
        lines: Queue[str | None] = Queue()
        threading.Thread(target=_pass_on, args=(worker.stdout, lines), daemon=True).start()
        try:
            while time.monotonic() < until:
                line = lines.get(timeout=_LONGEST)
                if line is None:
                    _keep(_left(room), keep / f"{what}-{seed}-{number}", "it died")
                    yield f"failed the process died (exit {worker.wait()})"
                    return
                number += 1
                yield line
        except Empty:
            _keep(_left(room), keep / f"{what}-{seed}-{number}", "it hung")
            yield f"failed no end within {_LONGEST:.0f} s"
        finally:
            worker.kill()


def _left(room: Path) -> Path:
    """The folder of the trial that a lost worker was at."""
    return max(room.glob("trial-*"), key=lambda folder: folder.stat().st_mtime)


def _pass_on(stream: Iterator[str], lines: Queue[str | None]) -> None:
    for line in stream:
        lines.put(line.rstrip("\n"))
    lines.put(None)


def _work(what: str, seed: int, number: int, keep: Path) -> None:
    while True:
        print(_tried(what, seed, number, keep), flush=True)
        number += 1


def _tried(what: str, seed: int, number: int, keep: Path) -> str:
    folder = Path(tempfile.mkdtemp(prefix="trial-"))
    try:
        return f"passed {_TRIALS[what](Random(f'{seed} {number}'), folder)}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        kept = keep / f"{what}-{seed}-{number}"
        _keep(folder, kept, "".join(traceback.format_exception(error)))
        return f"failed {signature(error)}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(folder: Path, kept: Path, words: str) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(folder, kept, symlinks=True)
    (kept / "FAILED.txt").write_text(words, errors="backslashreplace")


def _one(what: str, seed: int, number: int, keep: Path) -> None:
    folder = keep / f"{what}-{seed}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        print(_TRIALS[what](Random(f"{seed} {number}"), folder))
    except Failed as failed:
        sys.exit(f"{failed}\nkept in {folder}")


if __name__ == "__main__":
    main()
