"""Reads saved standard output of `claude -p`: messages, streamed events and results."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from tallybook.dialects.streams import restated
from tallybook.schema import (
    CALL,
    CAPTURE_LAST,
    CAPTURE_LINE,
    CAPTURE_TOTAL,
    EVENT,
    MOST_AT_BEGIN,
    PERHAPS_INHERITED,
    RUNNING_COUNTS,
    SUM,
    Reported,
)
from tallybook.sources.claude_code.lines import Event, Line, Message
from tallybook.sources.claude_code.responses import (
    DIALECT,
    PROMPT_COUNTS,
    SYNTHETIC,
    TOTALS,
    codes,
    counted,
    is_older,
    moment,
    prompt_counts,
    provider,
    put_counts,
    put_terms,
    response,
    total_counts,
    within,
)
from tallybook.sources.claude_code.state import Answered, Capture, Held, State
from tallybook.sources.claude_code.threads import (
    SUBAGENT,
    Link,
    capture_chain,
    identity,
    put_thread,
)
from tallybook.sources.claude_code.transcript import totals
from tallybook.values import count, inside, money, storable, text

_STREAMS_HELD = 64  # far more sub-agents than one run has at a time
_SURE = 4  # counts that every total has: of the prompt, and the output
_RESTORES_TOTALS = (2, 1, 277)  # where it resumes a session


def read_init(line: Line, state: State) -> None:
    """Learns the folder and model of the run that begins."""
    capture = _capture(line, state)
    capture.cwd = text(line.cwd)
    capture.announced_model = text(line.model)
    capture.version = text(line.client_version) or capture.version


def _capture(line: Line, state: State) -> Capture:
    """The run of the line's session; what was known of another session is dropped."""
    session = text(line.session_id)
    if session != state.capture.session:
        state.capture = Capture(session=session)
    return state.capture


def read_message(line: Line, record: int, part: str | None, state: State) -> list[Reported]:
    """Rows of a message that the model answered; none if it states no usage."""
    if line.message is None or line.message.usage is None:
        return []
    capture = _capture(line, state)
    model = text(line.message.model)
    if model and line.parent_tool_use_id is None and model not in capture.models:
        capture.models.append(model)
    chain_id = _chain(line, line.message, state)
    if line.parent_tool_use_id is None:
        _keep_answered(capture, line, line.message, chain_id)
    return _rows(line, line.message, record, part, chain_id, capture.cwd)


def _keep_answered(capture: Capture, line: Line, message: Message, chain_id: str | None) -> None:
    """Keeps a response of the main loop for the result of its turn; it may take several lines."""
    message_id, last = text(message.id), capture.last
    output = count(inside(message.usage, "output_tokens"), []) or 0
    if text(message.model) == SYNTHETIC:
        return
    if last is not None and (last.message_id, last.chain_id) == (message_id, chain_id):
        last.output = max(last.output, output)
        return
    capture.earlier = _answered(capture)
    prompt, model = prompt_counts(message.usage), text(message.model)
    capture.last = Answered(message_id, chain_id, text(line.request_id), model, prompt, output)


def _answered(capture: Capture) -> tuple[int, int, int, int]:
    """What all responses of the turn took so far: the parts of the prompt, and the output."""
    if capture.last is None:
        return capture.earlier
    last = (*capture.last.prompt, capture.last.output)
    a, b, c, d = (x + (y or 0) for x, y in zip(capture.earlier, last, strict=True))
    return a, b, c, d


def _chain(line: Line, message: Message, state: State) -> str | None:
    link = Link(text(message.id), text(line.uuid), prompt_counts(message.usage))
    return capture_chain(state.capture_links, _thread_key(line), link)


def _thread_key(line: Line) -> str:
    return f"{text(line.session_id) or ''}/{text(line.parent_tool_use_id) or ''}"


def _rows(  # noqa: PLR0913, PLR0917 - the parts of one message and where it stands
    line: Line,
    message: Message,
    record: int,
    part: str | None,
    chain_id: str | None,
    cwd: str | None,
) -> list[Reported]:
    row = Reported(record=record, part=part, evidence=CAPTURE_LINE, project=cwd, chain_id=chain_id)
    row.request_id, row.record_id = text(line.request_id), text(line.uuid)
    _put_whose(row, line)
    return response(row, message, line.timestamp, text(line.session_id))


def _put_whose(row: Reported, line: Line) -> None:
    """Put on a row whose it is: a sub-agent is known by the tool call that waits for it."""
    tool_use = text(line.parent_tool_use_id)
    put_thread(row, text(line.session_id), tool_use)
    if tool_use is not None:
        row.caller, row.sidechain = SUBAGENT, True


def read_event(line: Line, record: int, part: str | None, state: State) -> list[Reported]:
    """Rows of the streamed response that this event shows to be over; mostly there is none.

    Events state running counts of one response: each replaces what came before it.
    """
    event = line.event
    if event is None:
        return []
    if event.type == "message_start" and event.message:
        return _open(line, event.message, record, part, state)
    if event.type != "message_delta" or event.usage is None:
        return []
    held = state.held.get(_thread_key(line))
    if held is None:
        return [_orphan(line, event, record, part, state)]
    _amend(held, line, event, record, part)
    return []


def _open(
    line: Line, message: Message, record: int, part: str | None, state: State
) -> list[Reported]:
    """Holds the response that begins; gives the rows of the one before it in the same thread."""
    key = _thread_key(line)
    over = [state.held.pop(key)] if key in state.held else []
    if len(state.held) >= _STREAMS_HELD:
        over.append(state.held.pop(next(iter(state.held))))
    rows = [row for held in over for row in _release(held, state)]
    _capture(line, state)
    line = msgspec.structs.replace(line, message=message, event=None)
    kept = msgspec.convert(storable(msgspec.to_builtins(line)), Line)
    state.held[key] = Held(record, part, kept, _chain(line, message, state))
    return rows


def _amend(held: Held, line: Line, event: Event, record: int, part: str | None) -> None:
    message = held.line.message or Message()
    before = message.usage if isinstance(message.usage, dict) else {}
    after = storable(event.usage) if isinstance(event.usage, dict) else {}
    message.usage = restated(before, after)
    reason = storable(inside(event.delta, "stop_reason"))
    if reason is not None:
        message.stop_reason = reason
    held.record, held.part = record, part
    held.line.message = message
    if line.timestamp is not None:
        held.line.timestamp = storable(line.timestamp)


def release_all(state: State) -> list[Reported]:
    """Rows of the streamed responses that the file's end leaves open."""
    return [row for held in state.held.values() for row in _release(held, state)]


def _release(held: Held, state: State) -> list[Reported]:
    message = held.line.message or Message()
    cwd = state.capture.cwd if text(held.line.session_id) == state.capture.session else None
    rows = _rows(held.line, message, held.record, held.part, held.chain_id, cwd)
    if rows[0].finished is None:
        rows[0].finished = False  # the event with the final counts would have told a reason
    return rows


def _orphan(line: Line, event: Event, record: int, part: str | None, state: State) -> Reported:
    """The end of a response whose begin is not in the file: nothing says which one it was."""
    problems: list[str] = []
    row = Reported(
        record=record,
        part=part,
        kind=EVENT,
        evidence=CAPTURE_LINE,
        dialect=DIALECT,
        calls=None,
        project=_capture(line, state).cwd,
        detail="message_delta without its message_start",
    )
    _put_whose(row, line)
    put_counts(row, event.usage, problems)
    row.problems = codes(problems)
    return row


def read_result(line: Line, record: int, part: str | None, state: State) -> list[Reported]:
    """Rows of what a run says at the end of a turn: totals per model, else one usage, else a cost.

    `modelUsage` runs up over the turns of a process, `usage` is that of the turn.
    """
    capture = _capture(line, state)
    problems: list[str] = []
    row = Reported(record=record, part=part, kind=SUM, evidence=CAPTURE_TOTAL, project=capture.cwd)
    row.record_id, row.timestamp = text(line.uuid), moment(line.timestamp, problems)
    put_thread(row, capture.session)
    cost_problems: list[str] = []
    cost = _spent(line, capture, cost_problems)
    served, capture.models = capture.models or [capture.announced_model or ""], []
    model = (served[0] or None) if len(served) == 1 else None
    if isinstance(line.model_usage, dict) and line.model_usage:
        rows = _run_totals(row, line.model_usage, problems)
        _put_turn(rows, model, line, begins=not capture.has_result and _restarts(capture.version))
        capture.has_result = True
    elif line.usage is None and cost is None:
        return []
    else:
        _put_sum(row, line, model, cost, problems + cost_problems)
        _tell_last(row, line, capture)
        rows = [row]
    capture.last, capture.earlier = None, (0, 0, 0, 0)
    return [row for row in rows if not _is_nothing(row)]


def _run_totals(
    begun: Reported, model_usage: dict[str, Any], problems: list[str]
) -> list[Reported]:
    rows = []
    for model, row in totals(begun, model_usage, problems):
        row.series = f"{row.thread_id or ''}|{model}"
        rows.append(row)
    return rows


def _put_turn(rows: list[Reported], model: str | None, line: Line, *, begins: bool) -> None:
    """Puts on each total what it has risen by, or that it may hold what another session used.

    The newest builds say the rise, and where totals begin at zero the first is its own. Else what
    the turn took is known of the only model that can have answered in it: the one of the responses,
    or the only one that had used as much. `begins`: the process has stated no total before, and no
    other one's.
    """
    if begins or isinstance(line.turn_usage, dict):
        for row in rows:
            risen = inside(line.model_usage if begins else line.turn_usage, str(row.model))
            row.turn_counts = _whole_turn(risen)
        return
    turn = [getattr(counted(line.usage), name) for name in RUNNING_COUNTS]
    restores = inside(line.subagent_stats, "spawned") == 0  # only builds that may restore a total
    asked = [row for row in rows if row.model == model is not None] or [
        row for row in rows if _holds(row, turn)
    ]
    if any(turn) and len(asked) == 1:
        row = asked[0]
        row.turn_counts = turn
        if restores and _prompt(row) > sum(count or 0 for count in turn[:3]):
            row.problems = codes([*(row.problems or ()), PERHAPS_INHERITED])


def _holds(row: Reported, turn: list[int | None]) -> bool:
    """Whether the total of a model is at least what the turn took."""
    pairs = zip(RUNNING_COUNTS, turn, strict=True)
    return all((getattr(row, name) or 0) >= (took or 0) for name, took in pairs)


def _whole_turn(usage: object) -> list[int | None] | None:
    """The counts of a turn with its web searches; None where some are not sound."""
    problems: list[str] = []
    counts = total_counts(
        usage if isinstance(usage, dict) else dict.fromkeys(TOTALS.values(), 0), problems
    )
    stated = [counts[name] for name in (*RUNNING_COUNTS, "web_search_requests")]
    return None if problems or None in stated[:_SURE] else stated


def _prompt(row: Reported) -> int:
    return sum(getattr(row, name) or 0 for name in PROMPT_COUNTS)


def _restarts(version: str | None) -> bool:
    """Whether a client of that version begins at zero where it resumes a session."""
    return version is not None and is_older(version, _RESTORES_TOTALS) is True


def _is_nothing(row: Reported) -> bool:
    """A run that failed before it asked a model states zeros: there was no call."""
    stated = [getattr(row, name) for name in (*RUNNING_COUNTS, "reported_cost_usd")]
    unsound = "bad-number" in (row.problems or ())
    return not unsound and not any(stated) and any(value is not None for value in stated)


def _put_sum(
    row: Reported, line: Line, model: str | None, cost: Decimal | None, problems: list[str]
) -> None:
    row.part = row.part if line.usage is None else within(row.part, "usage")
    row.dialect, row.calls, row.reported_cost_usd = DIALECT, None, cost
    row.model, row.provider = model, provider(model)
    put_counts(row, line.usage, problems)
    put_terms(row, line.usage, problems)
    row.problems = codes(problems)


def _tell_last(row: Reported, line: Line, capture: Capture) -> None:
    """Makes a call of a usage that is the last one's and not the sum of the turn.

    So it was before there were totals by model. A call that was cut off left no message; where it
    is the only one, nothing tells it from a sum.
    """
    prompt, output, last = prompt_counts(line.usage), row.reported_output_tokens, capture.last
    if None in prompt or output is None or not any(prompt):
        return
    if output <= MOST_AT_BEGIN and (line.subtype != "success" or line.result == ""):
        row.finished = False  # nothing was answered
    if last is None:
        return
    held = zip((*prompt, output), _answered(capture), strict=True)
    if prompt == last.prompt:
        row.kind, row.calls, row.evidence, row.model = CALL, 1, CAPTURE_LINE, last.model
        row.identity = identity(last.message_id, last.request_id, last.chain_id, capture.session)
    elif any((took or 0) < answered for took, answered in held):
        row.kind, row.calls, row.evidence = CALL, 1, CAPTURE_LAST
    else:
        return
    row.reported_cost_usd = None  # that of the turn


def _spent(line: Line, capture: Capture, problems: list[str]) -> Decimal | None:
    """What the turn cost: the stated cost runs up over the turns of a process."""
    stated = (line.total_cost_usd, line.total_cost, line.cost_usd)
    total = money(next((cost for cost in stated if cost is not None), None), problems)
    if total is None:
        return None
    before, capture.cost = capture.cost, total
    return total - before if before is not None and total >= before else total
