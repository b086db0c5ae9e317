"""The folder of a ledger: its lock, what lies in it, and how it is kept clean."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tallybook.ledger.manifest import Manifest, load

_ASIDE = ".aside"
_POLL_SECONDS = 0.02


class Folder:
    """Paths in a ledger; making one touches nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parts = root / "parts"  # reported rows
        self.states = root / "states"  # where readers go on
        self.derived = root / "derived"  # what can be derived again
        self.answers = root / "answers"  # what can be answered again

    def make(self) -> None:
        """Make the folders. Raises OSError."""
        for folder in (self.parts, self.states, self.derived, self.answers):
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def lock(self, wait: float) -> Iterator[bool]:
        """Whether this run alone may write, held until the end; waits for at most `wait` seconds.

        Readers take no lock: what they have begun to read is not removed for a generation.
        """
        with (self.root / "lock").open("ab") as file:
            until = time.monotonic() + wait
            while not (held := _try_lock(file)) and time.monotonic() < until:
                time.sleep(_POLL_SECONDS)
            yield held

    def clear(self) -> None:
        """Remove all that can be made again."""
        for folder in (self.derived, self.answers):
            _remove_others(folder, ())

    def sweep(self, manifest: Manifest) -> None:
        """Remove what killed runs left and what neither this nor the last generation refers to."""
        kept = set(manifest.parts()) | set(manifest.states())
        with suppress(Exception):
            before, _ = load_previous(self.root)
            kept |= set(before.parts()) | set(before.states())
        for folder in (self.parts, self.states):
            _remove_others(folder, kept)
        # Keys of a part that is gone are of no use either.
        stems = {name.partition(".")[0] for name in kept}
        _remove_others(self.derived, stems, suffix=".links")
        _remove_asides(self.root)


def load_previous(root: Path) -> tuple[Manifest, str | None]:
    """The manifest of the generation before."""
    return load(root, before=True)


def _remove_others(folder: Path, kept: Collection[str], suffix: str = "") -> None:
    """Removes files whose name, or its beginning where a suffix is given, is not among `kept`."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.partition(".")[0] if suffix else entry.name
            if entry.name.endswith(suffix) and name not in kept:
                with suppress(OSError):
                    Path(entry.path).unlink()


def _remove_asides(folder: Path) -> None:
    for path in folder.glob(f"*{_ASIDE}"):
        with suppress(OSError):
            path.unlink()


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
