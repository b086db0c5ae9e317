"""Fills the template of the page: the cells of the table view, their raw values, more reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final

from jinja2 import DictLoader, Environment, StrictUndefined

from tallybook.render import problems, usage, words
from tallybook.render.html.chart import Chart, chart, stacks, unit
from tallybook.render.table import Column
from tallybook.render.text import visible, visible_json
from tallybook.report.query import TIME_KEYS, Query
from tallybook.report.summary import Report

Row = Mapping[str, Any]
THREADS: Final = 500  # rows of the thread table; the rest is one row
_COLOURS: Final = 8  # of the style sheet; the last series is grey
_PROBLEMS: Final = 50
_UNKNOWN: Final = "(unknown)"
_HITS: Final = "Cache hits"
# Heading in the table view -> field that the column sorts by.
_SORTED_BY: Final = {
    **{heading: name for heading, name, _ in usage.COUNTS},
    "Cost": "cost_usd",
    "Cost range": "cost_low_usd",
    "Reported": "reported_cost_usd",
}


def sections(answer: Callable[[Query], Report], query: Query) -> dict[str, Report]:
    """The reports under `time` (a time key and the model), `models` and `threads`."""
    plain = replace(query, sort=None, limit=None)
    days = answer(replace(plain, by=("day",)))
    return {
        "time": answer(replace(plain, by=(unit([row["day"] for row in days.rows]), "model"))),
        "models": answer(replace(plain, by=("model",))),
        "threads": answer(replace(plain, by=("root-thread",), limit=THREADS)),
    }


def page(answer: Row, sections: Mapping[str, Row]) -> str:
    """The page for the envelope of a report and those of its `sections`.

    Every figure is taken from the envelopes; the answer lies in the page as JSON, too.
    """
    folder = files("tallybook.render.html")
    names = ("report.html", "style.css", "script.js")
    templates = {name: (folder / name).read_text("utf-8") for name in names}
    environment = Environment(
        loader=DictLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        title=usage.title(answer["query"]),
        answer=answer,
        cards=_cards(answer),
        drawing=_drawing(sections["time"]),
        tables=_tables(answer, sections),
        problems=_problems(answer["coverage"]),
        coverage=words.coverage_line(answer["coverage"], answer["totals"]),
        caveats=_caveats(answer),
        document=_document(answer),
    )


def _problems(coverage: Row) -> dict[str, Any]:
    """A line a code, and the first entries of the list; how many of how many these are."""
    shown = coverage["problem_list"][:_PROBLEMS]
    count, listed = sum(coverage["problems"].values()), sum(entry["count"] for entry in shown)
    return {
        "count": f"{count:,}",
        "codes": problems.problem_lines(coverage, None),
        "entries": [problems.entry_line(entry) for entry in shown],
        "left": f"{count - listed:,}" if count > listed else "",
    }


def _cards(answer: Row) -> list[tuple[str, str, str]]:
    """Heading, figure and a word about it."""
    totals = answer["totals"]
    cells = {column.title: column.total for column in usage.columns({**answer, "rows": []})}
    return [
        ("Cost", cells["Cost"], _bounds(cells.get("Cost range", ""))),
        ("Tokens", cells["Total"], f"{cells['Input']} in, {cells['Output']} out"),
        ("Calls", cells["Calls"], f"{answer['coverage']['duplicates']:,} duplicates left out"),
        (_HITS, share(totals), "of the input came from a cache"),
    ]


def _bounds(range_: str) -> str:
    """What the card of the cost says below it, by the cell of the cost's range."""
    if range_.startswith(usage.AT_LEAST):
        return f"at least {range_.removeprefix(usage.AT_LEAST)}"
    return f"between {range_}" if range_ not in {"", usage.NULL} else "at the list price of the day"


def share(row: Row) -> str:
    """The part of the input that was read from a cache; marked where some rows do not say.

    Where the input may be more the part may be less.
    """
    cached, whole = row["cached_input_tokens"], row["input_tokens"]
    if cached is None or not whole:
        return usage.NULL
    least = row["at_least"]
    sure = usage.AT_LEAST if "cached_input_tokens" in least else ""
    mark = usage.ABOUT if "input_tokens" in least else sure
    return f"{mark}{100 * cached / whole:.1f} %"


def _drawing(time: Row) -> dict[str, Any] | None:
    """The chart over time with its legend: cost, or tokens where nothing has a price."""
    priced = time["totals"]["cost_usd"] not in {None, "0"}
    measure, sign = ("cost_usd", "$") if priced else ("total_tokens", "")
    key = next(key for key in TIME_KEYS if key in time["query"]["by"])
    bars = stacks(time["rows"], key, measure, _COLOURS)
    series = [
        ("others" if model is None else visible(model) or _UNKNOWN, values)
        for model, values in bars["series"]
    ]
    drawn: Chart | None = chart(bars["times"], series, sign)
    if drawn is None:
        return None
    what = "Cost" if priced else "Tokens"
    legend = [
        (name, f"{sign}{sum(values, Decimal()):,.{2 if sign else 0}f}") for name, values in series
    ]
    return {"title": f"{what} by {key} and model", "chart": drawn, "legend": legend}


def _tables(answer: Row, sections: Mapping[str, Row]) -> list[dict[str, Any]]:
    """The by table first, then those by model and by thread that it does not repeat."""
    by = answer["query"]["by"]
    shown = [("By " + ", ".join(by), answer)]
    shown += [("By model", sections["models"])] if by != ["model"] else []
    shown += [("By thread", sections["threads"])] if by != ["root-thread"] else []
    return [_table(heading, each) for heading, each in shown if each["rows"]]


def _table(heading: str, answer: Row) -> dict[str, Any]:
    rows, totals = answer["rows"], answer["totals"]
    hits = Column(_HITS, [share(row) for row in rows], share(totals))
    # What the page is opened for stands where a narrow window shows it.
    columns = sorted([*usage.columns(answer), hits], key=_place)
    body = [
        [(column.cells[n], _raw(column, row), bool(column.cut)) for column in columns]
        for n, row in enumerate(rows)
    ]
    return {"heading": heading, "columns": columns, "body": body}


def _place(column: Column) -> int:
    return 0 if column.cut else 1 if column.title in {"Cost", "Cost range", _HITS} else 2


def _raw(column: Column, row: Row) -> str | None:
    """What a cell sorts by: text as shown, a number as it is in the JSON; None where unknown."""
    if column.cut:
        return None
    if column.title == _HITS:
        cached, whole = row["cached_input_tokens"], row["input_tokens"]
        return None if cached is None or not whole else repr(cached / whole)
    value = row[_SORTED_BY[column.title]]
    return None if value is None else str(value)


def _caveats(answer: Row) -> list[str]:
    """What a reader must know before believing a figure."""
    totals, coverage = answer["totals"], answer["coverage"]
    unknown = ", ".join(
        f"{name.replace('_', ' ')} in {count:,}" for name, count in totals["unknown"].items()
    )
    origins = ", ".join(f"{name} {count:,}" for name, count in totals["origins"].items())
    left = next((row["rest"] for row in answer["rows"] if "rest" in row), 0)
    found = [
        f"The first {len(answer['rows']) - 1:,} of {len(answer['rows']) - 1 + left:,} rows are "
        "shown, the others as one; --format json or csv writes all."
        if left
        else "",
        "Costs are list prices at the time of each call, not an invoice.",
        f"Not stated by the logs: {unknown} records." if unknown else "",
        f"{totals['unpriced_tokens']:,} tokens have no price and cost nothing here."
        if totals["unpriced_tokens"]
        else "",
        f"{coverage['undated']:,} records without a time are left out."
        if coverage["undated"]
        else "",
        f"Where the counts come from (records): {origins}." if origins else "",
        "; ".join(f"{mark} {meaning}" for mark, meaning in usage.LEGEND.items()) + ".",
    ]
    return [line for line in found if line]


def _document(answer: Row) -> str:
    """The envelope as JSON that cannot end the script element it stands in."""
    text = visible_json(json.dumps({**answer, "rows": list(answer["rows"])}, ensure_ascii=False))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
