"""Keeps finished answers, and gives one again where nothing that it came from has changed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tallybook.names import path_of
from tallybook.private import open_regular, read_own, write_aside
from tallybook.report.query import Query, Unmatched

if TYPE_CHECKING:
    from tallybook.ledger.question import Question
    from tallybook.ledger.reading import Reading

_KEPT: Final = 32
_MOST_ROWS: Final = 10_000  # more take longer to load than to add up
# Within this a file system may give two states of a file the same time.
_SETTLED_NS: Final = 2_000_000_000


class Answer(msgspec.Struct, frozen=True):
    """The envelope with all that is said about it."""

    envelope: dict[str, Any]
    unmatched: list[Unmatched] = []
    searched: list[str] = []
    notes: list[str] = []


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
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = _load(self._folder / f"{self._name}.answer")
            watched = _load(self._folder / f"{self._salt}.watch")
            if told["watched"] == watched["digest"] and self._holds(watched):
                odd = [Unmatched(**each) for each in told["unmatched"]]
                return Answer(told["envelope"], odd, told["searched"])
        return None

    def _holds(self, watched: Mapping[str, Any]) -> bool:
        return (
            all(self._question.environment.get(k) == v for k, v in watched["environment"].items())
            and self._ledger_state() == watched["ledger"]
            and all(map(_is_as, watched["files"]))
            and all(_mtime(path) == mtime for path, mtime in watched["folders"])
            and not any(os.path.lexists(path_of(path)) for path in watched["missing"])
        )

    def _ledger_state(self) -> list[int] | None:
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
        with suppress(OSError):
            watched = self._watched(reading)
            newest = max(_times(watched), default=0)
            if newest > self._begun - _SETTLED_NS:
                return
            told = {
                "watched": watched["digest"],
                "unmatched": [msgspec.structs.asdict(odd) for odd in answer.unmatched],
                "searched": answer.searched,
                "envelope": {**answer.envelope, "rows": list(rows)},
            }
            _save(self._folder / f"{self._salt}.watch", watched)
            _save(self._folder / f"{self._name}.answer", told)
            _drop_oldest(self._folder)

    def _watched(self, reading: Reading) -> dict[str, Any]:
        names = reading.variables
        watched: dict[str, Any] = {
            "environment": {name: self._question.environment.get(name) for name in names},
            "ledger": self._ledger_state(),
            "files": [[f.path, f.size, f.mtime_ns, f.inode, f.beside] for f in reading.found],
            "folders": sorted(reading.folders.items()),
            "missing": reading.missing,
        }
        return watched | {"digest": _digest(watched)}


def _is_as(file: Sequence[Any]) -> bool:
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


def _times(watched: Mapping[str, Any]) -> Iterable[int]:
    for _, _, mtime_ns, _, beside in watched["files"]:
        yield mtime_ns
        yield from (time for _, _, time in beside)
    yield from (mtime for _, mtime in watched["folders"])


def _digest(value: object) -> str:
    return _hash(json.dumps(value, sort_keys=True, default=str).encode())


def _load(path: Path) -> dict[str, Any]:
    """Raises ValueError for what was not written so."""
    digest, _, content = read_own(path).partition(b"\n")
    if digest.decode("ascii") != _hash(content):
        raise ValueError(path)
    found: dict[str, Any] = json.loads(content)
    return found


def _save(path: Path, value: object) -> None:
    content = json.dumps(value).encode()
    write_aside(path, _hash(content).encode() + b"\n" + content, sync=False)


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _drop_oldest(folder: Path) -> None:
    for pattern in ("*.answer", "*.watch"):
        kept = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in kept[_KEPT:]:
            path.unlink()
    for path in folder.glob("*.sums"):  # which older programs have kept
        path.unlink()
