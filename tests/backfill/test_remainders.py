"""Outputs that Claude Code never wrote: from stored answers, agents' ends and the client's totals.

The session: the lead's calls take 10/2000/100 and 12/2100/90 (uncached, read, written) for 300 and
200 tokens, the agent's 20/0/900 and 4/900/80, whose first counts are 2 and 3 and whose last ones
are 111 and 222. So all of it is 46/5000/1170 and 833.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from tallybook.backfill.plan import BackfillPlan, stated
from tallybook.backfill.propose import Proposal
from tallybook.commands import app
from tallybook.derive.chain import corrected, derive, priced
from tallybook.files.find import walk
from tallybook.pricing.rates import load
from tallybook.report.query import Query
from tallybook.report.summary import summarise_batches
from tests.backfill.pairs import propose
from tests.rows_of_files import read_files

SESSION = "aaaaaaaa-0000-4000-8000-000000000001"
FORK = "bbbbbbbb-0000-4000-8000-000000000002"
AGENT = "abc1234567890def1"
MODEL = "claude-sonnet-4-5-20250929"
Line = dict[str, Any]


def uuid(number: int) -> str:
    return f"a0000000-0000-4000-8000-{number:012d}"


def line(number: int, minute: int, session: str, **columns: Any) -> Line:
    return {
        "parentUuid": uuid(number - 1),
        "isSidechain": False,
        "uuid": uuid(number),
        "timestamp": f"2026-09-02T09:{minute:02d}:00.000Z",
        "cwd": "/w/app",
        "sessionId": session,
        "version": "2.1.286",
        **columns,
    }


def usage(uncached: int, read: int, written: int, output: int) -> Line:
    return {
        "input_tokens": uncached,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
    }


def message(number: int, counts: Line, stop: str | None) -> Line:
    return {
        "model": MODEL,
        "id": f"msg_01Response0000000{number:04d}",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "x"}],
        "stop_reason": stop,
        "usage": counts,
    }


def said(number: int, counts: Line, stop: str | None = None, **columns: Any) -> Line:
    return line(number, number, SESSION, type="assistant", requestId=f"req_{number}",
                message=message(number, counts, stop)) | columns  # fmt: skip


def of_agent(number: int, counts: Line, stop: str | None = None) -> Line:
    return said(number, counts, stop, isSidechain=True, agentId=AGENT)


def asked(number: int, **columns: Any) -> Line:
    return line(number, number, SESSION, type="user",
                message={"role": "user", "content": "go"}) | columns  # fmt: skip


def ended(output: int, **instead: Any) -> Line:
    """What the lead is told of the agent: its last response, of 4/900/80."""
    counts = usage(4, 900, 80, output)
    told = {"status": "completed", "agentId": AGENT, "content": [], "totalTokens": 984 + output,
            "totalToolUseCount": 1, "usage": counts} | instead  # fmt: skip
    return asked(30, toolUseResult={name: value for name, value in told.items() if value})


def noticed(tokens: int, task: str = AGENT, **columns: Any) -> Line:
    """What the model is told of the agent when that ran aside; it answered in words of its own."""
    text = (
        f"<task-notification>\n<task-id>{task}</task-id>\n<status>completed</status>\n"
        '<result>It says "<usage><subagent_tokens>7</subagent_tokens></usage>".</result>\n'
        f"<usage><subagent_tokens>{tokens}</subagent_tokens><tool_uses>1</tool_uses>"
        "<duration_ms>2178</duration_ms></usage>\n</task-notification>"
    )
    return asked(30, message={"role": "user", "content": text},
                 origin={"kind": "task-notification"}) | columns  # fmt: skip


def total(uncached: int, read: int, written: int, output: int, session: str = SESSION) -> Line:
    counts = {"inputTokens": uncached, "outputTokens": output, "cacheReadInputTokens": read,
              "cacheCreationInputTokens": written, "costUSD": 1}  # fmt: skip
    return {"type": "cost-state", "sessionId": session, "startTime": 1796002268824,
            "modelUsage": {MODEL: counts}}  # fmt: skip


WHOLE = total(46, 5000, 1170, 833)
LEAD = (
    asked(1),
    said(2, usage(10, 2000, 100, 300), "tool_use"),
    said(31, usage(12, 2100, 90, 200), "end_turn"),
)
FIRST, SECOND = of_agent(10, usage(20, 0, 900, 2)), of_agent(12, usage(4, 900, 80, 3))


def write(path: Path, lines: Iterable[Line]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = (json.dumps(each, separators=(",", ":")) for each in lines)
    path.write_text("".join(f"{text}\n" for text in texts), "utf-8")


def rows(home: Path, lead: Iterable[Line] = LEAD, agent: Iterable[Line] = (FIRST, SECOND)) -> Any:
    folder = home / "projects" / "-w-app"
    write(folder / f"{SESSION}.jsonl", lead)
    write(folder / SESSION / "subagents" / f"agent-{AGENT}.jsonl", agent)
    return again(home)


def again(home: Path) -> pl.DataFrame:
    return derive(read_files(walk([home]).files), None)


def outputs(found: Proposal) -> list[tuple[str, int]]:
    """How each output was filled, and to what."""
    columns = found.corrections.filter(pl.col("direction") == "output", pl.col("method") != "bound")
    return sorted(columns.select("method", "output_tokens").iter_rows())


def stays(found: Proposal) -> list[str]:
    return sorted(found.unrecoverable["reason"])


def test_the_waiting_thread_was_told_the_last_output_of_the_agent(tmp_path: Path) -> None:
    found = propose(rows(tmp_path, (*LEAD, ended(222))))
    assert outputs(found) == [("parent", 222)]
    (row,) = found.corrections.iter_rows(named=True)
    assert Path(row["evidence_path"]).name == f"{SESSION}.jsonl"
    assert (row["evidence_record"], row["evidence_part"]) == (4, "toolUseResult")
    assert stays(found) == ["no-response-kept"]


def test_a_total_that_leaves_one_unknown_fills_it(tmp_path: Path) -> None:
    found = propose(rows(tmp_path, (*LEAD, ended(222), WHOLE)))
    assert outputs(found) == [("parent", 222), ("totals", 111)]
    assert stays(found) == []


def test_what_is_filled_is_no_lower_bound_and_the_total_holds(tmp_path: Path) -> None:
    usage = rows(tmp_path, (*LEAD, ended(222), WHOLE))
    assert usage["problems"].explode().drop_nulls().sort().to_list() == [
        "placeholder-output", "placeholder-output", "total-mismatch",
    ]  # fmt: skip
    filled = corrected(usage, propose(usage).corrections.to_arrow())
    assert filled["problems"].explode().drop_nulls().to_list() == []
    counted = filled.filter(pl.col("kind") == "call")
    assert counted["output_tokens"].sum() == 833
    assert not counted["lower_bound"].any()
    assert set(counted["output_tokens_origin"]) == {"reported", "backfilled"}


def test_a_total_that_leaves_several_unknown_bounds_them(tmp_path: Path) -> None:
    """833 − 500 − 2 − 3 = 328 tokens more, at $15 a million, of any of the two and of both."""
    usage = rows(tmp_path, (*LEAD, WHOLE))
    found = propose(usage)
    assert outputs(found) == []
    assert stays(found) == ["shared-remainder", "shared-remainder"]
    filled = priced(corrected(usage, found.corrections.to_arrow()), load(None, None))
    open_ = filled.filter("lower_bound").sort("record")
    assert open_["output_tokens"].to_list() == [2, 3]
    over = (open_["cost_high"] - open_["cost_low"]).to_list()
    assert over == [328 * 15 * 10**9] * 2
    sums = summarise_batches([filled.with_columns(component=pl.lit(""))], Query(), {}).totals
    assert Decimal(sums["cost_high_usd"]) - Decimal(sums["cost_low_usd"]) == Decimal("0.00492")
    assert sums["lower_bound"]


def test_the_command_bounds_the_two_calls_by_what_they_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    rows(tmp_path / "logs", (*LEAD, WHOLE))
    run = CliRunner().invoke(app, ["backfill", "--no-ledger", "--json", str(tmp_path / "logs")])
    totals = json.loads(run.stdout)["totals"]
    open_to_both = Decimal(totals["cost_high_usd"]) - Decimal(totals["cost_low_usd"])
    assert open_to_both == Decimal("0.00492")  # 328 tokens at $15 a million


def plan(usage: pl.DataFrame) -> BackfillPlan:
    found = propose(usage)
    is_filled = pl.col("call_id").is_in(found.corrections["call_id"].implode())
    counted = usage.filter(pl.col("kind") == "call", pl.col("duplicate_of").is_null())
    return BackfillPlan(
        corrections=found.corrections,
        unrecoverable=found.unrecoverable,
        unused=found.unused,
        reasons={},
        before=counted.filter(is_filled),
        after=counted.filter(is_filled),
        rest=counted.filter(~is_filled),
    )


@pytest.mark.parametrize(
    ("agent", "over"),
    [
        ((FIRST, SECOND), ()),
        ((of_agent(10, usage(20, 0, 900, 111), "tool_use"), SECOND), (10,)),
        ((of_agent(10, usage(20, 0, 900, 4)), SECOND), ()),
    ],
    ids=["as-it-was", "the-last-count-came", "another-first-count"],
)
def test_a_bound_is_over_when_its_call_has_a_last_count(
    tmp_path: Path, agent: tuple[Line, Line], over: tuple[int, ...]
) -> None:
    """328 more at most of either call, so long as neither is known; then the rest is the other's.

    A first count that another one has replaced is bounded anew by the same total.
    """
    known = propose(rows(tmp_path / "before", (*LEAD, WHOLE))).corrections
    assert known["output_tokens"].to_list() == [330, 331]
    now = rows(tmp_path / "now", (*LEAD, WHOLE), agent)
    gone = stated(plan(now), known)
    calls = {call for call, _ in gone}
    assert calls == {f"claude-code:msg_01Response0000000{n:04d}" for n in over}
    assert {direction for _, direction in gone} <= {"output"}
    fixed = corrected(now, known.to_arrow()).filter(pl.col("call_id").is_in(list(calls)))
    assert "stale-correction" not in fixed["problems"].explode().to_list()


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(total(47, 5000, 1170, 833), id="calls-that-are-in-no-log"),
        pytest.param(total(46, 5000, 1170, 504), id="less-than-the-first-counts"),
    ],
)
def test_a_total_over_other_calls_fills_and_bounds_nothing(tmp_path: Path, more: Line) -> None:
    found = propose(rows(tmp_path, (*LEAD, more)))
    assert found.corrections.is_empty()


def test_a_call_that_broke_off_is_in_no_total(tmp_path: Path) -> None:
    told = asked(32, isMeta=True, parentUuid=uuid(31), message={
        "role": "user", "content": "Your response above was cut off mid-stream."})  # fmt: skip
    cut = said(31, usage(12, 2100, 90, 1), "end_turn")
    found = propose(rows(tmp_path, (*LEAD[:2], cut, told, total(46, 5000, 1170, 634)), ()))
    assert found.corrections.is_empty()


@pytest.mark.parametrize(
    "instead",
    [
        {"usage": usage(5, 900, 80, 222)},
        {"usage": usage(4, 900, 80, 3)},
        {"usage": None},
        {"agentId": "another"},
    ],
    ids=["another-prompt", "not-grown", "a-total-of-several-calls", "another-agent"],
)
def test_an_end_that_is_not_the_call_s_fills_nothing(
    tmp_path: Path, instead: dict[str, Any]
) -> None:
    assert outputs(propose(rows(tmp_path, (*LEAD, ended(222, **instead))))) == []


def test_a_bare_total_is_that_of_the_only_call(tmp_path: Path) -> None:
    found = propose(rows(tmp_path, (*LEAD, ended(222, usage=None)), (SECOND,)))
    assert outputs(found) == [("parent", 222)]


def test_the_notice_of_an_agent_that_ran_aside_tells_its_last_output(tmp_path: Path) -> None:
    """Its last response took 4 + 900 + 80 of prompt and 222; the first stays unknown."""
    found = propose(rows(tmp_path, (*LEAD, noticed(984 + 222))))
    assert outputs(found) == [("parent", 222)]
    (row,) = found.corrections.iter_rows(named=True)
    assert (row["evidence_record"], row["evidence_part"]) == (4, "task-notification")
    assert found.unused == 0
    both = propose(rows(tmp_path, (*LEAD, noticed(984 + 222), WHOLE)))
    assert outputs(both) == [("parent", 222), ("totals", 111)]


@pytest.mark.parametrize(
    "notice",
    [
        noticed(984 + 222, version="2.1.270"),
        noticed(984 + 222, task="another1"),
        noticed(984 + 3),
        noticed(984 + 222, origin=None),
        noticed(984 + 222, timestamp="2026-09-02T09:11:00.000Z"),
    ],
    ids=["a-build-that-estimates", "another-agent", "not-grown", "pasted", "before-the-last-call"],
)
def test_a_notice_that_tells_no_last_count_fills_nothing(tmp_path: Path, notice: Line) -> None:
    assert outputs(propose(rows(tmp_path, (*LEAD, notice)))) == []


def test_ends_that_contradict_each_other_fill_nothing(tmp_path: Path) -> None:
    other = ended(223) | {"uuid": uuid(40)}
    found = propose(rows(tmp_path, (*LEAD, ended(222), other)))
    assert outputs(found) == []
    assert stays(found) == ["evidence-disagrees", "no-response-kept"]


def test_copies_in_another_folder_change_nothing(tmp_path: Path) -> None:
    lead = (*LEAD, ended(222), WHOLE)
    one = propose(rows(tmp_path / "a", lead))
    rows(tmp_path / "b", lead)
    both = propose(again(tmp_path))
    assert outputs(both) == outputs(one) == [("parent", 222), ("totals", 111)]


def test_a_fork_states_what_it_took_over_as_well(tmp_path: Path) -> None:
    """The fork's own call takes 7/2100/50 for 40; its total holds the lead's two beside it."""
    usage_ = usage(12, 2100, 90, 1)
    taken = [each | {"sessionId": FORK, "requestSessionId": SESSION} for each in LEAD[:2]]
    lead = (*LEAD[:2], said(31, usage_))
    taken.append(lead[2] | {"sessionId": FORK, "requestSessionId": SESSION})
    own = said(50, usage(7, 2100, 50, 40), "end_turn") | {"sessionId": FORK}
    write(tmp_path / "projects" / "-w-app" / f"{FORK}.jsonl",
          (*taken, own, total(29, 6200, 240, 540, FORK)))  # fmt: skip
    found = propose(rows(tmp_path, lead, ()))
    assert outputs(found) == [("totals", 200)]


def test_a_call_of_mere_zeros_takes_what_its_agent_s_end_states(tmp_path: Path) -> None:
    zeros = of_agent(12, usage(0, 0, 0, 0))
    found = propose(rows(tmp_path, (*LEAD, ended(222)), (FIRST, zeros)))
    assert outputs(found) == [("parent", 222)]
    prompt = found.corrections.filter(pl.col("direction") == "input").row(0, named=True)
    names = ("uncached", "cached", "cache_creation")
    assert [prompt[f"{name}_input_tokens"] for name in names] == [4, 900, 80]


def test_a_call_of_mere_zeros_takes_all_that_a_total_leaves(tmp_path: Path) -> None:
    """46/5000/1170 and 833 without the lead's calls and the agent's first: 4/900/80 and 222."""
    first = of_agent(10, usage(20, 0, 900, 111)) | {"message": message(
        10, usage(20, 0, 900, 111), "tool_use")}  # fmt: skip
    zeros = of_agent(12, usage(0, 0, 0, 0))
    usage_ = rows(tmp_path, (*LEAD, WHOLE), (first, zeros))
    filled = corrected(usage_, propose(usage_).corrections.to_arrow())
    row = filled.filter(pl.col("kind") == "call", pl.col("record") == 2, pl.col("sidechain"))
    assert row.select("uncached_input_tokens", "cached_input_tokens", "output_tokens").row(0) == (
        4, 900, 222)  # fmt: skip


def answer(output: int) -> Line:
    return message(31, usage(12, 2100, 90, output), "end_turn")


def test_a_stored_answer_gives_the_counts_and_the_log_whose_call_it_is(tmp_path: Path) -> None:
    write(tmp_path / "raw" / "answer.json", [answer(200)])
    usage_ = rows(tmp_path, (*LEAD[:2], said(31, usage(12, 2100, 90, 1))), ())
    counted = usage_.filter(pl.col("duplicate_of").is_null()).sort("timestamp")
    assert counted["output_tokens"].to_list() == [300, 200]
    assert set(counted["thread_id"]) == {SESSION}
    assert counted["timestamp"].null_count() == 0
    assert not counted["lower_bound"].any()


def test_answers_that_contradict_each_other_give_nothing(tmp_path: Path) -> None:
    for number, output in enumerate((200, 201)):
        write(tmp_path / "raw" / f"{number}.json", [answer(output)])
    usage_ = rows(tmp_path, (*LEAD[:2], said(31, usage(12, 2100, 90, 1))), ())
    counted = usage_.filter(pl.col("duplicate_of").is_null()).sort("timestamp")
    assert counted["output_tokens"].to_list() == [300, 1]
    assert stays(propose(usage_)) == ["evidence-disagrees"]


@pytest.mark.parametrize(
    "first",
    [usage(12, 2100, 90, 1), usage(0, 0, 0, 0), usage(1, 2100, 90, 1)],
    ids=["first-output", "zeros", "first-prompt"],
)
def test_an_answer_from_elsewhere_replaces_the_first_counts(tmp_path: Path, first: Line) -> None:
    usage_ = rows(tmp_path / "home", (*LEAD[:2], said(31, first)), ())
    write(tmp_path / "raw" / "answer.json", [answer(200)])
    stored = derive(read_files(walk([tmp_path / "raw"]).files), None)
    evidence = stored.with_columns(kind=pl.lit("response"))
    both = pl.concat([usage_, evidence])
    filled = corrected(usage_, propose(both).corrections.to_arrow()).filter(pl.col("record") == 3)
    assert filled.select("uncached_input_tokens", "output_tokens", "lower_bound").row(0) == (
        12, 200, False)  # fmt: skip
