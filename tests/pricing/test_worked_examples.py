"""What calls of each maker cost, worked out by hand from the rules that it publishes.

Rates in the remarks are dollars per million tokens, uncached / cached / written / output. Counts
are uncached/output/cached/written; the prompt is the sum of all but the output.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tallybook.pricing import rates as pricing
from tests.pricing.calls import claude, price_one

OPENAI = [
    # developers.openai.com/api/docs/pricing. gpt-5.4 is 2.5 / .25 / - / 15: 10,000 fresh, 90,000
    # cached, 1,000 of output are .025 + .0225 + .015.
    ("cached", "gpt-5.4 2026-06-01", "10000/1000/90000/0", "0.0625"),
    # gpt-5.6-terra was 2.5 / .25 / 3.125 / 15 until 2026-07-30: .0125 + .0125 + .0625 + .015.
    ("written", "gpt-5.6-terra 2026-07-29", "5000/1000/50000/20000", "0.1025"),
    # Then 2 / .2 / 2.5 / 12: .01 + .01 + .05 + .012.
    ("written, a day later", "gpt-5.6-terra 2026-07-30", "5000/1000/50000/20000", "0.082"),
    # Above 272,000 tokens all of gpt-5.4 is 5 / .5 / - / 22.5: 1 + .0365 + .0225. At it, .5 + .018
    # + .015.
    ("tiered", "gpt-5.4 2026-06-01", "200000/1000/73000/0", "1.059"),
    ("at the tier", "gpt-5.4 2026-06-01", "200000/1000/72000/0", "0.533"),
    # Batch is half: .0125 + .0075, no cache in it.
    ("batch", "gpt-5.4 2026-06-01 batch", "10000/1000/0/0", "0.02"),
    # o3 fell from 10 / 2.5 / - / 40 to 2 / .5 / - / 8 on 2025-06-10.
    ("the day before", "o3 2025-06-09", "10000/1000/10000/0", "0.165"),
    ("the day of a change", "o3 2025-06-10", "10000/1000/10000/0", "0.033"),
]
ANTHROPIC = [
    # platform.claude.com/docs/en/about-claude/pricing. claude-opus-4-5 is 5 / .5 / 6.25 / 25:
    # .005 + .05 + .0125 + .025.
    ("written", "claude-opus-4-5 2026-03-01", "1000/1000/100000/2000", "0.0925"),
    ("cached", "claude-haiku-4-5 2026-03-01", "1000/1000/100000/0", "0.016"),
    # Above 200,000 tokens of Sonnet 4.5: 6 / .6 / 7.5 / 22.5: .006 + .12 + .015 + .0225.
    ("tiered", "claude-sonnet-4-5 2026-02-01", "1000/1000/200000/2000", "0.1635"),
    ("batch", "claude-opus-4-5 2026-03-01 batch", "1000/1000/0/2000", "0.02125"),
    # Sonnet 5.5's cache fell from .2 to .1 on 2026-10-07: 2 / - / 2.5 / 10.
    ("the day before", "claude-sonnet-5-5 2026-10-06", "1000/1000/100000/0", "0.032"),
    ("the day of a change", "claude-sonnet-5-5 2026-10-07", "1000/1000/100000/0", "0.022"),
]
GOOGLE = [
    # ai.google.dev/gemini-api/docs/pricing. gemini-3.1-pro is 2 / .2 / - / 12: .02 + .016 + .012.
    ("cached", "gemini-3.1-pro-preview 2026-06-01", "10000/1000/80000/0", "0.048"),
    # Above 200,000 it is 4 / .4 / - / 18: .4 + .0404 + .018.
    ("tiered", "gemini-3.1-pro-preview 2026-06-01", "100000/1000/101000/0", "0.4584"),
    ("batch", "gemini-3.1-pro-preview 2026-06-01 batch", "10000/1000/0/0", "0.016"),
    # gemini-3.6-flash fell from 1.5 / .15 / - / 7.5 by half on 2026-08-13.
    ("the day before", "gemini-3.6-flash 2026-08-12", "10000/1000/10000/0", "0.024"),
    ("the day of a change", "gemini-3.6-flash 2026-08-13", "10000/1000/10000/0", "0.012"),
]
DEEPSEEK = [
    # api-docs.deepseek.com/quick_start/pricing. V4 Pro is .66 / .022 / - / 1.98 and double at the
    # peaks of workdays, 01:00 to 04:00 and 06:00 to 10:00 UTC: .0066 + .00198 + .00198.
    ("cached", "deepseek-v4-pro 2026-11-03T05:00", "10000/1000/90000/0", "0.01056"),
    ("peak", "deepseek-v4-pro 2026-11-03T06:00", "10000/1000/90000/0", "0.02112"),
    ("peak of a Sunday", "deepseek-v4-pro 2026-11-01T06:00", "10000/1000/90000/0", "0.01056"),
    # It was .435 / .003625 / - / .87 until 16:00 UTC of 2026-08-16: .00435 + .00032625 + .00087.
    ("the hour before", "deepseek-v4-pro 2026-08-16T15:59", "10000/1000/90000/0", "0.00554625"),
    ("the hour of a change", "deepseek-v4-pro 2026-08-16T16:00", "10000/1000/90000/0", "0.01056"),
    # deepseek-chat fell from .56 / .07 / - / 1.68 to .28 / .028 / - / .42 on 2025-09-29.
    ("the day before", "deepseek-chat 2025-09-28", "10000/1000/10000/0", "0.00798"),
    ("the day of a change", "deepseek-chat 2025-09-29", "10000/1000/10000/0", "0.0035"),
]
XAI = [
    # docs.x.ai/developers/models. grok-4.6 is 2 / .5 / - / 6: .02 + .045 + .006.
    ("cached", "grok-4.6 2026-11-01", "10000/1000/90000/0", "0.071"),
    # From 200,000 tokens on all of it is double; below not: .2 + .099999 x .5 + .006.
    ("tiered", "grok-4.6 2026-11-01", "100000/1000/100000/0", "0.512"),
    ("below the tier", "grok-4.6 2026-11-01", "100000/1000/99999/0", "0.2559995"),
    # grok-4.5's cache fell from .5 to .3 on 2026-07-19.
    ("the day before", "grok-4.5 2026-07-18", "10000/1000/10000/0", "0.031"),
    ("the day of a change", "grok-4.5 2026-07-19", "10000/1000/10000/0", "0.029"),
]
QWEN = [
    # alibabacloud.com/help/en/model-studio/model-pricing. qwen3-max is 1.2 / .24 / 1.5 / 6:
    # .0012 + .0048 + .0015 + .006.
    ("written", "qwen3-max 2026-11-01", "1000/1000/20000/1000", "0.0135"),
    ("cached", "qwen3.7-max 2026-11-01", "1000/1000/20000/0", "0.02"),
    # Above 32,000 tokens it is 2.4 / .48 / 3 / 12: .0024 + .0192 + .012.
    ("tiered", "qwen3-max 2026-11-01", "1000/1000/40000/0", "0.0336"),
    # help/en/model-studio/batch-inference: half the price.
    ("batch", "qwen3-max 2026-11-01 batch", "1000/1000/0/0", "0.0036"),
    # Caches have a price since 2026-10-09; before it they counted as the prompt.
    ("the day before", "qwen3-max 2026-10-08", "1000/1000/10000/0", "0.0192"),
    ("the day of a change", "qwen3-max 2026-10-09", "1000/1000/10000/0", "0.0096"),
]
MOONSHOT = [
    # platform.kimi.ai/docs/pricing/chat. kimi-k2.5 is .6 / .1 / - / 3: .006 + .009 + .003.
    ("cached", "kimi-k2.5 2026-06-01", "10000/1000/90000/0", "0.018"),
    # kimi-k2.6 is .95 / .16 / - / 4: .0095 + .0144 + .004.
    ("another model", "kimi-k2.6 2026-06-01", "10000/1000/90000/0", "0.0279"),
    # kimi-k3 is 3 / .3 / 3 / 15, and 6 for an hour: .003 + .003 + .003 + .015.
    ("written", "kimi-k3 2026-11-01", "1000/1000/10000/1000", "0.024"),
    # A long prompt has no tier of its own: .15 + .0006.
    ("long", "kimi-k2.5 2026-06-01", "250000/200/0/0", "0.1506"),
]
MISTRAL = [
    # mistral.ai/pricing. Large 3 is .5 / .05 / - / 1.5: .005 + .0045 + .0015.
    ("cached", "mistral-large-2512 2026-11-01", "10000/1000/90000/0", "0.011"),
    ("batch", "mistral-large-2512 2026-11-01 batch", "10000/1000/0/0", "0.00325"),
    # The name meant Large 2, 2 / - / - / 6, until 2025-12-02.
    ("the day before", "mistral-large-latest 2025-12-01", "10000/1000/0/0", "0.026"),
    ("the day of a change", "mistral-large-latest 2025-12-02", "10000/1000/0/0", "0.0065"),
    # Medium 3.1, .4 / .04 / - / 2, became another on 2026-06-16, 1.5 / .15 / - / 7.5.
    ("the day before", "mistral-medium-latest 2026-06-15", "10000/1000/10000/0", "0.0064"),
    ("the day of a change", "mistral-medium-latest 2026-06-16", "10000/1000/10000/0", "0.024"),
]
SELLERS = {
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "google": GOOGLE,
    "deepseek": DEEPSEEK,
    "x-ai": XAI,
    "alibaba": QWEN,
    "moonshotai": MOONSHOT,
    "mistral": MISTRAL,
}
EXAMPLES = [(seller, *example) for seller, found in SELLERS.items() for example in found]


@pytest.mark.parametrize(
    ("seller", "call", "counts", "cost"),
    [(seller, *rest) for seller, _, *rest in EXAMPLES],
    ids=[f"{seller}: {what}: {call}" for seller, what, call, *_ in EXAMPLES],
)
def test_an_example_worked_out_by_hand(
    rates: pricing.Rates, seller: str, call: str, counts: str, cost: str
) -> None:
    model, when, *tier = call.split()
    at = datetime.fromisoformat(when).replace(tzinfo=UTC)
    stated = {"provider": seller, "timestamp": at, "service_tier": next(iter(tier), None)}
    row = price_one(rates, model, **claude(counts), **stated)
    assert row["cost"] == row["cost_high"] == Decimal(cost)
    assert row["price_status"] in {"priced", "priced_fallback_rate"}
