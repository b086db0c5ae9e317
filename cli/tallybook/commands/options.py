"""The options that commands share: the words of their help, and what they ask for, checked."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from errno import EBADF, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_type_hints
from zoneinfo import ZoneInfo

import msgspec
import typer

from tallybook.commands import completion, terminal
from tallybook.commands.answering import question_of
from tallybook.commands.output import check_problems, check_target
from tallybook.errors import UsageError
from tallybook.files.regular import is_file, is_there
from tallybook.names import text_of
from tallybook.report.query import (
    FILTERS,
    TIME_KEYS,
    Query,
    check_days,
    names_of,
    parse_day,
    parse_keys,
)
from tallybook.urls import ObjectPath, as_text, is_named_by_url, path_named

if TYPE_CHECKING:
    from tallybook.ledger.question import Question

_MOST: Final = 10**9  # rows that are asked for; what is beyond a count of 64 bits fails below
# What it means that nothing is there; any other error is one of looking.
_NOWHERE: Final = frozenset({EBADF, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR})


def number(text: str) -> int:
    """How many rows or periods are asked for. Raises BadParameter.

    Limits of the library would stand in the help.
    """
    try:
        found = int(text)
    except ValueError:
        found = 0
    if not 0 < found <= _MOST:
        raise typer.BadParameter(f"{text!r} is not a number from 1 to {_MOST:,}")
    return found


def named(what: str, read: Callable[[str], Path] | None = None) -> Callable[[str], Path]:
    """Reads a path for an argument or option `what`; an empty one is an unset variable.

    Without another way to `read` it, it is one of this machine.
    """

    def path(text: str) -> Path:
        if not text:
            raise UsageError(f"{what} is empty", hint="a variable that is not set?")
        if read is None and is_named_by_url(text):  # which may hold a credential
            raise UsageError(f"{what} is of this machine, and takes no URL")
        return read(text) if read else Path(text)

    return path


def _path(what: str, words: str, *options: str) -> Any:
    """An option that takes a path of this machine."""
    return typer.Option(*options, metavar=what, parser=named(options[0]), help=words)


Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[PATH]...",
        parser=named("PATH", path_named),
        help="Log files or folders, also .gz and .zst, and URLs of object storage (s3://, gs://, "
        "az://); without one, every known place, with what lay there and is gone, and what was "
        "merged from another machine's.",
    ),
]
All = Annotated[
    bool, typer.Option("--all", help="All that the ledger holds, also what was once named as PATH.")
]
By = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY[,KEY]...",
        help="Group by model (default), provider, thread, root-thread (a thread with its "
        "sub-agents), source, project, caller, hour, day, week, month.",
        autocompletion=completion.keys,
    ),
]


def _filter(what: str, column: str) -> Any:
    """A filter, behind which a shell offers what the ledger has in a column."""
    names = completion.of_ledger(column)
    return typer.Option(metavar="VALUE", help=f"Only this {what}.", autocompletion=names)


Sort = Annotated[
    Literal["cost", "tokens", "calls", "name", "time"] | None,
    typer.Option(
        help="Order; default: time keys ascending, then cost descending. Without a time key `time` "
        "is that of the last call."
    ),
]
Reverse = Annotated[bool, typer.Option("--reverse", help="Turn the order round.")]
Limit = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        parser=number,
        help="Fold all rows but the first N into one; in the order of time all but the newest N.",
    ),
]
Last = Annotated[
    int | None,
    typer.Option(
        metavar="N", parser=number, help="Only the newest N periods of the first time key."
    ),
]
Format = Annotated[
    Literal["table", "json", "csv", "markdown", "html"] | None,
    typer.Option("--format", help="Default: table, or what the suffix of -o says."),
]
TableFormat = Annotated[
    Literal["table", "json", "csv", "markdown"] | None,
    typer.Option("--format", help="Default: table, or what the suffix of -o says."),
]
Json = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
Output = Annotated[
    Path | None, _path("FILE", "Write to this file; its suffix picks the format.", "-o", "--output")
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[,NAME]...",
        help="Only these columns in a table, beside the keys: calls, input, cached, cost, ...",
        autocompletion=completion.columns,
    ),
]
Wide = Annotated[bool, typer.Option("--wide", help="Every column, however wide the table gets.")]
Backfill = Annotated[
    bool, typer.Option("--backfill", help="Fill now what can be filled, and record nothing of it.")
]
Ledger = Annotated[
    Path | None, _path("DIR", "The folder in which what was read is kept between runs.", "--ledger")
]
NoLedger = Annotated[
    bool, typer.Option("--no-ledger", help="Read everything afresh and write nothing.")
]
Prices = Annotated[
    Path | None,
    _path(
        "FILE",
        "Prices of your own in TOML, or a database of 9router; default: prices.toml in the folder "
        "of your settings, where there is one.",
        "--prices",
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="local:N|dask://HOST:PORT",
        help="Who reads the logs: N processes here (default: one a core), or the workers of a Dask "
        "cluster that see the same files; the answer is the same.",
    ),
]
Problems = Annotated[
    Path | None,
    _path("FILE", "Write every problem to this file, one a line: .jsonl or .csv.", "--problems"),
]


class UsageOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options that every command over usage has, as they were given."""

    paths: Paths = None
    everything: All = False
    since: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="First day: 2026-11-01, 20261101, or 7d for seven days."),
    ] = None
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Last day, included; written as --since.")
    ] = None
    timezone: Annotated[
        str | None,
        typer.Option(metavar="TZ", help="IANA zone of all days; default: the machine's."),
    ] = None
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VALUE",
            help="Only this source. Every filter may be repeated, and takes a name, the beginning "
            "of one, or with * a pattern.",
            autocompletion=completion.sources,
        ),
    ] = None
    provider: Annotated[list[str] | None, _filter("provider", "provider")] = None
    model: Annotated[list[str] | None, _filter("model", "model")] = None
    thread: Annotated[list[str] | None, _filter("thread, without its sub-agents", "thread_id")] = (
        None
    )
    project: Annotated[list[str] | None, _filter("project", "project")] = None
    caller: Annotated[list[str] | None, _filter("caller, such as lead", "caller")] = None
    problems: Problems = None
    as_recorded: Annotated[
        bool,
        typer.Option(
            "--as-recorded", help="Use no backfill: what the logs do not state stays unknown."
        ),
    ] = False
    ledger: Ledger = None
    no_ledger: NoLedger = False
    prices: Prices = None
    prices_at: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST|DATE",
            help="The prices that an earlier report was made with: its digest, or its day.",
        ),
    ] = None
    engine: Engine = None
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 3 where something is incomplete.")
    ] = False

    def query(
        self,
        by: Sequence[str] | None,
        *,
        sort: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
        last: int | None = None,
    ) -> Query:
        """What a report is to say. Raises UsageError."""
        zone = chosen_zone(self.timezone)
        given = ((name, getattr(self, name)) for name in FILTERS)
        chosen = {name: tuple(map(text_of, values)) for name, values in given if values}
        _check_filters(chosen)
        _check_sources(chosen.get("source", ()))
        keys = parse_keys(by or ["model"])
        if last is not None and not set(keys) & set(TIME_KEYS):
            raise UsageError(
                "--last counts periods, and no key of --by is one",
                hint=f"such as --by {','.join(['day', *keys])}",
            )
        return Query(
            by=keys,
            timezone=zone,
            filters=chosen,
            sort=sort,
            reverse=reverse,
            limit=limit,
            last=last,
            paths=tuple(map(as_text, self.paths)) if self.paths else None,
            everything=self.everything,
            as_recorded=self.as_recorded,
            **_days(self.since, self.until, zone),
        )

    def question(self, output: Path | None, option: str = "") -> Question:
        """What is asked of the ledger. Raises UsageError, also for what cannot be read or written.

        `option` is what names the `output` on the command line.
        """
        check_files(self.paths, self.prices, output, option)
        check_problems(self.problems, self.paths, output)
        return question_of(
            self.paths,
            self.prices,
            self.ledger,
            no_ledger=self.no_ledger,
            as_recorded=self.as_recorded,
            everything=self.everything,
            apart=self.as_recorded,
            prices_at=self.prices_at,
            engine=self.engine,
        )


Command = Callable[..., None]


def with_options(kind: type[Any]) -> Callable[[Command], Command]:
    """Puts the options of a `kind`, which a command's first parameter is of, behind its own."""
    hints = get_type_hints(kind, include_extras=True)
    shared = [
        each.replace(annotation=hints[each.name], kind=Parameter.KEYWORD_ONLY)
        for each in signature(kind).parameters.values()
    ]

    def wrapped(command: Command) -> Command:
        _, *own = signature(command, eval_str=True).parameters.values()

        def run(**given: Any) -> None:
            options = kind(**{each.name: given.pop(each.name) for each in shared})
            command(options, **given)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        parameters = [*(each.replace(kind=Parameter.KEYWORD_ONLY) for each in own), *shared]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined] # as `inspect` has it
        return run

    return wrapped


def column_names(given: Sequence[str] | None) -> list[str]:
    """The columns that --columns names. Raises UsageError for one that there is not."""
    if not given:
        return []
    from tallybook.render.usage import column_names

    known = column_names()
    names = [name.strip().lower() for word in given for name in word.split(",")]
    for name in names:
        if name not in known:
            raise UsageError(
                f"--columns: there is no column {name!r}", hint=f"columns: {', '.join(known)}"
            )
    return list(dict.fromkeys(names))


def _check_filters(chosen: Mapping[str, Sequence[str]]) -> None:
    """Raise UsageError for a filter by nothing: no name is empty."""
    for name, values in chosen.items():
        if not all(value.strip() for value in values):
            raise UsageError(f"--{name} is empty", hint="a variable that is not set?")


def _check_sources(named: Sequence[str]) -> None:
    """Raise UsageError for a source that there is not: they are known before anything is read."""
    if not named:
        return
    from tallybook.sources import sources

    names = list(sources())
    for name in named:
        if not name or not names_of(name, sorted(names)):
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
        _check_input(path)
    if prices and not is_file(prices):
        words = "it is no file" if is_there(prices) else "there is no such file"
        raise UsageError(f"--prices {prices}: {words}")
    if output:
        check_target(output, paths or [], option)


def _check_input(path: Path) -> None:
    if isinstance(path, ObjectPath):
        from tallybook.files.objects import check

        check(path)
        return
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno not in _NOWHERE:
            return  # it cannot be looked at, which reading will report
        raise UsageError(f"there is no {path}") from error
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise UsageError(f"{path} is no file, folder or pipe")
