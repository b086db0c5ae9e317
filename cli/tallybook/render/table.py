"""A table of columns that fits a width: what matters least is left out, names are shortened."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import count, islice
from typing import Final

import msgspec
from msgspec.structs import replace

from tallybook.render.text import Cut, display_width, keep_ends, shortened

_GAP = "  "
_RULE = "─"
BOLD, DIM, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
# Cells that names get before further columns do, by the number of name columns.
_NAME_CELLS = {1: 22, 2: 16}
_FEWEST_NAME_CELLS = 10
_LEAST = 5
_VERY_LEAST = 3
BATCH: Final = 1_000  # rows drawn at once
# More than anyone reads on a screen: tabulate takes ten times as long as padding alone.
_MOST_DRAWN = 10_000


class Column(msgspec.Struct, frozen=True):
    """One column: cells without control characters, and what may become of it in a narrow table.

    `rank` 0 is never left out, the highest goes first. `cut` shortens the cells of a column of
    names, but not below `least` cells; a column of numbers (`cut` is None) is aligned right and
    shown whole or not at all. `short` are cells that say as much in less, taken before any is cut.
    """

    title: str
    cells: Sequence[str]
    total: str = ""
    rank: int = 0
    cut: Cut | None = None
    least: int = 0
    short: Sequence[str] = ()
    is_key: bool = False

    @property
    def width(self) -> int:
        """Cells that the widest entry takes."""
        return max(display_width(text) for text in (self.title, self.total, *self.cells))


def table(
    columns: Sequence[Column], width: int | None, *, totals: bool = False, colour: bool = False
) -> str:
    """Lay the columns out within `width` cells (None: as wide as they are), a line end last."""
    return "".join(table_lines(columns, width, totals=totals, colour=colour))


def table_lines(
    columns: Sequence[Column],
    width: int | None,
    *,
    totals: bool = False,
    colour: bool = False,
    sums: Collection[int] = (),
) -> Iterator[str]:
    """The same line by line, each with its line end; the rows `sums` stand out as the totals do."""
    shown = fitted(columns, width) if width else list(columns)
    is_long = bool(shown) and len(shown[0].cells) > _MOST_DRAWN
    draw = padding(shown) if is_long else drawing(shown)
    bold, dim = (BOLD, DIM) if colour else ("", "")
    yield from _styled(draw([[column.title for column in shown]]), bold)
    yield from _styled(draw([]), dim)
    rows = zip(*(column.cells for column in shown), strict=True)
    place = count()
    while batch := list(islice(rows, BATCH)):
        for line, n in zip(draw(batch), place, strict=False):
            yield from _styled([line], bold if n in sums else "")
    if totals:
        yield from _styled(draw([]), dim)
        yield from _styled(draw([[column.total for column in shown]]), bold)


Draw = Callable[[Sequence[Sequence[str]]], list[str]]


def drawing(columns: Sequence[Column]) -> Draw:
    """What draws rows as lines, and no rows as the rule, all in the widths of the whole columns.

    The rule is drawn as a heading, which no column may be narrower than: so the rows of a long
    table can be drawn batch by batch.
    """
    import tabulate  # noqa: PLC0415 - 40 ms that only a table is worth

    tabulate.MIN_PADDING = 0  # cells that a column would get beyond its heading
    rule = [_RULE * column.width for column in columns]
    row = tabulate.DataRow("", _GAP, "")
    layout = tabulate.TableFormat(None, None, None, None, row, row, 0, None)
    aligned = ["left" if column.cut else "right" for column in columns]

    def draw(rows: Sequence[Sequence[str]]) -> list[str]:
        text = tabulate.tabulate(
            rows,
            headers=rule,
            tablefmt=layout,
            disable_numparse=True,
            colalign=aligned,
            preserve_whitespace=True,
        )
        return [f"{line}\n" for line in text.split("\n")][1 if rows else 0 :]

    return draw


def padding(columns: Sequence[Column]) -> Draw:
    """The same for more rows than tabulate is quick enough for."""
    widths = [column.width for column in columns]
    rule = [_RULE * width for width in widths]

    def draw(rows: Sequence[Sequence[str]]) -> list[str]:
        lines = (_GAP.join(map(_padded, columns, row, widths)).rstrip() for row in rows or [rule])
        return [f"{line}\n" for line in lines]

    return draw


def _padded(column: Column, cell: str, width: int) -> str:
    gap = " " * (width - display_width(cell))
    return cell + gap if column.cut else gap + cell


def _styled(lines: Iterable[str], style: str) -> Iterator[str]:
    for line in lines:
        yield f"{style}{line[:-1]}{PLAIN}\n" if style else line


def fitted(
    columns: Sequence[Column], width: int, left_out: list[str] | None = None
) -> list[Column]:
    """Leave out and shorten until the table is `width` wide; into `left_out` go titles.

    Columns of a rank go first; then names get as few cells as say something, and where there are
    more of them than that leaves room for, the last ones go.
    """
    kept = list(columns)
    wanted = _NAME_CELLS.get(sum(1 for c in kept if c.cut), _FEWEST_NAME_CELLS)
    while _needed(kept, wanted) > width and any(column.rank for column in kept):
        kept.remove(max(reversed(kept), key=lambda column: column.rank))
    if _needed(kept, wanted) > width:
        wanted = _LEAST
    if _needed(kept, wanted) > width:
        kept, wanted = [replace(column, least=0) for column in kept], _VERY_LEAST
    while _needed(kept, wanted) > width and sum(1 for column in kept if column.cut) > 1:
        kept.remove([column for column in kept if column.cut][-1])
    if left_out is not None:
        titles = {column.title for column in kept}
        left_out += [column.title for column in columns if column.title not in titles]
    return _spread(kept, width - _needed(kept, wanted), wanted)


def _needed(columns: Sequence[Column], wanted: int) -> int:
    cells = sum(_cells(column, wanted) if column.cut else column.width for column in columns)
    return cells + len(_GAP) * (len(columns) - 1)


def _cells(column: Column, wanted: int) -> int:
    whole = column.width
    if column.short:
        whole = max(display_width(text) for text in (column.title, column.total, *column.short))
    return min(whole, max(wanted, column.least))


def _spread(columns: Sequence[Column], spare: int, wanted: int) -> list[Column]:
    """Give the spare cells to the names, the shortest first, so that most are shown whole."""
    widths = {id(c): _cells(c, wanted) for c in columns if c.cut}
    needy = sorted((c for c in columns if c.cut), key=lambda c: c.width)
    for waiting, column in zip(range(len(needy), 0, -1), needy, strict=True):
        more = min(column.width - widths[id(column)], max(spare, 0) // waiting)
        widths[id(column)] += more
        spare -= more
    return [_narrowed(c, widths[id(c)]) if id(c) in widths else c for c in columns]


def _narrowed(column: Column, width: int) -> Column:
    if width >= column.width:
        return column
    cells = column.short or column.cells
    texts = shortened([column.title, column.total, *cells], width, column.cut or keep_ends)
    return replace(column, title=texts[0], total=texts[1], cells=texts[2:])
