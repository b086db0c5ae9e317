"""`tallybook export`: one row per call, or the rows of a report, as a file for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tallybook import __version__
from tallybook.commands import options
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

\b
The suffix picks the format. In CSV an empty cell is null, and text that a
spreadsheet would run as a formula begins with an apostrophe."""


@app.command("export", epilog=_EXAMPLES, short_help="One row per call as CSV, Parquet or JSONL.")
@over_usage
def export(
    usage: UsageOptions,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            parser=options.named("FILE"),
            help="What to write: .csv, .parquet or .jsonl.",
        ),
    ],
    by: options.ExportBy = None,
) -> None:
    """Write one row per call, or the rows of --by, to a file that other programs read."""
    if file.suffix.lower() not in _SUFFIXES:
        raise UsageError(
            f"{file}: its suffix names no format", hint=f"suffixes: {', '.join(_SUFFIXES)}"
        )
    query, question = usage.query(by), usage.question(file)

    def written(reading: Reading, report: Report) -> int:
        rows = _calls(reading, report.query) if by is None else _tables(report)
        return _write(file, rows, "calls" if by is None else ",".join(query.by))

    found, count = answer("export", question, query, written, problems=usage.problems)
    say(f"{counted(count or 0, 'row')} written to {file}")
    remark(found)
    if usage.strict:
        judge(found)


def _calls(reading: Reading, query: Query) -> Iterator[pl.DataFrame]:
    from tallybook.report.export import calls

    for usage in reading.batches():
        yield calls(usage.lazy(), query).collect()


def _tables(report: Report) -> Iterator[pl.DataFrame]:
    from tallybook.report.export import tables

    yield from tables(report)


def _write(file: Path, rows: Iterator[pl.DataFrame], what: str) -> int:
    """Number of rows written; `what` says in the file's metadata what a row is."""
    from tallybook.render import batches
    from tallybook.report.export import EXPORT_VERSION, OWN_TEXT

    write: Write = {
        ".csv": batches.write_csv,
        ".parquet": batches.write_parquet,
        ".jsonl": batches.write_jsonl,
    }[file.suffix.lower()]
    metadata = {
        "schema": "tallybook/export",
        "schema_version": str(EXPORT_VERSION),
        "tool_version": __version__,
        "rows": what,
    }
    with writing(file) as stream:
        return write(rows, stream, own_text=OWN_TEXT, metadata=metadata)
