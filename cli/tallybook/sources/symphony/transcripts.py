"""Makes rows of the agents' messages that are kept with a run: transcript events, log dumps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tallybook.dialects.served import mapping
from tallybook.dialects.shape import follow
from tallybook.schema import SNAPSHOT, SUM, TRANSCRIPT, Reported
from tallybook.sources.symphony import tokens
from tallybook.sources.symphony.runs import moment, part_of_run, row_of
from tallybook.values import count, text

# Where the running totals of a thread stand in a message of Codex's, in the order they are tried.
_TOTALS: Final = (
    ("params", "msg", "payload", "info", "total_token_usage"),
    ("params", "msg", "info", "total_token_usage"),
    ("params", "tokenUsage", "total"),
    ("tokenUsage", "total"),
)
_TURN_METHODS: Final = frozenset({"turn/completed", "token_count"})
_BEGINS_TURN: Final = "session_started"
_ENDS_TURN: Final = "turn_completed"
_REVIEWER: Final = "reviewer"
_UNTIL: Final = "until "  # no thread is named, only when its turn ended


class Stated(NamedTuple):
    """Usage found in a message: the map, the rule that found it, the thread it names."""

    usage: Mapping[str, Any]
    rule: str
    thread_id: str | None


def thread_total(message: Mapping[str, Any]) -> Stated | None:
    """The running total of a thread in one message of Codex's."""
    for path in _TOTALS:
        found = follow(message, path)
        if isinstance(found, Mapping) and found:
            named = mapping(message.get("params"))
            thread = text(named.get("threadId")) or text(named.get("conversationId"))
            return Stated(found, "/".join(path), thread)
    return None


def event_rows(
    run: Mapping[str, Any], events: object, record: int, part: str
) -> Iterator[Reported]:
    """The rows of the events that state usage; `part` names the list they stand in.

    The counts of an event are running totals of its thread (Codex) or turn (Claude Code). All
    events of one stream therefore share an identity, under which the highest counts.
    """
    rows = list(_event_rows(run, list(_readable(events)), record, part))
    turns = {row.identity for row in rows if row.provider == tokens.PROVIDERS[tokens.CLAUDE]}
    stated = count(run.get("turn_count"), [])
    if turns and stated is not None and len(turns) < stated:
        # Only the newest events are kept: of the turns in front of them nothing is known.
        for row in rows:
            if row.kind == SUM:
                row.evidence, row.series = SNAPSHOT, f"{TRANSCRIPT}:{_owner(row)}"
    yield from rows


def _event_rows(
    run: Mapping[str, Any], found: Sequence[tuple[int, Mapping[str, Any]]], record: int, part: str
) -> Iterator[Reported]:
    streams = _streams(run, [event for _, event in found])
    for (index, event), stream in zip(found, streams, strict=True):
        place = f"{part}[{index}]"
        verdict = mapping(event.get("payload")).get("tokens")
        if verdict is not None:
            row = part_of_run({**run, "tokens": verdict}, "tokens", record, place, _REVIEWER)
        else:
            row = _event_row(run, event, stream, record, place)
        if row is not None:
            row.block_index = index
            yield row


def _readable(events: object) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if isinstance(events, Sequence) and not isinstance(events, str):
        for index, event in enumerate(events):
            if isinstance(event, Mapping):
                yield index, event


def _event_row(
    run: Mapping[str, Any], event: Mapping[str, Any], stream: str | None, record: int, part: str
) -> Reported | None:
    payload = mapping(event.get("payload"))
    row = row_of(run, record, part, TRANSCRIPT)
    row.timestamp = moment(event.get("timestamp"))
    row.caller = _REVIEWER if event.get("agent_phase") == _REVIEWER else None
    if (total := thread_total(payload) or thread_total(event)) is not None:
        tokens.put_codex(row, total.usage)
        row.rule = f"codex-{total.rule}"
        return _name(row, total.thread_id or stream, tokens.CODEX)
    if text(payload.get("method")) not in _TURN_METHODS:
        return None
    usage = payload.get("usage") or mapping(payload.get("params")).get("usage")
    if "raw" in event:
        row.rule = "codex-turn-completed"
        is_stated = isinstance(usage, Mapping) and tokens.put_codex(row, usage)
        return _name(row, stream, tokens.CODEX) if is_stated else None
    return _turn_row(row, usage, stream)


def _turn_row(row: Reported, usage: object, stream: str | None) -> Reported | None:
    problems: list[str] = []
    stated = tokens.read_tokens(usage, problems)
    if stated is None:
        return None
    row.problems = problems or None
    tokens.put_tokens(row, stated, tokens.Agent(tokens.CLAUDE, "event"))
    return _name(row, stream, tokens.CLAUDE)


def _name(row: Reported, stream: str | None, agent: str) -> Reported:
    """Puts thread and identity on the row. A turn whose session is not known has no thread."""
    row.provider = tokens.PROVIDERS[agent]
    row.thread_id = stream if stream and not stream.startswith(_UNTIL) else None
    row.log_source = agent if row.thread_id else None
    row.identity = f"{TRANSCRIPT}:{_owner(row)}|{stream}"
    return row


def _owner(row: Reported) -> str:
    """The run, as every copy of its transcript names it: not all of them know its id."""
    return row.chain_id or row.root_thread_id or ""


def _streams(run: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """For every event its thread: as its phase last named one, else its turn.

    Only the newest events are kept, so the first turns may have lost their beginning. The last of
    them is that of the session which the run names; the others are told by the time they ended.
    """
    named: dict[Any, str | None] = {}
    turns: list[str] = [""]
    streams: list[str | int | None] = []
    for event in events:
        phase = text(event.get("agent_phase"))
        if event.get("event") == _BEGINS_TURN:
            stated = (
                text(event.get("thread_id")) or tokens.session(event.get("session_id")).thread_id
            )
            named[phase] = stated
        states_turn = text(mapping(event.get("payload")).get("method")) in _TURN_METHODS
        streams.append(named.get(phase) or (len(turns) - 1 if states_turn else None))
        if states_turn:
            turns[-1] = f"{_UNTIL}{moment(event.get('timestamp'))}"
        if event.get("event") == _ENDS_TURN:
            turns.append("")
    last = tokens.session(run.get("session_id")).thread_id
    unnamed = [stream for stream in streams if isinstance(stream, int)]
    if unnamed and last is not None and last not in named.values():
        turns[max(unnamed)] = last
    return [turns[stream] if isinstance(stream, int) else stream for stream in streams]
