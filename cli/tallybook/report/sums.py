"""The sums of a report: over usage rows, over other sums, and of what was read at all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cache, reduce
from operator import and_
from typing import Final, Literal, TypeAlias, TypeVar

import msgspec
import polars as pl

from tallybook.report.fields import AT_LEAST, COSTS, COUNTS, UNKNOWN
from tallybook.report.problems import ProblemCount
from tallybook.report.query import KEYS, TIME_KEYS, Query
from tallybook.schema import (
    ASSUMED,
    AT_CLIENT,
    AT_ROUTER,
    BACKFILLED,
    BUCKETS,
    COUNTED_KINDS,
    DERIVED,
    ORIGINS,
    PROBABLY_SAME,
    PROBLEM,
    REPORTED_ORIGIN,
    SUBCOUNTS,
)

_ROUTE = ("end", "hour", "model")  # by what the ends of a route are compared
_ORIGINS = tuple(f"{bucket}_origin" for bucket in (*BUCKETS, *SUBCOUNTS))
_PROJECTS = ("least_project", "most_project")
Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)
Engine: TypeAlias = Literal["in-memory", "streaming"]
_TIME_FORMATS = {"hour": "%Y-%m-%dT%H:00", "day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
_PERIODS = {"hour": "1h", "day": "1d", "week": "1w", "month": "1mo"}


def recorded() -> pl.Expr:
    """Rows that state usage, duplicates included."""
    return pl.col("kind").is_in(COUNTED_KINDS)


def counted() -> pl.Expr:
    """Rows that are summed."""
    return recorded() & pl.col("duplicate_of").is_null()


def origin() -> pl.Expr:
    """The weakest evidence that a row rests on."""
    return (
        pl.when(pl.any_horizontal(pl.col(_ORIGINS) == ASSUMED))
        .then(pl.lit(ASSUMED))
        .when(pl.any_horizontal(pl.col(_ORIGINS) == BACKFILLED))
        .then(pl.lit(BACKFILLED))
        .when(pl.col("difference"))
        .then(pl.lit(DERIVED))
        .otherwise(pl.lit(REPORTED_ORIGIN))
    )


def matching(usage: Frame, query: Query, which: pl.Expr | None = None) -> Frame:
    """Counted rows (or those that `which` says) that pass the filters by value, of whatever day."""
    passing = [pl.col(KEYS[name]).is_in(list(values)) for name, values in query.names.items()]
    return usage.filter(reduce(and_, passing, counted() if which is None else which))


def selected(usage: Frame, query: Query, which: pl.Expr | None = None) -> Frame:
    """Counted rows that pass the filters and lie between the days; undated rows lie nowhere.

    With `which` those rows that it says, in place of the counted ones.
    """
    rows = matching(usage, query, which)
    day = _local(query).dt.date()
    if query.since:
        rows = rows.filter(day >= query.since)
    if query.until:
        rows = rows.filter(day <= query.until)
    return rows


def left(usage: Frame, query: Query) -> Frame:
    """Rows of every kind that the filters leave, for the coverage to speak of.

    Records that state usage as `selected` has them, duplicates among them. What could not be read
    may be of what is asked for where it does not say of what it is.
    """
    is_ours = [
        pl.col(KEYS[name]).is_in(list(values)).fill_null(~recorded())
        for name, values in query.names.items()
    ]
    day = _local(query).dt.date()
    if query.since:
        is_ours.append((day >= query.since).fill_null(~recorded()))
    if query.until:
        is_ours.append((day <= query.until).fill_null(~recorded()))
    return usage.filter(is_ours) if is_ours else usage


def with_keys(rows: Frame, query: Query) -> Frame:
    """Add the columns of the time keys: text in the query's time zone, null without a time."""
    keys = [key for key in TIME_KEYS if key in query.by]
    return rows.with_columns(
        _local(query).dt.strftime(_TIME_FORMATS[key]).alias(KEYS[key]) for key in keys
    )


def _local(query: Query) -> pl.Expr:
    return pl.col("timestamp").dt.convert_time_zone(query.timezone)


def counts(older: Collection[str] = ()) -> list[pl.Expr]:
    """The sums over USAGE rows that tell what a report rests on.

    `older` are the paths of files that another program has read.
    """
    is_older = pl.col("path").is_in(list(older)) if older else pl.lit(value=False)
    probable = pl.col("duplicate_reason") == PROBABLY_SAME
    return [
        recorded().sum().cast(pl.Int64).alias("records"),
        pl.col("calls").filter(counted()).sum().alias("calls"),
        pl.col("calls").filter(counted() & is_older).sum().alias("older_calls"),
        (recorded() & pl.col("duplicate_of").is_not_null())
        .sum()
        .cast(pl.Int64)
        .alias("duplicates"),
        pl.col("calls").filter(probable).sum().alias("probable_calls"),
        pl.col("total_tokens").filter(probable).sum().alias("probable_tokens"),
    ]


@cache
def sums(*, of_projects: bool, are_shared: bool) -> list[pl.Expr]:
    """The sums of a group of USAGE rows, under the names of the report's fields.

    With `are_shared` some may have an output that only the sum of several is known to hold, and
    rows have the column of `_with_again`. They are made once, for that is dear.
    """
    # The parts of a cost that is unknown as a whole stay out: parts add up to the cost.
    priced = pl.col("cost").is_not_null()
    unpriced = pl.when(~priced).then("total_tokens")
    least = _at_least()
    costs = {name: _stated(pl.when(priced).then(column), name) for name, column in COSTS.items()}
    if are_shared:
        costs["cost_high_usd"] = costs["cost_high_usd"] - pl.col(_AGAIN).sum()
    return [
        *(_stated(pl.col(name), name) for name in COUNTS if name != "unsplit_input_tokens"),
        pl.col("unsplit_input_tokens").sum(),
        *_bounded(costs, _unbounded()),
        _stated(pl.col("reported_cost_usd"), "reported_cost_usd"),
        unpriced.sum().alias("unpriced_tokens"),
        *(_count(_unknown(name), f"unknown {name}") for name in UNKNOWN),
        *(_count(pl.col("origin") == name, f"origin {name}") for name in ORIGINS),
        _count(pl.col("calls").is_null(), "records_without_calls"),
        *(condition.any().alias(f"least {name}") for name, condition in least.items()),
        _unbounded().any().alias("unbounded"),
        pl.col("timestamp").min().alias("first"),
        pl.col("timestamp").max().alias("last"),
        *(_of_projects() if of_projects else []),
    ]


def _unbounded() -> pl.Expr:
    """Whether nothing bounds what a row cost: more was used, or it was dearer than is known."""
    dearer = pl.col("cost").is_not_null() & pl.col("cost_high").is_null()
    return pl.col("unbounded") | dearer


_AGAIN: Final = "perhaps_again"
# Rows that are the same in these are in the same row of every report, and pass the same filters: no
# zone is at less than a quarter of an hour from another.
_ALIKE: Final = tuple(KEYS[key] for key in KEYS if key not in TIME_KEYS)
_QUARTER: Final = "15m"


def _with_again(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Adds what the highest costs of rows hold more than once: rows that share a remainder have it
    each, and are all of it together.

    Any part of it may be of each row of a report, so each must hold the whole; that the rows of
    every report are the same money, it counts once for those that no report tells apart.
    """
    share, more = pl.col("perhaps_output_cost"), pl.col("cost_high") - pl.col("cost_low")
    have = ((share > 0) & (more >= share)).fill_null(value=False)
    shared = rows.filter(have).sort("perhaps_output_cost", descending=True, maintain_order=True)
    quarter = pl.col("timestamp").dt.truncate(_QUARTER)
    is_first = pl.struct("perhaps_output_of", *_ALIKE, _quarter=quarter).is_first_distinct()
    return pl.concat(
        [
            rows.filter(~have).with_columns((share * 0).fill_null(0).alias(_AGAIN)),
            shared.with_columns(pl.when(~is_first).then(share).otherwise(0).alias(_AGAIN)),
        ]
    )


def sums_of_sums(groups: pl.DataFrame) -> list[pl.Expr]:
    """The sums of several groups, under the same names."""
    names = [name for name, dtype in groups.schema.items() if dtype.is_numeric()]
    added = {name: _stated(pl.col(name), name) for name in names}
    return [
        *_bounded(added, pl.col("unbounded")),
        *(pl.col(f"least {name}").any() for name in AT_LEAST),
        pl.col("unbounded").any(),
        pl.col("first").min(),
        pl.col("last").max(),
        *(
            [pl.col(_PROJECTS[0]).min(), pl.col(_PROJECTS[1]).max()]
            if _PROJECTS[0] in groups
            else []
        ),
    ]


def _of_projects() -> list[pl.Expr]:
    """The first and the last by name, which are equal where all rows are of one."""
    least, most = _PROJECTS
    return [pl.col("project").min().alias(least), pl.col("project").max().alias(most)]


def _unknown(name: str) -> pl.Expr:
    """Whether a row does not state a bucket, or no more than what had come of it."""
    unstated = pl.col(name).is_null()
    if name == "uncached_input_tokens":
        unstated |= pl.col("perhaps_uncached_tokens") > 0
    return unstated | pl.col("output_lower_bound") if name == "output_tokens" else unstated


def _at_least() -> dict[str, pl.Expr]:
    """Of each count of AT_LEAST, whether a row makes its sum a lower bound.

    Of a prompt that is split without cache writes, its log's way of counting has none.
    """
    found = {name: _unknown(name) for name in UNKNOWN}
    is_split = pl.col("uncached_input_tokens").is_not_null() & ~pl.col("input_lower_bound")
    found["cache_creation_input_tokens"] &= ~is_split
    found["input_tokens"] = pl.col("input_lower_bound")
    found["total_tokens"] = pl.col("lower_bound")
    return {name: found[name] for name in AT_LEAST}


def _bounded(added: dict[str, pl.Expr], unbounded: pl.Expr) -> list[pl.Expr]:
    """The sums, without the highest cost where nothing bounds a part of what is added."""
    name = "cost_high_usd"
    return [*(added | {name: pl.when(~unbounded.any()).then(added[name]).alias(name)}).values()]


def _stated(value: pl.Expr, name: str) -> pl.Expr:
    return pl.when(value.count() > 0).then(value.sum()).alias(name)


def _count(condition: pl.Expr, name: str) -> pl.Expr:
    return condition.sum().cast(pl.Int64).alias(name)


class Partial(msgspec.Struct, frozen=True):
    """What a query asks of some rows, to be added to what it asks of others.

    `groups` has the sums of each combination of the keys, `covered` those of the coverage, `known`
    the values that there are of the columns that are filtered by, `ends` the calls at each end of a
    route, `files` the paths of what the filters leave.
    """

    groups: pl.DataFrame
    covered: pl.DataFrame
    problems: ProblemCount
    known: pl.DataFrame
    ends: pl.DataFrame
    files: pl.DataFrame

    @property
    def height(self) -> int:
        """How many rows that grow with what was read."""
        frames = (self.groups, self.problems.first, self.known, self.ends, self.files)
        return sum(frame.height for frame in frames)


# The columns of rows with problems that `entries` looks at.
_TROUBLED: Final = ("path", "record", "kind", "detail", "problems")
_AT_ONCE: Final = 65_536  # of such rows


def partial(
    usage: pl.DataFrame | pl.LazyFrame, query: Query, older: Collection[str] = ()
) -> Partial:
    """The sums of priced USAGE rows of every kind; what lies on the disk is streamed through.

    `older` are the paths of files that another program has read.
    """
    rows = usage.lazy()
    engine: Engine = "in-memory" if isinstance(usage, pl.DataFrame) else "streaming"
    asked = left(rows, query)
    covered = _covered(rows, asked, query, older).collect(engine=engine)
    are_shared = covered.drop_in_place("are_shared").item()
    problems = ProblemCount()
    troubled = asked.filter(pl.col("problems").list.len() > 0).select(_TROUBLED)
    if engine == "in-memory":
        problems.add(troubled.collect(engine=engine))
    else:
        for some in troubled.collect_batches(chunk_size=_AT_ONCE):
            problems.add(some)
    return Partial(
        groups=_groups(rows, query, are_shared=are_shared).collect(engine=engine),
        covered=covered,
        problems=problems,
        known=_known(rows, query).collect(engine=engine),
        ends=ends(asked).collect(engine=engine),
        files=_files(asked, query).collect(engine=engine),
    )


def _groups(rows: pl.LazyFrame, query: Query, *, are_shared: bool) -> pl.LazyFrame:
    local = _local(query).dt.replace_time_zone(None)
    periods = {KEYS[key]: local.dt.truncate(_PERIODS[key]) for key in query.time_keys}
    keyed = selected(rows, query).with_columns(origin=origin(), **periods)
    if are_shared:
        keyed = _with_again(keyed)
    found = sums(of_projects="project" in query.whose, are_shared=are_shared)
    groups = keyed.group_by(query.fields).agg(found)
    # To write a time takes as long as to add up a row, and there are far fewer of these.
    return groups.with_columns(
        pl.col(KEYS[key]).dt.strftime(_TIME_FORMATS[key]) for key in query.time_keys
    )


def _covered(
    rows: pl.LazyFrame, asked: pl.LazyFrame, query: Query, older: Collection[str]
) -> pl.LazyFrame:
    """The sums of the coverage: over the rows `asked` for, and how many were read."""
    read = rows.select(
        records_read=recorded().sum().cast(pl.Int64),
        are_shared=(pl.col("perhaps_output_tokens") > 0).any(),
    )
    undated = pl.LazyFrame({"undated": [0]})
    if query.dated:
        missed = matching(rows.filter(pl.col("timestamp").is_null()), query)
        undated = missed.select(undated=pl.len().cast(pl.Int64))
    return pl.concat([read, asked.select(counts(older)), undated], how="horizontal").fill_null(0)


def joined(partials: Iterable[Partial], query: Query) -> Partial:
    """The sums of several together."""
    every = list(partials)
    if len(every) == 1:
        return every[0]
    covered, known, at_ends, files = (
        pl.concat([getattr(each, name) for each in every])
        for name in ("covered", "known", "ends", "files")
    )
    problems = ProblemCount()
    problems.join([each.problems for each in every])
    groups = [each.groups for each in every]
    every.clear()
    return Partial(
        groups=_together(groups, query.fields),
        covered=covered.sum(),
        problems=problems,
        known=known.unique(),
        ends=added(at_ends),
        files=files.unique(),
    )


def _together(groups: list[pl.DataFrame], keys: Sequence[str]) -> pl.DataFrame:
    """The sums of frames, which are taken out of the list, for no copy of all may be made at once.

    What only one of them has stays as it is, as nearly all threads do.
    """
    every = pl.concat(groups)
    again = every.select(keys).is_duplicated()
    several = every.filter(again)
    del every
    alone = []
    while groups:
        frame = groups.pop(0)
        own, again = again.head(frame.height), again.slice(frame.height)
        if own.any():  # a column at a time
            kept = [frame.drop_in_place(name).filter(~own) for name in frame.columns]
            frame = pl.DataFrame(kept)
        alone.append(frame)
    if several.is_empty():
        return pl.concat(alone)
    added = several.group_by(keys).agg(sums_of_sums(several)).select(several.columns)
    return pl.concat([*alone, added])


def _files(asked: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    """The paths of rows that are left; of all rows it is not asked."""
    if not query.is_filtered:
        return pl.LazyFrame(schema={"path": pl.String})
    told = recorded() | (pl.col("kind") == PROBLEM)
    return asked.filter(told).select(pl.col("path").unique())


def _known(rows: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    found = [
        rows.select(name=pl.lit(name), value=pl.when(counted()).then(pl.col(KEYS[name])))
        .drop_nulls("value")
        .unique()
        for name in query.filters
    ]
    return pl.concat([pl.LazyFrame(schema={"name": pl.String, "value": pl.String}), *found])


def ends(rows: Frame, *by: str) -> Frame:
    """The calls and tokens of USAGE rows at each end of a route, by hour and model."""
    told = (*by, "route_end", "duplicate_of", "calls", "timestamp", "model", "total_tokens")
    found = rows.select(told).filter(
        pl.col("route_end").is_not_null(), pl.col("duplicate_of").is_null()
    )
    stated = found.select(
        *by,
        pl.col("calls").fill_null(0),
        end="route_end",
        hour=pl.col("timestamp").dt.truncate("1h"),
        # A client may name the model with the prefix that chose the route.
        model=pl.col("model").str.replace(r"^.*/", "").str.to_lowercase(),
        tokens=pl.col("total_tokens").fill_null(0),
    )
    return added(stated, *by)


def added(found: Frame, *by: str) -> Frame:
    """Several such frames as one."""
    return found.group_by(*by, *_ROUTE).agg(pl.col("calls", "tokens").sum())


def perhaps_twice(found: pl.DataFrame) -> dict[str, int]:
    """How many `calls` and `tokens` may be counted twice at most: those that both ends have.

    In an hour and of a model there are no more of them than the lesser end has.
    """
    one, other = (found.filter(pl.col("end") == end) for end in (AT_ROUTER, AT_CLIENT))
    both = one.join(other, on=["hour", "model"])
    least = {name: pl.min_horizontal(name, f"{name}_right").sum() for name in ("calls", "tokens")}
    return both.select(**least).row(0, named=True)
