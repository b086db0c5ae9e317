"""Sums over batches of usage rows that can be put together, and kept, a component at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields

import polars as pl

from tallybook.report.coverage import counts
from tallybook.report.problems import entries, first_of_each, together
from tallybook.report.query import KEYS, Query
from tallybook.report.selection import counted, matching, origin, selected, with_keys
from tallybook.report.sums import sums, sums_of_sums

COMPONENT = "component"  # column: whose rows these are, by any name; rows of one stand together


@dataclass(frozen=True, slots=True)
class Partial:
    """What a query asks of some components; each frame has their name in the column `component`.

    `groups` has the sums of each combination of the keys, `covered` those of the coverage, `codes`
    the number of problems by code, `problems` the first entries of each, `known` the values that
    there are of the columns that are filtered by.
    """

    groups: pl.DataFrame
    covered: pl.DataFrame
    codes: pl.DataFrame
    problems: pl.DataFrame
    known: pl.DataFrame

    @property
    def height(self) -> int:
        """How many rows that grow with what was read."""
        return self.groups.height + self.problems.height + self.known.height

    def of(self, names: Sequence[str]) -> Partial:
        """Those of some components only."""
        wanted = pl.col(COMPONENT).is_in(list(names))
        return Partial(*(getattr(self, each.name).filter(wanted) for each in fields(self)))


def partial(rows: pl.DataFrame, query: Query, older: Collection[str] = ()) -> Partial:
    """The sums of priced USAGE rows of every kind that carry the column `component`.

    `older` are the paths of files that another program has read.
    """
    lazy = rows.lazy()
    keyed = with_keys(selected(lazy, query), query).with_columns(origin=origin())
    undated = pl.col("timestamp").is_null()
    missed = matching(lazy, query).filter(undated) if query.dated else lazy.clear()
    covered = lazy.group_by(COMPONENT).agg(counts(older))
    found = entries(lazy, COMPONENT).collect()
    return Partial(
        groups=keyed.group_by(COMPONENT, *query.fields).agg(sums()).collect(),
        covered=covered.join(
            missed.group_by(COMPONENT).agg(undated=pl.len().cast(pl.Int64)), COMPONENT, how="left"
        )
        .with_columns(pl.col("undated").fill_null(0))
        .collect(),
        codes=found.group_by(COMPONENT, "code").agg(n=pl.col("count").sum()),
        problems=first_of_each(found, COMPONENT),
        known=_known(lazy, query).collect(),
    )


def joined(partials: Iterable[Partial]) -> Partial:
    """Several partials of other components each."""
    found = list(partials)
    return Partial(
        *(pl.concat([getattr(each, name.name) for each in found]) for name in fields(Partial))
    )


def as_one(partial: Partial, query: Query) -> Partial:
    """The same sums of all components together, as one without a name."""
    nameless = pl.lit("").alias(COMPONENT)
    groups = partial.groups.group_by(query.fields).agg(sums_of_sums(partial.groups))
    found = together(partial.problems.lazy().with_columns(nameless), COMPONENT).collect()
    return Partial(
        groups=groups.select(nameless, *partial.groups.columns[1:]),
        covered=partial.covered.select(nameless, pl.exclude(COMPONENT).sum()),
        codes=partial.codes.group_by("code").agg(pl.col("n").sum()).select(nameless, "code", "n"),
        problems=first_of_each(found, COMPONENT),
        known=partial.known.with_columns(nameless).unique(),
    )


def _known(rows: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    found = [
        rows.filter(counted())
        .select(COMPONENT, name=pl.lit(name), value=pl.col(KEYS[name]))
        .drop_nulls("value")
        .unique()
        for name in query.filters
    ]
    nothing = {COMPONENT: pl.String, "name": pl.String, "value": pl.String}
    return pl.concat([pl.LazyFrame(schema=nothing), *found])
