"""Keeps what was derived, a component at a time; all of it can be thrown away and derived again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tallybook.ledger.manifest import Damaged, Entry, Segment, sealed, unsealed, write_aside
from tallybook.ledger.store import cover, pick

if TYPE_CHECKING:
    import polars as pl

_INDEX: Final = "index"
_KIND: Final = b"derived"
_ORPHAN_SECONDS: Final = 3600


class Derived:
    """Derived rows by the digest of what they were derived from.

    Without a folder nothing is kept. Whatever goes wrong with the folder costs time only.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: dict[str, Segment] = _read_index(folder) if folder else {}
        self._used: dict[str, Segment] = {}

    def has(self, digest: str) -> bool:
        """Whether the rows of a component are there."""
        return digest in self._known

    def rows(self, digests: Sequence[str]) -> Iterator[tuple[list[str], pl.DataFrame]]:
        """The rows of those components that are there, with their digests in this order.

        Those that cannot be read are forgotten.
        """
        import polars as pl  # noqa: PLC0415 - after the logs are read

        packs: dict[str, list[str]] = {}
        for digest in digests:
            if digest in self._known:
                packs.setdefault(self._known[digest].part, []).append(digest)
        for name, inside in packs.items():
            segments = [self._known[digest] for digest in inside]
            try:
                found = self._pick(name, segments)
            except (pl.exceptions.PolarsError, OSError, ValueError):
                for digest in inside:
                    del self._known[digest]
                continue
            self._used |= dict(zip(inside, segments, strict=True))
            yield inside, found

    def _pick(self, name: str, segments: Sequence[Segment]) -> pl.DataFrame:
        import polars as pl  # noqa: PLC0415 - as above

        assert self._folder is not None  # noqa: S101 - for the type checker
        first, rows = cover(segments)
        frame = pl.scan_parquet(self._folder / name).slice(first, rows).collect()
        if frame.height != rows:
            raise ValueError(name)
        return pick(frame, segments, first)

    def add(self, rows: pl.DataFrame, sizes: Mapping[str, int]) -> None:
        """Keep derived rows; `sizes` are the digests of their components with their rows."""
        if self._folder is None:
            return
        name = f"{os.urandom(12).hex()}.parquet"
        aside = self._folder / f"{name}.aside"
        try:
            rows.write_parquet(aside, compression="lz4", statistics=False)
            aside.replace(self._folder / name)
        except OSError:
            with suppress(OSError):
                aside.unlink()
            self._folder = None
            return
        start = 0
        for digest, size in sizes.items():
            self._known[digest] = self._used[digest] = Segment(name, start, size)
            start += size

    def close(self) -> None:
        """Write down what was used in this run and what else may be used again."""
        if self._folder is None:
            return
        with suppress(OSError):
            content = msgspec.msgpack.encode(self._kept())
            path = self._folder / _INDEX
            content = sealed(_KIND, content)
            if not path.exists() or path.read_bytes() != content:
                write_aside(path, content)
            _sweep(self._folder, {segment.part for segment in self._used.values()})

    def _kept(self) -> dict[str, Segment]:
        packs = {segment.part for segment in self._used.values()}
        return {key: known for key, known in self._known.items() if known.part in packs}


def component_digest(entries: Sequence[Entry], salt: str) -> str:
    """Changes with anything that derived rows depend on; `salt` stands for code and corrections."""
    facts = [
        (entry.path, [(part.part, part.start, part.rows) for part in entry.segments()])
        for entry in entries
    ]
    return blake2b(f"{salt} {facts!r}".encode(), digest_size=16).hexdigest()


def _read_index(folder: Path) -> dict[str, Segment]:
    try:
        payload = unsealed(_KIND, (folder / _INDEX).read_bytes())
        return msgspec.msgpack.decode(payload, type=dict[str, Segment])
    except (OSError, Damaged, msgspec.MsgspecError):
        return {}


def _sweep(folder: Path, kept: set[str]) -> None:
    """Remove packs that nothing refers to and that no run can be about to refer to."""
    before = time.time() - _ORPHAN_SECONDS
    for path in folder.iterdir():
        if path.name not in {*kept, _INDEX}:
            with suppress(OSError):
                if path.stat().st_mtime < before:
                    path.unlink()
