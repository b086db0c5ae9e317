"""What is not known of a figure, in words that stand beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tallybook.render import usage
from tallybook.render.cells import AT_LEAST, NULL
from tallybook.wording import counted

Row = Mapping[str, Any]
_INPUT: Final = {"uncached_input_tokens", "cached_input_tokens", "cache_creation_input_tokens"}


def note(row: Row, range_: str) -> str:
    """All of it for a row of a table; empty where everything is known.

    `range_` is the cell of the range of its cost.
    """
    found = [*of_counts(row), *of_calls(row), *of_cost(row, range_)]
    return "; ".join(found)


def of_counts(row: Row) -> list[str]:
    """Which counts may be higher than they are said to be, and why."""
    least = set(row["at_least"])
    found = []
    if "input_tokens" in least:
        found.append("input is a lower bound: some records do not state all of it")
    elif least & _INPUT:
        kinds = [usage.heading(name) for name in row["at_least"] if name in _INPUT]
        are = "is a lower bound" if len(kinds) == 1 else "are lower bounds"
        found.append(f"{', '.join(kinds)} {are}: some records do not state all of it")
    if "output_tokens" in least:
        count = row["unknown"].get("output_tokens", 0)
        of = f"{counted(count, 'record')} of it too low or not stated" if count else ""
        found.append(": ".join(filter(None, ["output is a lower bound", of])))
    return found


def of_calls(row: Row) -> list[str]:
    """Records that do not say for how many calls they stand."""
    count = row["records_without_calls"]
    return [f"{counted(count, 'record')} without a number of calls"] if count else []


def of_cost(row: Row, range_: str) -> list[str]:
    """Between what the cost lies where that is not known, and what has no price."""
    found = []
    if row["unpriced_tokens"]:
        whole = row["cost_usd"] is None
        tokens = counted(row["unpriced_tokens"], "token")
        found.append(
            "no price is known" if whole else f"{tokens} without a price cost nothing here"
        )
    if range_.startswith(AT_LEAST):
        found.append(f"cost is at least {range_.removeprefix(AT_LEAST)}")
    elif range_ not in {"", NULL}:
        found.append(f"cost is between {range_.replace('–', ' and ')}")
    return found


def of_share(row: Row) -> list[str]:
    """Whether the share of cached input may be another."""
    least = row["at_least"]
    if "input_tokens" in least:
        return ["about: some records do not state all of their input"]
    if "cached_input_tokens" in least:
        return ["at least: some records do not state what was cached"]
    return []


def twice(coverage: Row) -> list[str]:
    """Calls that may be in the sums twice, and those left out for being the same most likely."""
    found = []
    for name, said in (
        ("may_be_counted_twice", "may be counted twice, as a router and its clients log them"),
        ("probably_same_call", "left out, as a router has most likely logged the same"),
    ):
        calls, tokens = coverage[name]["calls"], coverage[name]["tokens"]
        if calls:
            most = "at most " if name == "may_be_counted_twice" else ""
            found.append(f"{most}{counted(calls, 'call')} of {counted(tokens, 'token')} {said}")
    return found
