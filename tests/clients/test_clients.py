"""What the bench of real clients rests on: the usage it states, and how it judges a row."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from tests.clients.answers import Api, Counts, Reply, counts_of, stream, usage_of
from tests.clients.compare import compare
from tests.clients.upstream import CUT, TEXT, TOOL, Answered, Told, Upstream

_TRUE = Counts(uncached=600, cached=300, written=100, written_1h=40, output=70, reasoning=20)


def _call(number: int = 1, counts: Counts = _TRUE, told: Told = "all") -> Answered:
    return Answered(number, f"resp_{number}", "responses", "m", counts, told, True, "t1", "turns")


def _row(**changed: Any) -> dict[str, Any]:
    return {
        "path": "log.jsonl",
        "record": 3,
        "thread_id": "t1",
        "model": "m",
        "calls": 1,
        "uncached_input_tokens": 600,
        "cached_input_tokens": 300,
        "cache_creation_input_tokens": 100,
        "cache_creation_1h_input_tokens": None,
        "unsplit_input_tokens": 0,
        "input_tokens": 1000,
        "output_tokens": 70,
        "reasoning_output_tokens": 20,
        "lower_bound": False,
        **changed,
    }


def _words(calls: list[Answered], rows: list[dict[str, Any]], logged: bool = True) -> list[str]:
    return [one.word for one in compare(calls, rows, [], lambda _: logged)]


def test_each_api_states_the_counts_as_its_providers_do() -> None:
    """OpenAI's sums hold what was read and written, Anthropic's input holds neither."""
    responses = usage_of("responses", _TRUE)
    assert (responses["input_tokens"], responses["total_tokens"]) == (1000, 1070)
    assert responses["input_tokens_details"] == {"cached_tokens": 300, "cache_write_tokens": 100}
    assert responses["output_tokens_details"] == {"reasoning_tokens": 20}
    chat = usage_of("chat", _TRUE)
    assert (chat["prompt_tokens"], chat["completion_tokens"]) == (1000, 70)
    assert chat["prompt_tokens_details"]["cached_tokens"] == 300
    messages = usage_of("messages", _TRUE)
    assert messages["input_tokens"] == 600
    assert messages["cache_read_input_tokens"] == 300
    assert messages["cache_creation"]["ephemeral_1h_input_tokens"] == 40
    assert messages["cache_creation"]["ephemeral_5m_input_tokens"] == 60


def test_no_count_of_a_call_is_that_of_another() -> None:
    for name in ("uncached", "cached", "written", "output", "reasoning"):
        assert len({getattr(counts_of(number), name) for number in range(1000)}) == 1000


@pytest.mark.parametrize(("trailing", "choices"), [(True, 0), (False, 1)])
def test_a_chat_stream_states_its_usage_once_and_last(trailing: bool, choices: int) -> None:
    """In a chunk of its own behind the last choice, or in the one that ends the choice."""
    events = [data for _, data in stream("chat", Reply(1, "c", "m", _TRUE), trailing=trailing)]
    assert ["usage" in data for data in events] == [False] * (len(events) - 1) + [True]
    assert len(events[-1]["choices"]) == choices


def test_a_messages_stream_starts_with_a_first_count_and_ends_with_the_final() -> None:
    events = [data for _, data in stream("messages", Reply(1, "m", "m", _TRUE, start=2))]
    assert events[0]["message"]["usage"]["output_tokens"] == 2
    assert [data["usage"] for data in events if "usage" in data] == [{"output_tokens": 70}]


def test_a_prompt_takes_its_steps_in_order_whatever_is_asked_between() -> None:
    with Upstream() as upstream:
        prompt, other = upstream.script.prompt(TOOL, CUT), upstream.script.prompt(TOOL)
        asked = [
            (prompt, True),
            (prompt, False),  # without tools it is a side call
            (f"{prompt} {other}", True),  # the last prompt is the one to answer
            (prompt, True),
            (prompt, True),
        ]
        bodies = [_body(text, tools) for text, tools in asked]
        kinds = [upstream.script.next_step(body).kind for body in bodies]
    assert kinds == ["tool", "text", "tool", "cut", TEXT.kind]


def _body(text: str, tools: bool) -> dict[str, Any]:
    said = {"role": "user", "content": text}
    return {"model": "m", "messages": [said], "tools": [{"name": "Bash"}] if tools else []}


@pytest.mark.parametrize(
    ("path", "api"),
    [("/v1/responses", "responses"), ("/chat/completions", "chat"), ("/v1/messages", "messages")],
)
def test_what_was_answered_is_kept(path: str, api: Api) -> None:
    with Upstream() as upstream:
        body = json.dumps(_body(upstream.script.prompt(TOOL), tools=True)).encode()
        asked = urllib.request.Request(  # noqa: S310 - our own server
            upstream.url + path, body, {"session_id": "t1"}
        )
        with urllib.request.urlopen(asked) as answer:  # noqa: S310 - as above
            whole = json.load(answer)
        [kept] = upstream.script.answered
    assert (kept.api, kept.told, kept.session, kept.id) == (api, "all", "t1", whole["id"])
    assert whole["usage"] == usage_of(api, kept.counts)
    assert "hello" in json.dumps(whole)


def test_a_row_that_says_what_was_answered_is_right() -> None:
    assert _words([_call()], [_row()]) == ["right"]


@pytest.mark.parametrize(
    "row",
    [
        {"output_tokens": 71},
        {"cached_input_tokens": 0, "uncached_input_tokens": 900},
        {"thread_id": "t2"},
        {"model": "n"},
        {"output_tokens": 80, "lower_bound": True},
        {"unsplit_input_tokens": 900, "input_tokens": 900, "uncached_input_tokens": None},
    ],
)
def test_a_count_or_a_thread_that_is_not_so_is_wrong(row: dict[str, Any]) -> None:
    assert _words([_call()], [_row(**row)]) == ["wrong"]


@pytest.mark.parametrize(
    "row",
    [
        {"output_tokens": 2, "reasoning_output_tokens": None, "lower_bound": True},
        {"cached_input_tokens": None},
        {"model": None},
        {"cache_creation_input_tokens": None, "uncached_input_tokens": 700},
        {"unsplit_input_tokens": 1000, "uncached_input_tokens": 0, "cached_input_tokens": None},
    ],
)
def test_what_a_row_says_it_does_not_know_is_unknown(row: dict[str, Any]) -> None:
    assert _words([_call()], [_row(**row)]) == ["unknown"]


def test_a_second_row_of_a_call_and_a_row_of_no_call_are_wrong() -> None:
    assert _words([_call()], [_row(), _row(record=4)]) == ["right", "wrong"]
    other = counts_of(9)
    row = _row(
        uncached_input_tokens=other.uncached,
        cached_input_tokens=other.cached,
        cache_creation_input_tokens=other.written,
        input_tokens=other.prompt,
        output_tokens=other.output,
        reasoning_output_tokens=other.reasoning,
    )
    assert _words([_call()], [_row(), row]) == ["right", "wrong"]


def test_a_call_without_a_row_is_wrong_only_where_the_logs_hold_it() -> None:
    assert _words([_call()], [], logged=True) == ["wrong"]
    assert _words([_call()], [], logged=False) == ["unlogged"]


def test_a_sign_of_a_call_without_counts_stands_for_one_call_of_its_thread() -> None:
    empty = dict.fromkeys([name for name in _row() if name.endswith("_tokens")], None)
    sign = _row(**empty, calls=None)
    assert _words([_call(told="nothing")], [sign]) == ["unknown"]
    assert _words([_call()], [_row(), sign]) == ["right", "wrong"]


def test_a_total_that_does_not_match_is_wrong_where_every_call_is_right() -> None:
    problem = {"path": "t1.jsonl", "record": 9, "code": "total-mismatch", "detail": "2 asserted"}
    words = [one.word for one in compare([_call()], [_row()], [problem], lambda _: True)]
    assert words == ["right", "wrong"]
    words = [one.word for one in compare([_call()], [], [problem], lambda _: True)]
    assert words == ["unknown"]


def test_a_row_of_many_calls_is_right_as_their_sum() -> None:
    calls = [_call(1, counts_of(1)), _call(2, counts_of(2))]
    prompt = sum(call.counts.prompt for call in calls)
    output = sum(call.counts.output for call in calls)
    row = _row(
        calls=2,
        uncached_input_tokens=None,
        cached_input_tokens=None,
        cache_creation_input_tokens=None,
        reasoning_output_tokens=None,
        input_tokens=prompt,
        output_tokens=output,
    )
    assert _words(calls, [row]) == ["right", "right"]
    assert "wrong" in _words(calls, [{**row, "output_tokens": output + 1}])
    low = {**row, "input_tokens": prompt - 1}
    assert _words(calls, [{**low, "lower_bound": True}]) == ["unknown", "unknown"]
    assert "wrong" in _words(calls, [low])
    between = _call(3, counts_of(3))
    assert _words([calls[0], between, calls[1]], [row], logged=False) == [
        "right",
        "right",
        "unlogged",
    ]


def test_a_total_that_may_hold_another_threads_stands_for_the_calls_of_its_own() -> None:
    row = _row(calls=None, input_tokens=99_999, output_tokens=9_999, cached_input_tokens=77)
    row |= dict.fromkeys(("uncached_input_tokens", "reasoning_output_tokens"), 55)
    assert _words([_call()], [row], logged=False) == ["wrong", "unlogged"]
    assert _words([_call()], [{**row, "problems": ["perhaps-inherited"]}]) == ["unknown"]


def test_a_sum_may_hold_more_of_a_broken_stream_than_its_begin() -> None:
    calls = [_call(1, counts_of(1), told="start"), _call(2, counts_of(2))]
    prompt = sum(call.counts.prompt for call in calls)
    row = _row(calls=None, input_tokens=prompt, output_tokens=calls[1].counts.output + 9)
    row |= {"cached_input_tokens": None, "uncached_input_tokens": None}
    row |= {"cache_creation_input_tokens": None, "reasoning_output_tokens": None}
    assert sorted(_words(calls, [row])) == ["right", "unknown"]
    assert "wrong" in _words(calls, [{**row, "output_tokens": 2}])
