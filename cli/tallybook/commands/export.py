"""`tallybook export`: a row a call, or the rows of a report, as a file or a folder by month."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import typer

from tallybook import __version__
from tallybook.commands import completion, options
from tallybook.commands.answering import answer, judge, remark
from tallybook.commands.options import UsageOptions, with_options
from tallybook.commands.output import say, writing
from tallybook.commands.program import app
from tallybook.errors import TallybookError, UsageError
from tallybook.wording import counted

if TYPE_CHECKING:
    import polars as pl

    from tallybook.ledger.reading import Reading
    from tallybook.report.query import Query
    from tallybook.report.summary import Report

_SUFFIXES: Final = (".csv", ".parquet", ".jsonl")
# A folder is in the layout of a lake: `month=2026-11/calls.parquet`.
_FILE: Final = "calls.parquet"
_MONTH: Final = "month="
_QUESTION: Final = "question"
# What makes the months of one folder the answer to one question.
_ASKED: Final = ("timezone", "paths", "all", "as_recorded", "filters")
_EXAMPLES = """\b
Examples:
  tallybook export calls.parquet             every call of all known places
  tallybook export calls.csv --since 30d --source codex
  tallybook export days.csv --by day LOGS    the rows of a report instead
  tallybook export calls.csv --bom           for Excel
  tallybook export lake/                     month=2026-11/calls.parquet, ...

\b
The suffix picks the format. In CSV an empty cell is null, and text that a
spreadsheet would run as a formula begins with an apostrophe.

\b
A folder is written by whole months (of --timezone). Each takes the place of
what was there of it, and the months that are not read again stay, so it can
be run every day with --since on the first of the month."""

Money = Annotated[
    Literal["decimal", "float"],
    typer.Option(help="Exact decimals (text in CSV and JSONL), or binary floats (numbers)."),
]
Bom = Annotated[
    bool, typer.Option("--bom", help="Begin a CSV file with the mark by which Excel knows UTF-8.")
]


@app.command("export", epilog=_EXAMPLES, short_help="One row per call as CSV, Parquet or JSONL.")
@with_options(UsageOptions)
def export(
    usage: UsageOptions,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="What to write: .csv, .parquet or .jsonl; or a folder (DIR/) of Parquet by month.",
        ),
    ],
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="KEY[,KEY]...",
            help="Write the rows of a report instead of the calls.",
            autocompletion=completion.keys,
        ),
    ] = None,
    money: Money = "decimal",
    bom: Bom = False,
) -> None:
    """Write one row per call, or the rows of --by, to a file that other programs read."""
    target = options.named("FILE")(file)
    is_folder = target.suffix.lower() not in _SUFFIXES and _is_folder(file)
    write = _by_month if is_folder else _to_file
    query = usage.query(by)
    question = usage.question(None if is_folder else target)
    if is_folder:
        _check_months(target, query)
    _check(target, by, bom=bom, is_folder=is_folder)

    def written(reading: Reading, report: Report) -> str:
        what = "calls" if by is None else ",".join(query.by)
        wanted = Wanted(target, what, money, bom, reading.rates.digest)
        return write(wanted, reading, report)

    found, told = answer("export", question, query, written, problems=usage.problems)
    say(f"{told} {file}")
    remark(found)
    if usage.strict:
        judge(found)


class Wanted(msgspec.Struct, frozen=True):
    """Where to write what (`calls`, or the keys of a report), and how."""

    target: Path
    rows: str
    money: str
    bom: bool
    prices: str  # their digest

    @property
    def metadata(self) -> dict[str, str]:
        """What a file says of itself, where it can."""
        from tallybook.report.export import EXPORT_VERSION

        return {
            "schema": "tallybook/export",
            "schema_version": str(EXPORT_VERSION),
            "tool_version": __version__,
            "rows": self.rows,
            "money": self.money,
            "price_digest": self.prices,
        }


def _check(target: Path, by: Sequence[str] | None, *, bom: bool, is_folder: bool) -> None:
    """Raise UsageError for options that exclude each other, and for a suffix of no format."""
    if is_folder and by is not None:
        raise UsageError("a folder takes one row a call, and --by asks for others")
    suffix = target.suffix.lower()
    if not is_folder and suffix not in _SUFFIXES:
        raise UsageError(
            f"{target}: its suffix names no format",
            hint=f"suffixes: {', '.join(_SUFFIXES)}; or a folder: {target}/",
        )
    if bom and (is_folder or suffix != ".csv"):
        raise UsageError("--bom is for .csv")


def _by_month(wanted: Wanted, reading: Reading, report: Report) -> str:
    rows = _told(wanted, _calls(reading, report.query))
    calls, count = _write_months(wanted.target, rows, report.query, wanted.metadata)
    return f"{counted(calls, 'row')} of {counted(count, 'month')} written to"


def _to_file(wanted: Wanted, reading: Reading, report: Report) -> str:
    rows = _calls(reading, report.query) if wanted.rows == "calls" else _tables(wanted, report)
    return f"{counted(_write(wanted, rows), 'row')} written to"


def _calls(reading: Reading, query: Query) -> Iterator[pl.DataFrame]:
    from tallybook.report.export import calls

    for usage in reading.batches():
        yield calls(usage.lazy(), query).collect()


def _tables(wanted: Wanted, report: Report) -> Iterator[pl.DataFrame]:
    from tallybook.report.export import tables, typed

    # Only Parquet has types for days; as text they are what JSON has.
    is_typed = wanted.target.suffix.lower() == ".parquet"
    yield from map(typed, tables(report)) if is_typed else tables(report)


def _told(wanted: Wanted, rows: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The rows as a file has them: money as is asked for, and by which prices."""
    from tallybook.render.batches import in_floats
    from tallybook.report.export import with_digest

    money = in_floats(rows) if wanted.money == "float" else rows
    return (with_digest(frame, wanted.prices) for frame in money)


def _write(wanted: Wanted, rows: Iterator[pl.DataFrame]) -> int:
    """Number of rows written."""
    from tallybook.render import batches
    from tallybook.report.export import OWN_TEXT

    writers: dict[str, Callable[..., int]] = {
        ".csv": partial(batches.write_csv, own_text=OWN_TEXT),
        ".parquet": partial(batches.write_parquet, metadata=wanted.metadata),
        ".jsonl": batches.write_jsonl,
    }
    with writing(wanted.target) as stream:
        if wanted.bom:
            batches.with_byte_order_mark(stream)
        return writers[wanted.target.suffix.lower()](_told(wanted, rows), stream)


def _is_folder(named: str) -> bool:
    """Whether a folder is to be written: what ends like one, or is one."""
    return named.endswith(("/", os.sep)) or Path(named).is_dir()


def _check_months(folder: Path, query: Query) -> None:
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


def _write_months(
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
