"""The state of a ledger as people read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tallybook.render.table import Column, table
from tallybook.render.text import keep_ends

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
