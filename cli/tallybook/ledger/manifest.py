"""What the ledger holds: of every file how much was read, and where its rows are kept."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import msgspec

from tallybook.errors import words_of
from tallybook.files.find import Found, Neighbours
from tallybook.files.resume import ReadPosition
from tallybook.private import open_regular, write_aside, writing_aside

FORMAT: Final = 1
NAME: Final = "manifest"
PREVIOUS: Final = "manifest.previous"
_MAGIC: Final = b"tallybook"
_KIND: Final = b"ledger"
_PIECE_ENTRIES: Final = 256  # so many are encoded and written at once
T = TypeVar("T")


class Damaged(Exception):  # noqa: N818 - a state of a file
    """A file of the ledger is not what was written."""


class Foreign(Damaged):
    """The ledger was written by another version of tallybook."""


class Segment(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A run of rows in a part."""

    part: str
    start: int
    rows: int


class Entry(msgspec.Struct, array_like=True, kw_only=True, gc=False):
    """One file: as it was when it was read, how much was read of it, and its rows in order.

    A run holds one of every file of the ledger, so what few of them are asked for is left encoded.
    """

    path: str
    file_id: str
    size: int
    mtime_ns: int
    inode: int
    device: int
    beside: Neighbours
    encoded_place: msgspec.Raw  # see `place`
    states: str | None = None
    rows: tuple[Segment, ...] = ()
    tentative: tuple[Segment, ...] = ()  # what is said anew once the file has grown
    deleted: tuple[Segment, ...] = ()  # rows that the owner has taken out of the file since
    gone: bool = False  # the file is no longer there
    renamed: bool = False  # its rows name another path than it has now
    lost: bool = False  # rows of it were damaged, and it cannot be read again
    code: str = ""  # digest of the code that read it; of older ledgers none that there is
    older: int = 0  # calls in `deleted` that other code has read
    known: bool | None = None  # it came in through a known place; None: as yet nobody noted it
    removed: int = 0  # calls in `deleted`

    @property
    def place(self) -> ReadPosition:
        """Where its reading ended; the state is kept apart, in the file `states`. Raises Damaged.

        It is decoded anew each time: what is changed in it has to be set.
        """
        try:
            return msgspec.msgpack.decode(self.encoded_place, type=ReadPosition)
        except msgspec.MsgspecError as error:
            raise Damaged(str(error)) from error

    @place.setter
    def place(self, place: ReadPosition) -> None:
        self.encoded_place = encoded(place)

    def is_as(self, found: Found) -> bool:
        """Whether the file looks as it did when it was read."""
        return (
            self.size == found.size
            and self.mtime_ns == found.mtime_ns
            and self.inode == found.inode
            and self.device == found.device
            and self.beside == found.beside
        )

    def as_found(self) -> Found:
        """The file as it looked when it was read."""
        return Found(self.path, self.size, self.mtime_ns, self.inode, self.device, self.beside)

    def as_it_is(self) -> Entry:
        """The file without what its owner has taken out of it."""
        return msgspec.structs.replace(self, deleted=(), removed=0, older=0)

    def segments(self) -> tuple[Segment, ...]:
        """All its rows."""
        return self.rows + self.tentative + self.deleted


def encoded(place: ReadPosition) -> msgspec.Raw:
    """A place as an entry holds it."""
    return msgspec.Raw(msgspec.msgpack.encode(place))


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
                entry.deleted = tuple(part for part in entry.deleted if part.part not in damaged)
                entry.rows, entry.tentative, entry.states = (), (), None
                entry.place, entry.code = ReadPosition(), ""
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
    damage = None
    for name in (PREVIOUS,) if before else (NAME, PREVIOUS):
        try:
            return _read(folder / name), damage
        except FileNotFoundError:
            continue
        except Foreign:
            raise
        except (Damaged, OSError) as error:
            damage = f"{folder / name}: {words_of(error)}"
    if damage:
        raise Damaged(damage)
    return Manifest(), None


class _Written(msgspec.Struct, kw_only=True):
    """A manifest as it is written, its entries not decoded yet."""

    format: int = FORMAT
    generation: int = 0
    entries: dict[str, msgspec.Raw] = {}
    corrections: list[str] = []


def _read(path: Path) -> Manifest:
    written = _written(path)
    return Manifest(
        format=written.format,
        generation=written.generation,
        entries=dict(_lean(written.entries)),
        corrections=written.corrections,
    )


def _written(path: Path) -> _Written:
    with open_regular(path) as file:
        return opened(file.read(), _Written)


def _lean(entries: dict[str, msgspec.Raw]) -> Iterator[tuple[str, Entry]]:
    """The entries, each text that several have held once, and nothing of what they were read from.

    Whole, those of 100,000 files would take 170 MB. Raises Damaged.
    """
    texts: dict[str, str] = {}
    for path, entry in _decoded(entries):
        entry.path = path
        entry.encoded_place = entry.encoded_place.copy()
        entry.code = texts.setdefault(entry.code, entry.code)
        if entry.states is not None:
            entry.states = texts.setdefault(entry.states, entry.states)
        name_once(entry.segments(), texts)
        yield path, entry


def name_once(segments: Iterable[Segment], texts: dict[str, str]) -> None:
    """Have segments of a part hold the same text for its name; `texts` are those met before."""
    for segment in segments:
        part = texts.setdefault(segment.part, segment.part)
        msgspec.structs.force_setattr(segment, "part", part)


def _decoded(entries: dict[str, msgspec.Raw]) -> Iterator[tuple[str, Entry]]:
    decoder = msgspec.msgpack.Decoder(Entry)
    try:
        for path, content in entries.items():
            yield path, decoder.decode(content)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Damaged(str(error)) from error


def names_before(folder: Path) -> set[str]:
    """The names of the files with rows and states of the generation before; none where none is.

    Raises Damaged, OSError.
    """
    written = _written(folder / PREVIOUS)
    names = set(written.corrections)
    for _, entry in _decoded(written.entries):
        names.update(segment.part for segment in entry.segments())
        if entry.states:
            names.add(entry.states)
    return names


def opened(content: bytes, kind: type[T]) -> T:
    """The content of a manifest as a `kind` of struct. Raises Damaged, Foreign."""
    try:
        return msgspec.msgpack.decode(_payload(_KIND, content), type=kind)
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
    return _head(kind, blake2b(payload, digest_size=16).hexdigest()) + payload


def _head(kind: bytes, digest: str) -> bytes:
    return b"%s %s %d %s\n" % (_MAGIC, kind, FORMAT, digest.encode())


def unsealed(kind: bytes, content: bytes) -> bytes:
    """The payload of sealed content. Raises Damaged, or Foreign where another version wrote it."""
    return bytes(_payload(kind, content))


def _payload(kind: bytes, content: bytes) -> memoryview:
    """As `unsealed`, without a copy: a manifest may have tens of megabytes."""
    payload = memoryview(content)[content.find(b"\n") + 1 :]
    head = content[: len(content) - len(payload)]
    words = head.split(b" ")
    if len(words) != 4 or words[:2] != [_MAGIC, kind]:
        raise Damaged("damaged")
    if words[2] != b"%d" % FORMAT:
        raise Foreign(f"written by another version of tallybook (format {words[2].decode()})")
    if head != _head(kind, blake2b(payload, digest_size=16).hexdigest()):
        raise Damaged("damaged")
    return payload


def save(folder: Path, manifest: Manifest) -> None:
    """Put the next generation in place: a reader finds the old one whole, or the new one."""
    path = folder / NAME
    with suppress(FileNotFoundError):
        aside = folder / f"{PREVIOUS}.aside"
        aside.unlink(missing_ok=True)
        _link(path, aside)
        aside.replace(folder / PREVIOUS)
    with writing_aside(path) as file:
        _write_sealed(_KIND, _pieces(manifest), file)


def _write_sealed(kind: bytes, pieces: Iterable[bytes], file: BinaryIO) -> None:
    """Write sealed content piece by piece; whole, it would be held several times."""
    digest = blake2b(digest_size=16)
    file.write(_head(kind, digest.hexdigest()))  # as long as the one that takes its place
    for piece in pieces:
        digest.update(piece)
        file.write(piece)
    file.seek(0)
    file.write(_head(kind, digest.hexdigest()))


def _pieces(manifest: Manifest) -> Iterator[bytes]:
    """A manifest in msgpack: a map of its four fields, of which the entries are another."""
    encode = msgspec.msgpack.Encoder().encode
    begin = ["format", manifest.format, "generation", manifest.generation, "entries"]
    yield b"\x84" + b"".join(map(encode, begin))
    yield b"\xdf" + len(manifest.entries).to_bytes(4, "big")
    entries = iter(manifest.entries.items())
    while some := list(islice(entries, _PIECE_ENTRIES)):
        yield b"".join(encode(each) for pair in some for each in pair)
    yield encode("corrections") + encode(manifest.corrections)


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        write_aside(target, path.read_bytes(), sync=False)
