"""Group-bys and totals over priced USAGE rows: what a report says."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from typing import Any, Final, Protocol, TypeVar, overload

import msgspec
import polars as pl
from msgspec.structs import replace

from tallybook.report.fields import AT_LEAST, COSTS, COUNTS, UNKNOWN
from tallybook.report.query import Query, Unmatched, is_pattern, names_of
from tallybook.report.sums import Partial, joined, partial, perhaps_twice, sums_of_sums
from tallybook.schema import ORIGINS

Row = dict[str, Any]
T = TypeVar("T")

_FEMTO: Final = 10**15
_SLICE: Final = 1000  # rows that are made at once
_MOST_ROWS: Final = 16_384  # of sums that are held apart; so many take 8 MB
_PACKED: Final = 8  # so many times more of those that are packed
_MEASURES: Final = {"cost": "cost_usd", "tokens": "total_tokens", "calls": "calls"}


class Report(msgspec.Struct, frozen=True):
    """The answer to a query, in the fields of the JSON document."""

    query: Query
    rows: Sequence[Row]
    totals: Row
    period: Row
    coverage: Row
    unmatched: list[Unmatched]
    matched: Mapping[str, tuple[str, ...]]  # the names that filters stand for, where others


class Rows(Sequence[Row]):
    """The rows of a report, each made when it is looked at: there may be a great many."""

    def __init__(self, groups: pl.DataFrame, query: Query) -> None:
        """`groups` are sorted sums; those that `query.limit` leaves out become one row, the last.

        Rows in the order of time begin with the oldest, which are left out first.
        """
        shown = groups.height if query.limit is None else min(query.limit, groups.height)
        left = groups.height - shown
        self._keys = (*query.fields, *query.whose)
        self._groups = groups
        self._rest: list[Row] = []
        if left:
            first = left if query.ascends else 0
            # A copy, for all others would stay with a slice.
            self._groups = groups[pl.int_range(first, first + shown, eager=True)]
            rest = groups.head(left) if query.ascends else groups.tail(left)
            key = dict.fromkeys(self._keys) | {"rest": left}
            self._rest = [key | _row(_folded(rest))]

    def __len__(self) -> int:
        return self._groups.height + len(self._rest)

    def __iter__(self) -> Iterator[Row]:
        for part in self._groups.iter_slices(_SLICE):
            yield from map(self._made, part.iter_rows(named=True))
        yield from self._rest

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[n] for n in range(len(self))[index]]
        place = range(len(self))[index]
        if place >= self._groups.height:
            return self._rest[0]
        return self._made(self._groups.row(place, named=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment] # as that of a list

    def _made(self, group: Mapping[str, Any]) -> Row:
        return {name: group[name] for name in self._keys} | _row(group)


def summarise(usage: pl.DataFrame | pl.LazyFrame, query: Query, files: int = 0) -> Report:
    """Answer `query` from priced USAGE rows of every kind, duplicates among them."""
    return report(partial(usage, query), query, {"files": files})


def summarise_batches(
    batches: Iterable[pl.DataFrame], query: Query, read: Mapping[str, Any]
) -> Report:
    """Answer `query` from batches of such rows, at least one; `read` opens the coverage.

    The sums are those of `summarise` to the last digit.
    """
    return report(added_up((partial(rows, query) for rows in batches), query), query, read)


def added_up(partials: Iterable[Partial], query: Query) -> Partial:
    """The sums of at least one, a few held at once.

    They are put together whenever there are twice as many rows as were left the last time: where
    there is a row a thread, all are gone through only so often.
    """
    held: list[_Waiting] = []
    size, most = 0, _MOST_ROWS
    for each in partials:
        held.append(_Waiting(each))
        size += held[-1].size
        if size > most:
            held = [_Waiting(joined(_unpacked(held), query))]
            size = held[0].size
            most = max(_MOST_ROWS, 2 * size)
    if not held:
        raise ValueError("no batch")
    return joined(_unpacked(held), query)


class _Waiting:
    """Sums that wait for others. Those of many groups are packed: most columns say little."""

    def __init__(self, sums: Partial) -> None:
        self.size = sums.height
        self.sums, self.packed = sums, BytesIO()
        groups = sums.groups
        if groups.height > _SLICE:
            groups.write_ipc(self.packed, compression="lz4")
            self.sums = replace(sums, groups=groups.clear())
            self.size -= groups.height - groups.height // _PACKED


def _unpacked(held: Sequence[_Waiting]) -> Iterator[Partial]:
    """The sums that were held; the groups of all that are packed are with the first of these.

    They are put together a column at a time: what one was made of is then room for the next.
    """
    packed = [each.packed.getvalue() for each in held if each.packed.tell()]
    groups = None
    if packed:
        names = held[0].sums.groups.columns
        every = ([pl.read_ipc(each, columns=[name]) for each in packed] for name in names)
        groups = pl.concat([pl.concat(some, rechunk=True) for some in every], how="horizontal")
    for each in held:
        if groups is not None and each.packed.tell():
            yield replace(each.sums, groups=groups)
            groups = each.sums.groups  # none
        else:
            yield each.sums


def report(partial: Partial, query: Query, read: Mapping[str, Any]) -> Report:
    """The answer to `query` from the sums of all rows; `read` opens the coverage.

    Its `older_calls`, where it has some, come on top of those that the sums count.
    """
    backfilled = partial.groups["origin backfilled"].sum()
    groups = _sorted(_newest(partial.groups, query), query)
    totals = _folded(groups)
    covered = partial.covered.row(0, named=True)
    undated = covered.pop("undated")
    covered["older_calls"] += read.get("older_calls", 0)
    probable = {name: covered.pop(f"probable_{name}") for name in ("calls", "tokens")}
    unmatched, matched = _matched(partial, query)
    return Report(
        query=query,
        rows=Rows(_with_whose(groups, query), query),
        totals=_row(totals) if groups.height else _nothing(totals),
        period={end: _instant(totals[end]) for end in ("first", "last")},
        coverage={
            **read,
            "files": partial.files.height if query.is_filtered else read.get("files", 0),
            **covered,
            "backfilled": backfilled,
            "probably_same_call": probable,
            "may_be_counted_twice": perhaps_twice(partial.ends),
            **partial.problems.coverage(),
            "undated": undated,
        },
        unmatched=unmatched,
        matched=matched,
    )


@functools.lru_cache  # most costs have no bounds but themselves
def money(femto: int | None) -> str | None:
    """Write femto-dollars as a decimal: no dust, no exponent, "0" for nothing."""
    if not femto:
        return None if femto is None else "0"
    whole, rest = divmod(abs(femto), _FEMTO)
    digits = f"{whole}.{rest:015d}".rstrip("0") if rest else f"{whole}"
    return f"-{digits}" if femto < 0 else digits


def _folded(groups: pl.DataFrame) -> dict[str, Any]:
    """The sums of several groups; of none, what is counted is zero and what is stated null."""
    found = groups.select(sums_of_sums(groups)).row(0, named=True)
    nothing = dict.fromkeys(["unsplit_input_tokens", "unpriced_tokens"], 0)
    counted = {name: 0 for name in found if " " in name} | {"records_without_calls": 0}
    return found if groups.height else found | nothing | counted


def _newest(groups: pl.DataFrame, query: Query) -> pl.DataFrame:
    """The rows of the last `query.last` periods of its first time key."""
    if query.last is None:
        return groups
    period = pl.col(query.time_keys[0])
    newest = groups.select(period.drop_nulls().unique().sort().tail(query.last)).to_series()
    return groups.filter(period.is_in(newest.implode()))


def _sorted(groups: pl.DataFrame, query: Query) -> pl.DataFrame:
    """The groups in order; a column at a time is taken out of them, for there may be very many."""
    order = groups.select(pl.arg_sort_by(**_order(query))).to_series()
    return pl.DataFrame([groups.drop_in_place(name)[order] for name in groups.columns])


def _order(query: Query) -> dict[str, Any]:
    """How to sort: by what was asked, then by everything else, so that no two rows are equal."""
    times = query.time_keys if query.sort in {None, "time"} else []
    if query.sort == "time" and not times:
        times = ["last"]
    measures = [] if query.sort == "name" else list(_MEASURES.values())
    first = _MEASURES.get(query.sort or "", "cost_usd")
    measures.sort(key=lambda name: name != first)
    by = [*times, *measures, *query.fields]
    return {
        "exprs": by,
        "descending": [(name in measures) is not query.reverse for name in by],
        "nulls_last": True,
    }


def _with_whose(groups: pl.DataFrame, query: Query) -> pl.DataFrame:
    """Adds the project of a thread, where there is one, and the days of its first and last call."""
    found = {
        f"{end}_day": pl.col(end).dt.convert_time_zone(query.timezone).dt.strftime("%Y-%m-%d")
        for end in ("first", "last")
    }
    if "project" in query.whose:
        found["project"] = pl.when(pl.col("least_project") == pl.col("most_project")).then(
            "least_project"
        )
    return groups.with_columns(**{name: found[name] for name in query.whose})


def _instant(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")


def _row(sums: Mapping[str, Any]) -> Row:
    reported = sums["reported_cost_usd"]
    return {
        **{name: sums[name] for name in COUNTS},
        **{name: money(sums[name]) for name in COSTS},
        "reported_cost_usd": None if reported is None else _plain(reported),
        "unpriced_tokens": sums["unpriced_tokens"],
        "unknown": {name: n for name in UNKNOWN if (n := sums[f"unknown {name}"])},
        "origins": {name: n for name in ORIGINS if (n := sums[f"origin {name}"])},
        "records_without_calls": sums["records_without_calls"],
        "lower_bound": bool(sums["least total_tokens"]),
        "at_least": [name for name in AT_LEAST if sums[f"least {name}"]],
    }


def _nothing(sums: Mapping[str, Any]) -> Row:
    """Totals of no rows: no statement is missing, so every sum is zero."""
    return _row({**sums, **dict.fromkeys((*COUNTS, *COSTS), 0)})


def _plain(value: Decimal) -> str:
    return money(int(value.scaleb(15))) or "0"


def _matched(partial: Partial, query: Query) -> tuple[list[Unmatched], dict[str, tuple[str, ...]]]:
    """Values of filters that stand for no one name, and by filter the names that others stand for.

    The former are most likely misspelt or too short.
    """
    odd, names = list[Unmatched](), dict[str, tuple[str, ...]]()
    for name, values in query.filters.items():
        there = partial.known.filter(pl.col("name") == name)["value"].sort().to_list()
        meant = {value: names_of(value, there) for value in values}
        unclear = [v for v, found in meant.items() if len(found) != 1 and not is_pattern(v)]
        unclear += [value for value, found in meant.items() if not found and is_pattern(value)]
        odd += [Unmatched(name, v, meant[v] or there, bool(meant[v])) for v in unclear]
        clear = [each for value in values if value not in unclear for each in meant[value]]
        if set(clear) != set(values) - set(unclear):
            names[name] = tuple(dict.fromkeys(clear))
    return odd, names


class UsageOfFiles(Protocol):
    """What a reading has to offer; see `tallybook.ledger.reading.Reading`."""

    @property
    def older(self) -> Collection[str]:
        """Paths of files that another program has read."""

    def each(self, work: Callable[[pl.DataFrame | pl.LazyFrame], T]) -> Iterator[T]:
        """What `work` makes of all priced USAGE rows, in at least one frame and in any order."""


def answer(usage: UsageOfFiles, query: Query, read: Mapping[str, Any]) -> Report:
    """Answer `query`; `read` opens the coverage.

    Where filters stand for other names than themselves, which only the rows tell, these are asked
    for then.
    """
    found = _answer(usage, query, read)
    if not found.matched or query.matched:
        return found
    return _answer(usage, replace(query, matched=found.matched), read)


def _answer(usage: UsageOfFiles, query: Query, read: Mapping[str, Any]) -> Report:
    older = usage.older
    partials = usage.each(functools.partial(partial, query=query, older=older))
    return report(added_up(partials, query), query, read)
