"""Reads one log through the source that claims it; a bad file or failing reader becomes a row."""

from __future__ import annotations

import os
import sqlite3
import traceback
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pyarrow as pa

from tallybook.errors import FAILURES
from tallybook.files.blocks import (
    DAMAGE,
    MAX_DOCUMENT_BYTES,
    TooLong,
    at_once,
    beginning,
    document,
    is_compressed,
    open_log,
    whole_lines,
)
from tallybook.files.file_names import compression_of, join, logical_text, neighbours
from tallybook.files.objects import at_hand
from tallybook.files.objects import beginning as beginning_of_object
from tallybook.files.regular import NOT_REGULAR, NotRegularError, open_named
from tallybook.files.resume import NO_TRAIL, ReadPosition, Trail, encoded, is_continued, rest_of
from tallybook.files.skim import is_longer
from tallybook.files.sqlite import (
    Unclaimed,
    copies_beside,
    is_database,
    is_passing,
    may_be_database,
    read_database,
    words,
)
from tallybook.files.told import told
from tallybook.schema import Reported
from tallybook.sources import FileFacts, Source, sources
from tallybook.sources.contract import Rows
from tallybook.sources.lines import problem
from tallybook.sources.pictures import without_pictures
from tallybook.tables import READ, table
from tallybook.urls import as_path, is_url

_TOO_LONG = f"a document of more than {MAX_DOCUMENT_BYTES >> 20} MB is not read"
_PARTS = 6  # deep enough for every layout that tells something by its folders
_PACKAGE: Final = Path(__file__).parent.parent


class RowsOfFile(NamedTuple):
    """Rows of a file; what is not `lasting` is said anew once the file has grown."""

    rows: Rows
    lasting: bool


def read_file(path: Path) -> pa.Table:
    """Every row of one file in the READ schema; never raises for what the file holds."""
    reading = FileReading(path)
    found = [located(found.rows, path, reading.place.source) for found in reading]
    return pa.concat_tables(found) if found else READ.empty_table()


def located_problem(path: Path, code: str, detail: str) -> pa.Table:
    """One row in the READ schema that says what is wrong with a path as a whole."""
    return located([problem(0, code, detail)], path, None)


class FileReading:
    """One reading of one file, from its beginning or, where it has grown, from `after`.

    Iterating gives rows in bounded numbers and raises for nothing that the file holds. Then `place`
    says where it ended, `continued` whether it began at `after`, `failed` whether it broke off for
    a reason outside of the file, and `is_ours` whether our own code was that reason. `trail` knows
    the digests before the offsets in `probes`. Where nothing is `kept`, and nothing probed, `place`
    says no more than whose the file is.
    """

    def __init__(
        self,
        path: str | Path,
        after: ReadPosition | None = None,
        probes: Sequence[tuple[int, int]] = (),
        copy: Path | None = None,
        *,
        kept: bool = True,
    ) -> None:
        self._name = os.fspath(path)  # to make a `Path` takes as long as to open the file
        self._content: str | Path = copy or self._name
        self.place = ReadPosition()
        self.continued = self.failed = self.is_ours = False
        self._is_kept = kept or bool(probes)
        self.trail = Trail(probes=probes) if self._is_kept else NO_TRAIL
        self._after = after
        self._begun = False
        self._odd: dict[str, Reported] = {}  # what is said of files beside it

    @cached_property
    def path(self) -> Path:
        """The path of the file."""
        return as_path(self._name)

    def __iter__(self) -> Iterator[RowsOfFile]:
        try:
            for found in self._rows():
                if len(found.rows):
                    self._begun = True
                    yield found
            if self._odd:
                yield RowsOfFile(list(self._odd.values()), lasting=False)
            return
        except Unclaimed as error:
            said = _unclaimed(error.names, self._name, self._content)
        except TooLong:
            said = problem(0, "truncated", _TOO_LONG)
        except (*DAMAGE, sqlite3.Error) as error:
            said = _damaged(error, begun=self._begun)
            self.place.state = b""
            self.failed = _is_passing(error)
        except Exception as error:  # noqa: BLE001 - whatever our code raises, it costs this file
            said = failure(error)
            self.place.state = b""
            self.failed = self.is_ours = True
        yield RowsOfFile([said], lasting=False)

    def _database(self) -> Iterator[RowsOfFile]:
        """The rows of a database, and of what was read of a damaged one."""
        self.place.is_database = True
        with at_hand(as_path(os.fspath(self._content))) as content:
            for name, rows in read_database(content, lambda source, _: self._facts_beside(source)):
                self.place.source = name
                yield RowsOfFile(rows, lasting=True)

    def _rows(self) -> Iterator[RowsOfFile]:
        after = self._after
        if after is not None and after.state and (known := self._known(after)) is not None:
            self.continued = True
            self.place = msgspec.structs.replace(after)
            self.trail = Trail(after)
            with rest_of(self.path, after) as pieces:
                yield from self._fold(*known, pieces)
            return
        if content := at_once(self._content):
            yield from self._log(content, iter((content,)))
            return
        with open_log(self._content) as read:
            first, pieces, passed = beginning(read)
            if not (may_be_database(first) and is_database(as_path(os.fspath(self._content)))):
                yield from self._log(first, pieces)
                if passed:
                    self.place.state = b""
                return
        yield from self._database()

    def _log(self, first: bytes, pieces: Iterator[bytes]) -> Iterator[RowsOfFile]:
        if not first:
            return
        head, claimed = told(self._name, first, self._content)
        if len(claimed) != 1:
            raise Unclaimed(claimed)
        source = sources()[claimed[0]]
        state = source.begin(self._facts(source))
        begun = ReadPosition.digest(encoded(state)) if self._is_kept else b""
        self.place = ReadPosition(source=source.name, begun=begun)
        is_whole, has_pictures = source.whole(head), source.has_pictures and is_longer(first)
        if is_whole or has_pictures:
            seen = self._trailed(pieces)
            plain = without_pictures(seen) if has_pictures else seen
            lines = [document(plain)] if is_whole else whole_lines(plain)
            yield from self._in_one_go(source, state, lines)
        else:
            yield from self._fold(source, state, whole_lines(pieces))
            if compression_of(self._name):
                self.place.state = b""

    def _known(self, after: ReadPosition) -> tuple[Source, object] | None:
        """The source and its state after what was read; None where the file is to be read afresh.

        So it is where the file is another now, or the state is not what this code keeps.
        """
        source = sources().get(after.source or "")
        if source is None:
            return None
        begun = source.begin(self._facts(source))
        if ReadPosition.digest(encoded(begun)) != after.begun:
            return None
        if not is_continued(self.path, after, source):
            return None
        try:
            return source, msgspec.msgpack.decode(after.state, type=type(begun))
        except msgspec.MsgspecError:
            return None

    def _in_one_go(
        self, source: Source, state: object, blocks: Iterable[bytes]
    ) -> Iterator[RowsOfFile]:
        """The rows of a document, or of a file that begins with a picture: never continued."""
        for block in blocks:
            rows, state = source.read(block, state)
            yield RowsOfFile(rows, lasting=False)
            del block
        self.trail.close(self.place)
        yield RowsOfFile(source.finish(state), lasting=False)

    def _trailed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.trail.add(piece)
            yield piece

    def _fold(self, source: Source, state: object, pieces: Iterable[bytes]) -> Iterator[RowsOfFile]:
        """The rows of whole lines last; those of a last line without its end may yet change."""
        for block in pieces:
            end = block.rfind(b"\n") + 1
            lines = block[:end] if end < len(block) else block
            if end:
                rows, state = source.read(lines, state)
                self.trail.add(lines)
                yield RowsOfFile(rows, lasting=True)
            if end < len(block):
                self._keep(source, state)
                self.trail.add(block[end:])
                rows, state = source.read(block[end:], state)
                yield RowsOfFile(rows, lasting=False)
                break
            del block, lines  # a long line is not to be held while the next one is read
        else:
            self._keep(source, state)
        self.trail.close(self.place)
        yield RowsOfFile(source.finish(state), lasting=False)

    def _facts(self, source: Source) -> FileFacts:
        return facts(source, self._name, self._odd)

    def _facts_beside(self, source: Source) -> FileFacts:
        """The facts of a database, with what earlier states of it say."""
        copies = copies_beside(source, self.path)
        return msgspec.structs.replace(self._facts(source), copies=copies)

    def _keep(self, source: Source, state: object) -> None:
        is_kept = self._is_kept and not any(getattr(state, name) for name in source.holds)
        self.trail.settle(self.place, encoded(state) if is_kept else b"")


def _is_passing(error: Exception) -> bool:
    """Whether the file may read otherwise tomorrow without having changed: rights, locks."""
    if isinstance(error, sqlite3.Error):
        return is_passing(error)
    return isinstance(error, OSError) and error.errno is not None


def facts(source: Source, path: str | Path, odd: dict[str, Reported] | None = None) -> FileFacts:
    """What a file's name and its small neighbour say to the source.

    What is wrong with files beside it is put into `odd`, by their names.
    """
    plain = logical_text(os.fspath(path))
    is_deep = plain.count("/") > _PARTS + 1
    parts = tuple(plain.rsplit("/", _PARTS)[1:]) if is_deep else as_path(plain).parts[-_PARTS:]
    said = {} if odd is None else odd
    most = source.neighbour_bytes
    found: bytes | None = None
    for name in neighbours(source, parts[-1]):
        folder = os.path.dirname(path)  # noqa: PTH120 - or a URL's
        if (found := _small(folder, name, most, said)) is not None:
            break
    return FileFacts(parts=parts, neighbour=found)


def _small(folder: str, name: str, most: int, odd: dict[str, Reported]) -> bytes | None:
    path = join(folder, name)
    try:
        if is_url(path):
            return beginning_of_object(path, most)
        if content := at_once(path):
            return content[:most]
        with open_named(path) as stream:
            return stream.read(most)
    except NotRegularError:
        odd[name] = problem(0, "unreadable", f"{name} beside it is {NOT_REGULAR}")
    except OSError:
        pass
    return None


def _unclaimed(claimed: list[str], path: str, content: str | Path) -> Reported:
    if claimed:
        return problem(0, "ambiguous", f"claimed by {' and '.join(sorted(claimed))}")
    suffix = compression_of(path)
    if suffix and not is_compressed(content):
        return problem(0, "unreadable", f"not a {suffix} stream")
    return problem(0, "unclaimed", "no source recognises this file")


def _damaged(error: Exception, *, begun: bool) -> Reported:
    """A compressed file that breaks off keeps what was read of it before."""
    if isinstance(error, sqlite3.Error):
        said = words(error)
    else:
        said = (getattr(error, "strerror", None) or str(error)).partition("\n")[0]
    return problem(0, "truncated" if begun else "unreadable", said or type(error).__name__)


def located(rows: Rows, path: Path, name: str | None) -> pa.Table:
    """Rows in the READ schema, with the source `name` and the path."""
    found = rows if isinstance(rows, pa.Table) else pa.concat_tables(tables(rows, set()))
    where = [pa.repeat(pa.scalar(text, pa.string()), len(found)) for text in (name, str(path))]
    return pa.Table.from_arrays([*where, *found.columns], schema=READ)


def failure(error: Exception, record: int = 0) -> Reported:
    """The problem that stands for a file, or a record of it, which our code failed to read.

    It names the sort of the error and the place in our code. What the error says is left out, for
    it may quote the log. Raises the error where the tests want it.
    """
    if FAILURES.raised:
        raise error
    return problem(record, "reader-failed", f"{type(error).__name__}{_place(error)}")


def _place(error: Exception) -> str:
    """The innermost line of ours that the error passed: ` at sources/codex/read.py:88`."""
    places = [
        (Path(frame.f_code.co_filename), line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    ours = [(path, line) for path, line in places if path.is_relative_to(_PACKAGE)]
    if not ours:
        return ""
    path, line = ours[-1]
    return f" at {path.relative_to(_PACKAGE).as_posix()}:{line}"


def tables(rows: Sequence[Reported], failed: set[int]) -> Iterator[pa.Table]:
    """As many rows in the REPORTED schema; one that Arrow cannot hold is a problem in its place.

    The indices of those are added to `failed`.
    """
    yield from _tables(rows, 0, failed)


def _tables(rows: Sequence[Reported], first: int, failed: set[int]) -> Iterator[pa.Table]:
    try:
        yield table(rows)
        return
    except Exception as error:  # noqa: BLE001 - told in place of the row
        stands = failure(error, rows[0].record if len(rows) == 1 else 0)
    if len(rows) == 1:
        failed.add(first)
        yield table([stands])
        return
    half = len(rows) // 2
    yield from _tables(rows[:half], first, failed)
    yield from _tables(rows[half:], first + half, failed)
