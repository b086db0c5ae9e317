"""Rows of the answers that were saved with the turns of a rollout."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET

from tallybook.dialects.served import is_claude
from tallybook.dialects.usage import put_usage, read_usage
from tallybook.schema import Reported
from tallybook.sources.verifiers.lines import CallUsage, Line, Response
from tallybook.sources.verifiers.run import Run, is_seller
from tallybook.values import count, instant, money, text

# What a request went through, as far as it decides how its counts are to be read.
Api = Literal["openai", "messages", "unknown"]

WHOLE_PROMPT: Final = "openai"  # the dialect of a prompt that nothing was taken from
READS_OUTSIDE: Final = "reads-outside"
WRITES_HIDDEN: Final = "writes-hidden"
ANTHROPIC: Final = "anthropic"
INPUT: Final = "input"

# (api, whether cache reads are stated) -> (dialect, how that reading is called)
_READINGS: Final = {
    ("openai", True): (READS_OUTSIDE, "reads-outside"),
    ("openai", False): (WHOLE_PROMPT, "reads-unstated"),
    # Anthropic's cache writes were added to its input, and nothing tells them apart again.
    ("messages", True): (WRITES_HIDDEN, "writes-hidden"),
    ("messages", False): (WRITES_HIDDEN, "writes-hidden"),
    ("unknown", True): (WRITES_HIDDEN, "api-unstated"),
    ("unknown", False): (WHOLE_PROMPT, "reads-unstated"),
}


def api_of(endpoint: str | None, model: str | None) -> Api:
    """How a call was made: by its endpoint, else by whose model answered."""
    if endpoint is not None:
        return "messages" if endpoint.endswith("/messages") else "openai"
    if model is None:
        return "unknown"
    return "messages" if is_claude(model) else "openai"


def put_counts(row: Reported, usage: CallUsage, era: str, api: Api) -> None:
    """Put the counts of one call on its row."""
    problems: list[str] = []
    row.reported_input_tokens = count(usage.prompt_tokens, problems)
    row.reported_cached_tokens = count(usage.cached_input_tokens, problems)
    row.reported_output_tokens = count(usage.completion_tokens, problems)
    row.reported_reasoning_tokens = count(usage.reasoning_tokens, problems)
    if usage.cost is not None:
        row.reported_cost_usd = money(usage.cost, problems)
    row.dialect, reading = _READINGS[api, usage.cached_input_tokens is not None]
    row.rule = f"{era}/{reading}"
    add_problems(row, problems)


def put_bridged(row: Reported, usage: CallUsage, era: str, run: Run) -> None:
    """Put the counts of a call that the older generation made for the newer one.

    It never had a place for cache reads, and wrote 0 for reasoning that it did not count.
    """
    put_counts(row, usage, era, "openai")
    if usage.cached_input_tokens is None:
        put_dialect(row, f"{era}/bridged", run, None)
    row.reported_reasoning_tokens = row.reported_reasoning_tokens or None


def put_dialect(row: Reported, rule: str, run: Run, response_id: str | None) -> None:
    """Say how counts of the older generation are to be read: it states an input and an output.

    Through OpenAI's protocol the input is the whole prompt. Its client for Anthropic kept what
    Anthropic calls input and dropped cache reads and writes, so that is a part of the prompt only.
    """
    row.dialect, row.rule = WHOLE_PROMPT, f"{rule}/openai"
    if run.is_openai_only:
        return
    if run.provider == ANTHROPIC or (response_id or "").startswith("msg_"):
        row.dialect, row.rule = ANTHROPIC, f"{rule}/anthropic"
    elif is_claude(row.model) and response_id is None:
        if not (run.has_endpoint and is_seller(run.provider)):
            # Nobody's own address: it may speak either protocol.
            row.rule = f"{rule}/ambiguous"
            add_problems(row, ("ambiguous-dialect",))
        else:
            # A gateway: most speak OpenAI's protocol, some Anthropic's as well.
            row.assumed = [INPUT]


def put_no_counts(row: Reported, era: str) -> None:
    """Say that a request was made, and that its counts were not written down."""
    row.rule = f"{era}/no-usage"
    add_problems(row, ("no-counts",))


def add_problems(row: Reported, problems: Sequence[str]) -> None:
    """Add to the problems of a row, each once and in a fixed order."""
    if problems:
        row.problems = sorted({*(row.problems or ()), *problems})


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
            put_counts(row, as_usage(usage, row), _V1, "openai")
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
        put_usage(row, found).rule = f"{_V0}/{found.rule}"


def _put_normalised_usage(row: Reported, usage: Any, run: Run) -> None:
    """The program's own object since 0.1.11: no cache, and reasoning is 0 where it is not known."""
    stated = as_usage(usage, row)
    put_counts(row, stated, _V0, "openai")
    row.reported_reasoning_tokens = row.reported_reasoning_tokens or None
    if isinstance(usage, dict):
        problems: list[str] = []
        row.reported_total_tokens = count(usage.get("total_tokens"), problems)
        add_problems(row, problems)
    if stated.cached_input_tokens is None:
        put_dialect(row, f"{_V0}/normalised", run, row.response_id)


def as_usage(usage: Any, row: Reported) -> CallUsage:
    """The counts that a turn's usage object has; `bad-number` where it is no object."""
    if not isinstance(usage, dict):
        add_problems(row, ("bad-number",))
        return CallUsage()
    return CallUsage(*(usage.get(name) for name in CallUsage.__struct_fields__))
