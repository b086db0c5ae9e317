"""Prices as people read them: how the name leads to the entry, and a line a rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from tallybook.render import formats, table
from tallybook.render.table import Column
from tallybook.render.text import keep_ends, keep_head, visible

Row = Mapping[str, Any]

_NULL: Final = "–"
UNITS: Final = "US dollars per million tokens; searches per thousand"
_TITLES: Final = {
    "uncached_input_usd_per_million_tokens": "Uncached",
    "cached_input_usd_per_million_tokens": "Cached",
    "cache_creation_5m_usd_per_million_tokens": "Write 5m",
    "cache_creation_1h_usd_per_million_tokens": "Write 1h",
    "output_usd_per_million_tokens": "Output",
    "web_search_usd_per_thousand": "Search",
}
# A rate that is another's for want of its own stands in brackets.
LEGEND: Final = "(in brackets: not listed, taken from the next broader rate)"


def path_line(answer: Row) -> str:
    """How the name that was asked for leads to the entry of the price list; empty without one."""
    return visible(" → ".join(answer["path"]))


def table_lines(answer: Row, width: int | None, *, colour: bool) -> Iterator[str]:
    """A line a rate, below the way from the name to the entry."""
    if answer["rows"]:
        if answer["path"]:
            yield f"{path_line(answer)}\n\n"
        yield from table.table_lines(columns(answer["rows"]), width, colour=colour)
        yield f"{UNITS} · {formats.priced_by(answer)}\n"


def markdown_lines(answer: Row) -> Iterator[str]:
    """The same as a pipe table."""
    if answer["rows"]:
        if answer["path"]:
            yield f"{formats.escaped(path_line(answer))}\n\n"
        yield from formats.markdown_lines(columns(answer["rows"]))
        yield f"\n{UNITS} · {formats.priced_by(answer)}\n"


def csv_of(fields: Sequence[str], answer: Row) -> Iterator[str]:
    """The fields of the document without nesting; what is a list is joined with blanks."""
    flat = (
        {name: " ".join(v) if isinstance(v, list) else v for name, v in row.items()}
        for row in formats.with_digest(answer, answer["rows"])
    )
    numbers = [name for name in fields if "_usd_per_" in name]
    return formats.csv_lines([*fields, formats.PRICE_DIGEST], flat, numbers)


def columns(rows: Sequence[Row]) -> list[Column]:
    """What tells rates apart, then the rates; what is the same for all rates is left out."""
    several = len({(row["provider"], row["model"]) for row in rows}) > 1
    texts = [
        ("Provider", [row["provider"] or _NULL for row in rows], several),
        ("Model", [row["model"] or _NULL for row in rows], several),
        ("Served", [row["served"] for row in rows], not several),
        ("Prompt", [_prompt(row) for row in rows], True),
        ("From", [row["valid_from"] or _NULL for row in rows], True),
        ("To", [row["valid_to"] or _NULL for row in rows], True),
        ("UTC", [_window(row) for row in rows], any(map(_window, rows))),
    ]
    rates = [name for name in rows[0] if "_usd_per_" in name]
    return [
        *(
            Column(title, [visible(cell) for cell in cells], cut=keep_ends)
            for title, cells, is_shown in texts
            if is_shown
        ),
        *(_rate(name, rows) for name in rates if any(row[name] is not None for row in rows)),
        Column("Source", [visible(_source(row)) for row in rows], rank=1, cut=keep_head),
    ]


def _rate(name: str, rows: Sequence[Row]) -> Column:
    cells = [
        _NULL if row[name] is None else f"({row[name]})" if name in row["fallback"] else row[name]
        for row in rows
    ]
    title = _TITLES.get(name, name.partition("_usd_per_")[0].replace("_", " ").capitalize())
    return Column(title, cells, rank=2 if name.startswith("cache_creation") else 0)


def _prompt(row: Row) -> str:
    return f"> {row['above_tokens']:,}" if row["above_tokens"] else ""


def _window(row: Row) -> str:
    days = " ".join(row["weekdays"]) if len(row["weekdays"]) < 7 else ""
    hours = f"{row['utc_from']}–{row['utc_to']}" if row["utc_from"] else ""
    return f"{days} {hours}".strip()


def _source(row: Row) -> str:
    stated = [row["stated_by"]] if row["stated_by"] else []
    assumed = ["not the stated seller's own"] if row["assumed"] else []
    return "; ".join([row["source"], *stated, *row["notes"], *assumed])


def unpriced_lines(answer: Row, width: int | None, *, colour: bool) -> Iterator[str]:
    """A line a model that has no price."""
    if answer["rows"]:
        columns = unpriced_columns(answer["rows"])
        yield from table.table_lines(columns, width, totals=True, colour=colour)


def unpriced_markdown(answer: Row) -> Iterator[str]:
    """The same as a pipe table."""
    if answer["rows"]:
        yield from formats.markdown_lines(unpriced_columns(answer["rows"]), totals=True)


def unpriced_columns(rows: Sequence[Row]) -> list[Column]:
    """The columns of models without a price."""

    def names(title: str, cells: Iterable[str], rank: int = 0, total: str = "") -> Column:
        return Column(title, [visible(cell) for cell in cells], total, rank, cut=keep_ends)

    def count(title: str, name: str) -> Column:
        whole = sum(row[name] or 0 for row in rows)
        return Column(title, [f"{row[name] or 0:,}" for row in rows], f"{whole:,}")

    return [
        names("Model", (row["model"] or "(unknown)" for row in rows), total="Total"),
        names("Provider", (row["provider"] or "(unknown)" for row in rows), 2),
        count("Calls", "calls"),
        count("Tokens", "unpriced_tokens"),
        names("First", ((row["first"] or _NULL)[:10] for row in rows), 3),
        names("Last", ((row["last"] or _NULL)[:10] for row in rows), 3),
        names("Why", (row["reason"].replace("_", " ") for row in rows), 1),
        names("Near names", (", ".join(row["near"]) or _NULL for row in rows), 4),
    ]
