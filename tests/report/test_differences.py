"""What another says is read in its form, and each difference gets the cause that was put in."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import polars as pl
import pytest
from msgspec.structs import replace

from tallybook.errors import TallybookError
from tallybook.pricing.cost import SCHEMA, price
from tallybook.pricing.rates import Rates, load
from tallybook.report.differences import Differences, compare
from tallybook.report.pieces import pieces
from tallybook.report.query import Query
from tallybook.report.statements import Statement, Statements, canonical, read_statements
from tests.frames import usage_frame

CCUSAGE = """{"daily": [{"agent": "all", "period": "2026-02-03", "metadata": {"agents": ["codex"]},
 "modelBreakdowns": [{"modelName": "gpt-5.2-codex", "inputTokens": 188432, "outputTokens": 12384,
 "cacheReadTokens": 582912, "cacheCreationTokens": 0, "cost": 0.6051416}]}], "totals": {}}"""
CCUSAGE_CODEX = """{"daily": [{"date": "2026-02-09", "costUSD": 0.21, "models": {"gpt-5.3-codex":
 {"inputTokens": 70205, "cacheReadTokens": 97024, "cacheCreationTokens": 0, "outputTokens": 5052,
  "reasoningOutputTokens": 2816, "totalTokens": 172281, "isFallback": false}}}], "totals": {}}"""
# As ccusage 20.0.24 and tokscale 4.17.0 write them.
CCUSAGE_WEEKLY = """{"totals": {}, "weekly": [{"agent": "all", "metadata": {"agents": ["claude",
 "codex"]}, "period": "2026-05-25", "totalCost": 0.0036, "modelBreakdowns": [{"modelName":
 "gpt-5.1-codex-mini", "inputTokens": 11167, "outputTokens": 302, "cacheReadTokens": 0,
 "cacheCreationTokens": 0, "cost": 0.00339575}]}]}"""
CCUSAGE_CLAUDE_WEEKLY = """{"totals": {}, "weekly": [{"week": "2026-05-24", "modelBreakdowns":
 [{"modelName": "claude-opus-4-5-20251101", "inputTokens": 17, "outputTokens": 1019,
 "cacheReadTokens": 55235, "cacheCreationTokens": 16144, "cost": 0.1540775}]}]}"""
CCUSAGE_CODEX_MONTHLY = """{"totals": {}, "monthly": [{"month": "2026-05", "costUSD": 0.0183,
 "models": {"gpt-5.1-codex": {"inputTokens": 13219, "cacheReadTokens": 0, "cacheCreationTokens": 0,
 "outputTokens": 186, "reasoningOutputTokens": 52, "totalTokens": 13405, "isFallback": false}}}]}"""
CCUSAGE_SESSION = """{"totals": {}, "session": [{"agent": "claude", "period":
 "71ed4faa-4919-4370-a7a6-3249bcecc4ce", "metadata": {"lastActivity": "2026-03-16T18:35:52.975Z"},
 "modelBreakdowns": [{"modelName": "claude-sonnet-4-5-20250929", "inputTokens": 121,
 "outputTokens": 8527, "cacheReadTokens": 580061, "cacheCreationTokens": 86596,
 "cost": 0.76905}]}]}"""
CCUSAGE_CODEX_SESSION = """{"totals": {}, "sessions": [{"sessionId": "2026/05/29/rollout-x",
 "costUSD": 0.00339575, "lastActivity": "2026-05-29T15:52:14.225Z", "models": {"gpt-5.1-codex-mini":
 {"inputTokens": 11167, "cacheReadTokens": 0, "cacheCreationTokens": 0, "outputTokens": 302}}}]}"""
TOKSCALE_MONTHLY = """{"entries": [{"month": "2026-02", "models": ["claude-opus-4-5"], "input":
 109008, "output": 16358, "cacheRead": 513905, "cacheWrite": 161382, "reasoning": 6261,
 "messageCount": 38, "cost": 1.5}], "totalCost": 1.5, "processingTimeMs": 31}"""
TOKSCALE_HOURLY = """{"entries": [{"hour": "2026-02-14 14:00", "clients": ["codex"], "models":
 ["gpt-5.2-codex"], "input": 36403, "output": 1682, "cacheRead": 10368, "cacheWrite": 0,
 "messageCount": 3, "turnCount": 2, "cost": 0.0}]}"""
TOKSCALE = """{"meta": {}, "contributions": [{"date": "2026-02-09", "clients": [{"client": "codex",
 "modelId": "gpt-5.3-codex", "providerId": "openai", "tokens": {"input": 70205, "output": 2236,
 "cacheRead": 97024, "cacheWrite": 0, "reasoning": 2816}, "cost": 0.0, "messages": 3}]}]}"""
TOKSCALE_MODELS = """{"groupBy": "client,model", "entries": [{"client": "claude", "model":
 "claude-opus-4-5", "input": 51, "output": 9139, "cacheRead": 311001, "cacheWrite": 70660,
 "reasoning": 0, "messageCount": 8, "cost": 0.5}], "totalCacheRead": 311001, "totalCost": 0.5}"""
OPENAI_USAGE = """start_time,end_time,start_time_iso,num_model_requests,model,batch,service_tier,\
input_tokens,output_tokens,input_cached_tokens,input_uncached_tokens
1759622400,1759708800,2025-10-05T00:00:00+00:00,10.0,gpt-4o-2024-08-06,FALSE,default,\
59200.0,10646.0,5760.0,53440.0
1759708800,1759795200,2025-10-06T00:00:00+00:00,,,,,,,,
"""
OPENAI_USAGE_PAGE = """{"object": "page", "data": [{"object": "bucket", "start_time": 1730419200,
 "end_time": 1730505600, "results": [{"object": "organization.usage.completions.result",
 "input_tokens": 1000, "output_tokens": 500, "input_cached_tokens": 800, "num_model_requests": 5,
 "model": "gpt-4o-mini-2024-07-18"}]}], "has_more": false}"""
OPENAI_COSTS = """{"object": "page", "data": [{"object": "bucket", "start_time": 1730419200,
 "end_time": 1730505600, "results": [{"object": "organization.costs.result", "amount":
 {"value": 0.06, "currency": "usd"}, "line_item": "gpt-4o-2024-08-06, input"}]}]}"""
OPENAI_COSTS_TABLE = """start_time\tend_time\tamount_value\tamount_currency\tline_item
1759622400\t1759708800\t0.8958740000000000\tusd\t
1759968000\t1760054400\t\t\t
"""
ANTHROPIC_USAGE = """{"data": [{"starting_at": "2025-08-01T00:00:00Z", "ending_at":
 "2025-08-02T00:00:00Z", "results": [{"uncached_input_tokens": 1500, "cache_creation":
 {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
 "cache_read_input_tokens": 200, "output_tokens": 500, "model": "claude-sonnet-4-20250514"}]}]}"""
ANTHROPIC_TOKENS = """usage_date_utc,model_version,api_key,workspace,usage_type,context_window,\
usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,\
usage_input_tokens_cache_read,usage_output_tokens,web_search_count,inference_geo,speed
2026-03-22,claude-sonnet-4-20250514,k,Default,standard,≤ 200k,100000,7,3,40,5000,10,global,
"""
ANTHROPIC_COSTS = """{"data": [{"starting_at": "2025-08-01T00:00:00Z", "ending_at":
 "2025-08-02T00:00:00Z", "results": [{"currency": "USD", "amount": "123.78912", "cost_type":
 "tokens", "model": "claude-opus-4-20250514", "token_type": "output_tokens"}]}]}"""
ANTHROPIC_CONSOLE_COSTS = """usage_date_utc,model,workspace,api_key,usage_type,context_window,\
token_type,cost_usd,list_price_usd,cost_type,inference_geo,speed
2026-03-15,Claude Opus 4.6,Default,k,message,≤ 200k,input_no_cache,1.50,1.50,token,global,
"""
OPENROUTER = """generation_id,created_at,cost_total,cost_web_search,cost_cache,tokens_prompt,\
tokens_completion,tokens_reasoning,tokens_cached,model_permaslug,provider_name
gen-1,2026-06-28 03:46:57.713,0.0123,0,0,10389,137,0,512,openai/gpt-oss-120b,Groq
"""
OPENROUTER_DAYS = """Date,Slug,Usage,BYOK Usage,Requests,Prompt Tokens,Completion Tokens,\
Reasoning Tokens
"2026-05-12 00:00:00","anthropic/claude-opus-4.7","430.07","0","4115","70965665","3009973","0"
"""
OPENROUTER_ACTIVITY = """{"data": [{"date": "2025-08-24", "model": "openai/gpt-4.1",
 "model_permaslug": "openai/gpt-4.1-2025-04-14", "usage": 0.015, "byok_usage_inference": 0.012,
 "requests": 5, "prompt_tokens": 50, "completion_tokens": 125, "reasoning_tokens": 25}]}"""


@pytest.mark.parametrize(
    ("content", "form", "want"),
    [
        (CCUSAGE, "ccusage", ("2026-02-03", "gpt-5-2-codex", 771344, 582912, 12384, "0.6051416")),
        (CCUSAGE_CODEX, "ccusage", ("2026-02-09", "gpt-5-3-codex", 167229, 97024, 5052, "0.21")),
        (
            CCUSAGE_WEEKLY,
            "ccusage",
            ("2026-05-25", "gpt-5-1-codex-mini", 11167, 0, 302, "0.00339575"),
        ),
        (
            CCUSAGE_CLAUDE_WEEKLY,
            "ccusage",
            ("2026-05-24", "claude-opus-4-5", 71396, 55235, 1019, "0.1540775"),
        ),
        (CCUSAGE_CODEX_MONTHLY, "ccusage", ("2026-05", "gpt-5-1-codex", 13219, 0, 186, "0.0183")),
        (CCUSAGE_SESSION, "ccusage", (None, "claude-sonnet-4-5", 666778, 580061, 8527, "0.76905")),
        (
            CCUSAGE_CODEX_SESSION,
            "ccusage",
            (None, "gpt-5-1-codex-mini", 11167, 0, 302, "0.00339575"),
        ),
        (TOKSCALE_MONTHLY, "tokscale", ("2026-02", None, 784295, 513905, 22619, "1.5")),
        (TOKSCALE_HOURLY, "tokscale", ("2026-02-14", None, 46771, 10368, 1682, None)),
        # Its output is without reasoning, and 0 is its cost of what it has no price for.
        (TOKSCALE, "tokscale", ("2026-02-09", "gpt-5-3-codex", 167229, 97024, 5052, None)),
        (TOKSCALE_MODELS, "tokscale", (None, "claude-opus-4-5", 381712, 311001, 9139, "0.5")),
        (OPENAI_USAGE, "openai-usage", ("2025-10-05", "gpt-4o", 59200, 5760, 10646, None)),
        (OPENAI_USAGE_PAGE, "openai-usage", ("2024-11-01", "gpt-4o-mini", 1000, 800, 500, None)),
        (OPENAI_COSTS, "openai-costs", ("2024-11-01", "gpt-4o", None, None, None, "0.06")),
        (OPENAI_COSTS_TABLE, "openai-costs", ("2025-10-05", None, None, None, None, "0.895874")),
        (
            ANTHROPIC_USAGE,
            "anthropic-usage",
            ("2025-08-01", "claude-sonnet-4", 3200, 200, 500, None),
        ),
        (
            ANTHROPIC_TOKENS,
            "anthropic-usage",
            ("2026-03-22", "claude-sonnet-4", 100050, 40, 5000, None),
        ),
        # Amounts are cents.
        (
            ANTHROPIC_COSTS,
            "anthropic-costs",
            ("2025-08-01", "claude-opus-4", None, None, None, "1.2378912"),
        ),
        (
            ANTHROPIC_CONSOLE_COSTS,
            "anthropic-costs",
            ("2026-03-15", "claude-opus-4-6", None, None, None, "1.5"),
        ),
        (
            OPENROUTER,
            "openrouter-activity",
            ("2026-06-28", "gpt-oss-120b", 10389, 512, 137, "0.0123"),
        ),
        (
            OPENROUTER_DAYS,
            "openrouter-activity",
            ("2026-05-12", "claude-opus-4-7", 70965665, None, 3009973, "430.07"),
        ),
        (
            OPENROUTER_ACTIVITY,
            "openrouter-activity",
            ("2025-08-24", "gpt-4-1", 50, None, 125, "0.015"),
        ),
    ],
)
def test_each_form_is_known_and_read(content: str, form: str, want: tuple[Any, ...]) -> None:
    found = read_statements(content.encode(), "file")
    assert found.form == form
    (row,) = found.rows
    day, model, prompt, cached, output, cost = want
    assert (row.day, row.model, row.input, row.cached, row.output) == (
        day,
        model,
        prompt,
        cached,
        output,
    )
    assert row.cost == (None if cost is None else Decimal(cost))


@pytest.mark.parametrize("content", ["", "{}", "[]", "a,b\n1,2\n", '{"daily": 3}', "hello"])
def test_another_form_is_refused(content: str) -> None:
    with pytest.raises(TallybookError, match="no form that is known"):
        read_statements(content.encode(), "file")


@pytest.mark.parametrize(
    ("model", "want"),
    [
        ("anthropic/claude-opus-4.5", "claude-opus-4-5"),
        ("Claude Opus 4.5", "claude-opus-4-5"),
        ("claude-opus-4-5-20251101", "claude-opus-4-5"),
        ("Claude 3.5 Sonnet 2024-10-22", "claude-sonnet-3-5"),
        ("gpt-5-2025-08-07", "gpt-5"),
        ("gpt-5.2-codex", "gpt-5-2-codex"),
        ("", None),
    ],
)
def test_names_of_models_meet(model: str, want: str | None) -> None:
    assert canonical(model) == want


# ---- causes

START = datetime(2026, 5, 1, 9, tzinfo=UTC)
MODELS = ("gpt-5.4", "claude-opus-4-5", "claude-sonnet-4-5")
FAULTS = (
    "",
    "duplicates",
    "cache-convention",
    "reasoning",
    "price",
    "tier",
    "missing-source",
    "placeholder",
)


@cache
def rates() -> Rates:
    return load(None, None)


def calls(days: int, seed: int = 7) -> pl.DataFrame:
    """Made-up calls of some days and models, in three files, with records left out."""
    pick = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for day in range(days):
        for number, model in enumerate(MODELS):
            for n in range(6):
                uncached = pick.randrange(300, 90_000) + (250_000 if n == 5 else 0)
                cached, output = pick.randrange(1_000, 50_000), pick.randrange(100, 9_000)
                row = {
                    "model": model,
                    "provider": "anthropic" if number else "openai",
                    "timestamp": START + timedelta(days=day, hours=2 * n, minutes=number),
                    "path": f"{'abc'[n % 3]}.jsonl",
                    "call_id": f"{day}/{model}/{n}",
                    "uncached_input_tokens": uncached,
                    "cached_input_tokens": cached,
                    "cache_creation_input_tokens": pick.randrange(1, 900) if number else 0,
                    "cache_creation_1h_input_tokens": 0,
                    "output_tokens": output,
                    "reasoning_output_tokens": output // 3,
                    "output_lower_bound": n == 4,
                    "refused": False,
                }
                rows.append(row)
                if n in {1, 3}:
                    of = {"duplicate_of": row["call_id"], "duplicate_reason": "same-response"}
                    rows.append(row | of | ({} if n == 1 else {"duplicate_reason": "capture"}))
    bare = usage_frame(rows).drop(*SCHEMA, strict=False)
    return price(bare.with_columns(context_tokens="input_tokens"), rates())


def truth(rows: pl.DataFrame, day: str, model: str) -> dict[str, Any]:
    """Sums of the calls of a day and model, by plain addition."""
    at = pl.col("timestamp").dt.strftime("%Y-%m-%d") == day
    found = rows.filter(at, pl.col("model") == model)
    own, left = (
        found.filter(pl.col("duplicate_of").is_null()),
        found.filter(pl.col("duplicate_of").is_not_null()),
    )
    names = {
        "input": "input_tokens",
        "cached": "cached_input_tokens",
        "creation": "cache_creation_input_tokens",
        "output": "output_tokens",
        "reasoning": "reasoning_output_tokens",
    }
    sums = {name: int(own[column].sum()) for name, column in names.items()}
    more = {f"left_{name}": int(left[column].sum()) for name, column in names.items()}
    one = own.filter(pl.col("path") == "b.jsonl")
    lacking = {f"b_{name}": int(one[column].sum()) for name, column in names.items()}
    bare = own.drop(*SCHEMA, strict=False).with_columns(context_tokens=pl.lit(0))
    flat = price(bare, rates())
    return (
        sums
        | more
        | lacking
        | {
            "cost": Decimal(int(own["cost"].sum())).scaleb(-15),
            "b_cost": Decimal(int(one["cost"].sum())).scaleb(-15),
            "flat": Decimal(int(flat["cost"].sum())).scaleb(-15),
        }
    )


def stated(day: str, model: str, true: dict[str, Any], fault: str) -> Statement:
    """What another would say of a cell, with a fault."""
    said = {name: true[name] for name in ("input", "cached", "creation", "output", "cost")}
    if fault == "duplicates":
        said |= {n: true[n] + true[f"left_{n}"] for n in ("input", "cached", "creation", "output")}
        said["cost"] *= Decimal("1.3")
    elif fault == "cache-convention":
        said |= {"input": true["input"] + true["cached"], "cost": true["cost"] * 2}
    elif fault == "reasoning":
        said |= {"output": true["output"] + true["reasoning"], "cost": true["cost"] * 2}
    elif fault == "price":
        said["cost"] *= Decimal("1.25")
    elif fault == "tier":
        said["cost"] = true["flat"]
    elif fault == "missing-source":
        said |= {n: true[n] - true[f"b_{n}"] for n in ("input", "cached", "creation", "output")}
        said["cost"] -= true["b_cost"]
    elif fault == "placeholder":
        said |= {"output": true["output"] + 777, "cost": true["cost"] + Decimal("0.01")}
    return Statement(day=day, model=canonical(model), **said)


def compared(rows: pl.DataFrame, statements: Statements, zone: str = "UTC") -> Differences:
    return compare(pieces([rows], Query(), statements, rates()), statements, zone)


def test_the_cause_that_was_put_in_is_the_one_that_is_named() -> None:
    rows = calls(days=8)
    put_in: dict[tuple[str | None, str | None], str] = {}
    said = []
    for day in range(8):
        for number, model in enumerate(MODELS):
            fault = FAULTS[(day + number) % len(FAULTS)]
            if fault == "tier" and model == "claude-opus-4-5":
                fault = "price"  # it has no tier of long prompts
            date = (START + timedelta(days=day)).date().isoformat()
            said.append(stated(date, model, truth(rows, date, model), fault))
            put_in[date, canonical(model)] = fault
    found = compared(rows, Statements("made up", said))
    for row in found.rows:
        fault = put_in[row["day"], row["model"]]
        assert {each["cause"] for each in row["causes"]} >= ({fault} if fault else set()), row
        if fault != "duplicates":
            assert len(row["causes"]) == bool(fault), row
        tokens = sum(each["tokens"] for each in row["causes"])
        cost = sum((Decimal(each["cost_usd"]) for each in row["causes"]), Decimal())
        # What is split adds up to the difference, but for dust.
        assert tokens == row["difference"]["tokens"]
        assert abs(cost - Decimal(row["difference"]["cost_usd"])) <= Decimal("0.000001")
    assert found.totals["unknown"] == {"tokens": 0, "cost_usd": "0"}
    assert found.totals["apart"]["tokens"] > 0


def test_days_that_begin_at_another_hour_are_known_by_the_hour() -> None:
    rows = calls(days=6)
    at = pl.col("timestamp").dt.offset_by("-12h").dt.strftime("%Y-%m-%d").alias("day")
    own = rows.filter(pl.col("duplicate_of").is_null()).with_columns(at)
    groups = own.group_by("day", "model").agg(pl.col("input_tokens", "output_tokens", "cost").sum())
    said = [
        Statement(
            day=day,
            model=canonical(model),
            input=prompt,
            output=output,
            cost=Decimal(cost).scaleb(-15),
        )
        for day, model, prompt, output, cost in groups.iter_rows()
    ]
    found = compared(rows, Statements("made up", said))
    assert found.totals["unknown"]["tokens"] == 0
    assert set(found.totals["causes"]) <= {"time-zone"}
    assert found.totals["apart"]["tokens"] > 0


@pytest.mark.parametrize(
    ("period", "name", "starts"),
    [
        # 2026-05-01 was a Friday: of six days two or three lie in the first week.
        ("week", lambda day: "2026-04-27" if day < "2026-05-04" else "2026-05-04", 0),
        ("week", lambda day: "2026-04-26" if day < "2026-05-03" else "2026-05-03", 6),
        ("month", lambda day: day[:7], 0),
    ],
)
def test_weeks_and_months_hold_their_days(period: str, name: Any, starts: int) -> None:
    rows = calls(days=6)
    own = rows.filter(pl.col("duplicate_of").is_null())
    sums: dict[tuple[str, str], list[int]] = {}
    for at, model, prompt, output, cost in own.select(
        "timestamp", "model", "input_tokens", "output_tokens", "cost"
    ).iter_rows():
        parts = sums.setdefault((name(at.date().isoformat()), model), [0, 0, 0])
        sums[name(at.date().isoformat()), model] = [
            a + b for a, b in zip(parts, (prompt, output, cost), strict=True)
        ]
    said = [
        Statement(
            day=start,
            model=canonical(model),
            input=prompt,
            output=output,
            cost=Decimal(cost).scaleb(-15),
        )
        for (start, model), (prompt, output, cost) in sums.items()
    ]
    found = compared(rows, Statements("made up", said, period=period))
    assert found.sides.weekday == starts
    assert len(found.rows) == len(sums)
    assert found.totals["apart"] == {"tokens": 0, "cost_usd": "0"}


def test_a_cost_that_is_stated_of_some_parts_is_none_of_the_whole() -> None:
    rows = calls(days=1)
    date = START.date().isoformat()
    true = truth(rows, date, MODELS[0])
    half = {"input": true["input"] - 100, "output": true["output"] - 10}
    said = [
        Statement(day=date, model=canonical(MODELS[0]), cost=None, **half),
        Statement(day=date, model=canonical(MODELS[0]), cost=Decimal(1), input=100, output=10),
    ]
    (row,) = compared(rows, Statements("made up", said, providers=("openai",))).rows
    assert (row["theirs"]["cost_usd"], row["causes"]) == (None, [])


def test_what_nothing_gives_is_unknown() -> None:
    rows = calls(days=1)
    date = START.date().isoformat()
    true = truth(rows, date, MODELS[0])
    odd = {"input": true["input"] + 12_345, "output": true["output"] - 5}
    said = Statement(day=date, model=canonical(MODELS[0]), cost=true["cost"], **odd)
    found = compared(rows, Statements("made up", [said], providers=("openai",)))
    (row,) = found.rows
    assert [(each["cause"], each["tokens"]) for each in row["causes"]] == [("unknown", 12_340)]


def test_more_of_each_count_is_a_log_that_is_not_here() -> None:
    rows = calls(days=1)
    date = START.date().isoformat()
    true = truth(rows, date, MODELS[0])
    more = {name: true[name] + 12_345 for name in ("input", "cached", "output")}
    said = Statement(day=date, model=canonical(MODELS[0]), cost=true["cost"], **more)
    (row,) = compared(rows, Statements("made up", [said], providers=("openai",))).rows
    assert [(e["cause"], e["tokens"]) for e in row["causes"]] == [("missing-source", 24_690)]


def test_only_the_provider_and_the_days_that_it_speaks_of_are_compared() -> None:
    rows = calls(days=3)
    date = (START + timedelta(days=1)).date().isoformat()
    true = truth(rows, date, MODELS[0])
    said = stated(date, MODELS[0], true, "")
    found = compared(rows, Statements("made up", [said], providers=("openai",)))
    assert [(row["day"], row["model"], row["causes"]) for row in found.rows] == [
        (date, "gpt-5-4", [])
    ]


def test_a_cost_without_counts_is_held_against_what_is_left_out() -> None:
    rows = calls(days=1)
    date, model = START.date().isoformat(), MODELS[0]
    true = truth(rows, date, model)
    for cost, cause in (
        (true["cost"], []),
        (true["cost"] - true["b_cost"], ["missing-source"]),
        (true["flat"], ["tier"]),
        (true["cost"] * 3, ["unknown"]),
    ):
        said = Statement(day=date, model=canonical(model), cost=cost)
        (row,) = compared(rows, Statements("made up", [said], providers=("openai",))).rows
        assert [each["cause"] for each in row["causes"]] == cause


# ---- costs by kind of token


OPENAI_LINES = [
    ("gpt-5.4-2026-03-05, input", 0.5, 200_000),
    ("gpt-5.4-2026-03-05, cached input", 0.25, 1_000_000),
    ("gpt-5.4-2026-03-05, output", 0.15, 10_000),
    ("priority | gpt-5.4-2026-03-05, output, long context", 0.05, 2_000),
    ("gpt-5.6-sol, cache writes", 0.125, None),
    ("gpt-audio-mini-2025-12-15 audio, input", 0.02, None),
    ("web search tool calls", 0.07, 7),
    ("file search tool calls", 0.01, 4),
]


def test_lines_of_costs_are_put_together_by_model_and_kind() -> None:
    results = [
        {"amount": {"value": value}, "line_item": item, "quantity": quantity}
        for item, value, quantity in OPENAI_LINES
    ]
    page = {"data": [{"start_time": 1_793_491_200, "results": results}]}
    found = {row.model: row for row in read_statements(json.dumps(page).encode(), "file").rows}
    tools = {"web-search-tool-calls", "file-search-tool-calls"}
    assert found.keys() == {"gpt-5-4", "gpt-5-6-sol", "gpt-audio-mini", *tools}
    row = found["gpt-5-4"]
    assert row.costs is not None
    assert {kind: str(cost) for kind, cost in row.costs.items()} == {
        "uncached": "0.5",
        "cached": "0.25",
        "output": "0.20",
    }
    assert (row.cost, row.input, row.cached, row.output) == (
        Decimal("0.95"),
        1_200_000,
        1_000_000,
        12_000,
    )
    # A line without a quantity states no tokens, and neither do searches.
    assert found["gpt-5-6-sol"].costs == {"creation": Decimal("0.125")}
    assert found["gpt-5-6-sol"].input is None
    assert found["web-search-tool-calls"].costs == {"search": Decimal("0.07")}
    assert found["file-search-tool-calls"].costs == {"tool": Decimal("0.01")}
    assert found["web-search-tool-calls"].output is None


def test_the_kinds_of_anthropic_s_costs_are_those_of_tokens() -> None:
    kinds = {
        "uncached_input_tokens": "uncached",
        "cache_read_input_tokens": "cached",
        "cache_creation.ephemeral_5m_input_tokens": "creation",
        "cache_creation.ephemeral_1h_input_tokens": "creation",
        "output_tokens": "output",
    }
    for token_type, kind in kinds.items():
        text = ANTHROPIC_COSTS.replace("output_tokens", token_type)
        (row,) = read_statements(text.encode(), "file").rows
        assert row.costs == {kind: Decimal("1.2378912")}


def by_kind(day: str, model: str, rows: pl.DataFrame) -> dict[str, Decimal]:
    """Our costs of a cell by kind, by plain addition."""
    columns = {
        "uncached": "uncached_input_cost",
        "cached": "cached_input_cost",
        "creation": "cache_creation_cost",
        "output": "output_cost",
    }
    at = pl.col("timestamp").dt.strftime("%Y-%m-%d") == day
    own = rows.filter(at, pl.col("model") == model, pl.col("duplicate_of").is_null())
    return {kind: Decimal(int(own[name].sum())).scaleb(-15) for kind, name in columns.items()}


def of_costs(rows: pl.DataFrame, costs: dict[str, Decimal], **more: Any) -> Any:
    date, model = START.date().isoformat(), MODELS[0]
    said = Statement(
        day=date, model=canonical(model), cost=sum(costs.values(), Decimal()), costs=costs
    )
    said = replace(said, **more)
    (row,) = compared(rows, Statements("made up", [said], providers=("openai",))).rows
    return [(each["cause"], each["words"], Decimal(each["cost_usd"])) for each in row["causes"]]


def test_costs_by_kind_tell_what_their_sum_does_not() -> None:
    rows = calls(days=1)
    costs = by_kind(START.date().isoformat(), MODELS[0], rows)
    assert of_costs(rows, costs) == []
    # As much less of one kind as more of another: the sum is ours.
    half = costs["output"] / 2
    told = of_costs(rows, costs | {"output": half, "uncached": costs["uncached"] + half})
    assert [(cause, cost) for cause, _, cost in told] == [("price", half), ("price", -half)]
    # Of calls of which the log has a first count the provider counts more output.
    (placeholder,) = of_costs(rows, costs | {"output": costs["output"] + 1})
    assert (placeholder[0], placeholder[2]) == ("placeholder", 1)
    # Where no kind agrees, nothing tells whether the calls are the same.
    odd = {kind: cost * n for n, (kind, cost) in enumerate(costs.items(), 2)}
    assert {cause for cause, _, _ in of_costs(rows, odd)} == {"unknown"}


def test_tokens_that_the_provider_read_from_its_cache_are_moved_from_the_rest() -> None:
    """At 2.50 and 0.25 a million, 10,000 tokens more read from the cache: 0.025 less, 0.0025 more.

    Without the call of a long prompt, whose rates are twice as high.
    """
    rows = calls(days=1).filter(pl.col("input_tokens") < 272_000)
    costs = by_kind(START.date().isoformat(), MODELS[0], rows)
    more = {
        "uncached": costs["uncached"] - Decimal("0.025"),
        "cached": costs["cached"] + Decimal("0.0025"),
    }
    assert of_costs(rows, costs | more) == [
        (
            "cache-convention",
            "it has 10,000 more of the prompt as cached input",
            Decimal("-0.0225"),
        )
    ]


def test_searches_that_stand_under_their_own_name_are_held_against_those_of_all_models() -> None:
    rows = price(
        calls(days=1).drop(*SCHEMA, strict=False).with_columns(web_search_requests=pl.lit(1)),
        rates(),
    )
    date, model = START.date().isoformat(), MODELS[0]
    costs = by_kind(date, model, rows)
    whole = sum(costs.values(), Decimal())
    own = Statement(day=date, model=canonical(model), cost=whole, costs=costs)
    # Six calls of OpenAI's model with a search each, at $10 a thousand.
    fees = Statement(
        day=date,
        model="web-search-tool-calls",
        cost=Decimal("0.06"),
        costs={"search": Decimal("0.06")},
    )
    found = compared(rows, Statements("made up", [own, fees], providers=("openai",)))
    assert found.totals["causes"] == {}
    assert found.totals["ours"]["cost_usd"] == found.totals["theirs"]["cost_usd"]
