"""Differences as people read them: a line a day and model, and a line a cause."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from tallybook.render import formats, table
from tallybook.render.cells import UNKNOWN, count, dollars, names
from tallybook.render.table import Column
from tallybook.render.text import keep_ends, keep_head
from tallybook.report.codes import CAUSES
from tallybook.values import names_in
from tallybook.wording import counted

Row = Mapping[str, Any]

SHOWN: Final = 30  # lines of a page, unless all are asked for
FIELDS: Final = (
    *names_in(
        "day model our_tokens their_tokens tokens_apart our_cost_usd their_cost_usd cost_apart_usd"
        " causes"
    ),
    formats.PRICE_DIGEST,
)


def page(answer: Row, width: int | None, *, colour: bool) -> Iterator[str]:
    """The table of what differs, then the causes with their sums."""
    rows = [row for row in answer["rows"] if row["causes"]]
    if rows:
        yield from table.table_lines(
            columns(rows[:SHOWN], answer["totals"], answer["statement"]["period"]),
            width,
            totals=True,
            colour=colour,
        )
        if len(rows) > SHOWN:
            yield f"… and {len(rows) - SHOWN:,} more that differ; --json lists them\n"
        yield "\n"
        yield from table.table_lines(causes(answer["totals"]), width, colour=colour)
        yield f"\nour {formats.priced_by(answer)}\n"


def markdown(answer: Row) -> Iterator[str]:
    """The same as pipe tables."""
    rows = [row for row in answer["rows"] if row["causes"]]
    yield from formats.markdown_lines(
        columns(rows, answer["totals"], answer["statement"]["period"]), totals=True
    )
    yield "\n"
    yield from formats.markdown_lines(causes(answer["totals"]))
    yield f"\nour {formats.priced_by(answer)}\n"


def csv_of(answer: Row) -> Iterator[str]:
    """A line a day and model, also of those that agree."""
    rows: Iterable[Row] = [
        {
            "day": row["day"],
            "model": row["model"],
            "our_tokens": row["ours"]["tokens"],
            "their_tokens": row["theirs"]["tokens"],
            "tokens_apart": row["difference"]["tokens"],
            "our_cost_usd": row["ours"]["cost_usd"],
            "their_cost_usd": row["theirs"]["cost_usd"],
            "cost_apart_usd": row["difference"]["cost_usd"],
            "causes": " ".join(each["cause"] for each in row["causes"]),
        }
        for row in answer["rows"]
    ]
    rows = formats.with_digest(answer, rows)
    return formats.csv_lines(FIELDS, rows, [name for name in FIELDS if name.endswith("_usd")])


def columns(rows: Sequence[Row], totals: Row, period: str = "day") -> list[Column]:
    """Day, week or month and model, both sides in tokens and money, what lies between, and why."""

    def texts(title: str, name: str, total: str = "") -> Column:
        return names(title, (row[name] or UNKNOWN for row in rows), total)

    def counts(title: str, side: str, rank: int) -> Column:
        cells = [count(row[side]["tokens"]) for row in rows]
        return Column(title, cells, count(totals[side]["tokens"]), rank)

    def costs(title: str, side: str, rank: int) -> Column:
        cells = [dollars(row[side]["cost_usd"]) for row in rows]
        return Column(title, cells, dollars(totals[side]["cost_usd"]), rank)

    days = [texts(period.capitalize(), "day", "Total")] if any(row["day"] for row in rows) else []
    models = [texts("Model", "model", "" if days else "Total")]
    return [
        *days,
        *(models if any(row["model"] for row in rows) else []),
        counts("Our tokens", "ours", 3),
        counts("Their tokens", "theirs", 4),
        counts("Apart", "difference", 0),
        costs("Our cost", "ours", 2),
        costs("Their cost", "theirs", 5),
        costs("Apart", "difference", 0),
        names("Because", map(_because, rows), rank=1, cut=keep_head),
    ]


def causes(totals: Row) -> list[Column]:
    """A line a cause."""
    found = totals["causes"]
    sides = [totals["theirs"][name] is not None for name in ("tokens", "cost_usd")]
    return [
        Column("Cause", list(found), cut=keep_ends),
        Column("Cells", [f"{each['cells']:,}" for each in found.values()]),
        Column("Tokens", [count(e["tokens"] if sides[0] else None) for e in found.values()]),
        Column("Cost", [dollars(e["cost_usd"] if sides[1] else None) for e in found.values()]),
        Column("", [CAUSES[name] for name in found], cut=keep_head),
    ]


def summary_line(answer: Row) -> str:
    """How far apart the two sides are, how much of it has a named cause, and the tolerance."""
    totals = answer["totals"]
    apart, unknown = totals["apart"], totals["unknown"]
    parts = [f"{answer['statement']['form']}: {counted(len(answer['rows']), 'cell')} compared"]
    for name, words in (("tokens", "tokens"), ("cost_usd", "of cost")):
        if totals["theirs"][name] is None:
            continue
        whole, open_ = Decimal(apart[name]), Decimal(unknown[name])
        shown = f"{int(whole):,} tokens" if name == "tokens" else f"{dollars(whole)} {words}"
        named = f", {100 * (whole - open_) / whole:.4g} % of it named" if whole else ""
        parts.append(f"{shown} apart{named}")
    held = "within" if answer["within"] else "beyond"
    return " · ".join([*parts, f"{held} the tolerance of {answer['tolerance']} %"])


def _because(row: Row) -> str:
    words = (f" ({each['words']})" if each["words"] else "" for each in row["causes"])
    named = (each["cause"] for each in row["causes"])
    return "; ".join(map("".join, zip(named, words, strict=True)))
