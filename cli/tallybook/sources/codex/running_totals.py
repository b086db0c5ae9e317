"""Tells what one statement of running totals adds: a call, a repeat of one, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from operator import add, sub
from typing import Final, TypeVar

import msgspec

from tallybook.schema import CALL, EVENT
from tallybook.sources.codex.lines import BAD_COUNT, Usage

# input, cached, cache write, output, reasoning, total; None where not stated
Vector = tuple[int | None, int | None, int | None, int | None, int | None, int | None]
Pair = tuple[Vector | None, Vector | None]  # what one response took, the thread's total after it

COMPONENTS: Final = 5  # all but the total, which may hold the context window instead of tokens
INPUT: Final = 0
OUTPUT: Final = 3
TOTAL: Final = 5
REMEMBERED: Final = 16
_NOTHING: Final = (None,) * 6
T = TypeVar("T")

RE_EMISSION: Final = "re-emission"
STALE_TOTAL: Final = "stale-total"
SAME_CALL_OTHER_FORM: Final = "twin"


class Counter(msgspec.Struct, array_like=True):
    """The running total of a thread as its log tells it."""

    total: Vector | None = None  # what the next call is added to
    seen: Vector | None = None  # the total last logged, even if it was stale
    recent: list[Vector] = msgspec.field(default_factory=list)
    filled: bool = False  # the total is the context window put in place of the counts


class Pairs(msgspec.Struct, array_like=True):
    """Statements of the two forms that have not met the same call in the other form."""

    records: list[Pair] = msgspec.field(default_factory=list)
    counts: list[Pair] = msgspec.field(default_factory=list)
    adjacent: bool = False  # no other statement since the last of `counts`


class Step(msgspec.Struct, gc=False):
    """What a statement adds."""

    counts: Vector | None
    kind: str = CALL
    repeat: str | None = None
    difference: bool = False
    inherited: bool = False  # the total began in another file, so the first one adds no known count
    mismatch: str | None = None


def vector(usage: Usage | None, problems: list[str]) -> Vector | None:
    """The counts of a usage object; None where it states none at all."""
    if usage is None:
        return None
    written, other = usage.cache_write_input_tokens, usage.cache_creation_input_tokens
    if other is not None and not written:
        written = other
    stated = (
        usage.input_tokens,
        usage.cached_input_tokens,
        written,
        usage.output_tokens,
        usage.reasoning_output_tokens,
        usage.total_tokens,
    )
    if stated == _NOTHING:
        return None
    if BAD_COUNT in stated:
        problems.append("bad-number")
        a, b, c, d, e, f = (None if value == BAD_COUNT else value for value in stated)
        return a, b, c, d, e, f
    return stated


def agree(one: Vector | None, other: Vector | None) -> bool:
    """Whether two statements have the same numbers, as far as both state them.

    Builds differ in the fields they write, and a resumed file may hold lines of two builds.
    """
    if one is None or other is None:
        return False
    if one == other:
        return True
    if one[INPUT] != other[INPUT] or one[OUTPUT] != other[OUTPUT]:
        return False
    if one[INPUT] is None or one[OUTPUT] is None:
        return False
    return all(a == b for a, b in zip(one, other, strict=True) if a is not None and b is not None)


def same_components(one: Vector | None, other: Vector | None) -> bool:
    """Whether two statements agree in all but the total."""
    if one is None or other is None or one[INPUT] != other[INPUT]:
        return False
    return agree((*one[:COMPONENTS], None), (*other[:COMPONENTS], None))


def is_zero(counts: Vector | None) -> bool:
    """Whether the statement says that nothing was used; its total may be a filler."""
    if counts is None or counts[INPUT] or counts[INPUT] is None or counts[OUTPUT] is None:
        return False
    return not any(counts[:COMPONENTS])


def settle(counter: Counter, pairs: Pairs, stated: Pair, *, again: bool, fresh: bool) -> Step:
    """What a `token_count` adds.

    `again`: the total stands where it stood. `fresh`: it began at zero in this file.
    """
    last, total = stated
    if again:
        counter.seen = total
        return Step(last, EVENT) if is_zero(last) else Step(last, repeat=RE_EMISSION)
    repeated = bool(pairs.records) and _take_record(pairs, stated)
    step = _advance(counter, stated, fresh=fresh, certain=repeated)
    if is_zero(step.counts) and (repeated or step.repeat is None):
        step.kind, step.mismatch = EVENT, None
    elif repeated:
        step.kind, step.repeat = CALL, SAME_CALL_OTHER_FORM
        step.mismatch, step.inherited = None, False
    elif step.repeat is None:
        remember(pairs.counts, stated)
        pairs.adjacent = True
    return step


def remember(known: list[T], value: T, most: int = REMEMBERED) -> None:
    """Put a value at the end of a list, which keeps no more than so many."""
    known.append(value)
    if len(known) > most:
        del known[0]


def settle_record(pairs: Pairs, stated: Pair) -> str | None:
    """How a `token_usage_record` repeats an earlier `token_count`; None where it does not."""
    adjacent, pairs.adjacent = pairs.adjacent, False
    for index in reversed(range(len(pairs.counts))):
        nearest = adjacent and index == len(pairs.counts) - 1
        if _is_same_call(stated, pairs.counts[index], nearest=nearest):
            del pairs.counts[index]
            return SAME_CALL_OTHER_FORM
    remember(pairs.records, stated)
    return None


def _is_same_call(record: Pair, count: Pair, *, nearest: bool) -> bool:
    if record[1] is None or count[1] is None:
        return nearest and agree(record[0], count[0])
    return agree(record[1], count[1]) and (count[0] is None or agree(record[0], count[0]))


def _take_record(pairs: Pairs, stated: Pair) -> bool:
    last, total = stated
    for index, (usage, after) in enumerate(pairs.records):
        if agree(last, usage) or agree(total, after):
            del pairs.records[index]
            pairs.adjacent = False
            return True
    return False


def _advance(counter: Counter, stated: Pair, *, fresh: bool, certain: bool) -> Step:
    last, total = stated
    if total is None:
        _add(counter, last, fresh=fresh)
        return Step(last)
    if last is None:
        return _from_total(counter, total, fresh=fresh)
    if counter.total is not None and _plus(counter.total, last) == total:
        _follow(counter, total)  # nearly every call: nothing else needs a look
        return Step(last)
    if not certain and _is_stale(counter, last, total):
        counter.seen = total
        return Step(last, repeat=STALE_TOTAL)
    if fresh and is_zero(last) and not is_zero(total) and _rose(counter, total):
        return _from_total(counter, total, fresh=fresh)  # the lines between were dropped
    mismatch = _mismatch(counter, last, total)
    _follow(counter, total)
    return Step(last, mismatch=mismatch)


def _from_total(counter: Counter, total: Vector, *, fresh: bool) -> Step:
    before = counter.total
    _follow(counter, total)
    if before is None:
        return Step(total, inherited=not fresh)
    if _is_lower(total, before):
        return Step(None, EVENT)
    return Step(_each(sub, total, before), difference=True)


def _rose(counter: Counter, total: Vector) -> bool:
    before = counter.total
    return before is None or (not counter.filled and not _is_lower(total, before))


def _follow(counter: Counter, total: Vector) -> None:
    counter.total = counter.seen = total
    remember(counter.recent, total)
    counter.filled = is_zero(total) and bool(total[TOTAL])


def _add(counter: Counter, last: Vector | None, *, fresh: bool) -> None:
    if last is None:
        return
    if counter.total is None:
        counter.total = last if fresh else None
    else:
        counter.total = _plus(counter.total, last)
    counter.seen = counter.total


def _is_lower(total: Vector, before: Vector) -> bool:
    pairs = zip(total, before, strict=True)
    return any(a is not None and b is not None and a < b for a, b in pairs)


def _is_stale(counter: Counter, last: Vector, total: Vector) -> bool:
    """Whether a fallen total is an old snapshot, not a counter that was lowered or restarted.

    A counter that goes on has a total of exactly what was seen before, or nothing, plus this call.
    """
    before = counter.total
    if before is None or not _is_lower(total, before):
        return False
    if total in counter.recent and not is_zero(total):
        return True
    lowered = counter.seen is not None and same_components(total, _plus(counter.seen, last))
    if lowered or same_components(total, last):
        return False
    now, then, call = _size(total), _size(before), _size(last)
    return min(now, then) > 0 and (100 * now >= 98 * then or now + 2 * call >= then)


def _mismatch(counter: Counter, last: Vector, total: Vector) -> str | None:
    before = counter.total
    if before is None or counter.filled or _is_lower(total, before):
        return None
    if same_components(total, last):
        return None  # the counter began anew
    rise = _each(sub, total, before)
    pairs = zip(rise[:COMPONENTS], last[:COMPONENTS], strict=True)
    if all(a is None or b is None or a == b for a, b in pairs):
        return None
    return f"running total rose by {_size(rise)} tokens, the call states {_size(last)}"


def _size(counts: Vector) -> int:
    return (counts[INPUT] or 0) + (counts[OUTPUT] or 0)


def _plus(total: Vector, last: Vector) -> Vector:
    a, b, c, d, e, f = total
    u, v, w, x, y, z = last
    try:  # nearly always: where a build leaves a count out, it is the third one
        return a + u, b + v, None if w is None else c + w, d + x, e + y, f + z  # type: ignore[operator]
    except TypeError:
        return _each(add, total, last)


def _each(operation: Callable[[int, int], int], one: Vector, other: Vector) -> Vector:
    a, b, c, d, e, f = (
        None if x is None or y is None else operation(x, y) for x, y in zip(one, other, strict=True)
    )
    return a, b, c, d, e, f
