"""`tallybook sources`: what is read, and where it is looked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tallybook.commands import options, terminal
from tallybook.commands.output import put, stdout_colour, stdout_width
from tallybook.commands.program import app
from tallybook.names import text_of
from tallybook.render.formats import envelope, json_text

if TYPE_CHECKING:
    from tallybook.files.known_places import SourceSurvey


@app.command("sources", short_help="Where logs are looked for, and what is there.")
def sources(
    format_: Annotated[
        Literal["table", "json"], typer.Option("--format", help="How to write the list.")
    ] = "table",
    json: options.Json = False,
) -> None:
    """Every format that is read, where it is looked for, and what is there."""
    from tallybook.files.known_places import survey

    home = terminal.home_folder(os.environ)
    rows = [_source_row(found) for found in survey(os.environ, home)]
    files = sum(place["files"] for row in rows for place in row["found"])
    answer = envelope(
        "sources",
        query={},
        rows=rows,
        totals={"sources": len(rows), "files": files},
        coverage={"files": files},
    )
    if json or format_ == "json":
        put([json_text(answer)], "json")
        return
    from tallybook.render.listings import table_text

    text = table_text(answer, text_of(str(home)), stdout_width(), colour=stdout_colour())
    put([text], "table")


def _source_row(found: SourceSurvey) -> dict[str, Any]:
    return {
        "name": found.name,
        "title": found.title,
        "places": found.places,
        "found": [{"path": path, "files": count} for path, count in found.found],
    }
