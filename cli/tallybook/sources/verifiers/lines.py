"""The parts of a line that say anything about usage, and how a line is decoded into them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from tallybook.sources.jsonl import hides
from tallybook.values import UNDECODABLE, encode, lenient

# Scalars are `Any` on purpose: a text where a number belongs must cost that number, not the line.
# Messages, tools and token ids are in no struct: they make up nearly all of a line and are skipped.


class CallUsage(msgspec.Struct, gc=False):
    """Counts of one call as the program writes them since its first v1 builds."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    cached_input_tokens: Any = None
    reasoning_tokens: Any = None
    cost: Any = None


class Span(msgspec.Struct, gc=False):
    """A span of wall clock, in Unix seconds."""

    start: Any = None


class Failure(msgspec.Struct, gc=False):
    """What ended a call or a rollout."""

    type: Any = None
    message: Any = None
    status_code: Any = None


class Call(msgspec.Struct, gc=False):
    """A request to a model, recorded when it was made."""

    model: Any = None
    endpoint: Any = None
    usage: CallUsage | None = None
    time: Span | None = None
    error: Failure | None = None


class Node(msgspec.Struct, gc=False):
    """A message; `sampled` ones are answers of a model."""

    sampled: Any = None
    timestamp: Any = None
    usage: CallUsage | None = None


class TokenNode(msgspec.Struct, gc=False):
    """A message as the token ids that it added to its parent's; `mask` marks generated ones."""

    sampled: Any = None
    parent: Any = None
    token_ids: Any = None
    mask: Any = None


class Client(msgspec.Struct, gc=False):
    """Where an agent's requests go."""

    base_url: Any = None


class AgentConfig(msgspec.Struct, gc=False):
    """The part of an agent's settings that says who answers."""

    model: Any = None
    client: Client | None = None


class Agent(msgspec.Struct, gc=False):
    """The agent of a trace; before 2026-07-23 the model stood directly in it."""

    name: Any = None
    model: Any = None
    config: AgentConfig | None = None


class Timing(msgspec.Struct, gc=False):
    """When a rollout began and how long it took; v0 calls the first `start_time`."""

    start: Any = None
    scoring: Span | None = None
    start_time: Any = None
    total_ms: Any = None
    total: Any = None


class JudgeRequest(msgspec.Struct, gc=False):
    """What a judge was asked."""

    model: Any = None


class JudgeCall(msgspec.Struct, gc=False):
    """A judge's call as the program keeps it since 0.3.1, without counts of its own."""

    request: JudgeRequest | None = None


class Info(msgspec.Struct, gc=False):
    """What an environment notes of a rollout."""

    judge_calls: list[JudgeCall | None] | None = None


class Trace(msgspec.Struct, gc=False):
    """One rollout of the v1 family."""

    id: Any = UNSET
    agent: Agent | None = None
    calls: list[Call | None] | None = None
    nodes: Raw | UnsetType = UNSET
    extra_usage: list[CallUsage | None] | None = None
    info: Raw | UnsetType = UNSET
    timing: Timing | None = None
    stop_condition: Any = None
    ok: Any = None  # since 0.3; before, errors alone said it


class Response(msgspec.Struct, gc=False):
    """An answer inside a turn: the provider's own object, or what the program made of it."""

    id: Any = None
    created: Any = None
    model: Any = None
    usage: Any = None
    service_tier: Any = None
    choices: Raw | UnsetType = UNSET  # only the provider's own object has them


class Extras(msgspec.Struct, gc=False):
    """Marks of a step."""

    is_sub_llm_call: Any = None


class Step(msgspec.Struct, gc=False):
    """A turn: a prompt and its answer."""

    response: Response | None = None
    trajectory_id: Any = None
    extras: Extras | None = None


class TokenUsage(msgspec.Struct, gc=False):
    """Sums over the calls of a v0 rollout."""

    input_tokens: Any = None
    output_tokens: Any = None
    cached_input_tokens: Any = None
    final_input_tokens: Any = UNSET


class Metrics(msgspec.Struct, gc=False):
    """Token counts that environments with a model inside a model keep as metrics of a v0 rollout.

    The outer model's are called `main_rlm_*`, later `root_llm_*`, and `main_*` by one environment.
    """

    main_rlm_prompt_tokens: Any = None
    main_rlm_completion_tokens: Any = None
    main_rlm_turns: Any = None
    root_llm_prompt_tokens: Any = None
    root_llm_completion_tokens: Any = None
    root_llm_turns: Any = None
    main_prompt_tokens: Any = None
    main_completion_tokens: Any = None
    main_turns: Any = None
    sub_llm_prompt_tokens: Any = None
    sub_llm_completion_tokens: Any = None
    sub_llm_total_turns: Any = None
    sub_llm_turns: Any = None
    sub_llm_call_count: Any = None
    sub_llm_count: Any = None
    sub_llm_total_tool_calls: Any = None


class Line(Trace, gc=False):
    """A line of any layout; what a line does not have is unset or None."""

    # an episode
    traces: list[Trace | None] | None = None
    env: Any = None
    # turns, and rollouts with their turns saved
    trajectory: list[Step | None] | None = None
    responses: list[Response | None] | None = None
    # a v0 rollout
    example_id: Any = UNSET
    completion: Raw | UnsetType = UNSET
    token_usage: TokenUsage | None = None
    error: Raw | UnsetType = UNSET
    num_turns: Any = None  # answers that came
    oai_tools: Raw | UnsetType = UNSET
    info: Raw | UnsetType = UNSET


class Wrapper(msgspec.Struct, gc=False):
    """`info` of a rollout that was uploaded to the platform: it holds the episode again."""

    native_wrapper: Line | None = None


LINE: Final = msgspec.json.Decoder(Line).decode
# The messages of a trace, and the same as token ids.
NODES: Final = msgspec.json.Decoder(list[Node | None]).decode
TOKEN_NODES: Final = msgspec.json.Decoder(list[TokenNode | None]).decode
_METRICS: Final = msgspec.json.Decoder(Metrics | None).decode
_WRAPPER: Final = msgspec.json.Decoder(Wrapper | None).decode
_METRIC: Final = re.compile(rb'"(?:main|main_rlm|root_llm|sub_llm)_prompt_tokens"')
_STEP: Final = re.compile(r"\.(\w+)|\[(\d+)\]")
_MOST_COMPLAINTS: Final = 16  # a line with more misshapen places is no line of this format

T = TypeVar("T")


class Complaint(NamedTuple):
    """A place that was left out because its shape is not the one it should have."""

    place: str
    what: str  # expected and found types, never the content


Parsed = tuple[T | None, list[Complaint]]  # None: no JSON, or of quite another shape


def metrics(content: bytes) -> Metrics:
    """What a rollout states of models inside a model; its scalars take any shape."""
    if _METRIC.search(content) is None and not hides(content, 0, len(content)):
        return Metrics()
    found, _ = parse(_METRICS, content)
    return found or Metrics()


def wrapped(info: Raw | UnsetType) -> Parsed[Line]:
    """The episode in the `info` of a rollout that was uploaded to the platform."""
    content = b"" if info is UNSET else bytes(info)
    if b'"native_wrapper"' not in content and not hides(content, 0, len(content)):
        return None, []
    wrapper, complaints = parse(_WRAPPER, content)
    return wrapper.native_wrapper if wrapper else None, complaints


def parse(decode: Callable[[bytes | Raw], T], content: bytes | Raw) -> Parsed[T]:
    """What a decoder of those above makes of a line or a part of it."""
    try:
        return decode(content), []
    except UNDECODABLE:
        return _parse_odd(decode, bytes(content))


def _parse_odd(decode: Callable[[bytes | Raw], T], content: bytes) -> Parsed[T]:
    value = lenient(content)
    complaints: list[Complaint] = []
    while len(complaints) <= _MOST_COMPLAINTS:
        try:
            return decode(encode(value)), complaints
        except UNDECODABLE as error:
            what, _, place = str(error).partition(" - at `$")
            place = place.rstrip("`")
            if not _clear(value, place):
                break
            complaints.append(Complaint(place.removeprefix("."), what))
    return None, complaints


def _clear(value: Any, place: str) -> bool:
    """Put None where `place` leads to; False where that is nowhere inside of `value`."""
    steps = [name or int(index) for name, index in _STEP.findall(place)]
    try:
        for step in steps[:-1]:
            value = value[step]
        value[steps[-1]] = None
    except (IndexError, KeyError, TypeError):
        return False
    return True


def judge_models(info: Raw | UnsetType) -> list[Any]:
    """The models of the judges' calls, in their order; none where the notes have another shape."""
    if info is UNSET:
        return []
    try:
        calls = msgspec.json.decode(info, type=Info).judge_calls
    except UNDECODABLE:
        return []
    return [call.request.model if call and call.request else None for call in calls or ()]
