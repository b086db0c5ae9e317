"""What is left of the sums of one series of calls, once its calls and its tasks are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from tallybook.schema import ASSERTION, LOG, SUM

SUBAGENT: Final = "subagent"
_LEAD: Final = "lead"
_UNKNOWN: Final = "unknown"
_NO_TIME: Final = datetime.min.replace(tzinfo=UTC)


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
    finished: bool | None

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

    def may_be_led(self) -> bool:
        """Whether calls of the lead may be in it, beside others'."""
        return any(name in (self.caller or "") for name in (f"{_LEAD}+", _UNKNOWN))


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


class Calls(NamedTuple):
    """Calls of one model and caller: their counts and their number; `row` of one in a state."""

    model: str | None
    tokens: Tokens
    number: int
    caller: str | None = None
    row: int | None = None

    @property
    def is_subagent(self) -> bool:
        """Whether a sub-agent made them."""
        return self.caller == SUBAGENT

    @property
    def is_lead(self) -> bool:
        """Whether the lead made them."""
        return self.caller in (None, _LEAD)

    @property
    def amount(self) -> int:
        """Tokens in and out together."""
        return self.tokens.input + self.tokens.output


class Series(msgspec.Struct):
    """Everything that is said of one series.

    `states` are the answers in a saved state, one by one in the order of their times; `repeats` the
    sums that come out where repeated records are added too; `callers` the totals that the log
    asserts of single callers, all but the lead.
    """

    sums: list[Stated] = []
    tasks: list[Stated] = []
    calls: list[Calls] = []
    states: list[Calls] = []
    repeats: set[tuple[int, int]] = set()
    callers: dict[str, int] = {}

    def caller_of(self, tokens: int) -> str | None:
        """The caller, or the two together, that is asserted to have used that many."""
        found = [name for name, asserted in self.callers.items() if asserted == tokens]
        if found:
            return found[0] if len(found) == 1 else _UNKNOWN
        together = sum(self.callers.values()) == tokens and len(self.callers) > 1
        return "+".join(sorted(self.callers)) if together else None

    def lead_beyond(self, calls: Iterable[Calls]) -> int:
        """The tokens of the lead that none of its calls on record states."""
        stated = sum(each.tokens.input + each.tokens.output for each in self.sums)
        return stated - sum(self.callers.values()) - sum(c.amount for c in calls if c.is_lead)


def settle(series: Series) -> Iterator[Change]:
    """What becomes of the sums, the tasks, and the answers from a saved state."""
    stated = [each for each in series.sums if not each.is_silent]
    states = _in_snapshot(series) if _is_snapshot(stated) else series.states
    calls = [*series.calls, *states]
    if states and not _fit(stated, calls):
        yield from _yielding(series, states)
        calls = series.calls
    if calls or series.states or stated:
        yield from (Change(each.row, ASSERTION) for each in series.sums if _is_empty(each, series))
    is_led = series.lead_beyond(calls) > 0
    left: list[tuple[Stated, Tokens]] = []
    for each, spent in _matched(stated, calls):
        rest = each.tokens.minus(_total(spent))
        # Equal totals prove nothing where no call says whose the others are.
        who = _caller(series, each, rest, is_led=is_led) if spent or not is_led else each.caller
        change = _settle_sum(series, each, spent, who)
        if change is None or change.kind in (None, SUM):
            left.append((each, rest))
        if change is not None:
            yield change
    yield from _settle_tasks(series, left)


def _is_empty(each: Stated, series: Series) -> bool:
    """Whether a sum that states nothing leaves nothing open.

    A state holds the lead's calls only: of a run that has not ended, and that no record tells of,
    nobody knows what else it used.
    """
    is_open = each.finished is False and not series.calls
    return each.is_silent and not is_open


def _is_snapshot(stated: Sequence[Stated]) -> bool:
    """Whether the sums may have been written before all of their calls were made."""
    return any(each.finished is False for each in stated)


def _in_snapshot(series: Series) -> list[Calls]:
    """The answers in a saved state that the sums of a run that has not ended may hold.

    The lead's calls are added up in the order in which they were made, so the sums hold the first
    of them, up to the total of the lead.
    """
    held, left = [], series.lead_beyond(series.calls)
    for each in series.states:
        left -= each.amount
        if left < 0:
            break
        held.append(each)
    return held


def _fit(stated: Sequence[Stated], calls: Sequence[Calls]) -> bool:
    return all(each.tokens.holds(_total(spent)) for each, spent in _matched(stated, calls))


def _yielding(series: Series, states: Sequence[Calls]) -> Iterator[Change]:
    of = series.sums[0].call_id
    yield from (Change(each.row, duplicate_of=of) for each in states if each.row is not None)


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


def _caller(series: Series, stated: Stated, rest: Tokens, *, is_led: bool) -> str | None:
    """Who used what is left of a sum: never the lead where all of its calls are on record."""
    found = series.caller_of(rest.input + rest.output)
    if found or is_led or not series.callers or not stated.may_be_led():
        return found or stated.caller
    return "+".join(sorted(series.callers))


def _settle_sum(
    series: Series, stated: Stated, calls: Sequence[Calls], caller: str | None
) -> Change | None:
    """An assertion where the calls are all there or say otherwise, else the rest."""
    spent = _total(calls)
    rest = stated.tokens.minus(spent)
    if not rest.input and not rest.output:
        return Change(stated.row, ASSERTION)
    if not NOTHING.holds(rest) and rest.holds(NOTHING) and not _is_doubled(series, stated):
        if calls:
            return _rest(stated, calls, rest, caller)
        return None if caller == stated.caller else Change(stated.row, caller=caller)
    words = None if _is_snapshot([stated]) else _words(stated.tokens, spent)
    return Change(stated.row, ASSERTION, detail=words)


def _is_doubled(series: Series, stated: Stated) -> bool:
    """Whether the tool itself counted calls twice, by its records or by its sub-agents'.

    Where calls of sub-agents are on record at all, they are complete, and what the sum has beyond
    them is the same again.
    """
    total = (sum(s.input or 0 for s in series.sums), sum(s.output or 0 for s in series.sums))
    singly = any(each.is_subagent for each in series.calls)
    return total in series.repeats or (singly and stated.may_hold_subagents())


def _rest(stated: Stated, calls: Sequence[Calls], rest: Tokens, caller: str | None) -> Change:
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
    held = NOTHING
    for _, rest in holding:
        held = held.plus(rest)
    within = _held_tasks(tasks, held, is_snapshot=_is_snapshot([each for each, _ in holding]))
    if holding and within:
        of = max(holding, key=lambda pair: (pair[1].input, pair[0].row))[0].call_id
        yield from (Change(task.row, duplicate_of=of) for task in within)
    else:
        yield from _failed(holding, tasks)


def _held_tasks(tasks: Sequence[Stated], held: Tokens, *, is_snapshot: bool) -> Sequence[Stated]:
    """The tasks in what the sums have beyond their calls: all where they fit.

    A snapshot holds the first of them where just those add up to it.
    """
    total, fitting = NOTHING, 0
    for number, task in enumerate(sorted(tasks, key=_when), 1):
        total = total.plus(task.tokens)
        if (total.input, total.output) == (held.input, held.output):
            fitting = number
    if held.holds(total):
        return tasks
    return sorted(tasks, key=_when)[:fitting] if is_snapshot else ()


def _when(task: Stated) -> tuple[bool, datetime, int]:
    time = task.timestamp
    return (time is None, time or _NO_TIME, task.row)


def _failed(holding: Sequence[tuple[Stated, Tokens]], tasks: Sequence[Stated]) -> Iterator[Change]:
    """The sums in whose place tasks count that are larger."""
    wanted = NOTHING
    for task in tasks:
        wanted = wanted.plus(task.tokens)
    for each, _ in holding:
        words = None if _is_snapshot([each]) else _words(each.tokens, wanted)
        yield Change(each.row, ASSERTION, detail=words)
