"""Makes rows of run events: the answers of models, and the sums of what was delegated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tallybook.dialects import Usage, put_usage, read_usage
from tallybook.schema import EVENT, RESPONSE, SUM, Reported
from tallybook.sources.deer_flow.event_parts import Answer, Content, Event, Extra, Metadata
from tallybook.sources.deer_flow.values import (
    caller,
    instant,
    langchain_run,
    own_id,
    provider,
    text,
)

_COUNTS: Final = ("input_tokens", "output_tokens", "total_tokens")
RAW: Final = "checkpoint-raw"  # the provider's own object was there, and nobody adds to that
TOLD: Final = "checkpoint-less-tasks"  # what was added is said to have been
GUESSED: Final = "checkpoint-less-tasks-guessed"  # it was taken off on the strength of the order
Added = tuple[bool, Mapping[str, Any]]


def deflate(messages: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str | None]]:
    """The messages of one write, those without additions that asked for tasks answered in it.

    A message whose tasks are answered in the same write was written again after them, and by then
    their usage had been added to it: since August 2026 with a word of it at the task's result,
    before without one. What was done about it is said beside it: `RAW`, `TOLD` or `GUESSED`.
    """
    results = [message for message in messages if message.get("type") == "tool"]
    for message in messages:
        usage = message.get("usage_metadata")
        added = list(_added(message, results)) if isinstance(usage, dict) else []
        yield _without(message, usage, added) if added else (message, None)


def _without(
    message: dict[str, Any], usage: Any, added: Sequence[Added]
) -> tuple[dict[str, Any], str | None]:
    raw = _as_logged(message)
    if raw is not None:
        return {**message, "usage_metadata": raw}, RAW
    less = {name: _minus(usage, added, name) for name in _COUNTS}
    if any(value is not None and value < 0 for value in less.values()):
        return message, None
    mark = TOLD if all(flagged for flagged, _ in added) else GUESSED
    return {**message, "usage_metadata": {**usage, **less}}, mark


def _added(message: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> Iterator[Added]:
    """The usage of each task that the message asked for, and whether it says it was added."""
    calls = message.get("tool_calls")
    found = calls if isinstance(calls, list) else []
    call_ids = {text(call.get("id")) for call in found if isinstance(call, dict)}
    for result in results:
        extra = result.get("additional_kwargs")
        if not isinstance(extra, dict) or text(result.get("tool_call_id")) not in call_ids:
            continue
        usage = extra.get("subagent_token_usage")
        if isinstance(usage, dict):
            yield extra.get("subagent_token_usage_attributed") is True, usage


def _minus(usage: Mapping[str, Any], added: Sequence[Added], name: str) -> int | None:
    total, parts = usage.get(name), [each.get(name) for _, each in added]
    numbers = [number for number in (total, *parts) if isinstance(number, int)]
    return numbers[0] - sum(numbers[1:]) if len(numbers) == len(parts) + 1 else None


def _as_logged(message: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the provider itself stated, which nothing was added to."""
    answer = message.get("response_metadata")
    if not isinstance(answer, dict):
        return None
    found = answer.get("token_usage") or answer.get("usage")
    return found if isinstance(found, dict) else None


ANSWERS: Final = ("llm.ai.response", "llm_response", "ai_message", "ai_tool_call")
TASK_END: Final = "subagent.end"
TOOL_RESULT: Final = "llm.tool.result"
TASK_USAGE: Final = b'"subagent_token_usage"'  # what a tool result must hold to be read
HINT: Final = "langchain"

# Copies of messages that a new branch, or a thread from before events were kept, begins with.
_SEEDS: Final = ("branch-seed-", "checkpoint-seed-")
_COPIES: Final = frozenset({"ai_message", "ai_tool_call"})
_NO_CONTENT: Final = Content()
_NO_ANSWER: Final = Answer()
_NO_EXTRA: Final = Extra()
_NO_METADATA: Final = Metadata()


def read_event(event: Event, record: int, place: str | None = None) -> Iterator[Reported]:
    """The rows of an event; `place` names the table where a file has several."""
    kind = text(event.event_type)
    if kind in ANSWERS:
        yield from _answer(event, record, place, is_copy=kind in _COPIES)
    elif kind == TASK_END:
        content = event.content or _NO_CONTENT
        if content.usage is not None:
            yield _task(event, record, place, (content.task_id, content.usage, content.model_name))
    elif kind == TOOL_RESULT:
        content = event.content or _NO_CONTENT
        extra = content.additional_kwargs or _NO_EXTRA
        stated = (content.tool_call_id, extra.subagent_token_usage, extra.subagent_model_name)
        if extra.subagent_token_usage is not None:
            yield _task(event, record, place, stated)


def _answer(event: Event, record: int, place: str | None, *, is_copy: bool) -> Iterator[Reported]:
    content, metadata = event.content or _NO_CONTENT, event.metadata or _NO_METADATA
    answer = content.response_metadata or _NO_ANSWER
    row = _call(event, content, answer, record)
    row.part, row.is_copy = place, is_copy
    row.caller = caller(metadata.caller)
    stated, raw = _stated(content, metadata), _raw(answer)
    usage = read_usage(stated, HINT) if stated is not None else None
    evidence = read_usage(raw, row.provider) if raw is not None else None
    usage, evidence = (evidence, None) if usage is None else (usage, evidence)
    if usage is None and isinstance(content.usage, dict):
        usage = read_usage(content.usage, HINT)
    _state_counts(row, usage)
    if answer.service_tier is not None:
        row.service_tier = row.service_tier or text(answer.service_tier)
    if row.identity is None:
        row.identity = _unnamed(event, metadata, row)
    if _is_seed(row.series, metadata):
        _as_seed(row)
    elif (content.additional_kwargs or _NO_EXTRA).deerflow_error_fallback:
        # Written by the program in place of an answer.
        row.kind, row.calls, row.rule = EVENT, None, "error-fallback"
    yield row
    if usage is not None and evidence is not None and _tells_more(evidence, usage):
        yield _response(row, evidence, place)


def _call(event: Event, content: Content, answer: Answer, record: int) -> Reported:
    """Who, when and which call, before its counts."""
    thread, run = text(event.thread_id), text(event.run_id)
    message, stated = text(content.id), text(answer.id)
    call = langchain_run(message)
    is_ours = call is not None
    model = text(answer.model_name) or text(answer.model) or text(content.model)
    identity = f"call:{call}" if is_ours or message is None else own_id(message, run or thread)
    return Reported(
        record=record,
        thread_id=thread,
        root_thread_id=thread,
        provider=provider(answer.model_provider, model),
        model=model,
        timestamp=instant(event.created_at),
        identity=identity if message else None,
        response_id=stated or (None if is_ours else message),
        record_id=message if is_ours else None,
        series=run,
    )


def _stated(content: Content, metadata: Metadata) -> Mapping[str, Any] | None:
    """The usage that the program took from the message, or had it taken any."""
    for usage in (metadata.usage, content.usage_metadata):
        if isinstance(usage, dict) and usage:
            return usage
    return None


def _raw(answer: Answer) -> Mapping[str, Any] | None:
    """The usage as the provider stated it."""
    for usage in (answer.token_usage, answer.usage):
        if isinstance(usage, dict) and usage:
            return usage
    return None


def _state_counts(row: Reported, usage: Usage | None) -> None:
    if usage is None:
        row.problems = ["no-counts"]
    else:
        put_usage(row, usage)
        without_lost_input(row)


def without_lost_input(row: Reported) -> None:
    """No prompt is empty: LangChain has 0 where the end of a stream did not state it again."""
    if row.reported_input_tokens == 0 and row.reported_output_tokens:
        row.reported_input_tokens = row.reported_total_tokens = None


def _unnamed(event: Event, metadata: Metadata, row: Reported) -> str | None:
    """A message without id is known by its place among the run's calls and by its counts."""
    index, run = metadata.llm_call_index, text(event.run_id)
    if run is None or not isinstance(index, int):
        return None
    counts = (row.reported_input_tokens, row.reported_output_tokens, row.reported_total_tokens)
    return f"{run}#{index}:{'/'.join(map(str, counts))}"


def _is_seed(run: str | None, metadata: Metadata) -> bool:
    flagged = metadata.branch_seed is True or metadata.checkpoint_history_seed is True
    return flagged or (run is not None and run.startswith(_SEEDS))


def _as_seed(row: Reported) -> Reported:
    """What a branch began with was used in the thread that it came from."""
    row.kind, row.calls, row.rule, row.is_copy = EVENT, None, "seed", True
    return row


def _tells_more(evidence: Usage, usage: Usage) -> bool:
    """Whether the provider's own object states a part that was lost on the way."""
    names = ("cached", "cache_creation", "reasoning")
    return any(
        getattr(usage, f"reported_{name}_tokens") is None
        and getattr(evidence, f"reported_{name}_tokens") is not None
        for name in names
    )


def _response(row: Reported, evidence: Usage, place: str | None) -> Reported:
    return put_usage(
        Reported(
            record=row.record,
            part="response_metadata" if place is None else f"{place}.response_metadata",
            kind=RESPONSE,
            calls=None,
            thread_id=row.thread_id,
            root_thread_id=row.root_thread_id,
            caller=row.caller,
            provider=row.provider,
            model=row.model,
            timestamp=row.timestamp,
            identity=row.identity,
            response_id=row.response_id,
            record_id=row.record_id,
            series=row.series,
        ),
        evidence,
    )


def _task(event: Event, record: int, place: str | None, stated: tuple[Any, Any, Any]) -> Reported:
    """What one sub-agent used: a sum without the number of its calls, its model as configured."""
    thread, run, task = text(event.thread_id), text(event.run_id), text(stated[0])
    usage = read_usage(stated[1], HINT) if isinstance(stated[1], dict) else None
    row = Reported(
        record=record,
        part=place,
        kind=SUM,
        calls=None,
        # Providers give the id of a tool call out again, so it names a thread in its run only.
        thread_id=f"{thread}/{task}" if thread and task else thread,
        parent_thread_id=thread,
        root_thread_id=thread,
        caller="subagent",
        model=text(stated[2]),
        timestamp=instant(event.created_at),
        identity=f"task:{run or thread}:{task}" if task else None,
        series=run,
    )
    _state_counts(row, usage)
    if _is_seed(run, event.metadata or _NO_METADATA):
        return _as_seed(row)
    row.problems = [*(row.problems or []), *(["uncounted-calls"] if usage else [])] or None
    return row
