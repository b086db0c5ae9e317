"""A usage report as people read it: which columns, what stands in a cell, which marks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from tallybook.render.csv import csv_text
from tallybook.render.markdown import escaped, markdown
from tallybook.render.table import Column, table
from tallybook.render.text import keep_ends, keep_tail, visible
from tallybook.report.fields import UNKNOWN
from tallybook.report.query import KEYS, TIME_KEYS
from tallybook.schema import ORIGINS

Row = Mapping[str, Any]

NULL: Final = "–"
AT_LEAST: Final = "≥"
ABOUT: Final = "~"
LEGEND: Final = {
    AT_LEAST: "at least: some records do not state all of it",
    ABOUT: "about: the kind of input, cache lifetime or price tier is not stated",
    NULL: "not stated",
}
# Title, field, rank in a narrow table; in the order of the columns.
COUNTS: Final = (
    ("Calls", "calls", 4),
    ("Input", "input_tokens", 1),
    ("Uncached", "uncached_input_tokens", 8),
    ("Cached", "cached_input_tokens", 3),
    ("Cache write", "cache_creation_input_tokens", 7),
    ("Unsplit", "unsplit_input_tokens", 9),
    ("Output", "output_tokens", 2),
    ("Reasoning", "reasoning_output_tokens", 10),
    ("Total", "total_tokens", 5),
    ("Unpriced", "unpriced_tokens", 6),
)
# Columns that would mostly be empty, shown where some row has more than nothing in them.
_OCCASIONAL: Final = ("unsplit_input_tokens", "unpriced_tokens", "reasoning_output_tokens")


def table_text(answer: Row, width: int | None, *, colour: bool) -> str:
    """The report as a table with its title; empty where there are no rows."""
    if not answer["rows"]:
        return ""
    body = table(columns(answer), width, totals=True, colour=colour)
    return f"{title(answer['query'])}\n\n{body}"


def markdown_text(answer: Row) -> str:
    """The report as a Markdown table below its title."""
    body = markdown(columns(answer), totals=bool(answer["rows"]))
    return f"{escaped(title(answer['query']))}\n\n{body}"


def usage_csv(answer: Row) -> str:
    """The rows without nesting: the same fields whatever they hold, no totals."""
    totals = answer["totals"]
    sums = [name for name, value in totals.items() if not isinstance(value, Mapping)]
    unknown = {f"unknown_{name}": name for name in UNKNOWN}
    origins = {f"origin_{name}": name for name in ORIGINS}
    rows = [
        {
            **row,
            **{field: row["unknown"].get(name, 0) for field, name in unknown.items()},
            **{field: row["origins"].get(name, 0) for field, name in origins.items()},
        }
        for row in answer["rows"]
    ]
    fields = [KEYS[key] for key in answer["query"]["by"]]
    return csv_text([*fields, *sums, *unknown, *origins, "rest"], rows, numbers=sums)


def columns(answer: Row) -> list[Column]:
    """The columns of the rows: keys, counts, money."""
    rows, totals = answer["rows"], answer["totals"]
    keys = [_key(key, rows, first=not n) for n, key in enumerate(answer["query"]["by"])]
    counts = [
        Column(heading, [_count(row, name) for row in rows], _count(totals, name), rank)
        for heading, name, rank in COUNTS
        if name not in _OCCASIONAL or totals[name]
    ]
    return [*keys, *counts, *_money_columns(rows, totals)]


def title(query: Row) -> str:
    """What the report is about: keys, days, zone, filters."""
    parts = [f"Usage by {', '.join(query['by'])}"]
    since, until = query["since"], query["until"]
    if since and until:
        parts.append(since if since == until else f"{since} to {until}")
    elif since or until:
        parts.append(f"from {since}" if since else f"until {until}")
    if since or until or set(TIME_KEYS) & set(query["by"]):
        parts.append(query["timezone"])
    parts += [f"{name} {' or '.join(values)}" for name, values in query["filters"].items()]
    return visible(" · ".join(parts))


def legend(text: str) -> str:
    """The meaning of the marks that stand in a rendered table; empty where there are none."""
    return " · ".join(f"{mark} {words}" for mark, words in LEGEND.items() if _marked(text, mark))


def _marked(text: str, mark: str) -> bool:
    cells = text.split()
    if mark == NULL:
        return NULL in cells
    return any(mark in cell[:2] and cell.lstrip(AT_LEAST + ABOUT) != cell for cell in cells)


def _key(key: str, rows: Sequence[Row], *, first: bool) -> Column:
    heading = key.capitalize().replace("-", " ")
    cells = [_name(row, KEYS[key], first=first) for row in rows]
    cut = keep_tail if key == "project" else keep_ends
    least = len("2026-11-20T14:00") if key in TIME_KEYS else 0
    return Column(heading, cells, "Total" if first else "", cut=cut, least=least)


def _name(row: Row, name: str, *, first: bool) -> str:
    if "rest" in row:
        return f"({row['rest']:,} more)" if first else ""
    return "(unknown)" if row[name] is None else visible(row[name])


def _count(row: Row, name: str) -> str:
    value = row[name]
    if value is None:
        return NULL
    return f"{AT_LEAST if _is_partial(row, name) else ''}{value:,}"


def _is_partial(row: Row, name: str) -> bool:
    """Whether the sum lacks what some records do not state."""
    if name == "calls":
        return bool(row["records_without_calls"])
    if name == "total_tokens":
        return bool(row["lower_bound"])
    if name == "input_tokens":
        return bool(row["lower_bound"] and set(row["unknown"]) - {"output_tokens"})
    return name in row["unknown"]


def _money_columns(rows: Sequence[Row], totals: Row) -> list[Column]:
    every = [*rows, totals]
    places = _places(Decimal(row["cost_usd"]) for row in every if row["cost_usd"] is not None)
    columns = [_money_column("Cost", every, lambda row: _cost(row, places))]
    if any(row["cost_low_usd"] != row["cost_high_usd"] for row in every):
        columns.append(_money_column("Cost range", every, lambda row: _range(row, places), 11))
    if totals["reported_cost_usd"] is not None:
        columns.append(_money_column("Reported", every, lambda row: _reported(row, places), 12))
    return columns


def _money_column(
    heading: str, rows: Sequence[Row], cell: Callable[[Row], str], rank: int = 0
) -> Column:
    *cells, total = [cell(row) for row in rows]
    return Column(heading, cells, total, rank)


def _places(values: Any) -> int:
    """Two decimals, or as many more (up to four) as the smallest sum needs for two digits."""
    least = min((abs(value) for value in values if value), default=Decimal(1))
    return 2 if least >= Decimal("0.1") else 3 if least >= Decimal("0.01") else 4


def _dollars(text: str | None, places: int) -> str:
    if text is None:
        return NULL
    value, unit = Decimal(text), Decimal(1).scaleb(-places)
    if 0 < value < unit:
        return f"<${unit}"
    return f"${value.quantize(unit, ROUND_HALF_EVEN):,}"


def _cost(row: Row, places: int) -> str:
    if row["cost_usd"] is None:
        return NULL
    partial = row["unpriced_tokens"] or row["lower_bound"]
    # A sum that is at least so much is uncertain only where it might be less.
    uncertain = row["cost_low_usd"] != row["cost_usd" if partial else "cost_high_usd"]
    marks = (AT_LEAST if partial else "") + (ABOUT if uncertain else "")
    return marks + _dollars(row["cost_usd"], places)


def _range(row: Row, places: int) -> str:
    low, high = row["cost_low_usd"], row["cost_high_usd"]
    if low == high:
        return NULL if low is None else ""
    return f"{_dollars(low, places)}–{_dollars(high, places)}"


def _reported(row: Row, places: int) -> str:
    return _dollars(row["reported_cost_usd"], places)
