"""Puts beside each call the evidence that may answer it: by an id, else by who, what and when."""

from __future__ import annotations

from typing import Final

import polars as pl

from tallybook.backfill.columns import COUNTS, SEEN
from tallybook.backfill.words import DETAIL
from tallybook.normalize import dialect_holds

# Microseconds between a row and the detail of the same request: what is usual, and what is allowed.
NEAR: Final = 250_000
TOLERANCE: Final = 2_000_000
# A captured answer is stamped when it began, and a row when it ended.
LONGEST_ANSWER: Final = 15 * 60 * 1_000_000
_WHO: Final = ("source", "provider", "model", "connection_id")
_COMPARED: Final = ("group", "method", "dialect", "open", "time", "problems")
_PROMPT: Final = ("seen_uncached", "seen_cached", "seen_creation", "seen_unsplit")


def by_link(calls: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """Pairs that share the provider's response id, a request id, or the word of the reader.

    A request id is given out by the tool that logs it, so it only counts within one source.
    """
    found = [
        _joined(calls, evidence, ["call_id"], ["seen_answers"]),
        _joined(calls, evidence, ["response_id"], ["seen_response_id"]),
        _joined(calls, evidence, ["source", "request_id"], ["seen_source", "seen_request_id"]),
    ]
    pairs = pl.concat(found).unique().sort("call", "evidence")
    return _beside(pairs, calls, evidence).with_columns(distance=pl.lit(0, pl.Int64))


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
    return _beside(close.sort("call", "evidence"), calls, evidence)


def _numbered(calls: pl.DataFrame, outputs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both with a number `who` in place of the texts that say so, which are long and few."""
    known = calls.select(_WHO).unique().with_row_index("who")
    seen = [f"{SEEN}{name}" for name in _WHO]
    asked = calls.select("call", *_WHO, "output", "time").join(known, on=_WHO, nulls_equal=True)
    answers = outputs.join(known, left_on=seen, right_on=_WHO, nulls_equal=True)
    return asked.drop(_WHO), answers.drop(seen)


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
    return _beside(found, calls, evidence)


def _same_model() -> pl.Expr:
    """Whether two names of a model are the same but for the vendor before and a date after it."""
    one, other = (
        pl.col(name).str.replace(r"^.*/", "").str.to_lowercase() for name in ("model", "seen_model")
    )
    dash = pl.lit("-")
    return (one == other) | other.str.starts_with(one + dash) | one.str.starts_with(other + dash)


def elsewhere(calls: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """Calls that some answer fits in everything but its time, at whatever distance."""
    keys = [*_WHO, "output", "prompt"]
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
    names = [*(f"{SEEN}{name}" for name in _WHO), "seen_time", *_PROMPT]
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
            by_left=list(_WHO),
            by_right=names[: len(_WHO)],
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
    names = ["evidence", *(f"{SEEN}{name}" for name in _WHO), "seen_output", "seen_time", *more]
    outside = ~dialect_holds("output_holds_reasoning", "seen_dialect")
    bare = evidence.filter(outside & (pl.col("seen_reasoning") > 0)).with_columns(
        seen_output=pl.col("seen_output") - pl.col("seen_reasoning")
    )
    return pl.concat([evidence.select(names), bare.select(names)])


def _beside(pairs: pl.DataFrame, calls: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """The pairs with what is compared; whatever else is asked of a side is looked up later."""
    said = calls.select("call", "source", "open", "time", *COUNTS)
    answers = [f"{SEEN}{name}" for name in (*_COMPARED, *COUNTS)]
    return pairs.join(said, on="call", how="left", maintain_order="left").join(
        evidence.select("evidence", *answers), on="evidence", how="left", maintain_order="left"
    )
