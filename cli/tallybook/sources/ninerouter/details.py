"""Makes rows of request details: what a stored request says of a call that another row counts.

A detail states the counts of a call up to twice, in its own token object and in the body of the
provider's answer. Each statement is a row, evidence for the usage row of the same request; `calls`
is 1 on the one that stands for the request where there is no such row.

Whether there is one is told by the rows of the same database, or of the document beside: a detail
without a usage row is a call that some build failed to count. Where neither is there, or rows are
missing from them, a detail stays evidence. It alone tells that the counts of such a row are an
estimate, or that few tokens are final.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from tallybook.dialects.containment import DIALECTS
from tallybook.dialects.responses import find_usage
from tallybook.dialects.usage import Usage, put_usage, read_usage
from tallybook.schema import CALL, EVENT, MOST_AT_BEGIN, PLACEHOLDER_OUTPUT, RESPONSE, Reported
from tallybook.sources.contract import Tables
from tallybook.sources.ninerouter.eras import Verdict, upstream_of
from tallybook.sources.ninerouter.statements import read_statement
from tallybook.sources.ninerouter.usage_rows import Entry, model_of
from tallybook.values import begins, count, decode, instant, text

# States of an answer without counts.
BARE: Final = "bare"  # nothing at all: the provider streamed, the client did not ask for that
CUT: Final = "cut"  # too long to be kept
FILTERED: Final = "filtered"  # the counts were taken out for the client
SURPLUS: Final = 2000
_PROMPTS: Final = ("prompt_tokens", "input_tokens")
_LEFT_BY_FILTER: Final = frozenset(
    {"input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"}
)


def settle(usage: Usage, raw: Mapping[str, Any], body: Mapping[str, Any], own: set[int]) -> Usage:
    """The counts of a body without its surplus; `own` are the prompts the detail states itself.

    A prompt that the detail's own does not prove is left out. One that nothing can be held against
    is a guess, unless what else was done to the body shows that it was raised.
    """
    stated = next((count(raw[name], []) for name in _PROMPTS if raw.get(name) is not None), None)
    if stated is None or stated in own:
        usage.rule = f"body/{usage.rule}"
    elif own:
        altered = stated - SURPLUS in own
        usage.rule = f"{'altered-body' if altered else 'unproved-body'}/{usage.rule}"
        usage.reported_input_tokens = usage.reported_total_tokens = None
    else:
        _guess(usage, raw, body, stated)
    return usage


def _guess(usage: Usage, raw: Mapping[str, Any], body: Mapping[str, Any], stated: int) -> None:
    """A body of which nothing else is kept: what was done to it tells whether it was raised."""
    marked = body.get("object") == "chat.completion" and "output_tokens" in raw
    filtered = "output_tokens" in raw and raw.keys() <= _LEFT_BY_FILTER
    usage.reported_total_tokens = None
    if (marked or filtered) and stated >= SURPLUS and usage.reported_input_tokens is not None:
        usage.reported_input_tokens -= SURPLUS
        usage.rule = f"altered-body-less-surplus/{usage.rule}"
    else:
        usage.assumed = sorted({*(usage.assumed or []), "input"})
        usage.rule = f"unproved-body/{usage.rule}"


def opened(body: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """An answer out of its envelope, and its state where its counts are gone."""
    if "_preview" in body:
        found = _from_preview(body["_preview"])
        return found, None if found else CUT
    data = body.get("data")
    body = data if isinstance(data, dict) and "usage" in data else body
    return body, FILTERED if body.get("usage") == {} else None


def _from_preview(preview: Any) -> dict[str, Any]:
    """The usage object in the first characters of an answer that was cut, where it is whole."""
    place = preview.find('"usage":') if isinstance(preview, str) else -1
    if place < 0:
        return {}
    found = begins(preview, place + len('"usage":'))
    return {"usage": found[0]} if found and isinstance(found[0], dict) else {}


# Both are written when the request ends, the usage row a moment before or after.
_APART: Final = timedelta(seconds=10)
# One whose counts are all the same is the row of the request for longer: a clock was set.
_FAR: Final = timedelta(hours=1)
_NEEDED: Final = frozenset(
    {"timestamp", "model", "connectionId", "promptTokens", "completionTokens"}
)
_ROW: Final = (
    "SELECT 1 FROM usageHistory WHERE timestamp BETWEEN ? AND ?"
    " AND model IS ? AND connectionId IS ? AND completionTokens IN (?, ?, ?)"
    " AND (? OR completionTokens > 0 AND promptTokens IN (?, ?, ?)) LIMIT 1"
)


def can_tell(connection: sqlite3.Connection, found: Tables) -> bool:
    """Whether usage rows can be looked up by their time; without its index that takes too long."""
    if not found.get("usageHistory", frozenset()) >= _NEEDED:
        return False
    indexed = (
        "SELECT 1 FROM pragma_index_list('usageHistory') AS list,"
        " pragma_index_info(list.name) AS info WHERE info.seqno = 0 AND info.name = 'timestamp'"
    )
    return connection.execute(indexed).fetchone() is not None


def is_alone(connection: sqlite3.Connection, detail: Detail) -> bool:
    """Whether no usage row can be that of the request.

    One of the same model, connection and completion near the time may be, whatever its prompt, and
    one with the same prompt too in the same hour. Where rows were taken out of the table at that
    time, it was one of them.
    """
    time = instant(detail.timestamp)
    if time is None or detail.model is None:
        return False
    outputs, prompts = _in_usage_row(detail)
    for apart, whatever in ((_APART, True), (_FAR, False)):
        bounds = (_stamp(time - apart), _stamp(time + apart))
        where = (*bounds, detail.model, detail.connection, *outputs, whatever, *prompts)
        if connection.execute(_ROW, where).fetchone() is not None:
            return False
    return not _lacks_rows(connection, _stamp(time - _APART), _stamp(time + _APART))


_BEFORE: Final = (
    "SELECT rowid FROM usageHistory WHERE timestamp < ? ORDER BY timestamp DESC, rowid DESC LIMIT 1"
)
_BEHIND: Final = (
    "SELECT rowid FROM usageHistory WHERE timestamp > ? ORDER BY timestamp, rowid LIMIT 1"
)
_EVERY: Final = "SELECT count(*) FROM usageHistory WHERE rowid > ? AND rowid < ?"
_LAST: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'usageHistory'"


def _lacks_rows(connection: sqlite3.Connection, start: str, end: str) -> bool:
    """Whether numbers are missing between the last row before a time and the first one after it.

    A row's number is never given to another one. Rows that are not in the order of their times
    leave it open, and then one may be missing.
    """
    before = connection.execute(_BEFORE, (start,)).fetchone()
    behind = connection.execute(_BEHIND, (end,)).fetchone()
    first = before[0] if before else 0
    last = behind[0] if behind else _next_number(connection)
    return bool(connection.execute(_EVERY, (first, last)).fetchone()[0] != last - first - 1)


def _next_number(connection: sqlite3.Connection) -> int:
    """The number of the next row; of a table that gives numbers again, as far as it shows."""
    highest = connection.execute("SELECT max(rowid) FROM usageHistory").fetchone()[0] or 0
    try:
        given = connection.execute(_LAST).fetchone()
    except sqlite3.OperationalError:  # no table gives its numbers once only
        given = None
    return max(highest, given[0] if given else 0) + 1


_Three = tuple[int, int, int]


def _in_usage_row(detail: Detail) -> tuple[_Three, _Three]:
    """What a usage row of the same request may state as completion and as prompt; -1 is nothing."""
    tokens = detail.tokens if isinstance(detail.tokens, Mapping) else {}
    usage = read_statement(tokens, upstream_of(detail.provider), streamed=True, is_forced=False)
    if usage is None:
        return (0, 0, 0), (-1, -1, -1)
    output, reasoning = usage.reported_output_tokens or 0, usage.reported_reasoning_tokens or 0
    outputs = (output, output + reasoning, abs(output - reasoning))
    prompt = usage.reported_input_tokens
    if not prompt:
        return outputs, (-1, -1, -1)
    cache = (usage.reported_cached_tokens or 0) + (usage.reported_cache_creation_tokens or 0)
    return outputs, (prompt, prompt + cache, max(prompt - cache, 0) or -1)


def _stamp(time: datetime) -> str:
    """The time as 9router writes it, so that texts compare as times do."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


TOKENS: Final = "tokens"
BODY: Final = "providerResponse"
_STREAM_ID: Final = re.compile(r"\d{12,14}-")
_CLAUDE_SESSION: Final = re.compile(r"_session_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_CODEX_THREAD: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}(?:-[0-9a-f]{4})-[0-9a-f]{12}"
)
# What is said of a request whose cache is stated nowhere, when its answer might have stated it.
_MISSING: Final = {CUT: "truncated-body", FILTERED: "body-altered"}
# Whose way of counting a format's is.
HINTS: Final = {
    "claude": "anthropic",
    "gemini": "google",
    "antigravity": "google",
    "ollama": "ollama",
    "kiro": "aws",
    "commandcode": "openai",
}


class Detail(msgspec.Struct, kw_only=True):
    """A stored request without its texts; `body` holds what of the answer says anything of it."""

    record: int
    id: str | None = None
    provider: str | None = None
    model: str | None = None
    connection: str | None = None
    timestamp: Any = None
    status: str | None = None
    latency: Any = None
    tokens: Any = None
    body: Mapping[str, Any] = {}
    body_state: str | None = None  # why the answer states no counts: BARE, CUT, FILTERED
    is_placeholder: bool = False
    kind: str | None = None  # "streaming", as the answer to the client says
    user_id: Any = None
    cache_key: Any = None
    tool_ids: list[str] | None = None  # whose results the request brings
    limit: Any = None  # the most tokens that were asked for
    is_copy: bool = False
    is_alone: bool = False  # no usage row states this call

    @property
    def streamed(self) -> bool:
        """Whether the answer was streamed; where the record does not say so, its id does."""
        return self.kind == "streaming" or bool(self.id and _STREAM_ID.match(self.id))


def rows(detail: Detail) -> list[Reported]:
    """One row for each statement of counts, at least one."""
    if detail.is_placeholder or detail.status == "error":
        row = _row(detail, TOKENS, EVENT)
        row.rule = "detail/placeholder" if detail.is_placeholder else "detail/error"
        return [row]
    found = [_tokens_row(detail)]
    body = _body_row(detail)
    if body is not None:
        found.append(body)
    standing = next((row for row in found if _states(row)), None)
    if standing is not None:
        standing.calls = 1
        if detail.is_alone:
            standing.kind = CALL
            if _may_break_off(detail, standing):
                standing.problems = [*(standing.problems or []), PLACEHOLDER_OUTPUT]
            standing.detail = ", ".join(filter(None, (standing.detail, "no usage row")))
    return found


def _may_break_off(detail: Detail, row: Reported) -> bool:
    """Whether Claude's stream may have broken off with no more than the count it began with."""
    little = (row.reported_output_tokens or 0) <= MOST_AT_BEGIN
    return little and not row.finished and upstream_of(detail.provider) == "claude"


def _states(row: Reported) -> bool:
    counts = (row.reported_input_tokens, row.reported_cached_tokens, row.reported_output_tokens)
    return any(counts)


def _row(detail: Detail, part: str, kind: str = RESPONSE) -> Reported:
    upstream = upstream_of(detail.provider)
    thread, source = _thread(detail)
    name = f"detail-{detail.id}" if detail.id else None
    return Reported(
        record=detail.record,
        part=part,
        kind=kind,
        calls=None,
        provider=detail.provider,
        model=model_of(detail.model),
        timestamp=instant(detail.timestamp),
        identity=name,
        record_id=name,
        connection_id=detail.connection,
        thread_id=thread,
        log_source=source,
        tool_ids=detail.tool_ids,
        route=f"?>{upstream} {'stream' if detail.streamed else 'whole'}",
        is_copy=detail.is_copy,
        detail=_latency(detail.latency),
    )


def _latency(latency: Any) -> str | None:
    """How long before its time the request began."""
    total = latency.get("total") if isinstance(latency, Mapping) else None
    milliseconds = count(total, [])
    return None if milliseconds is None else f"latency {milliseconds} ms"


def _thread(detail: Detail) -> tuple[str | None, str | None]:
    """The client's own thread and its source, as far as the request names it."""
    named = text(detail.user_id)
    if named is not None and (session := _session(named)) is not None:
        return session, "claude-code"
    key = text(detail.cache_key)
    if key is not None and _CODEX_THREAD.fullmatch(key):
        return key, "codex"
    return None, None


def _session(named: str) -> str | None:
    found = _CLAUDE_SESSION.search(named)
    if found:
        return found[1]
    stated = decode(named)
    return text(stated.get("session_id")) if isinstance(stated, dict) else None


def _tokens_row(detail: Detail) -> Reported:
    row = _row(detail, TOKENS)
    tokens = detail.tokens if isinstance(detail.tokens, Mapping) else {}
    is_forced = not detail.streamed and detail.body_state == BARE
    usage = read_statement(
        tokens, upstream_of(detail.provider), streamed=detail.streamed, is_forced=is_forced
    )
    if usage is None:
        row.rule, row.problems = "detail/silent", ["no-counts"]
    else:
        put_usage(row, usage)
        row.finished = _is_final(detail, usage)
    missing = _MISSING.get(detail.body_state or "")
    if missing and usage is not None and usage.reported_cached_tokens is None:
        row.problems = [*(row.problems or []), missing]
    return row


def _is_final(detail: Detail, usage: Usage) -> bool | None:
    """Whether the output is the last count: of a whole answer, or as much as was asked for."""
    limit = count(detail.limit, [])
    is_reached = limit is not None and (usage.reported_output_tokens or 0) >= limit
    return True if is_reached or not detail.streamed else None


def _body_row(detail: Detail) -> Reported | None:
    """What the provider's own answer states, without what the router added to it."""
    found = find_usage(detail.body) if detail.body else None
    if found is None or found.usage is None:
        return None
    upstream = upstream_of(detail.provider)
    usage = read_usage(found.usage, found.provider or HINTS.get(upstream))
    if usage is None:
        return None
    row = _row(detail, BODY)
    put_usage(row, settle(usage, found.usage, detail.body, _prompts(detail.tokens)))
    row.response_id = found.response_id
    return row


def _prompts(tokens: Any) -> set[int]:
    """The prompts that the detail's own token object states, one of which the body repeats."""
    if not isinstance(tokens, Mapping):
        return set()
    stated = (count(tokens.get(name), []) for name in _PROMPTS)
    return {number for number in stated if number}


_ESTIMATED: Final = "estimated"
_PERHAPS: Final = "perhaps-estimated"
_NEAR: Final = 2_000_000  # microseconds between a row and its detail
_Counts = tuple[str | None, str | None, int | None, int | None]


class Estimates:
    """Details by model, connection and the counts that a usage row of the same request states.

    Of each its time, and the directions that are estimates; none where its output is a final one of
    few tokens.
    """

    def __init__(self) -> None:
        self._found: dict[_Counts, list[tuple[int, list[str] | None]]] = {}

    def note(self, rows: Iterable[Reported]) -> None:
        """Take what these rows of details say."""
        for row in rows:
            if row.timestamp is None:
                continue
            if _ESTIMATED in (row.problems or ()):
                self._add(row, row.reported_input_tokens, row.assumed or [])
            elif row.finished and (row.reported_output_tokens or 0) <= MOST_AT_BEGIN:
                for prompt in _in_row(row):
                    self._add(row, prompt, None)

    def _add(self, row: Reported, prompt: int | None, directions: list[str] | None) -> None:
        when = int(row.timestamp.timestamp() * 1000) * 1000 if row.timestamp else 0
        who = (row.model, row.connection_id, prompt, row.reported_output_tokens)
        self._found.setdefault(who, []).append((when, directions))

    def revised(self, entry: Entry, verdict: Verdict) -> Verdict:
        """The verdict on a row, with what its detail says of its counts."""
        counts = (entry.counts.prompt, entry.counts.completion)
        known = self._found.get((entry.model, entry.connection, *counts), ())
        near = [words for when, words in known if abs(when - entry.when) <= _NEAR]
        if not near:
            return verdict
        if near[0] is None:
            problems = [code for code in verdict.problems or () if code != PLACEHOLDER_OUTPUT]
            return msgspec.structs.replace(verdict, problems=problems or None)
        problems = [code for code in verdict.problems or () if code != _PERHAPS]
        return msgspec.structs.replace(
            verdict,
            assumed=sorted({*(verdict.assumed or ()), *near[0]}),
            problems=[*problems, _ESTIMATED],
        )

    def __bool__(self) -> bool:
        return bool(self._found)


def _in_row(row: Reported) -> set[int]:
    """The prompts that the usage row may state: with its cache, or with that once more."""
    dialect = DIALECTS[row.dialect or "openai"]
    read, written = row.reported_cached_tokens or 0, row.reported_cache_creation_tokens or 0
    outside = 0 if dialect.input_holds_cached else read
    outside += 0 if dialect.input_holds_cache_creation else written
    whole = (row.reported_input_tokens or 0) + outside
    return {whole, whole + read + written}
