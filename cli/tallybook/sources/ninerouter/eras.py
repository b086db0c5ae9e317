"""Reads the counts of a usage row by the era that wrote it and the way its request went."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from tallybook.schema import CACHE_BESIDE, CACHE_TWICE, MOST_AT_BEGIN, PLACEHOLDER_OUTPUT
from tallybook.sources.ninerouter.builds import NESTED, NEVER, NO_BUILD, WHOLE, Builds, Version
from tallybook.sources.ninerouter.tokens import CANONICAL, SHORT, STRIPPED, TWIN
from tallybook.sources.ninerouter.usage_rows import Entry

_OWN: Final = ("kiro", "ollama", "commandcode", "cursor", "grok-web", "perplexity-web")
_UPSTREAMS: Final = {
    **dict.fromkeys(("claude", "anthropic", "agentrouter"), "claude"),
    # They have an endpoint in Anthropic's format and one in OpenAI's; the rows do not say which.
    **dict.fromkeys(("glm", "kimi", "kimi-coding", "minimax", "minimax-cn"), "claude|openai"),
    **dict.fromkeys(("codex", "grok-cli", "openai-responses"), "responses"),
    **dict.fromkeys(("gemini", "gemini-cli", "antigravity", "vertex"), "gemini"),
    **{name: name for name in _OWN},
}
# The same of providers that the user named, by how their names begin.
_NAMED: Final = (
    ("anthropic-compatible-", "claude"),
    ("openai-compatible-responses-", "responses"),
    ("ollama", "ollama"),
)
# Their providers state no usage, so the counts are taken from lengths of texts, and 2000 is added.
_ESTIMATING: Final = frozenset({"cursor", "grok-web", "perplexity-web"})
# Kiro's counts are now stated, now worked out from a percentage and a length.
_GUESSES: Final = {**dict.fromkeys(_ESTIMATING, "estimated"), "kiro": "perhaps-estimated"}
# They stream whatever was asked for; for a client that did not ask the answer is put together.
_ONLY_STREAMING: Final = frozenset({"codex", "grok-cli"})
# They state the usage of a stream in the chunk that ends the answer, not in one of its own.
_USAGE_AT_END: Final = frozenset({"deepseek", "mistral"})
# What their providers state of the cache is not read, or not before the last builds.
_CACHE_UNREAD: Final = frozenset({"commandcode", "kiro", *_ESTIMATING})

_HOW: Final = {True: " stream", False: " whole", None: ""}

INCLUSIVE: Final = "inclusive"
EXCLUSIVE: Final = "exclusive"


class Route(msgspec.Struct, frozen=True, gc=False):
    """How a request went through the router, as far as its row tells.

    `reading` is INCLUSIVE or EXCLUSIVE, None where it hangs on what is not known; `why` names the
    case. `streamed` is None where nothing tells.
    """

    client: str | None
    upstream: str
    streamed: bool | None
    reading: str | None
    why: str
    is_claude: bool  # the upstream may answer in Anthropic's format
    cache_is_read: bool
    states_writes: bool  # a 0 of what was written to the cache is the provider's own
    guess: str | None  # the problem of counts that are, or may be, estimates
    label: str  # the route in words, e.g. `claude>responses stream`


@lru_cache(maxsize=4096)
def route(provider: str | None, endpoint: str | None, streamed: bool | None) -> Route:
    """The route of a request to `provider` that came in at the path `endpoint`."""
    client, upstream = _client(endpoint), upstream_of(provider)
    formats = upstream.split("|")
    reading, why = _agreed(
        {_reading(client, streamed, is_claude=name == "claude") for name in formats}
    )
    return Route(
        client=client,
        upstream=upstream,
        streamed=streamed,
        reading=reading,
        why=why,
        is_claude="claude" in formats,
        cache_is_read=provider not in _CACHE_UNREAD,
        states_writes=states_writes(upstream) or client == "embeddings",
        guess=_GUESSES.get(provider or ""),
        label=f"{client or '?'}>{upstream}{_HOW[streamed]}",
    )


def upstream_of(provider: str | None) -> str:
    """The format in which the provider answers, `claude|openai` where it may be either."""
    name = provider or ""
    named = (upstream for begin, upstream in _NAMED if name.startswith(begin))
    return _UPSTREAMS.get(name) or next(named, "openai")


def states_writes(upstream: str) -> bool:
    """Whether a provider's 0 of what was written to the cache is one.

    Claude states it in every answer, and Ollama writes to none. Elsewhere the router puts a 0 where
    it found nothing, and does not look under `cache_write_tokens`.
    """
    return upstream in ("claude", "ollama")


def exclusive(upstream: str, written: int | bool | None) -> str:
    """The dialect of a prompt that leaves out what was read from the cache.

    What the router found of writes it took out as well; what it did not find is still in there.
    """
    is_found = written or upstream == "claude" or (written is None and "claude" in upstream)
    return "anthropic" if is_found else "reads-outside"


_CLIENTS: Final = (
    ("/messages", "claude"),
    ("/chat/completions", "openai"),
    ("/responses", "responses"),
    ("/responses/compact", "responses"),
    ("/embeddings", "embeddings"),
    ("generatecontent", "gemini"),
)


def _client(endpoint: str | None) -> str | None:
    """The format the client spoke; by the end of the path, for prefixes come and go."""
    if not endpoint:
        return None
    path = endpoint.partition("?")[0].rstrip("/").lower()
    return next((client for end, client in _CLIENTS if path.endswith(end)), "other")


def _reading(
    client: str | None, streamed: bool | None, *, is_claude: bool
) -> tuple[str | None, str]:
    """How the prompt of a stored row is to be read, and the name of the case."""
    if is_claude and client == "claude":
        return EXCLUSIVE, "claude-to-claude"
    if is_claude and client is None:
        return None, "claude-to-unknown"
    if not is_claude and client != "claude":
        return INCLUSIVE, "other" if client else "other-to-unknown"
    # Anthropic's format came in or went out, and was translated, in streams only.
    cases = _TRANSLATED if is_claude else _TO_CLAUDE
    return cases[streamed]


_TRANSLATED: Final[dict[bool | None, tuple[str | None, str]]] = {
    True: (INCLUSIVE, "claude-to-other-stream"),
    False: (EXCLUSIVE, "claude-to-other-whole"),
    None: (None, "claude-to-other"),
}
_TO_CLAUDE: Final[dict[bool | None, tuple[str | None, str]]] = {
    True: (EXCLUSIVE, "other-to-claude-stream"),
    False: (INCLUSIVE, "other-to-claude-whole"),
    None: (None, "other-to-claude"),
}


def _agreed(readings: set[tuple[str | None, str]]) -> tuple[str | None, str]:
    """The one reading of a provider, where it is the same for both of its formats."""
    found = {reading for reading, _ in readings}
    why = " or ".join(sorted(why for _, why in readings))
    return (found.pop() if len(found) == 1 else None), why


_CASES: Final = 10_000  # a database has some dozens


class Era(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says of the builds that wrote its rows.

    `first_twin` and `last_twin` are records of twins: a build between them wrote every stream
    twice. Twins from `nested_since` on (ISO text, None is never) come from builds that read nested
    cache counts, so that their zeros mean zero. `builds` says the same of canonical rows.
    """

    first_twin: int | None = None
    last_twin: int | None = None
    nested_since: str | None = None
    builds: Builds = msgspec.field(default_factory=Builds)
    is_copy: bool = False


class Case(NamedTuple):
    """What of a row decides how it is read: never its numbers, but how they stand to each other."""

    shape: str
    provider: str | None
    endpoint: str | None
    streamed: bool | None
    asks: bool | None  # the prompt is more than 0; None where it is not stated
    answers: bool  # the completion is more than 0
    read: bool | None  # as `asks`, for what was read from the cache
    written: bool | None
    exceeds: bool  # the cache is more than the prompt
    is_half: bool  # the cache is half of the prompt or less
    reasons: bool  # reasoning is more than 0
    thinks: bool  # there is more reasoning than completion
    is_flat: bool
    is_anthropic: bool
    is_recent: bool  # a twin of a build that read nested cache counts
    build: Version  # that wrote a canonical row at the least
    is_lesser: bool  # the record of a stream that states less than the other one
    is_little: bool  # no more was answered than a stream may begin with


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """How a row is read: which of its counts say something, and what is to be said of them."""

    dialect: str
    rule: str
    route: str
    assumed: list[str] | None
    problems: list[str] | None
    has_input: bool
    has_read: bool
    has_written: bool
    has_output: bool
    keeps_total: bool  # where reasoning or cache lie outside, the stored total leaves them out


# Whose builds put a 0 wherever they found no count.
_PUTS_ZEROS: Final = frozenset({CANONICAL, TWIN, SHORT})


def _may_break_off(case: Case, way: Route) -> bool:
    """Whether the row states what a stream began with, should it have broken off.

    Claude's streams alone begin with counts, and builds that take the larger of both counts of a
    stream are left with these. Nothing else of a row tells whether the last count came.
    """
    return case.shape == CANONICAL and way.upstream == "claude" and way.streamed is not False


class _Prompt(NamedTuple):
    reading: str
    why: str
    is_guess: bool = False
    problem: str | None = None


def take_streams(entries: list[Entry], era: Era) -> None:
    """Sets `streamed` where the row or its twin proves it.

    A build that wrote streams twice wrote everything else once.
    """
    first, last = era.first_twin, era.last_twin
    for entry in entries:
        shape = entry.counts.shape
        if entry.pair is not None or shape in (TWIN, SHORT):
            entry.streamed = True
        elif first is None or last is None or shape == CANONICAL:
            continue
        elif first < entry.record < last:
            entry.streamed = False


def judge(entry: Entry, era: Era) -> Verdict:
    """How a row is to be read."""
    counts = entry.counts
    prompt, read, written = counts.prompt, counts.read, counts.written
    cache = (read or 0) + (written or 0)
    return _verdict(
        counts.shape,
        entry.served_by or entry.provider,
        entry.endpoint,
        entry.streamed,
        None if prompt is None else prompt > 0,
        bool(counts.completion),
        None if read is None else read > 0,
        None if written is None else written > 0,
        cache > (prompt or 0),
        2 * cache <= (prompt or 0),
        bool(counts.reasoning),
        (counts.reasoning or 0) > (counts.completion or 0),
        counts.is_flat or entry.is_included,
        counts.is_anthropic,
        bool(cache) or _is_recent(entry, era),
        _build(entry, era) if counts.shape == CANONICAL else NO_BUILD,
        entry.pair is not None and counts.shape != TWIN,
        (counts.completion or 0) <= MOST_AT_BEGIN,
    )


def _is_recent(entry: Entry, era: Era) -> bool:
    """Whether a build wrote the twin that looked for the cache counts at all their places."""
    return era.nested_since is not None and str(entry.timestamp) >= era.nested_since


def _build(entry: Entry, era: Era) -> Version:
    """The build that a canonical row needs to be of, as far as it matters: where nothing was read.

    A count that was read of a translated stream shows which build the rows after it are of.
    """
    if not entry.counts.read:
        return era.builds.wrote(entry.timestamp)
    if era.builds.seen is None and entry.provider not in _ONLY_STREAMING:
        way = route(entry.provider, entry.endpoint, None)
        if way.upstream == "responses" and way.client == "openai":
            era.builds.show(entry.timestamp)
    return NO_BUILD


@lru_cache(maxsize=_CASES)
def _verdict(*facts: Any) -> Verdict:
    case = Case(*facts)
    way = route(case.provider, case.endpoint, case.streamed)
    if not (case.asks or case.answers or case.read or case.written):
        rule = f"{case.shape}/silent"
        states_none = (False, False, False, False, False)
        return Verdict("openai", rule, way.label, None, ["no-counts"], *states_none)
    prompt = _prompt(case, way)
    is_lost = case.asks is False and not case.read and not case.written
    problems = ["input-lost"] if is_lost else []
    problems += [code for code in (prompt.problem, way.guess) if code]
    if case.is_little and _may_break_off(case, way):
        problems.append(PLACEHOLDER_OUTPUT)
    dialect, guesses = _dialect(case, way, prompt)
    has_cache = prompt.problem != "ambiguous-dialect" and not is_lost
    is_unread = prompt.problem == "cache-not-read" or _is_filled(case, way)
    is_put = case.shape in _PUTS_ZEROS and not way.states_writes
    return Verdict(
        dialect,
        f"{case.shape}/{prompt.why}",
        way.label,
        (["input", "output"] if way.guess else guesses) or None,
        # What the other record of the stream has right is nothing to say.
        (problems or None) if not case.is_lesser else None,
        not is_lost,
        has_cache and not (is_unread and not case.read),
        has_cache and not ((is_unread or is_put) and not case.written),
        has_output=True,
        keeps_total=dialect == "openai",
    )


def _prompt(case: Case, way: Route) -> _Prompt:
    if case.shape == CANONICAL:
        return _canonical(case, way)
    if case.exceeds:
        return _Prompt(EXCLUSIVE, "parts-exceed-input")
    if case.is_flat:
        return _Prompt(INCLUSIVE, "cached-tokens")
    if case.is_anthropic:
        return _Prompt(EXCLUSIVE, "input-tokens")
    return _by_route(case, way)


def _by_route(case: Case, way: Route) -> _Prompt:
    has_cache = bool(case.read or case.written)
    if has_cache and way.client == "claude" and case.shape == TWIN:
        # Usage in a chunk of its own was taken as it came, reasoning and all; usage in the chunk
        # that ends the answer was made into Claude's, which knows no reasoning.
        if case.reasons:
            return _Prompt(INCLUSIVE, f"{way.why}-with-reasoning")
        if way.upstream == "openai" and case.provider not in _USAGE_AT_END:
            return _Prompt(INCLUSIVE, way.why, problem=CACHE_BESIDE)
    if way.reading is not None:
        return _Prompt(way.reading, way.why, has_cache and way.client is None)
    if not has_cache and case.read is not None and not _is_filled(case, way):
        # With nothing in the cache both readings are the same.
        return _Prompt(EXCLUSIVE, way.why)
    if has_cache and way.client is None:
        # Prompts that leave the cache out are small beside it, so this one will hold it.
        return _Prompt(INCLUSIVE, way.why, is_guess=True)
    return _Prompt(INCLUSIVE, way.why, problem="ambiguous-dialect")


def _is_filled(case: Case, way: Route) -> bool:
    """Whether zeros stand for counts that were not found, since some had to be written."""
    if case.shape not in (TWIN, SHORT) or case.read or case.written:
        return False
    if way.is_claude:
        return not case.asks
    return not (way.cache_is_read and case.is_recent)


def _canonical(case: Case, way: Route) -> _Prompt:
    if not case.read and _is_unread(case, way):
        return _Prompt(INCLUSIVE, way.why, problem="cache-not-read")
    folded = way.is_claude and way.client not in (None, "claude") and way.streamed is not False
    if folded and (case.read or case.written) and case.is_half:
        return _Prompt(INCLUSIVE, way.why, problem=CACHE_TWICE)
    return _Prompt(INCLUSIVE, way.why)


def _is_unread(case: Case, way: Route) -> bool:
    """Whether a count of 0 may say only that the build did not look where the count was."""
    if not way.cache_is_read:
        return True
    # The build from which on the cache counts of a stream are found, and those of a whole answer.
    needed: list[Version] = [NO_BUILD]
    is_nested = way.upstream in ("responses", "gemini") and way.client != way.upstream
    if way.streamed is not False and is_nested:
        needed.append(NESTED)
    if way.streamed is not True and case.provider in _ONLY_STREAMING:
        needed.append(NEVER)
    elif way.streamed is not True and (way.upstream, way.client) in _LATE_WHOLES:
        needed.append(WHOLE)
    return case.build < max(needed)


_LATE_WHOLES: Final = frozenset(
    {("responses", "responses"), ("openai", "claude"), ("claude|openai", "claude")}
)


def _dialect(case: Case, way: Route, prompt: _Prompt) -> tuple[str, list[str]]:
    """The dialect, and the directions in which that is a guess.

    Gemini's own count of the answer leaves the thoughts out; a translated stream adds them.
    """
    guesses = ["input"] if prompt.is_guess else []
    if prompt.reading == EXCLUSIVE:
        return exclusive(way.upstream, case.written), guesses
    if way.upstream != "gemini":
        return "openai", guesses
    if case.thinks or way.client == "gemini" or way.streamed is False:
        # A stripped record has lost the thoughts, be there any.
        return "gemini", [*guesses, "output"] if case.shape == STRIPPED else guesses
    is_open = way.streamed is None or way.client is None
    return "openai", [*guesses, "output"] if is_open else guesses
