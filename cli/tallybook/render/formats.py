"""Writes an answer as JSON, CSV or Markdown."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tallybook import __version__
from tallybook.render.table import BATCH, Column
from tallybook.render.text import visible, visible_json

if TYPE_CHECKING:
    from tallybook.pricing.rates import Rates

SCHEMA_VERSION: Final = 1
_ROWS: Final = '\n  "rows": ['
_LAST: Final = "\n  "  # before the end of its list, where there are some


def envelope(  # noqa: PLR0913 - its members, by name
    command: str,
    *,
    query: Mapping[str, Any],
    prices: Rates | None = None,
    rows: Sequence[Mapping[str, Any]],
    totals: Mapping[str, Any],
    coverage: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """What every command answers with, in whatever form; `more` are a command's own members."""
    return {
        "schema": f"tallybook/{command}",
        "schema_version": SCHEMA_VERSION,
        "tool_version": __version__,
        "query": query,
        "prices": prices and {"sources": prices.sources, "digest": prices.digest},
        "rows": rows,
        "totals": totals,
        "coverage": coverage,
        **more,
    }


def json_text(answer: Mapping[str, Any]) -> str:
    """The envelope as JSON, members in their order, a line end last."""
    return "".join(json_pieces(answer))


def json_pieces(answer: Mapping[str, Any]) -> Iterator[str]:
    """The same, some rows at a time, for there may be a great many of them."""
    # No value has a line end of its own, so this stands at the top of the document only.
    before, after = _indented({**answer, "rows": []}).split(f"{_ROWS}]")
    yield before + _ROWS
    rows, between = iter(answer["rows"]), ""
    while some := list(islice(rows, BATCH)):
        yield between + _indented(some).removeprefix("[").removesuffix("\n]").replace("\n", _LAST)
        between = ","
    yield f"{_LAST if between else ''}]{after}\n"


def _indented(value: object) -> str:
    text = visible_json(json.dumps(value, ensure_ascii=False))
    try:
        return msgspec.json.format(text, indent=2)  # ten times as fast as `json` indents
    except msgspec.DecodeError:  # half a surrogate pair
        return visible_json(json.dumps(value, ensure_ascii=False, indent=2))


# A spreadsheet runs a cell that begins so as a formula, in East Asia also with the wide signs; some
# pass over blanks before. Rust reads the pattern as well.
FORMULA: Final = r"^(?:[\t\r]|\s*[=+\-@＝＋－＠])"
_FORMULA: Final = re.compile(FORMULA)


def csv_lines(
    fields: Sequence[str], rows: Iterable[Mapping[str, Any]], numbers: Collection[str] = ()
) -> Iterator[str]:
    """A header and the rows; null is empty, lines end in CR LF.

    Every str is taken for text of a log and defused, but for the decimals in the fields `numbers`.
    """
    for row in chain([dict(zip(fields, fields, strict=True))], rows):
        out = io.StringIO()
        csv.writer(out).writerow(_cell(row.get(field), number=field in numbers) for field in fields)
        yield out.getvalue()


PRICE_DIGEST: Final = "price_digest"


def with_digest(
    answer: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """The rows of a table, each with the digest of its prices, for a table has no other place."""
    prices = answer["prices"]
    digest = prices["digest"] if prices else None
    return ({**row, PRICE_DIGEST: digest} for row in rows)


def priced_by(answer: Mapping[str, Any]) -> str:
    """The digest of an answer's prices in words; empty where it needed none."""
    return f"prices {answer['prices']['digest']}" if answer["prices"] else ""


def defused(text: str) -> str:
    """Text that no spreadsheet runs and no terminal obeys."""
    return ("'" if _FORMULA.match(text) else "") + visible(text)


def _cell(value: Any, *, number: bool) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return defused(value) if isinstance(value, str) and not number else value


# An underscore inside a word is no emphasis, and model names are full of them. GitHub makes links
# of bare addresses, and formulas of what stands between dollars.
_SIGNIFICANT = re.compile(
    r"[\\`*\[\]<>|~#&]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.|\$(?!\d)", re.IGNORECASE
)
# No escape keeps a mail address from becoming a link, for that is looked for in the finished text.
_MAIL = re.compile(r"([\w.+-]+@[\w-]+(?:\.[\w-]+)+)")


def markdown_lines(columns: Sequence[Column], *, totals: bool = False) -> Iterator[str]:
    """A pipe table, numbers aligned right; with `totals` the last row, in bold."""
    import tabulate  # noqa: PLC0415 - 40 ms that only a table is worth

    row = tabulate.DataRow("| ", " | ", " |")
    rule = row.sep.join("---" if column.cut else "---:" for column in columns)
    layout = tabulate.TableFormat(
        None, lambda _widths, _aligns: f"| {rule} |", None, None, row, row, 0, None
    )
    headings = [escaped(column.title) for column in columns]
    rows = chain(
        ([*map(escaped, cells)] for cells in zip(*(c.cells for c in columns), strict=True)),
        [[f"**{escaped(c.total)}**" if c.total else "" for c in columns]] if totals else [],
    )
    batch = list(islice(rows, BATCH))
    while batch or headings:
        text = tabulate.tabulate(
            batch,
            headings,
            tablefmt=layout,
            stralign=None,
            disable_numparse=True,
            preserve_whitespace=True,
        )
        yield f"{text}\n"
        headings, batch = [], list(islice(rows, BATCH))


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, and makes no link of; a mail address stands as code."""
    plain, *more = _MAIL.split(text)
    found = [_escaped(plain)]
    for mail, plain in zip(more[::2], more[1::2], strict=True):
        # Beside a back quote of the text another would not begin code; a comment parts the text.
        found.append(mail.replace("@", "<!-- -->@") if "`" in text else f"`{mail}`")
        found.append(_escaped(plain))
    return "".join(found)


def _escaped(text: str) -> str:
    return _SIGNIFICANT.sub(r"\\\g<0>", text)
