"""Checks what another's ledger holds before any of it is taken over: it may be made to do harm."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from re import compile as pattern
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tallybook import schema
from tallybook.dialects.containment import DIALECTS
from tallybook.errors import words_of
from tallybook.ledger import older
from tallybook.ledger.catalog import NAME, Rows
from tallybook.ledger.manifest import Damaged, Entry, Segment
from tallybook.ledger.part_files import is_whole, openable, put_in_place
from tallybook.ledger.rows import StoredRows
from tallybook.ledger.store import PartDamaged, Store
from tallybook.private import aside, open_regular
from tallybook.schema import Reported
from tallybook.sources import sources
from tallybook.tables import CORRECTIONS, READ
from tallybook.urls import is_url

# A catalogue has 400 bytes a file and up to 256 KB of a state, a part 100 bytes a row.
_MANIFEST_BYTES: Final = 256 << 20
_CATALOG_BYTES: Final = 4 << 30
_PART_BYTES: Final = 4 << 30
_GROUP_BYTES: Final = 1 << 30  # of a group of rows, unpacked
_PATH_LENGTH: Final = 32_768
_WORD_LENGTH: Final = 128
_LARGEST: Final = 2**63 - 1
_PIECE: Final = 1 << 20
_PART: Final = pattern(r"[0-9a-f]{32}\.parquet")
_FILE_ID: Final = pattern(r"[0-9a-f]{1,64}")
# Fields of an entry that are looked at by themselves, or not believed at all.
_LOOKED_AT: Final = frozenset(
    ["path", "file_id", "encoded_place", "has_state", "beside", "rows", "tentative", "deleted"]
)
_KINDS: Final = (*schema.COUNTED_KINDS, schema.ASSERTION, schema.EVENT, schema.RESPONSE)
_HISTORIES: Final = (schema.OWN, schema.INHERITED, schema.BEFORE_TURN, schema.AFTER_TURN)
_DIRECTIONS: Final = ("input", "output")
_MAX_COUNT: Final = 2**53  # no build has taken more for a count
_MOST_BYTES: Final = 1 << 20  # of a text
# Numbers of rows, which databases give out as they like.
_PLACES: Final = ("record", "block_index", "evidence_record")
# Times that any zone can show.
_FIRST, _LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class Refused(NamedTuple):
    """A file, or something else of a ledger, that is not taken over, and why."""

    what: str
    why: str


class _Claims(msgspec.Struct):
    """A catalogue of which nothing is believed yet."""

    entries: dict[object, msgspec.Raw] = {}
    corrections: list[object] = []


class Claimed(NamedTuple):
    """What a manifest says that could be so: entries by path, names of parts with corrections."""

    entries: dict[str, Entry]
    corrections: list[str]


def claimed(folder: Path, refused: list[Refused]) -> Claimed:
    """What the catalogue of a ledger says, or as much of it as is sound.

    Raises Damaged, OSError.
    """
    claims = _claims(folder, refused)
    entries: dict[str, Entry] = {}
    ids: dict[str, tuple[Segment, ...]] = {}
    for path in sorted(claims.entries, key=repr):
        try:
            entry = _entry(path, claims.entries[path])
            segments = entry.segments()
            if ids.setdefault(entry.file_id, segments) != segments:
                raise Damaged("its file id is another file's")
            entries[entry.path] = entry
        except Damaged as error:
            refused.append(Refused(str(path), str(error)))
    return Claimed(entries, list(_names(claims.corrections, refused)))


def _claims(folder: Path, refused: list[Refused]) -> _Claims:
    path = folder / NAME
    if not os.path.lexists(path):
        claims, damage = older.first_sound(folder, _manifest_claims)
        if damage:
            refused.append(Refused(older.NAME, f"{damage}; the one before is taken"))
        return claims or _Claims()
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
    if size > _CATALOG_BYTES:
        raise Damaged(f"a catalogue of {size:,} bytes")
    rows = Rows(path)
    if not rows.is_whole:
        if not rows.files:
            raise Damaged("damaged")
        refused.append(Refused(NAME, "damaged; what is sound of it is taken"))
    found: dict[object, msgspec.Raw] = {
        path: msgspec.Raw(content) for path, content in rows.files.items()
    }
    return _Claims(found, list(rows.corrections))


def _manifest_claims(path: Path) -> _Claims:
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > _MANIFEST_BYTES:
            raise Damaged(f"a manifest of {size:,} bytes")
        return older.opened(file.read(_MANIFEST_BYTES), _Claims)


def _names(corrections: Iterable[object], refused: list[Refused]) -> Iterator[str]:
    for name in corrections:
        if isinstance(name, str) and _PART.fullmatch(name):
            yield name
        else:
            refused.append(Refused("corrections", "a part of a name that no part has"))


def _entry(path: object, content: msgspec.Raw) -> Entry:
    if not isinstance(path, str):
        raise Damaged("its path is no text")
    try:
        entry = msgspec.msgpack.decode(content, type=Entry)
        entry.path = entry.path or path  # in a catalogue the row alone says it
        place = entry.place
    except (msgspec.MsgspecError, RecursionError, Damaged) as error:
        raise Damaged("its entry is no entry") from error
    place.state = b""  # only what this machine has read itself is gone on with
    entry.place = place
    fault = _fault(path, entry)
    if fault is not None:
        raise Damaged(fault)
    return entry


def _fault(path: str, entry: Entry) -> str | None:
    if entry.path != path or not _is_path(path):
        return "its path is not absolute"
    if entry.place.source is not None and entry.place.source not in sources():
        return "its source is unknown"
    if not _FILE_ID.fullmatch(entry.file_id):
        return "its file id is none"
    own = [getattr(entry, name) for name in entry.__struct_fields__ if name not in _LOOKED_AT]
    if not all(map(_is_sound, (*msgspec.structs.astuple(entry.place), *own))):
        return "a number or a word of its entry is out of bounds"
    return _misplaced(entry.segments())


def _is_path(path: str) -> bool:
    """Whether it is a URL, or absolute on any system, with no way back in it."""
    kinds: tuple[PurePath, ...] = (PurePosixPath(path), PureWindowsPath(path))
    absolute = is_url(path) or any(each.is_absolute() for each in kinds)
    back = any(part in {"..", "."} for each in kinds for part in each.parts)
    return absolute and not back and "\0" not in path and len(path) <= _PATH_LENGTH


def _is_sound(value: object) -> bool:
    if isinstance(value, int):
        return -1 <= value <= _LARGEST
    return not isinstance(value, str | bytes) or len(value) <= _WORD_LENGTH


def _misplaced(segments: Sequence[Segment]) -> str | None:
    ends: dict[str, int] = {}
    for segment in sorted(segments, key=lambda each: (each.part, each.start)):
        if not _PART.fullmatch(segment.part):
            return "a part of a name that no part has"
        if segment.start < ends.get(segment.part, 0) or segment.rows < 0:
            return "rows out of bounds, or given twice"
        ends[segment.part] = segment.start + segment.rows
        if ends[segment.part] > _LARGEST:
            return "rows out of bounds, or given twice"
    return None


def take_parts(
    entries: Mapping[str, Entry], source: Path, target: Path, refused: list[Refused]
) -> dict[str, Entry]:
    """The entries whose rows are sound, their parts copied from the folder `source` to `target`.

    Raises OSError where they cannot be written.
    """
    held: dict[str, list[str]] = {}
    for path, entry in entries.items():
        for name in {segment.part for segment in entry.segments()}:
            held.setdefault(name, []).append(path)
    faults: dict[str, str] = {}
    for name in sorted(held):
        resting = [entries[path] for path in held[name] if path not in faults]
        try:
            _take(name, source, target)
            faults |= _faults(name, resting, StoredRows(Store([target])))
        except Damaged as error:
            faults |= dict.fromkeys((entry.path for entry in resting), f"part {name}: {error}")
    refused += [Refused(path, faults[path]) for path in sorted(faults)]
    return {path: entry for path, entry in entries.items() if path not in faults}


def _take(name: str, source: Path, target: Path) -> None:
    """Copy a part that is not here yet. Raises Damaged, and OSError for the copy."""
    with suppress(FileNotFoundError):
        if is_whole(target / name):
            return
    with aside(target) as path:
        _copy(source / name, path)
        _check_schema(path, READ)
        put_in_place(path)


def _copy(part: Path, path: Path) -> None:
    """Copy a part and see that its name fits. Raises Damaged, and OSError for the copy."""
    digest = blake2b(digest_size=16)
    try:
        file = open_regular(part)
    except OSError as error:
        raise Damaged(words_of(error)) from error
    with file, path.open("wb") as copy:
        if os.fstat(file.fileno()).st_size > _PART_BYTES:
            raise Damaged("too large")
        left = _PART_BYTES
        while left > 0 and (piece := _read(file)):
            digest.update(piece)
            copy.write(piece)
            left -= len(piece)
    if part.name != f"{digest.hexdigest()}.parquet":
        raise Damaged("damaged")


def _read(file: BinaryIO) -> bytes:
    try:
        return file.read(_PIECE)
    except OSError as error:
        raise Damaged(words_of(error)) from error


def _check_schema(path: Path, wanted: pa.Schema) -> None:
    """Raise Damaged where a part has other types, or unpacks to more than anybody has room for."""
    expected = pl.DataFrame(wanted.empty_table()).schema
    with _or_damaged("no table"):
        found = pl.read_parquet_schema(openable(path))
        groups = pq.read_metadata(openable(path))
        sizes = [groups.row_group(n).total_byte_size for n in range(groups.num_row_groups)]
    wrong = [name for name in expected if name in found and found[name] != expected[name]]
    if wrong:
        raise Damaged(f"{wrong[0]} is {found[wrong[0]]}, not {expected[wrong[0]]}")
    if not all(0 <= size <= _GROUP_BYTES for size in sizes):
        raise Damaged("too large")


def _faults(name: str, entries: Sequence[Entry], store: StoredRows) -> dict[str, str]:
    """What is wrong with the rows of entries in a part, by path. Raises Damaged."""
    held = _held(name, entries)
    begin, faults = 0, dict[str, str]()
    is_elsewhere = pl.col("path") != pl.col("own_path")
    elsewhere = pl.when(is_elsewhere).then(pl.lit("rows of another file"))
    try:
        for rows in store.slices(name, READ.names):
            here = _rows_here(held, begin, rows.height)
            looked_at = rows.select("path", fault=row_fault()).with_row_index("row", begin)
            wrong = (
                here.join(looked_at.cast({"row": pl.Int64}), on="row")
                .with_columns(fault=pl.coalesce("fault", elsewhere))
                .filter(pl.col("fault").is_not_null())
                .unique("entry", keep="first", maintain_order=True)
            )
            faults |= dict(wrong.select("entry", "fault").iter_rows())
            begin += rows.height
    except (PartDamaged, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise Damaged("its rows cannot be read") from error
    beyond = held.filter(pl.col("end") > begin)["entry"]
    return faults | dict.fromkeys(beyond, "rows beyond the end of their part")


def _held(name: str, entries: Sequence[Entry]) -> pl.DataFrame:
    """The runs of rows of a part that entries have: who, from where to where, of which path."""
    rows = [
        (
            entry.path,
            segment.start,
            segment.start + segment.rows,
            None if entry.renamed else entry.path,
        )
        for entry in entries
        for segment in entry.segments()
        if segment.part == name
    ]
    schema = {"entry": pl.String, "start": pl.Int64, "end": pl.Int64, "own_path": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _rows_here(held: pl.DataFrame, begin: int, count: int) -> pl.DataFrame:
    """A row for each of the `count` rows from `begin` on that an entry has."""
    start, end = pl.col("start").clip(begin), pl.col("end").clip(None, begin + count)
    return (
        held.with_columns(start=start, end=end)
        .filter(pl.col("start") < pl.col("end"))
        .with_columns(row=pl.int_ranges("start", "end"))
        .explode("row")
    )


def take_corrections(
    names: Sequence[str], source: Path, target: Path, refused: list[Refused]
) -> pa.Table:
    """The sound corrections of parts in `source`; `target` is a folder to look at copies in.

    Raises OSError where they cannot be written.
    """
    tables = [CORRECTIONS.empty_table()]
    for name in names:
        try:
            with aside(target) as path:
                _copy(source / name, path)
                _check_schema(path, CORRECTIONS)
                with _or_damaged("its rows cannot be read"):
                    rows = pl.read_parquet(
                        openable(path), columns=CORRECTIONS.names, memory_map=False, glob=False
                    )
                path.unlink()
        except Damaged as error:
            refused.append(Refused("corrections", f"part {name}: {error}"))
            continue
        rows = rows.with_columns(fault=correction_fault())
        refused += [Refused("corrections", why) for why in rows["fault"].drop_nulls()]
        sound = rows.filter(pl.col("fault").is_null()).drop("fault")
        tables.append(sound.to_arrow().cast(CORRECTIONS))
    return pa.concat_tables(tables)


@contextmanager
def _or_damaged(words: str) -> Iterator[None]:
    """Raise Damaged where a part cannot be read as a table."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise Damaged(words) from error


def row_fault() -> pl.Expr:
    """What is wrong with a row in the READ schema; null where nothing is."""
    return _first_of(
        [
            (_is_any_null(["path", *_always()]), "a row that lacks what every row has"),
            (_is_odd_number(_counts(READ)), "a count out of bounds"),
            (_is_odd_list("running_total"), "a count out of bounds"),
            (_is_odd_list("media_counts"), "a count out of bounds"),
            (_is_odd_list("tool_counts"), "a count out of bounds"),
            (~pl.col("reported_cost_usd").is_between(0, _MAX_COUNT), "a cost out of bounds"),
            (~pl.col("timestamp").is_between(_FIRST, _LAST), "a time out of bounds"),
            (_is_other("source", list(sources())), "a row of an unknown source"),
            (_is_other("kind", [*_KINDS, schema.PROBLEM]), "a row of an unknown kind"),
            (_is_other("evidence", schema.EVIDENCE), "a row of an unknown kind"),
            (_is_other("history", _HISTORIES), "a row of an unknown kind"),
            (_is_other("dialect", list(DIALECTS)), "a row of an unknown dialect"),
            (_lists_other("assumed", _DIRECTIONS), "a row of an unknown kind"),
            (_lists_null("problems", "history_thread_ids"), "a list with a gap"),
            (_is_long(READ), "a text without end"),
        ]
    )


def correction_fault() -> pl.Expr:
    """What is wrong with a row in the CORRECTIONS schema; null where nothing is."""
    return _first_of(
        [
            (_is_any_null(["call_id", "direction", "method"]), "one that lacks what each has"),
            (_is_odd_number(_counts(CORRECTIONS)), "a count out of bounds"),
            (_is_other("direction", _DIRECTIONS), "an unknown direction"),
            (_is_long(CORRECTIONS), "a text without end"),
        ]
    )


def _first_of(faults: list[tuple[pl.Expr, str]]) -> pl.Expr:
    found = [pl.when(is_so.fill_null(value=False)).then(pl.lit(words)) for is_so, words in faults]
    return pl.coalesce(found)


@cache
def _always() -> list[str]:
    """The columns that no reader leaves without a value: those with a default that is one."""
    empty = msgspec.structs.asdict(Reported(record=0))
    return [name for name, value in empty.items() if value is not None and name != "calls"]


def _counts(table: Any) -> list[str]:
    columns = pl.DataFrame(table.empty_table()).schema
    return [name for name, kind in columns.items() if kind == pl.Int64 and name not in _PLACES]


def _is_any_null(names: list[str]) -> pl.Expr:
    return pl.any_horizontal(pl.col(names).is_null())


def _is_odd_number(names: list[str]) -> pl.Expr:
    return pl.any_horizontal(~pl.col(names).is_between(0, _MAX_COUNT))


def _is_odd_list(name: str) -> pl.Expr:
    return (pl.col(name).list.min() < 0) | (pl.col(name).list.max() > _MAX_COUNT)


def _is_other(name: str, known: Any) -> pl.Expr:
    return ~pl.col(name).is_in(list(known))


def _lists_other(name: str, known: Any) -> pl.Expr:
    return _lists_null(name) | ~pl.col(name).list.eval(pl.element().is_in(list(known))).list.all()


def _lists_null(*names: str) -> pl.Expr:
    return pl.any_horizontal(pl.col(names).list.drop_nulls().list.len() != pl.col(names).list.len())


def _is_long(table: Any) -> pl.Expr:
    columns = pl.DataFrame(table.empty_table()).schema
    texts = [name for name, kind in columns.items() if kind == pl.String]
    lists = [name for name, kind in columns.items() if kind == pl.List(pl.String)]
    # As many entries as bytes would be as much of nothing.
    long = [pl.col(name).list.len() > _MOST_BYTES // 16 for name in lists]
    joined = [pl.col(name).list.join("").str.len_bytes() > _MOST_BYTES for name in lists]
    return pl.any_horizontal(pl.col(texts).str.len_bytes() > _MOST_BYTES, *long, *joined)
