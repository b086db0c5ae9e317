"""An explanation for other programs and for documents: as CSV, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tallybook.render import formats
from tallybook.render.explain import bucket_cells, call_head, end_lines, title, told
from tallybook.render.table import Column
from tallybook.render.text import keep_ends

Row = Mapping[str, Any]

_CALL: Final = (
    "call_id",
    "source",
    "provider",
    "model",
    "thread_id",
    "caller",
    "project",
    "timestamp",
    "path",
    "record",
    "part",
    "kind",
)
_PART: Final = ("bucket", "count", "unit", "usd_per_unit", "cost_usd")
FIELDS: Final = (
    *_CALL,
    *_PART,
    "origin",
    "how",
    "dialect",
    "rule",
    "price_status",
    "price_provider",
    "price_model",
    "price_source",
    "reason",
    "duplicate_of",
    formats.PRICE_DIGEST,
)
_HEADINGS: Final = ("", "Count", "Rate", "Cost", "How it is known")


def csv_of(answer: Row) -> Iterator[str]:
    """A line a priced count, and one a record that is left out, with the `reason`.

    The lines without a reason add up to the cell: `cost_usd` is empty where the cost of the whole
    call is unknown.
    """
    rows = formats.with_digest(answer, _rows(answer))
    return formats.csv_lines(FIELDS, rows, ("usd_per_unit", "cost_usd"))


def _rows(answer: Row) -> Iterator[Row]:
    for row in answer["rows"]:
        price = row["price"]
        sources = dict.fromkeys(rate["source"] for rate in price["rates"])
        whole = {
            **row,
            "price_status": price["status"],
            "price_provider": price["provider"],
            "price_model": price["model"],
            "price_source": "; ".join(sources) or None,
        }
        yield from ({**whole, **part} for part in _parts(row))
        yield from ({"cost_usd": None, **each} for each in row["left_out"])
    yield from ({"cost_usd": None, **each} for each in answer["not_counted"]["rows"])


def _parts(row: Row) -> Iterator[Row]:
    known = {each["bucket"]: each for each in row["buckets"]}
    priced = {each["bucket"]: each for each in row["arithmetic"]}
    for name in priced or [name for name, each in known.items() if each["tokens"]] or [None]:
        bucket = known.get(_bucket_of(name), {})
        blank: dict[str, Any] = {"bucket": name, "count": bucket.get("tokens"), "cost_usd": None}
        blank |= {"origin": bucket.get("origin"), "how": bucket.get("how")}
        part = {**blank, **priced.get(name, {})}
        yield part if row["cost_usd"] is not None else part | {"cost_usd": None}


def _bucket_of(name: str | None) -> str | None:
    # The counts of writes are told by lifetime, and known as one bucket.
    five = "cache_creation_5m_input_tokens"
    return "cache_creation_input_tokens" if name == five else name


def markdown(answer: Row) -> Iterator[str]:
    """The page with headings, lists and a table a call."""
    yield f"## {formats.escaped(title(answer))}\n"
    for row in answer["rows"]:
        yield f"\n### {formats.escaped(call_head(row))}\n\n"
        for label, texts in told(row):
            if label:
                yield from (f"- {label}: {formats.escaped(text)}\n" for text in texts)
            elif cells := bucket_cells(row):
                yield "\n"
                yield from formats.markdown_lines(_columns(cells))
                yield "\n"
    yield "\n"
    yield from (f"- {formats.escaped(line)}\n" for line in end_lines(answer))


def _columns(cells: list[tuple[str, ...]]) -> list[Column]:
    texts = (True, False, False, False, True)
    return [
        Column(heading, list(column), cut=keep_ends if is_text else None)
        for heading, column, is_text in zip(_HEADINGS, zip(*cells, strict=True), texts, strict=True)
    ]
