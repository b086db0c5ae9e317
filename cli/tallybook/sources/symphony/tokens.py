"""Reads Symphony's token maps, of three, five or six keys by era, and puts them on rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from tallybook.schema import Reported
from tallybook.values import UUID, count, text

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


# How the keys of a token map begin.
_NAMES: Final = (
    *("input", "uncached_input", "cached_input", "cache_creation_input"),
    *("output", "total"),
)
# How Codex names its counts, in its events and in its interface; `read_usage` does not tell
# Codex's flat `cached_input_tokens` from the same key in maps where it means something else.
_CODEX: Final = {
    "reported_input_tokens": ("input_tokens", "inputTokens"),
    "reported_cached_tokens": ("cached_input_tokens", "cachedInputTokens"),
    "reported_cache_creation_tokens": (
        "cache_write_input_tokens",
        "cacheWriteInputTokens",
        "cache_creation_input_tokens",  # forks of Codex
        "cacheCreationInputTokens",
    ),
    "reported_output_tokens": ("output_tokens", "outputTokens"),
    "reported_reasoning_tokens": ("reasoning_output_tokens", "reasoningOutputTokens"),
    "reported_total_tokens": ("total_tokens", "totalTokens"),
}

THREE: Final = "3-keys"
FIVE: Final = "5-keys"
SIX: Final = "6-keys"
BRANCH: Final = "6-keys-uncached-input"  # for a day on a branch the input was the uncached part
TOTAL: Final = "total-only"


class Tokens(msgspec.Struct, frozen=True):
    """The counts of one token map, and the era whose keys it has; a count that it lacks is None."""

    input: int | None = None
    uncached: int | None = None
    cached: int | None = None
    creation: int | None = None
    output: int | None = None
    total: int | None = None
    era: str = TOTAL

    @classmethod
    def of(cls, counts: Sequence[int | None], era: str) -> Tokens:
        """From the six counts in the order of `counts`."""
        first, uncached, cached, creation, output, total = counts
        return cls(first, uncached, cached, creation, output, total, era)

    def counts(self) -> tuple[int | None, ...]:
        """The six counts in order."""
        return msgspec.structs.astuple(self)[: len(_NAMES)]

    def parts(self) -> int:
        """The three parts of the input together."""
        return (self.uncached or 0) + (self.cached or 0) + (self.creation or 0)

    def exceeds(self) -> bool:
        """Whether more is cached than the input has, in the era whose keys leave that possible."""
        return self.era == FIVE and (self.cached or 0) > (self.input or 0)

    def is_zero(self) -> bool:
        """Whether nothing that is stated is more than zero."""
        return not any(self.counts())


def read_tokens(value: object, problems: list[str], end: str = "tokens") -> Tokens | None:
    """The counts of a token map; None where it states none.

    The keys of the map in which an audit record keeps what the agent itself reported `end` so too.
    """
    if not isinstance(value, Mapping):
        return None
    stated = {name: value.get(f"{name}_{end}") for name in _NAMES}
    given = {name for name, number in stated.items() if number is not None}
    counts = [count(number, problems) for number in stated.values()]
    return Tokens.of(counts, _era(given, counts)) if given else None


def _era(given: Set[str], counts: Sequence[int | None]) -> str:
    if {"uncached_input", "cache_creation_input"} <= given:
        stated = Tokens.of(counts, SIX)
        return BRANCH if stated.input == stated.uncached != stated.parts() else SIX
    if given & {"uncached_input", "cached_input"}:
        return FIVE
    return THREE if given & {"input", "output"} else TOTAL


def put_tokens(row: Reported, stated: Tokens, agent: Agent) -> None:
    """Puts the counts on the row as the agent that they are of has them counted.

    Where that is open and the two readings differ, the input stays whole. Sets `rule`, and adds to
    the row's problems.
    """
    era = stated.era
    row.rule = era if era in (SIX, BRANCH, TOTAL) else f"{era}-{agent.evidence}"
    row.reported_output_tokens = stated.output
    row.reported_total_tokens = stated.total
    if era in (SIX, BRANCH):
        _put_parts(row, stated, era)
    elif era != TOTAL:
        _put_input(row, stated, agent)


def _put_parts(row: Reported, stated: Tokens, era: str) -> None:
    row.dialect = "disjoint"
    row.reported_input_tokens = stated.uncached
    row.reported_cached_tokens = stated.cached
    row.reported_cache_creation_tokens = stated.creation
    if era == SIX and stated.input not in (None, stated.parts()):
        add_problem(row, "input-disagrees", f"input {stated.input}, its parts {stated.parts()}")


def _put_input(row: Reported, stated: Tokens, agent: Agent) -> None:
    """Codex's input holds what was cached, Claude Code's does not, nor does its total."""
    row.dialect, row.reported_input_tokens = "openai", stated.input
    if agent.name == CLAUDE or stated.exceeds():
        row.dialect, row.reported_total_tokens = "anthropic", None
        row.reported_cached_tokens = stated.cached
        if agent.name == CODEX:
            row.assumed = ["input"]
            add_problem(row, "ambiguous-dialect", "more cached than input in a run of Codex")
    elif agent.name == CODEX or stated.cached == 0:
        row.reported_cached_tokens = stated.cached
    else:
        add_problem(row, "ambiguous-dialect", "the input may hold what is cached, or not")


def check_running_total(row: Reported, stated: Tokens) -> None:
    """Compares a running total with its parts, and takes it from the row.

    The row's counts become what was added since the row before, which no total states.
    """
    row.reported_total_tokens = None
    whole = stated.input if stated.uncached is None else stated.parts()
    if stated.total is None or whole is None or stated.output is None:
        return
    if stated.total != whole + stated.output:
        add_problem(row, "total-mismatch", f"the thread's total is stated as {stated.total}")


def put_codex(row: Reported, usage: Mapping[str, Any]) -> bool:
    """Puts the counts of a usage map as Codex itself writes it; False where it states none."""
    problems: list[str] = []
    stated = False
    for field, keys in _CODEX.items():
        values = [usage[key] for key in keys if usage.get(key) is not None]
        value = next(filter(None, values), values[0] if values else None)
        number = count(value, problems)
        setattr(row, field, number)
        stated = stated or number is not None
    row.dialect = "openai"
    for code in problems:
        add_problem(row, code)
    return stated


def add_problem(row: Reported, code: str, detail: str | None = None) -> None:
    """Adds a code to the row's problems, once, and keeps the first detail."""
    row.problems = list(dict.fromkeys([*(row.problems or []), code]))
    row.detail = row.detail or detail
