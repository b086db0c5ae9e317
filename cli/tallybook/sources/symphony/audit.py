"""Reads audit logs, raw days and exports: what each record adds to the thread it speaks of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

import msgspec

from tallybook.schema import LOG, SUM, Reported
from tallybook.sources import jsonl, lines
from tallybook.sources.strays import watch
from tallybook.sources.symphony import tokens
from tallybook.sources.symphony.state import Chain, State, highest
from tallybook.values import decode, inside, instant, text

_RECORD: Final = b'"record_hash":"'
_PREVIOUS: Final = b'"previous_hash":"'
_HEX: Final = 64  # digits of a hash


def check(chain: Chain, line: bytes) -> str | None:
    """What is wrong with the record on `line`, if anything; moves the chain on.

    The first record of a file, and of each date in it, has none to follow.
    """
    if not chain.is_checked:
        return None
    stated, previous, is_sound = _hashes(line)
    before, is_known = chain.last, chain.is_known
    chain.last, chain.is_known = stated, stated is not None
    if stated is None:
        return "states no hash"
    if not is_sound:
        return "is not what was hashed"
    begins = previous is None and _begins_date(chain, line)
    follows = begins or previous == before or not is_known
    return None if follows else "does not follow the one before it"


def _begins_date(chain: Chain, line: bytes) -> bool:
    """Whether the record, which has no predecessor, is of another date than the last such one."""
    before, chain.date = chain.date, _date(line)
    return chain.date != before


def _date(line: bytes) -> str | None:
    stated = inside(decode(line), "date")
    return stated if isinstance(stated, str) else None


def _hashes(line: bytes) -> tuple[bytes | None, bytes | None, bool]:
    """The record's hash, that of the record before it, and whether the first one is right.

    What was hashed is the line without its hash, if it was kept as it was written.
    """
    begin = line.rfind(_RECORD)
    if begin > 0:
        end = begin + len(_RECORD) + _HEX + 1
        stated = line[end - _HEX - 1 : end - 1]
        if line[end : end + 1] == b",":
            content = line[:begin] + line[end + 1 :]
        else:
            content = line[: begin - 1] + line[end:]
        if sha256(content).hexdigest().encode() == stated:
            at = line.rfind(_PREVIOUS) + len(_PREVIOUS)
            return stated, line[at : at + _HEX] if at >= len(_PREVIOUS) else None, True
    return _decoded(line)


def _decoded(line: bytes) -> tuple[bytes | None, bytes | None, bool]:
    """The same of a line with other spaces or another order of its keys."""
    value = decode(line)
    if not isinstance(value, dict):
        return None, None, False
    stated = value.pop("record_hash", None)
    is_sound = any(sha256(form).hexdigest() == stated for form in _canonical(value))
    return _bytes(stated), _bytes(value.get("previous_hash")), is_sound


def _canonical(value: dict[str, Any]) -> tuple[bytes, ...]:
    """Sorted keys, no spaces, UTF-8; encoders differ in how they escape control characters."""
    plain = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return msgspec.json.encode(value, order="sorted"), plain.encode("utf-8", "replace")


def _bytes(value: object) -> bytes | None:
    return value.encode() if isinstance(value, str) else None


_OWN: Final = (b'"event_type"',)
_DELTA: Final = b'"token_usage_delta"'
_PROMPT: Final = b'"prompt_sent"'
_LEFT_OUT: Final = b'"unencodable_record"'
_BROKEN: Final = "broken-chain"


class Record(msgspec.Struct, gc=False):
    """The parts of an audit record that say anything about usage."""

    event_type: Any = None
    timestamp: Any = None
    run_id: Any = None
    issue_id: Any = None
    issue_identifier: Any = None
    session_id: Any = None
    record_hash: Any = None
    agent: Any = None
    token_usage_delta: Any = None
    token_usage_reported: Any = None
    error: Any = None  # in place of a record


_DECODER: Final = msgspec.json.Decoder(Record)


def read_audit(block: bytes, state: State) -> Iterator[Reported]:
    """The rows of a block of whole lines: one a token record, one a record that is not sound.

    Each record is a link of the chain, so each line is looked at.
    """
    look = watch(state.strays, block, "symphony", _OWN)
    for record, begin, end in jsonl.candidates(block, jsonl.ANYTHING, jsonl.spans(block, state)):
        row = _read_line(block[begin:end], record, state, is_last=end == len(block))
        if row is not None:
            yield row
        elif not state.chain.is_checked:
            look(record, begin, end)


def _read_line(line: bytes, number: int, state: State, *, is_last: bool) -> Reported | None:
    hides = jsonl.hides(line, 0, len(line))
    states_usage = hides or _DELTA in line
    record = decode(line, _DECODER) if states_usage or _PROMPT in line else None
    ends_well = line[:1] == b"{" and (line[-1:] == b"}" or line.rstrip().endswith(b"}"))
    if not ends_well or (states_usage and record is None):
        return _unreadable(line, number, state, is_last=is_last)
    left_out = _LEFT_OUT in line or (hides and record is not None and record.error is not None)
    if left_out and b"record_hash" not in line:
        state.chain.is_known = False
        return lines.problem(number, "bad-line", "the export could not encode this record")
    complaint = check(state.chain, line)
    row = _read_record(record, number, state) if record is not None else None
    if complaint is not None:
        if record is None and not isinstance(decode(line), dict):
            return _unreadable(line, number, state, is_last=is_last)
        row = row or lines.problem(number, _BROKEN, f"the record {complaint}")
        tokens.add_problem(row, _BROKEN, f"the record {complaint}")
    return row


def _unreadable(line: bytes, number: int, state: State, *, is_last: bool) -> Reported:
    """The problem of a record that cannot be read; the next one's predecessor is not known."""
    state.chain.is_known = False
    return jsonl.unreadable(number, line, is_last=is_last)


def _read_record(record: Record, number: int, state: State) -> Reported | None:
    if record.event_type == "prompt_sent":
        named = tokens.agent_of_module(record.agent)
        if named is not None and text(record.run_id) is not None:
            state.agents[record.run_id] = named
    if record.event_type != "token_usage_delta":
        return None
    where = tokens.session(record.session_id)
    run_id = text(record.run_id)
    agent = _agent(state.agents.get(run_id or ""), where)
    row = Reported(
        record=number,
        kind=SUM,
        calls=None,
        evidence=LOG,
        thread_id=where.thread_id or run_id,
        parent_thread_id=run_id,
        root_thread_id=run_id,
        log_source=where.agent,
        project=text(record.issue_identifier),
        provider=tokens.PROVIDERS.get(agent.name or ""),
        timestamp=instant(record.timestamp),
        record_id=text(record.record_hash),
    )
    _put_counts(row, record, state, agent)
    return row


def _agent(prompted: str | None, where: tokens.Session) -> tokens.Agent:
    """Prompts name the agent of the run, the session id the one that spoke: a reviewer may differ.

    The id is of the moment of the record, so where the two disagree it is believed.
    """
    if prompted is not None and where.agent in (None, prompted):
        return tokens.Agent(prompted, "prompt")
    return tokens.Agent(where.agent, "session-id" if where.agent else "unknown")


def _put_counts(row: Reported, record: Record, state: State, agent: tokens.Agent) -> None:
    """What the agent itself reported of the thread up to here, else what the run's counters added.

    Symphony's counters compare every thread of a run with the highest count of any, and so leave
    out most of the second one; the reported totals are whole for each thread.
    """
    problems: list[str] = []
    delta = tokens.read_tokens(record.token_usage_delta, problems)
    stated = tokens.read_tokens(record.token_usage_reported, problems, "reported")
    row.problems = list(dict.fromkeys(problems)) or None
    stream = f"{row.root_thread_id}|{row.thread_id}"
    if stated is None or stated.output is None or row.thread_id is None:
        _put_delta(row, delta, agent)
    elif agent.name == tokens.CLAUDE:
        # A turn's last record is its result: whole, though its input is below the sums before it.
        row.identity = f"turn:{stream}"
        tokens.put_tokens(row, stated, agent)
        row.rule = f"reported-{row.rule}"
    else:
        row.identity = f"audit:{row.record_id}" if row.record_id else None
        row.running, row.series = True, f"audit:{stream}"
        stated = _without_writes_of_others(stated, delta)
        tokens.put_tokens(row, highest(state, stream, stated), agent)
        row.rule = f"reported-{row.rule}"
        tokens.check_running_total(row, stated)


def _put_delta(row: Reported, delta: tokens.Tokens | None, agent: tokens.Agent) -> None:
    row.identity = f"audit:{row.record_id}" if row.record_id else None
    row.difference = True
    if delta is None:
        tokens.add_problem(row, "no-counts")
    else:
        tokens.put_tokens(row, delta, agent)
        row.rule = f"added-{row.rule}"


def _without_writes_of_others(stated: tokens.Tokens, delta: tokens.Tokens | None) -> tokens.Tokens:
    """Codex states no cache writes by a name that Symphony knows.

    What is reported of them is what another agent of the run left behind.
    """
    if stated.creation is None:
        return stated
    return msgspec.structs.replace(stated, creation=(delta and delta.creation) or 0)
