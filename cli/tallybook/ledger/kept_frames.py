"""Keeps what parts say between runs, as frames: those of many parts in one file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from tallybook.ledger.digests import code_digest
from tallybook.ledger.manifest import Damaged, sealed, unsealed
from tallybook.private import read_own, write_aside

_FULL: Final = 1 << 18  # rows of a file to which no more are put; of keys they take 3 MB
_MANY: Final = 8  # files that are not full; each takes a question a millisecond


class _File(msgspec.Struct, array_like=True):
    """The frames of parts one after the other, as the library writes them."""

    parts: list[str]
    sizes: list[int]
    rows: bytes


class KeptFrames:
    """The frames of parts in a folder; `what` tells them from others. Without a folder none stay.

    Whatever goes wrong with it costs time only.
    """

    def __init__(self, folder: Path | None, what: str) -> None:
        self._folder = folder
        # Hashes are the same within a version of the library only.
        self._ending = f".{pl.__version__}.{what}"
        # Other code may look at other columns.
        self._kind = f"{what}-{code_digest()}".encode()
        self._small: list[Path] = []
        self._new: dict[str, pl.DataFrame] = {}
        self.missing: list[str] = []

    def there(self, parts: Iterable[str]) -> Iterator[tuple[str, pl.DataFrame]]:
        """The frames of those parts that are kept, a file at a time; the others are `missing`."""
        left = dict.fromkeys(parts)
        for path in sorted(self._folder.glob(f"*{self._ending}")) if self._folder else ():
            found = self._read(path)
            if sum(frame.height for frame in found.values()) < _FULL:
                self._small.append(path)
            for part in [part for part in found if part in left]:
                del left[part]
                yield part, found[part]
        self.missing = list(left)

    def keep(self, part: str, frames: Sequence[pl.DataFrame]) -> None:
        """Take the rows of one part more."""
        if self._folder is not None:
            self._new[part] = pl.concat(frames)
            if sum(frame.height for frame in self._new.values()) >= _FULL:
                self._write()

    def close(self) -> None:
        """Write what was taken; with it what is in small files, where these are many."""
        if self._new and len(self._small) >= _MANY:
            for path in self._small:
                self._new = self._read(path) | self._new
                with suppress(OSError):
                    path.unlink()
        if self._new:
            self._write()

    def _read(self, path: Path) -> dict[str, pl.DataFrame]:
        with suppress(OSError, Damaged, msgspec.MsgspecError, pl.exceptions.PolarsError):
            found = msgspec.msgpack.decode(unsealed(self._kind, read_own(path)), type=_File)
            rows = pl.read_ipc(found.rows)
            places = zip(accumulate(found.sizes, initial=0), found.sizes, strict=False)
            return {p: rows.slice(*place) for p, place in zip(found.parts, places, strict=True)}
        return {}

    def _write(self) -> None:
        """Put what was taken into a file that bears the name of a part, with which it goes."""
        assert self._folder is not None  # noqa: S101 - for the type checker
        buffer = BytesIO()
        pl.concat(self._new.values()).write_ipc(buffer)
        sizes = [frame.height for frame in self._new.values()]
        payload = msgspec.msgpack.encode(_File(list(self._new), sizes, buffer.getvalue()))
        name = next(reversed(self._new)).partition(".")[0] + self._ending
        self._new = {}
        with suppress(OSError):
            write_aside(self._folder / name, sealed(self._kind, payload), sync=False)
