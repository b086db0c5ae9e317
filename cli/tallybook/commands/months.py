"""Writes calls to a folder by month, in the layout of a lake: `month=2026-11/calls.parquet`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tallybook.commands.output import writing
from tallybook.errors import TallybookError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from tallybook.report.query import Query

_FILE: Final = "calls.parquet"
_MONTH: Final = "month="
_QUESTION: Final = "question"
# What makes the months of one folder the answer to one question.
_ASKED: Final = ("timezone", "paths", "all", "as_recorded", "filters")


def is_folder(named: str) -> bool:
    """Whether a folder is to be written: what ends like one, or is one."""
    return named.endswith(("/", os.sep)) or Path(named).is_dir()


def check(folder: Path, query: Query) -> None:
    """Raise UsageError where the months of the query cannot be written there."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    if not folder.absolute().parent.is_dir():
        raise UsageError(f"{folder}: there is no folder {folder.parent}")
    after = query.until and query.until + timedelta(days=1)
    for option, day in (("--since", query.since), ("--until", after)):
        if day is not None and day.day != 1:
            raise UsageError(
                f"{option} cuts a month, and a folder is written by whole months",
                hint=f"such as {_hint(query)}, or name a file",
            )


def _hint(query: Query) -> str:
    if query.since is not None and query.since.day != 1:
        return f"--since {query.since.replace(day=1)}"
    until: date = query.until or date.max
    return f"--until {until.replace(day=1) - timedelta(days=1)}"


def write(
    folder: Path, calls: Iterable[pl.DataFrame], query: Query, metadata: Mapping[str, str]
) -> tuple[int, int]:
    """Number of calls written, and of months: each takes the place of what was there of it.

    All are written aside before the first is put in its place. Raises UsageError where the folder
    has the answer to another question, which would be lost in part, and TallybookError.
    """
    from tallybook.render.batches import GROUP_ROWS, ParquetPart
    from tallybook.report.export import by_month

    asked = {name: query.document()[name] for name in _ASKED} | {"money": metadata["money"]}
    _check_question(folder, asked)
    told = {**metadata, _QUESTION: json.dumps(asked, sort_keys=True)}
    parts: dict[str, ParquetPart] = {}
    with ExitStack() as files:
        for batch in calls:
            for month, own in by_month(batch, query.timezone):
                if month not in parts:
                    target = files.enter_context(_made(folder / f"{_MONTH}{month}")) / _FILE
                    parts[month] = ParquetPart(files.enter_context(writing(target)), told)
                parts[month].hold(own)
            while sum(part.held for part in parts.values()) >= GROUP_ROWS:
                max(parts.values(), key=lambda part: part.held).write()
        return sum(part.close() for part in parts.values()), len(parts)


@contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """A folder, made where it is not there; taken away again where it stays empty."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TallybookError(f"cannot write {folder}: {error.strerror}") from error
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()


def _check_question(folder: Path, asked: Mapping[str, Any]) -> None:
    """Raise UsageError where a month that is there is not of this question, or not ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in sorted(folder.glob(f"{_MONTH}*/{_FILE}")):
        try:
            told = pq.read_metadata(file).metadata or {}
        except (OSError, pa.ArrowInvalid) as error:
            raise UsageError(f"{file} is there, and cannot be read", hint="remove it") from error
        before = json.loads(told.get(_QUESTION.encode(), b"null"))
        if before is None:
            raise UsageError(f"{file} is not of this command", hint="name another folder")
        other = [name for name in asked if before.get(name) != asked[name]]
        if other:
            raise UsageError(
                f"{folder} holds months of another question: {', '.join(other)} "
                f"{'was' if len(other) == 1 else 'were'} another",
                hint="name another folder, or ask as before",
            )
