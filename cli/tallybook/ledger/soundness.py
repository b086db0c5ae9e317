"""What no row of a ledger can say, whatever log it was read from, in the words of a refusal."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import polars as pl

from tallybook import schema
from tallybook.dialects import DIALECTS
from tallybook.schema import Reported
from tallybook.sources import sources
from tallybook.tables import CORRECTIONS, READ

_KINDS: Final = (*schema.COUNTED_KINDS, schema.ASSERTION, schema.EVENT, schema.RESPONSE)
_HISTORIES: Final = (schema.OWN, schema.INHERITED, schema.BEFORE_TURN, schema.AFTER_TURN)
_DIRECTIONS: Final = ("input", "output")
_MAX_COUNT: Final = 2**53  # no build has taken more for a count
_MOST_BYTES: Final = 1 << 20  # of a text
# Numbers of rows, which databases give out as they like.
_PLACES: Final = ("record", "block_index", "evidence_record")
# Times that any zone can show.
_FIRST, _LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def fault() -> pl.Expr:
    """What is wrong with a row in the READ schema; null where nothing is."""
    return _first_of(
        [
            (_is_any_null(["path", *_always()]), "a row that lacks what every row has"),
            (_is_odd_number(_counts(READ)), "a count out of bounds"),
            (_is_odd_list("running_total"), "a count out of bounds"),
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


def fault_of_correction() -> pl.Expr:
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
    said = [pl.when(is_so.fill_null(value=False)).then(pl.lit(words)) for is_so, words in faults]
    return pl.coalesce(said)


@cache
def _always() -> list[str]:
    """The columns that no reader leaves without a value: those with a default that is one."""
    empty = Reported(record=0)
    return [name for name, value in _fields(empty) if value is not None and name != "calls"]


def _fields(row: Reported) -> list[tuple[str, Any]]:
    return [(name, getattr(row, name)) for name in row.__struct_fields__]


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
