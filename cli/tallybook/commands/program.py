"""The program around the commands: its name, its version, its way with errors."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, Final, NoReturn, cast

import typer
from typer.core import TyperGroup

from tallybook import __version__
from tallybook.commands.output import flush, put, say
from tallybook.errors import FAILURES, TallybookError, UsageError

# What the library raises for a wrong command line; it has no public name in every version.
_Wrong: Final = cast(
    "type[Exception]",
    next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError"),
)
_NOTHING_ASKED: Final = "NoArgsIsHelpError"
_INTERRUPTED: Final = 130
# What other programs of the field call it.
_HABITS: Final = {
    "usage": "",
    "report": "",
    "stats": "",
    "daily": "--by day",
    "weekly": "--by week",
    "monthly": "--by month",
    "session": "--by thread",
    "sessions": "--by thread",
    "models": "--by model",
    "projects": "--by project",
    "blocks": "--by hour",
}


class Commands(TyperGroup):
    """The commands, with every error of the user's making said in one way."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is named. Raises UsageError for one of another program's."""
        if args[0] in _HABITS and args[0] not in self.commands:
            raise UsageError(
                f"there is no command {args[0]!r}",
                hint=f"tallybook usage-report {_HABITS[args[0]]}".rstrip(),
            )
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run the command line and exit with its code."""
        try:
            code = self._run(*args, **options)
            flush()
        except TallybookError as error:
            code = _told(error)
        sys.exit(code)

    def _run(self, *args: Any, **options: Any) -> int:
        """The exit code. Raises TallybookError."""
        # For the tests, and for who looks for the cause of a `reader-failed`.
        FAILURES.raised = bool(os.environ.get("TALLYBOOK_RAISE"))
        try:
            return int(super().main(*args, **options | {"standalone_mode": False}) or 0)
        except _Wrong as error:
            if type(error).__name__ != _NOTHING_ASKED:
                raise _in_our_words(error) from error
            say(*str(error).splitlines())
            return UsageError.exit_code
        except (KeyboardInterrupt, typer.Abort):
            return _INTERRUPTED
        except OSError as error:
            flush()  # which raises what is to be said, if the output is what failed
            if FAILURES.raised:
                raise
            raise TallybookError(_of_the_system(error)) from error


def unwritten() -> NoReturn:
    """Say that the output cannot be written, and exit."""
    try:
        flush()
    except TallybookError as error:
        sys.exit(_told(error))
    sys.exit(1)


def _told(error: TallybookError) -> int:
    say(f"error: {error.message}", *([f"hint: {error.hint}"] if error.hint else []))
    return error.exit_code


def _of_the_system(error: OSError) -> str:
    """What the system refuses, which nothing of ours has expected."""
    words = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {words}"
    try:
        os.getcwd()  # noqa: PTH109 - only to see whether it is there
    except OSError:
        return "the working folder is gone"
    return words


def _in_our_words(error: Any) -> UsageError:
    """An error of the library that reads the command line, in the form of our own."""
    command = error.ctx.command_path if error.ctx else "tallybook"
    possible = getattr(error, "possibilities", None)
    message = error.message if possible else error.format_message()
    hint = f"perhaps {' or '.join(possible)}; " if possible else ""
    return UsageError(
        message[:1].lower() + message[1:].rstrip("."), hint=f"{hint}{command} --help says more"
    )


# Plain help: examples keep their lines, and it takes half the time.
app = typer.Typer(
    cls=Commands,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExamples:\n"
    "  tallybook                                  today, this week, this month\n"
    "  tallybook usage-report                     all known places, by model\n"
    "  tallybook usage-report --by day --since 7d\n"
    "  tallybook usage-report logs/ -o usage.csv\n"
    "  tallybook sources                          where logs are looked for",
)


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        put([f"tallybook {__version__}\n"], "table")
        raise typer.Exit


@app.callback()
def _tallybook(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback does all
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_tell_version),
    ] = False,
) -> None:
    """Say what coding agents used and what it cost, from the logs they leave.

    Alone it says so of today, this week, the last seven days and this month.
    """
    if context.invoked_subcommand is None:
        from tallybook.commands.overview import overview

        overview()
