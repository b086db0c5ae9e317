"""What every command over usage does: read the logs, answer, remark on the answer, judge it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from tallybook.commands import terminal
from tallybook.commands.kept_answers import Answer, Answers
from tallybook.commands.output import say, stderr_width, write_problems
from tallybook.errors import UsageError
from tallybook.names import text_of
from tallybook.render.formats import envelope
from tallybook.report.fields import shortfalls
from tallybook.report.query import Query

if TYPE_CHECKING:
    import polars as pl

    from tallybook.ledger.question import Question
    from tallybook.ledger.reading import Reading
    from tallybook.report.summary import Report

_INCOMPLETE = 3
T = TypeVar("T")


def question_of(  # noqa: PLR0913 - one parameter an option
    paths: list[Path] | None,
    prices: Path | None,
    ledger: Path | None,
    *,
    no_ledger: bool,
    as_recorded: bool,
    everything: bool = False,
    apart: bool = False,
    prices_at: str | None = None,
    engine: str | None = None,
) -> Question:
    """What the options ask of the ledger. Raises UsageError."""
    from tallybook.files.engine import HERE, engine_of
    from tallybook.ledger.question import Question

    if ledger and no_ledger:
        raise UsageError("--ledger and --no-ledger exclude each other")
    if prices_at is not None and (prices or no_ledger):
        other = "--prices" if prices else "--no-ledger, for the ledger has kept those prices,"
        raise UsageError(f"--prices-at and {other} exclude each other")
    if everything and (paths or no_ledger):
        raise UsageError(f"--all and {'PATH' if paths else '--no-ledger'} exclude each other")
    home = terminal.home_folder(os.environ)
    return Question(
        paths=paths or None,
        environment=os.environ,
        home=home,
        ledger=None if no_ledger else terminal.ledger_folder(os.environ, home, ledger),
        cache=None if no_ledger else terminal.cache_folder(home),
        price_file=None if prices_at else prices or terminal.price_file(home),
        prices_at=prices_at,
        as_recorded=as_recorded,
        everything=everything,
        apart=apart,
        engine=HERE if engine is None else engine_of(engine),
    )


def read(question: Question, work: Callable[[Reading], T]) -> T:
    """What `work` makes of what is asked for, with a bar on a terminal while it is read."""
    from tallybook.ledger.open import with_usage

    with terminal.progress(sys.stderr) as progress:
        return with_usage(question, work, progress)


def answer(  # noqa: PLR0913 - what is asked, and what comes of it
    command: str,
    question: Question,
    query: Query,
    make: Callable[[Reading, Report], T],
    *,
    problems: Path | None = None,
    backfill: bool = False,
    keeps: bool = False,
    again: bool = False,
) -> tuple[Answer, T | None]:
    """The answer of a command over usage, and what it makes of the usage and the report.

    With `backfill` what can be filled is filled first. A command that `keeps` its answers gives one
    again where it still holds; nothing is read then, and nothing made. What goes over the usage
    `again` finds it derived.
    """
    answers = None
    if keeps and not backfill:
        from tallybook.ledger.digests import basis

        answers = Answers(question, query, basis(question))
    known = answers.find() if answers is not None and problems is None else None
    if known is not None:
        return known, None

    def of(reading: Reading) -> tuple[Answer, T]:
        if again:
            reading.derive_aside()
        if backfill:
            from tallybook.backfill.plan import fill

            fill(reading, query.timezone)
        report = report_of(reading, query)
        found = _answered(command, question, report, reading)
        if answers is not None:
            answers.keep(found, reading)
        made = make(reading, report)
        write_problems(problems, _left(reading, report.query))
        return found, made

    return read(question, of)


def _answered(command: str, question: Question, report: Report, reading: Reading) -> Answer:
    found = envelope_of(command, report, reading)
    if question.price_file is not None:
        found["coverage"]["price_file"] = text_of(str(question.price_file))
    return Answer(found, report.unmatched, list(map(str, reading.searched)), reading.notes)


def _left(reading: Reading, query: Query) -> Iterator[pl.DataFrame]:
    """The rows of every kind that a report speaks of."""
    from tallybook.report.sums import left

    yield from (left(rows, query) for rows in reading.batches())


def report_of(reading: Reading, query: Query) -> Report:
    """The report on what was read."""
    from tallybook.report.summary import answer

    read = {
        "files": reading.files,
        "gone": reading.gone,
        "removed_calls": reading.removed,
        "older_files": len(reading.older),
        "older_calls": reading.older_deleted,
        "not_looked_at": reading.not_looked_at,
    }
    return answer(reading, query, read)


def envelope_of(command: str, report: Report, reading: Reading) -> dict[str, Any]:
    """The JSON document of a report."""
    return envelope(
        command,
        query=report.query.document(),
        prices=reading.rates,
        rows=report.rows,
        totals=report.totals,
        coverage=report.coverage,
        period=report.period,
    )


def remark(answer: Answer, marks: Collection[str] = (), left_out: Collection[str] = ()) -> None:
    """Say on standard error what the report leaves out, and what the `marks` in it mean.

    `left_out` are the columns that found no room.
    """
    from tallybook.render import usage
    from tallybook.render.coverage import (
        coverage_line,
        empty_lines,
        not_looked_at_lines,
        older_line,
        problem_lines,
        removed_line,
        routed_lines,
        total_line,
    )

    coverage = answer.envelope["coverage"]
    if not answer.envelope["rows"]:
        say(*empty_lines(coverage, answer.searched))
    if left_out:
        say(f"no room for {', '.join(left_out)}: --wide or --columns shows them", dim=True)
    remark_filters(answer)
    say(*problem_lines(coverage, stderr_width()))
    odd = [total_line(coverage), older_line(coverage), usage.legend(marks)]
    say(*filter(None, [*odd, removed_line(coverage)]))
    say(*routed_lines(coverage))
    say(*not_looked_at_lines(coverage), dim=True)
    say(coverage_line(answer.envelope))


def remark_filters(answer: Answer) -> None:
    """Say what is to be said of the ledger, and for which names filters stand, or for none."""
    from tallybook.render.coverage import matched_lines, short_line, unmatched_line

    say(*answer.notes)
    for each in answer.unmatched:
        line = short_line if each.is_short else unmatched_line
        say(line(each.name, each.value, each.known))
    say(*matched_lines(answer.envelope["query"]))


def judge(answer: Answer) -> None:
    """Exit with 3 where something is incomplete."""
    reasons = shortfalls(answer.envelope["totals"], answer.envelope["coverage"])
    if reasons:
        say(f"strict: {', '.join(reasons)}")
        raise typer.Exit(_INCOMPLETE)
