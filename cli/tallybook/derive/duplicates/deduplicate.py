"""Decides which rows are the same call and marks all but one of them; no row is ever removed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import polars as pl

from tallybook.derive.beside import beside, instead, mark, take_whose
from tallybook.derive.duplicates.best_record import judged, several
from tallybook.derive.duplicates.other_sources import mark_forwarded, mark_stated_elsewhere
from tallybook.derive.duplicates.replayed import replayed
from tallybook.derive.duplicates.reused_ids import reused_identities
from tallybook.derive.duplicates.same_run import TELLING, lesser_records_of_run
from tallybook.derive.duplicates.workspaces import is_run, take_logged
from tallybook.derive.problems import with_problems, without_problems
from tallybook.schema import (
    BEFORE_TURN,
    CALL,
    CAPTURE_LINE,
    CAPTURE_TOTAL,
    COMPACT,
    COMPACTED,
    COPY,
    COUNTED_KINDS,
    EVENT,
    INHERITED,
    LOG,
    OWN,
    PLACEHOLDER_OUTPUT,
    SAID_OF_COUNTED,
    SUM,
    THREAD,
)

_LONGEST_COMPACTION = "10m"  # from its answer to the line that says that it is done
_COUNTED = pl.col("kind").is_in(COUNTED_KINDS)
_MARKS = ("duplicate_of", "duplicate_reason", "problems")
_FREE = _COUNTED & pl.col("duplicate_of").is_null()


def deduplicate(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds `call_id`, `duplicate_of` (null: the row counts) and `duplicate_reason`.

    `rows` are in the order of their files' records and carry a unique `row`. Identity never
    contains a path, so copies of a file in another folder change nothing but the duplicates.
    """
    nothing = pl.lit(None, dtype=pl.String)
    rows = rows.with_columns(duplicate_of=nothing, duplicate_reason=nothing).pipe(_with_call_id)
    # Most logs give a stage nothing to do.
    concerned = rows.select(_concerned()).row(0, named=True)
    for name, (_, stage) in _STAGES.items():
        if concerned[name]:
            rows = stage(rows)
    if "route_end" not in rows.columns:
        rows = rows.with_columns(route_end=nothing)
    return _flag(rows)


@cache
def _concerned() -> list[pl.Expr]:
    return [condition.any().alias(name) for name, (condition, _) in _STAGES.items()]


def _may_be_routed() -> pl.Expr:
    """Whether a router or one of its clients may tell of the call."""
    return pl.col("routed") | pl.col("route").is_not_null()


def _is_seen_elsewhere() -> pl.Expr:
    """Whether another source might state the same call or thread."""
    several = pl.col("source").ne_missing(pl.col("source").first()).any()
    return pl.col("log_source").is_not_null() | (pl.col("response_id").is_not_null() & several)


def _with_call_id(rows: pl.DataFrame) -> pl.DataFrame:
    """Names the call a row speaks of: the log's identity, else the place in the thread's counters.

    A row with neither is known by its thread, record, time and counts, so that a copy of the whole
    file is still recognised. Gives `row`, `identity` and `call_id`.
    """
    rows = rows.pipe(_with_shared_records).pipe(reused_identities)
    thread = pl.when(pl.col("kind") == THREAD).then(pl.concat_str(pl.lit("thread:"), "thread_id"))
    key = rows.select(pl.coalesce(thread, "identity").alias("key")).to_series()
    if key.null_count():
        key = _named_otherwise(rows, key)
    return rows.with_columns(call_id=pl.concat_str("source", pl.lit(":"), key))


def _named_otherwise(rows: pl.DataFrame, key: pl.Series) -> pl.Series:
    """The keys, of rows without one the counter or the content; only for these texts are made."""
    named = rows.select("row", *_COUNTER, *_CONTENT, _key=key)
    unnamed, placed = pl.col("_key").is_null(), pl.col("sequence").is_not_null()
    found = pl.concat(
        [
            named.filter(placed).pipe(_counters).filter(unnamed).select("row", _key="_counter"),
            named.filter(unnamed, ~placed).select("row", _key=_content()),
        ]
    )
    return instead(named.select("row", "_key"), found)["_key"]


_COUNTER = ("path", "source", "thread_id", "segment_id", "sequence")
_CONTENT = (
    "kind",
    "record",
    "part",
    "series",
    "timestamp",
    "model",
    "input_tokens",
    "output_tokens",
)


def _counters(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds the name that the thread's counters give a call, to rows that all state them."""
    # The same counter state can come back after a reset; the nth time in one file is one call.
    place = pl.col("path").hash() + pl.col("sequence").hash(1)
    again = rows.filter(place.is_duplicated())
    times = again.select("row", times=pl.int_range(pl.len()).over(_COUNTER))
    return beside(rows, times).with_columns(
        _counter=pl.concat_str(
            pl.col("thread_id").fill_null("?"),
            pl.concat_str(pl.lit(":"), "segment_id").fill_null(""),
            pl.lit(":"),
            "sequence",
            pl.when(pl.col("times") > 0).then(pl.format(".{}", "times")).otherwise(pl.lit("")),
        )
    )


def _content() -> pl.Expr:
    texts = [pl.col(name).cast(pl.String).fill_null("") for name in ("thread_id", *_CONTENT)]
    return pl.concat_str(texts, separator="/")


def _with_shared_records(rows: pl.DataFrame) -> pl.DataFrame:
    """A record keeps its own id when it is copied, whatever other ids the copy was given."""
    is_named = pl.col("identity").is_not_null() & pl.col("record_id").is_not_null()
    record = pl.when(is_named).then(pl.col("record_id").hash())
    name = pl.col("identity").hash(1)
    # Nearly every copy has the other ids as well.
    records, names = rows.select(record.n_unique(), name=(record + name).n_unique()).row(0)
    if records == names:
        return rows
    is_shared = rows.select(record.is_duplicated() & record.is_not_null()).to_series()
    columns = ("row", "source", "part", "record_id", "identity")
    own = pl.col("identity").min().over("source", "record_id", "part")
    return instead(rows, rows.select(columns).filter(is_shared).select("row", identity=own))


def _mark_repeats(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows whose reader saw that they say again what the last call of the file said."""
    said = pl.when(pl.col("repeat").is_null() & _COUNTED).then("call_id")
    last = pl.coalesce(said.forward_fill().over("source", "path"), "call_id")
    return mark(rows, _FREE & pl.col("repeat").is_not_null(), last, pl.col("repeat"))


def _mark_replayed_history(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that a fork or sub-agent copied from its parent; the parent's file counts them."""
    verdicts = replayed(rows)
    if verdicts.is_empty():
        return rows
    facts = ("row", "source", "path", "call_id", "identity", "history", "kind", "repeat")
    narrow = rows.select(*facts, *_MARKS)
    files = narrow.filter(pl.col("row").is_in(verdicts["row"].implode()))["path"].unique()
    copied = narrow.select(copied_row="row", _copied="call_id")
    copied = copied.filter(pl.col("copied_row").is_in(verdicts["copied_row"].implode()))
    marked = (
        narrow.filter(pl.col("path").is_in(files.implode()))
        .pipe(beside, verdicts.join(copied, on="copied_row", how="left"))
        .pipe(_mark_replays)
    )
    # Lists are dear to put together.
    marks = _MARKS if not verdicts["owner_is_read"].all() else _MARKS[:2]
    return instead(rows, marked.select("row", *marks))


def _mark_replays(rows: pl.DataFrame) -> pl.DataFrame:
    """Marks the rows of files with a replay, each beside its verdict where there is one."""
    is_replay = pl.col("owner_is_read").is_not_null()
    of = pl.coalesce(
        "_copied",
        pl.when(pl.col("identity").is_not_null()).then("call_id"),
        pl.concat_str("source", pl.lit(":"), pl.col("owner").fill_null("?")),
    )
    orphan = is_replay & ~pl.col("owner_is_read")
    first = orphan & (orphan.cum_sum().over("source", "path") == 1)
    return (
        with_problems(rows, ("parent-missing", first))
        .pipe(mark, _FREE & is_replay, of, "replayed-history")
        .pipe(_mark_replayed_repeats)
    )


def _mark_replayed_repeats(rows: pl.DataFrame) -> pl.DataFrame:
    """What repeats a replayed row is replayed as well."""

    def last(column: str) -> pl.Expr:
        stated = pl.when(pl.col("repeat").is_null() & _COUNTED).then(pl.col(column).fill_null(""))
        return stated.forward_fill().over("source", "path")

    replayed_before = last("duplicate_reason") == "replayed-history"
    inherited = pl.col("history").is_in([BEFORE_TURN, INHERITED])
    repeats = pl.col("repeat").is_not_null() & inherited & replayed_before
    return mark(rows, repeats.fill_null(value=False), last("duplicate_of"), "replayed-history")


def _mark_same_call(rows: pl.DataFrame) -> pl.DataFrame:
    """Of the free rows with one call id, keeps the best witness as a whole row, never a mix."""
    related = several(rows, _FREE)
    if related.is_empty():
        return rows
    lost, owners = judged(related)
    is_lost = rows["row"].is_in(lost.implode())
    reason = (
        pl.when(pl.col("sequence").is_not_null())
        .then(pl.lit("same-record"))
        .otherwise(pl.lit("same-response"))
    )
    return take_whose(mark(rows, pl.lit(is_lost), pl.col("call_id"), reason), owners)


def is_compaction() -> pl.Expr:
    """A call of which the log says no more than that it has shortened the conversation."""
    return pl.col("identity").str.starts_with(COMPACTED).fill_null(value=False)


def _mark_recorded_compactions(rows: pl.DataFrame) -> pl.DataFrame:
    """Such a call where it is on record: the last one of the session that was made for it."""
    who = ("source", "root_thread_id")
    free = rows.select("row", *who, "timestamp", "caller", "call_id", "identity", is_free=_FREE)
    free = free.filter("is_free")
    made = (pl.col("caller") == COMPACT) & ~is_compaction()
    recorded = free.filter(made).select(*who, "timestamp", _made="call_id").drop_nulls()
    if recorded.is_empty():
        return rows
    found = (
        free.filter(is_compaction())
        .select("row", *who, "timestamp")
        .drop_nulls()
        .sort("timestamp", "row")
        .join_asof(
            recorded.sort("timestamp", "_made"),
            on="timestamp",
            by=who,
            tolerance=_LONGEST_COMPACTION,
            check_sortedness=False,
        )
        .filter(pl.col("_made").is_not_null())
        .unique("_made", keep="first", maintain_order=True)
        .select("row", "_made")
    )
    return (
        beside(rows, found)
        .pipe(mark, pl.col("_made").is_not_null(), pl.col("_made"), "same-response")
        .drop("_made")
    )


def _is_capture(column: str) -> pl.Expr:
    return pl.col(column).is_in([CAPTURE_TOTAL, CAPTURE_LINE])


def _mark_captures(rows: pl.DataFrame) -> pl.DataFrame:
    """Saved standard output of a thread yields to the thread's own log, lines yield to totals.

    A total that is stated once for the run, not per model, yields to the lines, and so does one
    that is less than its own lines: of calls that were tried again a client may count none. The
    lines of a run that was killed count beside totals that do not hold them.
    """
    thread = pl.coalesce("root_thread_id", "thread_id")
    rows = rows.with_columns(_with_total=_has_total().any().over("source", thread, "path"))

    def has(condition: pl.Expr) -> pl.Expr:
        return (_FREE & condition).any().over("source", thread)

    line, total = pl.col("evidence") == CAPTURE_LINE, pl.col("evidence") == CAPTURE_TOTAL
    lacks = _is_less_than_lines(thread).fill_null(value=False)
    better = (
        pl.when(
            _is_capture("evidence") & has((pl.col("evidence") == LOG) & (pl.col("kind") == CALL))
        )
        .then(True)
        .when(line & ~lacks & ~_is_in_no_total(thread) & has(total & pl.col("running")))
        .then(True)
        .when(total & ~pl.col("running") & has(line | (total & pl.col("running"))))
        .then(True)
        .otherwise(total & pl.col("running") & lacks)
    )
    known = thread.is_not_null()
    of = pl.concat_str("source", pl.lit(":"), thread)
    mismatch = _FREE & known & total & pl.col("running") & lacks
    yields = _FREE & known & better
    rows = with_problems(rows, ("total-mismatch", mismatch)).pipe(mark, yields, of, "capture")
    return rows.drop("_with_total")


def _has_total() -> pl.Expr:
    return _FREE & (pl.col("evidence") == CAPTURE_TOTAL) & pl.col("running")


def _is_in_no_total(thread: pl.Expr) -> pl.Expr:
    """Whether a line is of a run that stated no total, and those of its thread hold none of it.

    They hold the lines beside them and nothing more.
    """
    line = _FREE & (pl.col("evidence") == CAPTURE_LINE)
    prompt, beside = pl.col("input_tokens"), pl.col("_with_total")
    held = prompt.filter(_has_total()).sum() == prompt.filter(line & beside).sum()
    return ~beside & held.over("source", thread, "model")


def _is_less_than_lines(thread: pl.Expr) -> pl.Expr:
    """Whether a run's total of a model holds less of prompts than the lines beside it."""
    line, total = pl.col("evidence") == CAPTURE_LINE, pl.col("evidence") == CAPTURE_TOTAL
    totals = pl.col("input_tokens").filter(_FREE & total & pl.col("running"))
    lines = pl.col("input_tokens").filter(_FREE & line)
    return ((totals.len() > 0) & (lines.sum() > totals.sum())).over(
        "source", thread, "path", "model"
    )


def _mark_lesser_records_of_run(rows: pl.DataFrame) -> pl.DataFrame:
    """Of the records that a tool keeps of one run, one kind counts, the others are witnesses."""
    lesser = lesser_records_of_run(rows.filter(_FREE)).rename({"run": "_run"})
    of = pl.concat_str("source", pl.lit(":"), "_run")
    return (
        beside(rows, lesser).pipe(mark, pl.col("_run").is_not_null(), of, "same-run").drop("_run")
    )


def _mark_threads_with_counts(rows: pl.DataFrame) -> pl.DataFrame:
    """A thread without counts is no thread without counts where another file counts it."""
    holder = pl.coalesce("log_source", "source")
    counts = (_FREE & pl.col("kind").is_in([CALL, SUM])).any().over(holder, "thread_id")
    of = pl.concat_str("source", pl.lit(":"), "thread_id")
    named = (pl.col("kind") == THREAD) & pl.col("thread_id").is_not_null()
    return mark(rows, _FREE & named & counts, of, "same-record")


_STAGES: Final[dict[str, tuple[pl.Expr, Callable[[pl.DataFrame], pl.DataFrame]]]] = {
    "repeats": (pl.col("repeat").is_not_null(), _mark_repeats),
    "histories": (pl.col("history") != OWN, _mark_replayed_history),
    "calls": (pl.lit(value=True), _mark_same_call),
    "compactions": (is_compaction(), _mark_recorded_compactions),
    "captures": (_is_capture("evidence"), _mark_captures),
    "records of runs": (pl.col("evidence").is_in(TELLING), _mark_lesser_records_of_run),
    "elsewhere": (_is_seen_elsewhere(), mark_stated_elsewhere),
    "threads": (pl.col("kind") == THREAD, _mark_threads_with_counts),
    "workspaces": (is_run(), take_logged),
    "routes": (_may_be_routed(), mark_forwarded),
}


def _flag(rows: pl.DataFrame) -> pl.DataFrame:
    """Puts on the counted rows what only the settled calls can tell."""
    stated = _FREE & pl.col("kind").is_in([CALL, SUM])
    codes = [
        ("no-model", stated & pl.col("model").is_null()),
        ("no-time", _FREE & pl.col("timestamp").is_null()),
        ("only-copy", _FREE & (pl.col("evidence") == COPY)),
    ]
    if (~rows["finished"]).any():
        begun = pl.col("row").is_in(_placeholders(rows).implode())
        codes.insert(2, (PLACEHOLDER_OUTPUT, stated & begun))
    return with_problems(rows, *codes).pipe(_without_what_is_stated_elsewhere)


def _placeholders(rows: pl.DataFrame) -> pl.Series:
    """The rows whose output is no more than what its stream had brought when they were written.

    No record of their call is final, and all agree on the output: where one states more than
    another, the last count has come, for a stream states none between its first event and that. Of
    a stream that broke off, as an event says of its call, it is so whatever the records say. A call
    that a log has a cost of was finished.
    """
    facts = ("row", "kind", "evidence", "finished", "output_tokens", "reported_cost_usd")
    narrow = rows.select(*facts, _call=pl.col("call_id").hash())
    doubted = narrow.filter(~pl.col("finished"))["_call"].unique()
    related = narrow.filter(pl.col("_call").is_in(doubted.implode()))
    ended = related.filter("finished")["_call"].implode()
    cut_off = related.filter(pl.col("kind") == EVENT, ~pl.col("finished"))["_call"].implode()
    is_call, output = pl.col("kind") == CALL, pl.col("output_tokens")
    is_open = (
        ~pl.col("finished")
        & (is_call | (pl.col("evidence") == CAPTURE_TOTAL))
        & (output == output.min().over("_call")).fill_null(value=True)
        & (pl.col("reported_cost_usd").is_null() | ~is_call)
    )
    left = related.filter(~pl.col("_call").is_in(ended)).filter(is_open)
    return pl.concat([related.filter(pl.col("_call").is_in(cut_off))["row"], left["row"]])


def _without_what_is_stated_elsewhere(rows: pl.DataFrame) -> pl.DataFrame:
    """What a duplicate leaves unsaid is no problem: the row that counts says it or is flagged."""
    return without_problems(rows, pl.col("duplicate_of").is_not_null(), SAID_OF_COUNTED)
