"""`tallybook` alone: what was used today, this week, in the last seven days and this month."""

from __future__ import annotations

import os
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from tallybook.commands import terminal
from tallybook.commands.answering import answer, question_of, remark
from tallybook.commands.output import put, say, stdout_colour, stdout_width
from tallybook.render.formats import priced_by
from tallybook.report.fields import together
from tallybook.report.query import Query

_HINT: Final = (
    "tallybook usage-report --by day,model   more of it; --help says what else there is",
    "tallybook explain day=TODAY             what a figure is made of",
)


def overview() -> None:
    """Print the periods as one table, of the known places and in the machine's time zone."""
    from tallybook.render.usage import Drawn, period_lines

    zone = terminal.machine_zone(os.environ)
    today = datetime.now(ZoneInfo(zone)).date()
    begun = periods(today)
    query = Query(by=("day",), timezone=zone, since=min(begun.values()), until=today)
    question = question_of(None, None, None, no_ledger=False, as_recorded=False)
    found, _ = answer("usage-report", question, query, lambda *_: None, keeps=True)
    rows = found.envelope["rows"]
    sums = {
        name: together(row for row in rows if row["day"] >= since.isoformat())
        for name, since in begun.items()
    }
    drawn = Drawn()
    if found.envelope["coverage"]["records_read"]:
        put(period_lines(sums, stdout_width(), colour=stdout_colour(), drawn=drawn), "table")
    remark(found, drawn.marks)
    hints = (line.replace("TODAY", today.isoformat()) for line in _HINT)
    say(priced_by(found.envelope), *hints, dim=True)


def periods(today: date) -> dict[str, date]:
    """The periods that end today, by name, with the first day of each."""
    return {
        "Today": today,
        "This week": today - timedelta(days=today.weekday()),
        "Last 7 days": today - timedelta(days=6),
        "This month": today.replace(day=1),
    }
