"""Reads groups of files into parts; runs in workers, here or elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import msgspec

from tallybook.files.find import Found
from tallybook.files.objects import ahead
from tallybook.files.resume import ReadPosition
from tallybook.ledger.manifest import Segment

if TYPE_CHECKING:
    import pyarrow as pa

    from tallybook.ledger.parts import PartWriter


class Task(NamedTuple):
    """A file to read: what is known of it, and what it may be the continuation of."""

    found: Found
    after: ReadPosition | None = None
    state_of: str | None = None  # the file id of the state that `after` lacks
    probes: tuple[tuple[int, int], ...] = ()  # offsets and lengths to take a digest before


def as_task(item: Found | Task) -> Task:
    """A file to read; nothing is known of one that stands alone, as nearly all of many do."""
    return item if isinstance(item, Task) else Task(item)


class Outcome(msgspec.Struct, array_like=True, gc=False):
    """What reading one file gave; `is_ours`: our own code failed in it, `is_told`: it has a source.

    `place` is encoded as an entry holds it; the segments lack the name of the part. What is not
    kept needs no file id.
    """

    file_id: str
    place: bytes = b""
    rows: tuple[Segment, ...] = ()
    tentative: tuple[Segment, ...] = ()
    has_state: bool = False
    is_told: bool = False
    continued: bool = False
    failed: bool = False
    is_ours: bool = False
    met: dict[tuple[int, int], bytes] = {}


class Gathered(msgspec.Struct):
    """What reading a group of files gave, in their order.

    `table` holds the part where it is on no disk, `states` those of the readers by file id.
    """

    part: str
    outcomes: list[Outcome]
    states: dict[str, bytes]
    table: pa.Table | None

    def __reduce__(self) -> tuple[object, ...]:
        """To be sent to another process as one text, which takes a tenth of what objects take."""
        content = msgspec.msgpack.encode((self.part, self.outcomes, self.states))
        return _gathered, (content, self.table)


def _gathered(content: bytes, table: pa.Table | None) -> Gathered:
    kind = tuple[str, list[Outcome], dict[str, bytes]]
    return Gathered(*msgspec.msgpack.decode(content, type=kind), table)


_ID_BYTES: Final = 8  # of a file
_Read: TypeAlias = tuple[Outcome, ReadPosition]


def gather(
    tasks: Sequence[Found | Task], code: str, parts: Path | None, *, kept: bool = False
) -> Gathered:
    """Read files into a part in `parts`; without that folder the rows are given back.

    `code` is the digest of the code that reads, which all rows carry. What is not `kept` is not
    gone on from, so it is not told where its reading ended. Raises OSError where a part cannot be
    written.
    """
    from tallybook.ledger.parts import PartWriter  # noqa: PLC0415 - loads pyarrow, 0.06 s

    writer = PartWriter(parts, kept=kept)
    known = [as_task(task) for task in tasks]
    turns = ahead([(task.found.path, task.found.size) for task in known])
    ids = os.urandom(_ID_BYTES * len(known))
    read = [
        _read(task, ids[number : number + _ID_BYTES].hex(), code, writer, kept=kept)
        for number, _, task in zip(range(0, len(ids), _ID_BYTES), turns, known, strict=True)
    ]
    part, table = writer.close()
    states: dict[str, bytes] = {}
    encode = msgspec.msgpack.encode
    for each, place in read:
        if each.file_id in writer.failed:
            each.failed = each.is_ours = True
            place.state = b""
        if place.state and kept:
            states[each.file_id], each.has_state = place.state, True
            place.state = b""
        each.is_told = place.source is not None
        if kept:
            each.place = encode(place)
        else:
            each.file_id, each.place = "", _bare(place.source, place.is_database)
    return Gathered(part, [each for each, _ in read], states, table)


@cache
def _bare(source: str | None, is_database: bool) -> bytes:
    """The place of a file that nobody goes on reading."""
    return msgspec.msgpack.encode(ReadPosition(source, is_database=is_database))


def _read(task: Task, file_id: str, code: str, writer: PartWriter, *, kept: bool) -> _Read:
    """What a file gave; where going on fails, it is read as if nothing were known of it."""
    read = _read_from(task, task.after, (file_id, code), writer, kept=kept)
    if read[0].is_ours and read[0].continued:
        anew = os.urandom(_ID_BYTES).hex()
        return _read_from(task, None, (anew, code), writer, kept=kept)
    return read


def _read_from(
    task: Task,
    after: ReadPosition | None,
    marks: tuple[str, str],
    writer: PartWriter,
    *,
    kept: bool,
) -> _Read:
    from tallybook.files.read import FileReading  # noqa: PLC0415 - as above
    from tallybook.ledger.parts import Where  # noqa: PLC0415

    copy = Path(task.found.copy) if task.found.copy else None
    reading = FileReading(task.found.path, after, task.probes, copy, kept=kept)
    file_id, code = marks
    rows: list[Segment] = []
    tentative: list[Segment] = []
    for found in reading:
        place = reading.place
        where = Where(place.source, task.found.path, code, file_id)
        _join(rows if found.lasting else tentative, writer.add(found.rows, where))
    outcome = Outcome(
        file_id,
        rows=tuple(rows),
        tentative=tuple(tentative),
        continued=reading.continued,
        failed=reading.failed,
        is_ours=reading.is_ours,
        met=reading.trail.met,
    )
    return outcome, reading.place


def _join(segments: list[Segment], segment: Segment) -> None:
    """Put a run of rows behind the others, as one with the last where they meet."""
    if segments and segments[-1].start + segments[-1].rows == segment.start:
        last = segments.pop()
        segment = Segment(last.part, last.start, last.rows + segment.rows)
    segments.append(segment)
