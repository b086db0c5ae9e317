"""Finds the rates at which 9router priced a row, and prices corrected counts at the same.

It has shipped two lists: as they were from April 2026, and from July on. They stand at the end, a
line the rates in dollars per million tokens (input, output, cache read, reasoning, cache write)
and the names that have them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final, NamedTuple

# The prices were lowered on this day.
_LOWERED: Final = "2026-07-10"
_MILLION: Final = 1_000_000
_DECIMALS: Final = 12  # as many as counts times rates can have
_SAME: Final = 1e-9


class Rates(NamedTuple):
    """What 9router charges for a million tokens of each kind; 0 is not stated."""

    input: float
    output: float
    cached: float = 0.0
    reasoning: float = 0.0
    creation: float = 0.0


Overrides = Mapping[tuple[str, str], Rates]  # provider, model -> what the user set


class RowCounts(NamedTuple):
    """A row's counts as 9router keeps them: the prompt holds the cache or does not."""

    prompt: int
    completion: int
    read: int = 0
    written: int = 0
    reasoning: int = 0


def rates_of(
    provider: str, model: str, timestamp: str, stated: tuple[RowCounts, float], overrides: Overrides
) -> Rates | None:
    """The rates that make the stored cost of the stated counts; None where none of them do.

    A row that has no cost was written before there were any, or when its model had none; it is
    given those of its day.
    """
    counts, cost = stated
    known = list(_candidates(provider, model, timestamp, overrides))
    if not cost:
        return known[0] if known else None
    return next((rates for rates in known if _makes(rates, counts, cost)), None)


def cost_of(rates: Rates, counts: RowCounts) -> float:
    """Dollars for counts whose prompt holds the cache and whose completion holds the reasoning.

    9router adds the price of the reasoning to that of the completion; no provider does.
    """
    rest = max(counts.prompt - counts.read - counts.written, 0)
    outside = max(counts.reasoning - counts.completion, 0)
    return round(
        (
            rest * rates.input
            + counts.read * (rates.cached or rates.input)
            + counts.written * (rates.creation or rates.input)
            + (counts.completion + outside) * rates.output
        )
        / _MILLION,
        _DECIMALS,
    )


def _candidates(provider: str, model: str, timestamp: str, overrides: Overrides) -> Iterator[Rates]:
    own = overrides.get((provider, model))
    if own is not None:
        yield own
    tables = ((_MODELS, _PATTERNS), (_APRIL_MODELS, _APRIL_PATTERNS))
    for models, patterns in tables if timestamp >= _LOWERED else tables[::-1]:
        found = _listed(model, models, patterns)
        if found is not None:
            yield found
    first = _FIRST_PROVIDERS.get((provider, model))
    if first is not None:
        yield first


def _listed(model: str, models: Mapping[str, Rates], patterns: Mapping[str, Rates]) -> Rates | None:
    bare = model.rsplit("/", 1)[-1]
    if bare in models or model in models:
        return models.get(bare) or models[model]
    fits = (p for p in patterns if _pattern(p).match(bare) or _pattern(p).match(model))
    return next((patterns[pattern] for pattern in fits), None)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))) + r"\Z", re.IGNORECASE)


def _makes(rates: Rates, counts: RowCounts, cost: float) -> bool:
    """Whether one of the formulas that 9router has had gives the cost."""
    held = (counts.read, counts.read + counts.written)
    return any(abs(_as_stored(rates, counts, inside) - cost) <= _SAME for inside in held)


def _as_stored(rates: Rates, counts: RowCounts, inside: int) -> float:
    return (
        max(counts.prompt - inside, 0) * rates.input
        + counts.read * (rates.cached or rates.input)
        + counts.completion * rates.output
        + counts.reasoning * (rates.reasoning or rates.output)
        + counts.written * (rates.creation or rates.input)
    ) / _MILLION


def _rates(text: str) -> Rates:
    return Rates(*map(float, text.split("/")))


def _table(text: str) -> dict[str, Rates]:
    lines = (line.split() for line in text.strip().splitlines())
    return {name: _rates(rates) for rates, *names in lines for name in names}


# Exact names; a name with a vendor in front is looked up without it first.
_MODELS: Final = _table("""
5/25/.5/25/6.25 claude-opus-4-6 claude-opus-4-5-20251101
3/15/.3/15/3.75 claude-sonnet-4-6 claude-sonnet-4-5-20250929
1/5/.1/5/1.25 claude-haiku-4-5-20251001
3/15/1.5/15/3 claude-sonnet-4-20250514 claude-3-5-sonnet-20241022
15/25/7.5/112.5/15 claude-opus-4-20250514
.5/2.5/.05/3.75/.5 claude-haiku-4.5
5/25/.5/37.5/5 claude-opus-4.1 claude-opus-4.5 claude-opus-4.6 claude-opus-4-5-thinking
5/25/.5/37.5/5 claude-opus-4-6-thinking
3/15/.3/22.5/3 claude-sonnet-4 claude-sonnet-4.5 claude-sonnet-4.6
10/50/1/50/12.5 claude-fable-5
.5/1.5/.25/2.25/.5 gpt-3.5-turbo
2.5/10/1.25/15/2.5 gpt-4 gpt-4o gpt-4.1
10/30/5/45/10 gpt-4-turbo
.15/.6/.075/.9/.15 gpt-4o-mini
1.25/10/.625/10/1.25 gpt-5 gpt-5-codex gpt-5.1 gpt-5.1-codex
.25/2/.125/2/.25 gpt-5-mini
1.5/6/.75/9/1.5 gpt-5.1-codex-mini kimi-k2-thinking vision-model coder-model
2/8/1/12/2 gpt-5.1-codex-mini-high auto
8/32/4/48/8 gpt-5.1-codex-max
1.75/14/.175/14/1.75 gpt-5.2 gpt-5.2-codex gpt-5.3-codex
3/12/.3/12/3 gpt-5.3-codex-spark
2.5/15/.25/15/2.5 gpt-5.6 gpt-5.6-terra
1/6/.1/6/1 gpt-5.6-luna
5/30/.5/30/5 gpt-5.6-sol
15/60/7.5/90/15 o1
3/12/1.5/18/3 o1-mini
.5/3/.03/4.5/.5 gemini-3-flash-preview gemini-3-flash
2/12/.25/18/2 gemini-3-pro-preview gemini-3.1-pro-low gemini-2.5-pro
4/18/.5/27/4 gemini-3.1-pro-high
.3/2.5/.03/3.75/.3 gemini-2.5-flash
.15/1.25/.015/1.875/.15 gemini-2.5-flash-lite
1/4/.5/6/1 qwen3-coder-plus kimi-k2 kimi-k2.6 kimi-latest glm-5
.5/2/.25/3/.5 qwen3-coder-flash glm-4.6 MiniMax-M2.1 MiniMax-M2.5 MiniMax-M2.7 minimax-m2.1
.5/2/.25/3/.5 grok-code-fast-1
3/15/.3/15/3 kimi-k3 k3
.95/4/.19/4/.95 kimi-k2.7-code kimi-for-coding
1.2/4.8/.6/7.2/1.2 kimi-k2.5
1.8/7.2/.9/10.8/1.8 kimi-k2.5-thinking
.14/.28/.0028/.28/.14 deepseek-chat deepseek-reasoner deepseek-r1 deepseek-v3.2-chat
.14/.28/.0028/.28/.14 deepseek-v3.2-reasoner deepseek-v4-flash
.435/.87/.003625/.87/.435 deepseek-v4-pro
.75/3/.375/4.5/.75 glm-4.6v glm-4.7
.6/2.4/.3/3.6/.6 minimax-m2.5
""")

# In this order, the first that fits; `*` stands for anything.
_PATTERNS: Final = _table("""
10/40/5/60/10 *-codex-xhigh
8/32/4/48/8 *-codex-high *-codex-max
1.5/6/.75/9/1.5 *-codex-mini-* *-codex-mini
1.75/14/.175/14/1.75 *-codex-low *-codex-none
3/12/.3/12/3 *-codex-spark
1.75/14/.175/14/1.75 codex-* *-codex
5/25/.5/25/6.25 claude-opus-*
3/15/.3/15/3.75 claude-sonnet-*
1/5/.1/5/1.25 claude-haiku-*
3/15/.3/15/3.75 claude-*
.15/1.25/.015/1.875/.15 gemini-*-flash-lite
.3/2.5/.03/3.75/.3 gemini-*-flash
2/12/.25/18/2 gemini-*-pro
.5/3/.03/4.5/.5 gemini-3-*
.3/2.5/.03/3.75/.3 gemini-2.5-*
.5/3/.03/4.5/.5 gemini-*
2.5/15/.25/15/2.5 gpt-5.6-*
1.75/14/.175/14/1.75 gpt-5.3-* gpt-5.2-*
1.25/10/.625/10/1.25 gpt-5.1-* gpt-5-* gpt-5*
.15/.6/.075/.9/.15 gpt-4o-*
2.5/10/1.25/15/2.5 gpt-4o gpt-4*
3/12/1.5/18/3 o1-*
15/60/7.5/90/15 o1
10/40/5/60/10 o3-*
2/8/1/12/2 o4-*
1/4/.5/6/1 qwen3-coder-* qwen*-coder-*
.5/2/.25/3/.5 qwen*
1.8/7.2/.9/10.8/1.8 kimi-*-thinking
3/15/.3/15/3 kimi-k3*
1.2/4.8/.6/7.2/1.2 kimi-k2*
1/4/.5/6/1 kimi-*
.14/.28/.0028/.28/.14 deepseek-*reasoner* deepseek-r* deepseek-v* deepseek-*
1/4/.5/6/1 glm-5*
.75/3/.375/4.5/.75 glm-4*
.5/2/.25/3/.5 glm-* MiniMax-* minimax-* grok-code-* grok-*
""")

# What was different until 0.5.30 in July 2026.
_APRIL_MODELS: Final = _MODELS | _table("""
3/12/1.5/18/3 gpt-5 gpt-5-codex gpt-5.3-codex-none
.75/3/.375/4.5/.75 gpt-5-mini
4/16/2/24/4 gpt-5.1 gpt-5.1-codex gpt-5.3-codex-low
5/20/2.5/30/5 gpt-5.2 gpt-5.2-codex
6/24/3/36/6 gpt-5.3-codex
10/40/5/60/10 gpt-5.3-codex-xhigh
8/32/4/48/8 gpt-5.3-codex-high
.28/.42/.028/.42/.28 deepseek-chat deepseek-reasoner
""")
_APRIL_PATTERNS: Final = _PATTERNS | _table("""
4/16/2/24/4 *-codex-low
3/12/1.5/18/3 *-codex-none codex-* *-codex
6/24/3/36/6 gpt-5.3-*
5/20/2.5/30/5 gpt-5.2-*
4/16/2/24/4 gpt-5.1-*
3/12/1.5/18/3 gpt-5-* gpt-5*
.75/3/.375/4.5/.75 deepseek-*reasoner* deepseek-r*
.5/2/.25/3/.5 deepseek-v*
.28/.42/.028/.42/.28 deepseek-*
""")
# What a provider charged until the tables of April came.
_FIRST_PROVIDERS: Final = {
    ("claude", "claude-opus-4-5-20251101"): _rates("15/75/7.5/75/15"),
    ("claude", "claude-sonnet-4-5-20250929"): _rates("3/15/1.5/15/3"),
    ("claude", "claude-haiku-4-5-20251001"): _rates(".5/2.5/.25/2.5/.5"),
}
