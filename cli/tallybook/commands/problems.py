"""`--problems FILE`: every problem of what was read, one a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tallybook.commands.output import check_target, say, writing
from tallybook.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

_SUFFIXES: Final = (".jsonl", ".csv")
_OPTION: Final = "--problems"


def check_problems(file: Path | None, inputs: list[Path] | None, output: Path | None) -> None:
    """Raise UsageError where the problems cannot be written there."""
    if file is None:
        return
    if file.suffix.lower() not in _SUFFIXES:
        raise UsageError(
            f"{_OPTION} {file}: its suffix names no format",
            hint=f"suffixes: {', '.join(_SUFFIXES)}",
        )
    if output is not None and file.absolute() == output.absolute():
        raise UsageError(f"{_OPTION} {file} is what the report is written to")
    check_target(file, inputs or [], _OPTION)


def write_problems(file: Path | None, batches: Iterable[pl.DataFrame]) -> None:
    """Write the problems of batches of USAGE rows, if a file is asked for. Raises TallybookError.

    The file is never half there, and memory holds a batch.
    """
    if file is None:
        return
    from tallybook.render import batches as formats  # noqa: PLC0415 - after the logs are read
    from tallybook.report.problems import gathered  # noqa: PLC0415

    count = 0

    def counted() -> Iterator[pl.DataFrame]:
        nonlocal count
        for part in gathered(batches):
            count += int(part["count"].sum())
            yield part

    write = formats.write_csv if file.suffix.lower() == ".csv" else formats.write_jsonl
    with writing(file) as stream:
        lines = write(counted(), stream, own_text={"code"}, metadata={})
    said = f"{count:,} {'problem' if count == 1 else 'problems'}"
    say(f"{said} written to {file}, in {lines:,} {'line' if lines == 1 else 'lines'}")
