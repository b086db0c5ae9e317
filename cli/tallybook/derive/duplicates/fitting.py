"""Finds which answers of silent threads a router's row may be, by a search in their times."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Final, NamedTuple

from tallybook.derive.duplicates.routes import LONGEST_TOOL_MS, TURN_MS


class Row(NamedTuple):
    """A row of a router, and what the request of it says, if that was kept."""

    at: int
    row: int
    asker: str | None
    brought: frozenset[str]

    @property
    def is_told(self) -> bool:
        """Whether the request says anything of who asked."""
        return self.asker is not None or bool(self.brought)


class Thread:
    """A thread, and what it has asked for: of each tool the place of the first answer after it."""

    def __init__(
        self,
        name: str,
        begun: int | None,
        answers: Iterable[tuple[int, Iterable[str] | None, Sequence[int]]],
    ) -> None:
        """Of each answer, in order, when it was there, the tools it asks for, the rows of it."""
        self.name = name
        self.asked: dict[str, int] = {}
        self.answers: list[Answer] = []
        before = begun or 0
        for place, (last, tools, rows) in enumerate(answers):
            since = max(before, last - LONGEST_TOOL_MS)
            self.answers.append(Answer(last, since, name, tuple(rows), place, self))
            for tool in tools or ():
                self.asked.setdefault(tool, place + 1)
            before = last

    def begins(self, row: Row) -> int | None:
        """The first answer that a request does not refute; None where it is another thread's."""
        if row.asker is not None and row.asker != self.name:
            return None
        if not row.brought:
            return 0
        return min((self.asked[tool] for tool in row.brought if tool in self.asked), default=None)


class Answer(NamedTuple):
    """When an answer was there and when the one before it, and its `place` in its thread.

    `rows` are those that speak of it: its own, or those of the thread as a whole. Within a thread
    both times rise with the place, but that of the first answer's thread, which may be said to have
    begun later.
    """

    last: int
    before: int
    name: str
    rows: tuple[int, ...]
    place: int
    thread: Thread

    def is_proved(self, row: Row) -> bool:
        """Whether the request that was kept names the thread, or a tool that it asked for."""
        since = (self.thread.asked.get(tool) for tool in row.brought)
        return row.asker == self.name or any(n is not None and n <= self.place for n in since)


class Answers:
    """Answers of one thread or of several, in the order of their times.

    A row fits an answer if it was written as that ended, and no request says otherwise.
    """

    def __init__(self, group: Sequence[Answer]) -> None:
        self.group: Final = group
        self._threads: Final = list(dict.fromkeys(answer.thread for answer in group))
        self._lasts = {t: [answer.last for answer in t.answers] for t in self._threads}
        self._named: dict[str, list[Thread]] = defaultdict(list)
        self._asking: dict[str, list[Thread]] = defaultdict(list)
        for thread in self._threads:
            self._named[thread.name].append(thread)
            for tool in thread.asked:
                self._asking[tool].append(thread)
        spans = [span for threads in self._named.values() for span in _spans(threads)]
        self._begins = sorted(begin for begin, _ in spans)
        self._ends = sorted(end for _, end in spans)

    def fit(self, row: Row) -> bool:
        """Whether the row fits any of the answers."""
        if not row.is_told:
            return self.threads_at(row.at) > 0
        return any(self._first(thread, row) is not None for thread in self._meant(row))

    def threads_at(self, time: int) -> int:
        """How many of the threads, by name, had an answer end then."""
        return bisect_right(self._begins, time) - bisect_left(self._ends, time)

    def matched(self, rows: Iterable[Row]) -> list[tuple[Answer, Row]]:
        """Each row with an answer that it fits: one that it is proved to be, else the soonest.

        No answer has two. `rows` come in the order of time.
        """
        left = _Left(self.group)
        met = []
        for row in rows:
            if row.is_told:
                found = [self._first(thread, row, left) for thread in self._meant(row)]
                number = min((left.numbers[each] for each in found if each), default=None)
            else:
                number = left.soonest(row.at)
            if number is not None:
                left.take(number)
                met.append((self.group[number], row))
        return met

    def _meant(self, row: Row) -> Sequence[Thread]:
        """The threads that the request of a row may be of."""
        if row.asker is not None:
            return self._named.get(row.asker, ())
        return list({t: None for tool in row.brought for t in self._asking.get(tool, ())})

    def _first(self, thread: Thread, row: Row, left: _Left | None = None) -> Answer | None:
        """The first answer of a thread that the row fits, of those that are `left`."""
        begin = thread.begins(row)
        if begin is None:
            return None
        place = max(begin, bisect_left(self._lasts[thread], row.at - TURN_MS))
        for _ in range(2):  # the second one may have begun before the first
            place = left.next(thread, place) if left is not None else place
            if place == len(thread.answers):
                return None
            if thread.answers[place].before <= row.at:
                return thread.answers[place]
            place += 1
        return None


class _Left:
    """The answers that no row has been matched with yet, by their numbers."""

    def __init__(self, group: Sequence[Answer]) -> None:
        self._group = group
        self.numbers = {answer: number for number, answer in enumerate(group)}
        self._is_taken = [False] * len(group)
        # Of each place the next that is left; each look shortens the way for those to come.
        self._next: dict[Thread, list[int]] = {}
        self._waiting = sorted(range(len(group)), key=lambda n: group[n].before, reverse=True)
        self._begun: list[int] = []

    def take(self, number: int) -> None:
        """An answer is matched."""
        answer = self._group[number]
        self._is_taken[number] = True
        self._ways(answer.thread)[answer.place] = answer.place + 1

    def next(self, thread: Thread, place: int) -> int:
        """The first place from this on that is left; behind the last one where there is none."""
        ways = self._ways(thread)
        while ways[place] != place:
            ways[place] = ways[ways[place]]
            place = ways[place]
        return place

    def soonest(self, time: int) -> int | None:
        """The first answer that had begun and not ended long before `time`, which never falls."""
        while self._waiting and self._group[self._waiting[-1]].before <= time:
            heappush(self._begun, self._waiting.pop())
        while self._begun and self._is_over(self._begun[0], time):
            heappop(self._begun)
        return self._begun[0] if self._begun else None

    def _is_over(self, number: int, time: int) -> bool:
        return self._is_taken[number] or self._group[number].last + TURN_MS < time

    def _ways(self, thread: Thread) -> list[int]:
        if thread not in self._next:
            self._next[thread] = list(range(len(thread.answers) + 1))
        return self._next[thread]


def _spans(threads: Iterable[Thread]) -> Iterator[tuple[int, int]]:
    """From when to when a row may be of any answer of some threads, without overlaps."""
    every = [(each.before, each.last + TURN_MS) for thread in threads for each in thread.answers]
    spans = sorted((begin, end) for begin, end in every if begin <= end)
    reach = None
    for begin, end in spans:
        if reach is not None and begin <= reach[1]:
            reach = (reach[0], max(end, reach[1]))
            continue
        if reach is not None:
            yield reach
        reach = (begin, end)
    if reach is not None:
        yield reach
