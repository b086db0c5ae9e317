"""Why a figure is what it is: the calls in it, where each stands, how it was read and priced."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from typing import Final, Protocol

import msgspec
import polars as pl
from msgspec.structs import replace

from tallybook.errors import TallybookError, UsageError
from tallybook.pricing.cost import working
from tallybook.pricing.rates import Rates
from tallybook.report.cell import Cell
from tallybook.report.fields import plain
from tallybook.report.query import KEYS, Query
from tallybook.report.summary import Row, summarise_batches
from tallybook.report.sums import counted, recorded, selected, with_keys
from tallybook.report.working import Place, call_row, entry
from tallybook.schema import PROBLEM
from tallybook.values import names_in

_SHOWN: Final = 6  # ids in an error
_LEFT: Final = names_in(
    "source path record part kind evidence call_id duplicate_of duplicate_reason model thread_id"
    " timestamp input_tokens cached_input_tokens output_tokens total_tokens detail"
)
_ORDER: Final = ("cost", "total_tokens", "timestamp", "call_id", "path", "record", "part")
_MATCHES: Final = "_matches"


class UsageOfFiles(Protocol):
    """What a reading has to offer; see `tallybook.ledger.reading.Reading`."""

    @property
    def rates(self) -> Rates:
        """Prices by name and time."""

    def batches(self, only: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        """Priced USAGE rows with the column `component`."""


class Asked(msgspec.Struct, frozen=True):
    """What is to be explained: the rows of a query in a cell, or those of one thread or call."""

    query: Query
    cell: Cell = msgspec.field(default_factory=lambda: Cell({}))
    thread: str | None = None
    call: str | None = None

    def rows(self, usage: pl.LazyFrame, which: pl.Expr | None = None) -> pl.LazyFrame:
        """The counted rows that are meant, or of the rows that `which` says."""
        keys = tuple(self.cell.values)
        keyed = with_keys(selected(usage, self.query, which), replace(self.query, by=keys))
        wanted = dict(self.cell.fields)
        wanted |= {"thread_id": self.thread} if self.thread else {}
        wanted |= {"call_id": self.call} if self.call else {}
        same = [pl.col(name).eq_missing(pl.lit(value)) for name, value in wanted.items()]
        return keyed.filter(*same) if same else keyed


class Explanation(msgspec.Struct, frozen=True):
    """The calls of a cell (`rows`, the dearest first), its sums, and what was left out of it.

    `rest` is what the calls beyond the limit have; `adds_up`: the arithmetic of the calls is their
    cost, and with all of them listed that of the cell.
    """

    rows: list[Row]
    totals: Row
    rest: Row | None
    not_counted: Row
    adds_up: bool


def find(batches: Iterable[pl.DataFrame], text: str) -> dict[str, str]:
    """The one thread or call whose id begins with `text`: {"thread": id} or {"call": id}.

    A call is named by its id, with or without the source in front, or by that of its response. A
    thread comes before the calls in it. Raises TallybookError where there is none, UsageError where
    there are several.
    """
    calls: dict[str, set[str]] = {}
    threads: set[str] = set()
    for rows in batches:
        stated = rows.lazy().filter(recorded())
        bare = pl.col("call_id").str.replace(r"^[^:]*:", "")
        named = pl.concat_list("call_id", bare, "response_id")
        found = stated.select("call_id", name=named).explode("name")
        found = found.filter(pl.col("name").str.starts_with(text)).unique()
        for call, name in found.collect().iter_rows():
            calls.setdefault(call, set()).add(name)
        of = stated.select("thread_id").filter(pl.col("thread_id").str.starts_with(text)).unique()
        threads.update(of.collect()["thread_id"])
    return _one(text, calls, threads)


def _one(text: str, calls: Mapping[str, set[str]], threads: set[str]) -> dict[str, str]:
    exact = [call for call, names in calls.items() if text in names]
    if len(exact) == 1:
        return {"call": exact[0]}
    # Sub-agents are threads whose ids begin with that of the thread that started them.
    roots = [t for t in threads if not any(t.startswith(f"{other}/") for other in threads)]
    if text in threads or len(roots) == 1:
        return {"thread": text if text in threads else roots[0]}
    several = roots or exact or list(calls)
    if len(several) == 1:
        return {"call": several[0]}
    if not several:
        raise TallybookError(
            f"no call and no thread begins with {text}",
            hint="a cell is written model=gpt-5.4,day=2026-11-20, or total",
        )
    shown = ", ".join(sorted(several)[:_SHOWN]) + (", …" if len(several) > _SHOWN else "")
    what = "threads" if roots else "calls"
    raise UsageError(f"{len(several):,} {what} begin with {text}", hint=f"more of it: {shown}")


def explain(
    usage: UsageOfFiles, asked: Asked, more: Callable[[pl.DataFrame], Place], limit: int | None
) -> Explanation:
    """Explain what is asked for, by the `limit` dearest calls (None: all).

    `more` tells of rows what lies beside them: in the ledger and in the log.
    """
    cell = _Gathered(asked, limit)
    report = summarise_batches(cell.through(usage.batches()), Query(), {})
    listed, totals = cell.listed(), report.totals
    ids = set(listed["call_id"])
    left, others = _left_out(usage.batches(cell.components), asked, ids)
    place, worked = more(listed), working(listed, usage.rates)
    rows = [
        # What is left out for a call is told of its first row.
        call_row(row, priced, place, usage.rates, left.pop(row["call_id"] or "", []))
        for row, priced in zip(
            listed.iter_rows(named=True), worked.iter_rows(named=True), strict=True
        )
    ]
    return Explanation(
        rows=rows,
        totals=totals,
        rest=_rest(rows, totals, cell.height),
        not_counted=_summary(others, limit),
        adds_up=_adds_up(rows, totals, whole=len(rows) == cell.height),
    )


class _Gathered:
    """The rows of a cell as the batches go by: the dearest ones, and how many there are."""

    def __init__(self, asked: Asked, limit: int | None) -> None:
        self._asked, self._limit = asked, limit
        self._frames: list[pl.DataFrame] = []
        self.height = 0
        self.components: set[str] = set()

    def through(self, batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Of each batch the rows that are meant."""
        for rows in batches:
            every = self._asked.rows(rows.lazy(), pl.lit(value=True)).collect()
            self.components.update(every["component"].unique())
            found = every.filter(counted())
            self.height += found.height
            if not found.is_empty() or not self._frames:
                self._frames.append(found)
            if self._limit is not None and len(self._frames) > 1:
                self._frames = [self.listed()]
            yield found

    def listed(self) -> pl.DataFrame:
        """The rows in the order in which they are told."""
        order = [name in {"cost", "total_tokens"} for name in _ORDER]
        # A batch in which nothing was corrected has no columns of corrections.
        rows = pl.concat(self._frames, how="diagonal_relaxed")
        rows = rows.sort(*_ORDER, descending=order, nulls_last=True, maintain_order=True)
        return rows if self._limit is None else rows.head(self._limit)


def _left_out(
    batches: Iterable[pl.DataFrame], asked: Asked, ids: set[str]
) -> tuple[dict[str, list[Row]], list[Row]]:
    """What does not count: by the call of `ids` that counts for it, and the rest of the cell."""
    frames = [_not_counted(rows, asked) for rows in batches]
    if not frames:
        return {}, []
    rows = pl.concat(frames).sort("path", "record", "part", nulls_last=True, maintain_order=True)
    pairs = rows.filter(pl.col("duplicate_of").is_not_null()).select("call_id", "duplicate_of")
    parents = {call: of for call, of in pairs.iter_rows() if call != of}
    left: dict[str, list[Row]] = {}
    others: list[Row] = []
    for row in rows.iter_rows(named=True):
        owner = _owner(row["duplicate_of"], parents, ids)
        if owner is not None:
            left.setdefault(owner, []).append(entry(row))
        elif row[_MATCHES]:
            others.append(entry(row))
    return left, others


def _not_counted(rows: pl.DataFrame, asked: Asked) -> pl.DataFrame:
    """The rows of a batch that do not count, and whether what is asked for has them."""
    kinds = pl.col("kind") != PROBLEM
    which = kinds & ~(recorded() & pl.col("duplicate_of").is_null())
    numbered = rows.lazy().with_row_index("_number")
    meant = asked.rows(numbered, which).select("_number").collect()["_number"]
    found = numbered.filter(which).with_columns(
        pl.col("_number").is_in(meant.implode()).alias(_MATCHES)
    )
    return found.select(*_LEFT, _MATCHES).collect()


def _owner(of: str | None, parents: Mapping[str, str], ids: set[str]) -> str | None:
    """The call of `ids` at the end of a chain of duplicates."""
    seen: set[str] = set()
    while of is not None and of not in ids:
        seen.add(of)
        of = parents.get(of)
        of = None if of in seen else of
    return of


def _summary(others: Sequence[Row], limit: int | None) -> Row:
    reasons: dict[str, int] = {}
    for each in others:
        reasons[each["reason"]] = reasons.get(each["reason"], 0) + 1
    shown = list(others) if limit is None else list(others[:limit])
    return {"records": len(others), "reasons": dict(sorted(reasons.items())), "rows": shown}


def _rest(rows: Sequence[Row], totals: Row, height: int) -> Row | None:
    """The sums of the calls that are not listed: what the cell has beyond the listed ones."""
    if len(rows) == height:
        return None
    tokens, cost = _sums(rows)
    whole = totals["cost_usd"]
    return {
        "records": height - len(rows),
        "total_tokens": (totals["total_tokens"] or 0) - tokens,
        "cost_usd": None if whole is None else plain(Decimal(whole) - cost),
    }


def _adds_up(rows: Sequence[Row], totals: Row, *, whole: bool) -> bool:
    for row in rows:
        parts = [Decimal(each["cost_usd"] or 0) for each in row["arithmetic"]]
        if row["cost_usd"] is not None and sum(parts) != Decimal(row["cost_usd"]):
            return False
    if not whole:
        return True
    return _sums(rows) == _sums([totals])


def _sums(rows: Iterable[Row]) -> tuple[int, Decimal]:
    """Tokens and cost of rows, as far as they are known."""
    known = [(row["total_tokens"] or 0, Decimal(row["cost_usd"] or 0)) for row in rows]
    return sum(tokens for tokens, _ in known), sum((cost for _, cost in known), Decimal())


def known(batches: Iterable[pl.DataFrame], query: Query, cell: Cell) -> dict[str, list[str]]:
    """Some values that the keys of a cell have among the rows of a query, by key."""
    fields = {key: KEYS[key] for key in cell.values}
    found: dict[str, set[str]] = {key: set() for key in fields}
    for rows in batches:
        asked = replace(query, by=tuple(fields))
        keyed = with_keys(selected(rows.lazy(), query), asked).select(set(fields.values()))
        values = keyed.unique().collect()
        for key, name in fields.items():
            found[key].update(values[name].drop_nulls().cast(pl.String))
    return {
        key: get_close_matches(cell.values[key] or "", sorted(values), n=_SHOWN, cutoff=0.5)
        or sorted(values)[:_SHOWN]
        for key, values in found.items()
    }
