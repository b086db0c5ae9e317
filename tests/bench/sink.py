"""A JSON-lines file under construction, written in large pieces and counted."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from .truth import Truth

PIECE = 1 << 20  # bytes held back before a write


class Sink:
    """Collects the lines of one file and writes them piece by piece.

    `written` is the number of bytes given so far, those still held back included.
    """

    def __init__(self, path: Path, truth: Truth, *, append: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("ab" if append else "xb")
        self._truth = truth
        self._held: list[bytes] = []
        self._held_bytes = 0
        self.written = 0
        truth.files += not append

    def line(self, line: bytes, *, usage: bool = False) -> None:
        """Take one line with its line end."""
        self._held.append(line)
        self._held_bytes += len(line)
        self.written += len(line)
        self._truth.lines += 1
        self._truth.usage_lines += usage
        if self._held_bytes >= PIECE:
            self._flush()

    def _flush(self) -> None:
        self._file.write(b"".join(self._held))
        self._truth.size += self._held_bytes
        self._held.clear()
        self._held_bytes = 0

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._flush()
        self._file.close()
