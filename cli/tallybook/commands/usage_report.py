"""`tallybook usage-report`: usage and cost of the calls in logs, grouped."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tallybook.commands import options
from tallybook.commands.answering import answer, envelope_of, judge, remark, report_of
from tallybook.commands.options import UsageOptions, with_options
from tallybook.commands.output import Forms, chosen_format, put, put_answer
from tallybook.commands.program import app
from tallybook.errors import UsageError

if TYPE_CHECKING:
    from tallybook.ledger.reading import Reading
    from tallybook.report.summary import Report

_COMMAND = "usage-report"
_EXAMPLES = """\b
Examples:
  tallybook usage-report                            all known places, by model
  tallybook usage-report --by day --since 7d        the last seven days
  tallybook usage-report --by root-thread --limit 10
  tallybook usage-report --by week --last 4 --model 'claude-*'
  tallybook usage-report --by project --since 2026-11-01 --until 2026-11-30
  tallybook usage-report ~/backup/sessions logs.jsonl.zst --json
  tallybook usage-report --by month -o usage.csv
  tallybook usage-report --problems problems.csv

\b
Exit codes: 0 done, 1 could not do it, 2 wrong usage,
3 with --strict where something was skipped, unpriced or unknown."""


@app.command(_COMMAND, epilog=_EXAMPLES, short_help="Usage and cost by model, day, project, ...")
@with_options(UsageOptions)
def usage_report(  # noqa: PLR0913, PLR0917 - one parameter an option
    usage: UsageOptions,
    by: options.By = None,
    sort: options.Sort = None,
    reverse: options.Reverse = False,
    limit: options.Limit = None,
    last: options.Last = None,
    format_: options.Format = None,
    json: options.Json = False,
    output: options.Output = None,
    columns: options.Columns = None,
    wide: options.Wide = False,
    backfill: options.Backfill = False,
) -> None:
    """Usage and cost of the calls in logs, grouped, each call counted once."""
    chosen = chosen_format(format_, json=json, target=output)
    if backfill and usage.as_recorded:
        raise UsageError("--backfill and --as-recorded exclude each other")
    names = options.column_names(columns)
    query = usage.query(by, sort=sort, reverse=reverse, limit=limit, last=last)
    if chosen == "html":
        query = query.for_page()
    found, page = answer(
        _COMMAND,
        usage.question(output, "-o"),
        query,
        _page if chosen == "html" else _nothing,
        problems=usage.problems,
        backfill=backfill,
        keeps=chosen != "html",
        again=chosen == "html",
    )
    from tallybook.render.usage import Drawn, markdown_lines, table_lines, usage_csv

    drawn = Drawn()
    if page:
        put([page], chosen, output)
    else:
        tables = (partial(f, wanted=names, drawn=drawn) for f in (markdown_lines, table_lines))
        put_answer(found.envelope, Forms(usage_csv, *tables), chosen, output, wide=wide)
    remark(found, drawn.marks, drawn.left_out)
    if usage.strict:
        judge(found)


def _nothing(_reading: Reading, _report: Report) -> str:
    """The answer is all that is asked for."""
    return ""


def _page(reading: Reading, report: Report) -> str:
    """The page, which takes more reports than the one that is asked for."""
    from tallybook.render.html.page import page, sections

    more = sections(lambda query: report_of(reading, query), report.query)
    apart = {name: envelope_of(_COMMAND, each, reading) for name, each in more.items()}
    return page(envelope_of(_COMMAND, report, reading), apart)
