"""Usage objects of every provider against buckets worked out by hand from the provider's rules."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.dialects.containment import DIALECTS
from tallybook.dialects.shapes import SHAPES
from tallybook.dialects.usage import Usage, put_usage, read_usage
from tallybook.schema import BUCKETS, Reported
from tests.reported import normalized

LINES = (Path(__file__).parent / "usages.jsonl").read_text("utf-8").splitlines()
CASES: dict[str, dict[str, Any]] = {case["case"]: case for case in map(json.loads, LINES)}
COLUMNS = {
    "uncached": "uncached_input_tokens",
    "cached": "cached_input_tokens",
    "written": "cache_creation_input_tokens",
    "unsplit": "unsplit_input_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_output_tokens",
}


def read(usage: dict[str, Any], provider: str | None = None) -> Usage:
    found = read_usage(usage, provider)
    assert found is not None
    return found


def row(usage: dict[str, Any], provider: str | None = None) -> dict[str, Any]:
    found = read(usage, provider)
    return normalized(**{name: getattr(found, name) for name in found.__struct_fields__})


def buckets(row: dict[str, Any]) -> dict[str, int]:
    return {short: row[name] for short, name in COLUMNS.items() if row[name] is not None}


@pytest.mark.parametrize("name", CASES)
def test_buckets_of_each_shape(name: str) -> None:
    case = CASES[name]
    got = row(case["usage"], case.get("provider"))
    assert buckets(got) == case["buckets"]
    assert got["rule"] == case["rule"]
    assert (got["assumed"] or []) == case.get("assumed", [])
    assert got["problems"] == case.get("problems", [])


def test_every_shape_has_a_case() -> None:
    assert {shape.rule for shape in SHAPES} == {case["rule"] for case in CASES.values()}


def test_dialects_that_shapes_name_exist() -> None:
    for shape in SHAPES:
        assert set(shape.dialects) | set(shape.hints.values()) <= DIALECTS.keys()


@pytest.mark.parametrize("usage", [{}, {"seconds": 3, "type": "duration"}, {"tokens": 7}])
def test_an_object_of_no_shape_is_none(usage: dict[str, Any]) -> None:
    assert read_usage(usage) is None


def test_counts_that_are_null_stay_unknown() -> None:
    found = read({"prompt_tokens": None, "completion_tokens": None, "total_tokens": None})
    assert found.reported_input_tokens is None
    assert found.reported_output_tokens is None
    assert found.problems is None


@pytest.mark.parametrize("bad", [-1, 1.5, "many", "-3", True, [3], {"a": 1}, 2**60, float("nan")])
def test_what_is_no_count_is_a_problem_and_null(bad: object) -> None:
    found = read({"prompt_tokens": bad, "completion_tokens": 2})
    assert found.reported_input_tokens is None
    assert found.reported_output_tokens == 2
    assert found.problems == ["bad-number"]


@pytest.mark.parametrize("same", [7, 7.0, "7"])
def test_a_whole_number_counts_in_whatever_form(same: object) -> None:
    assert read({"prompt_tokens": same, "completion_tokens": 2}).reported_input_tokens == 7


def test_details_of_another_type_state_nothing() -> None:
    found = read({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": [1, "x"]})
    assert found.reported_cached_tokens is None


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost": 0.01606, "is_byok": False, "cost_details": {}}, "0.01606"),
        (
            {
                "cost": 0.95,
                "is_byok": True,
                "cost_details": {"upstream_inference_cost": 19},
            },
            "19.95",
        ),
        ({"cost_in_usd_ticks": 22540000}, "0.002254"),
        ({"search_context_size": "low", "cost": {"total_cost": 0.006}}, "0.006"),
        ({"cost": 1e-7}, "0.0000001"),
    ],
)
def test_costs_are_exact(usage: dict[str, Any], cost: str) -> None:
    found = read({"prompt_tokens": 1, "completion_tokens": 1, **usage})
    assert found.reported_cost_usd == Decimal(cost)


def test_a_cost_that_is_none_is_a_problem() -> None:
    found = read({"prompt_tokens": 1, "completion_tokens": 1, "cost": -2})
    assert found.reported_cost_usd is None
    assert found.problems == ["bad-number"]


def test_what_the_price_depends_on_is_read_beside_the_counts() -> None:
    found = read(
        {
            "input_tokens": 1,
            "output_tokens": 1,
            "cache_read_input_tokens": 0,
            "service_tier": "batch",
            "speed": "fast",
            "inference_geo": "us",
            "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 1},
        }
    )
    assert (found.service_tier, found.speed, found.inference_geo) == ("batch", "fast", "us")
    assert found.web_search_requests == 3


def test_traffic_types_are_service_tiers() -> None:
    flex = {"promptTokenCount": 1, "totalTokenCount": 1, "trafficType": "ON_DEMAND_FLEX"}
    bought = {"promptTokenCount": 1, "trafficType": "PROVISIONED_THROUGHPUT"}
    assert read(flex).service_tier == "flex"
    assert read(bought).service_tier == "PROVISIONED_THROUGHPUT"


def test_a_caller_that_knows_names_the_dialect() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "cache_read_input_tokens": 30}
    found = read_usage(usage, dialect="anthropic")
    assert found is not None
    assert (found.dialect, found.problems) == ("anthropic", None)
    assert found.reported_cached_tokens == 30


COUNT = st.integers(0, 10**6)


@given(cached=COUNT, written=COUNT, rest=COUNT, reasoning=COUNT, answer=COUNT)
def test_chat_buckets_add_up_to_the_total(
    cached: int, written: int, rest: int, reasoning: int, answer: int
) -> None:
    total = cached + written + rest + reasoning + answer
    got = row(
        {
            "prompt_tokens": cached + written + rest,
            "completion_tokens": reasoning + answer,
            "total_tokens": total,
            "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }
    )
    assert sum(got[bucket] or 0 for bucket in BUCKETS) == total
    assert got["problems"] == []


@given(cached=COUNT, rest=COUNT, tools=COUNT, thoughts=COUNT, answer=COUNT)
def test_gemini_buckets_add_up_to_the_total(
    cached: int, rest: int, tools: int, thoughts: int, answer: int
) -> None:
    total = cached + rest + tools + thoughts + answer
    got = row(
        {
            "promptTokenCount": cached + rest,
            "cachedContentTokenCount": cached,
            "toolUsePromptTokenCount": tools,
            "candidatesTokenCount": answer,
            "thoughtsTokenCount": thoughts,
            "totalTokenCount": total,
        }
    )
    assert sum(got[bucket] or 0 for bucket in BUCKETS) == total
    assert got["output_tokens"] == thoughts + answer
    assert got["problems"] == []


@given(cached=COUNT, written=COUNT, rest=COUNT, answer=COUNT)
def test_bedrock_buckets_add_up_to_the_total(
    cached: int, written: int, rest: int, answer: int
) -> None:
    total = cached + written + rest + answer
    got = row(
        {
            "inputTokens": rest,
            "outputTokens": answer,
            "totalTokens": total,
            "cacheReadInputTokens": cached,
            "cacheWriteInputTokens": written,
        }
    )
    assert sum(got[bucket] or 0 for bucket in BUCKETS) == total
    assert got["problems"] == []


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, -1, 1.5, "x", True, [], {}, [{}], {"total": 5}, {"cached_tokens": 5}]
)
KEYS = sorted({key for shape in SHAPES for keys in shape.keys for key in keys})


@given(
    st.dictionaries(st.sampled_from(KEYS), COUNT | ODD, max_size=8),
    st.none() | st.sampled_from(["openai", "anthropic", "google", "9router", "?"]),
)
def test_no_object_is_read_wrongly_without_a_word(
    usage: dict[str, Any], provider: str | None
) -> None:
    found = read_usage(usage, provider)
    if found is None:
        return
    got = normalized(**{name: getattr(found, name) for name in found.__struct_fields__})
    assert all((got[bucket] or 0) >= 0 for bucket in BUCKETS)
    if found.reported_total_tokens is not None and not got["problems"] and not got["lower_bound"]:
        assert not DIALECTS[found.dialect].total_is_sum or (
            got["total_tokens"] == found.reported_total_tokens
        )


FOLDED: list[dict[str, Any]] = [
    {"input_tokens": 1200, "output_tokens": 50, "input_token_details": {"cache_read": 600}},
    {
        "gen_ai.usage.input_tokens": 1200,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 600,
    },
    {
        "prompt_tokens": 1200,
        "completion_tokens": 50,
        "cache_read_input_tokens": 600,
        "prompt_tokens_details": {"cached_tokens": 600},
    },
]


@pytest.mark.parametrize("usage", FOLDED)
@pytest.mark.parametrize(
    "model", ["claude-sonnet-4-6", "us.anthropic.Claude-opus-5", "gpt-5.2", None]
)
def test_what_a_framework_leaves_of_claudes_prompt_may_be_cache_writes(
    usage: dict[str, Any], model: str | None
) -> None:
    """Of 1,200 with 600 read 600 are left: uncached, or of Claude perhaps written to a cache."""
    put = put_usage(Reported(record=1, model=model), read(usage, "langchain"))
    got = normalized(**{name: getattr(put, name) for name in put.__struct_fields__})
    claude = model is not None and "gpt" not in model
    want = {"unsplit": 600} if claude else {"uncached": 600, "unsplit": 0}
    assert buckets(got) == {"cached": 600, "output": 50, **want}
    assert "total-mismatch" not in got["problems"]
    assert got["input_tokens"] == 1200


def test_claudes_writes_that_a_framework_states_are_known() -> None:
    usage = {**FOLDED[0], "input_token_details": {"cache_read": 600, "cache_creation": 0}}
    put = put_usage(Reported(record=1, model="claude-sonnet-4-6"), read(usage, "langchain"))
    got = normalized(**{name: getattr(put, name) for name in put.__struct_fields__})
    assert buckets(got) == {
        "uncached": 600,
        "cached": 600,
        "written": 0,
        "unsplit": 0,
        "output": 50,
    }
