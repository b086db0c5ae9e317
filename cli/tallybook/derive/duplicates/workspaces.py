"""Takes from a run's own counts what the logs of its agents state call by call.

The record of a run names its latest session only, that of the reviewer maybe, while its counts are
those of all. What names the others is the workspace, which is the run's alone while it lasts.
"""

from __future__ import annotations

from typing import Final

import polars as pl
import polars.selectors as cs

from tallybook.derive.beside import beside, mark
from tallybook.derive.problems import has_problem, with_problems
from tallybook.schema import BUCKETS, CALL, LOG, MAY_BE_TWICE, SNAPSHOT, SUM, SUMMARY, WITNESS

RUNS: Final = "symphony"  # the source that drives agents
WORKSPACE: Final = "_workspace"
_FOLDER: Final = r"([^/\\]+)[/\\]*$"
_AGENTS: Final = ("codex", "claude-code")
_FREE: Final = pl.col("duplicate_of").is_null()
_LATE: Final = pl.duration(minutes=1)  # a log's last line may come after the run's last event
_COUNTS: Final = (*BUCKETS, "reasoning_output_tokens")


def is_run() -> pl.Expr:
    """Sums over a run, whose sessions may be several."""
    return (
        (pl.col("source") == RUNS)
        & (pl.col("kind") == SUM)
        & pl.col("evidence").is_in([SUMMARY, SNAPSHOT])
    )


def has_workspace() -> pl.Expr:
    """Sums over a run that name its workspace, and when it began (`chain_id`)."""
    return is_run() & pl.col("project").is_not_null() & pl.col("chain_id").is_not_null()


def is_too_high() -> pl.Expr:
    """Sums that may hold each call several times, so that nothing beyond the logs is one."""
    return has_problem("repeated-lines")


def in_workspace(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds WORKSPACE: the name of the folder, which is the issue's; some records have no more."""
    return rows.with_columns(pl.col("project").str.extract(_FOLDER).alias(WORKSPACE))


def first_in_workspace(rows: pl.DataFrame) -> pl.DataFrame:
    """Of each stretch of calls that an agent logged in one folder the first row.

    The rest hangs on it by its thread.
    """
    project, path = pl.col("project"), pl.col("path")
    is_first = project.ne_missing(project.shift()) | (path != path.shift())
    is_agents = pl.col("source").is_in(_AGENTS) & project.is_not_null()
    return in_workspace(rows.filter(is_first.fill_null(value=True), is_agents))


def take_logged(rows: pl.DataFrame) -> pl.DataFrame:
    """Leaves of each run's sum what the agents' logs do not state; nothing is left: a witness.

    Where the logs state more of one count and less of another, the sum counts whole, and says that
    it may be counted twice; not where the session that it names is among them.
    """
    runs = _runs(rows)
    own = (pl.col("kind") == CALL) & (pl.col("evidence") == LOG) & _FREE
    logs = in_workspace(rows.filter(own, pl.col("source").is_in(_AGENTS))).select(
        WORKSPACE,
        "call_id",
        *_COUNTS,
        "input_tokens",
        "thread_id",
        "root_thread_id",
        agent="source",
        at="timestamp",
        folder="project",
    )
    logged = (
        pl.concat([_in_folder(runs, logs), _of_session(runs, logs)], how="diagonal")
        .group_by("row", "call_id")
        .agg(pl.col("is_named").any(), pl.exclude("is_named").first())
        .sort("row", "at", "call_id")
        .group_by("row", maintain_order=True)
        .agg(
            pl.col("call_id").first().alias("_first"),
            pl.len().alias("_calls"),
            pl.col("is_named").any().alias("_named"),
            *(pl.col(name).sum().alias(f"logged_{name}") for name in (*_COUNTS, "input_tokens")),
        )
    )
    if logged.is_empty():
        return rows
    return (
        beside(rows, logged)
        .with_columns(_rests())
        .pipe(_settled)
        .drop(cs.matches("^(logged|rest)_"), "_first", "_calls", "_named")
    )


def _runs(rows: pl.DataFrame) -> pl.DataFrame:
    """The runs that count, with where and when their agents worked."""
    return in_workspace(rows.filter(is_run() & _FREE)).select(
        "row",
        "project",
        WORKSPACE,
        "timestamp",
        "thread_id",
        has_workspace=has_workspace(),
        agent="log_source",
        begun=pl.col("chain_id")
        .str.extract(r"@(.*)$")
        .str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", time_zone="UTC", strict=False),
    )


def _within() -> pl.Expr:
    return pl.col("at").is_between(pl.col("begun"), pl.col("timestamp") + _LATE)


def _in_folder(runs: pl.DataFrame, logs: pl.DataFrame) -> pl.DataFrame:
    """The calls that were logged in the workspace of a run while it lasted."""
    is_bare = pl.col("project") == pl.col(WORKSPACE)
    return (
        runs.filter("has_workspace")
        .drop("agent", "thread_id")
        .join(logs, on=WORKSPACE)
        .filter(_within(), (pl.col("project") == pl.col("folder")) | is_bare)
        .with_columns(is_named=pl.lit(value=False))
    )


def _of_session(runs: pl.DataFrame, logs: pl.DataFrame) -> pl.DataFrame:
    """The calls of the session that a run names: while it lasted, else all that there are."""
    threads = logs.with_columns(thread_id=pl.concat_list("thread_id", "root_thread_id"))
    by_thread = threads.explode("thread_id").unique(["call_id", "thread_id"])
    is_within = _within().fill_null(value=False)
    return (
        runs.filter(pl.col("agent").is_not_null())
        .join(by_thread, on=("agent", "thread_id"))
        .filter(is_within | ~is_within.any().over("row"))
        .with_columns(is_named=pl.lit(value=True))
    )


def _rests() -> list[pl.Expr]:
    """What a run's sum states beyond the logs; an unsplit prompt beyond the whole of theirs."""
    prompt = pl.col("logged_input_tokens")
    rests = {name: pl.col(name) - pl.col(f"logged_{name}") for name in _COUNTS}
    is_split = pl.col("uncached_input_tokens").is_not_null()
    rests["unsplit_input_tokens"] = (
        pl.when(is_split)
        .then("unsplit_input_tokens")
        .otherwise(pl.col("unsplit_input_tokens") - prompt)
    )
    return [rest.alias(f"rest_{name}") for name, rest in rests.items()]


def _settled(rows: pl.DataFrame) -> pl.DataFrame:
    stated = [pl.col(f"rest_{name}") for name in BUCKETS]
    met = pl.col("_calls").is_not_null()
    less = pl.all_horizontal((rest <= 0).fill_null(value=True) for rest in stated)
    at_least = pl.all_horizontal((rest >= 0).fill_null(value=True) for rest in stated)
    is_sound = at_least & ~(is_too_high() & pl.col("_named"))
    nothing = met & (less | (pl.col("_named") & ~is_sound))
    more = met & ~nothing & at_least
    anew = [pl.when(more).then(f"rest_{name}").otherwise(name).alias(name) for name in _COUNTS]
    words = pl.format("{} calls in the logs of its agents", "_calls")
    sums = pl.sum_horizontal(*BUCKETS[:4])
    doubted = (MAY_BE_TWICE, met & ~nothing & ~more)
    return (
        with_problems(rows, doubted)
        .pipe(mark, nothing, pl.col("_first"), WITNESS)
        .with_columns(
            *anew,
            difference=more | pl.col("difference"),
            detail=pl.when(met).then(words).otherwise("detail"),
        )
        .with_columns(input_tokens=pl.when(more).then(sums).otherwise("input_tokens"))
        .with_columns(
            total_tokens=pl.when(more)
            .then(pl.col("input_tokens") + pl.col("output_tokens").fill_null(0))
            .otherwise("total_tokens")
        )
    )
