"""What is said of the data beside a report: coverage, problems, filters without a match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final
from zoneinfo import ZoneInfo

from tallybook.render.text import display_width, keep_tail, visible, wrapped
from tallybook.report.codes import CODES
from tallybook.wording import counted

SHOWN_VALUES: Final = 6
_LEAST: Final = 8  # cells of a file's name, however narrow the terminal

_ROUTED: Final = {
    "probably_same_call": "left out: a router and its client logged them alike",
    "may_be_counted_twice": (
        "at most: a router and clients with signs of one logged the same models in the same hours"
    ),
}


def coverage_line(answer: Mapping[str, Any]) -> str:
    """One line: days, files, records, duplicates, backfilled, problems, unpriced tokens."""
    coverage, totals = answer["coverage"], answer["totals"]
    parts = [
        days(answer["period"], answer["query"]["timezone"]),
        counted(coverage["files"], "file"),
        _records(coverage),
        f"{counted(coverage['duplicates'], 'duplicate')} left out",
        f"{coverage['backfilled']:,} backfilled" if coverage["backfilled"] else "",
        f"{coverage['undated']:,} undated left out" if coverage["undated"] else "",
        counted(sum(coverage["problems"].values()), "problem"),
        f"{counted(totals['unpriced_tokens'], 'token')} unpriced",
        f"prices of {visible(coverage['price_file'])}" if coverage.get("price_file") else "",
    ]
    return " · ".join(part for part in parts if part)


def days(period: Mapping[str, str | None], zone: str) -> str:
    """The days of the first and the last call, in a zone; empty without calls that have a time."""
    if not period["first"] or not period["last"]:
        return ""
    first, last = (
        datetime.fromisoformat(time).astimezone(ZoneInfo(zone)).date().isoformat()
        for time in (period["first"], period["last"])
    )
    return first if first == last else f"{first} to {last}"


def _records(coverage: Mapping[str, Any]) -> str:
    """How many records, and of how many where filters leave only some."""
    whole = counted(coverage["records_read"], "record")
    some = coverage["records"]
    return whole if some == coverage["records_read"] else f"{some:,} of {whole}"


def older_line(coverage: Mapping[str, Any]) -> str:
    """What another program has read that cannot be read again; empty where there is none."""
    calls, files = coverage["older_calls"], coverage["older_files"]
    if not calls and not files:
        return ""
    where = f" of {counted(files, 'file')}" if files else ""
    return f"{counted(calls, 'call')}{where} as another version read them: there is no more to read"


def removed_line(coverage: Mapping[str, Any]) -> str:
    """What was taken out of files that are there; empty where that is nothing."""
    calls = coverage["removed_calls"]
    words = "counted all the same: with PATH a file is what it holds now"
    return f"{counted(calls, 'call')} since taken out of files, {words}" if calls else ""


def routed_lines(coverage: Mapping[str, Any]) -> list[str]:
    """What a router and its clients have both logged, with no proof which are the same calls."""
    found = []
    for name, words in _ROUTED.items():
        calls, tokens = coverage[name]["calls"], coverage[name]["tokens"]
        if calls:
            many = f"{counted(calls, 'call')} of {counted(tokens, 'token')}"
            found.append(f"{name.replace('_', '-')}: {many} {words}")
    return found


def not_looked_at_lines(coverage: Mapping[str, Any]) -> list[str]:
    """One line of how many files, by suffix, are no logs by their name or by what is in them."""
    counts = sorted(coverage["not_looked_at"].items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{count:,} {key or 'without a suffix'}" for key, count in counts[:SHOWN_VALUES]]
    left = sum(count for _, count in counts[SHOWN_VALUES:])
    more = [counted(left, "other")] if left else []
    words = f"not read, for no source knows such files: {', '.join([*parts, *more])}"
    return [visible(words)] if parts else []


def matched_lines(query: Mapping[str, Any]) -> list[str]:
    """What filters stand for that are the beginning of a name or a pattern."""
    return [
        visible(f"--{name} {' '.join(query['filters'][name])}: {_some(names)}")
        for name, names in query["matched"].items()
        if names
    ]


def short_line(name: str, value: str, known: Sequence[str]) -> str:
    """A filter's value that is the beginning of several names."""
    return visible(f"--{name} {value} is the beginning of {len(known):,}: {_some(known)}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_VALUES:,} more" if len(names) > SHOWN_VALUES else ""
    return f"{', '.join(names[:SHOWN_VALUES])}{more}"


def unmatched_line(name: str, value: str, known: Sequence[str]) -> str:
    """A filter's value that nothing has, and the values that it might have meant."""
    close = get_close_matches(value, known, n=SHOWN_VALUES, cutoff=0.5) or known[:SHOWN_VALUES]
    there = f"; there is {', '.join(close)}" if close else ""
    more = ", …" if len(known) > len(close) else ""
    return visible(f"no record has --{name} {value}{there}{more}")


def empty_lines(coverage: Mapping[str, Any], searched: Sequence[str]) -> list[str]:
    """Why a report has no rows."""
    if coverage["records_read"]:
        return [f"none of {counted(coverage['records_read'], 'record')} matches what was asked for"]
    return ["no usage found; looked in", *(visible(f"  {place}") for place in searched)]


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
            f"{count:>{digits},} {_meaning(code)}: {place(example, room)}", width, indent
        )
    ]


def _meaning(code: str) -> str:
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
