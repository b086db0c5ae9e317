"""Tables in Markdown, for notes and reviews: every column, nothing shortened."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from tallybook.render.table import Column

# An underscore inside a word is no emphasis, and model names are full of them.
_SIGNIFICANT = re.compile(r"[\\`*\[\]<>|~#&]|(?<![^\W_])_|_(?![^\W_])")


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
    """Text that Markdown shows as it is."""
    return _SIGNIFICANT.sub(r"\\\g<0>", text)
