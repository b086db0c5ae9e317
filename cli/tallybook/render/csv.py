"""Comma-separated values as RFC 4180 has them, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from tallybook.render.text import visible

# A spreadsheet runs a cell that begins so as a formula, in East Asia also with the wide signs; some
# pass over blanks before. Rust reads the pattern as well.
FORMULA: Final = r"^(?:[\t\r]|\s*[=+\-@＝＋－＠])"
_FORMULA: Final = re.compile(FORMULA)


def csv_lines(
    fields: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    numbers: Collection[str] = (),
) -> Iterator[str]:
    """A header and the rows; null is empty, lines end in CR LF.

    Every str is taken for text of a log and defused, but for the decimals in the fields `numbers`.
    """
    for row in chain([dict(zip(fields, fields, strict=True))], rows):
        out = io.StringIO()
        csv.writer(out).writerow(_cell(row.get(field), number=field in numbers) for field in fields)
        yield out.getvalue()


def defused(text: str) -> str:
    """Text that no spreadsheet runs and no terminal obeys."""
    return ("'" if _FORMULA.match(text) else "") + visible(text)


def _cell(value: Any, *, number: bool) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return defused(value) if isinstance(value, str) and not number else value
