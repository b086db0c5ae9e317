"""The options that commands share, each with the words of its help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from tallybook.errors import UsageError


def named(what: str) -> Callable[[str], Path]:
    """Reads a path for an argument or option `what`; an empty one is an unset variable."""

    def path(text: str) -> Path:
        if not text:
            raise UsageError(f"{what} is empty", hint="a variable that is not set?")
        return Path(text)

    return path


Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[PATH]...",
        parser=named("PATH"),
        help="Log files or folders, also .gz and .zst; without one, every known place, with what "
        "lay there and is gone, and what was merged from another machine's.",
    ),
]
All = Annotated[
    bool,
    typer.Option("--all", help="All that the ledger holds, also what was once named as PATH."),
]
By = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY[,KEY]...",
        help="Group by model (default), provider, thread, root-thread (a thread with its "
        "sub-agents), source, project, caller, hour, day, week, month.",
    ),
]
ExportBy = Annotated[
    list[str] | None,
    typer.Option(
        "--by", metavar="KEY[,KEY]...", help="Write the rows of a report instead of the calls."
    ),
]
Since = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="First day: 2026-11-01, 20261101, or 7d for seven days."),
]
Until = Annotated[
    str | None, typer.Option(metavar="DATE", help="Last day, included; written as --since.")
]
TimeZone = Annotated[
    str | None, typer.Option(metavar="TZ", help="IANA zone of all days; default: the machine's.")
]
SourceFilter = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VALUE", help="Only this source. Every filter is exact and may be repeated."
    ),
]
ProviderFilter = Annotated[
    list[str] | None, typer.Option(metavar="VALUE", help="Only this provider.")
]
ModelFilter = Annotated[list[str] | None, typer.Option(metavar="VALUE", help="Only this model.")]
ThreadFilter = Annotated[
    list[str] | None,
    typer.Option(metavar="VALUE", help="Only this thread, without its sub-agents."),
]
ProjectFilter = Annotated[
    list[str] | None, typer.Option(metavar="VALUE", help="Only this project.")
]
CallerFilter = Annotated[
    list[str] | None, typer.Option(metavar="VALUE", help="Only this caller, such as lead.")
]
Sort = Annotated[
    Literal["cost", "tokens", "calls", "name"] | None,
    typer.Option(help="Order; default: time keys ascending, then cost descending."),
]
Limit = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=10**9, help="Fold all rows after the first N into one."),
]
Format = Annotated[
    Literal["table", "json", "csv", "markdown", "html"] | None,
    typer.Option("--format", help="Default: table, or what the suffix of -o says."),
]
Json = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", parser=named("-o"), help="Write there instead."),
]
AsRecorded = Annotated[
    bool, typer.Option("--as-recorded", help="Leave what is unknown; no backfill.")
]
Backfill = Annotated[
    bool,
    typer.Option("--backfill", help="Fill now what can be filled, and record nothing of it."),
]
Ledger = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", parser=named("--ledger"), help="Where what was read is kept between runs."
    ),
]
NoLedger = Annotated[
    bool, typer.Option("--no-ledger", help="Read everything afresh and write nothing.")
]
Prices = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        parser=named("--prices"),
        help="Price overrides, in TOML or a database of 9router.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 3 where something is incomplete.")]
Problems = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        parser=named("--problems"),
        help="Write every problem there, one a line: .jsonl or .csv.",
    ),
]
