"""Folds the blocks of a file, a line a rollout or an episode, into tables of rows."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from math import isclose

import msgspec
from msgspec import UNSET

from tallybook.schema import ASSERTION, EVENT, Reported
from tallybook.sources import jsonl, lines
from tallybook.sources.contract import FileFacts
from tallybook.sources.verifiers import lines as records
from tallybook.sources.verifiers.lines import Line, TokenUsage
from tallybook.sources.verifiers.rollouts import read_rollout
from tallybook.sources.verifiers.run import Run, describe
from tallybook.sources.verifiers.sniff import is_description, outline
from tallybook.sources.verifiers.traces import (
    NODES,
    TracePosition,
    misshapen,
    no_calls,
    read_episode,
    read_trace,
    template_of,
)
from tallybook.sources.verifiers.turns import turn_rows
from tallybook.values import money


class Sums(msgspec.Struct):
    """What the rollouts of a file state in sum, to check what the run says of their mean."""

    rollouts: int = 0  # that state any counts
    input: float = 0.0
    output: float = 0.0

    def add(self, usage: TokenUsage) -> None:
        """One more rollout; what is no number counts nothing, as it did when the run was saved."""
        self.rollouts += 1
        self.input += _number(usage.input_tokens)
        self.output += _number(usage.output_tokens)

    def has_mean(self, stated_input: float | None, stated_output: float | None) -> bool:
        """Whether the stated means are those of these rollouts; nothing stated is no claim."""
        pairs = ((stated_input, self.input), (stated_output, self.output))
        return all(
            mean is None or isclose(mean * self.rollouts, total, rel_tol=1e-9, abs_tol=1e-6)
            for mean, total in pairs
        )


def _number(value: object) -> float:
    """As a float at once: a sum that was saved and loaded again must read the same in words."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) >= 2**53:
        return 0.0
    return float(value)


class State(msgspec.Struct):
    """Small, plain and serialisable."""

    run: Run = Run()
    run_id: str | None = None  # the folder's, else made of the first line that can be read
    records: int = 0  # lines read so far
    is_description: bool | None = None  # None until a line is not blank
    is_open: bool = False  # a description whose end is missing
    sums: Sums = msgspec.field(default_factory=Sums)


def begin(facts: FileFacts) -> State:
    """The state before the first block."""
    run = describe(facts)
    return State(run=run, run_id=run.id)


def read(block: bytes, state: State) -> tuple[list[Reported], State]:
    """Rows of the block and the state after it; the given state is left as it is."""
    state = copy.deepcopy(state)
    if state.is_description is None and block.strip():
        state.is_description = is_description(lines.Head(block))
    if state.is_description:
        state.is_open = not outline(block, max(block.find(b"{"), 0)).is_closed
        return [], state
    return list(_read_lines(block, state)), state


def finish(state: State) -> list[Reported]:
    """What the run says of all its rollouts together, checked against them."""
    if state.is_open:
        return [lines.problem(0, "truncated", "the JSON document does not end")]
    return [*_assertion(state)]


def _read_lines(block: bytes, state: State) -> Iterator[Reported]:
    for record, begin, end in jsonl.candidates(block, jsonl.ANYTHING, jsonl.spans(block, state)):
        content = block[begin:end].strip()
        line, complaints = records.parse(records.LINE, content)
        if line is None:
            yield jsonl.unreadable(record, content, is_last=end == len(block))
            continue
        if state.run_id is None:
            state.run_id = hashlib.blake2b(content, digest_size=4).hexdigest()
        place = TracePosition(record, project=state.run.project)
        for complaint in complaints:
            yield misshapen(place, complaint.place, complaint.what)
        for row in _rows(line, content, place, state):
            # What could not be read may have been the calls that seem not to be there.
            if not complaints or row.kind != EVENT:
                yield row


def _rows(line: Line, content: bytes, place: TracePosition, state: State) -> Iterator[Reported]:
    if line.traces is not None and line.nodes is UNSET:
        yield from read_episode(line, place, state.run)
    elif line.nodes is not UNSET or line.calls is not None:
        yield from read_trace(line, place, state.run, NODES)
    elif line.example_id is UNSET and line.completion is UNSET and line.trajectory is not None:
        yield from _turns(line, place, state)
    elif line.example_id is not UNSET or line.completion is not UNSET:
        yield from _rollout(line, content, place, state)
    else:
        yield misshapen(place, "", "no rollout, trace or episode")


def _turns(line: Line, place: TracePosition, state: State) -> Iterator[Reported]:
    template = template_of(line, place, state.run)
    rows = list(turn_rows(line, template))
    yield from rows or [no_calls(place, template)]


def _rollout(line: Line, content: bytes, place: TracePosition, state: State) -> Iterator[Reported]:
    """An uploaded rollout holds its episode, which says all that the rollout says and more."""
    episode, complaints = records.wrapped(line.info)
    within = TracePosition(place.record, "info.native_wrapper.", project=place.project)
    for complaint in complaints:
        yield misshapen(within, complaint.place, complaint.what)
    if episode is not None:
        yield from _rows(episode, b"", within, state)
        return
    if line.token_usage is not None:
        state.sums.add(line.token_usage)
    metrics = records.metrics(content)
    yield from read_rollout(line, metrics, state.run_id, place.record, state.run)


def _assertion(state: State) -> Iterator[Reported]:
    """The mean and the cost that the run states. Neither is a count, so no row adds them up."""
    run, sums = state.run, state.sums
    if run.mean_input is None and run.cost is None:
        return
    problems: list[str] = []
    row = Reported(
        record=0,
        part="metadata.json",
        kind=ASSERTION,
        calls=None,
        project=run.project,
        provider=run.provider,
        model=run.model,
        reported_cost_usd=money(run.cost, problems),
    )
    if not sums.has_mean(run.mean_input, run.mean_output):
        row.problems = ["total-mismatch"]
        row.detail = (
            f"a mean of {run.mean_input} in and {run.mean_output} out is stated; "
            f"{sums.rollouts} rollouts have {sums.input:.0f} and {sums.output:.0f}"
        )
    yield row
