"""Keeps finished answers, and gives one again where nothing that it came from has changed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from tallybook.names import path_of, text_of
from tallybook.private import open_regular, read_own, write_aside
from tallybook.report.query import Query, Unmatched

if TYPE_CHECKING:
    from tallybook.ledger.question import Question
    from tallybook.ledger.reading import Reading

_KEPT: Final = 32
_MOST_ROWS: Final = 10_000  # more take longer to load than to add up
# Within this a file system may give two states of a file the same time.
_SETTLED_NS: Final = 2_000_000_000
# The path, size, mtime in ns and inode of a file, and the same of small files beside it.
_File = tuple[str, int, int, int, tuple[tuple[str, int, int], ...]]
T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True):
    """The envelope with all that is said about it."""

    envelope: dict[str, Any]
    unmatched: list[Unmatched] = []
    searched: list[str] = []
    notes: list[str] = []


class _Watched(msgspec.Struct, array_like=True):
    """All that an answer depends on outside of the ledger, and in which state that is."""

    environment: dict[str, str | None]
    ledger: list[int]
    files: list[_File]
    folders: dict[str, int]
    missing: list[str]


class _Told(msgspec.Struct, array_like=True):
    """An answer, with the digest of what it depends on."""

    watched: str
    answer: Answer


class Answers:
    """The answers that were given from one ledger; whatever goes wrong with them costs time only.

    An answer is given again only for the same question, environment, prices and program, the same
    generation of the ledger, and where every file and folder that was looked at is as it was.
    """

    def __init__(self, question: Question, query: Query, salt: str) -> None:
        self._question = question
        self._begun = time.time_ns()
        self._folder = question.ledger / "answers" if question.ledger else None
        paths = [str(path.absolute()) for path in question.paths or ()]
        places = [question.paths is None, question.everything, paths, str(question.home)]
        self._salt = _digest([places, salt, str(question.cache)])
        self._name = _digest([self._salt, query.document()])

    def find(self) -> Answer | None:
        """The answer, if it still holds."""
        if self._folder is None:
            return None
        with suppress(OSError, ValueError):
            _, told = _load(self._folder / f"{self._name}.answer", _Told)
            digest, watched = _load(self._folder / f"{self._salt}.watch", _Watched)
            if told.watched == digest and self._holds(watched):
                return told.answer
        return None

    def _holds(self, watched: _Watched) -> bool:
        return (
            self._environment(watched.environment) == watched.environment
            and self._ledger_state() == watched.ledger
            and all(map(_is_as, watched.files))
            and all(_mtime(path) == mtime for path, mtime in watched.folders.items())
            and not any(os.path.lexists(path_of(path)) for path in watched.missing)
        )

    def _environment(self, names: Iterable[str]) -> dict[str, str | None]:
        found = self._question.environment
        return {name: text_of(found[name]) if name in found else None for name in names}

    def _ledger_state(self) -> list[int]:
        assert self._question.ledger is not None  # noqa: S101 - for the type checker
        with open_regular(self._question.ledger / "catalog.sqlite") as file:
            state = os.fstat(file.fileno())
            # It counts its transactions in its header: two may come within one tick of the clock.
            return [state.st_size, state.st_mtime_ns, state.st_ino, *file.read(28)[24:]]

    def keep(self, answer: Answer, reading: Reading) -> None:
        """Keep an answer, if it can be told whether it still holds."""
        rows = answer.envelope["rows"]
        if self._folder is None or answer.notes or not reading.is_settled or len(rows) > _MOST_ROWS:
            return
        with suppress(OSError, ValueError):  # the latter where a text is none
            watched = _Watched(
                self._environment(reading.variables),
                self._ledger_state(),
                [(f.path, f.size, f.mtime_ns, f.inode, f.beside) for f in reading.found],
                reading.folders,
                reading.missing,
            )
            if max(_times(watched), default=0) > self._begun - _SETTLED_NS:
                return
            digest = _save(self._folder / f"{self._salt}.watch", watched)
            kept = msgspec.structs.replace(answer, envelope={**answer.envelope, "rows": list(rows)})
            _save(self._folder / f"{self._name}.answer", _Told(digest, kept))
            _drop_oldest(self._folder)


def _is_as(file: _File) -> bool:
    path, size, mtime_ns, inode, beside = file
    state = os.stat(path_of(path))
    if (state.st_size, state.st_mtime_ns, state.st_ino) != (size, mtime_ns, inode):
        return False
    folder = os.path.dirname(path)
    return all(
        (there := os.stat(path_of(os.path.join(folder, name)))).st_size == size
        and there.st_mtime_ns == mtime_ns
        for name, size, mtime_ns in beside
    )


def _mtime(path: str) -> int:
    return os.stat(path_of(path)).st_mtime_ns


def _times(watched: _Watched) -> Iterable[int]:
    for _, _, mtime_ns, _, beside in watched.files:
        yield mtime_ns
        yield from (time for _, _, time in beside)
    yield from watched.folders.values()


def _digest(value: object) -> str:
    return _hash(json.dumps(value, sort_keys=True, default=str).encode())


def _load(path: Path, kind: type[T]) -> tuple[str, T]:
    """What was kept, with its digest. Raises ValueError for what was not written so."""
    digest, _, content = read_own(path).partition(b"\n")
    if digest.decode("ascii") != _hash(content):
        raise ValueError(path)
    return digest.decode("ascii"), msgspec.json.decode(content, type=kind)


def _save(path: Path, value: object) -> str:
    content = msgspec.json.encode(value)
    digest = _hash(content)
    write_aside(path, digest.encode() + b"\n" + content, sync=False)
    return digest


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _drop_oldest(folder: Path) -> None:
    for pattern in ("*.answer", "*.watch"):
        kept = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in kept[_KEPT:]:
            path.unlink()
    for path in folder.glob("*.sums"):  # which older programs have kept
        path.unlink()
