"""What a search finds of answers and rows is what a look at each of them finds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from tallybook.derive.duplicates.fitting import Answer, Answers, Row, Thread
from tallybook.derive.duplicates.routes import TURN_MS

SECONDS = st.integers(0, 30).map(lambda half: 500 * half)
TOOLS = st.sets(st.sampled_from("abcd"), max_size=2)
NAMES = ("one", "two", "three")
Said: TypeAlias = list[tuple[int, set[str]]]


@st.composite
def threads(draw: st.DrawFn) -> list[Thread]:
    """Some threads, two of which may have one name: those of two sources."""
    found = []
    for number in range(draw(st.integers(1, 4))):
        said: Said = draw(st.lists(st.tuples(SECONDS, TOOLS), min_size=1, max_size=6))
        begun = draw(st.none() | SECONDS)
        answers = [
            (last, tools, (10 * number,)) for last, tools in sorted(said, key=lambda a: a[0])
        ]
        found.append(Thread(draw(st.sampled_from(NAMES)), begun, answers))
    return found


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Rows in the order of time; requests may name a thread, tools, both or neither."""
    who = st.none() | st.sampled_from(NAMES)
    found = draw(st.lists(st.tuples(SECONDS, who, TOOLS), max_size=8))
    times = sorted(found, key=lambda each: each[0])
    return [Row(at, number, who, frozenset(tools)) for number, (at, who, tools) in enumerate(times)]


def asked(answer: Answer) -> set[str]:
    """What the thread had asked for before an answer."""
    return {tool for tool, place in answer.thread.asked.items() if place <= answer.place}


def fits(answer: Answer, row: Row) -> bool:
    """The definition: written as the answer ended, and not refuted by its request."""
    is_other = row.asker is not None and row.asker != answer.name
    is_refuted = is_other or (bool(row.brought) and not row.brought & asked(answer))
    return answer.before <= row.at <= answer.last + TURN_MS and not is_refuted


def is_proved(answer: Answer, row: Row) -> bool:
    return row.asker == answer.name or bool(row.brought & asked(answer))


def matched(group: list[Answer], found: list[Row]) -> Iterator[tuple[Answer, Row]]:
    """The definition: each row in turn with the soonest that is left, a proved one first."""
    left = list(group)
    for row in found:
        there = [answer for answer in left if fits(answer, row)]
        if there:
            chosen = min(there, key=lambda answer: (not is_proved(answer, row), answer.last))
            left.remove(chosen)
            yield chosen, row


@given(threads(), rows())
def test_rows_meet_the_answers_that_a_look_at_each_finds(
    every: list[Thread], found: list[Row]
) -> None:
    group = sorted(answer for thread in every for answer in thread.answers)
    answers = Answers(group)
    assert answers.matched(found) == list(matched(group, found))
    for row in found:
        there = [answer for answer in group if fits(answer, row)]
        assert answers.fit(row) == bool(there)
        for answer in there:
            assert answer.is_proved(row) == is_proved(answer, row)
        spans = [each for each in group if each.before <= row.at <= each.last + TURN_MS]
        assert answers.threads_at(row.at) == len({each.name for each in spans})


def test_an_answer_knows_what_its_thread_has_asked_for_before() -> None:
    thread = Thread("one", None, [(0, {"a"}, (1,)), (10, None, (1,)), (20, {"a", "b"}, (1,))])
    assert [asked(answer) for answer in thread.answers] == [set(), {"a"}, {"a"}]
