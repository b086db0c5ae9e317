"""The program around the commands: its name, its version, its way with errors."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tallybook import __version__
from tallybook.app.output import say
from tallybook.errors import FAILURES, TallybookError


class Commands(TyperGroup):
    """The commands, with the errors of the user's making said in words."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        # For the tests, and for who looks for the cause of a `reader-failed`.
        FAILURES.raised = bool(os.environ.get("TALLYBOOK_RAISE"))
        try:
            return super().invoke(ctx)
        except TallybookError as error:
            say(f"error: {error.message}", *([f"hint: {error.hint}"] if error.hint else []))
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(130) from error


# Plain help: examples keep their lines, and it takes half the time.
app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExamples:\n"
    "  tallybook usage-report                     all known places, by model\n"
    "  tallybook usage-report --by day --since 7d\n"
    "  tallybook usage-report logs/ -o usage.csv\n"
    "  tallybook sources                          where logs are looked for",
)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"tallybook {__version__}")
        raise typer.Exit


@app.callback()
def _tallybook(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_tell_version),
    ] = False,
) -> None:
    """Say what coding agents used and what it cost, from the logs they leave."""
