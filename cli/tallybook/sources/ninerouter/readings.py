"""Reads the counts of a usage row by the era that wrote it and the way its request went."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from tallybook.sources.ninerouter.entries import Entry
from tallybook.sources.ninerouter.routes import EXCLUSIVE, INCLUSIVE, Route, route
from tallybook.sources.ninerouter.tokens import CANONICAL, SHORT, TWIN

# The canonical builds read nested cache counts from this version on, which came out on this day.
_NESTED_READ: Final = (0, 5, 59)
_NESTED_READ_DAY: Final = "2026-08-29"
_CASES: Final = 10_000  # a database has some dozens


class Era(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says of the builds that wrote its rows.

    `first_twin` and `last_twin` are records of twins: a build between them wrote every stream
    twice. Twins from `nested_since` on (ISO text, None is never) come from builds that read nested
    cache counts, so that their zeros mean zero. `version` is the build that had the file last.
    """

    first_twin: int | None = None
    last_twin: int | None = None
    nested_since: str | None = None
    version: tuple[int, ...] | None = None
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
    thinks: bool  # there is more reasoning than completion
    is_flat: bool
    is_anthropic: bool
    is_recent: bool  # from a build that read nested cache counts
    is_lesser: bool  # the record of a stream that states less than the other one


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
        (counts.reasoning or 0) > (counts.completion or 0),
        counts.is_flat or entry.is_included,
        counts.is_anthropic,
        bool(cache) or _is_recent(entry, era),
        entry.pair is not None and counts.shape != TWIN,
    )


def _is_recent(entry: Entry, era: Era) -> bool:
    """Whether a build wrote the row that looked for the cache counts at all their places."""
    if entry.counts.shape == CANONICAL:
        old = era.version is not None and era.version < _NESTED_READ
        return not old and str(entry.timestamp) >= _NESTED_READ_DAY
    return era.nested_since is not None and str(entry.timestamp) >= era.nested_since


@lru_cache(maxsize=_CASES)
def _verdict(*facts: Any) -> Verdict:
    case = Case(*facts)
    way = route(case.provider, case.endpoint, case.streamed)
    if not (case.asks or case.answers or case.read or case.written):
        rule = f"{case.shape}/silent"
        said = (False, False, False, False, False)
        return Verdict("openai", rule, way.label, None, ["no-counts"], *said)
    prompt = _prompt(case, way)
    is_lost = case.asks is False and not case.read and not case.written
    problems = ["input-lost"] if is_lost else []
    problems += [code for code in (prompt.problem, way.guess) if code]
    dialect, guesses = _dialect(case, way, prompt)
    has_cache = prompt.problem != "ambiguous-dialect" and not is_lost
    is_unread = prompt.problem == "cache-not-read" or _is_filled(case, way)
    return Verdict(
        dialect,
        f"{case.shape}/{prompt.why}",
        way.label,
        (["input", "output"] if way.guess else guesses) or None,
        # What the other record of the stream has right is nothing to say.
        (problems or None) if not case.is_lesser else None,
        not is_lost,
        has_cache and not (is_unread and not case.read),
        has_cache and not (is_unread and not case.written),
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
        return _Prompt(INCLUSIVE, way.why, problem="cache-perhaps-twice")
    return _Prompt(INCLUSIVE, way.why)


def _is_unread(case: Case, way: Route) -> bool:
    """Whether a count of 0 says only that the build did not look where the count was."""
    if not way.cache_is_read:
        return True
    nested = way.upstream in ("responses", "gemini") and way.is_translated is not False
    return nested and not case.is_recent


def _dialect(case: Case, way: Route, prompt: _Prompt) -> tuple[str, list[str]]:
    """The dialect, and the directions in which that is a guess.

    Gemini's own count of the answer leaves the thoughts out; a translated stream adds them.
    """
    guesses = ["input"] if prompt.is_guess else []
    if prompt.reading == EXCLUSIVE:
        return "anthropic", guesses
    if not way.is_gemini:
        return "openai", guesses
    if case.thinks or way.client == "gemini" or way.streamed is False:
        return "gemini", guesses
    is_open = way.streamed is None or way.client is None
    return "openai", [*guesses, "output"] if is_open else guesses
