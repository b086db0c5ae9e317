"""What stands in the cells of tables: names, counts, money, and the marks before them."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from tallybook.render.table import Column
from tallybook.render.text import Cut, keep_ends, visible

NULL: Final = "–"
AT_LEAST: Final = "≥"
ABOUT: Final = "~"
UNKNOWN: Final = "(unknown)"
_PLACES: Final = 4  # decimals of money, unless a table needs fewer


def at_least(is_so: object) -> str:
    """The mark of a lower bound, where it is one."""
    return AT_LEAST if is_so else ""


def count(value: int | None, mark: str = "") -> str:
    """A count with its digits grouped."""
    return NULL if value is None else f"{mark}{value:,}"


def dollars(amount: str | Decimal | None, places: int = _PLACES, mark: str = "") -> str:
    """Money with so many decimals; what is too little to show in them is less than the least."""
    if amount is None:
        return NULL
    value, unit = Decimal(amount), Decimal(1).scaleb(-places)
    sign = "-" if value < 0 else ""
    if 0 < abs(value) < unit:
        return f"{mark}{sign}<${unit}"
    return f"{mark}{sign}${abs(value).quantize(unit, ROUND_HALF_EVEN):,}"


def ends(low: str, high: str, places: int = _PLACES) -> tuple[str, str]:
    """Both ends of a range, with as many more decimals as show that they differ."""
    if Decimal(low) != Decimal(high):
        while dollars(low, places) == dollars(high, places):
            places += 1
    return dollars(low, places), dollars(high, places)


def names(
    title: str, cells: Iterable[str], total: str = "", rank: int = 0, cut: Cut = keep_ends
) -> Column:
    """A column of text out of logs, which is cut where there is no room for it."""
    return Column(title, [visible(cell) for cell in cells], total, rank, cut)
