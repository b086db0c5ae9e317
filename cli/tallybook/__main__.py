"""`python -m tallybook`, and the command `tallybook`."""

from __future__ import annotations

# What `signal` is made of, which takes milliseconds to load, and an interrupt would be told then.
import _signal  # type: ignore[import-not-found] # it is a part of the interpreter
import os

_INTERRUPTED = 130


def _end_at_once(*_: object) -> NoReturn:
    os._exit(_INTERRUPTED)


# While the rest is loaded there is nothing to put in order. Who has it ignored, as `nohup` does, is
# not asked.
_HEEDS_INTERRUPTS = _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
if _HEEDS_INTERRUPTS:
    _signal.signal(_signal.SIGINT, _end_at_once)

import atexit  # noqa: E402 - see above
import gc  # noqa: E402
import io  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from contextlib import suppress  # noqa: E402
from typing import Any, NoReturn  # noqa: E402

from tallybook import __version__  # noqa: E402

# pyarrow loads these wherever they are installed, half a second in every process; nothing here
# has a use for them.
_UNUSED = ("numpy", "pandas")
# Libraries look here when they are loaded. By themselves, what was freed they keep for ten seconds
# (polars, for four threads a core) or for good (pyarrow): a third of their memory. And polars 2
# streams each frame through its threads; those here are small or were cut, and without it a run
# takes a tenth less memory and a tenth (report) to a quarter (export) less time.
_LIBRARIES = {
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:200,muzzy_decay_ms:0,narenas:2",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "POLARS_ENGINE_AFFINITY": "in-memory",
}
# What is loaded at the start stays, and rows are in no rings: looked for as often as Python does by
# itself, garbage takes a twentieth of a short run.
_COLLECTIONS = (100_000, 20, 100)
# A text that has more bytes and cannot be written is forgotten, and so is that it could not be; the
# buffer that Python takes for some devices has 4 KB, less than a page of help.
_BUFFER = 1 << 16


def main() -> None:
    """Run the command line; the version is told before anything is loaded."""
    gc.set_threshold(*_COLLECTIONS)
    _open_standard_streams()
    if sys.argv[1:] == ["--version"]:
        _tell_version()
        return
    for name in _UNUSED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type] # so that it is not found
    for name, value in _LIBRARIES.items():
        os.environ[name] = os.environ.get(name) or value
    from tallybook.commands import app_of  # noqa: PLC0415 - see above

    try:
        _heed_interrupts()
        try:
            app_of(sys.argv[1:])(prog_name="tallybook")
        except SystemExit as end:
            _leave(end)
    except KeyboardInterrupt:
        _end_at_once()


def _heed_interrupts() -> None:
    """Have Ctrl-C end what runs in good order from now on; a second one does not wait for that."""

    def interrupt(*_: object) -> NoReturn:
        signal.signal(signal.SIGINT, _end_at_once)
        raise KeyboardInterrupt

    def lost(raised: Any) -> None:
        if issubclass(raised.exc_type, KeyboardInterrupt):  # where nothing can be raised
            _end_at_once()
        sys.__unraisablehook__(raised)

    if _HEEDS_INTERRUPTS:
        sys.unraisablehook = lost
        signal.signal(signal.SIGINT, interrupt)


def _leave(end: SystemExit) -> NoReturn:
    """End the process with its code, its libraries left as they are: all is written by now.

    Taken down with the interpreter, a thread of pyarrow may be ended in the midst of C++, and the
    process aborts behind a report that is whole (apache/arrow#45017).
    """
    if _HEEDS_INTERRUPTS:
        signal.signal(signal.SIGINT, _end_at_once)
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
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # with PYTHONUNBUFFERED, which may write half a text
    if isinstance(raw, io.RawIOBase):
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw, _BUFFER),
            sys.stdout.encoding,
            sys.stdout.errors,
            line_buffering=bool(sys.stdout.line_buffering),
        )
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


if __name__ == "__main__":
    main()
