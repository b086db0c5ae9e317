"""Finds the rates at which 9router priced a row, and prices corrected counts at the same.

It has shipped two lists: as they were from April 2026, and from July on. They stand at the end, in
dollars per million tokens: input, output, cache read, reasoning, cache write.
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
    return {name: _rates(rates) for name, rates in lines}


# Exact names; a name with a vendor in front is looked up without it first.
_MODELS: Final = _table("""
claude-opus-4-6 5/25/.5/25/6.25
claude-opus-4-5-20251101 5/25/.5/25/6.25
claude-sonnet-4-6 3/15/.3/15/3.75
claude-sonnet-4-5-20250929 3/15/.3/15/3.75
claude-haiku-4-5-20251001 1/5/.1/5/1.25
claude-sonnet-4-20250514 3/15/1.5/15/3
claude-opus-4-20250514 15/25/7.5/112.5/15
claude-3-5-sonnet-20241022 3/15/1.5/15/3
claude-haiku-4.5 .5/2.5/.05/3.75/.5
claude-opus-4.1 5/25/.5/37.5/5
claude-opus-4.5 5/25/.5/37.5/5
claude-opus-4.6 5/25/.5/37.5/5
claude-sonnet-4 3/15/.3/22.5/3
claude-sonnet-4.5 3/15/.3/22.5/3
claude-sonnet-4.6 3/15/.3/22.5/3
claude-opus-4-5-thinking 5/25/.5/37.5/5
claude-opus-4-6-thinking 5/25/.5/37.5/5
claude-fable-5 10/50/1/50/12.5
gpt-3.5-turbo .5/1.5/.25/2.25/.5
gpt-4 2.5/10/1.25/15/2.5
gpt-4-turbo 10/30/5/45/10
gpt-4o 2.5/10/1.25/15/2.5
gpt-4o-mini .15/.6/.075/.9/.15
gpt-4.1 2.5/10/1.25/15/2.5
gpt-5 1.25/10/.625/10/1.25
gpt-5-mini .25/2/.125/2/.25
gpt-5-codex 1.25/10/.625/10/1.25
gpt-5.1 1.25/10/.625/10/1.25
gpt-5.1-codex 1.25/10/.625/10/1.25
gpt-5.1-codex-mini 1.5/6/.75/9/1.5
gpt-5.1-codex-mini-high 2/8/1/12/2
gpt-5.1-codex-max 8/32/4/48/8
gpt-5.2 1.75/14/.175/14/1.75
gpt-5.2-codex 1.75/14/.175/14/1.75
gpt-5.3-codex 1.75/14/.175/14/1.75
gpt-5.3-codex-spark 3/12/.3/12/3
gpt-5.6 2.5/15/.25/15/2.5
gpt-5.6-luna 1/6/.1/6/1
gpt-5.6-terra 2.5/15/.25/15/2.5
gpt-5.6-sol 5/30/.5/30/5
o1 15/60/7.5/90/15
o1-mini 3/12/1.5/18/3
gemini-3-flash-preview .5/3/.03/4.5/.5
gemini-3-pro-preview 2/12/.25/18/2
gemini-3.1-pro-low 2/12/.25/18/2
gemini-3.1-pro-high 4/18/.5/27/4
gemini-3-flash .5/3/.03/4.5/.5
gemini-2.5-pro 2/12/.25/18/2
gemini-2.5-flash .3/2.5/.03/3.75/.3
gemini-2.5-flash-lite .15/1.25/.015/1.875/.15
qwen3-coder-plus 1/4/.5/6/1
qwen3-coder-flash .5/2/.25/3/.5
kimi-k3 3/15/.3/15/3
k3 3/15/.3/15/3
kimi-k2.7-code .95/4/.19/4/.95
kimi-for-coding .95/4/.19/4/.95
kimi-k2 1/4/.5/6/1
kimi-k2-thinking 1.5/6/.75/9/1.5
kimi-k2.5 1.2/4.8/.6/7.2/1.2
kimi-k2.5-thinking 1.8/7.2/.9/10.8/1.8
kimi-k2.6 1/4/.5/6/1
kimi-latest 1/4/.5/6/1
deepseek-chat .14/.28/.0028/.28/.14
deepseek-reasoner .14/.28/.0028/.28/.14
deepseek-r1 .14/.28/.0028/.28/.14
deepseek-v3.2-chat .14/.28/.0028/.28/.14
deepseek-v3.2-reasoner .14/.28/.0028/.28/.14
deepseek-v4-flash .14/.28/.0028/.28/.14
deepseek-v4-pro .435/.87/.003625/.87/.435
glm-4.6 .5/2/.25/3/.5
glm-4.6v .75/3/.375/4.5/.75
glm-4.7 .75/3/.375/4.5/.75
glm-5 1/4/.5/6/1
MiniMax-M2.1 .5/2/.25/3/.5
MiniMax-M2.5 .5/2/.25/3/.5
MiniMax-M2.7 .5/2/.25/3/.5
minimax-m2.1 .5/2/.25/3/.5
minimax-m2.5 .6/2.4/.3/3.6/.6
grok-code-fast-1 .5/2/.25/3/.5
auto 2/8/1/12/2
vision-model 1.5/6/.75/9/1.5
coder-model 1.5/6/.75/9/1.5
""")

# In this order, the first that fits; `*` stands for anything.
_PATTERNS: Final = _table("""
*-codex-xhigh 10/40/5/60/10
*-codex-high 8/32/4/48/8
*-codex-max 8/32/4/48/8
*-codex-mini-* 1.5/6/.75/9/1.5
*-codex-mini 1.5/6/.75/9/1.5
*-codex-low 1.75/14/.175/14/1.75
*-codex-none 1.75/14/.175/14/1.75
*-codex-spark 3/12/.3/12/3
codex-* 1.75/14/.175/14/1.75
*-codex 1.75/14/.175/14/1.75
claude-opus-* 5/25/.5/25/6.25
claude-sonnet-* 3/15/.3/15/3.75
claude-haiku-* 1/5/.1/5/1.25
claude-* 3/15/.3/15/3.75
gemini-*-flash-lite .15/1.25/.015/1.875/.15
gemini-*-flash .3/2.5/.03/3.75/.3
gemini-*-pro 2/12/.25/18/2
gemini-3-* .5/3/.03/4.5/.5
gemini-2.5-* .3/2.5/.03/3.75/.3
gemini-* .5/3/.03/4.5/.5
gpt-5.6-* 2.5/15/.25/15/2.5
gpt-5.3-* 1.75/14/.175/14/1.75
gpt-5.2-* 1.75/14/.175/14/1.75
gpt-5.1-* 1.25/10/.625/10/1.25
gpt-5-* 1.25/10/.625/10/1.25
gpt-5* 1.25/10/.625/10/1.25
gpt-4o-* .15/.6/.075/.9/.15
gpt-4o 2.5/10/1.25/15/2.5
gpt-4* 2.5/10/1.25/15/2.5
o1-* 3/12/1.5/18/3
o1 15/60/7.5/90/15
o3-* 10/40/5/60/10
o4-* 2/8/1/12/2
qwen3-coder-* 1/4/.5/6/1
qwen*-coder-* 1/4/.5/6/1
qwen* .5/2/.25/3/.5
kimi-*-thinking 1.8/7.2/.9/10.8/1.8
kimi-k3* 3/15/.3/15/3
kimi-k2* 1.2/4.8/.6/7.2/1.2
kimi-* 1/4/.5/6/1
deepseek-*reasoner* .14/.28/.0028/.28/.14
deepseek-r* .14/.28/.0028/.28/.14
deepseek-v* .14/.28/.0028/.28/.14
deepseek-* .14/.28/.0028/.28/.14
glm-5* 1/4/.5/6/1
glm-4* .75/3/.375/4.5/.75
glm-* .5/2/.25/3/.5
MiniMax-* .5/2/.25/3/.5
minimax-* .5/2/.25/3/.5
grok-code-* .5/2/.25/3/.5
grok-* .5/2/.25/3/.5
""")

# What was different until 0.5.30 in July 2026.
_APRIL_MODELS: Final = _MODELS | _table("""
gpt-5 3/12/1.5/18/3
gpt-5-mini .75/3/.375/4.5/.75
gpt-5-codex 3/12/1.5/18/3
gpt-5.1 4/16/2/24/4
gpt-5.1-codex 4/16/2/24/4
gpt-5.2 5/20/2.5/30/5
gpt-5.2-codex 5/20/2.5/30/5
gpt-5.3-codex 6/24/3/36/6
gpt-5.3-codex-xhigh 10/40/5/60/10
gpt-5.3-codex-high 8/32/4/48/8
gpt-5.3-codex-low 4/16/2/24/4
gpt-5.3-codex-none 3/12/1.5/18/3
deepseek-chat .28/.42/.028/.42/.28
deepseek-reasoner .28/.42/.028/.42/.28
""")
_APRIL_PATTERNS: Final = _PATTERNS | _table("""
*-codex-low 4/16/2/24/4
*-codex-none 3/12/1.5/18/3
codex-* 3/12/1.5/18/3
*-codex 3/12/1.5/18/3
gpt-5.3-* 6/24/3/36/6
gpt-5.2-* 5/20/2.5/30/5
gpt-5.1-* 4/16/2/24/4
gpt-5-* 3/12/1.5/18/3
gpt-5* 3/12/1.5/18/3
deepseek-*reasoner* .75/3/.375/4.5/.75
deepseek-r* .75/3/.375/4.5/.75
deepseek-v* .5/2/.25/3/.5
deepseek-* .28/.42/.028/.42/.28
""")
# What a provider charged until the tables of April came.
_FIRST_PROVIDERS: Final = {
    ("claude", "claude-opus-4-5-20251101"): _rates("15/75/7.5/75/15"),
    ("claude", "claude-sonnet-4-5-20250929"): _rates("3/15/1.5/15/3"),
    ("claude", "claude-haiku-4-5-20251001"): _rates(".5/2.5/.25/2.5/.5"),
}
