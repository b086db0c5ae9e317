"""What is said where our own code fails in reading one file; the other files count."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tallybook.errors import FAILURES
from tallybook.schema import Reported
from tallybook.sources.lines import problem
from tallybook.sources.rows import table

if TYPE_CHECKING:
    import pyarrow as pa

_PACKAGE: Final = Path(__file__).parent.parent


def failure(error: Exception, record: int = 0) -> Reported:
    """The problem that stands for a file, or a record of it, which our code failed to read.

    It names the sort of the error and the place in our code. What the error says is left out, for
    it may quote the log. Raises the error where the tests want it.
    """
    if FAILURES.raised:
        raise error
    return problem(record, "reader-failed", f"{type(error).__name__}{_place(error)}")


def _place(error: Exception) -> str:
    """The innermost line of ours that the error passed: ` at sources/codex/read.py:88`."""
    places = [
        (Path(frame.f_code.co_filename), line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    ours = [(path, line) for path, line in places if path.is_relative_to(_PACKAGE)]
    if not ours:
        return ""
    path, line = ours[-1]
    return f" at {path.relative_to(_PACKAGE).as_posix()}:{line}"


def tables(rows: Sequence[Reported], failed: set[int]) -> Iterator[pa.Table]:
    """As many rows in the REPORTED schema; one that Arrow cannot hold is a problem in its place.

    The indices of those are added to `failed`.
    """
    yield from _tables(rows, 0, failed)


def _tables(rows: Sequence[Reported], first: int, failed: set[int]) -> Iterator[pa.Table]:
    try:
        yield table(rows)
        return
    except Exception as error:  # noqa: BLE001 - told in place of the row
        stands = failure(error, rows[0].record if len(rows) == 1 else 0)
    if len(rows) == 1:
        failed.add(first)
        yield table([stands])
        return
    half = len(rows) // 2
    yield from _tables(rows[:half], first, failed)
    yield from _tables(rows[half:], first + half, failed)
