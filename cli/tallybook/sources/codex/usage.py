"""Makes rows of the lines that state usage: `token_count` and `token_usage_record`."""

from __future__ import annotations

from datetime import timedelta
from hashlib import blake2b
from typing import Final

from msgspec.msgpack import encode

from tallybook.schema import (
    CALL,
    EVENT,
    INHERITED,
    OWN,
    SILENT_ANSWER,
    SILENT_CALL,
    Reported,
)
from tallybook.sources.codex import inherited as bounds
from tallybook.sources.codex.headers import is_routed, tier
from tallybook.sources.codex.lines import Info, Line, Payload, UsageRecord
from tallybook.sources.codex.running_totals import (
    Pair,
    Vector,
    agree,
    is_zero,
    remember,
    same_components,
    settle,
    settle_record,
    vector,
)
from tallybook.sources.codex.silence import Gap, end_request, hear, state_usage
from tallybook.sources.codex.state import REMEMBERED_IDS, State
from tallybook.values import inside, instant, text

DIALECT: Final = "openai"
EMBEDDED: Final = "latest_token_usage_record"
COMPACT: Final = "compact"
_DIGEST: Final = blake2b(digest_size=8)
_NOTHING: Final = Info()
_COPYING: Final = timedelta(seconds=1)  # a copied history is written at once, nearly always
# The item that a provider puts in place of the history; the second name is the older one.
_COMPACTIONS: Final = frozenset({"compaction", "compaction_summary"})


def read_count(
    state: State, line: Line, info: Info | None, record: int, gap: Gap | None = None
) -> Reported | None:
    """The row of a `token_count`; None where it states limits only.

    `gap` are the lines since usage was last stated. Where a model has answered in them and the
    total stands where it stood, nobody says what the answer took: it ended incomplete, or its
    provider states no usage. The row of such a call is `state.silence.row`.
    """
    problems: list[str] = []
    info = info or _NOTHING
    stated = vector(info.last_token_usage, problems), vector(info.total_token_usage, problems)
    is_empty = stated == (None, None)
    again = agree(stated[1], state.counter.total)
    whose = bounds.history(state.boundary, line.ordinal)
    if gap is not None:
        if not (is_empty or again):
            state_usage(state.silence, gap)
        elif _is_silent(state, gap):
            end_request(state.silence)
            state.silence.row = without_counts(state, line, record, None)
            return state.silence.row
    if is_empty:
        return _silent_answer(state, line, record, whose, gap)
    fresh = not bounds.inherits(state.boundary) and not state.thread.continues
    step = settle(state.counter, state.pairs, stated, again=again, fresh=fresh)
    if step.inherited:
        whose = INHERITED
    elif bounds.is_guess(state.boundary, whose):
        _doubt(state, line, problems)
    row = _row(state, record, whose, _stated_model(info))
    row.kind, row.difference = step.kind, step.difference
    # A copied line is a copy, whatever its original repeated.
    row.repeat = None if whose == INHERITED else step.repeat
    row.calls = 1 if step.kind == CALL else None
    if step.mismatch is not None and whose != INHERITED:
        problems.append("total-mismatch")
        row.detail = step.mismatch
    return _closed(row, line, stated, step.counts, problems)


def _silent_answer(
    state: State, line: Line, record: int, whose: str, gap: Gap | None
) -> Reported | None:
    """An answer in a file that states no usage so far, where a router may have stated it.

    It is no call of the file's own: the row of the whole thread says that its counts are unknown.
    """
    if gap is None or state.is_counted or state.keeps_records or not bounds.is_own(whose):
        return None
    row = _row(state, record, whose, None)
    row.kind, row.calls, row.model_ahead = EVENT, None, False
    row.identity = f"{SILENT_ANSWER}{state.thread.id}:{line.timestamp}"
    return close(row, line, []) if may_be_routed(row) and hear(state.silence, gap) else None


def is_silent_answer(row: Reported) -> bool:
    """Whether a row says no more than that a model has answered."""
    return row.identity is not None and row.identity.startswith(SILENT_ANSWER)


def may_be_routed(row: Reported) -> bool:
    """Whether a router may have forwarded what the row tells of."""
    return is_routed(row.model, row.provider) and (row.kind == CALL or is_silent_answer(row))


def _is_silent(state: State, gap: Gap) -> bool:
    """Whether an answer before a total that did not rise has left no usage.

    A file in which usage stands before the answer that it is of shows nothing of the kind.
    """
    return bool(state.keeps_records or state.silence.follows) and hear(state.silence, gap)


def read_record(state: State, line: Line, payload: Payload, record: int, gap: Gap) -> Reported:
    """The row of a `token_usage_record`: one response, owned by the thread that it names."""
    state_usage(state.silence, gap)
    state.thread.id = state.thread.id or text(payload.thread_id)
    state.keeps_records = True
    named = bounds.name_thread(state.boundary, payload.thread_id, state.thread.id)
    whose = named or bounds.history(state.boundary, line.ordinal)
    return _record_row(state, line, payload, record, whose)


def read_compaction(state: State, line: Line, payload: Payload, record: int) -> Reported | None:
    """A `compacted` line: names the response that made it, and may embed the last record.

    The embedded record is a copy for resuming. It makes a row only where the thread is the file's
    own and its original is not in the file, as after a rewrite that cut the file's beginning off.
    """
    maker = text(payload.compaction_response_id)
    if maker is not None:
        remember(state.context.compactions, maker, REMEMBERED_IDS)
        for row in state.held:
            if row.request_id == maker and bounds.is_own(row.history):
                row.caller = COMPACT
    latest = payload.latest_token_usage_record
    if latest is None:
        return _remote_compaction(state, line, payload, record) if maker is None else None
    named = bounds.name_thread(state.boundary, latest.thread_id, state.thread.id)
    response = text(latest.response_id)
    if named != OWN or response is None or response in state.context.responses:
        return None
    row = _record_row(state, line, latest, record, OWN)
    row.part, row.is_copy = EMBEDDED, True
    return row


def _remote_compaction(state: State, line: Line, payload: Payload, record: int) -> Reported | None:
    """The call that compacted the history on the provider's side, of which no build before the
    usage records kept the counts.

    A local compaction is an ordinary call: its summary is the message, and the total rises.
    """
    history = payload.replacement_history
    items = history if isinstance(history, list) else []
    kinds = {str(item.get("type")) for item in items if isinstance(item, dict)}
    if state.keeps_records or payload.message != "" or not kinds & _COMPACTIONS:
        return None
    return without_counts(state, line, record, COMPACT)


def without_counts(state: State, line: Line, record: int, caller: str | None) -> Reported | None:
    """A call of unknown counts, where the line is the thread's own: copies state no call."""
    whose = bounds.history(state.boundary, line.ordinal)
    if not bounds.is_own(whose):
        return None
    row = _row(state, record, whose, None)
    row.caller = caller or row.caller
    row.identity = f"{SILENT_CALL}{state.thread.id}:{line.timestamp}"
    return close(row, line, ["no-counts"])


def _doubt(state: State, line: Line, problems: list[str]) -> None:
    """Left out as copied; where it was written too late for that, the thread may have used it."""
    problems.append("undecided-history")
    when, born = instant(line.timestamp), state.boundary.born
    if when is None or born is None or when - born > _COPYING:
        state.is_undecided = True


def _record_row(state: State, line: Line, stated: UsageRecord, record: int, whose: str) -> Reported:
    problems: list[str] = []
    context, response = state.context, text(stated.response_id)
    pair = vector(stated.usage, problems), vector(stated.thread_token_usage, problems)
    model = text(stated.model) or context.turn_models.get(str(stated.turn_id))
    row = _row(state, record, whose, model)
    if whose == INHERITED and text(stated.thread_id) is not None:
        _disown(row, str(stated.thread_id))
    elif bounds.is_guess(state.boundary, whose):
        _doubt(state, line, problems)
    if response is not None:
        row.identity = f"response:{response}"
        row.request_id = row.response_id = response
        remember(context.responses, response, REMEMBERED_IDS)
        if response in context.compactions and bounds.is_own(whose):
            row.caller = COMPACT
    if pair[0] is None:
        problems.append("no-counts")
    else:
        repeat = settle_record(state.pairs, pair)
        row.repeat = None if whose == INHERITED else repeat
        if is_zero(pair[0]):
            row.kind, row.calls = EVENT, None
        row.service_tier = tier(stated.usage and stated.usage.service_tier) or row.service_tier
    return _closed(row, line, pair, pair[0], problems)


def _row(state: State, record: int, whose: str, model: str | None) -> Reported:
    """A row with who, where and what is in force, before its counts."""
    thread, boundary, context = state.thread, state.boundary, state.context
    if model is None:
        is_own = bounds.is_own(whose)
        model = context.turn_model or context.settings_model if is_own else context.copied_model
    return Reported(
        record=record,
        dialect=DIALECT,
        thread_id=thread.id,
        parent_thread_id=thread.parent_thread_id,
        root_thread_id=thread.root_thread_id,
        caller="review" if context.in_review else thread.caller,
        project=thread.project,
        provider=thread.provider,
        model=model,
        model_ahead=model is None,
        segment_id=thread.segment_id,
        history=whose,
        history_thread_ids=boundary.ancestors or None,
        foreign_history=boundary.foreign_header,
        service_tier=context.tier,
    )


def _stated_model(info: Info) -> str | None:
    if info.model is None and info.model_name is None and info.metadata is None:
        return None  # nearly always
    return text(info.model) or text(info.model_name) or text(inside(info.metadata, "model"))


def _disown(row: Reported, owner: str) -> None:
    """What the file says of its own thread does not hold for a record of another one."""
    row.thread_id, row.is_copy = owner, True
    row.parent_thread_id = row.root_thread_id = row.segment_id = None
    row.caller = row.project = row.provider = row.service_tier = None


def _closed(
    row: Reported, line: Line, stated: Pair, counts: Vector | None, problems: list[str]
) -> Reported:
    """The row with its counts and what it states of the running total."""
    last, total = stated
    digest = _DIGEST.copy()  # half as long as to begin one
    digest.update(encode(stated))
    row.sequence = digest.hexdigest()
    if total is not None:
        row.running_total = list(total)
        row.fresh_counter = same_components(last, total)
    put_counts(row, counts)
    return close(row, line, problems)


def put_counts(row: Reported, counts: Vector | None) -> None:
    """Puts the counts of a vector on the row."""
    if counts is None:
        return
    row.reported_input_tokens, row.reported_cached_tokens = counts[0], counts[1]
    row.reported_cache_creation_tokens = counts[2]
    row.reported_output_tokens, row.reported_reasoning_tokens = counts[3], counts[4]
    # Without any tokens the total is a filler, the context window, and no sum to check.
    row.reported_total_tokens = None if is_zero(counts) else counts[5]


def close(row: Reported, line: Line, problems: list[str]) -> Reported:
    """The row with its time and its problems, each code once."""
    row.timestamp = instant(line.timestamp, problems)
    if problems:
        row.problems = list(dict.fromkeys(problems))
    return row
