"""Prices as people read them: how the name leads to the entry, and a line a rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

from tallybook.render import formats, table
from tallybook.render.cells import NULL, UNKNOWN, names
from tallybook.render.table import Column
from tallybook.render.text import display_width, keep_ends, keep_head, visible

Row = Mapping[str, Any]

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


def page(
    answer: Row, width: int | None, *, colour: bool, left_out: list[str] | None = None
) -> Iterator[str]:
    """A line a rate below the way from the name to the entry, or one a model without a price.

    Into `left_out` go the columns that found no room.
    """
    if answer["rows"]:
        yield from (f"{line}\n\n" for line in _path(answer))
        every, is_summed = _columns(answer)
        shown = table.fitted(every, width, left_out) if width else every
        yield from table.table_lines(shown, None, totals=is_summed, colour=colour)
        yield from (f"{line}\n" for line in _notes(answer))


def markdown(answer: Row) -> Iterator[str]:
    """The same with a pipe table."""
    if answer["rows"]:
        yield from (f"{formats.escaped(line)}\n\n" for line in _path(answer))
        every, is_summed = _columns(answer)
        yield from formats.markdown_lines(every, totals=is_summed)
        yield from (f"\n{line}\n" for line in _notes(answer))


def _path(answer: Row) -> Iterator[str]:
    """How the name that was asked for leads to the entry of the price list, where one was."""
    if answer.get("path"):
        yield visible(" → ".join(answer["path"]))


def _columns(answer: Row) -> tuple[list[Column], bool]:
    """The columns, and whether they have sums."""
    is_unpriced = answer["query"]["unpriced"]
    return (unpriced_columns if is_unpriced else columns)(answer["rows"]), is_unpriced


def _notes(answer: Row) -> Iterator[str]:
    """The lines below the table."""
    if answer["query"]["unpriced"]:
        yield formats.priced_by(answer)
    else:
        yield from (*exceptions(answer["rows"]), *fee_lines(answer))
        yield f"{UNITS} · {formats.priced_by(answer)}"


def csv_of(fields: Sequence[str], answer: Row) -> Iterator[str]:
    """The fields of the document without nesting; what is a list is joined with blanks."""
    flat = (
        {name: " ".join(v) if isinstance(v, list) else v for name, v in row.items()}
        for row in formats.with_digest(answer, answer["rows"])
    )
    numbers = [name for name in fields if "_usd_per_" in name]
    return formats.csv_lines([*fields, formats.PRICE_DIGEST], flat, numbers)


def columns(rows: Sequence[Row]) -> list[Column]:
    """What tells rates apart, then the rates; what is the same for all rates is left out.

    Hours of one period that cost the same are in one row.
    """
    rows = _by_price(rows)
    served = {row["served"] for row in rows} | {"standard"}
    several = len({(row["provider"], row["model"]) for row in rows}) > 1
    texts = [
        ("Provider", [row["provider"] or NULL for row in rows], several),
        ("Model", [row["model"] or NULL for row in rows], several),
        ("Served", [row["served"] for row in rows], not several and len(served) > 1),
        ("Prompt", [_prompt(row) for row in rows], any(map(_prompt, rows))),
        ("From", [_moment(row["valid_from"]) for row in rows], True),
        ("To", [_moment(row["valid_to"]) for row in rows], True),
        ("UTC", [row["hours"] for row in rows], any(row["hours"] for row in rows)),
    ]
    rates = [name for name in rows[0] if "_usd_per_" in name]
    return [
        *(
            _text(title, cells, is_whole=title in _WHOLE and not several)
            for title, cells, is_shown in texts
            if is_shown
        ),
        *(_rate(name, rows) for name in rates if any(row[name] is not None for row in rows)),
        names("Source", map(_source, rows), rank=1, cut=keep_head),
    ]


_WHOLE: Final = frozenset({"Served", "Prompt", "From", "To", "UTC"})


def _text(title: str, texts: Sequence[str], *, is_whole: bool) -> Column:
    """A column of texts, which are cut where there is no room for them unless `is_whole`."""
    cells = [visible(text) for text in texts]
    least = max(map(display_width, cells)) if is_whole else 0
    return Column(title, cells, cut=keep_ends, least=least)


def _rate(name: str, rows: Sequence[Row]) -> Column:
    cells = [
        NULL if row[name] is None else f"({row[name]})" if name in row["fallback"] else row[name]
        for row in rows
    ]
    title = _TITLES.get(name, name.partition("_usd_per_")[0].replace("_", " ").capitalize())
    of_media = 4 if "audio" in name or "image" in name else 0
    return Column(title, cells, rank=of_media or 2 * name.startswith("cache_creation"))


def _moment(at: str | None) -> str:
    """A day, or the hour of one where that is whole."""
    return NULL if at is None else at.replace(":00:00Z", "Z").replace(":00Z", "Z")


def _prompt(row: Row) -> str:
    return f"> {row['above_tokens']:,}" if row["above_tokens"] else ""


def _by_price(rows: Sequence[Row]) -> list[Row]:
    """The rows, with those of one period that differ in their hours alone as one, in `hours`.

    Of a period with several prices the one that holds longest is that of all other hours.
    """
    found: dict[tuple[Any, ...], dict[tuple[Any, ...], list[Row]]] = {}
    hosts: list[Row] = []
    for row in rows:
        host = next((each for each in hosts if _is_within(row, each)), row)
        if host is row and len(row["periods"]) > 1:
            hosts.append(row)
        key = tuple(host[name] for name in _PERIOD)
        price = tuple(str(value) for name, value in row.items() if name not in _WINDOW)
        found.setdefault(key, {}).setdefault(price, []).append(row)
    return [
        {**some[0], "hours": _hours(some, of_all=list(prices.values()))}
        for prices in found.values()
        for some in prices.values()
    ]


_KIND: Final = ("provider", "model", "served", "above_tokens")
_PERIOD: Final = (*_KIND, "valid_from", "valid_to")
_WINDOW: Final = frozenset({"valid_from", "valid_to", "periods", "weekdays", "utc_from", "utc_to"})


def _is_within(row: Row, other: Row) -> bool:
    """Whether a row is of days that another one of the same entry leaves out."""
    same = (*_KIND, "source", "stated_by", "reason")
    if any(row[name] != other[name] for name in same):
        return False
    begins, ends = _gaps(other)
    return all(
        begin in begins and end in ends
        for begin, end in (period.split("/") for period in row["periods"])
    )


def _gaps(row: Row) -> tuple[list[str], list[str]]:
    """Where a rate ends for some days, and where it goes on."""
    periods = [period.split("/") for period in row["periods"]]
    return [end for _, end in periods[:-1]], [begin for begin, _ in periods[1:]]


def exceptions(rows: Sequence[Row]) -> Iterator[str]:
    """On which days hours of a rate do not hold, a line for each period that has such days."""
    for row in _by_price(rows):
        if row["hours"] not in {"", _OTHERS} and len(row["periods"]) > 1:
            days = [_day_or_days(*gap) for gap in zip(*_gaps(row), strict=True)]
            yield visible(f"{row['hours']}: not on {', '.join(days)}")


def fee_lines(answer: Row) -> Iterator[str]:
    """What a thousand calls of each tool cost, a line a period."""
    for fee in answer["tool_fees"]:
        own, most = fee["usd_per_thousand"], fee["at_most_usd_per_thousand"]
        price = own if own == most else f"{own} to {most}"
        since = f" from {_moment(fee['valid_from'])}" if fee["valid_from"] else ""
        until = f" to {_moment(fee['valid_to'])}" if fee["valid_to"] else ""
        yield visible(f"{fee['tool'].replace('_', ' ')}: {price} a thousand{since}{until}")


def _day_or_days(begin: str, end: str) -> str:
    """The days from a moment to before another."""
    if len(begin) != len(end) or len(end) != len("2026-01-01"):
        return f"{_moment(begin)} to {_moment(end)}"
    last = (date.fromisoformat(end) - timedelta(days=1)).isoformat()
    return begin if last == begin else f"{begin} to {last}"


_OTHERS: Final = "other hours"


def _hours(some: Sequence[Row], of_all: Sequence[Sequence[Row]]) -> str:
    if len(of_all) == 1:
        return ""
    if some is max(of_all, key=lambda rows: sum(map(_length, rows))):
        return _OTHERS
    days: dict[str, list[str]] = {}
    for row in some:
        hours = f"{row['utc_from']}–{row['utc_to']}" if row["utc_from"] else ""
        days.setdefault(_days(row["weekdays"]), []).append(hours.replace(":00", ""))
    return ", ".join(f"{named} {', '.join(hours)}".strip() for named, hours in days.items())


def _length(row: Row) -> int:
    """Minutes of the week that a rate holds in."""
    start, end = (_minutes(row[name]) for name in ("utc_from", "utc_to"))
    return len(row["weekdays"]) * ((end or 1440) - start)


def _minutes(clock: str | None) -> int:
    hours, _, minutes = (clock or "0:0").partition(":")
    return int(hours) * 60 + int(minutes[:2])


def _days(days: Sequence[str]) -> str:
    """Days of the week, as a range where they follow each other; empty for all of them."""
    if len(days) == 7:
        return ""
    is_run = len(days) > 1 and "".join(days) in "MonTueWedThuFriSatSun"
    return f"{days[0]}–{days[-1]}" if is_run else " ".join(days)


def _source(row: Row) -> str:
    stated = [row["stated_by"]] if row["stated_by"] else []
    assumed = ["not the stated seller's own"] if row["assumed"] else []
    return "; ".join([row["source"], *stated, *row["notes"], *assumed])


def unpriced_columns(rows: Sequence[Row]) -> list[Column]:
    """The columns of models without a price."""

    def count(title: str, name: str) -> Column:
        whole = sum(row[name] or 0 for row in rows)
        return Column(title, [f"{row[name] or 0:,}" for row in rows], f"{whole:,}")

    return [
        names("Model", (row["model"] or UNKNOWN for row in rows), "Total"),
        names("Provider", (row["provider"] or UNKNOWN for row in rows), rank=2),
        count("Calls", "calls"),
        count("Tokens", "unpriced_tokens"),
        names("First", ((row["first"] or NULL)[:10] for row in rows), rank=3),
        names("Last", ((row["last"] or NULL)[:10] for row in rows), rank=3),
        names("Why", (row["reason"].replace("_", " ") for row in rows), rank=1),
        names("Near names", (", ".join(row["near"]) or NULL for row in rows), rank=4),
    ]
