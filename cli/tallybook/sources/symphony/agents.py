"""Tells which agent, and which of its threads, a record speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from tallybook.values import UUID, text

# The agents are named as the sources that read their own logs.
CODEX: Final = "codex"
CLAUDE: Final = "claude-code"
PROVIDERS: Final = {CODEX: "openai", CLAUDE: "anthropic"}

_KINDS: Final = {"codex": CODEX, "claude": CLAUDE}
_MODULES: Final = {"Codex": CODEX, "ClaudeCode": CLAUDE}
_CLAUDE_EVENTS: Final = frozenset({"token_count", "agent_text", "tool_use", "tool_result"})
_UUID_LENGTH: Final = 36

# Commits of Automattic's project, in UTC: before, updates of Claude Code were dropped unread; and
# from here on the usage of a message was added once for each line that repeats it.
CLAUDE_IS_COUNTED: Final = datetime(2026, 5, 14, 8, 59, tzinfo=UTC)
CLAUDE_LINES_ARE_ADDED: Final = datetime(2026, 5, 20, 3, 23, tzinfo=UTC)


class Session(NamedTuple):
    """The thread that a session id names, and the agent that gives ids of this shape."""

    thread_id: str | None
    agent: str | None


class Agent(NamedTuple):
    """An agent and the evidence for it; None where nothing tells."""

    name: str | None
    evidence: str


def session(value: object) -> Session:
    """Claude Code's session ids are UUIDs; Codex's have the turn behind the thread's UUID."""
    stated = text(value)
    if stated is None:
        return Session(None, None)
    if UUID.fullmatch(stated):
        return Session(stated, CLAUDE)
    if UUID.match(stated) and stated[_UUID_LENGTH : _UUID_LENGTH + 1] == "-":
        return Session(stated[:_UUID_LENGTH], CODEX)
    turn = stated[-_UUID_LENGTH - 1 :]
    if turn.startswith("-") and UUID.fullmatch(turn[1:]):
        return Session(stated[: -len(turn)], CODEX)
    return Session(stated, None)


def agent_of_module(value: object) -> str | None:
    """The agent of an adapter's module, e.g. `SymphonyElixir.ClaudeCode.AppServer`."""
    parts = (text(value) or "").split(".")
    return next((_MODULES[part] for part in parts if part in _MODULES), None)


def agent_of(run: Mapping[str, Any], when: datetime | None, *, exceeds: bool = False) -> Agent:
    """The agent of a whole run, by the best evidence that its record has.

    `exceeds`: more input is stated as cached than as input at all, which only Claude Code's
    counts do.
    """
    early = when is not None and when < CLAUDE_IS_COUNTED
    evidence = (
        Agent(_KINDS.get(text(run.get("agent_kind")) or ""), "agent-kind"),
        Agent(CODEX if text(run.get("codex_app_server_pid")) else None, "app-server-pid"),
        Agent(CLAUDE if text(run.get("last_event")) in _CLAUDE_EVENTS else None, "last-event"),
        Agent(session(run.get("session_id")).agent, "session-id"),
        Agent(CLAUDE if exceeds else None, "cached-exceeds-input"),
        Agent(CODEX if early else None, "date"),
    )
    return next((agent for agent in evidence if agent.name), Agent(None, "unknown"))
