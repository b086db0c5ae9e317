"""Where the rows of a run are written and found: in the ledger, in a folder aside, in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tallybook.ledger.gather import Task
from tallybook.ledger.manifest import Damaged, Entry, Segment, unsealed
from tallybook.ledger.parts import is_whole, openable
from tallybook.sources.rows import DEFAULTS

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


# So many rows are looked through at once where not all of their columns are needed.
_SLICE_ROWS: Final = 32_768


class PartDamaged(Exception):  # noqa: N818 - a state of a file
    """A part is missing or is not what was written; `name` is its name."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(f"{name}: {words}")
        self.name = name


class Store:
    """Parts by name. New ones go to `parts` and `states`, or stay in memory where both are None."""

    def __init__(
        self, known: Sequence[Path], parts: Path | None = None, states: Path | None = None
    ) -> None:
        self.parts = parts
        self.states = states
        self._folders = [*([parts] if parts else []), *known]
        self._tables: dict[str, pa.Table] = {}
        self._whole: dict[str, Path] = {}  # parts that were looked through

    def take(self, name: str, table: pa.Table | None) -> None:
        """Keep a part that is on no disk."""
        if table is not None:
            self._tables[name] = table

    def with_states(self, tasks: Sequence[Task], states: Path | None) -> list[Task]:
        """The tasks with the states that their places lack; without one, a file is read afresh."""
        loaded: dict[str, dict[str, bytes]] = {}
        ready = []
        for task in tasks:
            if task.after is None or task.states is None or task.after.state:
                ready.append(task)
                continue
            name, file_id = task.states
            if name not in loaded:
                loaded[name] = _load_states(states, name)
            state = loaded[name].get(file_id, b"")
            after = msgspec.structs.replace(task.after, state=state)
            ready.append(task._replace(after=after))
        return ready

    def rows(self, entries: Iterable[Entry]) -> pl.DataFrame:
        """The rows of files in the READ schema, in no particular order. Raises PartDamaged."""
        import polars as pl  # noqa: PLC0415 - after the logs are read

        wanted: dict[str, list[tuple[Segment, str | None]]] = {}
        for entry in entries:
            path = entry.path if entry.renamed else None
            for segment in entry.segments():
                wanted.setdefault(segment.part, []).append((segment, path))
        frames = [frame for name in wanted for frame in self._pieces(name, wanted[name])]
        return pl.concat(frames) if frames else empty_rows()

    def _pieces(
        self, name: str, wanted: Sequence[tuple[Segment, str | None]]
    ) -> Iterable[pl.DataFrame]:
        import polars as pl  # noqa: PLC0415 - as above

        for near in _near(wanted):
            first, rows = cover([segment for segment, _ in near])
            frame = self._load(name, first, rows)
            in_place = [segment for segment, path in near if path is None]
            if in_place:
                yield pick(frame, in_place, first)
            for segment, path in near:
                if path is not None:
                    part = frame.slice(segment.start - first, segment.rows)
                    yield part.with_columns(path=pl.lit(path))

    def _load(self, name: str, start: int, rows: int) -> pl.DataFrame:
        from tallybook.tables import READ  # noqa: PLC0415 - loads pyarrow

        frame = self.part(name, READ.names, start, rows)
        if frame.height != rows:
            raise PartDamaged(name, f"{frame.height} rows where there should be {rows}")
        return frame

    def part(
        self, name: str, columns: Sequence[str], start: int = 0, rows: int | None = None
    ) -> pl.DataFrame:
        """Columns of a part, of all rows or of so many from `start`. Raises PartDamaged.

        A column that came after the part was written holds its default.
        """
        import polars as pl  # noqa: PLC0415 - as above

        if name in self._tables:
            return pl.DataFrame(self._tables[name].select(columns).slice(start, rows))
        try:
            found = pl.scan_parquet(openable(self.find(name))).slice(start, rows)
            try:
                frame = found.select(columns).collect()
            except pl.exceptions.ColumnNotFoundError:
                there = found.collect_schema().names()
                frame = found.select(name for name in columns if name in there).collect()
            return _as_of_today(frame, columns)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise PartDamaged(name, str(error).partition("\n")[0]) from error

    def slices(
        self, name: str, columns: Sequence[str], start: int = 0, rows: int | None = None
    ) -> Iterator[pl.DataFrame]:
        """As `part`, some rows at a time. Raises PartDamaged."""
        left = sys.maxsize if rows is None else rows
        while left > 0:
            wanted = min(left, _SLICE_ROWS)
            found = self.part(name, columns, start, wanted)
            yield found
            if found.height < wanted:
                return
            start, left = start + wanted, left - wanted

    def find(self, name: str) -> Path:
        """Where a part is. Raises PartDamaged where it is nowhere, or not what was written."""
        if name in self._whole:
            return self._whole[name]
        words = "missing"
        for folder in self._folders:
            with suppress(FileNotFoundError):
                if is_whole(folder / name):
                    self._whole[name] = folder / name
                    return folder / name
                words = "damaged"
        raise PartDamaged(name, words)


def _near(
    wanted: Sequence[tuple[Segment, str | None]],
) -> Iterator[list[tuple[Segment, str | None]]]:
    """Segments of a part in groups to be loaded at once, in each as they are; gaps are small."""
    group: list[int] = []
    end = 0
    for number in sorted(range(len(wanted)), key=lambda number: wanted[number][0].start):
        segment, _ = wanted[number]
        if group and segment.start > end + _SLICE_ROWS:
            yield [wanted[each] for each in sorted(group)]
            group = []
        group.append(number)
        end = max(end, segment.start + segment.rows)
    if group:
        yield [wanted[each] for each in sorted(group)]


def cover(segments: Sequence[Segment]) -> tuple[int, int]:
    """The first row of some segments of a part, and how many rows it is to the last."""
    first = min(segment.start for segment in segments)
    return first, max(segment.start + segment.rows for segment in segments) - first


def pick(frame: pl.DataFrame, segments: Sequence[Segment], first: int) -> pl.DataFrame:
    """The rows of segments, one after the other; `frame` holds a part from row `first` on."""
    import polars as pl  # noqa: PLC0415 - as above

    place = first
    for segment in segments:
        if segment.start != place:
            break
        place += segment.rows
    else:
        return frame.slice(0, place - first)
    starts = [segment.start - first for segment in segments]
    ends = [start + segment.rows for start, segment in zip(starts, segments, strict=True)]
    ranges = pl.select(pl.int_ranges(pl.Series(starts), pl.Series(ends)).explode())
    return frame[ranges.to_series().drop_nulls()]


def _as_of_today(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The rows of a part with the columns and types that the schema has by now."""
    import polars as pl  # noqa: PLC0415 - as above

    wanted = {name: dtype for name, dtype in empty_rows().schema.items() if name in columns}
    there = frame.schema  # made anew each time it is asked for
    if all(there.get(name) == dtype for name, dtype in wanted.items()):
        return frame
    missing = {n: DEFAULTS[n] for n in wanted if n in DEFAULTS and n not in there}
    added = [pl.lit(value, wanted[name]).alias(name) for name, value in missing.items()]
    return frame.with_columns(added).select(columns).cast(pl.Schema(wanted))


def _load_states(folder: Path | None, name: str) -> dict[str, bytes]:
    if folder is None:
        return {}
    try:
        payload = unsealed(b"states", (folder / name).read_bytes())
        return msgspec.msgpack.decode(payload, type=dict[str, bytes])
    except (OSError, Damaged, msgspec.MsgspecError):
        return {}


def empty_rows() -> pl.DataFrame:
    """No rows, in the READ schema."""
    import polars as pl  # noqa: PLC0415 - as above

    from tallybook.tables import READ  # noqa: PLC0415

    return pl.DataFrame(READ.empty_table())
