"""Makes rows of request details: what a stored request says of a call that another row counts.

A detail states the counts of a call up to twice, in its own token object and in the body of the
provider's answer. Each statement is a row, evidence for the usage row of the same request; `calls`
is 1 on the one that stands for the request where there is no such row.

Whether there is one can be told within a database, which keeps both: there a detail without a usage
row is a call that some build failed to count. A document of details stays evidence; the usage rows
of its time lie in another file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tallybook.dialects import find_usage, read_usage, state
from tallybook.schema import CALL, EVENT, RESPONSE, Reported
from tallybook.sources.ninerouter.bodies import BARE, CUT, FILTERED, settle
from tallybook.sources.ninerouter.routes import upstream_of
from tallybook.sources.ninerouter.statements import read_statement
from tallybook.values import count, decode, instant, text

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
    is_copy: bool = False
    is_alone: bool = False  # no usage row states this call

    @property
    def streamed(self) -> bool:
        """Whether the answer was streamed; where the record does not say so, its id does."""
        return self.kind == "streaming" or bool(self.id and _STREAM_ID.match(self.id))


def rows(detail: Detail) -> list[Reported]:
    """One row for each statement of counts, at least one."""
    if detail.is_placeholder or detail.status == "error":
        rule = "detail/placeholder" if detail.is_placeholder else "detail/error"
        row = _row(detail, TOKENS, EVENT)
        row.rule = rule
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
            standing.detail = ", ".join(filter(None, (standing.detail, "no usage row")))
    return found


def outputs(detail: Detail) -> set[int]:
    """What a usage row of the same request may state as its completion."""
    tokens = detail.tokens if isinstance(detail.tokens, Mapping) else {}
    usage = read_statement(tokens, upstream_of(detail.provider), streamed=True, is_forced=False)
    if usage is None:
        return {0}
    output, reasoning = usage.reported_output_tokens or 0, usage.reported_reasoning_tokens or 0
    return {output, output + reasoning, abs(output - reasoning)}


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
        model=detail.model,
        timestamp=instant(detail.timestamp),
        identity=name,
        record_id=name,
        connection_id=detail.connection,
        thread_id=thread,
        log_source=source,
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
    if named is not None:
        session = _session(named)
        if session is not None:
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
        state(row, usage)
    missing = _MISSING.get(detail.body_state or "")
    if missing and usage is not None and usage.reported_cached_tokens is None:
        row.problems = [*(row.problems or []), missing]
    return row


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
    state(row, settle(usage, found.usage, detail.body, _prompts(detail.tokens)))
    row.response_id = found.response_id
    return row


def _prompts(tokens: Any) -> set[int]:
    """The prompts that the detail's own token object states, one of which the body repeats."""
    if not isinstance(tokens, Mapping):
        return set()
    stated = (count(tokens.get(name), []) for name in ("prompt_tokens", "input_tokens"))
    return {number for number in stated if number}
