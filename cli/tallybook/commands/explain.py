"""`tallybook explain`: why a figure is what it is, down to the records and the prices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from msgspec.structs import replace

from tallybook.commands import options
from tallybook.commands.answering import answer, judge, remark_filters
from tallybook.commands.options import UsageOptions, number, with_options
from tallybook.commands.output import Forms, chosen_format, put_answer, say
from tallybook.commands.program import app
from tallybook.errors import TallybookError, UsageError
from tallybook.report.cell import Cell, parse_cell
from tallybook.report.query import parse_keys
from tallybook.urls import is_named_by_url, is_url, path_named

if TYPE_CHECKING:
    from polars import DataFrame

    from tallybook.ledger.reading import Reading
    from tallybook.report.explain import Asked, Explanation
    from tallybook.report.query import Query
    from tallybook.report.summary import Report
    from tallybook.report.working import Place

_UNNAMED: Final = "storage is looked at where its URL is named"
_WHOLE: Final = frozenset({"json", "csv"})
SHOWN: Final = 10  # calls on a page, unless a limit is given
_EXAMPLES = """\b
What is explained:
  model=gpt-5.4,day=2026-11-20   a cell of a report: the values of its keys
  gpt-5.4,2026-11-20             the same behind --by model,day
  total                          the last row of a report
  019a8c1f                       the one thread or call whose id begins so

\b
Examples:
  tallybook explain day=2026-11-20 --source codex
  tallybook explain model=gpt-5.4 LOGS --since 7d --limit 3
  tallybook explain total LOGS --json

\b
What is there on the disk is a PATH. Message texts are never shown: of a
record only numbers under the keys of usage. Exit code 1 where nothing is
in the cell, or has the id."""


_What = Annotated[
    str | None,
    typer.Argument(
        metavar="[ID|CELL]",
        help="A call or thread by the beginning of its id, or KEY=VALUE[,KEY=VALUE]...; "
        "default: total.",
    ),
]
_By = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY[,KEY]...", help="The keys of the report, if CELL has their values alone."
    ),
]
_Limit = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        parser=number,
        help="Tell of the N dearest calls, and of the others together; default: 10 on a page, "
        "all in JSON and CSV.",
    ),
]


@app.command("explain", epilog=_EXAMPLES, short_help="Why a figure is what it is.")
@with_options(UsageOptions)
def explain(  # noqa: PLR0913, PLR0917 - one parameter an option
    usage: UsageOptions,
    what: _What = None,
    by: _By = None,
    limit: _Limit = None,
    format_: options.TableFormat = None,
    json: options.Json = False,
    output: options.Output = None,
    backfill: options.Backfill = False,
) -> None:
    """Say why a figure is what it is: for each call in it the record, the counts as logged and how
    they were read, what was left out for it and why, its price and the arithmetic.
    """
    from tallybook.render.explain import csv_of, markdown, page

    chosen = chosen_format(format_, json=json, target=output, pageless="explain")
    what, usage = _with_path(what, usage)
    if backfill and usage.as_recorded:
        raise UsageError("--backfill and --as-recorded exclude each other")
    keys = parse_keys(by) if by else ()
    cell = parse_cell(what, keys) if what is not None else Cell({})
    query = usage.query(list(cell.values) if cell else None)
    question = usage.question(output, "-o")
    shown = limit if limit is not None or chosen in _WHOLE else SHOWN

    def explained(reading: Reading, report: Report) -> tuple[Asked, Explanation]:
        return _explained(reading, report, what, cell, shown)

    found, made = answer(
        "explain", question, query, explained, problems=usage.problems, backfill=backfill
    )
    assert made is not None  # noqa: S101 - no answer is kept
    whole = _whole(found.envelope, *made)
    put_answer(whole, Forms(csv_of, markdown, page), chosen, output)
    remark_filters(found)
    _judge(whole)
    if usage.strict:
        judge(replace(found, envelope=whole))


def _with_path(what: str | None, usage: UsageOptions) -> tuple[str | None, UsageOptions]:
    """What is to be explained; what is there on the disk is a path."""
    if what == "":
        raise UsageError("ID|CELL is empty", hint="a variable that is not set?")
    if what is None or not _is_there(what):
        return what, usage
    return None, replace(usage, paths=[path_named(what), *(usage.paths or [])])


def _is_there(what: str) -> bool:
    if is_named_by_url(what):
        return True
    try:
        return Path(what).exists()
    except (OSError, ValueError):  # no path can be as long as an id, or hold such signs
        return False


def _explained(
    reading: Reading, report: Report, what: str | None, cell: Cell | None, limit: int | None
) -> tuple[Asked, Explanation]:
    from tallybook.report.explain import Asked, explain, find

    named = {} if cell is not None else find(reading.batches(), what or "")
    asked = Asked(report.query, cell or Cell({}), **named)
    found = explain(reading, asked, lambda rows: _beside(reading, rows), limit)
    if not found.rows and not found.not_counted["records"]:
        there = _there(reading, report.query, cell) if cell else ""
        raise TallybookError("no call is in this cell", hint=there)
    return asked, found


def _there(reading: Reading, query: Query, cell: Cell) -> str:
    """The values that there are of the cell's keys."""
    from tallybook.report.explain import known

    found = known(reading.batches(), query, cell)
    parts = [f"{key}: {', '.join(values)}" for key, values in found.items() if values]
    return "; ".join(parts)


def _beside(reading: Reading, rows: DataFrame) -> Place:
    """What the ledger and the logs have at the records of rows."""
    from tallybook.files.logged import UNREAD, Logged, Record, logged
    from tallybook.ledger.rows import StoredRows
    from tallybook.report.working import STATED, Place

    paths: dict[str, list[Record]] = {}
    for path, source, record, part in rows.select("path", "source", "record", "part").iter_rows():
        paths.setdefault(path, []).append(Record(source, record, part))
    named = tuple(str(each) for each in reading.searched)
    found = {
        path: logged(path, records)
        if path.startswith(named) or not is_url(path)
        else dict.fromkeys(records, Logged(UNREAD, _UNNAMED))
        for path, records in paths.items()
    }
    entries = [entry for entry in reading.entries if entry.path in paths]
    stated = StoredRows(reading.store).rows(entries).select("path", "record", "part", *STATED)
    proofs: dict[str, list[Any]] = {}
    for each in reading.corrections.to_pylist() if reading.corrections is not None else ():
        proofs.setdefault(each["call_id"], []).append(each)

    def at(row: Mapping[str, Any]) -> dict[str, Any]:
        there = found[row["path"]][Record(row["source"], row["record"], row["part"])]
        usage = [{"at": each.at, "usage": each.usage} for each in there.usage]
        return {"state": there.state, "words": there.words or None, "usage": usage}

    return Place(
        reported={
            (row["path"], row["record"], row["part"]): row for row in stated.iter_rows(named=True)
        },
        corrections=proofs,
        logged=at,
    )


def _whole(document: dict[str, Any], asked: Asked, found: Explanation) -> dict[str, Any]:
    """The JSON document: that of the report with the calls and the sums of what was asked for."""
    meant = {"cell": dict(asked.cell.values), "thread": asked.thread, "call": asked.call}
    return {
        **document,
        "query": document["query"] | {"by": list(asked.cell.values)} | meant,
        "rows": found.rows,
        "totals": found.totals,
        "rest": found.rest,
        "not_counted": found.not_counted,
        "adds_up": found.adds_up,
    }


def _judge(answer: Mapping[str, Any]) -> None:
    """Exit with 1 where the explanation contradicts the figure."""
    if not answer["adds_up"]:
        say("error: the calls do not add up to the figure; this is a fault of tallybook")
        raise typer.Exit(1)
