"""Reads the counts of a usage row by the era that wrote it and the way its request went."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from tallybook.sources.ninerouter.entries import Entry
from tallybook.sources.ninerouter.routes import ESTIMATING, EXCLUSIVE, INCLUSIVE, Route, route
from tallybook.sources.ninerouter.tokens import CANONICAL, SHORT, TWIN, Counts

# The canonical builds read nested cache counts from this version on, which came out on this day.
_NESTED_READ: Final = (0, 5, 59)
_NESTED_READ_DAY: Final = "2026-08-29"
_DIALECTS: Final = {EXCLUSIVE: "anthropic", INCLUSIVE: "openai"}
_BOTH: Final = ["input", "output"]


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


class Said(NamedTuple):
    """Counts as the columns of a row have them; `detail` is a word on the cost."""

    input: int | None
    cached: int | None
    written: int | None
    output: int | None
    reasoning: int | None
    total: int | None
    dialect: str
    rule: str
    assumed: list[str] | None
    problems: list[str] | None
    detail: str | None


class _Prompt(NamedTuple):
    reading: str
    why: str
    cached: int | None
    written: int | None
    is_guess: bool = False
    problem: str | None = None


def take_streams(entries: list[Entry], era: Era) -> None:
    """Sets `streamed` where the row or its twin proves it.

    A build that wrote streams twice wrote everything else once.
    """
    first, last = era.first_twin, era.last_twin
    for entry in entries:
        shape = entry.counts.shape
        if entry.partner is not None or shape in (TWIN, SHORT):
            entry.streamed = True
        elif first is None or last is None or shape == CANONICAL:
            continue
        elif first < entry.record < last:
            entry.streamed = False


def path_of(entry: Entry) -> Route:
    """How the request went, as the row and its twin tell it together."""
    partner = entry.partner
    provider, endpoint = entry.provider, entry.endpoint
    if partner is not None:
        # A twin may bear the name of a format instead of the provider's, and never an endpoint.
        provider = provider_of(entry)
        endpoint = endpoint or partner.endpoint
    return route(provider, endpoint, entry.streamed)


def provider_of(entry: Entry) -> str | None:
    """The provider, of a twin as its partner states it."""
    if entry.partner is not None and entry.counts.shape == TWIN:
        return entry.partner.provider or entry.provider
    return entry.provider


def read(entry: Entry, way: Route, era: Era) -> Said:
    """The counts of a row, what of them is a guess, and what is wrong with them."""
    counts, problems = entry.counts, list(entry.problems)
    if not counts.completion and not counts.prompt and not counts.read and not counts.written:
        return _silent(counts, problems)
    prompt = _prompt(entry, way, era)
    stated = counts.prompt
    if stated == 0 and not (prompt.cached or prompt.written):
        # No request has an empty prompt: the upstream's answer did not repeat it.
        problems.append("input-lost")
        prompt = _Prompt(prompt.reading, prompt.why, None, None)
        stated = None
    if prompt.problem:
        problems.append(prompt.problem)
    dialect, is_output_guess = _dialect(counts, way, prompt.reading)
    guesses = (["input"] if prompt.is_guess else []) + (["output"] if is_output_guess else [])
    guesses, problems = _estimates(way, provider_of(entry), guesses, problems)
    reasoning = _reasoning(counts)
    twice = reasoning and entry.cost is not None and dialect != "gemini"
    return Said(
        stated,
        prompt.cached,
        prompt.written,
        counts.completion,
        reasoning,
        counts.total if dialect == "openai" else None,  # else a sum of other parts
        dialect,
        f"{counts.shape}/{prompt.why}",
        guesses or None,
        _of_row(entry, problems),
        "the reported cost counts reasoning twice" if twice else None,
    )


def _silent(counts: Counts, problems: list[str]) -> Said:
    """A row that says nothing but that there was a request."""
    problems = list(dict.fromkeys([*problems, "no-counts"]))
    return Said(
        None, None, None, None, None, None, "openai", f"{counts.shape}/silent", None, problems, None
    )


def _prompt(entry: Entry, way: Route, era: Era) -> _Prompt:
    counts = entry.counts
    if counts.shape == CANONICAL:
        return _canonical(entry, way, era)
    read, written = counts.read, counts.written
    filled = counts.shape in (TWIN, SHORT) and not read and not written
    if filled and not _zeros_are_read(entry, way, era):
        read = written = None
    return _by_keys(entry, read, written) or _by_route(way, read, written)


def _by_keys(entry: Entry, read: int | None, written: int | None) -> _Prompt | None:
    """The reading that the keys or the numbers prove, whatever the route."""
    counts, partner = entry.counts, entry.partner
    if (read or 0) + (written or 0) > (counts.prompt or 0):
        return _Prompt(EXCLUSIVE, "parts-exceed-input", read, written)
    if counts.is_flat or (partner is not None and partner.counts.is_flat):
        return _Prompt(INCLUSIVE, "cached-tokens", read, written)
    if counts.is_anthropic:
        return _Prompt(EXCLUSIVE, "input-tokens", read, written)
    return None


def _by_route(way: Route, read: int | None, written: int | None) -> _Prompt:
    parts = (read or 0) + (written or 0)
    if way.reading is not None:
        is_guess = parts > 0 and way.client is None
        return _Prompt(way.reading, way.why, read, written, is_guess)
    if parts == 0 and read is not None:  # with nothing in the cache both readings are the same
        return _Prompt(EXCLUSIVE, way.why, read, written)
    if parts and way.client is None:
        # Prompts that leave the cache out are small beside it, so this one will hold it.
        return _Prompt(INCLUSIVE, way.why, read, written, is_guess=True)
    return _Prompt(INCLUSIVE, way.why, None, None, problem="ambiguous-dialect")


def _zeros_are_read(entry: Entry, way: Route, era: Era) -> bool:
    """Whether zeros that stand for every absent count are known to be none here."""
    if way.is_claude:
        return bool(entry.counts.prompt)
    since = era.nested_since
    return way.cache_is_read and since is not None and str(entry.timestamp) >= since


def _canonical(entry: Entry, way: Route, era: Era) -> _Prompt:
    counts = entry.counts
    cached, written, prompt = counts.read, counts.written, counts.prompt or 0
    if not cached and _is_unread(entry, way, era):
        return _Prompt(INCLUSIVE, way.why, None, written or None, problem="cache-not-read")
    cache = (cached or 0) + (written or 0)
    folded = way.is_claude and way.client not in (None, "claude") and way.streamed is not False
    if folded and cache and prompt >= 2 * cache:
        return _Prompt(INCLUSIVE, way.why, cached, written, problem="cache-perhaps-twice")
    return _Prompt(INCLUSIVE, way.why, cached, written)


def _is_unread(entry: Entry, way: Route, era: Era) -> bool:
    """Whether a count of 0 says only that the build did not look where the count was."""
    if not way.cache_is_read:
        return True
    if not (way.upstream in ("responses", "gemini") and way.is_translated is not False):
        return False
    old = era.version is not None and era.version < _NESTED_READ
    return old or str(entry.timestamp) < _NESTED_READ_DAY


def _dialect(counts: Counts, way: Route, reading: str) -> tuple[str, bool]:
    """The dialect, and whether it is a guess that the output holds the reasoning.

    Gemini's own count of the answer leaves the thoughts out; a translated stream adds them.
    """
    if reading == EXCLUSIVE or not way.is_gemini:
        return _DIALECTS[reading], False
    beyond = (counts.reasoning or 0) > (counts.completion or 0)
    if beyond or way.client == "gemini" or way.streamed is False:
        return "gemini", False
    return "openai", way.streamed is None or way.client is None


def _reasoning(counts: Counts) -> int | None:
    """The reasoning; the zero of a twin or a short row stands for whatever was not found."""
    if counts.shape in (TWIN, SHORT):
        return counts.reasoning or None
    return counts.reasoning


def _estimates(
    way: Route, provider: str | None, guesses: list[str], problems: list[str]
) -> tuple[list[str], list[str]]:
    if provider in ESTIMATING:
        return _BOTH, [*problems, "estimated"]
    # Kiro's counts are now stated, now worked out from a percentage and a length.
    if way.upstream == "kiro":
        return _BOTH, [*problems, "perhaps-estimated"]
    return guesses, problems


def _of_row(entry: Entry, problems: list[str]) -> list[str] | None:
    """What is wrong, but for what the twin of a stripped row has right."""
    if entry.partner is not None and entry.counts.shape != TWIN:
        problems = [problem for problem in problems if problem == "bad-number"]
    return problems or None
