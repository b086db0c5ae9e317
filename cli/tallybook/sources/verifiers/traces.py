"""Rows of the v1 family: a call each, and one each for what judges spent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import UNSET

from tallybook.dialects.shape import follow
from tallybook.schema import CALL, EVENT, Reported
from tallybook.sources.lines import problem
from tallybook.sources.verifiers import lines as records
from tallybook.sources.verifiers import turns
from tallybook.sources.verifiers.lines import Call, CallUsage, Line, Node, TokenNode, Trace
from tallybook.sources.verifiers.run import Run, seller
from tallybook.values import count, error_name, instant, text

NODES: Final = "v1-nodes"
CALLS: Final = "v1-calls"
EPISODE: Final = "v1-episode"
JUDGE: Final = "judge"
_LEAD: Final = "agent"  # the name of the only agent of most environments

_ERRORS: Final = range(400, 600)  # statuses of a provider that did not answer
# The program's own words for it where no provider gave a status: a time out, a broken connection,
# an answer that it could not read. The provider may have answered.
_OWN_STATUSES: Final = (502, 503, 504)
# How the message begins where the status is the provider's, or no provider was reached.
_REFUSED: Final = re.compile(r"(?:upstream |Error code: )?\d{3}\b|All connection attempts failed")


class TracePosition(msgspec.Struct, frozen=True):
    """Where a trace stands: its record, the part of it, and the episode it belongs to."""

    record: int
    part: str = ""  # with a dot behind it
    episode: str | None = None
    project: str | None = None


def read_episode(line: Line, place: TracePosition, run: Run) -> Iterator[Reported]:
    """Rows of an attempt at a task, in which several agents may have had their parts."""
    env = text(line.env) or text(follow(line.env, ("id",)))
    episode = text(line.id)
    traces = line.traces or []
    for index, trace in enumerate(traces):
        if trace is not None:
            where = TracePosition(
                place.record, f"{place.part}traces[{index}].", episode, env or place.project
            )
            yield from read_trace(trace, where, run, EPISODE)
    if not traces:
        yield _event(place, episode, env or place.project, "an episode without a rollout")


def read_trace(trace: Trace, place: TracePosition, run: Run, era: str) -> Iterator[Reported]:
    """Rows of one rollout."""
    template = template_of(trace, place, run)
    if era == NODES and trace.calls is not None:
        era = CALLS
    calls = _calls(trace, template, place, run, era)
    rows = [*calls, *_judgements(trace, template, place, run, era)]
    yield from rows or [no_calls(place, template)]


def no_calls(place: TracePosition, template: Reported) -> Reported:
    """The row of a rollout that failed before it asked a model anything."""
    return _event(place, template.thread_id, template.project, "a rollout without a call")


def _event(place: TracePosition, thread: str | None, project: str | None, words: str) -> Reported:
    return Reported(
        record=place.record,
        part=place.part.rstrip(".") or None,
        kind=EVENT,
        calls=None,
        thread_id=thread,
        root_thread_id=place.episode,
        project=project,
        detail=words,
    )


def template_of(trace: Trace, place: TracePosition, run: Run) -> Reported:
    """What all calls of the rollout have in common."""
    agent = trace.agent or records.Agent()
    config = agent.config or records.AgentConfig()
    base_url = text(config.client.base_url) if config.client else None
    name = text(agent.name)
    return Reported(
        record=place.record,
        kind=CALL,
        thread_id=text(trace.id),
        root_thread_id=place.episode,
        caller=None if name == _LEAD else name,
        project=place.project,
        provider=seller(base_url) if base_url else run.provider,
        model=text(config.model) or text(agent.model) or run.model,
        timestamp=instant(trace.timing.start) if trace.timing else None,
        is_copy=run.is_replay,
    )


def _calls(
    trace: Trace, template: Reported, place: TracePosition, run: Run, era: str
) -> Iterator[Reported]:
    if trace.calls is not None:
        for index, call in enumerate(trace.calls):
            if call is not None:
                row = _row(template, f"{place.part}calls[{index}]", str(index))
                _put_call(row, call, run, era)
                yield row
    elif trace.nodes is not UNSET:
        yield from _node_calls(trace.nodes, template, place, run)


def _row(template: Reported, part: str, index: str) -> Reported:
    row: Reported = template.__copy__()  # type: ignore[attr-defined] # of every struct
    row.part = part
    if row.thread_id is not None:
        row.identity = f"{row.thread_id}:{index}"
    return row


def _put_call(row: Reported, call: Call, run: Run, era: str) -> None:
    model, endpoint = text(call.model), text(call.endpoint)
    if call.time is not None:
        row.timestamp = instant(call.time.start) or row.timestamp
    if model is not None:
        row.model = model
    if call.error is not None:
        # Its message may quote the conversation.
        words = filter(None, map(error_name, (call.error.type, call.error.status_code)))
        row.detail = " ".join(["failed:", *words])
    if call.usage is None and _is_refused(call):
        # No model answered, so it is no call.
        row.kind, row.calls, row.rule = EVENT, None, f"{era}/refused"
    elif call.usage is None:
        turns.put_no_counts(row, era)
    elif model is None and endpoint is None:
        # The older generation made it: it wrote neither, and the rollout has no agent's settings.
        turns.put_bridged(row, call.usage, era, run)
    else:
        turns.put_counts(row, call.usage, era, turns.api_of(endpoint, row.model))


def _is_refused(call: Call) -> bool:
    """Whether the provider itself said no, or none was reached."""
    status = count(call.error.status_code, []) if call.error else None
    if call.error is None or status not in _ERRORS:
        return False
    message = call.error.message
    is_own = status in _OWN_STATUSES and isinstance(message, str)
    return not is_own or _REFUSED.match(message) is not None


def _node_calls(
    raw: msgspec.Raw, template: Reported, place: TracePosition, run: Run
) -> Iterator[Reported]:
    found, complaints = records.parse(records.NODES, raw)
    for complaint in complaints:
        yield misshapen(place, f"nodes{complaint.place}", complaint.what)
    if found is None:
        yield misshapen(place, "nodes", "no list of messages")
    answers = [(i, node) for i, node in enumerate(found or ()) if node and _is_answer(node)]
    lengths = {} if any(node.usage for _, node in answers) else _lengths(raw)
    for index, node in answers:
        row = _row(template, f"{place.part}nodes[{index}]", f"node{index}")
        row.timestamp = instant(node.timestamp) or row.timestamp
        if node.usage is not None:
            _put_node_usage(row, node.usage, run)
        elif index in lengths:
            _put_lengths(row, lengths[index])
        else:
            turns.put_no_counts(row, NODES)
        yield row


def _is_answer(node: Node) -> bool:
    return node.sampled is True or node.usage is not None


def _put_node_usage(row: Reported, usage: CallUsage, run: Run) -> None:
    if run.is_bridged:
        turns.put_bridged(row, usage, NODES, run)
        return
    turns.put_counts(row, usage, NODES, turns.api_of(None, row.model))
    if usage.cached_input_tokens is None:
        # Of bridged environments, which look the same here, no 0 for reasoning is a count.
        row.reported_reasoning_tokens = row.reported_reasoning_tokens or None


def _put_lengths(row: Reported, lengths: tuple[int, int]) -> None:
    row.reported_input_tokens, row.reported_output_tokens = lengths
    row.dialect, row.rule = turns.WHOLE_PROMPT, f"{NODES}/token-ids"
    row.difference = True  # counted here, not by the log


def _lengths(raw: msgspec.Raw) -> dict[int, tuple[int, int]]:
    """Prompt and answer of each sampled message in tokens, where their ids were kept.

    A message holds only the ids that it added; the prompt is all that went before on its branch,
    and what the chat template put in front of the answer.
    """
    found, _ = records.parse(records.TOKEN_NODES, raw)
    before: dict[int, int] = {}  # tokens up to and with a message
    lengths: dict[int, tuple[int, int]] = {}
    for index, node in enumerate(found or ()):
        own = _own_length(node)
        if node is None or own is None:
            continue
        parent = count(node.parent, [])
        earlier = 0 if node.parent is None else before.get(-1 if parent is None else parent)
        if earlier is None:
            continue
        before[index] = earlier + sum(own)
        if node.sampled is True and own[1]:
            lengths[index] = (earlier + own[0], own[1])
    return lengths


def _own_length(node: TokenNode | None) -> tuple[int, int] | None:
    """Tokens that a message added: given ones and generated ones."""
    if node is None or not isinstance(node.token_ids, list) or not isinstance(node.mask, list):
        return None
    if not node.token_ids or len(node.token_ids) != len(node.mask):
        return None
    generated = sum(mark is True for mark in node.mask)
    return len(node.mask) - generated, generated


def _judgements(
    trace: Trace, template: Reported, place: TracePosition, run: Run, era: str
) -> Iterator[Reported]:
    """Calls made while the rollout was scored; before 0.3.1 no line says by which model."""
    begun = trace.timing.scoring if trace.timing else None
    stated = records.judge_models(trace.info) if trace.extra_usage else []
    if len(stated) != len(trace.extra_usage or ()):
        stated = []
    for index, usage in enumerate(trace.extra_usage or ()):
        if usage is None:
            continue
        row = _row(template, f"{place.part}extra_usage[{index}]", f"extra{index}")
        row.caller = JUDGE
        row.model = (text(stated[index]) if stated else None) or run.judge_model
        row.provider = run.judges.get(row.model or "")
        row.timestamp = (instant(begun.start) if begun else None) or row.timestamp
        turns.put_counts(row, usage, f"{era}/judge", "openai")
        # A replay judges old answers again, but for those of rollouts that ended in an error.
        row.is_copy = run.is_replay and (trace.stop_condition == "error" or trace.ok is False)
        if row.identity is not None:
            row.identity += f":{row.reported_input_tokens}/{row.reported_output_tokens}"
            if run.is_replay and not row.is_copy:
                # Since 0.4 a replay's episodes have ids of their own; before, its folder tells it.
                row.identity += f"@{run.id}:{place.record}:{place.episode}"
        yield row


def misshapen(place: TracePosition, part: str, what: str) -> Reported:
    """The row of a place in a record that could not be read."""
    row = problem(place.record, "bad-line", what)
    row.part = f"{place.part}{part}" or None
    return row
