"""The tables of `ledger status` and of `sources`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tallybook.render.table import Column, table
from tallybook.render.text import keep_ends, keep_head, keep_tail, visible

_COUNTS: Final = {
    "files": "Files",
    "gone": "Gone",
    "lost": "Lost",
    "older": "Older",
    "named": "By PATH only",
    "rows": "Rows",
}


def status_text(
    rows: Sequence[Mapping[str, Any]], totals: Mapping[str, Any], width: int | None, *, colour: bool
) -> str:
    """A row a source; empty where nothing is kept."""
    if not rows:
        return ""
    names = [row["source"] or "(none)" for row in rows]
    columns = [Column("Source", names, "Total", cut=keep_ends)]
    columns += [
        Column(heading, [f"{row[name]:,}" for row in rows], f"{totals[name]:,}")
        for name, heading in _COUNTS.items()
    ]
    return table(columns, width, totals=True, colour=colour)


def refused_lines(refused: Sequence[tuple[str, str]]) -> list[str]:
    """A line for each reason that something of another ledger (what, why) was refused for."""
    reasons: dict[str, list[str]] = {}
    for what, why in refused:
        reasons.setdefault(why, []).append(what)
    return [
        f"refused: {why} ({what[0]}{f' and {len(what) - 1:,} more' if what[1:] else ''})"
        for why, what in reasons.items()
    ]


_NOT_THERE = "–"


def table_text(answer: Mapping[str, Any], home: str, width: int | None, *, colour: bool) -> str:
    """A table of the places of every source, with the number of files in those that exist.

    What lies in the `home` folder is written as a shell takes it: `~/.codex/sessions`.
    """
    lines = [line for row in answer["rows"] for line in _lines(row, home)]
    titles, names, places, files = zip(*lines, strict=True) if lines else ((),) * 4
    columns = [
        Column("Source", names, "Total", cut=keep_ends),
        Column("Format", titles, cut=keep_head),
        Column("Looked for in", places, cut=keep_tail),
        Column("Files", files, f"{answer['totals']['files']:,}"),
    ]
    return table(columns, width, totals=True, colour=colour)


def _lines(row: Mapping[str, Any], home: str) -> list[tuple[str, str, str, str]]:
    """One line a place; the source is named on the first."""
    found = {place["path"]: f"{place['files']:,}" for place in row["found"]}
    places = row["places"] or [_NOT_THERE]
    return [
        (
            visible(row["title"]) if first else "",
            row["name"] if first else "",
            visible(_from_home(place, home)),
            found.get(place, _NOT_THERE),
        )
        for first, place in zip([True, *[False] * len(places)], places, strict=False)
    ]


def _from_home(place: str, home: str) -> str:
    rest = place.removeprefix(home)
    return f"~{rest}" if rest != place and rest.startswith(("/", "\\")) else place
