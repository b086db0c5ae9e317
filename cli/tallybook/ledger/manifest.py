"""What the ledger holds: of every file how much was read, and where its rows are kept."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tallybook.files.find import Beside, Found
from tallybook.files.resume import Place
from tallybook.private import open_regular, write_aside

FORMAT: Final = 1
NAME: Final = "manifest"
PREVIOUS: Final = "manifest.previous"
_MAGIC: Final = b"tallybook"
_KIND: Final = b"ledger"
T = TypeVar("T")


class Damaged(Exception):  # noqa: N818 - a state of a file
    """A file of the ledger is not what was written."""


class Foreign(Damaged):
    """The ledger was written by another version of tallybook."""


class Segment(msgspec.Struct, array_like=True, frozen=True):
    """A run of rows in a part."""

    part: str
    start: int
    rows: int


class Entry(msgspec.Struct, array_like=True, kw_only=True):
    """One file: as it was when it was read, how much was read of it, and its rows in order."""

    path: str
    file_id: str
    size: int
    mtime_ns: int
    inode: int
    device: int
    beside: Beside
    place: Place  # its state is kept apart, in the file `states`
    states: str | None = None
    rows: list[Segment] = []
    ending: list[Segment] = []  # what is said anew once the file has grown
    deleted: list[Segment] = []  # rows that the owner has taken out of a database since
    gone: bool = False  # the file is no longer there
    renamed: bool = False  # its rows name another path than it has now
    lost: bool = False  # rows of it were damaged, and it cannot be read again
    code: str = ""  # digest of the code that read it; of older ledgers none that there is
    older: int = 0  # calls in `deleted` that other code has read
    known: bool | None = None  # it came in through a known place; None: as yet nobody noted it

    def is_as(self, found: Found) -> bool:
        """Whether the file looks as it did when it was read."""
        return (
            self.size == found.size
            and self.mtime_ns == found.mtime_ns
            and self.inode == found.inode
            and self.device == found.device
            and self.beside == found.beside
        )

    def segments(self) -> list[Segment]:
        """All its rows."""
        return [*self.rows, *self.ending, *self.deleted]


class Manifest(msgspec.Struct, kw_only=True):
    """The state of a ledger after a run; `entries` are keyed by absolute path."""

    format: int = FORMAT
    generation: int = 0
    entries: dict[str, Entry] = {}
    corrections: list[str] = []  # names of parts

    def parts(self) -> Iterator[str]:
        """Names of the parts that hold rows of it, some of them several times."""
        for entry in self.entries.values():
            for segment in entry.segments():
                yield segment.part
        yield from self.corrections

    def without(self, damaged: Collection[str]) -> int:
        """Forget the parts that are damaged; how many files have to be read again for that."""
        touched = 0
        for entry in self.entries.values():
            if any(segment.part in damaged for segment in entry.segments()):
                entry.deleted = [part for part in entry.deleted if part.part not in damaged]
                entry.rows, entry.ending, entry.states = [], [], None
                entry.place, entry.code = Place(), ""
                entry.lost = True
                touched += 1
        return touched

    def states(self) -> Iterator[str]:
        """Names of the files that hold states of it."""
        yield from (entry.states for entry in self.entries.values() if entry.states)


def load(folder: Path, *, before: bool = False) -> tuple[Manifest, str | None]:
    """The manifest of a ledger and a word where it was damaged; an empty one where there is none.

    The generation `before` stands in for a damaged one: what came after it is read again. Raises
    Damaged where neither can be used.
    """
    said = None
    for name in (PREVIOUS,) if before else (NAME, PREVIOUS):
        try:
            return _read(folder / name), said
        except FileNotFoundError:
            continue
        except Foreign:
            raise
        except (Damaged, OSError) as error:
            said = f"{folder / name}: {error}"
    if said:
        raise Damaged(said)
    return Manifest(), None


def _read(path: Path) -> Manifest:
    with open_regular(path) as file:
        return opened(file.read(), Manifest)


def opened(content: bytes, kind: type[T]) -> T:
    """The content of a manifest as a `kind` of struct. Raises Damaged, Foreign."""
    try:
        return msgspec.msgpack.decode(unsealed(_KIND, content), type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Damaged(str(error)) from error


def is_manifest(path: Path) -> bool:
    """Whether a file begins as a manifest of any version does. Raises OSError."""
    begin = b"%s %s " % (_MAGIC, _KIND)
    try:
        with open_regular(path) as file:
            return file.read(len(begin)) == begin
    except FileNotFoundError:
        return False


def sealed(kind: bytes, payload: bytes) -> bytes:
    """Content with a first line that tells what it is and shows whether it is whole."""
    digest = blake2b(payload, digest_size=16).hexdigest().encode()
    return b"%s %s %d %s\n" % (_MAGIC, kind, FORMAT, digest) + payload


def unsealed(kind: bytes, content: bytes) -> bytes:
    """The payload of sealed content. Raises Damaged, or Foreign where another version wrote it."""
    head, _, payload = content.partition(b"\n")
    words = head.split(b" ")
    if len(words) != 4 or words[:2] != [_MAGIC, kind]:
        raise Damaged("damaged")
    if words[2] != b"%d" % FORMAT:
        raise Foreign(f"written by another version of tallybook (format {words[2].decode()})")
    if sealed(kind, payload) != content:
        raise Damaged("damaged")
    return payload


def save(folder: Path, manifest: Manifest) -> None:
    """Put the next generation in place: a reader finds the old one whole, or the new one."""
    content = sealed(_KIND, msgspec.msgpack.encode(manifest))
    path = folder / NAME
    with suppress(FileNotFoundError):
        aside = folder / f"{PREVIOUS}.aside"
        aside.unlink(missing_ok=True)
        _link(path, aside)
        aside.replace(folder / PREVIOUS)
    write_aside(path, content)


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        write_aside(target, path.read_bytes(), sync=False)
