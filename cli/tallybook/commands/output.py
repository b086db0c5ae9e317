"""Puts finished text where it belongs: standard output, standard error, a file never half."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, TextIO

from tallybook.commands import terminal
from tallybook.errors import TallybookError, UsageError
from tallybook.files.regular import is_file, is_folder, is_there
from tallybook.private import OWN, aside, sweep
from tallybook.render.formats import json_pieces
from tallybook.render.text import encoded, visible, wrapped
from tallybook.wording import counted

if TYPE_CHECKING:
    import polars as pl

_ASIDE: Final = ".tallybook-"
_DIM: Final = ("\x1b[2m", "\x1b[0m")
_ANYBODY: Final = 0o666  # whom the umask lets
_SUFFIXES: Final[Mapping[str, str]] = {
    ".txt": "table",
    ".json": "json",
    ".csv": "csv",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
}
_OF_PROBLEMS: Final = (".jsonl", ".csv")
_PROBLEMS: Final = "--problems"


def chosen_format(
    named: str | None, *, json: bool, target: Path | None = None, pageless: str = ""
) -> str:
    """The format that the options ask for. Raises UsageError where they ask for none, or two.

    `pageless` is the name of a command that writes no HTML.
    """
    if json and named not in {None, "json"}:
        raise UsageError(f"--json and --format {named} exclude each other")
    chosen = "json" if json else named or _by_suffix(target)
    if chosen == "html" and pageless:
        raise UsageError(f"{pageless} writes no html", hint="table, json, csv, markdown")
    return chosen


def check_target(target: Path, inputs: list[Path], option: str = "") -> None:
    """Raise UsageError where a file cannot be written, or is one of the logs to read.

    `option` is what names the file on the command line.
    """
    named = f"{option} {target}".lstrip()
    if is_folder(target):
        raise UsageError(f"{named} is a folder", hint="name a file")
    if not is_folder(target.absolute().parent):
        raise UsageError(f"{named}: there is no folder {target.parent}")
    if any(is_there(target) and is_there(path) and target.samefile(path) for path in inputs):
        raise UsageError(f"{named} would overwrite a log that is to be read")
    if is_file(target) and _is_log(target):
        raise UsageError(f"{named} would overwrite a log", hint="name another file, or remove it")


def _is_log(target: Path) -> bool:
    from tallybook.files.resume import is_log

    return is_log(target)


def stdout_width() -> int | None:
    """Cells of a line on standard output; None where nothing needs to fit."""
    return terminal.width(os.environ, sys.stdout)


def stdout_colour() -> bool:
    """Whether standard output is to be coloured."""
    return terminal.colour(os.environ, sys.stdout)


def put(pieces: Iterable[str], chosen: str, target: Path | None = None) -> None:
    """Write data to the file that is asked for, else to standard output. Raises TallybookError."""
    if target:
        with writing(target) as stream:
            for text in pieces:
                stream.write(text.encode("utf-8", errors="backslashreplace"))
        return
    # Programs read what is no table, and they expect UTF-8.
    encoding = (chosen == "table" and sys.stdout.encoding) or "utf-8"
    with _stdout() as stream:
        for text in pieces:
            stream.write(encoded(text, encoding))


class Forms(NamedTuple):
    """How an answer is written as CSV, as Markdown, and as text of a width (None: any)."""

    csv: Callable[[dict[str, Any]], Iterator[str]]
    markdown: Callable[[dict[str, Any]], Iterator[str]]
    page: Callable[..., Iterator[str]]


def put_answer(
    answer: dict[str, Any], forms: Forms, chosen: str, target: Path | None, *, wide: bool = False
) -> None:
    """Write an answer as `put` does, in the form that is chosen; `wide`: whatever the terminal."""
    if chosen == "json":
        pieces = json_pieces(answer)
    elif chosen == "csv":
        pieces = forms.csv(answer)
    elif chosen == "markdown":
        pieces = forms.markdown(answer)
    else:
        width = None if target or wide else stdout_width()
        pieces = forms.page(answer, width, colour=not target and stdout_colour())
    put(pieces, chosen, target)


def flush() -> None:
    """Write what a library has put on standard output. Raises TallybookError."""
    with _stdout():
        pass


def stderr_width() -> int | None:
    """Cells of a line on standard error; None where nothing needs to fit."""
    return terminal.width(os.environ, sys.stderr)


def say(*lines: str, dim: bool = False) -> None:
    """Words for people, to standard error: made harmless, in signs and lines that it has.

    Where they cannot be written nobody can be told.
    """
    encoding, width = sys.stderr.encoding or "utf-8", stderr_width()
    on, off = _DIM if dim and terminal.colour(os.environ, sys.stderr) else ("", "")
    try:
        sys.stderr.writelines(
            on + encoded(f"{part}{off}\n", encoding).decode(encoding)
            for line in lines
            for part in wrapped(visible(line), width)
        )
        sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)


@contextmanager
def _stdout() -> Iterator[IO[bytes]]:
    try:
        yield sys.stdout.buffer
        sys.stdout.flush()
    except BrokenPipeError:
        _drop(sys.stdout)  # the reader has seen enough, as `head` does
    except OSError as error:
        _drop(sys.stdout)
        raise TallybookError(f"cannot write: {error.strerror}") from error


def _drop(stream: TextIO) -> None:
    """What is left of it; the interpreter would try to write it once more on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def writing(target: Path) -> Iterator[IO[bytes]]:
    """A stream beside the target, renamed at the end: readers find the old file or the new one.

    Raises TallybookError where it cannot be written; nothing is left behind then.
    """
    try:
        if is_there(target) and not is_file(target):  # a pipe or device has nothing beside it
            with target.open("wb") as stream:
                yield stream
        else:
            with _aside(Path(os.path.realpath(target))) as stream:
                yield stream
    except OSError as error:
        raise TallybookError(f"cannot write {target}: {error.strerror or error}") from error


@contextmanager
def _aside(target: Path) -> Iterator[IO[bytes]]:
    sweep(target.parent, _ASIDE)
    # Nobody may see in it what they may not see in the file that it takes the place of.
    rights = OWN if is_there(target) else _ANYBODY
    with aside(target.parent, _ASIDE, rights) as beside:
        with beside.open("wb") as stream:
            yield stream
        if is_there(target):
            shutil.copymode(target, beside)
        beside.replace(target)


def _by_suffix(target: Path | None) -> str:
    if target is None or (is_there(target) and not is_file(target)):  # a pipe has no suffix
        return "table"
    if target.suffix.lower() not in _SUFFIXES:
        raise UsageError(
            f"-o {target}: its suffix names no format",
            hint=f"suffixes: {', '.join(_SUFFIXES)}; or add --format",
        )
    return _SUFFIXES[target.suffix.lower()]


def check_problems(file: Path | None, inputs: list[Path] | None, output: Path | None) -> None:
    """Raise UsageError where the problems cannot be written there."""
    if file is None:
        return
    if file.suffix.lower() not in _OF_PROBLEMS:
        raise UsageError(
            f"{_PROBLEMS} {file}: its suffix names no format",
            hint=f"suffixes: {', '.join(_OF_PROBLEMS)}",
        )
    if output is not None and file.absolute() == output.absolute():
        raise UsageError(f"{_PROBLEMS} {file} is what the report is written to")
    check_target(file, inputs or [], _PROBLEMS)


def write_problems(file: Path | None, batches: Iterable[pl.DataFrame]) -> None:
    """Write the problems of batches of USAGE rows, if a file is asked for. Raises TallybookError.

    The file is never half there, and memory holds a batch.
    """
    if file is None:
        return
    from tallybook.render import batches as formats
    from tallybook.report.problems import gathered

    count = 0

    def passing() -> Iterator[pl.DataFrame]:
        nonlocal count
        for part in gathered(batches):
            count += int(part["count"].sum())
            yield part

    with writing(file) as stream:
        if file.suffix.lower() == ".csv":
            lines = formats.write_csv(passing(), stream, {"code"})
        else:
            lines = formats.write_jsonl(passing(), stream)
    say(f"{counted(count, 'problem')} written to {file}, in {counted(lines, 'line')}")
