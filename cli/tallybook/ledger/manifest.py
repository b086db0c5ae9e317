"""What the ledger holds: of every file how much was read, and where its rows are kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from hashlib import blake2b
from typing import Final

import msgspec

from tallybook.files.find import Found, Neighbours
from tallybook.files.resume import ReadPosition

FORMAT: Final = 1
_MAGIC: Final = b"tallybook"


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
    has_state: bool | str | None = False  # older ledgers had the name of a file here
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
        """Where its reading ended; the state is kept apart, by the file id. Raises Damaged.

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
    """The state of a ledger after a run; `entries` are keyed by absolute path.

    An entry of it is never changed but replaced, so that what a run has changed is known.
    """

    generation: int = 0
    entries: dict[str, Entry] = {}
    corrections: list[str] = []  # names of parts
    before: list[str] = []  # parts that the generation before had beside those of this one

    def parts(self) -> Iterator[str]:
        """Names of the parts that hold rows of it, some of them several times."""
        for entry in self.entries.values():
            for segment in entry.segments():
                yield segment.part
        yield from self.corrections

    def with_entries(self, entries: Iterable[Entry]) -> Manifest:
        """The same generation with these in the place of those of their paths."""
        changed = self.entries | {entry.path: entry for entry in entries}
        return msgspec.structs.replace(self, entries=changed)

    def touched(self, damaged: Collection[str]) -> list[Entry]:
        """The files that parts which are damaged have rows of, without all that is to be read."""
        return [
            msgspec.structs.replace(
                entry,
                deleted=tuple(part for part in entry.deleted if part.part not in damaged),
                rows=(),
                tentative=(),
                has_state=False,
                encoded_place=encoded(ReadPosition()),
                code="",
                lost=True,
            )
            for entry in self.entries.values()
            if any(segment.part in damaged for segment in entry.segments())
        ]


def name_once(segments: Iterable[Segment], texts: dict[str, str]) -> None:
    """Have segments of a part hold the same text for its name; `texts` are those met before."""
    for segment in segments:
        part = texts.setdefault(segment.part, segment.part)
        msgspec.structs.force_setattr(segment, "part", part)


def sealed(kind: bytes, payload: bytes) -> bytes:
    """Content with a first line that tells what it is and shows whether it is whole."""
    return _head(kind, blake2b(payload, digest_size=16).hexdigest()) + payload


def _head(kind: bytes, digest: str) -> bytes:
    return b"%s %s %d %s\n" % (_MAGIC, kind, FORMAT, digest.encode())


def unsealed(kind: bytes, content: bytes) -> bytes:
    """The payload of sealed content. Raises Damaged, or Foreign where another version wrote it."""
    return bytes(payload_of(kind, content))


def payload_of(kind: bytes, content: bytes) -> memoryview:
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
