"""A usage report as people read it: which columns, what stands in a cell, which marks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import chain, groupby, takewhile
from operator import itemgetter
from typing import Any, Final, cast

import msgspec
from msgspec.structs import replace

from tallybook.render import formats, table
from tallybook.render.cells import ABOUT, AT_LEAST, NULL, UNKNOWN, at_least, count, dollars, ends
from tallybook.render.formats import csv_lines
from tallybook.render.table import Column
from tallybook.render.text import ELLIPSIS, keep_ends, keep_tail, visible, wrapped
from tallybook.report.fields import FLAT, flat, together
from tallybook.report.query import KEYS, TIME_KEYS, whose

Row = Mapping[str, Any]
_ALL: Final = "all"  # in a row that is the sum of those of its period
_LARGE: Final = 10  # dollars
_ID_CELLS: Final = 8
# `-20251101` or `-2025-11-01` at the end of a model's name.
_RELEASED: Final = re.compile(r"[-@](?:20\d{6}|20\d\d-\d\d-\d\d)$")
_MONEY: Final = ("Cost", "Cost range", "Reported")
_WHOSE: Final = {"project": "Project", "first_day": "First", "last_day": "Last"}
Maker = tuple[Column, Callable[[Row], str]]  # a column without its cells, and what makes one

LEGEND: Final = {
    AT_LEAST: "at least: some records do not state all of it",
    ABOUT: "about: the kind of input, cache lifetime, price tier or a fee is not stated",
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


class Drawn(msgspec.Struct):
    """What a table has shown: the marks in it, and the headings that found no room."""

    marks: set[str] = set()
    left_out: list[str] = []


def table_lines(
    answer: Row,
    width: int | None,
    *,
    colour: bool,
    wanted: Sequence[str] = (),
    drawn: Drawn | None = None,
) -> Iterator[str]:
    """The report as a table with its title; nothing where there are no rows.

    `wanted` are the columns to show, see `column_names`; all without. Into `drawn` goes what has
    been shown, line by line.
    """
    if not answer["rows"]:
        return
    # A name that a filter has may be wider than the terminal.
    yield from (f"{line}\n" for line in wrapped(title_line(answer), width, cut=keep_ends))
    yield "\n"
    rows = with_subtotals(answer)
    sums = {n for n, row in enumerate(rows) if _ALL in row} if rows is not answer["rows"] else ()
    every = _wanted(columns({**answer, "rows": rows}, is_cut=width is not None), wanted)
    yield from _drawn(every, width, drawn or Drawn(), colour=colour, sums=sums)


def period_lines(
    periods: Mapping[str, Row], width: int | None, *, colour: bool, drawn: Drawn
) -> Iterator[str]:
    """A table with a row of sums for each name of a period, as `table_lines` has them."""
    rows = list(periods.values())
    answer = {"query": {"by": []}, "rows": rows, "totals": together(rows)}
    names = Column("", list(periods), cut=keep_ends, is_key=True)
    found = [replace(each, total="") for each in columns(answer) if each.title != "Unpriced"]
    yield from _drawn([names, *found], width, drawn, colour=colour, totals=False)


def _drawn(  # noqa: PLR0913 - what is drawn, and how
    every: list[Column],
    width: int | None,
    drawn: Drawn,
    *,
    colour: bool,
    totals: bool = True,
    sums: Collection[int] = (),
) -> Iterator[str]:
    shown = table.fitted(every, width, drawn.left_out) if width else every
    lines = table.table_lines(shown, None, totals=totals, colour=colour, sums=sums)
    yield from marked(lines, drawn.marks)


def with_subtotals(answer: Row) -> Sequence[Row]:
    """The rows, and after several of one period their sum, where periods come first and in order.

    Of a report whose older rows are folded into one no period may be whole.
    """
    (first, *more), rows = answer["query"]["by"], cast("Sequence[Row]", answer["rows"])
    in_order = answer["query"]["sort"] in {None, "time"}
    if first not in TIME_KEYS or not more or not in_order or answer["query"]["limit"] is not None:
        return rows
    found = list[Row]()
    for period, some in groupby(rows, key=itemgetter(KEYS[first])):
        own = list(some)
        found += own
        if len(own) > 1:
            found.append({KEYS[first]: period, _ALL: True, **together(own)})
    return found


def markdown_lines(
    answer: Row, *, wanted: Sequence[str] = (), drawn: Drawn | None = None
) -> Iterator[str]:
    """The report as a Markdown table below its title."""
    yield f"{formats.escaped(title_line(answer))}\n\n"
    rows = with_subtotals(answer)
    every = _wanted(columns({**answer, "rows": rows}), wanted)
    lines = formats.markdown_lines(every, totals=bool(rows))
    yield from marked(lines, (drawn or Drawn()).marks)


def column_names() -> list[str]:
    """What columns beside the keys are called on the command line."""
    headings = [*(heading for heading, _, _ in COUNTS), *_MONEY, *_WHOSE.values()]
    return [_column_name(heading) for heading in headings]


def _column_name(heading: str) -> str:
    return heading.lower().replace(" ", "-")


def _wanted(every: list[Column], wanted: Sequence[str]) -> list[Column]:
    """The keys and the columns that are named, in the order of the names."""
    named = {_column_name(column.title): column for column in every if not column.is_key}
    keys = [column for column in every if column.is_key]
    return [*keys, *(named[name] for name in wanted if name in named)] if wanted else every


def usage_csv(answer: Row) -> Iterator[str]:
    """The rows without nesting: the same fields whatever they hold, no totals."""
    totals = answer["totals"]
    sums = [name for name, value in totals.items() if not isinstance(value, (Mapping, list))]
    by = answer["query"]["by"]
    fields = [KEYS[key] for key in by]
    fields += [*sums, *FLAT, *whose(by), "rest", formats.PRICE_DIGEST]
    rows = formats.with_digest(answer, map(flat, answer["rows"]))
    return csv_lines(fields, rows, numbers=sums)


def columns(answer: Row, *, is_cut: bool = False) -> list[Column]:
    """The columns of the rows: keys, counts, money. The rows are gone through twice.

    With `is_cut` ids are cut to what tells them apart.
    """
    rows, totals = answer["rows"], answer["totals"]
    by = answer["query"]["by"]
    makers: list[Maker] = [
        *(_key(key, first=not n) for n, key in enumerate(by)),
        *(_of_thread(name) for name in whose(by)),
        *(
            (Column(heading, (), _count(totals, name), rank), partial(_count, name=name))
            for heading, name, rank in COUNTS
            if name not in _OCCASIONAL or totals[name]
        ),
        *_money(rows, totals),
    ]
    cells: list[list[str]] = [[] for _ in makers]
    for row in rows:
        for column, (_, cell) in zip(cells, makers, strict=True):
            column.append(cell(row))
    found = [replace(bare, cells=own) for (bare, _), own in zip(makers, cells, strict=True)]
    for n, key in enumerate(by):
        if key in {"thread", "root-thread"} and is_cut:
            found[n] = replace(found[n], cells=short_ids(found[n].cells))
        if key == "model":
            found[n] = replace(found[n], short=without_dates(found[n].cells))
    return found


def short_ids(ids: Sequence[str]) -> list[str]:
    """The ids cut to their first 8 characters, or as many as tell their sessions apart.

    What is left can be typed: it is the beginning of one session, or a pattern of one agent in it.
    """
    sessions = sorted({each.partition("/")[0] for each in ids})
    beside = zip(["", *sessions], sessions, [*sessions[1:], ""], strict=False)
    least = {
        here: max(_ID_CELLS, 1 + _shared(before, here), 1 + _shared(here, after))
        for before, here, after in beside
    }
    found = []
    for each in ids:
        session, slash, agent = each.partition("/")
        cells = least[session]
        is_long = len(session) > cells + 4
        head = session[:cells] + (ELLIPSIS if slash else "") if is_long else session
        found.append(head + slash + agent)
    return found


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def without_dates(models: Sequence[str]) -> list[str]:
    """The names without the day of their release, where that tells no two of them apart."""
    bare = [_RELEASED.sub("", model) for model in models]
    many = Counter(bare)
    return [short if many[short] == 1 else model for short, model in zip(bare, models, strict=True)]


def title_line(answer: Row) -> str:
    """The title, and by which prices money is told."""
    return " · ".join(filter(None, [title(answer["query"]), formats.priced_by(answer)]))


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


def legend(marks: Collection[str]) -> str:
    """The meaning of the marks that stand in a rendered table; empty where there are none."""
    return " · ".join(f"{mark} {words}" for mark, words in LEGEND.items() if mark in marks)


def marked(lines: Iterable[str], marks: set[str]) -> Iterator[str]:
    """The same lines; the marks that stand in them are put into `marks` as they go by."""
    for line in lines:
        marks.update(mark for mark in LEGEND if mark not in marks and _marked(line, mark))
        yield line


def _marked(text: str, mark: str) -> bool:
    cells = text.replace("\\", "").split()  # Markdown escapes some of them
    if mark == NULL:
        return NULL in cells
    return any(mark in cell[:2] and cell.lstrip(AT_LEAST + ABOUT) != cell for cell in cells)


def heading(name: str) -> str:
    """The heading of the column of a count, by its field."""
    return next(title for title, field_, _ in COUNTS if field_ == name)


def key_heading(key: str) -> str:
    """The heading of the column of a key of `--by`."""
    return key.capitalize().replace("-", " ")


def _key(key: str, *, first: bool) -> Maker:
    heading = key_heading(key)
    cut = keep_tail if key == "project" else keep_ends
    least = len("2026-11-20T14:00") if key in TIME_KEYS else 0
    bare = Column(heading, (), "Total" if first else "", cut=cut, least=least, is_key=True)
    return bare, partial(_name, name=KEYS[key], first=first, whole=f"({_ALL})")


def _of_thread(name: str) -> Maker:
    """Whose a thread is, and its first and last day: shown where there is room."""
    rank = {"project": 6, "first_day": 13, "last_day": 7}[name]
    cut = keep_tail if name == "project" else keep_ends
    least = 0 if name == "project" else len("2026-11-20")
    bare = Column(_WHOSE[name], (), "", rank, cut=cut, least=least)
    return bare, partial(_name, name=name, first=False)


def _name(row: Row, name: str, *, first: bool, whole: str = "") -> str:
    """A cell of names; `whole` stands for all names in the sum of a period."""
    if _ALL in row and name not in row:
        return whole
    if "rest" in row:
        return f"({row['rest']:,} more)" if first else ""
    return UNKNOWN if row[name] is None else visible(row[name])


def _count(row: Row, name: str) -> str:
    is_partial = row["records_without_calls"] if name == "calls" else name in row["at_least"]
    return count(row[name], at_least(is_partial))


def _money(rows: Iterable[Row], totals: Row) -> Iterator[Maker]:
    """Columns of money; all have as many decimals as the smallest sum needs."""
    least, is_range = Decimal(1), False
    most = abs(Decimal(totals["cost_usd"] or 0))
    for row in chain(rows, [totals]):
        least = min(least, abs(Decimal(row["cost_usd"] or 0)) or least)
        is_range = is_range or _is_open(row)
    places = _places(least, most)
    kinds: list[tuple[str, Callable[..., str], int]] = [("Cost", _cost, 0)]
    if is_range:
        kinds.append(("Cost range", _range, 11))
    if totals["reported_cost_usd"] is not None:
        kinds.append(("Reported", _reported, 12))
    for heading, cell, rank in kinds:
        yield Column(heading, (), cell(totals, places), rank), partial(cell, places=places)


def _places(least: Decimal, most: Decimal) -> int:
    """Two decimals, or as many more (up to four) as the smallest sum needs for two digits.

    A hundredth of a cent is of no interest beside tens of dollars.
    """
    if most >= _LARGE:
        return 2
    return 2 if least >= Decimal("0.1") else 3 if least >= Decimal("0.01") else 4


def _cost(row: Row, places: int) -> str:
    partial = row["unpriced_tokens"] or row["lower_bound"]
    # A sum that is at least so much is uncertain only where it might be less.
    uncertain = row["cost_low_usd"] != row["cost_usd" if partial else "cost_high_usd"]
    return dollars(row["cost_usd"], places, at_least(partial) + (ABOUT if uncertain else ""))


def _is_open(row: Row) -> bool:
    """Whether the cost may be another than is said; that it may be more where it is a lower bound
    is said beside it.
    """
    high = row["cost_usd"] if row["cost_high_usd"] is None else row["cost_high_usd"]
    return bool(row["cost_low_usd"] != high)


def _range(row: Row, places: int) -> str:
    low, high = row["cost_low_usd"], row["cost_high_usd"]
    if low is None:
        return NULL
    if not _is_open(row):
        return ""
    return dollars(low, places, AT_LEAST) if high is None else "–".join(ends(low, high, places))


def _reported(row: Row, places: int) -> str:
    return dollars(row["reported_cost_usd"], places)
