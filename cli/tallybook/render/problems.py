"""What is wrong with the data, as people read it: a line a code, the rarest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tallybook.render.text import display_width, keep_tail, visible, wrapped
from tallybook.report.codes import CODES

_LEAST: Final = 8  # cells of a file's name, however narrow the terminal


def problem_lines(coverage: Mapping[str, Any], width: int | None) -> list[str]:
    """How many records have a problem, what it means and does, and where the first one is.

    Lines are broken, and file names shortened, so that they fit the `width`.
    """
    counts = sorted(coverage["problems"].items(), key=lambda count: (count[1], count[0]))
    digits = max((len(f"{count:,}") for _, count in counts), default=0)
    indent = digits + 1
    room = width and max(width - indent, _LEAST)
    return [
        line
        for code, count in counts
        for example in [_example(code, coverage["problem_list"])]
        for line in wrapped(
            f"{count:>{digits},} {words(code)}: {place(example, room)}", width, indent
        )
    ]


def words(code: str) -> str:
    """A code with its meaning and its effect; the code alone where it has no words."""
    known = CODES.get(code)
    return f"{visible(code)} ({known.means}; {known.effect})" if known else visible(code)


def place(entry: Mapping[str, Any], room: int | None = None) -> str:
    """File and record, in no more cells than there is `room`, and what more is known."""
    record = f":{entry['record']}" if entry["record"] else ""
    more = f", {visible(entry['detail'])}" if entry["detail"] else ""
    path = visible(entry["path"])
    cells = room and max(room - len(record) - len(more[:1]), _LEAST)
    if cells and display_width(path) > cells:
        path = keep_tail(path, cells)
    return f"{path}{record}{more}"


def entry_line(entry: Mapping[str, Any]) -> str:
    """One entry of the list: its place, its code, and how many records have it."""
    others = entry["count"] - 1
    more = f" and {others:,} more to record {entry['last_record']}" if others else ""
    return f"{visible(entry['code'])}: {place(entry)}{more}"


def total_line(coverage: Mapping[str, Any]) -> str:
    """Where all of them are to be had; empty where the lines of the codes are all there is."""
    count = sum(coverage["problems"].values())
    if count == len(coverage["problems"]):
        return ""
    return f"--problems FILE writes all {count:,} problems with their places"


def _example(code: str, entries: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first entry of the code; a list has one of every code."""
    return next(entry for entry in entries if entry["code"] == code)
