"""A table of prices is read once in a process, as in a run of the program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest.mock import patch

from tallybook.pricing import rates


@contextmanager
def prices_read_once() -> Iterator[None]:
    """While it lasts; a table that has changed is read again."""
    read = rates._read

    @cache
    def once(path: Path, origin: str, _state: tuple[int, int, int]) -> rates.Table | None:
        return read(path, origin)

    def kept(path: Path, origin: str = "installed") -> rates.Table | None:
        try:
            state = path.stat()
        except OSError:
            return None
        return once(path, origin, (state.st_ino, state.st_size, state.st_mtime_ns))

    with patch.object(rates, "_read", kept):
        yield
