"""`tallybook reconcile`: how far another's figures are from ours, by day and model, and why."""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from msgspec.structs import replace

from tallybook.commands import options
from tallybook.commands.answering import answer, judge, remark_filters
from tallybook.commands.options import UsageOptions, chosen_zone, with_options
from tallybook.commands.output import Forms, chosen_format, put_answer, say
from tallybook.commands.program import app
from tallybook.errors import TallybookError, UsageError
from tallybook.names import path_of

if TYPE_CHECKING:
    from tallybook.ledger.reading import Reading
    from tallybook.report.differences import Differences
    from tallybook.report.query import Query
    from tallybook.report.statements import Statements

_LOGGED: Final = "logged"
_APART: Final = 1
_MOST_BYTES: Final = 256 << 20  # a call a line, millions of lines
_EXAMPLES = """\b
FILE is one of
  ccusage daily, weekly, monthly or session --json, also of one agent
  tokscale graph, tokscale models, monthly or hourly --json
  exports of usage or of costs, CSV or JSON, of OpenAI and Anthropic
  the activity of OpenRouter, CSV or JSON
  logged: what the logs themselves say that calls cost

\b
Examples:
  tallybook reconcile <(ccusage daily --json)
  tallybook reconcile completions_usage.csv ~/.codex --tolerance 0.5
  tallybook reconcile logged --json

\b
Exit codes: 0 within the tolerance, 1 beyond it or could not do it,
2 wrong usage."""


def _percent(text: str) -> Decimal:
    try:
        found = Decimal(text.removesuffix("%"))
    except InvalidOperation:
        found = Decimal(-1)
    if not 0 <= found <= 100:
        raise UsageError(f"--tolerance {text!r} is no percentage", hint="such as 0.5")
    return found


_Tolerance = Annotated[
    str,
    typer.Option(
        metavar="PERCENT", help="How much of the other's figures all differences may be together."
    ),
]


@app.command(
    "reconcile", epilog=_EXAMPLES, short_help="Compare with another tool, a bill, the logs' costs."
)
@with_options(UsageOptions)
def reconcile(  # noqa: PLR0913, PLR0917 - one parameter an option
    usage: UsageOptions,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            parser=options.named("FILE"),
            help="What another says was used; or logged: what the logs say themselves.",
        ),
    ],
    tolerance: _Tolerance = "1",
    format_: options.TableFormat = None,
    json: options.Json = False,
    output: options.Output = None,
) -> None:
    """Compare what was used with what another tool, a provider's export or the logs themselves say,
    by day and model, and split the difference by cause.

    Days are those of the other: UTC in an export, the machine's in another tool's answer, unless
    --timezone says otherwise. Compared are the days, sources and providers that it speaks of.
    """
    from tallybook.render.reconcile import csv_of, markdown, page

    chosen = chosen_format(format_, json=json, target=output, pageless="reconcile")
    allowed = _percent(tolerance)
    statements = None if str(file) == _LOGGED else _statements(file)
    if statements is not None and usage.timezone is None:
        usage = replace(usage, timezone=statements.zone or chosen_zone(None))
    query, question = usage.query(None), usage.question(output, "-o")
    found, made = answer(
        "reconcile",
        question,
        query,
        lambda reading, report: _compared(reading, report.query, statements),
        problems=usage.problems,
    )
    assert made is not None  # noqa: S101 - no answer is kept
    whole = _whole(found.envelope, *made, allowed)
    put_answer(whole, Forms(csv_of, markdown, page), chosen, output)
    remark_filters(found)
    _remark(whole)
    if not whole["within"]:
        raise typer.Exit(_APART)
    if usage.strict:
        judge(found)


def _statements(file: Path) -> Statements:
    from tallybook.report.statements import read_statements

    try:
        # Its user named it, and may have piped the other tool's answer into it.
        with Path(path_of(os.fspath(file))).open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise OSError(0, f"more than {_MOST_BYTES >> 20} MB")
    except FileNotFoundError as error:
        raise UsageError(f"there is no {file}") from error
    except OSError as error:
        raise TallybookError(f"cannot read {file}: {error.strerror or error}") from error
    return read_statements(content, str(file))


def _compared(
    reading: Reading, query: Query, statements: Statements | None
) -> tuple[Statements, Differences]:
    from tallybook.report.differences import compare
    from tallybook.report.pieces import pieces, reported
    from tallybook.report.statements import Statements

    said = statements or Statements(
        _LOGGED, reported(reading.batches(), query), zone=query.timezone
    )
    if not said.rows:
        raise TallybookError("there is nothing to compare with", hint="no cost is stated at all")
    found = pieces(reading.batches(), query, said, reading.rates)
    return said, compare(found, said, query.timezone)


def _whole(
    document: dict[str, Any], said: Statements, found: Differences, tolerance: Decimal
) -> dict[str, Any]:
    """The JSON document: that of the report with the comparison in the place of its rows."""
    return {
        **document,
        "rows": found.rows,
        "totals": found.totals,
        "statement": {
            "form": said.form,
            "period": said.period,
            "days": [found.sides.first, found.sides.last],
            "undated": found.undated,
            "providers": said.providers,
            "sources": said.sources,
        },
        "tolerance": str(tolerance),
        "within": _is_within(found.totals, tolerance),
    }


def _is_within(totals: Mapping[str, Any], tolerance: Decimal) -> bool:
    """Whether all differences together are no more than so many per cent of the other's sums."""
    for name in ("tokens", "cost_usd"):
        whole = totals["theirs"][name]
        if whole is not None and Decimal(totals["apart"][name]) * 100 > tolerance * Decimal(whole):
            return False
    return True


def _remark(answer: dict[str, Any]) -> None:
    from tallybook.render.reconcile import summary_line

    said = answer["statement"]
    about = [f"providers {', '.join(said['providers'])}"] if said["providers"] else []
    about += [f"sources {', '.join(said['sources'])}"] if said["sources"] else []
    first, last = said["days"]
    periods = f"{said['period']}s of {answer['query']['timezone']}"
    about += [f"{first} to {last}, {periods}"] if first else []
    if said["undated"]:
        say(f"left out: {said['undated']:,} of its figures without a day")
    if about:
        say(f"compared: {'; '.join(about)}")
    say(summary_line(answer))
