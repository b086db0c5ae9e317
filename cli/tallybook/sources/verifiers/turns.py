"""Rows of the answers that were saved with the turns of a rollout."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from tallybook.dialects import read_usage, state
from tallybook.schema import Reported
from tallybook.sources.verifiers.counts import (
    add_problems,
    put_dialect,
    put_no_counts,
    put_usage,
)
from tallybook.sources.verifiers.records import Line, Response, Usage
from tallybook.sources.verifiers.run import Run
from tallybook.values import count, instant, text

SUBAGENT: Final = "subagent"
_V1: Final = "v1-turns"
_V0: Final = "v0-trajectory"


class Answer(msgspec.Struct):
    """An answer of a model, and where in the line it stands."""

    part: str
    response: Response
    thread: str | None = None
    is_inner: bool = False  # of a model that the model called

    @property
    def id(self) -> str | None:
        """The provider's own id of it."""
        return text(self.response.id)


def answers(line: Line) -> list[Answer]:
    """The answers of a rollout in their order; of two places that hold them the turns."""
    found = []
    for index, step in enumerate(line.trajectory or ()):
        if step is not None and step.response is not None:
            is_inner = step.extras is not None and step.extras.is_sub_llm_call is True
            part = f"trajectory[{index}]"
            found.append(Answer(part, step.response, text(step.trajectory_id), is_inner))
    if found:
        return found
    kept = enumerate(line.responses or ())
    return [Answer(f"responses[{index}]", each) for index, each in kept if each is not None]


def turn_rows(line: Line, template: Reported) -> Iterator[Reported]:
    """A call each of the first v1 builds; the copies of the turns under `branches` are not read."""
    for index, answer in enumerate(answers(line)):
        row = answer_row(answer, template, index)
        usage = answer.response.usage
        if usage is None:
            put_no_counts(row, _V1)
        else:
            put_usage(row, as_usage(usage, row), _V1, "openai")
        yield row


def rollout_rows(found: Sequence[Answer], template: Reported, run: Run) -> list[Reported]:
    """A call each of a v0 rollout whose turns were saved with it."""
    rows = []
    for index, answer in enumerate(found):
        row = answer_row(answer, template, index)
        if answer.is_inner:
            row.caller, row.parent_thread_id = SUBAGENT, template.thread_id
            row.thread_id = answer.thread or f"{template.thread_id}/sub-llm"
        _put_counts(row, answer.response, run)
        rows.append(row)
    return rows


def answer_row(answer: Answer, template: Reported, index: int) -> Reported:
    """The row of one answer without its counts."""
    response = answer.response
    row = copy.copy(template)
    row.part = answer.part
    row.model = text(response.model) or row.model
    row.response_id = answer.id
    row.service_tier = text(response.service_tier)
    row.timestamp = instant(response.created) or row.timestamp
    if row.identity is not None:
        row.identity += f":{index}"
    return row


def _put_counts(row: Reported, response: Response, run: Run) -> None:
    if response.usage is None:
        put_no_counts(row, _V0)
    elif response.choices is not UNSET:
        _put_provider_usage(row, response.usage, run)
    else:
        _put_normalised_usage(row, response.usage, run)


def _put_provider_usage(row: Reported, usage: Any, run: Run) -> None:
    """The provider's own object; nobody but the dialects knows what may be in it."""
    found = read_usage(usage, run.provider) if isinstance(usage, dict) else None
    if found is None:
        put_no_counts(row, _V0)
    else:
        state(row, found).rule = f"{_V0}/{found.rule}"


def _put_normalised_usage(row: Reported, usage: Any, run: Run) -> None:
    """The program's own object since 0.1.11: no cache, and reasoning is 0 where it is not known."""
    stated = as_usage(usage, row)
    put_usage(row, stated, _V0, "openai")
    row.reported_reasoning_tokens = row.reported_reasoning_tokens or None
    if isinstance(usage, dict):
        problems: list[str] = []
        row.reported_total_tokens = count(usage.get("total_tokens"), problems)
        add_problems(row, problems)
    if stated.cached_input_tokens is None:
        put_dialect(row, f"{_V0}/normalised", run, row.response_id)


def as_usage(usage: Any, row: Reported) -> Usage:
    """The counts that a turn's usage object has; `bad-number` where it is no object."""
    if not isinstance(usage, dict):
        add_problems(row, ("bad-number",))
        return Usage()
    return Usage(*(usage.get(name) for name in Usage.__struct_fields__))
