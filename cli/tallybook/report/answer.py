"""Answers a query from a reading, with the sums kept that are still the same the next time."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import polars as pl

from tallybook.private import read_own, writing_aside
from tallybook.report.query import Query
from tallybook.report.summary import Report, report
from tallybook.report.sums import ASKED, COMPONENT, Partial, as_one, joined, partial

# Sums that are about as many as the rows they are of are not worth keeping, nor holding apart: so
# many of them take 30 MB.
_MOST_ROWS: Final = 16_384
_KEPT_FILES: Final = 64
_DIGEST: Final = 16  # bytes in front of the rest that show damage


class UsageOfFiles(Protocol):
    """What a reading has to offer; see `tallybook.ledger.reading.Reading`."""

    @property
    def older(self) -> Collection[str]:
        """Paths of files that another program has read."""

    def components(self) -> list[str]:
        """Names of the components, each of which changes with its rows."""

    def batches(
        self, only: Collection[str] | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[pl.DataFrame]:
        """Priced USAGE rows with the column `component`, of `columns` those that there are."""


def answer(
    usage: UsageOfFiles, query: Query, read: Mapping[str, Any], cache: Path | None, salt: str
) -> Report:
    """Answer `query`; `read` opens the coverage.

    `cache` is a folder for sums that may be asked for again, `salt` changes with what else they
    depend on: prices, the program. What is wrong with the folder costs time only. Where filters
    stand for other names than themselves, which only the rows tell, these are asked for then.
    """
    found = _answer(usage, query, read, cache, salt)
    if not found.matched or query.matched:
        return found
    return _answer(usage, replace(query, matched=found.matched), read, cache, salt)


def _answer(
    usage: UsageOfFiles, query: Query, read: Mapping[str, Any], cache: Path | None, salt: str
) -> Report:
    path = cache / f"{_digest(query, salt)}.sums" if cache else None
    kept = _load(path) if path else None
    names = usage.components()
    known = set(kept.covered[COMPONENT]) & set(names) if kept else set()
    found = [kept.of(sorted(known))] if kept and known else []
    small, older = True, usage.older
    for rows in usage.batches(set(names) - known, ASKED):
        found.append(partial(rows, query, older))
        if sum(each.height for each in found) > _MOST_ROWS:
            found, small = [as_one(joined(found), query)], False
    whole = joined(found)
    if path and small and set(names) != known:
        _save(path, whole.of(names))
    return report(whole, query, read)


def _digest(query: Query, salt: str) -> str:
    document = replace(
        query, sort=None, reverse=False, limit=None, last=None, paths=None, everything=False
    ).document()
    return blake2b(f"{salt} {document}".encode(), digest_size=16).hexdigest()


def _load(path: Path) -> Partial | None:
    with suppress(OSError, msgspec.MsgspecError, pl.exceptions.PolarsError, KeyError):
        whole = memoryview(read_own(path))
        digest, content = whole[:_DIGEST], whole[_DIGEST:]
        if digest != blake2b(content, digest_size=_DIGEST).digest():
            return None
        frames = msgspec.msgpack.decode(content, type=dict[str, bytes])
        return Partial(**{f.name: pl.read_ipc(frames[f.name]) for f in fields(Partial)})
    return None


def _save(path: Path, whole: Partial) -> None:
    with suppress(OSError), writing_aside(path, sync=False) as file:
        digest = blake2b(digest_size=_DIGEST)
        file.write(digest.digest())  # as long as the one that takes its place
        for piece in _pieces(whole):
            digest.update(piece)
            file.write(piece)
        file.seek(0)
        file.write(digest.digest())
    with suppress(OSError):
        _drop_oldest(path.parent)


def _pieces(whole: Partial) -> Iterator[bytes | memoryview]:
    """The frames by name in msgpack, one at a time: they may take tens of megabytes."""
    names = [field.name for field in fields(Partial)]
    yield bytes([0x80 + len(names)])
    for name in names:
        buffer = io.BytesIO()
        getattr(whole, name).write_ipc(buffer)
        content = buffer.getbuffer()
        yield msgspec.msgpack.encode(name) + b"\xc6" + len(content).to_bytes(4, "big")
        yield content


def _drop_oldest(folder: Path) -> None:
    kept = sorted(folder.glob("*.sums"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in kept[_KEPT_FILES:]:
        path.unlink()
