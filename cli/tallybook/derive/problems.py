"""Puts codes on rows and takes them off; lists are dear, and few rows have problems."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import polars as pl

_CODES: Final = pl.List(pl.String)
_NOTHING: Final = pl.lit([], dtype=_CODES)


def has_problem(code: str, column: str = "problems") -> pl.Expr:
    """Whether a row carries the problem."""
    return pl.col(column).list.contains(code).fill_null(value=False)


def each_once(problems: pl.Series) -> pl.Series | pl.Expr:
    """The problems, none twice; a list where there are none."""
    if problems.null_count() == len(problems):
        return _NOTHING
    problems = problems.to_frame().select(pl.col("problems").fill_null(_NOTHING)).to_series()
    is_plain = problems.list.len().max() in (0, 1)
    return problems if is_plain else problems.list.unique(maintain_order=True)


def with_problems(rows: pl.DataFrame, *codes: tuple[str, pl.Expr]) -> pl.DataFrame:
    """The rows, each code whose condition holds put behind their `problems`."""
    found = rows.select(condition.alias(code) for code, condition in codes)
    there = pl.DataFrame([each for each in found if each.any()])
    if not there.width:
        return rows
    touched = there.select(pl.any_horizontal(pl.all()).arg_true()).to_series()
    extra = [
        pl.when(code).then(pl.lit([code], dtype=_CODES)).otherwise(_NOTHING)
        for code in there.columns
    ]
    few = there.with_columns(rows["problems"])[touched]
    more = few.select(pl.concat_list(pl.col("problems").fill_null(_NOTHING), *extra)).to_series()
    return _renewed(rows, touched, more.list.unique(maintain_order=True))


def without_problems(rows: pl.DataFrame, when: pl.Expr, codes: Iterable[str]) -> pl.DataFrame:
    """The rows, those for which `when` holds without the codes."""
    concerned = when & (pl.col("problems").list.len() > 0)
    touched = rows.select(concerned.arg_true()).to_series()
    kept = pl.element().filter(~pl.element().is_in([*codes]))
    return _renewed(rows, touched, rows["problems"][touched].list.eval(kept))


def _renewed(rows: pl.DataFrame, touched: pl.Series, problems: pl.Series) -> pl.DataFrame:
    """The rows with other problems in the places `touched`."""
    if touched.is_empty():
        return rows
    count = rows.height
    places = pl.int_range(count, eager=True).scatter(
        touched, pl.int_range(count, count + len(touched), eager=True)
    )
    return rows.with_columns(pl.concat([rows["problems"], problems])[places])
