"""`python -m tallybook`, and the command `tallybook`."""

from __future__ import annotations

import atexit
import io
import os
import sys
from contextlib import suppress
from typing import NoReturn

from tallybook import __version__

# pyarrow loads these wherever they are installed, half a second in every process; nothing here
# has a use for them.
_UNUSED = ("numpy", "pandas")
# Allocators look here when their library is loaded. By themselves, what was freed they keep for ten
# seconds (polars) or for good (pyarrow), longer than most runs take: a third of their memory.
_ALLOCATORS = {
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:200,muzzy_decay_ms:0",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


def main() -> None:
    """Run the command line; the version is told before anything is loaded."""
    _open_standard_streams()
    if sys.argv[1:] == ["--version"]:
        _tell_version()
        return
    for name in _UNUSED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type] # so that it is not found
    for name, value in _ALLOCATORS.items():
        os.environ.setdefault(name, value)
    from tallybook.commands import app  # noqa: PLC0415 - see above

    try:
        app(prog_name="tallybook")
    except SystemExit as end:
        _leave(end)


def _leave(end: SystemExit) -> NoReturn:
    """End the process with its code, its libraries left as they are: all is written by now.

    Taken down with the interpreter, a thread of pyarrow may be ended in the midst of C++, and the
    process aborts behind a report that is whole (apache/arrow#45017).
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))


def _tell_version() -> None:
    try:
        sys.stdout.write(f"tallybook {__version__}\n")
        sys.stdout.flush()
    except OSError:  # what can be said of it takes the rest of the program
        from tallybook.commands.program import unwritten  # noqa: PLC0415 - see above

        unwritten()


def _open_standard_streams() -> None:
    """Put something in the place of a stream that was closed before this program began.

    Else the next file that is opened, a part of the ledger perhaps, would take its number, and with
    it what a library writes there. Writing to the output then fails, for nobody gets it.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the lowest number that is free
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    raw = getattr(sys.stdout, "buffer", None)
    if isinstance(raw, io.RawIOBase):  # with PYTHONUNBUFFERED, and then it may write half a text
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), sys.stdout.encoding)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


if __name__ == "__main__":
    main()
