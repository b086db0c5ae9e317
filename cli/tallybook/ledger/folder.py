"""The folder of a ledger: its lock, what lies in it, and how it is kept clean."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from tallybook.errors import UsageError
from tallybook.ledger import older
from tallybook.ledger.catalog import JOURNAL, NAME, PARTS, is_catalog
from tallybook.ledger.manifest import Manifest
from tallybook.private import make_folder, open_own, sweep, tighten

_ASIDE: Final = ".aside"
_ANOTHER: Final = "name an empty folder, or one that is not there yet"
_LOCK: Final = "lock"
_POLL_SECONDS: Final = 0.02
# What may lie in the folders within; nothing else is ever removed from them.
_OURS: Final = re.compile(
    r"index|objects|\d{4}-\d{2}-\d{2}\.[0-9a-f]{16}\.prices|[0-9a-f]{24,}\.(?:.*\.)?(?:parquet|states|links|answer|watch|sums)|.*\.aside"
)
# What systems leave in folders of their own accord.
_LITTER: Final = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", "lost+found"})


class Folder:
    """Paths in a ledger; making one touches nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parts = root / PARTS  # reported rows
        self.derived = root / "derived"  # what can be derived again
        self.answers = root / "answers"  # what can be answered again
        self.prices = root / "prices"  # the price tables that were in use

    @property
    def within(self) -> tuple[Path, ...]:
        """The folders in it."""
        return self.parts, self.derived, self.answers, self.prices

    def make(self) -> None:
        """Make the folders, each the user's alone, and clear away what killed runs left in them.

        Raises OSError, and UsageError where the folder is somebody else's.
        """
        self.check()
        for folder in self.within:
            make_folder(folder)
        # The user may have put the ledger behind a link; there are none within.
        tighten(Path(os.path.realpath(self.root)))
        for folder in self.within:
            tighten(folder)
        # The others are written under the lock, and cleared away under it.
        for folder in (self.derived, self.answers):
            sweep(folder)

    def is_ledger(self) -> bool:
        """Whether a run has ever finished here. Raises OSError."""
        olders = (self.root / older.NAME, self.root / older.PREVIOUS)
        return is_catalog(self.root / NAME) or any(map(older.is_manifest, olders))

    def check(self) -> None:
        """Raise UsageError where it is no folder, or holds other things. Raises OSError."""
        if self.root.exists() and not self.root.is_dir():
            raise UsageError(f"{self.root} is no ledger: it is no folder", hint=_ANOTHER)
        with suppress(FileNotFoundError, NotADirectoryError):
            if not self.is_ledger() and (other := self._foreign()):
                raise UsageError(
                    f"{self.root} is no ledger: it holds {other}",
                    hint=_ANOTHER,
                )

    def _foreign(self) -> str | None:
        """The name of something that no run of ours has put here."""
        ours = {JOURNAL, older.NAME, older.PREVIOUS, _LOCK, *_LITTER}
        for path in sorted(self.root.iterdir()):
            if path == self.root / NAME:
                # Without parts beside it, it is somebody else's of the same name.
                if path.lstat().st_size and not self.parts.is_dir():
                    return path.name
            elif path in (*self.within, self.root / older.STATES) and path.is_dir():
                others = [each.name for each in path.iterdir() if not _OURS.fullmatch(each.name)]
                if others:
                    return f"{path.name}/{min(others)}"
            elif path.name not in ours and path.suffix != _ASIDE:
                return path.name
        return None

    @contextmanager
    def lock(self, wait: float) -> Iterator[bool]:
        """Whether this run alone may write, held until the end; waits for at most `wait` seconds.

        Readers take no lock: what they have begun to read is not removed for a generation.
        """
        with os.fdopen(open_own(self.root / _LOCK), "r+b") as file:
            until = time.monotonic() + wait
            while not (held := _try_lock(file)) and time.monotonic() < until:
                time.sleep(_POLL_SECONDS)
            yield held

    def clear(self) -> None:
        """Remove all that can be made again."""
        for folder in (self.derived, self.answers):
            _remove_others(folder, ())

    def sweep(self, manifest: Manifest) -> None:
        """Remove what killed runs left and what neither this nor the last generation refers to.

        And what older versions kept beside.
        """
        kept = {*manifest.parts(), *manifest.before}
        _remove_others(self.parts, kept)
        with suppress(OSError):
            _remove_others(self.root / older.STATES, ())
            (self.root / older.STATES).rmdir()
        older.remove(self.root)
        # Keys of a part that is gone are of no use either.
        stems = {name.partition(".")[0] for name in kept}
        _remove_others(self.derived, stems, suffix=".links")
        _remove_asides(self.root)


def _remove_others(folder: Path, kept: Collection[str], suffix: str = "") -> None:
    """Removes files whose name, or its beginning where a suffix is given, is not among `kept`."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.partition(".")[0] if suffix else entry.name
            is_ours = _OURS.fullmatch(entry.name) and entry.name.endswith(suffix)
            if is_ours and name not in kept:
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
