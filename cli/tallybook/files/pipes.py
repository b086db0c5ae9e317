"""Copies what the user pipes in into a file: it can be read once only, and reading starts anew."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final

from tallybook.errors import TallybookError
from tallybook.files.regular import opened_at_once
from tallybook.names import text_of
from tallybook.urls import ObjectPath

MAX_PIPE_BYTES: Final = 4 << 30  # as they come, packed or not
PATIENCE_SECONDS: Final = 5.0  # for somebody to begin to write
_PIECE_BYTES: Final = 1 << 20
# Such a path means another file in every process.
_OF_A_PROCESS: Final = ("/dev/", "/proc/")
# But for what processes have open the kernel waits for more at its end: it is read as far as it is.
_WAITING: Final = ("/proc/",)


@contextmanager
def copied(paths: Iterable[Path]) -> Iterator[Mapping[str, str]]:
    """Where the content of each of the absolute `paths` lies that can be read only once, or now.

    The keys are the paths as texts, see `names`.

    Those are pipes, and files that are named by their number in this process. Raises
    TallybookError for a pipe that nobody writes to, that gives more than MAX_PIPE_BYTES, or that
    cannot be kept.
    """
    once = {str(path) for path in paths if _is_passing(path)}
    if not once:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="tallybook-") as folder:
        copies = {}
        for number, path in enumerate(sorted(once)):
            copy = Path(folder, str(number))
            copies[text_of(path)] = str(copy)
            try:
                with copy.open("wb") as target:
                    _copy(path, target)
            except OSError as error:
                words = error.strerror or str(error)
                raise TallybookError(f"{path} cannot be read to its end: {words}") from error
        yield copies


def _is_passing(path: Path) -> bool:
    if isinstance(path, ObjectPath):
        return False
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    is_of_a_process = str(path).startswith(_OF_A_PROCESS)
    return stat.S_ISFIFO(mode) or (stat.S_ISREG(mode) and is_of_a_process)


def _copy(path: str, target: BinaryIO) -> None:
    with FileIO(path, "rb", opener=opened_at_once) as stream:
        if not path.startswith(_OF_A_PROCESS):
            target.write(_begun(stream, path))
        os.set_blocking(stream.fileno(), not path.startswith(_WAITING) or "/fd/" in path)
        while piece := stream.read(_PIECE_BYTES):
            target.write(piece)
            if target.tell() > MAX_PIPE_BYTES:
                raise TallybookError(
                    f"{path} gives more than {MAX_PIPE_BYTES >> 30} GB", hint="write it into a file"
                )


def _begun(stream: FileIO, path: str) -> bytes:
    """What a named pipe gives at first; nothing yet where somebody has it open for writing."""
    end = time.monotonic() + PATIENCE_SECONDS
    while (piece := stream.read(_PIECE_BYTES)) == b"":
        if time.monotonic() > end:
            raise TallybookError(f"{path} is a pipe that nobody writes to")
        time.sleep(0.02)
    return piece or b""
