"""What is left of the sums of one series of calls, once its calls and its tasks are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from tallybook.schema import ASSERTION, LOG, SUM

SUBAGENT: Final = "subagent"
_UNKNOWN: Final = "unknown"


class Tokens(NamedTuple):
    """Counts of some calls; `cached` lies inside `input`, None where some call leaves it out."""

    input: int
    cached: int | None
    output: int

    def plus(self, other: Tokens) -> Tokens:
        """The counts of both."""
        cached = None if None in (self.cached, other.cached) else self.cached + other.cached  # type: ignore[operator]
        return Tokens(self.input + other.input, cached, self.output + other.output)

    def minus(self, other: Tokens) -> Tokens:
        """What is beyond `other`; of the cached ones only what makes sense."""
        rest, cached = self.input - other.input, None
        if self.cached is not None and other.cached is not None:
            cached = self.cached - other.cached
        is_part = cached is not None and 0 <= cached <= rest
        return Tokens(rest, cached if is_part else None, self.output - other.output)

    def holds(self, other: Tokens) -> bool:
        """Whether neither count of `other` is larger."""
        return self.input >= other.input and self.output >= other.output


NOTHING: Final = Tokens(0, 0, 0)


class Stated(NamedTuple):
    """A sum over a series: of the series itself, or of a task that one of its calls handed on."""

    row: int
    source: str
    series: str
    evidence: str
    call_id: str
    thread_id: str | None
    parent_thread_id: str | None
    timestamp: datetime | None
    model: str | None
    caller: str | None
    calls: int | None
    input: int | None
    cached: int | None
    output: int | None
    problems: list[str] | None

    @property
    def is_task(self) -> bool:
        """Whether it is the sum of a sub-agent's thread."""
        return self.parent_thread_id is not None

    @property
    def is_silent(self) -> bool:
        """Whether it states no counts."""
        return self.input is None and self.output is None

    @property
    def tokens(self) -> Tokens:
        """Its counts, those that are not stated as nothing."""
        return Tokens(self.input or 0, self.cached, self.output or 0)

    def may_hold_subagents(self) -> bool:
        """Whether calls of sub-agents may be in it."""
        return any(name in (self.caller or "") for name in (SUBAGENT, _UNKNOWN))


class Change(NamedTuple):
    """What becomes of a row: a kind, or a duplicate; counts and names where a rest counts on.

    `detail` says in words how an assertion fails.
    """

    row: int
    kind: str | None = None
    duplicate_of: str | None = None
    input: int | None = None
    cached: int | None = None
    output: int | None = None
    caller: str | None = None
    model: str | None = None
    calls: int | None = None
    detail: str | None = None


@dataclass(slots=True)
class Calls:
    """Calls of one model: their counts, their number, the rows of those from a saved state."""

    model: str | None
    tokens: Tokens
    number: int
    is_subagent: bool = False
    state_rows: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Series:
    """Everything that is said of one series.

    `repeats` are the sums that come out where repeated records are added too; `callers` the totals
    that the log asserts of single callers.
    """

    sums: list[Stated] = field(default_factory=list)
    tasks: list[Stated] = field(default_factory=list)
    calls: list[Calls] = field(default_factory=list)
    states: list[Calls] = field(default_factory=list)
    repeats: set[tuple[int, int]] = field(default_factory=set)
    callers: dict[str, int] = field(default_factory=dict)

    def caller_of(self, tokens: int) -> str | None:
        """The caller, or the two together, that is asserted to have used that many."""
        for name, asserted in self.callers.items():
            if asserted == tokens:
                return name
        together = sum(self.callers.values()) == tokens and len(self.callers) > 1
        return "+".join(sorted(self.callers)) if together else None


def settle(series: Series) -> Iterator[Change]:
    """What becomes of the sums, the tasks, and the answers from a saved state."""
    stated = [each for each in series.sums if not each.is_silent]
    calls = [*series.calls, *series.states]
    if series.states and not _fit(stated, calls):
        yield from _yielding(series)
        calls = series.calls
    if calls or stated:
        yield from (Change(each.row, ASSERTION) for each in series.sums if each.is_silent)
    left: list[tuple[Stated, Tokens]] = []
    for each, spent in _matched(stated, calls):
        change = _settle_sum(series, each, spent)
        if change is None or change.kind == SUM:
            rest = each.tokens.minus(_total(spent))
            left.append((each, rest))
        if change is not None:
            yield change
    yield from _settle_tasks(series, left)


def _fit(stated: Sequence[Stated], calls: Sequence[Calls]) -> bool:
    return all(each.tokens.holds(_total(spent)) for each, spent in _matched(stated, calls))


def _yielding(series: Series) -> Iterator[Change]:
    of = series.sums[0].call_id
    rows = (row for calls in series.states for row in calls.state_rows)
    yield from (Change(row, duplicate_of=of) for row in rows)


def _matched(
    stated: Sequence[Stated], calls: Sequence[Calls]
) -> Iterator[tuple[Stated, list[Calls]]]:
    """Each sum with its calls: those of its model, or all where it is the only sum.

    Calls of a model that no sum has are taken from the largest.
    """
    if not stated:
        return
    largest = max(stated, key=lambda each: (each.tokens.input, each.row))
    models = {each.model for each in stated} if len(stated) > 1 else set()
    for each in stated:
        is_rest = each is largest
        yield (
            each,
            [
                some
                for some in calls
                if (some.model == each.model if some.model in models else is_rest)
            ],
        )


def _total(calls: Iterable[Calls]) -> Tokens:
    total = NOTHING
    for each in calls:
        total = total.plus(each.tokens)
    return total


def _settle_sum(series: Series, stated: Stated, calls: Sequence[Calls]) -> Change | None:
    """An assertion where the calls are all there or say otherwise, else the rest."""
    spent = _total(calls)
    rest = stated.tokens.minus(spent)
    if not rest.input and not rest.output:
        return Change(stated.row, ASSERTION)
    if not NOTHING.holds(rest) and rest.holds(NOTHING) and not _is_doubled(series, stated):
        return _rest(series, stated, calls, rest) if calls else None
    return Change(stated.row, ASSERTION, detail=_words(stated.tokens, spent))


def _is_doubled(series: Series, stated: Stated) -> bool:
    """Whether the tool itself counted calls twice, by its records or by its sub-agents'.

    Where calls of sub-agents are on record at all, they are complete, and what the sum has beyond
    them is the same again.
    """
    total = (sum(s.input or 0 for s in series.sums), sum(s.output or 0 for s in series.sums))
    singly = any(each.is_subagent for each in series.calls)
    return total in series.repeats or (singly and stated.may_hold_subagents())


def _rest(series: Series, stated: Stated, calls: Sequence[Calls], rest: Tokens) -> Change:
    caller = series.caller_of(rest.input + rest.output) or stated.caller
    number = None if stated.calls is None else stated.calls - sum(each.number for each in calls)
    counted = number is not None and number > 0 and SUBAGENT not in (caller or "")
    is_guess = "assumed-model" in (stated.problems or [])
    return Change(
        stated.row,
        SUM,
        input=rest.input,
        cached=rest.cached,
        output=rest.output,
        caller=caller,
        model=None if is_guess else stated.model,
        calls=number if counted else None,
    )


def _words(stated: Tokens, spent: Tokens) -> str:
    return "; ".join(
        f"{name} {asserted} asserted, {counted} counted"
        for name, asserted, counted in (
            ("input", stated.input, spent.input),
            ("output", stated.output, spent.output),
        )
        if asserted != counted
    )


def _settle_tasks(series: Series, left: Sequence[tuple[Stated, Tokens]]) -> Iterator[Change]:
    """Tasks count where no sum holds them; one that is told twice counts once."""
    own = {each.thread_id: each for each in series.tasks if each.evidence == LOG}
    tasks = []
    for each in series.tasks:
        first = own.get(each.thread_id, each)
        if first is each or first.evidence == each.evidence:
            tasks.append(each)
        else:
            yield Change(each.row, duplicate_of=first.call_id)
    if not tasks:
        return
    if any(each.is_subagent for each in series.calls):
        yield from (Change(t.row, duplicate_of=f"{t.source}:{t.series}") for t in tasks)
        return
    holding = [(each, rest) for each, rest in left if each.may_hold_subagents()]
    held, wanted = NOTHING, NOTHING
    for _, rest in holding:
        held = held.plus(rest)
    for task in tasks:
        wanted = wanted.plus(task.tokens)
    if holding and held.holds(wanted):
        of = max(holding, key=lambda pair: (pair[1].input, pair[0].row))[0].call_id
        yield from (Change(task.row, duplicate_of=of) for task in tasks)
    else:
        yield from (
            Change(each.row, ASSERTION, detail=_words(each.tokens, wanted)) for each, _ in holding
        )
