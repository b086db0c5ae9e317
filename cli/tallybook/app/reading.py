"""What every command over usage does: read the logs, remark on them, judge them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tallybook.app import terminal
from tallybook.app.output import say

if TYPE_CHECKING:
    from tallybook.ledger import Asked, Reading
    from tallybook.report.summary import Report

_INCOMPLETE = 3


def read(question: Asked) -> Reading:
    """Read what is asked for, with a bar on a terminal."""
    from tallybook.ledger import usage  # noqa: PLC0415 - loads the readers

    with terminal.progress(sys.stderr) as progress:
        return usage(question, progress)


def question(
    paths: list[Path] | None,
    prices: Path | None,
    ledger: Path | None,
    *,
    keep: bool,
    as_recorded: bool = False,
) -> Asked:
    """What the options ask of the ledger; not to `keep` is to read everything afresh."""
    from tallybook.ledger import Asked  # noqa: PLC0415 - as above

    home = terminal.home_folder(os.environ)
    return Asked(
        paths=paths or None,
        environment=os.environ,
        home=home,
        ledger=terminal.ledger_folder(os.environ, home, ledger) if keep else None,
        cache=terminal.cache_folder(os.environ, home) if keep else None,
        price_file=prices,
        as_recorded=as_recorded,
    )


def remark(report: Report, reading: Reading, text: str = "") -> None:
    """Say on standard error what the report leaves out, and what the marks in `text` mean."""
    from tallybook.render import usage, words  # noqa: PLC0415

    if not report.rows:
        say(
            *words.empty_lines(report.coverage, [str(place) for place in reading.searched]),
        )
    say(*reading.notes)
    say(
        *(words.unmatched_line(odd.name, odd.value, odd.known) for odd in report.unmatched),
    )
    say(*words.problem_lines(report.coverage))
    say(*filter(None, [usage.legend(text)]))
    say(words.coverage_line(report.coverage, report.totals))


def judge(totals: Mapping[str, Any], coverage: Mapping[str, Any]) -> None:
    """Exit with 3 where something is incomplete."""
    from tallybook.report.coverage import shortfalls  # noqa: PLC0415

    reasons = shortfalls(totals, coverage)
    if reasons:
        say(f"strict: {', '.join(reasons)}")
        raise typer.Exit(_INCOMPLETE)
