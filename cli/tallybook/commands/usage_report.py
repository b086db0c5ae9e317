"""`tallybook usage-report`: usage and cost of the calls in logs, grouped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tallybook import __version__
from tallybook.commands import options
from tallybook.commands.answering import answered, judge, read, remark, told
from tallybook.commands.kept_answers import Answer, Answers
from tallybook.commands.options import UsageOptions, over_usage
from tallybook.commands.output import (
    chosen_format,
    put,
    stdout_colour,
    stdout_width,
    write_problems,
)
from tallybook.commands.program import app
from tallybook.errors import UsageError
from tallybook.render.formats import envelope, json_pieces

if TYPE_CHECKING:
    from tallybook.ledger.question import Question
    from tallybook.ledger.reading import Reading
    from tallybook.report.query import Query
    from tallybook.report.summary import Report

_EXAMPLES = """\b
Examples:
  tallybook usage-report                            all known places, by model
  tallybook usage-report --by day --since 7d        the last seven days
  tallybook usage-report --by root-thread --limit 10
  tallybook usage-report --by project,model --since 2026-11-01 --until 2026-11-30
  tallybook usage-report ~/backup/sessions logs.jsonl.zst --json
  tallybook usage-report --by month -o usage.csv
  tallybook usage-report --problems problems.csv

\b
Exit codes: 0 done, 1 could not do it, 2 wrong usage,
3 with --strict where something was skipped, unpriced or unknown."""


@app.command(
    "usage-report", epilog=_EXAMPLES, short_help="Usage and cost by model, day, project, ..."
)
@over_usage
def usage_report(  # noqa: PLR0913, PLR0917 - one parameter an option
    usage: UsageOptions,
    by: options.By = None,
    sort: options.Sort = None,
    limit: options.Limit = None,
    format_: options.Format = None,
    json: options.Json = False,
    output: options.Output = None,
    backfill: options.Backfill = False,
) -> None:
    """Usage and cost of the calls in logs, grouped, each call counted once."""
    chosen = chosen_format(format_, json=json, target=output)
    if backfill and usage.as_recorded:
        raise UsageError("--backfill and --as-recorded exclude each other")
    query = usage.query(by, sort, limit)
    question = usage.question(output, "-o")
    answer, page = _found(question, query, chosen, usage.problems, backfill=backfill)
    _tell(answer, page, chosen, output)
    if usage.strict:
        judge(answer.envelope["totals"], answer.envelope["coverage"])


def _found(
    question: Question, query: Query, chosen: str, problems: Path | None, *, backfill: bool
) -> tuple[Answer, str]:
    """The answer that was kept where it still holds, else a new one, and the page asked for.

    A kept answer is enough for itself alone: the page and `problems` need the usage.
    """
    from tallybook.ledger.state import state  # noqa: PLC0415 - help needs none

    answers = Answers(question, query, state(question))
    known = None if chosen == "html" or problems or backfill else answers.find()
    if known is not None:
        return known, ""
    kept = None if backfill else answers
    return read(question, lambda reading: _answer(reading, query, chosen, problems, kept))


def _answer(
    reading: Reading, query: Query, chosen: str, problems: Path | None, answers: Answers | None
) -> tuple[Answer, str]:
    """The answer, and the page where one is asked for, which takes more than the answer.

    The problems are written here, for they are those of all rows. Without `answers` to keep it in,
    what can be filled is filled first.
    """
    if answers is None:
        _fill(reading, query.timezone)
    if chosen == "html":
        query = _of_page(query)
    report = answered(reading, query)
    answer = told(_envelope(report, reading), report, reading)
    if answers is not None:
        answers.keep(answer, reading)
    write_problems(problems, reading.batches())
    return answer, _page(answer.envelope, query, reading) if chosen == "html" else ""


def _fill(reading: Reading, zone: str) -> None:
    from tallybook.backfill.plan import fill  # noqa: PLC0415 - only with --backfill

    fill(reading, zone)


def _tell(answer: Answer, page: str, chosen: str, output: Path | None) -> None:
    """Write the page or the answer, and the words about it."""
    marks: set[str] = set()
    if page:
        put([page], chosen, output)
    else:
        put(_rendered(answer.envelope, chosen, marks, to_file=output is not None), chosen, output)
    remark(answer, marks)


def _envelope(report: Report, reading: Reading) -> dict[str, Any]:
    return envelope(
        "usage-report",
        version=__version__,
        query=report.query.document(),
        prices={"sources": reading.price_sources, "digest": reading.price_digest},
        rows=report.rows,
        totals=report.totals,
        coverage=report.coverage,
    )


def _of_page(query: Query) -> Query:
    from tallybook.render.html import shown  # noqa: PLC0415 - after the logs are read

    return shown(query)


def _page(answer: dict[str, Any], query: Query, reading: Reading) -> str:
    from tallybook.render.html import page, sections  # noqa: PLC0415 - loads the template engine

    more = sections(lambda query: answered(reading, query), query)
    return page(answer, {name: _envelope(report, reading) for name, report in more.items()})


def _rendered(
    answer: dict[str, Any], chosen: str, marks: set[str], *, to_file: bool
) -> Iterator[str]:
    """The answer in pieces; the marks that stand in a table are put into `marks`."""
    from tallybook.render import usage  # noqa: PLC0415 - only what the format needs

    if chosen == "json":
        return json_pieces(answer)
    if chosen == "csv":
        return usage.usage_csv(answer)
    if chosen == "markdown":
        return usage.marked(usage.markdown_lines(answer), marks)
    width = None if to_file else stdout_width()
    colour = not to_file and stdout_colour()
    return usage.marked(usage.table_lines(answer, width, colour=colour), marks)
