"""Tables in Markdown, for notes and reviews: every column, nothing shortened."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tallybook.render.table import Column

# An underscore inside a word is no emphasis, and model names are full of them.
_SIGNIFICANT = re.compile(r"[\\`*\[\]<>|~#&]|(?<![^\W_])_|_(?![^\W_])")


def markdown(columns: Sequence[Column], *, totals: bool = False) -> str:
    """A pipe table, numbers aligned right; with `totals` the last row, in bold."""
    rows = [
        [escaped(column.title) for column in columns],
        ["---" if column.cut else "---:" for column in columns],
        *([escaped(cell) for cell in row] for row in zip(*(c.cells for c in columns), strict=True)),
    ]
    if totals:
        rows.append([f"**{escaped(c.total)}**" if c.total else "" for c in columns])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _SIGNIFICANT.sub(r"\\\g<0>", text)
