"""What is said about the data, beside it: coverage in one line, problems by place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from tallybook.render.text import visible

SHOWN_PROBLEMS: Final = 5
SHOWN_VALUES: Final = 6


def coverage_line(coverage: Mapping[str, Any], totals: Mapping[str, Any]) -> str:
    """One line: files, records, duplicates, backfilled, problems by code, unpriced tokens."""
    problems = coverage["problems"]
    codes = ", ".join(f"{visible(code)} {count:,}" for code, count in problems.items())
    count = sum(problems.values())
    parts = [
        _number(coverage["files"], "file"),
        _number(coverage["records"], "record"),
        f"{_number(coverage['duplicates'], 'duplicate')} left out",
        f"{coverage['backfilled']:,} backfilled" if coverage["backfilled"] else "",
        f"{coverage['undated']:,} undated left out" if coverage["undated"] else "",
        _number(count, "problem") + (f" ({codes})" if codes else ""),
        f"{_number(totals['unpriced_tokens'], 'token')} unpriced",
    ]
    return " · ".join(part for part in parts if part)


def problem_lines(coverage: Mapping[str, Any]) -> list[str]:
    """The first problems by place, one of every code before a second of any."""
    listed = coverage["problem_list"]
    shown = _varied(listed)[:SHOWN_PROBLEMS]
    lines = [problem_line(problem) for problem in shown]
    left = sum(coverage["problems"].values()) - len(shown)
    return [*lines, f"… and {left:,} more; --format json lists them"] if left else lines


def problem_line(problem: Mapping[str, Any]) -> str:
    """Where a problem is, its code, and what more is known of it."""
    place = problem["path"] if not problem["record"] else f"{problem['path']}:{problem['record']}"
    detail = f", {problem['detail']}" if problem["detail"] else ""
    return visible(f"{place}: {problem['code']}{detail}")


def unmatched_line(name: str, value: str, known: Sequence[str]) -> str:
    """A filter's value that nothing has, and the values that it might have meant."""
    close = get_close_matches(value, known, n=SHOWN_VALUES, cutoff=0.5) or known[:SHOWN_VALUES]
    there = f"; there is {', '.join(close)}" if close else ""
    more = ", …" if len(known) > len(close) else ""
    return visible(f"no record has --{name} {value}{there}{more}")


def empty_lines(coverage: Mapping[str, Any], searched: Sequence[str]) -> list[str]:
    """Why a report has no rows."""
    if coverage["records"]:
        return [f"none of {_number(coverage['records'], 'record')} matches what was asked for"]
    return ["no usage found; looked in", *(visible(f"  {place}") for place in searched)]


def _varied(problems: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, int, Mapping[str, Any]]] = []
    for problem in problems:
        ranked.append((seen[problem["code"]], len(ranked), problem))
        seen[problem["code"]] += 1
    return [problem for *_, problem in sorted(ranked, key=lambda rank: rank[:2])]


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
