"""Makes rows of run events: the answers of models, and the sums of what was delegated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from tallybook.dialects.usage import Usage, put_usage, read_usage
from tallybook.schema import EVENT, RESPONSE, SUM, Reported
from tallybook.sources.deer_flow.values import (
    caller,
    instant,
    langchain_run,
    own_id,
    provider,
    text,
)
from tallybook.values import UNDECODABLE, decode

ANSWERS: Final = ("llm.ai.response", "llm_response", "ai_message", "ai_tool_call")
TASK_END: Final = "subagent.end"
TOOL_RESULT: Final = "llm.tool.result"
TASK_USAGE: Final = b'"subagent_token_usage"'  # what a tool result must hold to be read
HINT: Final = "langchain"

# Copies of messages that a new branch, or a thread from before events were kept, begins with.
_SEEDS: Final = ("branch-seed-", "checkpoint-seed-")
_COPIES: Final = frozenset({"ai_message", "ai_tool_call"})

# Scalars are `Any` on purpose: a text where a number belongs must cost that number, not the event.


class Answer(msgspec.Struct, gc=False):
    """`response_metadata`: what is kept of the provider's answer besides the message."""

    id: Any = None
    model: Any = None
    model_name: Any = None
    model_provider: Any = None
    service_tier: Any = None
    token_usage: Any = None  # as the provider stated it, kept by clients that do not stream
    usage: Any = None  # the same of other clients


class Extra(msgspec.Struct, gc=False):
    """`additional_kwargs` of a message."""

    deerflow_error_fallback: Any = None
    subagent_token_usage: Any = None
    subagent_model_name: Any = None
    subagent_token_usage_attributed: Any = None


class Content(msgspec.Struct, gc=False):
    """The union of all contents that are read; one decoder for all is the fastest."""

    id: Any = None
    usage_metadata: Any = None
    response_metadata: Answer | None = None
    additional_kwargs: Extra | None = None
    # llm_response
    model: Any = None
    # llm_response, subagent.end
    usage: Any = None
    # subagent.end
    task_id: Any = None
    model_name: Any = None
    # llm.tool.result
    tool_call_id: Any = None


class Metadata(msgspec.Struct, gc=False):
    """What the event store keeps beside the content."""

    caller: Any = None
    usage: Any = None
    llm_call_index: Any = None
    model_name: Any = None
    branch_seed: Any = None
    checkpoint_history_seed: Any = None


class Event(msgspec.Struct, gc=False):
    """A run event, from a line or from a row."""

    thread_id: Any = None
    run_id: Any = None
    event_type: Any = None
    content: Content | None = None
    metadata: Metadata | None = None
    created_at: Any = None


T = TypeVar("T", Event, Content, Metadata, Answer, Extra)
_NESTED: Final[dict[str, Any]] = {
    "content": Content,
    "metadata": Metadata,
    "response_metadata": Answer,
    "additional_kwargs": Extra,
}
_EVENT: Final = msgspec.json.Decoder(Event)
_CONTENT: Final = msgspec.json.Decoder(Content)
_METADATA: Final = msgspec.json.Decoder(Metadata)
_NO_CONTENT: Final = Content()
_NO_ANSWER: Final = Answer()
_NO_EXTRA: Final = Extra()
_NO_METADATA: Final = Metadata()
# How a content begins that was cut after some thousand bytes and is JSON no more.
_CUT: Final = re.compile(
    rb'\{\s*"id"\s*:\s*"([^"\\]+)"(?:\s*,\s*"model"\s*:\s*(?:"([^"\\]+)"|null))?'
)


def parse_event(line: bytes) -> Event | None:
    """The event of a JSON line, odd parts of it left out; None where it is no JSON object."""
    return _parse(line, _EVENT, Event)


def parse_content(text: bytes) -> Content:
    """The content of a row; of one that was cut off, what its beginning says."""
    found = _parse(text, _CONTENT, Content)
    if found is not None or (cut := _CUT.match(text)) is None:
        return found or Content()
    identifier, model = (part and part.decode("utf-8", "replace") for part in cut.groups())
    return Content(id=identifier, model=model)


def parse_metadata(text: bytes) -> Metadata:
    """The metadata of a row; empty where they are no JSON object."""
    return _parse(text, _METADATA, Metadata) or Metadata()


def _parse(text: bytes, decoder: msgspec.json.Decoder[T], kind: type[T]) -> T | None:
    try:
        return decoder.decode(text)
    except UNDECODABLE:
        value = decode(text)
        return loosely(value, kind) if isinstance(value, dict) else None


def loosely(value: object, kind: type[T]) -> T:
    """What of a decoded value fits `kind`; parts of another shape are left out."""
    found = kind()
    if isinstance(value, dict):
        for name in kind.__struct_fields__:
            part, nested = value.get(name), _NESTED.get(name)
            if nested is not None:
                part = loosely(part, nested) if isinstance(part, dict) else None
            setattr(found, name, part)
    return found


def read_event(event: Event, record: int, place: str | None = None) -> Iterator[Reported]:
    """The rows of an event; `place` names the table where a file has several."""
    kind = text(event.event_type)
    content = event.content or _NO_CONTENT
    if kind in ANSWERS:
        yield from _answer(event, record, place, is_copy=kind in _COPIES)
    elif kind == TASK_END and content.usage is not None:
        yield _task(event, record, place, (content.task_id, content.usage, content.model_name))
    elif kind == TOOL_RESULT:
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
    # What the program took from the message, or had it taken any; and what the provider stated.
    stated = _first_usage(metadata.usage, content.usage_metadata)
    raw = _first_usage(answer.token_usage, answer.usage)
    usage = read_usage(stated, HINT) if stated is not None else None
    evidence = read_usage(raw, row.provider) if raw is not None else None
    usage, evidence = (evidence, None) if usage is None else (usage, evidence)
    if usage is None and isinstance(content.usage, dict):
        usage = read_usage(content.usage, HINT)
    put_counts(row, usage)
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
        response = _call(event, content, answer, record)
        response.part = f"{place}.response_metadata" if place else "response_metadata"
        response.kind, response.calls = RESPONSE, None
        response.caller, response.identity = row.caller, row.identity
        yield put_usage(response, evidence)


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


def _first_usage(*places: Any) -> Mapping[str, Any] | None:
    """The first usage object that states anything."""
    return next((usage for usage in places if isinstance(usage, dict) and usage), None)


def put_counts(row: Reported, usage: Usage | None) -> None:
    """Put the counts on the row, or the problem that there are none.

    No prompt is empty: LangChain has 0 where the end of a stream did not state it again.
    """
    if usage is None:
        row.problems = ["no-counts"]
        return
    put_usage(row, usage)
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
    put_counts(row, usage)
    if _is_seed(run, event.metadata or _NO_METADATA):
        return _as_seed(row)
    row.problems = [*(row.problems or []), *(["uncounted-calls"] if usage else [])] or None
    return row
