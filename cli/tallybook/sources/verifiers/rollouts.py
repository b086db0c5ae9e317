"""Rows of the v0 family: a sum each, or the calls that it is the sum of where they were saved."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from msgspec import UNSET

from tallybook.schema import ASSERTION, CALL, EVENT, RESPONSE, SUM, THREAD, Reported
from tallybook.sources.verifiers.lines import Line, Metrics, Timing, TokenUsage
from tallybook.sources.verifiers.run import Run
from tallybook.sources.verifiers.turns import (
    READS_OUTSIDE,
    SUBAGENT,
    WHOLE_PROMPT,
    Answer,
    add_problems,
    answers,
    put_dialect,
    rollout_rows,
)
from tallybook.values import count, instant

# How the OpenAI client begins to say with what status a provider refused; Anthropic's does as well.
_REFUSED: Final = re.compile(rb"Error code: [45]\d\d\b")
_MISMATCH: Final = "total-mismatch"


class Totals(NamedTuple):
    """Tokens in and out of several calls, and how many calls, as far as stated."""

    input: int | None = None
    output: int | None = None
    calls: int | None = None

    @property
    def tokens(self) -> tuple[int, int]:
        """In and out; what is not stated adds nothing."""
        return self.input or 0, self.output or 0

    @property
    def says_something(self) -> bool:
        """Zeros in both were written where the answers came without counts."""
        return any(self.tokens)


class Rollout(NamedTuple):
    """A v0 rollout: what its rows have in common, and all that it states of its calls."""

    line: Line
    template: Reported
    answers: Sequence[Answer]
    stated: Totals  # the sum that the program kept
    outer: Totals  # metrics of the outer model, in environments with a model inside a model
    inner: Totals  # metrics of the models that it called

    @property
    def sum(self) -> Totals:
        """The rollout's own sum, or what the oldest builds have instead."""
        return self.stated if self.stated.says_something else self.outer


def read_rollout(
    line: Line, metrics: Metrics, run_id: str | None, record: int, run: Run
) -> list[Reported]:
    """Rows of one rollout: its own sum first, then the answers that were saved with it.

    It has no id of its own, so it is known by that of its run and its place there.
    """
    problems: list[str] = []
    found = answers(line)
    template = _template(line, found, run_id, record, run)
    stated = _stated(line.token_usage, problems)
    outer, inner = _outer(metrics, problems), _inner(metrics, problems)
    rollout = Rollout(line, template, found, stated, outer, inner)
    first = copy.copy(template)
    _put_sum(first, rollout, run)
    saved = _saved(first, rollout, run)
    rows = saved if first.kind == THREAD and saved else [first, *saved]
    rows += _inner_rows(first, rollout, run)
    add_problems(rows[0], problems)
    return rows


def _template(
    line: Line, found: Sequence[Answer], run_id: str | None, record: int, run: Run
) -> Reported:
    timing = line.timing or Timing()
    named = next((answer.thread for answer in found if answer.thread and not answer.is_inner), None)
    begun = instant(timing.start_time)
    return Reported(
        record=record,
        kind=CALL,
        thread_id=named or f"{run_id}/{record}",
        project=run.project,
        provider=run.provider,
        model=run.model,
        timestamp=begun or run.saved,
        identity=_identity(line, timing) if begun else None,
        problems=["assumed-time"] if run.saved and not begun else None,
    )


def _identity(line: Line, timing: Timing) -> str:
    """No id was written. The start in fractions of a microsecond and the time taken are as good."""
    example = line.example_id if isinstance(line.example_id, int | str) else ""
    taken = timing.total_ms if timing.total is None else timing.total
    return f"{example}@{timing.start_time!r}+{taken if isinstance(taken, int | float) else ''!r}"


def _stated(usage: TokenUsage | None, problems: list[str]) -> Totals:
    if usage is None:
        return Totals()
    return Totals(count(usage.input_tokens, problems), count(usage.output_tokens, problems))


def _outer(metrics: Metrics, problems: list[str]) -> Totals:
    """What the outer model used, by whichever of its names the environment had for it."""
    m = metrics
    names = (
        (m.root_llm_prompt_tokens, m.root_llm_completion_tokens, m.root_llm_turns),
        (m.main_rlm_prompt_tokens, m.main_rlm_completion_tokens, m.main_rlm_turns),
        (m.main_prompt_tokens, m.main_completion_tokens, m.main_turns),
    )
    values = next((each for each in names if each[0] is not None), ())
    return Totals(*(count(value, problems) for value in values))


def _inner(metrics: Metrics, problems: list[str]) -> Totals:
    """What the models that the outer one called used.

    Turns are calls. What is counted as calls are questions, each of which takes more turns where
    the inner model has tools.
    """
    m = metrics
    stated = [m.sub_llm_total_turns, m.sub_llm_turns]
    if not m.sub_llm_total_tool_calls:
        stated += [m.sub_llm_call_count, m.sub_llm_count]
    turns = next((number for number in stated if number is not None), None)
    counts = (m.sub_llm_prompt_tokens, m.sub_llm_completion_tokens, turns)
    return Totals(*(count(value, problems) for value in counts))


def _put_sum(row: Reported, rollout: Rollout, run: Run) -> None:
    """What the rollout states of all its calls together."""
    totals = rollout.sum
    row.calls = rollout.outer.calls if totals.tokens == rollout.outer.tokens else None
    if not totals.says_something:
        row.kind, row.identity, row.rule = THREAD, None, "v0/no-usage"
        if _is_refused(rollout.line):
            row.kind, row.calls, row.rule = EVENT, None, "v0/refused"
        else:
            add_problems(row, ("no-counts",))
        return
    row.kind = SUM
    row.reported_input_tokens, row.reported_output_tokens = totals.input, totals.output
    usage = rollout.line.token_usage if totals is rollout.stated else None
    era = _era(usage)
    if usage is not None and usage.cached_input_tokens is not None:
        problems: list[str] = []
        row.reported_cached_tokens = count(usage.cached_input_tokens, problems)
        row.dialect, row.rule = READS_OUTSIDE, f"{era}/reads-outside"
        add_problems(row, problems)
    elif rollout.line.oai_tools is not UNSET:
        # The key went with the builds that spoke OpenAI's protocol only.
        row.dialect, row.rule = WHOLE_PROMPT, f"{era}/openai"
    else:
        put_dialect(row, era, run, rollout.answers[0].id if rollout.answers else None)


def _is_refused(line: Line) -> bool:
    """Whether the provider itself said no before any answer came."""
    if line.num_turns != 0 or line.error is UNSET:
        return False
    return _REFUSED.search(bytes(line.error)) is not None


def _era(usage: TokenUsage | None) -> str:
    """Whole numbers came first, then floats, then a measure of the last context beside them."""
    if usage is None:
        return "v0-metrics"
    if usage.final_input_tokens is not UNSET:
        return "v0-e"
    return "v0-c" if isinstance(usage.input_tokens, int) else "v0-d"


def _saved(first: Reported, rollout: Rollout, run: Run) -> list[Reported]:
    """The saved answers: the calls themselves where they add up to the sum, else evidence.

    The sum is that of every answer in the oldest builds, later that of the outer model's only.
    """
    rows = rollout_rows(rollout.answers, rollout.template, run)
    if not any(row.reported_input_tokens is not None for row in rows):
        return []
    if first.kind == THREAD:
        return rows
    inner = [answer.is_inner for answer in rollout.answers]
    outer = [row for row, is_inner in zip(rows, inner, strict=True) if not is_inner]
    if rollout.sum.tokens in (_tokens(rows), _tokens(outer)):
        first.kind, first.calls = ASSERTION, None
        return rows
    add_problems(first, (_MISMATCH,))
    first.detail = "the saved answers add up to {} in and {} out".format(*_tokens(rows))
    for row in rows:
        row.kind, row.calls = RESPONSE, None
    return rows


def _tokens(rows: Sequence[Reported]) -> tuple[int, int]:
    return (
        sum(row.reported_input_tokens or 0 for row in rows),
        sum(row.reported_output_tokens or 0 for row in rows),
    )


def _inner_rows(first: Reported, rollout: Rollout, run: Run) -> Iterator[Reported]:
    """The sum of the inner models, unless the rollout's own has it or their answers were saved."""
    inner, stated = rollout.inner, rollout.sum.tokens
    both = tuple(map(sum, zip(rollout.outer.tokens, inner.tokens, strict=True)))
    saved = any(answer.is_inner for answer in rollout.answers)
    if saved or not inner.says_something or (stated == both and any(rollout.outer.tokens)):
        return
    if stated != rollout.outer.tokens:
        add_problems(first, (_MISMATCH,))
        first.detail = f"{inner.input} in and {inner.output} out of inner models, counted or not"
        return
    row = copy.copy(rollout.template)
    row.kind, row.part, row.calls = SUM, "sub_llm", inner.calls
    row.caller, row.model, row.parent_thread_id = SUBAGENT, None, row.thread_id
    row.thread_id = f"{row.thread_id}/sub-llm"
    row.identity = row.identity and f"{row.identity}:sub-llm"
    row.reported_input_tokens, row.reported_output_tokens = inner.input, inner.output
    put_dialect(row, "v0-metrics/sub-llm", run, None)
    yield row
