"""Tables in Markdown, for notes and reviews: every column, nothing shortened."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from tallybook.render.table import Column

# An underscore inside a word is no emphasis, and model names are full of them. GitHub makes links
# of bare addresses, and formulas of what stands between dollars.
_SIGNIFICANT = re.compile(
    r"[\\`*\[\]<>|~#&]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.|\$(?!\d)", re.IGNORECASE
)
# No escape keeps a mail address from becoming a link, for that is looked for in the finished text.
_MAIL = re.compile(r"([\w.+-]+@[\w-]+(?:\.[\w-]+)+)")


def markdown_lines(columns: Sequence[Column], *, totals: bool = False) -> Iterator[str]:
    """A pipe table, numbers aligned right; with `totals` the last row, in bold."""
    yield _line(escaped(column.title) for column in columns)
    yield _line("---" if column.cut else "---:" for column in columns)
    for row in zip(*(column.cells for column in columns), strict=True):
        yield _line(map(escaped, row))
    if totals:
        yield _line(f"**{escaped(c.total)}**" if c.total else "" for c in columns)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


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
