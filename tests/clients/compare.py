"""Compares what tallybook counts with what was answered, call by call."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, groupby
from typing import Any, Final, Literal

from tests.clients.upstream import Answered

Row = dict[str, Any]
Word = Literal["right", "unknown", "wrong", "unlogged"]

WORDS: Final[tuple[Word, ...]] = ("right", "unknown", "wrong", "unlogged")
# A sum that the log asserts and the calls do not reach says that calls are lacking.
_SAID: Final = ("no-counts", "total-mismatch")
_DOUBTS: Final = frozenset({"perhaps-inherited", "perhaps-restarted"})
_BUCKETS: Final = {
    "uncached_input_tokens": "uncached",
    "cached_input_tokens": "cached",
    "cache_creation_input_tokens": "written",
    "cache_creation_1h_input_tokens": "written_1h",
    "output_tokens": "output",
    "reasoning_output_tokens": "reasoning",
}
_ENOUGH: Final = 2  # equal counts; a sum may have one by chance
_LARGEST: Final = 16  # calls of a sum; more would take long to try
_INPUT: Final = tuple(_BUCKETS)[:3]


@dataclass(frozen=True)
class Verdict:
    """What became of one call, or of one row that no call stands behind (`call` is null)."""

    word: Word
    why: str
    call: Answered | None
    place: str = ""  # file and record of the row


def compare(
    answered: Sequence[Answered],
    rows: Iterable[Row],
    problems: Iterable[Row],
    logged: Callable[[Answered], bool],
    lacks: frozenset[str] = frozenset(),
) -> list[Verdict]:
    """Judge every call that was answered, and every row that is none of them.

    `logged` says whether anything of a call stands in the logs at all; `lacks` names the buckets
    that the log's way of counting does not have, and which may be null where they are 0.
    """
    verdicts: list[Verdict] = []
    taken: dict[int, Row] = {}
    signs: list[Row] = []  # rows that say no more than that a call was made
    others: list[Row] = []
    for row in sorted(rows, key=lambda row: (row["path"], row["record"])):
        call = _match(row, answered)
        if call is None:
            (signs if _is_empty(row) else others).append(row)
        elif call.number in taken:
            verdicts.append(_wrong(f"counted twice: also {_place(taken[call.number])}", call, row))
        else:
            taken[call.number] = row
            verdicts.append(_judged(call, row, lacks))
    missing = [call for call in answered if call.number not in taken]
    missing, others = _guessed(missing, others, verdicts)
    missing = _sums(missing, others, verdicts)
    problems = list(problems)
    _missing(missing, signs, problems, logged, verdicts)
    return verdicts + _false_alarms(verdicts, problems)


def _match(row: Row, answered: Sequence[Answered]) -> Answered | None:
    """Find the call of a row: the one with which it shares most counts, and two at least."""
    score: Counter[int] = Counter()
    for index, call in enumerate(answered):
        score[index] = sum(
            _stated(row, bucket) == getattr(call.counts, name) != 0
            for bucket, name in _BUCKETS.items()
        ) + 2 * (_stated(row, "input_tokens") == call.counts.prompt)
    # What a total has beyond another one may be as much as some call by chance.
    if _doubts(row):
        for index, call in enumerate(answered):
            score[index] *= call.session == _conversation(row)
    best = max(score, key=lambda index: score[index], default=None)
    stated = sum(bool(_stated(row, bucket)) for bucket in (*_BUCKETS, "input_tokens"))
    # A row of one call that states one count alone can agree in no other.
    enough = 1 if row.get("calls") == 1 and stated == 1 else _ENOUGH
    return answered[best] if best is not None and score[best] >= enough else None


def _stated(row: Row, bucket: str) -> int | None:
    value = row.get(bucket)
    return value if isinstance(value, int) else None


def _is_empty(row: Row) -> bool:
    return not any(_stated(row, bucket) for bucket in (*_BUCKETS, "input_tokens"))


def _judged(call: Answered, row: Row, lacks: frozenset[str]) -> Verdict:
    wrong: list[str] = []
    unknown: list[str] = []
    _identity(call, row, (wrong, unknown))
    told = _told_apart(call, row)
    for bucket, name in _BUCKETS.items():
        if bucket == "uncached_input_tokens" and not told:
            continue
        if call.api == "messages" and name == "reasoning":
            continue  # this API states none
        if call.api != "messages" and name == "written_1h":
            continue
        _bucket(bucket, getattr(call.counts, name), row, lacks, (wrong, unknown))
    if row.get("unsplit_input_tokens"):
        stated = _stated(row, "input_tokens")
        if stated == call.counts.prompt:
            unknown.append("input is not split")
        else:
            wrong.append(f"input {stated} instead of {call.counts.prompt}")
    if wrong:
        return _wrong("; ".join(wrong), call, row)
    if row.get("lower_bound") and not unknown:
        unknown.append("called a lower bound, though it is whole")
    word: Word = "unknown" if unknown else "right"
    return Verdict(word, "; ".join(unknown), call, _place(row))


def _identity(call: Answered, row: Row, said: tuple[list[str], list[str]]) -> None:
    wrong, unknown = said
    thread = str(row.get("thread_id"))
    if call.session and call.session not in {thread, _conversation(row)}:
        wrong.append(f"counted for thread {thread}, asked by {call.session}")
    if row.get("model") is None:
        unknown.append("model not stated")
    elif row["model"] != call.model:
        wrong.append(f"model {row['model']} instead of {call.model}")


def _told_apart(call: Answered, row: Row) -> bool:
    """Whether what was written to a cache is told apart; where it is null, the uncached hold it."""
    held = call.counts.uncached + call.counts.written
    null = _stated(row, "cache_creation_input_tokens") is None
    return not (null and _stated(row, "uncached_input_tokens") == held)


def _bucket(
    bucket: str, true: int, row: Row, lacks: frozenset[str], said: tuple[list[str], list[str]]
) -> None:
    wrong, unknown = said
    stated = _stated(row, bucket)
    if stated == true or (stated is None and true == 0 and bucket in lacks):
        return
    if row.get("unsplit_input_tokens") and bucket in _INPUT:
        return  # the sum is judged instead
    if stated is None:
        unknown.append(f"{bucket} not stated")
    elif row.get("lower_bound") and stated < true:
        unknown.append(f"{bucket} at least {stated}, is {true}")
    elif row.get(f"{bucket}_origin") == "assumed":
        unknown.append(f"{bucket} assumed {stated}, is {true}")
    else:
        wrong.append(f"{bucket} {stated} instead of {true}")


def _guessed(
    missing: list[Answered], rows: list[Row], verdicts: list[Verdict]
) -> tuple[list[Answered], list[Row]]:
    """Judge the rows of nothing but guesses: each stands for a call of which nothing was told."""
    left: list[Row] = []
    for row in rows:
        asked = [one for one in missing if one.told == "nothing" and one.model == row["model"]]
        if not asked or row.get("output_tokens_origin") != "assumed":
            left.append(row)
            continue
        verdicts.append(Verdict("unknown", "a guess, and said so", asked[0], _place(row)))
        missing = [one for one in missing if one is not asked[0]]
    return missing, left


def _sums(missing: list[Answered], rows: list[Row], verdicts: list[Verdict]) -> list[Answered]:
    """Judge the rows that are no single call: the sum of several, or wrong.

    One that may hold more or less, as it says itself, stands for all calls of its own thread that
    no other row has.
    """
    doubted: list[Row] = []
    for row in rows:
        told = [call for call in missing if call.told != "nothing"]
        told = [call for call in told if row.get("model") in {None, call.model}]
        own = [call for call in told if call.session in {None, _conversation(row)}]
        summed = _summed(row, own) if row.get("calls") != 1 else []
        missing = [call for call in missing if call not in summed]
        verdicts += [_in_a_sum(call, row) for call in summed]
        if not summed and _doubts(row):
            doubted.append(row)
        elif not summed:
            verdicts.append(_wrong("no such call was answered", None, row))
    for row in doubted:
        own = [call for call in missing if call.session == _conversation(row)]
        missing = [call for call in missing if call not in own]
        said = f"said by {', '.join(_doubts(row))}"
        verdicts += [Verdict("unknown", said, call, _place(row)) for call in own]
    return missing


def _doubts(row: Row) -> list[str]:
    """What a row says itself of a total that may hold too much, or have too little beyond it."""
    return sorted(_DOUBTS.intersection(row.get("problems") or ()))


def _summed(row: Row, calls: list[Answered]) -> list[Answered]:
    """Find the calls of one scenario that a row is the sum of; the client may leave some out."""
    prompt, output = (_stated(row, bucket) for bucket in ("input_tokens", "output_tokens"))
    cached = _stated(row, "cached_input_tokens")
    if output is None:
        return []
    for _, group in groupby(calls, key=lambda call: call.during):
        own = list(group)[:_LARGEST]
        for some in chain.from_iterable(combinations(own, n) for n in range(len(own), 0, -1)):
            counts = [call.counts for call in some]
            told = range(sum(map(_output, some)), sum(one.output for one in counts) + 1)
            true = sum(one.prompt for one in counts)
            # A way of counting that leaves the cache out is too low, and has to say so.
            same = prompt == true or (bool(row.get("lower_bound")) and 0 < (prompt or 0) < true)
            if same and output in told and cached in {None, sum(one.cached for one in counts)}:
                return list(some)
    return []


def _output(call: Answered) -> int:
    """The output that the client was told of; of a broken stream it may count more by itself."""
    return call.start if call.told == "start" else call.counts.output


def _in_a_sum(call: Answered, row: Row) -> Verdict:
    if call.told == "start":
        return Verdict("unknown", "in a sum, as far as the client was told", call, _place(row))
    if row.get("lower_bound"):
        return Verdict("unknown", "in a sum that is at least so much", call, _place(row))
    return Verdict("right", "in a sum", call, _place(row))


def _missing(
    missing: Sequence[Answered],
    signs: Iterable[Row],
    problems: Sequence[Row],
    logged: Callable[[Answered], bool],
    verdicts: list[Verdict],
) -> None:
    """Judge the calls without a row: a sign of a call without counts stands for one of them."""
    by_thread: dict[str, list[Row]] = defaultdict(list)
    for row in signs:
        by_thread[_conversation(row)].append(row)
    silent = set(by_thread)
    for call in missing:
        own = by_thread[str(call.session)]
        if call.session is None and logged(call):  # any of them may be its sign
            own = next(filter(None, by_thread.values()), own)
        said = [one for one in problems if one["code"] in _SAID and _of(one, call)]
        if own:
            verdicts.append(Verdict("unknown", "a call without counts", call, _place(own.pop(0))))
        elif not logged(call):
            verdicts.append(Verdict("unlogged", "nothing of it is in the logs", call))
        elif call.api == "chat" and call.session in silent:  # of which no thread states counts
            verdicts.append(Verdict("unknown", "in a thread without counts", call))
        elif said:
            place = f"{said[0]['path']}:{said[0]['record']}"
            verdicts.append(Verdict("unknown", f"said by {said[0]['code']}", call, place))
        else:
            verdicts.append(Verdict("wrong", "it is in the logs and was not counted", call))
    for rows in by_thread.values():
        verdicts += [
            _wrong("a call without counts, where none was made", None, row) for row in rows
        ]


def _false_alarms(verdicts: Sequence[Verdict], problems: Iterable[Row]) -> list[Verdict]:
    """Judge the totals that are said not to match: some call of that thread must be lacking."""
    made: list[Verdict] = []
    for problem in problems:
        own = [one for one in verdicts if one.call and _of(problem, one.call)]
        if problem["code"] == "total-mismatch" and own and all(one.word == "right" for one in own):
            why = f"a total that does not match, though all is right: {problem['detail']}"
            made.append(_wrong(why, None, problem))
    return made


def _of(problem: Row, call: Answered) -> bool:
    return bool(call.session) and str(call.session) in str(problem["path"])


def _conversation(row: Row) -> str:
    """The session of a row; the thread of a sub-agent of Claude Code stands behind a slash."""
    return str(row.get("thread_id")).partition("/")[0]


def _wrong(why: str, call: Answered | None, row: Row) -> Verdict:
    return Verdict("wrong", why, call, _place(row))


def _place(row: Row) -> str:
    return f"{row['path']}:{row['record']}"
