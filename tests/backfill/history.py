"""Makes the history of a router whose truth is known: every route, in every era of its builds."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from tests.backfill.routes import ROUTES, Json, Route, Truth

# First day of each era. Twins: streams are written twice. Canonical: the prompt holds the cache,
# and what the extractor missed is zero; late: it misses no more.
ERAS: Final = {
    "twins": datetime(2026, 5, 20, 10, tzinfo=UTC),
    "stripped": datetime(2026, 6, 28, 9, tzinfo=UTC),
    "canonical": datetime(2026, 7, 20, 8, tzinfo=UTC),
    "late": datetime(2026, 9, 10, 8, tzinfo=UTC),
}
# What became of the detail of a request.
KEPT, EVICTED, CUT = "kept", "evicted", "cut"
_ONLY_IN_BODY = ("gemini-openai", "responses-responses", "ollama")


@dataclass(slots=True)
class Made:
    """One request: what it used, what was written of it, and what can be known of it again."""

    route: Route
    era: str
    truth: Truth
    fate: str
    at: datetime
    rows: list[Json] = field(default_factory=list)
    detail: Json | None = None
    # The reason why the prompt stays unknown; None where it is stated or can be proved.
    lost: str | None = None
    # Whether the row of a canonical build states a zero that nothing disproves.
    zero: bool = False


def history(count: int, seed: int = 1) -> list[Made]:
    """`count` requests over all routes, eras and fates of their details, some at the same time."""
    rng = random.Random(seed)
    clocks = dict(ERAS)
    made = []
    for number in range(count):
        route = ROUTES[number % len(ROUTES)]
        era = list(ERAS)[number // len(ROUTES) % len(ERAS)]
        fate = rng.choices((KEPT, EVICTED, CUT), (8, 1, 1))[0]
        clocks[era] += timedelta(milliseconds=rng.choice((3, 120, 900, 2500, 61_000)))
        one = Made(route, era, _truth(route, number, rng), fate, clocks[era])
        one.rows = _rows(one, rng)
        one.detail = _detail(one, number, rng) if fate != EVICTED else None
        one.lost, one.zero = _fate(one)
        made.append(one)
    return made


def _truth(route: Route, number: int, rng: random.Random) -> Truth:
    reasoning = rng.randrange(1, 400) if route.thinks else 0
    return Truth(
        uncached=rng.randrange(3, 4000),
        cached=rng.choice((0, 1, 1)) * rng.randrange(1024, 90_000),
        creation=rng.randrange(1, 5000) if route.writes else 0,
        # No two of them are equal in all that a match goes by, unless a test makes them so.
        output=1000 + 400 * number + reasoning,
        reasoning=reasoning,
    )


def _rows(made: Made, rng: random.Random) -> list[Json]:
    route, truth = made.route, made.truth
    prompt, output = route.row(truth)
    if made.era in {"canonical", "late"}:
        return [_row(made, _canonical(made), route.endpoint)]
    plain = {"prompt_tokens": prompt, "completion_tokens": output}
    rows = [_row(made, plain, route.endpoint)]
    if made.era == "twins" and route.stream:
        kept = route.twin
        twin = {
            **plain,
            "cache_read_input_tokens": truth.cached if kept else 0,
            "cache_creation_input_tokens": truth.creation if kept else 0,
            "reasoning_tokens": truth.reasoning if kept else 0,
        }
        later = _row(made, twin, None)
        later["timestamp"] = made.at + timedelta(milliseconds=rng.randrange(4))
        rows.insert(0, later)
    return rows


def _row(made: Made, tokens: Json, endpoint: str | None) -> Json:
    return {
        "timestamp": made.at,
        "provider": made.route.provider,
        "model": made.route.model,
        "connectionId": f"account-{made.route.provider}",
        "endpoint": endpoint,
        "tokens": tokens,
    }


def _canonical(made: Made) -> Json:
    route, truth = made.route, made.truth
    prompt, output = route.row(truth)
    mended = made.era == "late" and route.mended_by_late
    total, cached, creation = prompt, 0, 0
    if mended:
        total, cached, creation = truth.prompt, truth.cached, truth.creation
    elif route.canonical:
        total, cached, creation = route.canonical(truth)
    tokens = {
        "prompt_tokens": total,
        "completion_tokens": output,
        "total_tokens": total + output,
        "cached_tokens": cached,
        "cache_creation_input_tokens": creation,
    }
    return tokens | ({"reasoning_tokens": truth.reasoning} if truth.reasoning else {})


def _detail(made: Made, number: int, rng: random.Random) -> Json:
    route, at = made.route, made.at
    apart = rng.randrange(-5, 1) if route.stream else rng.randrange(301)
    written = at + timedelta(milliseconds=apart)
    body = route.body(made.truth)
    if _is_cut(made):
        body = {"_truncated": True, "_originalSize": 9000, "_preview": json.dumps(body)[:60]}
    stamp = written.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    name = f"{int(at.timestamp() * 1000)}-{number:09d}" if route.stream else f"{stamp}-{number:06d}"
    return {
        "id": name,
        "provider": route.provider,
        "model": route.model,
        "connectionId": f"account-{route.provider}",
        "timestamp": written,
        "status": "success",
        "latency": {"ttft": 900, "total": 4000},
        "tokens": route.tokens(made.truth),
        "request": {"messages": [], "stream": route.stream},
        "providerRequest": {},
        "providerResponse": body,
        "response": {"content": "ok", "thinking": None}
        | ({"type": "streaming"} if route.stream else {"finish_reason": "stop"}),
    }


def _fate(made: Made) -> tuple[str | None, bool]:
    """The reason why the cached count is lost, and whether the row states a false zero for it."""
    route = made.route
    stated = made.era in {"canonical", "late"}
    right = stated and not route.why and not _is_wrong(made)
    by_twin = made.era == "twins" and route.stream and route.twin
    if right or by_twin:
        return None, False
    if made.fate == EVICTED:
        return "no-response-kept", stated
    if _is_cut(made) and route.name in _ONLY_IN_BODY:
        return "truncated-body", stated
    return route.why, stated


def _is_cut(made: Made) -> bool:
    """Whether the body of the answer was too long to be kept whole."""
    body = made.route.body(made.truth)
    return made.fate == CUT and isinstance(body, dict) and bool(body)


def _is_wrong(made: Made) -> bool:
    tokens = made.rows[0]["tokens"]
    return (tokens["prompt_tokens"], tokens["cached_tokens"]) != (
        made.truth.prompt,
        made.truth.cached,
    )


def usage_rows(made: list[Made]) -> Iterator[tuple[Made, Json]]:
    """Every usage row with its request, in the order in which they were written."""
    rows = [(one, row) for one in made for row in one.rows]
    yield from sorted(rows, key=lambda pair: pair[1]["timestamp"])
