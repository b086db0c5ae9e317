"""What a shell offers behind an option: keys, sources, and the names that the ledger holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import typer

from tallybook.commands import terminal
from tallybook.report.query import KEYS

_MOST = 1_000  # names, for nobody reads more
Complete = Callable[[typer.Context, str], list[str]]


def keys(incomplete: str) -> list[str]:
    """Keys of --by, each behind those that stand there."""
    return _behind(incomplete, KEYS)


def columns(incomplete: str) -> list[str]:
    """Columns of --columns, each behind those that stand there."""
    from tallybook.render.usage import column_names

    return _behind(incomplete, column_names())


def sources(incomplete: str) -> list[str]:
    """Names of sources."""
    from tallybook.sources import sources as known

    return [name for name in known() if name.startswith(incomplete)]


def of_ledger(column: str) -> Complete:
    """The values of a column of the rows in the ledger; none where it cannot be read."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        with suppress(Exception):  # to complete nothing is better than to fail in a prompt
            named = ctx.params.get("ledger")
            ledger = terminal.own_ledger(Path(named) if named else None)
            return _names(ledger, column, incomplete)
        return []

    return complete


def _behind(incomplete: str, names: Iterable[str]) -> list[str]:
    before, comma, begun = incomplete.rpartition(",")
    taken = before.split(",")
    left = (name for name in names if name not in taken and name.startswith(begun))
    return [f"{before}{comma}{name}" for name in left]


def _names(ledger: Path, column: str, begin: str) -> list[str]:
    # Without polars, which takes longer to load than there are names to read.
    import pyarrow.parquet as pq

    found = set[str]()
    for file in _tables(ledger):
        table = pq.read_table(file, columns=[column], read_dictionary=[column])
        for chunk in table.column(column).chunks:
            found.update(name for name in chunk.dictionary.to_pylist() if name)
    return sorted(name for name in found if name.startswith(begin))[:_MOST]


def _tables(ledger: Path) -> Iterator[Path]:
    """Settled rows, or where there are none the rows as they were read."""
    derived = sorted((ledger / "derived").glob("*.parquet"))
    yield from derived or sorted((ledger / "parts").glob("*.parquet"))
