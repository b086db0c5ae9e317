"""`tallybook ledger`: what is kept of the logs, checked, forgotten, compacted, put together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tallybook.commands import options
from tallybook.commands.output import chosen_format, put, say, stdout_colour, stdout_width
from tallybook.commands.program import app
from tallybook.commands.terminal import own_ledger
from tallybook.errors import TallybookError, UsageError
from tallybook.render.formats import envelope, json_text
from tallybook.render.text import visible
from tallybook.urls import path_named
from tallybook.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

commands = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What is kept of the logs: its state, checks, forgetting, putting together.",
    epilog="\b\nExamples:\n"
    "  tallybook ledger status                 what is kept, and where\n"
    "  tallybook ledger verify                 read all again and compare\n"
    "  tallybook ledger forget ~/old-project   take files out of it\n"
    "  tallybook ledger merge /mnt/laptop/ledger",
)
app.add_typer(commands, name="ledger", short_help="What is kept of the logs between runs.")


Format = Annotated[
    Literal["table", "json"] | None, typer.Option("--format", help="Default: table.")
]


@commands.command("status", short_help="What is kept, by source.")
def status(
    ledger: options.Ledger = None, format_: Format = None, json: options.Json = False
) -> None:
    """Files and rows that the ledger holds by source, and how many files are gone from the disk."""
    from tallybook.ledger.upkeep import status as state_of

    folder, chosen = own_ledger(ledger), chosen_format(format_, json=json, target=None)
    rows, totals = state_of(folder)
    if chosen == "json":
        _put_json("ledger-status", folder, rows, totals)
        return
    from tallybook.render.listings import status_text

    put([status_text(rows, totals, stdout_width(), colour=stdout_colour())], "table")
    say(
        f"{folder}: {totals['bytes'] / 1e6:,.1f} MB in {counted(totals['parts'], 'part')}, "
        f"generation {totals['generation']:,}"
    )


@commands.command("verify", short_help="Read all again and compare.")
def verify(
    ledger: options.Ledger = None, format_: Format = None, json: options.Json = False
) -> None:
    """Read every file again that is as it was and say what disagrees with the ledger; exit 1."""
    from tallybook.ledger.upkeep import status as state_of
    from tallybook.ledger.verify import verify as verified

    folder, chosen = own_ledger(ledger), chosen_format(format_, json=json, target=None)
    count, found = verified(folder)
    rows = [{"path": odd.path, "detail": odd.detail} for odd in found]
    if chosen == "json":
        _put_json("ledger-verify", folder, rows, {"files": count, "disagreements": len(rows)})
    else:
        put((visible(f"{row['path']}: {row['detail']}") + "\n" for row in rows), "table")
    older = state_of(folder)[1]["older"]
    left = (
        f"; {counted(older, 'file')} of an older reading left to the next report" if older else ""
    )
    say(f"{counted(count, 'file')} read again, {len(rows):,} disagree{left}")
    if rows:
        raise typer.Exit(1)


@commands.command("forget", short_help="Take a file or folder out of it.")
def forget(
    path: Annotated[str, typer.Argument(metavar="PATH", help="As it is named in the ledger.")],
    ledger: options.Ledger = None,
) -> None:
    """Take a file, or all that lay below a folder, out of the ledger for good.

    What is still on the disk is read again when it is looked at. Exit 1 where it holds nothing
    of it.
    """
    from tallybook.ledger.upkeep import forget as forgotten

    if not path:  # an unset variable, and not the folder that one happens to be in
        raise UsageError("PATH is empty")
    folder = own_ledger(ledger)
    count = forgotten(folder, path_named(path))
    if not count:
        raise TallybookError(
            f"the ledger {folder} holds nothing of {path}",
            hint="tallybook ledger status says what is kept",
        )
    say(f"{counted(count, 'file')} forgotten")


@commands.command("compact", short_help="Write it anew, without what is of no use any more.")
def compact(ledger: options.Ledger = None) -> None:
    """Write the rows of all files anew into few parts."""
    from tallybook.ledger.upkeep import compact as compacted

    say(f"{counted(compacted(own_ledger(ledger)), 'file')} written anew")


@commands.command("merge", short_help="Take over what another ledger holds.")
def merge(
    other: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", parser=options.named("DIR"), help="The other ledger's folder."
        ),
    ],
    ledger: options.Ledger = None,
) -> None:
    """Take over what the ledger of another machine holds; what both hold counts once.

    What cannot be so is refused, with a word; exit 1.
    """
    from tallybook.ledger.merging import merge as merged
    from tallybook.render.listings import refused_lines

    taken = merged(own_ledger(ledger), other.absolute())
    count = f"; {len(taken.refused):,} refused" if taken.refused else ""
    taken_over = f"{counted(taken.files, 'file')} taken over from {other}{count}"
    say(taken_over, *refused_lines(taken.refused))
    if taken.refused:
        raise typer.Exit(1)


def _put_json(
    command: str, folder: Path, rows: Sequence[Mapping[str, Any]], totals: Mapping[str, Any]
) -> None:
    answer = envelope(
        command,
        query={"ledger": str(folder)},
        rows=rows,
        totals=totals,
        coverage={"files": totals["files"]},
    )
    put([json_text(answer)], "json")
