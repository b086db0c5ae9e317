"""The reader of verifiers' runs, behaviour by behaviour, and on whatever may stand in a field."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallybook.dialects.served import told_by_address
from tallybook.schema import COUNTED_KINDS
from tallybook.sources import FileFacts, claims
from tallybook.sources.lines import Head
from tallybook.sources.verifiers import SOURCE
from tallybook.sources.verifiers.reader import State
from tallybook.sources.verifiers.run import describe, seller
from tallybook.sources.verifiers.sniff import outline, whole_members
from tallybook.tables import table

Row = dict[str, Any]
TRACE = "0" * 31 + "1"
FOLDER = ("outputs", "gsm8k--openai--gpt-5.2--bash", "11111111-0000-4000-8000-000000000001")
V0 = ("outputs", "evals", "gsm8k--gpt-5", "0a1b2c3d", "results.jsonl")
CONFIG = b'model = "openai/gpt-5.2"\n[client]\nbase_url = "https://api.openai.com/v1"\n'


def usage(prompt: Any, completion: Any, cached: Any = None, reasoning: Any = None) -> Row:
    names = ("prompt_tokens", "completion_tokens", "cached_input_tokens", "reasoning_tokens")
    stated = zip(names, (prompt, completion, cached, reasoning), strict=True)
    return {name: value for name, value in stated if value is not None}


def call(counts: Any, model: str = "openai/gpt-5.2", **more: Any) -> Row:
    made = {"model": model, "endpoint": "/chat/completions", "time": {"start": 1784600000.0}}
    return {"node": 1, **made, **({} if counts is None else {"usage": counts}), **more}


def trace(*calls: Row, **more: Any) -> Row:
    task = {"type": "T", "data": {"idx": 0, "prompt": "q"}}
    end = {"extra_usage": [], "timing": {"start": 1784600000.0, "scoring": {"start": 1784600009.0}}}
    nodes = [{"message": {"role": "user", "content": "q"}, "sampled": False, "token_ids": [1]}]
    return {"id": TRACE, "task": task, "nodes": nodes, "calls": list(calls), **end, **more}


def episode(*traces: Row) -> Row:
    return {"id": "e" * 32, "env": {"id": "gsm8k"}, "ok": True, "errors": [], "traces": [*traces]}


def rollout(counts: tuple[Any, Any] | None, **more: Any) -> Row:
    stated = {} if counts is None else {"input_tokens": counts[0], "output_tokens": counts[1]}
    return {
        "example_id": 3,
        "prompt": [{"role": "user", "content": "q"}],
        "completion": [{"role": "assistant", "content": "a"}],
        "reward": 1.0,
        "timing": {"start_time": 1781000000.25, "total": 4.1},
        **({"token_usage": stated} if stated else {}),
        **more,
    }


def answered(identifier: str, counts: Row, **more: Any) -> Row:
    message = {"role": "assistant", "content": "a"}
    response = {"id": identifier, "created": 1781000001, "model": "m", "message": message}
    return {"response": {**response, "usage": counts, **more}, "trajectory_id": "t" * 32}


def read(*lines: Any, parts: tuple[str, ...] = (), neighbour: bytes | None = None) -> list[Row]:
    parts = parts or (*FOLDER, "traces.jsonl")
    data = b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines
    )
    first, state = SOURCE.read(data, SOURCE.begin(FileFacts(parts=parts, neighbour=neighbour)))
    rows: list[Row] = table([*first, *SOURCE.finish(state)]).to_pylist()
    return rows


def counts(row: Row) -> tuple[int | None, ...]:
    names = ("input", "cached", "output", "reasoning")
    return tuple(row[f"reported_{name}_tokens"] for name in names)


# What users of the program ran into, and what must not befall them here.


def test_a_provider_that_states_no_reads_leaves_the_prompt_whole_and_the_reads_unknown() -> None:
    stated, unstated = read(trace(call(usage(50, 10, 0)), call(usage(60, 12))), neighbour=CONFIG)
    assert (stated["dialect"], stated["reported_cached_tokens"]) == ("reads-outside", 0)
    assert (unstated["dialect"], unstated["reported_cached_tokens"]) == ("openai", None)


def test_calls_of_an_endpoint_without_counts_are_calls_of_unknown_size_not_of_none() -> None:
    (row,) = read(trace(call(None)))
    assert (row["kind"], row["calls"], row["problems"]) == ("call", 1, ["no-counts"])
    assert counts(row) == (None, None, None, None)


def test_dropped_context_makes_no_input_negative() -> None:
    rows = read(trace(call(usage(900, 400, 0)), call(usage(120, 30, 0)), call(usage(80, 5, 0))))
    assert [row["reported_input_tokens"] for row in rows] == [900, 120, 80]


def test_a_cost_is_compared_and_never_counted_as_usage() -> None:
    beside = (
        b'{"env_id": "e", "model": "m", "num_examples": 1, "rollouts_per_example": 1, "cost": {'
    )
    beside += b'"input_usd": 1.6e-05, "output_usd": 3e-05, "total_usd": 4.6e-05}}'
    row = read(rollout((16.0, 6.0)), parts=V0, neighbour=beside)[-1]
    assert (row["kind"], row["record"]) == ("assertion", 0)
    assert str(row["reported_cost_usd"]) == "0.000046000000000"


def test_a_description_that_an_uploader_cut_down_claims_nothing() -> None:
    beside = b'{"env_id": "e", "model": "m", "num_examples": 1, "rollouts_per_example": 1}'
    assert len(read(rollout((16.0, 6.0)), parts=V0, neighbour=beside)) == 1


def test_a_failed_call_tells_how_it_failed_and_not_what_was_said() -> None:
    error = {"type": "ProviderError", "message": "the prompt was: secret", "status_code": 429}
    (row,) = read(trace(call(None, error=error)))
    assert row["detail"] == "failed: ProviderError 429"


def test_the_judge_is_unknown_where_two_are_set_up() -> None:
    judges = "".join(f'[[taskset.task.judges]]\nid = "j"\nmodel = "{m}"\n' for m in ("a", "b"))
    (row,) = read(trace(extra_usage=[usage(80, 5)]), neighbour=CONFIG + judges.encode())
    assert (row["caller"], row["model"], row["provider"]) == ("judge", None, None)


def test_judgements_of_one_rollout_are_not_one() -> None:
    rows = read(trace(extra_usage=[usage(80, 5), usage(80, 5)]))
    assert len({row["identity"] for row in rows}) == 2


@pytest.mark.parametrize(
    ("endpoint", "model", "dialect"),
    [
        ("/v1/messages", "claude-opus-4-7", "writes-hidden"),
        ("/v1/messages", "glm-5", "writes-hidden"),
        ("/responses", "gpt-5.2", "reads-outside"),
        ("/chat/completions", "anthropic/claude-opus-4-7", "reads-outside"),
        (None, "claude-opus-4-7", "writes-hidden"),
        (None, "gpt-5.2", "reads-outside"),
    ],
)
def test_the_endpoint_says_how_the_prompt_is_counted_else_the_model(
    endpoint: str | None, model: str, dialect: str
) -> None:
    (row,) = read(trace(call(usage(50, 10, 100), model, endpoint=endpoint)))
    assert row["dialect"] == dialect


# Rollouts of the older generation


@pytest.mark.parametrize(
    ("stated", "rule"),
    [((1200, 300), "v0-c/openai"), ((1200.0, 300.0), "v0-d/openai")],
)
def test_the_builds_are_told_by_how_they_write_numbers(stated: Any, rule: str) -> None:
    assert read(rollout(stated), parts=V0)[0]["rule"] == rule


def test_a_measure_of_the_last_context_is_not_added() -> None:
    line = rollout((450.0, 75.0))
    line["token_usage"] |= {"final_output_tokens": 75, "final_input_tokens": 155}
    (row,) = read(line, parts=V0)
    assert (row["rule"], counts(row)) == ("v0-e/openai", (450, None, 75, None))


def test_saved_answers_that_add_up_are_the_calls_and_the_sum_is_a_claim() -> None:
    turns = [answered("chatcmpl-1", usage(100, 20)), answered("chatcmpl-2", usage(150, 25))]
    rows = read(rollout((250.0, 45.0), trajectory=turns), parts=V0)
    assert [row["kind"] for row in rows] == ["assertion", "call", "call"]
    assert [row["response_id"] for row in rows] == [None, "chatcmpl-1", "chatcmpl-2"]


def test_saved_answers_that_do_not_add_up_are_evidence_and_the_sum_counts() -> None:
    turns = [answered("chatcmpl-1", usage(100, 20))]
    rows = read(rollout((250.0, 45.0), trajectory=turns), parts=V0)
    assert [row["kind"] for row in rows] == ["sum", "response"]
    assert rows[0]["problems"] == ["total-mismatch"]


@pytest.mark.parametrize(
    "odd", ["NaN", "-Infinity", "1e400", '"\\ud83d"', '"\x00"', '["\\ud83d\\u0041"]']
)
def test_what_python_writes_beyond_json_costs_no_line(odd: str) -> None:
    line = json.dumps(rollout((100.0, 10.0), reward="HERE")).replace('"HERE"', odd)
    (row,) = read(line.encode(), parts=V0)
    assert (row["kind"], counts(row)) == ("sum", (100, None, 10, None))


def test_a_password_in_an_address_is_not_told() -> None:
    assert seller("https://me:secret@Gateway.example:8443/v1") == "gateway.example:8443"
    assert seller("https://a.example/v1,https://b.example/v1") is None
    assert seller("https://api.openai.com/v1, https://eu.api.openai.com/v1") == "openai"
    assert seller("http://[::1") is None
    assert seller("https://api.x.ai/v1") == told_by_address("https://api.x.ai/v1") == "xai"


# Files


def test_a_line_longer_than_what_is_looked_at_is_recognised_by_its_beginning() -> None:
    whole = {"type": "T", "data": {"idx": 0, "prompt": "q" * 300_000}}
    for line in (trace(task=whole), episode(trace(task=whole)), rollout((1, 2))):
        data = json.dumps(line | {"tail": "x" * 300_000}).encode()
        assert claims(Head(data)) == ["verifiers"], line.keys()


def test_what_only_looks_alike_is_not_claimed() -> None:
    others: list[Any] = [
        {"id": "x", "nodes": [], "edges": []},
        {"traces": []},
        {"id": 1, "prompt": "q", "completion": "a"},
        {"prompt": "q", "completion": "a", "reward": 1},
        {"task": "t", "trajectory": [], "id": "x"},
        {"model": "m", "num_examples": 1},
    ]
    for other in others:
        assert not SOURCE.sniff(Head(json.dumps(other).encode())), other


def test_the_neighbour_of_a_run_is_asked_for_in_the_order_of_what_it_knows() -> None:
    assert SOURCE.neighbour is not None
    names = SOURCE.neighbour("traces.jsonl")
    assert names is not None
    assert (names[0], names[-1]) == ("config.toml", "metadata.json")
    assert SOURCE.neighbour("other.jsonl") == ()


OBJECT = st.dictionaries(
    st.text(max_size=6),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=6),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=6,
    ),
    max_size=5,
)


@given(OBJECT, st.floats(0, 1))
def test_the_whole_members_of_a_cut_object_are_the_first_ones_of_the_object(
    value: Row, place: float
) -> None:
    data = json.dumps(value).encode()
    found = outline(data)
    assert found.is_closed
    assert [key.decode() for key in found.members] == list(value)
    cut = data[: max(1, int(len(data) * place))]
    kept = json.loads(whole_members(cut))
    assert list(kept.items()) == list(value.items())[: len(kept)]


@given(st.binary(max_size=200))
def test_no_bytes_make_the_recognition_raise(head: bytes) -> None:
    SOURCE.sniff(Head(head))
    SOURCE.sniff(Head(b'{"example_id": ' + head))
    SOURCE.whole(Head(b"{\n" + head))


# Whatever JSON stands in a field

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, -1, 1e300, 2**64, 10**400, "", " ", "12", "\ud83d\ude00", "\x00"])
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
NODES = [
    {
        "message": {"role": "user", "content": "q"},
        "sampled": False,
        "token_ids": [1],
        "mask": [False],
    },
    {"parent": 0, "sampled": True, "timestamp": 1.5, "token_ids": [2, 3], "mask": [False, True]},
]
RAW = {"choices": [], "service_tier": "default"}
DETAILS = {"prompt_tokens_details": {"cached_tokens": 64}, "total_tokens": 120}
INNER = {"root_llm_prompt_tokens": 250.0, "root_llm_completion_tokens": 45.0, "root_llm_turns": 2.0}
SUB = {"sub_llm_prompt_tokens": 9.0, "sub_llm_completion_tokens": 1.0, "sub_llm_call_count": 1.0}
TEMPLATES: list[Row] = [
    rollout((250.0, 45.0), trajectory=[answered("c1", usage(250, 45)), answered("c2", {}, **RAW)]),
    rollout((250, 45), oai_tools=None, **INNER, **SUB),
    rollout(None, responses=[answered("c", usage(100, 20) | DETAILS, **RAW)["response"]]),
    {"id": 0, "prompt": [], "completion": [], "task": "t", "reward": 1.0},
    {"id": TRACE, "task": {"idx": 0}, "trajectory": [answered("c", usage(1, 2))], "branches": []},
    trace(calls=None, nodes=NODES),
    trace(calls=None, nodes=[NODES[0], NODES[1] | {"usage": usage(10, 5, 0, 0)}]),
    trace(call(usage(176, 300, 1024, 128) | {"cost": 0.1}), call(None, error={"type": "E"})),
    episode(
        trace(
            call(usage(1, 2)),
            agent={
                "config": {"model": "m", "client": {"base_url": "https://a/v1"}},
                "name": "judge",
            },
            extra_usage=[usage(80, 5)],
        )
    ),
    rollout((1, 2), info={"native_wrapper": episode(trace(call(usage(1, 2))))}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a value, the value itself included."""
    yield path
    keys: Any = value if isinstance(value, dict) else ()
    for key in range(len(value)) if isinstance(value, list) else keys:
        yield from places(value[key], (*path, key))


PLACES = [(number, path) for number, line in enumerate(TEMPLATES) for path in places(line)]


def replaced(line: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    line = copy.deepcopy(line)
    target = line
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return line


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), JSON), min_size=1, max_size=3))
def test_no_value_in_any_field_makes_the_reader_raise(changes: list[Any]) -> None:
    lines = [replaced(TEMPLATES[number], path, value) for (number, path), value in changes]
    whole = TEMPLATES[7]
    rows = read(*lines, whole, parts=V0, neighbour=json.dumps(lines[0]).encode())
    # The line after the odd ones is read as ever.
    last = [row for row in rows if row["record"] == len(lines) + 1]
    assert [row["part"] for row in last] == ["calls[0]", "calls[1]"]
    assert counts(last[0]) == (176, 1024, 300, 128)
    for row in rows:
        assert row["kind"] in (*COUNTED_KINDS, "assertion", "event", "response", "problem")
        assert row["kind"] != "problem" or row["problems"]
        assert all(value is None or value >= 0 for value in counts(row))


@pytest.mark.parametrize("number", range(len(TEMPLATES)))
def test_every_template_is_claimed_and_read_without_a_problem(number: int) -> None:
    line = TEMPLATES[number]
    assert claims(Head(json.dumps(line).encode())) == ["verifiers"]
    assert not [row for row in read(line, neighbour=CONFIG) if row["kind"] == "problem"]


@given(JSON | st.binary(max_size=80))
def test_no_description_makes_the_reader_raise(beside: Any) -> None:
    content = beside if isinstance(beside, bytes) else json.dumps(beside).encode()
    describe(FileFacts(parts=V0, neighbour=content))
    for key in ("client", "env", "taskset", "usage", "cost", "version_info", "date", "legacy"):
        body = {"time": "12:00:00", "num_rescores": 2, key: beside if content != beside else None}
        run = describe(FileFacts(parts=V0, neighbour=json.dumps(body).encode()))
        assert run.is_replay


def test_the_state_is_small_and_comes_back_as_it_was() -> None:
    state = SOURCE.begin(FileFacts(parts=V0, neighbour=CONFIG))
    for number in range(200):
        _, state = SOURCE.read(json.dumps(rollout((number, 1))).encode() + b"\n", state)
    saved = msgspec.msgpack.encode(state)
    assert len(saved) < 1000
    # As a text as well: 5300 and 5300.0 are equal, but what is said of a sum would differ.
    assert repr(msgspec.msgpack.decode(saved, type=State)) == repr(state)


@pytest.mark.parametrize(
    "ended", [{"stop_condition": "error"}, {"stop_condition": "provider_error", "ok": False}]
)
def test_a_replay_leaves_the_judgements_of_what_ended_in_an_error_as_they_were(ended: Row) -> None:
    failed = trace(call(usage(10, 1)), extra_usage=[usage(70, 7)], **ended)
    parts = ("outputs", "gsm8k--replay", "11111111-0000-4000-8000-000000000002", "traces.jsonl")
    first, again = (
        next(row for row in rows if row["caller"] == "judge")
        for rows in (read(episode(failed)), read(episode(failed), parts=parts))
    )
    assert first["identity"] == again["identity"]
    assert (first["is_copy"], again["is_copy"]) == (False, True)
