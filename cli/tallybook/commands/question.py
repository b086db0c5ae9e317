"""What the shared options ask for, checked before anything is loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tallybook.commands import terminal
from tallybook.commands.output import check_target
from tallybook.errors import UsageError
from tallybook.names import text_of
from tallybook.report.query import FILTERS, Query, check_days, parse_day, parse_keys


def query_of(  # noqa: PLR0913 - one parameter an option
    *,
    by: Sequence[str],
    since: str | None,
    until: str | None,
    timezone: str | None,
    filters: Sequence[list[str] | None],
    sort: str | None,
    limit: int | None,
    paths: Sequence[Path] | None,
    everything: bool,
    as_recorded: bool,
) -> Query:
    """The query of the options, `filters` in the order of FILTERS. Raises UsageError."""
    zone = chosen_zone(timezone)
    given = zip(FILTERS, filters, strict=True)
    chosen = {name: tuple(map(text_of, values)) for name, values in given if values}
    _check_sources(chosen.get("source", ()))
    return Query(
        by=parse_keys(by),
        timezone=zone,
        filters=chosen,
        sort=sort,
        limit=limit,
        paths=tuple(text_of(str(path)) for path in paths) if paths else None,
        everything=everything,
        as_recorded=as_recorded,
        **_days(since, until, zone),
    )


def _check_sources(named: Sequence[str]) -> None:
    """Raise UsageError for a source that there is not: they are known before anything is read."""
    if not named:
        return
    from tallybook.sources import sources  # noqa: PLC0415 - loads the readers

    names = list(sources())
    for name in named:
        if name not in names:
            close = get_close_matches(name, names, n=2, cutoff=0.5)
            perhaps = f"perhaps {' or '.join(close)}; " if close else ""
            raise UsageError(
                f"--source {name}: there is no such source",
                hint=f"{perhaps}sources: {', '.join(names)}",
            )


def chosen_zone(named: str | None) -> str:
    """The zone that is named, else the machine's. Raises UsageError."""
    if named is None:
        return terminal.machine_zone(os.environ)
    if not terminal.is_zone(named):
        raise UsageError(
            f"--timezone {named!r} is not a zone of the IANA database",
            hint="such as Europe/Berlin or UTC",
        )
    return named


def _days(since: str | None, until: str | None, zone: str) -> dict[str, Any]:
    today = datetime.now(ZoneInfo(zone)).date()
    first = parse_day(since, today, "--since") if since is not None else None
    last = parse_day(until, today, "--until") if until is not None else None
    check_days(first, last)
    return {"since": first, "until": last}


def check_files(
    paths: list[Path] | None, prices: Path | None, output: Path | None, option: str = ""
) -> None:
    """Raise UsageError for a path to read that cannot be, or one that cannot be written.

    `option` is what names the `output` on the command line.
    """
    for path in paths or ():
        if not _exists(path):
            raise UsageError(f"there is no {path}")
        if path.is_char_device() or path.is_block_device() or path.is_socket():
            raise UsageError(f"{path} is no file, folder or pipe")
    if prices and not prices.is_file():
        raise UsageError(f"--prices {prices}: there is no such file")
    if output:
        check_target(output, paths or [], option)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # it cannot be looked at, which reading will report
        return True
