"""The made history, filled: what can be proved is right to the token, the rest says why not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from tallybook.backfill.propose import REASONS
from tallybook.derive.corrections import apply
from tests.backfill.history import EVICTED, KEPT, Made, history
from tests.backfill.pairs import propose
from tests.backfill.stated import settled_history

Rows = dict[int, dict[str, Any]]
COUNTS = ("uncached_input_tokens", "cached_input_tokens", "cache_creation_input_tokens")


def filled(made: list[Made]) -> tuple[Rows, dict[str, str]]:
    """The counted rows after backfill by their output, which is unique, and the reasons by call."""
    rows = settled_history(made)
    proposal = propose(rows)
    after = apply(rows, proposal.corrections)
    counted = after.filter(pl.col("kind") == "call", pl.col("duplicate_of").is_null())
    reasons = dict(proposal.unrecoverable.select("call_id", "reason").iter_rows())
    return {row["output_tokens"]: row for row in counted.iter_rows(named=True)}, reasons


def row_of(one: Made, rows: Rows) -> dict[str, Any]:
    bare = one.truth.output - one.truth.reasoning
    return rows[one.truth.output if one.truth.output in rows else bare]


def is_exact(one: Made, row: dict[str, Any]) -> bool:
    """Whether the row states what the request really used; no writes may also be not stated."""
    uncached, cached, creation = (row[name] for name in COUNTS)
    # Without its detail nothing tells that a row left out the reasoning.
    bare = one.fate == EVICTED and one.route.name == "gemini-openai"
    output = one.truth.output - (one.truth.reasoning if bare else 0)
    return bool(
        (uncached, cached, creation or 0) == one.truth[:3]
        and row["output_tokens"] == output
        and row["unsplit_input_tokens"] == 0
    )


def is_suspect(one: Made) -> bool:
    """Whether a right row looks like one with the cache added twice, and nothing clears it."""
    return one.fate == EVICTED and one.route.name.startswith("claude-openai")


def is_least(one: Made, row: dict[str, Any]) -> bool:
    """Whether the row states what was used if its cache is in its prompt twice, and says so."""
    uncached, cached, creation = (row[name] for name in COUNTS)
    more = row["perhaps_uncached_tokens"]
    same = (cached, creation) == one.truth[1:3] and more == cached + creation
    return bool(same and one.truth.uncached in {uncached, uncached + more})


def is_untouched(one: Made, row: dict[str, Any]) -> bool:
    if one.zero:
        return bool(row["cached_input_tokens"] == one.rows[0]["tokens"]["cached_tokens"])
    return row["cached_input_tokens"] is None


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_provable_call_is_filled_exactly_and_no_other(seed: int) -> None:
    made = history(1200, seed)
    rows, reasons = filled(made)
    wrong = []
    for one in made:
        row = row_of(one, rows)
        reason = reasons.get(row["call_id"])
        fine = (
            is_exact(one, row) and (reason is None or is_suspect(one))
            if one.lost is None
            else is_untouched(one, row) and (one.zero or reason == one.lost)
        )
        if not fine:
            wrong.append((one.route.name, one.era, one.fate, one.lost, one.truth, row, reason))
    assert wrong == []
    assert set(reasons.values()) <= set(REASONS)


def later(one: Made) -> None:
    assert one.detail
    one.detail["timestamp"] += timedelta(seconds=3)


def more_input(one: Made) -> None:
    for row in one.rows:
        row["tokens"]["prompt_tokens"] += 1


def more_output(one: Made) -> None:
    for row in one.rows:
        row["tokens"]["completion_tokens"] += 1


def other_account(one: Made) -> None:
    assert one.detail
    one.detail["connectionId"] = "another"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (later, {"outside-tolerance"}),
        (more_input, {"input-disagrees"}),
        (more_output, {"output-disagrees"}),
        (other_account, {"no-response-kept"}),
    ],
)
def test_what_no_longer_fits_is_refused(change: Callable[[Made], None], reason: set[str]) -> None:
    made = [one for one in history(600) if is_filled_by_detail(one)]
    for number, one in enumerate(made):
        apart(one, number)
        change(one)
    rows, reasons = filled(made)
    assert set(reasons.values()) == reason
    assert len(reasons) == len(made)
    assert all(row["cached_input_tokens"] is None for row in rows.values())


def is_filled_by_detail(one: Made) -> bool:
    """Whether the row states no cached count and its detail proves one."""
    return one.fate == KEPT and one.lost is None and one.era == "stripped"


def apart(one: Made, number: int) -> None:
    """Puts a request at a time of its own."""
    assert one.detail
    for stamped in (*one.rows, one.detail):
        stamped["timestamp"] += timedelta(minutes=number)


def test_details_that_contradict_each_other_fill_nothing() -> None:
    made = [one for one in history(600) if is_filled_by_detail(one)]
    rows = settled_history(made)
    answers = pl.col("kind") == "response"
    other = rows.filter(answers, pl.col("cached_input_tokens") > 0).with_columns(
        record_id=pl.lit("copy-") + pl.col("record_id"),
        record=pl.col("record") + 10_000,
        cached_input_tokens=pl.col("cached_input_tokens") - 1,
        uncached_input_tokens=pl.col("uncached_input_tokens")
        + pl.when(pl.col("dialect") != "anthropic").then(1).otherwise(0),
    )
    proposal = propose(pl.concat([rows, other]))
    doubted = rows.join(other, on=["provider", "model", "output_tokens"], how="semi")
    calls = doubted.filter(~answers, pl.col("cached_input_tokens").is_null())
    filled_calls = set(proposal.corrections.filter(pl.col("direction") == "input")["call_id"])
    assert calls.height > 10
    assert not filled_calls & set(calls["call_id"])
    assert set(proposal.unrecoverable["reason"]) == {"ambiguous-match"}


def test_a_detail_that_was_kept_twice_fills_its_call_all_the_same() -> None:
    made = [one for one in history(600) if is_filled_by_detail(one)]
    rows = settled_history(made)
    answers = rows.filter(pl.col("kind") == "response")
    again = answers.with_columns(path=pl.lit("backups/data.sqlite"))
    twice = answers.with_columns(record_id=pl.lit("other-") + pl.col("record_id"))
    once, more = propose(rows), propose(pl.concat([rows, again, twice]))
    counts = [name for name in once.corrections.columns if not name.startswith("evidence")]
    assert more.corrections.select(counts).equals(once.corrections.select(counts))
    assert more.unrecoverable.is_empty()


def test_filling_twice_changes_nothing_more() -> None:
    rows = settled_history(history(400))
    once = apply(rows, propose(rows).corrections)
    again = propose(once.drop("backfill_method", "backfill_path", "backfill_record"))
    assert again.corrections.is_empty()
