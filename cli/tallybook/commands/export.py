"""`tallybook export`: one row per call, or the rows of a report, as a file for other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from tallybook import __version__
from tallybook.commands import months, options
from tallybook.commands.answering import answer, judge, remark
from tallybook.commands.options import UsageOptions, over_usage
from tallybook.commands.output import say, writing
from tallybook.commands.program import app
from tallybook.errors import UsageError
from tallybook.wording import counted

if TYPE_CHECKING:
    import polars as pl

    from tallybook.ledger.reading import Reading
    from tallybook.render.batches import Write
    from tallybook.report.query import Query
    from tallybook.report.summary import Report

_SUFFIXES: Final = (".csv", ".parquet", ".jsonl")
_EXAMPLES = """\b
Examples:
  tallybook export calls.parquet                    every call of all known places
  tallybook export calls.csv --since 30d --source codex
  tallybook export by-day.csv --by day,model LOGS   the rows of a report instead
  tallybook export calls.csv --bom                  for Excel
  tallybook export lake/                            a folder: month=2026-11/calls.parquet, ...

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
@over_usage
def export(
    usage: UsageOptions,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="What to write: .csv, .parquet or .jsonl; or a folder (DIR/) of Parquet by month.",
        ),
    ],
    by: options.ExportBy = None,
    money: Money = "decimal",
    bom: Bom = False,
) -> None:
    """Write one row per call, or the rows of --by, to a file that other programs read."""
    target = options.named("FILE")(file)
    is_folder = target.suffix.lower() not in _SUFFIXES and months.is_folder(file)
    write = _by_month if is_folder else _to_file
    query = usage.query(by)
    question = usage.question(None if is_folder else target)
    if is_folder:
        months.check(target, query)
    _check(target, by, bom=bom, is_folder=is_folder)

    def written(reading: Reading, report: Report) -> str:
        what = "calls" if by is None else ",".join(query.by)
        wanted = Wanted(target, what, money, bom, reading.price_digest)
        return write(wanted, reading, report)

    found, told = answer("export", question, query, written, problems=usage.problems)
    say(f"{told} {file}")
    remark(found)
    if usage.strict:
        judge(found)


@dataclass(frozen=True, slots=True)
class Wanted:
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
    calls, count = months.write(wanted.target, rows, report.query, wanted.metadata)
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

    write: Write = {
        ".csv": batches.write_csv,
        ".parquet": batches.write_parquet,
        ".jsonl": batches.write_jsonl,
    }[wanted.target.suffix.lower()]
    with writing(wanted.target) as stream:
        if wanted.bom:
            batches.with_byte_order_mark(stream)
        return write(_told(wanted, rows), stream, own_text=OWN_TEXT, metadata=wanted.metadata)
