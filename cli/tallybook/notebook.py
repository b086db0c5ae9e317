"""tallybook in Python: reports, calls, records and prices as data frames of polars.

`import tallybook` loads none of it; `tallybook.usage` and the others come from here at need. They
take what the commands take and answer as they do, in tokens (Int64) and dollars (Decimal).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import polars as pl
from polars.io.plugins import register_io_source

from tallybook.commands.answering import report_of
from tallybook.commands.options import UsageOptions
from tallybook.derive.chain import derive
from tallybook.files.price_file import read_price_file
from tallybook.ledger.open import with_usage
from tallybook.ledger.rows import empty_rows
from tallybook.pricing import cost
from tallybook.pricing.rates import Rates, load
from tallybook.report import export
from tallybook.report.fields import COSTS
from tallybook.report.query import FILTERS
from tallybook.urls import path_named

if TYPE_CHECKING:
    from tallybook.ledger.question import Question
    from tallybook.ledger.reading import Reading
    from tallybook.report.query import Query

AnyPath: TypeAlias = "str | os.PathLike[str]"
Paths: TypeAlias = "AnyPath | Iterable[AnyPath] | None"
Values: TypeAlias = "str | Iterable[str] | None"
Ledger: TypeAlias = "AnyPath | Literal[False] | None"
_MONEY: Final = (*COSTS, "price_status")
_INPUTS: Final = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "unsplit_input_tokens",
)


def usage(  # noqa: PLR0913 - one parameter an option
    paths: Paths = None,
    *,
    by: Values = ("model",),
    since: str | None = None,
    until: str | None = None,
    timezone: str | None = None,
    sort: Literal["cost", "tokens", "calls", "name", "time"] | None = None,
    reverse: bool = False,
    limit: int | None = None,
    last: int | None = None,
    ledger: Ledger = None,
    **more: Any,
) -> pl.DataFrame:
    """The rows of `tallybook usage-report`, one a group.

    Columns are the keys of `by` under the names of their fields (text), the buckets and their sums
    (Int64, null where no call states them), dollars (Decimal(38, 15)), `lower_bound`, and how many
    calls do not state a bucket (`unknown_…`) or rest on which evidence (`origin_…`).

    Without `paths` the known places are read. `ledger` is a folder, None for the usual one, False
    for none. `more` are filters (`source`, `provider`, `model`, `thread`, `project`, `caller`: a
    name, the beginning of one or a pattern, or several), `everything`, `as_recorded`, `prices`.
    Raises UsageError (a TallybookError) for what the command would not take.
    """
    options = _options(paths, ledger, since=since, until=until, timezone=timezone, **more)
    query = options.query(_values(by), sort=sort, reverse=reverse, limit=limit, last=last)
    return with_usage(options.question(None), lambda reading: _rows(reading, query))


def calls(
    paths: Paths = None,
    *,
    since: str | None = None,
    until: str | None = None,
    timezone: str | None = None,
    ledger: Ledger = None,
    **more: Any,
) -> pl.LazyFrame:
    """The rows of `tallybook export`, one a counted call, read when they are collected.

    Only the columns and rows that a query needs are held. Columns, arguments and errors are those
    of the command and of `usage`; times are UTC in microseconds, `problems` a list of codes.
    """
    options = _options(paths, ledger, since=since, until=until, timezone=timezone, **more)
    query, question = options.query(None), options.question(None)

    def scanned(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _size: int | None
    ) -> Iterator[pl.DataFrame]:
        frames = _scanned(question, query, columns, predicate)
        yield pl.concat(frames).head(rows) if rows is not None else pl.concat(frames)

    return register_io_source(scanned, schema=_calls_schema)


def read(path: Paths, *, prices: AnyPath | None = None) -> pl.DataFrame:
    """Every record of the logs at `path`, settled and priced, duplicates and problems among them.

    `kind` says what a row is (`call`, `sum`, `thread`, `event`, `problem`, …), `duplicate_of` and
    `duplicate_reason` why one does not count; `path` and `record` where it stands. No ledger is
    read or written. Raises UsageError for a path that does not exist.
    """
    options = _options(path, False, prices=prices)
    rows = with_usage(options.question(None), lambda reading: pl.concat(reading.batches()))
    return _in_dollars(rows.drop("component"))


def price(frame: pl.DataFrame, *, prices: AnyPath | None = None) -> pl.DataFrame:
    """The frame with what each of its rows costs: `cost_usd` and the other columns of money.

    A row is a call with the columns of `read` or of `calls`; what it lacks is not stated: `model`,
    `provider`, `timestamp` (UTC) and the buckets are enough. `price_status` says why a cost is
    null. `prices` is a file of the user's own.
    """
    settled = _settled_schema()
    lacking = {name: dtype for name, dtype in settled.items() if name not in frame.columns}
    given = frame.with_columns(
        *(pl.col(name).cast(settled[name]) for name in frame.columns if name in cost.NEEDED),
        *(pl.lit(None, dtype).alias(name) for name, dtype in lacking.items()),
    ).with_columns(
        pl.col("kind").fill_null("call"),
        pl.col("input_tokens").fill_null(pl.sum_horizontal(_INPUTS)),
    )
    given = given.drop([*cost.SCHEMA, *COSTS], strict=False)
    rates = _rates(prices)
    found = _in_dollars(cost.price(given, rates))
    if export.DIGEST in frame.columns:
        found = export.with_digest(found, rates.digest)
    return found.select(*(name for name in frame.columns if name not in _MONEY), *_MONEY)


def _options(paths: Paths, ledger: Ledger, **given: Any) -> UsageOptions:
    for name in FILTERS:
        given[name] = _values(given.get(name)) or None
    if given.get("prices") is not None:
        given["prices"] = Path(given["prices"])
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    return UsageOptions(
        paths=None if paths is None else [path_named(os.fspath(path)) for path in paths],
        ledger=None if ledger is None or ledger is False else Path(ledger),
        no_ledger=ledger is False,
        **given,
    )


def _values(values: Values) -> list[str]:
    return [values] if isinstance(values, str) else list(values or ())


def _rows(reading: Reading, query: Query) -> pl.DataFrame:
    rows = pl.concat(export.tables(report_of(reading, query)))
    return export.with_digest(rows, reading.rates.digest)


def _scanned(
    question: Question, query: Query, columns: list[str] | None, predicate: pl.Expr | None
) -> list[pl.DataFrame]:
    def scan(reading: Reading) -> list[pl.DataFrame]:
        # What a filter stands for is only known from all rows.
        meant = report_of(reading, query).query if query.filters else query
        return [
            _pushed(_told(batch.lazy(), meant, reading.rates.digest), columns, predicate)
            for batch in reading.batches()
        ]

    return with_usage(question, scan)


def _told(usage: pl.LazyFrame, query: Query, digest: str) -> pl.LazyFrame:
    return export.calls(usage, query).with_columns(pl.lit(digest).alias(export.DIGEST))


def _pushed(
    rows: pl.LazyFrame, columns: list[str] | None, predicate: pl.Expr | None
) -> pl.DataFrame:
    rows = rows if predicate is None else rows.filter(predicate)
    return (rows if columns is None else rows.select(columns)).collect()


def _rates(prices: AnyPath | None) -> Rates:
    return load(None, None if prices is None else Path(prices), read_price_file)


def _settled_schema() -> pl.Schema:
    return derive(empty_rows(), None).schema


def _calls_schema() -> pl.Schema:
    nothing = pl.DataFrame(schema={**_settled_schema(), **cost.SCHEMA})
    return _told(nothing.lazy(), UsageOptions().query(None), "").collect_schema()


def _in_dollars(rows: pl.DataFrame) -> pl.DataFrame:
    money = [cost.dollars(pl.col(column)).alias(name) for name, column in COSTS.items()]
    left = [name for name in cost.SCHEMA if name != "price_status"]
    return rows.with_columns(*money).drop(left)
