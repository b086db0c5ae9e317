"""Finds the evidence for calls with unknown counts, and pairs what answers what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import polars as pl

from tallybook import schema
from tallybook.backfill.remainders import Told, told
from tallybook.derive.corrections import (
    COUNTS,
    INPUT_COUNTS,
    OUTPUT_COUNTS,
    SEEN,
    at_begin,
    recorded,
    true,
    whole_prompt,
)
from tallybook.derive.duplicates.routes import STORED
from tallybook.derive.normalize import dialect_holds
from tallybook.derive.problems import has_problem
from tallybook.sources import sources
from tallybook.values import names_in

# How the evidence was kept, in the order in which it is believed.
TWIN: Final = "twin"  # a second record of the call, whose counts were not stripped
DETAIL: Final = "detail"  # the counts of a detail record, kept apart from any body
BODY: Final = "response"  # the provider's answer itself
EVENTS: Final = "events"  # the events of a run
METHODS: Final = (TWIN, DETAIL, BODY, EVENTS)

# What a source says of its rows; see `Source`.
FALSE_ZEROS: Final = tuple(name for name, source in sources().items() if source.false_zeros)
BUFFERED: Final[Mapping[str, int]] = {
    name: source.prompt_surplus for name, source in sources().items() if source.prompt_surplus
}
EVENT_SOURCES: Final = tuple(name for name, source in sources().items() if source.keeps_events)
BEGAN: Final = tuple(source.began for source in sources().values() if source.began)

# Microseconds between a row and the detail of the same request: what is usual, and what is allowed.
NEAR: Final = 250_000
TOLERANCE: Final = 2_000_000
# A captured answer is stamped when it began, and a row when it ended.
LONGEST_ANSWER: Final = 15 * 60 * 1_000_000
_PARTIES: Final = ("source", "provider", "model", "connection_id")
_COMPARED: Final = names_in("group method dialect open is_first time problems disagrees")
_PROMPT: Final = ("seen_uncached", "seen_cached", "seen_creation", "seen_unsplit")


def by_link(calls: pl.DataFrame, names: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """Pairs that share the provider's response id, a request id, or the word of the reader.

    A request id is given out by the tool that logs it, so it only counts within one source. `names`
    (`call_id` and ids) are those that the call has in any of its records, whichever of them counts.
    """
    known = names.join(calls.select("call", "call_id"), on="call_id")
    found = [
        _joined(calls, evidence, ["call_id"], ["seen_answers"]),
        _joined(known, evidence, ["response_id"], ["seen_response_id"]),
        _joined(known, evidence, ["source", "request_id"], ["seen_source", "seen_request_id"]),
    ]
    pairs = pl.concat(found).unique().sort("call", "evidence")
    return _beside(pairs, calls, evidence).with_columns(
        distance=pl.lit(0, pl.Int64),
        # What an id proves needs no counts that agree; so the final ones may replace the first.
        begun=true(pl.col("begun")),
    )


def by_time(calls: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """Pairs of one source, provider, model and connection whose output and time may be the same.

    An output that one of the two does not state is paired with any.
    """
    evidence = evidence.filter(~pl.col("seen_is_twin"), pl.col("seen_provider").is_not_null())
    asked, outputs = _numbered(calls, _outputs(evidence))
    slots = asked.with_columns(
        slot=pl.concat_list([pl.col("time") // TOLERANCE + step for step in (-1, 0, 1)])
    ).explode("slot")
    outputs = outputs.with_columns(slot=pl.col("seen_time") // TOLERANCE)
    silent, stated = pl.col("output").is_null(), pl.col("seen_output").is_not_null()
    found = [
        _met(slots.filter(~silent), outputs.filter(stated), "output"),
        _met(slots.filter(silent), outputs),
        _met(slots.filter(~silent), outputs.filter(~stated)),
    ]
    close = pl.concat(found).filter(pl.col("distance").abs() <= TOLERANCE).unique()
    return _by_counts(_beside(close.sort("call", "evidence"), calls, evidence))


def _numbered(calls: pl.DataFrame, outputs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both with a number `who` in place of the texts that say so, which are long and few."""
    known = calls.select(_PARTIES).unique().with_row_index("who")
    seen = [f"{SEEN}{name}" for name in _PARTIES]
    asked = calls.select("call", *_PARTIES, "output", "time").join(
        known, on=_PARTIES, nulls_equal=True
    )
    answers = outputs.join(known, left_on=seen, right_on=_PARTIES, nulls_equal=True)
    return asked.drop(_PARTIES), answers.drop(seen)


def _met(slots: pl.DataFrame, outputs: pl.DataFrame, *same: str) -> pl.DataFrame:
    """Pairs of one `who` and one time slot, and with the `same` counts."""
    pairs = slots.join(
        outputs,
        left_on=["who", "slot", *same],
        right_on=["who", "slot", *(f"{SEEN}{name}" for name in same)],
        nulls_equal=True,
    )
    return pairs.select("call", "evidence", distance=pl.col("seen_time") - pl.col("time"))


def by_capture(calls: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """Pairs of a call and an answer that was kept by something else than the call's own tool.

    Such an answer names no connection, and its provider in words of its own. So nothing but its
    model, its counts and its time speak for it: the call must have ended soon after it began.
    """
    foreign = evidence.filter(
        pl.col("seen_connection_id").is_null(),
        ~pl.col("seen_is_twin"),
        pl.col("seen_time").is_not_null(),
    )
    known = calls.select("call", "source", "provider", "model", "output", "time").drop_nulls(
        ["model", "output", "time"]
    )
    outputs = _outputs(foreign).drop_nulls("seen_output")
    pairs = known.join(outputs, left_on="output", right_on="seen_output", how="inner")
    took = pl.col("time") - pl.col("seen_time")
    kept_elsewhere = (pl.col("seen_source") != pl.col("source")) | pl.col("seen_provider").is_null()
    found = pairs.filter(kept_elsewhere, took.is_between(-TOLERANCE, LONGEST_ANSWER), _same_model())
    found = found.select("call", "evidence", distance=-took).unique().sort("call", "evidence")
    return _by_counts(_beside(found, calls, evidence))


def _same_model() -> pl.Expr:
    """Whether two names of a model are the same but for the vendor before and a date after it."""
    one, other = (
        pl.col(name).str.replace(r"^.*/", "").str.to_lowercase() for name in ("model", "seen_model")
    )
    dash = pl.lit("-")
    return (one == other) | other.str.starts_with(one + dash) | one.str.starts_with(other + dash)


def elsewhere(calls: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """Calls that some answer fits in everything but its time, at whatever distance."""
    keys = [*_PARTIES, "output", "prompt"]
    prompts = pl.concat_list(pl.sum_horizontal(*_PROMPT), *_PROMPT[:1])
    asked = calls.filter(pl.col("output").is_not_null()).with_columns(
        prompt=pl.sum_horizontal(name.removeprefix(SEEN) for name in _PROMPT)
    )
    answers = (
        _outputs(evidence.filter(~pl.col("seen_is_twin")), *_PROMPT)
        .with_columns(prompt=prompts)
        .explode("prompt")
    )
    fits = answers.rename(lambda name: name.removeprefix(SEEN)).select(keys).unique()
    return asked.filter(pl.col("prompt") > 0).join(fits, on=keys, how="semi", nulls_equal=True)


def miscounted(calls: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """Calls whose nearest answer in time states the same prompt and another output."""
    names = [*(f"{SEEN}{name}" for name in _PARTIES), "seen_time", *_PROMPT]
    near = (
        calls.drop_nulls("time")
        .sort("time")
        .join_asof(
            # Of equally near ones the last is taken: the detail, whose prompt nobody altered.
            evidence.filter(~pl.col("seen_is_twin"))
            .drop_nulls("seen_time")
            .sort("seen_time", pl.col("seen_method") == DETAIL)
            .select(names),
            left_on="time",
            right_on="seen_time",
            by_left=list(_PARTIES),
            by_right=names[: len(_PARTIES)],
            strategy="nearest",
            tolerance=TOLERANCE,
            check_sortedness=False,
        )
    )
    total = pl.sum_horizontal(name.removeprefix(SEEN) for name in _PROMPT)
    same = (total == pl.sum_horizontal(*_PROMPT)) | (total == pl.col(_PROMPT[0]))
    return near.filter(same & (total > 0))


def _joined(
    calls: pl.DataFrame, evidence: pl.DataFrame, asked: list[str], answered: list[str]
) -> pl.DataFrame:
    known = calls.select("call", *asked).drop_nulls()
    answers = evidence.select("evidence", *answered).drop_nulls()
    pairs = known.join(answers, left_on=asked, right_on=answered, how="inner")
    return pairs.select("call", "evidence")


def _outputs(evidence: pl.DataFrame, *more: str) -> pl.DataFrame:
    """The evidence under each output that its call may state: with and without its reasoning."""
    names = ["evidence", *(f"{SEEN}{name}" for name in _PARTIES), "seen_output", "seen_time", *more]
    outside = ~dialect_holds("output_holds_reasoning", "seen_dialect")
    bare = evidence.filter(outside & (pl.col("seen_reasoning") > 0)).with_columns(
        seen_output=pl.col("seen_output") - pl.col("seen_reasoning")
    )
    return pl.concat([evidence.select(names), bare.select(names)])


def _by_counts(pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs where only counts that agree are a proof, the first ones as well as the last."""
    return pairs.with_columns(begun=pl.lit(value=False))


def _beside(pairs: pl.DataFrame, calls: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """The pairs with what is compared; whatever else is asked of a side is looked up later."""
    said = calls.select("call", "source", "open", "begun", "time", *COUNTS)
    answers = [f"{SEEN}{name}" for name in (*_COMPARED, *COUNTS)]
    return pairs.join(said, on="call", how="left", maintain_order="left").join(
        evidence.select("evidence", *answers), on="evidence", how="left", maintain_order="left"
    )


_WHO: Final = (*_PARTIES, "response_id", "request_id", "problems")
_WHERE: Final = ("path", "record", "part")


class Gathered(NamedTuple):
    """The calls, their names, the evidence, and what the clients state of several calls.

    `yielded` are calls that another source's record counts for; what answers them is in no doubt.
    """

    calls: pl.DataFrame
    yielded: pl.DataFrame
    names: pl.DataFrame
    evidence: pl.DataFrame
    told: Told


def gather(batches: Iterable[pl.LazyFrame], zone: str) -> Gathered:
    """What is compared of USAGE rows of every kind.

    See `_calls`, `_names`, `_evidence` and `told`. Of each batch no more is held.
    """
    stated = pl.col("kind").is_in([schema.CALL, schema.SUM])
    found = [
        pl.collect_all(
            [
                _calls(rows.filter(stated & pl.col("duplicate_of").is_null())),
                _calls(rows.filter(_has_yielded())),
                _names(rows),
                _evidence(rows, zone),
                *told(rows),
            ]
        )
        for rows in batches
    ]
    parts = (pl.concat(part) for part in zip(*found, strict=True))
    calls, yielded, names, evidence, *totals = parts
    evidence = _with_disagreement(_without_copies(evidence, calls))
    return Gathered(
        # A call id that stands on several rows cannot say which of them a correction means.
        calls.filter(pl.col("call_id").is_unique()).with_row_index("call"),
        yielded.with_row_index("call"),
        names,
        evidence.with_columns(pl.col("seen_group").rank("dense")).with_row_index("evidence"),
        Told(*totals),
    )


def _names(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The ids of each call in all of its records: a copy may have one that the other lost."""
    ids = ("response_id", "request_id")
    stated = pl.col("kind").is_in([schema.CALL, schema.SUM]) & pl.any_horizontal(
        pl.col(name).is_not_null() for name in ids
    )
    call = pl.coalesce("duplicate_of", "call_id").alias("call_id")
    return rows.filter(stated).select(call, "source", *ids).unique()


def _without_copies(evidence: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Leaves out what repeats its call: a copy of the record in another file proves nothing."""
    said = ["call_id", *COUNTS]
    seen = ["seen_answers", *(f"{SEEN}{name}" for name in COUNTS)]
    others = evidence.filter("seen_is_twin").join(
        calls.select(said), left_on=seen, right_on=said, how="anti", nulls_equal=True
    )
    return pl.concat([evidence.filter(~pl.col("seen_is_twin")), others])


def _with_disagreement(evidence: pl.DataFrame) -> pl.DataFrame:
    """Adds `seen_disagrees`: another stored answer of the same id states other counts.

    One that states less does not. A router's own records differ by what it adds to them, and are
    judged beside each other in their group.
    """
    split = ("uncached", "cached", "creation")
    prompts = [f"{SEEN}{name}" for name in (*split, "unsplit")]
    is_whole = (pl.col("seen_unsplit").fill_null(0) > 0) | pl.all_horizontal(
        pl.col(prompts[:2]).is_not_null()
    )
    answers = evidence.filter(
        pl.col("seen_response_id").is_not_null(),
        pl.col("seen_method") == BODY,
        ~pl.col("seen_source").is_in(list(BUFFERED)),
        ~pl.col("seen_open"),
    ).with_columns(_prompt=pl.when(is_whole).then(pl.sum_horizontal(prompts)))
    counts = ("_prompt", *prompts[: len(split)], "seen_output")
    disagree = (
        answers.group_by("seen_response_id")
        .agg((pl.col(counts).drop_nulls().n_unique() > 1).name.keep())
        .filter(pl.any_horizontal(counts))
    )
    is_one = pl.col("seen_response_id").is_in(disagree["seen_response_id"].implode())
    return evidence.with_columns(seen_disagrees=is_one.fill_null(value=False))


def _has_yielded() -> pl.Expr:
    """The rows of calls of which another source's record counts."""
    return (pl.col("kind") == schema.CALL) & pl.col("duplicate_reason").is_in(
        [schema.WITNESS, schema.PROBABLY_SAME]
    )


def _calls(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Calls and sums: identity, counts, what is unknown (`needs_input`, ...).

    `open` tells the calls where the reader could only guess whether the prompt count holds the
    cached tokens.
    """
    return (
        rows.select(
            "call_id",
            "dialect",
            *_WHO,
            *_counts(),
            _time(),
            open=in_doubt(),
            begun=at_begin(),
            alike=_alike(),
        )
        .with_columns(
            needs_input=(pl.col("unsplit").fill_null(0) > 0)
            | ~whole_prompt()
            # A whole split may be the guess of a tool that is known to have lost counts.
            | (pl.col("open") & pl.col("source").is_in(FALSE_ZEROS)),
            needs_output=pl.col("output").is_null() | has_problem(schema.PLACEHOLDER_OUTPUT),
            recorded_input=recorded(INPUT_COUNTS),
            recorded_output=recorded(OUTPUT_COUNTS),
        )
        .drop("dialect")
    )


def _alike() -> pl.Expr:
    """Equal for calls that differ in nothing that a sum is asked by, nor in what a token costs."""
    terms = ("service_tier", "speed", "inference_geo", "web_search_requests")
    whose = (*_PARTIES, "thread_id", "root_thread_id", "caller", "project")
    # The shortest step in which the days and hours of any two zones lie apart.
    when = pl.col("timestamp").dt.truncate("15m")
    return pl.struct(*whose, *terms, "dialect", *COUNTS.values(), when).hash()


def _evidence(rows: pl.LazyFrame, zone: str) -> pl.LazyFrame:
    """The stored answers and twins, a row each; `seen_group` is the record they stand in.

    Captures lie in folders that are named by the time in `zone` at which the request began.
    """
    # What lost against the row that counts may still state what that one does not.
    lost = pl.col("duplicate_of").is_not_null() & pl.col("kind").is_in([schema.CALL, schema.SUM])
    twin = lost & pl.col("source").is_in(FALSE_ZEROS)
    # A stored answer that yielded to a client's call, since another one contradicts it.
    yielded = lost & (pl.col("source") == STORED) & pl.col("response_id").is_not_null()
    answer = (pl.col("kind") == schema.RESPONSE) & ~pl.col("part").is_in(
        schema.AGENT_ENDS
    ).fill_null(value=False)
    kept = rows.filter(answer | twin | yielded).select(
        *_WHO,
        *_WHERE,
        "dialect",
        *_final_counts(),
        _time(_of_folder(zone)),
        # An estimate proves nothing, however well it fits.
        open=_open() | has_problem("estimated"),
        method=_method(twin),
        is_twin=twin,
        is_first=_is_first(),
        # A reader that knows whose answer it is gives it the identity of that call.
        answers=pl.when(twin | yielded).then("duplicate_of").otherwise("call_id"),
        group=pl.coalesce(
            pl.concat_str("source", pl.lit(":"), pl.col("record_id")),
            pl.concat_str("path", pl.lit(":"), pl.col("record").cast(pl.String)),
        ),
    )
    return kept.rename(lambda name: f"{SEEN}{name}")


def _counts() -> list[pl.Expr]:
    return [pl.col(bucket).alias(name) for name, bucket in COUNTS.items()]


def _final_counts() -> list[pl.Expr]:
    """The counts of an answer; one that broke off states no output, only what had come of it."""
    is_final = pl.col("finished").fill_null(value=True)
    return [
        count if name in INPUT_COUNTS else pl.when(is_final).then(count).alias(name)
        for name, count in zip(COUNTS, _counts(), strict=True)
    ]


def _is_first() -> pl.Expr:
    """Whether a router's own record of an answer may state the count that its stream began with.

    That is one without any word of reasoning.
    """
    untold = pl.col("finished").is_null() & pl.col("reasoning_output_tokens").is_null()
    little = true(pl.col("output_tokens") <= schema.MOST_AT_BEGIN)
    return untold & little & pl.col("source").is_in(FALSE_ZEROS)


def _time(otherwise: pl.Expr | None = None) -> pl.Expr:
    stated = pl.col("timestamp").dt.epoch("us")
    return (stated if otherwise is None else pl.coalesce(stated, otherwise)).alias("time")


def _of_folder(zone: str) -> pl.Expr:
    """The time in a path, in microseconds; the first that a source's form of it finds."""
    found = [
        pl.col("path").str.extract(path).str.to_datetime(form, time_unit="us", strict=False)
        for path, form in BEGAN
    ]
    local = pl.coalesce(found)
    placed = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return placed.dt.epoch("us")


def _open() -> pl.Expr:
    inputs = [COUNTS[name] for name in INPUT_COUNTS if name != "creation_1h"]
    guessed = [true(pl.col(f"{bucket}_origin") == schema.ASSUMED) for bucket in inputs]
    return pl.any_horizontal(*guessed, has_problem("ambiguous-dialect"))


def in_doubt() -> pl.Expr:
    """Whether a row's prompt was guessed, or may be wrong as its reader says."""
    return _open() | pl.any_horizontal(has_problem(code) for code in schema.PERHAPS_MORE)


def _method(twin: pl.Expr) -> pl.Expr:
    return (
        pl.when(twin)
        .then(pl.lit(TWIN))
        .when(pl.col("source").is_in(EVENT_SOURCES))
        .then(pl.lit(EVENTS))
        .when(true(pl.col("part") == "tokens"))
        .then(pl.lit(DETAIL))
        .otherwise(pl.lit(BODY))
    )
