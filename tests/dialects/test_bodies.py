"""What whole responses say of their calls besides the counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.dialects.responses import Response, find_usage
from tallybook.dialects.served import model_of_address, told_by_address
from tallybook.dialects.usage import left_out, read_usage

WHEN = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
CHAT = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def found(body: dict[str, Any], headers: dict[str, Any] | None = None) -> Response:
    response = find_usage(body, headers)
    assert response is not None
    return response


@pytest.mark.parametrize("stated", [1790000000, 1790000000.0, 1790000000000])
def test_a_chat_says_its_model_id_tier_and_time(stated: float) -> None:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": stated,
        "model": "gpt-5.2",
        "service_tier": "flex",
        "usage": CHAT,
    }
    assert found(body) == Response(
        usage=CHAT,
        model="gpt-5.2",
        response_id="chatcmpl-1",
        service_tier="flex",
        created=WHEN,
    )


@pytest.mark.parametrize(
    "body",
    [
        {"type": "response.completed", "response": {"object": "response", "usage": CHAT}},
        {"choices": [{"usage": CHAT}]},
        {"choices": [], "x_groq": {"usage": CHAT}},
        {"response_metadata": {"token_usage": CHAT}, "usage_metadata": {"input_tokens": 9}},
        {"lc": 1, "type": "constructor", "kwargs": {"response_metadata": {"usage": CHAT}}},
        {"response": {"candidates": [], "usageMetadata": CHAT}, "traceId": "t"},
        {"custom_id": "a", "response": {"status_code": 200, "body": {"usage": CHAT}}},
        {"custom_id": "a", "result": {"type": "succeeded", "message": {"usage": CHAT}}},
        {"usage": CHAT, "error": None},
    ],
)
def test_the_counts_are_found_wherever_a_body_keeps_them(body: dict[str, Any]) -> None:
    assert found(body).usage == CHAT


def test_what_a_framework_made_of_the_counts_is_used_where_the_raw_ones_are_missing() -> None:
    usage = {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10}
    body = {
        "type": "ai",
        "usage_metadata": usage,
        "response_metadata": {"model_name": "gpt-5.2", "id": "resp_1", "model_provider": "openai"},
        "id": "run-1",
    }
    response = found(body)
    assert (response.usage, response.model) == (usage, "gpt-5.2")
    assert (response.response_id, response.provider) == ("resp_1", "openai")


def test_caches_that_the_ai_sdk_keeps_apart_come_to_the_counts() -> None:
    body = {
        "usage": {"promptTokens": 10, "completionTokens": 2, "totalTokens": 12},
        "providerMetadata": {
            "anthropic": {"cacheCreationInputTokens": 7, "cacheReadInputTokens": 500}
        },
        "response": {"id": "msg_1", "modelId": "claude-x", "timestamp": "2026-09-21T14:13:20Z"},
    }
    response = found(body)
    assert (response.provider, response.model, response.created) == ("anthropic", "claude-x", WHEN)
    usage = read_usage(response.usage or {}, response.provider)
    assert usage is not None
    assert usage.dialect == "anthropic"
    assert usage.reported_cached_tokens == 500
    assert usage.reported_cache_creation_tokens == 7


@pytest.mark.parametrize(
    ("body", "provider"),
    [
        ({"id": "gen-1", "provider": "OpenAI", "usage": CHAT}, "openrouter"),
        ({"usage": {**CHAT, "cost": 1, "is_byok": False}}, "openrouter"),
        ({"usage": {**CHAT, "num_sources_used": 0}}, "xai"),
        ({"usage": {"promptTokenCount": 1}, "modelVersion": "gemini-3-pro"}, "google"),
        ({"model": "claude-x", "id": "msg_01abc", "usage": {"input_tokens": 1}}, "anthropic"),
        ({"model": "claude-x", "id": "msg_bdrk_01abc", "usage": {"input_tokens": 1}}, "aws"),
        ({"model": "claude-x", "id": "msg_vrtx_01abc", "usage": {"input_tokens": 1}}, "google"),
        # No key or id of its own: anyone may serve the model.
        ({"model": "claude-x", "id": "chatcmpl-1", "usage": CHAT}, None),
        ({"model": "gpt-5.2", "id": "chatcmpl-1", "usage": CHAT}, None),
        ({"model": "deepseek-chat", "usage": {**CHAT, "prompt_cache_hit_tokens": 0}}, None),
    ],
)
def test_the_provider_is_told_by_keys_and_ids_only(
    body: dict[str, Any], provider: str | None
) -> None:
    assert found(body).provider == provider


def test_headers_tell_the_time_and_of_bedrock_the_counts() -> None:
    headers = {
        "Date": "Mon, 21 Sep 2026 14:13:20 GMT",
        "X-Amzn-RequestId": "r-1",
        "X-Amzn-Bedrock-Input-Token-Count": "13",
        "X-Amzn-Bedrock-Output-Token-Count": "5",
        "X-Amzn-Bedrock-Invocation-Latency": "900",
    }
    response = found({"generations": []}, headers)
    assert (response.created, response.request_id, response.provider) == (WHEN, "r-1", "aws")
    usage = read_usage(response.usage or {}, "aws")
    assert usage is not None
    assert (usage.reported_input_tokens, usage.reported_output_tokens) == (13, 5)


def test_counts_in_the_body_go_before_those_in_the_headers() -> None:
    response = found({"usage": CHAT}, {"x-amzn-bedrock-input-token-count": "13"})
    assert response.usage == CHAT


def test_an_error_is_no_answer() -> None:
    assert found({"error": {"type": "overloaded_error"}}).is_error
    assert found({"custom_id": "a", "response": None, "error": {"code": "expired"}}).is_error
    assert found({"custom_id": "a", "result": {"type": "expired"}}).is_error
    assert not found({"usage": CHAT, "error": {"code": "late"}}).is_error


@pytest.mark.parametrize("body", [{}, {"usage": None}, {"usage": {}}, {"a": 1}, {"response": 3}])
def test_what_is_no_response_is_none(body: dict[str, Any]) -> None:
    assert find_usage(body) is None


@pytest.mark.parametrize(
    ("stated", "thread"),
    [({"id": "conv_1"}, "conv_1"), ("conv_1", "conv_1"), (None, None), ({}, None), (7, None)],
)
def test_a_conversation_is_the_thread(stated: object, thread: str | None) -> None:
    assert found({"usage": CHAT, "conversation": stated}).thread_id == thread


def test_addresses_tell_the_provider_and_on_clouds_the_model() -> None:
    bedrock = (
        "https://bedrock-runtime.eu-west-1.amazonaws.com/model/eu.amazon.nova-pro-v1%3A0/invoke"
    )
    gemini = "https://generativelanguage.googleapis.com/v1beta/models/gemini-3-pro:generateContent"
    assert told_by_address(bedrock) == "aws"
    assert model_of_address(bedrock) == "eu.amazon.nova-pro-v1:0"
    assert told_by_address(gemini) == "google"
    assert model_of_address(gemini) == "gemini-3-pro"
    assert told_by_address("https://gateway.example/v1/chat/completions") is None
    assert told_by_address("https://api.openai.com.example/v1") is None
    assert told_by_address(None) is None
    assert model_of_address("https://api.openai.com/v1/chat/completions") is None


def test_calls_within_an_answer_that_its_counts_leave_out() -> None:
    usage = {
        "input_tokens": 5,
        "output_tokens": 1,
        "iterations": [
            {"type": "message", "input_tokens": 3},
            {"type": "compaction", "input_tokens": 50},
            {"type": "advisor_message", "model": "claude-y", "input_tokens": 7},
            {"type": "fallback_message", "model": "claude-z"},
            "odd",
            {"type": 3},
        ],
    }
    inner = [(each.part, each.kind, each.model) for each in left_out(usage)]
    assert inner == [
        ("iterations[1]", "compaction", None),
        ("iterations[2]", "advisor_message", "claude-y"),
    ]
    assert left_out({"iterations": None}) == []


def test_a_tier_is_judged_by_the_largest_prompt_of_several() -> None:
    message = {"type": "message", "cache_creation_input_tokens": 0}
    usage = {
        "input_tokens": 404500,
        "output_tokens": 1,
        "cache_read_input_tokens": 0,
        "iterations": [
            {**message, "input_tokens": 2500, "cache_read_input_tokens": 0},
            {**message, "input_tokens": 402000, "cache_read_input_tokens": 100},
        ],
    }
    read = read_usage(usage)
    assert read is not None
    assert read.context_tokens == 402100


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)
KEYS = ["usage", "choices", "response", "result", "error", "custom_id", "id", "model", "created"]
KEYS += ["type", "object", "meta", "response_metadata", "providerMetadata", "conversation", "lc"]
KEYS += ["kwargs", "data", "candidates", "usageMetadata", "timings", "ResponseMetadata", "metadata"]


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=5))
def test_no_json_is_too_odd(body: dict[str, Any]) -> None:
    response = find_usage(body)
    if response is not None and response.usage is not None:
        read_usage(response.usage, response.provider)
