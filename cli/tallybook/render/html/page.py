"""Fills the template of the page: cards, charts, tables, and the words that belong to figures."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from hashlib import sha256
from importlib.resources import files
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from jinja2 import DictLoader, Environment, StrictUndefined
from msgspec.structs import replace

from tallybook.render import usage
from tallybook.render.cells import ABOUT, AT_LEAST, NULL, UNKNOWN
from tallybook.render.coverage import (
    coverage_line,
    days,
    entry_line,
    matched_lines,
    not_looked_at_lines,
    older_line,
    problem_lines,
    removed_line,
    routed_lines,
)
from tallybook.render.html import notes
from tallybook.render.html.chart import chart, shares, stacks, unit
from tallybook.render.table import Column
from tallybook.render.text import keep_ends, visible
from tallybook.report.fields import together
from tallybook.report.query import TIME_KEYS, Query
from tallybook.report.summary import Report
from tallybook.wording import counted

Row = Mapping[str, Any]
THREADS: Final = 500  # rows of the thread table; the rest is one row
_COLOURS: Final = 8  # of the style sheet; the last series is grey
_PROBLEMS: Final = 50
_SHARE: Final = "Cached share"
_COST: Final = "Cost"
_RANGE: Final = "Cost range"
_NOTES: Final = "Not known"
_THREADS: Final = {"thread", "root-thread"}
_TEXT: Final = "t"  # class of a heading of names
_NOTE: Final = "n"
# Heading in the table view -> field that the column sorts by where its cells are rounded.
_EXACT: Final = {_COST: "cost_usd", "Reported": "reported_cost_usd"}
# What stands in words beside the row instead.
_IN_WORDS: Final = {_RANGE, "Unpriced"}
_ABOUT: Final = {
    "Input": "all prompt tokens",
    "Uncached": "prompt tokens billed at the full rate",
    "Cached": "prompt tokens read from a cache",
    "Cache write": "prompt tokens written to a cache",
    "Unsplit": "prompt tokens that the log states only as a sum",
    "Output": "generated tokens, reasoning among them",
    "Reasoning": "of the output",
    "Total": "input and output",
    _SHARE: "part of the input that was read from a cache",
    _COST: "at the list price of the day of each call",
    "Reported": "what the logs say that it cost",
}


def sections(answer: Callable[[Query], Report], query: Query) -> dict[str, Report]:
    """The reports under `time` (a time key and the model), `models` and, where it asks for none
    itself, `threads`; none of the last hours, for filters are by day.
    """
    plain = _undivided(answer, query)
    if plain is None:
        return {}
    days = answer(replace(plain, by=("day",)))
    found = {
        "time": answer(replace(plain, by=(unit([row["day"] for row in days.rows]), "model"))),
        "models": answer(replace(plain, by=("model",))),
    }
    if not _THREADS & set(query.by):
        found["threads"] = answer(replace(plain, by=("root-thread",), limit=THREADS))
    return found


def _undivided(answer: Callable[[Query], Report], query: Query) -> Query | None:
    """What asks for the calls of a query whatever the keys; None where no filter does."""
    plain = replace(query, sort=None, reverse=False, limit=None, last=None)
    if query.last is None:
        return plain
    if query.time_keys[0] == "hour":
        return None
    # The first call of the newest periods stands before all others of them.
    begin = days(answer(query).period, query.timezone)[: len("2026-11-20")]
    return replace(plain, since=date.fromisoformat(begin)) if begin else plain


def page(answer: Row, sections: Mapping[str, Row]) -> str:
    """The page for the envelope of a report and those of its `sections`.

    Every figure is taken from the envelopes. Only the script and the style of the page itself may
    run in it, by their hashes.
    """
    folder = files("tallybook.render.html")
    names = ("report.html", "style.css", "script.js")
    template, style, script = ((folder / name).read_text("utf-8") for name in names)
    environment = Environment(
        loader=DictLoader({names[0]: template}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(names[0]).render(
        title=usage.title(answer["query"]),
        answer=answer,
        style=style,
        script=script,
        hashes={"style": _hash(style), "script": _hash(script)},
        cards=_cards(answer),
        drawings=_drawings(sections["time"]) if sections else [],
        tables=_tables(answer, sections),
        problems=_problems(answer["coverage"]),
        coverage=coverage_line(answer),
        caveats=_caveats(answer),
    )


def _hash(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()


def _problems(coverage: Row) -> dict[str, Any]:
    """A line a code, and the first entries of the list; how many of how many these are."""
    shown = coverage["problem_list"][:_PROBLEMS]
    count, listed = sum(coverage["problems"].values()), sum(entry["count"] for entry in shown)
    return {
        "count": f"{count:,}",
        "codes": problem_lines(coverage, None),
        "entries": [entry_line(entry) for entry in shown],
        "left": f"{count - listed:,}" if count > listed else "",
    }


class Card(NamedTuple):
    """A figure of the whole report, and what must be known of it."""

    heading: str
    figure: str
    lines: Sequence[str]


def _cards(answer: Row) -> list[Card]:
    totals, coverage = answer["totals"], answer["coverage"]
    cells = {column.title: column.total for column in usage.columns({**answer, "rows": []})}
    of_cost = notes.of_cost(totals, cells.get(_RANGE, ""))
    of_calls = [
        f"{counted(coverage['duplicates'], 'duplicate')} left out",
        *notes.of_calls(totals),
        *notes.twice(coverage),
    ]
    return [
        Card(_COST, cells[_COST], ["list price of the day of each call, not an invoice", *of_cost]),
        Card(
            "Tokens",
            cells["Total"],
            [f"{cells['Input']} input, {cells['Output']} output", *notes.of_counts(totals)],
        ),
        Card("Calls", cells["Calls"], of_calls),
        Card(
            _SHARE, share(totals), ["of the input was read from a cache", *notes.of_share(totals)]
        ),
    ]


def share(row: Row) -> str:
    """The part of the input that was read from a cache; marked where some rows do not say.

    Where the input may be more the part may be less.
    """
    cached, whole = row["cached_input_tokens"], row["input_tokens"]
    if cached is None or not whole:
        return NULL
    least = row["at_least"]
    sure = AT_LEAST if "cached_input_tokens" in least else ""
    mark = ABOUT if "input_tokens" in least else sure
    return f"{mark}{100 * cached / whole:.1f} %"


def _key(time: Row) -> str:
    """The time key of the report over time."""
    return next(key for key in TIME_KEYS if key in time["query"]["by"])


def _periods(time: Row) -> list[Row]:
    """The sums of its days, weeks or months, those without calls left out."""
    key = _key(time)
    dated = (row for row in time["rows"] if row[key])
    return [{key: each, **together(own)} for each, own in groupby(dated, key=itemgetter(key))]


def _drawings(time: Row) -> list[dict[str, Any]]:
    """The charts over time: cost (tokens where nothing has a price), the share of cached input."""
    priced = time["totals"]["cost_usd"] not in {None, "0"}
    measure, sign = (_EXACT[_COST], "$") if priced else ("total_tokens", "")
    key = _key(time)
    bars = stacks(time["rows"], key, measure, _COLOURS)
    series = [
        ("others" if model is None else visible(model) or UNKNOWN, values)
        for model, values in bars["series"]
    ]
    drawn = chart(bars["times"], series, sign)
    if drawn is None:
        return []
    legend = [
        (name, f"{sign}{sum(values, Decimal()):,.{2 if sign else 0}f}") for name, values in series
    ]
    heading = f"{_COST if priced else 'Tokens'} by {key} and model"
    found = [{"heading": heading, "chart": drawn, "legend": legend, "size": ""}]
    return found + _shares(time, bars["times"], key)


def _shares(time: Row, times: Sequence[str], key: str) -> list[dict[str, Any]]:
    """The chart of the share of cached input; none where nothing states it."""
    periods = {row[key]: row for row in _periods(time)}
    told = [share(periods[each]) if each in periods else NULL for each in times]
    parts = [_part(periods[each]) if each in periods else None for each in times]
    if not any(parts):
        return []
    drawn = shares(times, parts, told)
    return [{"heading": f"{_SHARE} by {key}", "chart": drawn, "legend": [], "size": " low"}]


def _part(row: Row) -> Decimal | None:
    cached, whole = row["cached_input_tokens"], row["input_tokens"]
    return Decimal(cached) / whole if whole and cached is not None else None


def _tables(answer: Row, sections: Mapping[str, Row]) -> list[dict[str, Any]]:
    """The table asked for first, then those by time, model and thread that it does not repeat."""
    by = answer["query"]["by"]
    shown = [(by, answer)]
    if sections:
        key = _key(sections["time"])
        shown += [([key], _newest_first(sections["time"]))] if by != [key] else []
        shown += [(["model"], sections["models"])] if by != ["model"] else []
    shown += [(["thread"], sections["threads"])] if "threads" in sections else []
    return [_table(f"By {', '.join(keys)}", each) for keys, each in shown if each["rows"]]


def _newest_first(time: Row) -> Row:
    """The sums of the periods as an envelope."""
    query = {**time["query"], "by": [_key(time)], "reverse": True}
    return {**time, "rows": _periods(time)[::-1], "query": query}


class Cell(NamedTuple):
    """What a cell shows, its class, and the number that it sorts by where that is another."""

    text: str
    kind: str = ""
    exact: str = ""


def _table(heading: str, answer: Row) -> dict[str, Any]:
    """The template's `heading`, `columns` with what is said of each, `body` and `foot` (rows of
    Cell) and the number of `rows`, in words.
    """
    rows, columns = answer["rows"], _columns(answer)
    order = _order(answer)
    heads = [
        {
            "title": column.title,
            "kind": _kind(column),
            "about": _ABOUT.get(column.title, ""),
            "order": order.get(column.title, ""),
        }
        for column in columns
    ]
    lines = [[_cell(column, n, row) for column in columns] for n, row in enumerate(rows)]
    # What the rows left out come to is no row to be sorted among the others.
    shown = len(lines) - (1 if lines and "rest" in rows[-1] else 0)
    totals = [Cell(column.total, _kind(column)) for column in columns]
    return {
        "heading": heading,
        "columns": heads,
        "body": lines[:shown],
        "foot": [*lines[shown:], totals],
        "rows": counted(shown, "row"),
    }


def _columns(answer: Row) -> list[Column]:
    """Those of the table view, what the page is opened for where a narrow window shows it.

    The last one says in words what is not known of a row, where there is such a thing.
    """
    rows, totals = answer["rows"], answer["totals"]
    every = usage.columns(answer)
    ranges = next((column for column in every if column.title == _RANGE), None)
    found = [column for column in every if column.title not in _IN_WORDS]
    found.append(Column(_SHARE, [share(row) for row in rows], share(totals)))
    found.sort(key=_place)
    told = [notes.note(row, ranges.cells[n] if ranges else "") for n, row in enumerate(rows)]
    if any(told):
        found.append(Column(_NOTES, told, "", cut=keep_ends))
    return found


def _place(column: Column) -> int:
    return 0 if column.is_key else 1 if column.title in {_COST, _SHARE} else 2 if column.cut else 3


def _kind(column: Column) -> str:
    return _NOTE if column.title == _NOTES else _TEXT if column.cut else ""


def _cell(column: Column, place: int, row: Row) -> Cell:
    text, name = column.cells[place], _EXACT.get(column.title)
    exact = row[name] if name else None
    # A search of the page's script goes over all that is there: what says nothing says it once.
    return Cell(text, _kind(column), "" if exact is None or text == f"${exact}" else exact)


def _order(answer: Row) -> dict[str, str]:
    """Title -> `ascending` or `descending` of the one column that the rows are in the order of."""
    query = answer["query"]
    by, sort, reverse = query["by"], query["sort"], query["reverse"]
    times = [key for key in by if key in TIME_KEYS]
    if sort == "name" or (times and sort in {None, "time"}):
        key = by[0] if sort == "name" else times[0]
        return {usage.key_heading(key): "descending" if reverse else "ascending"}
    title = {"tokens": "Total", "calls": "Calls", "time": "Last"}.get(sort or "", _COST)
    return {title: "ascending" if reverse is not (title == "Last") else "descending"}


def _caveats(answer: Row) -> list[str]:
    """What a reader must know before believing a figure."""
    totals, coverage = answer["totals"], answer["coverage"]
    unknown = ", ".join(
        f"{usage.heading(name).lower()} in {count:,}" for name, count in totals["unknown"].items()
    )
    origins = ", ".join(f"{name} {count:,}" for name, count in totals["origins"].items())
    left = next((row["rest"] for row in answer["rows"] if "rest" in row), 0)
    shown = len(answer["rows"]) - 1
    found = [
        f"The first {shown:,} of {shown + left:,} rows are shown, the others as one; "
        "--format json or csv writes all."
        if left
        else "",
        f"Not stated by the logs (records): {unknown}." if unknown else "",
        f"Where the counts come from (records): {origins}." if origins else "",
        f"{counted(coverage['undated'], 'record')} without a time left out."
        if coverage["undated"]
        else "",
        *matched_lines(answer["query"]),
        older_line(coverage),
        removed_line(coverage),
        *routed_lines(coverage),
        *not_looked_at_lines(coverage),
        "; ".join(f"{mark} {meaning}" for mark, meaning in usage.LEGEND.items()) + ".",
    ]
    return [line for line in found if line]
