"""Makes a row of what a record says of a whole run, whose values are as Elixir has them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tallybook.schema import ASSERTION, SUM, SUMMARY, THREAD, Reported
from tallybook.sources.symphony.tokens import (
    CLAUDE,
    CLAUDE_LINES_ARE_ADDED,
    PROVIDERS,
    Agent,
    Tokens,
    add_problem,
    agent_of,
    put_tokens,
    read_tokens,
    session,
)
from tallybook.values import count, instant, text

_TIMES: Final = ("last_event_at", "ended_at", "logged_at", "updated_at", "timestamp", "started_at")
_ONE_SHOT: Final = "oneshot-"
_CLOCK: Final = ("year", "month", "day", "hour", "minute", "second")


def run_row(
    run: Mapping[str, Any], record: int, part: str | None, evidence: str
) -> Reported | None:
    """The row of a run's own counts; None where the record states none.

    Counters of a run that only ever were zero say nothing where the run had an agent at work: such
    a row states a thread whose counts are not known.
    """
    problems: list[str] = []
    stated = read_tokens(run.get("tokens"), problems)
    if stated is None:
        return None
    row = row_of(run, record, part, evidence)
    row.problems = problems or None
    agent = agent_of(run, moment(run.get("started_at")) or row.timestamp, exceeds=stated.exceeds())
    row.provider = PROVIDERS.get(agent.name or "")
    if stated.is_zero() and _was_at_work(run):
        row.kind, row.rule = THREAD, "zeros-are-unknown"
        add_problem(row, "no-counts")
        return row
    put_tokens(row, stated, agent)
    _doubt(row, run, stated, agent)
    return row


def row_of(run: Mapping[str, Any], record: int, part: str | None, evidence: str) -> Reported:
    """A row with who, where and when, and with what tells that other records mean the same run.

    Its counts are those of the run, of a part of it, or of a message that is kept with it.
    """
    run_id = text(run.get("run_id")) or text(run.get("eval_id"))
    thread, named_by = session(run.get("session_id"))
    begun = dispatch(run)
    key = run_id or begun or thread
    return Reported(
        record=record,
        part=part,
        kind=SUM,
        calls=None,
        evidence=evidence,
        thread_id=thread or run_id or begun,
        parent_thread_id=run_id,
        root_thread_id=run_id,
        log_source=named_by,
        project=text(run.get("workspace_path")) or text(run.get("issue_identifier")),
        timestamp=_time(run),
        identity=f"{evidence}:{key}" if key else None,
        chain_id=begun,
    )


def _time(run: Mapping[str, Any]) -> datetime | None:
    """When the counts were last added to, as near as the record tells."""
    return next((time for name in _TIMES if (time := moment(run.get(name))) is not None), None)


def _was_at_work(run: Mapping[str, Any]) -> bool:
    one_shot = _ONE_SHOT in (text(run.get("run_id")) or text(run.get("eval_id")) or "")
    return one_shot or bool(text(run.get("session_id"))) or bool(run.get("turn_count"))


def _doubt(row: Reported, run: Mapping[str, Any], stated: Tokens, agent: Agent) -> None:
    """What is known to be wrong with a run's counters, which cannot be put right from them."""
    shape = session(run.get("session_id")).agent
    if shape is not None and agent.name not in (None, shape):
        add_problem(row, "mixed-agents", f"a run of {agent.name} whose last thread is {shape}'s")
    if agent.name != CLAUDE or stated.is_zero():
        return
    turns = count(run.get("turn_count"), [])
    if turns is not None and turns > 1:
        add_problem(row, "mixed-streams", f"{turns} turns, counted by the highest of each count")
    if row.timestamp is not None and row.timestamp >= CLAUDE_LINES_ARE_ADDED:
        add_problem(row, "repeated-lines", "a message's usage was added for each of its lines")


def part_of_run(
    run: Mapping[str, Any], name: str, record: int, part: str, caller: str | None = None
) -> Reported | None:
    """The row of counts that lie inside the run's: said, checked, never added."""
    problems: list[str] = []
    stated = read_tokens(run.get(name), problems)
    if stated is None:
        return None
    row = row_of(run, record, part, SUMMARY)
    row.kind, row.identity, row.caller = ASSERTION, None, caller
    row.problems = problems or None
    put_tokens(row, stated, agent_of(run, row.timestamp, exceeds=stated.exceeds()))
    return row


def totals_row(
    totals: object, record: int, part: str | None, when: datetime | None
) -> Reported | None:
    """The row of a sum over all runs: of both agents and several eras, so its input stays whole."""
    problems: list[str] = []
    stated = read_tokens(totals, problems)
    if stated is None:
        return None
    return Reported(
        record=record,
        part=part,
        kind=ASSERTION,
        calls=None,
        evidence=SUMMARY,
        dialect="openai",
        rule="totals-of-all-runs",
        timestamp=when,
        reported_input_tokens=stated.input,
        reported_output_tokens=stated.output,
        reported_total_tokens=stated.total,
        problems=problems or None,
    )


def moment(value: object) -> datetime | None:
    """The UTC time of any value, or of Elixir's `DateTime` map; None where it is neither."""
    if not isinstance(value, Mapping):
        return instant(value)
    try:
        return instant(_wall_clock(value))
    except (ValueError, OverflowError, TypeError, KeyError):
        return None


def _wall_clock(value: Mapping[str, Any]) -> datetime:
    """Elixir's struct: wall clock, microseconds with their precision, offsets in seconds."""
    fraction = value.get("microsecond")
    micros = fraction[0] if isinstance(fraction, tuple | list) and fraction else 0
    year, month, day, hour, minute, second = (value[part] for part in _CLOCK)
    wall = datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
    return wall - timedelta(seconds=value.get("utc_offset", 0) + value.get("std_offset", 0))


def dispatch(run: Mapping[str, Any]) -> str | None:
    """Issue and second of its start: the same in every record of one run, with run id or without.

    Interfaces cut the time to whole seconds, so the store's microseconds are left out as well.
    """
    issue, started = text(run.get("issue_id")), moment(run.get("started_at"))
    return f"{issue}@{started:%Y-%m-%dT%H:%M:%S}" if issue and started else None
