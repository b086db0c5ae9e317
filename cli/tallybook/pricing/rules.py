"""What providers charge that no price list states: surcharges, discounts, free sellers."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Final

from tallybook.pricing.table import femto_per_request
from tallybook.values import names_in

HALF: Final = Fraction(1, 2)

# The most that a maker asks for a token written to a cache, times the price of a prompt (Alibaba
# for qwen3.8-flash; most ask 5/4), and what Anthropic asks for an hour.
WRITTEN: Final = Fraction(4, 3)
WRITTEN_FOR_AN_HOUR: Final = Fraction(2)

# Sellers that keep prompts in a cache by themselves and ask nothing for it, where they list no
# price for writes (OpenAI before GPT-5.6; Azure sells the same).
WRITES_FOR_NOTHING: Final = frozenset({"openai", "azure"})

# Batch APIs cost half the list price at these sellers (Alibaba: its help on batch inference).
BATCH_AT_HALF: Final = frozenset({"anthropic", "openai", "google", "alibaba"})

# Inference kept in the United States, sold by Anthropic itself for Claude 4.6 and later.
US_PREMIUM: Final = Fraction(11, 10)
_US_PREMIUM_FROM: Final = (4, 6)

# Dollars per thousand searches, for every model of the seller where the price list leaves it out:
# developers.openai.com/api/docs/pricing, docs.x.ai/developers/pricing, platform.claude.com.
_SEARCHES: Final = {"openai": Decimal(10), "x-ai": Decimal(5)}
_CLAUDE_SEARCHES: Final = Decimal(10)

# Sellers that run some searches for nothing; how many are left at a call nobody knows.
SOME_SEARCHES_FREE: Final = frozenset({"google"})

# Fast mode of models whose own fast prices no list has; every token rate times the factor.
_FAST: Final = (
    (re.compile(r"claude-opus-4[-.][67](?!\d)"), Fraction(6)),
    (re.compile(r"claude-opus-(?:4[-.]8|5)(?![-.]?\d)"), Fraction(2)),
    (re.compile(r"^gpt-5[-.]5(?![\w.]|-(?!codex|chat|\d{4}))"), Fraction(5, 2)),
    (re.compile(r"^gpt-5[-.]4(?![\w.]|-(?!\d{4}))"), Fraction(2)),
    (re.compile(r"^gpt-5[-.]3-codex(?![\w.]|-(?!\d{4}))"), Fraction(2)),
)

# Models that run on the user's own machine have no price list and no bill.
# Their names without signs between the words, for each tool writes them in its own way.
_LOCAL: Final = frozenset(
    names_in(
        "ollama ollamachat ollamalocal lmstudio llamacpp llamacppserver llamafile koboldcpp gpt4all"
        " localai mlx mlxlm oss local"
    )
)
_SIGNS: Final = re.compile(r"[ ._-]+")
# A service of the runtime's maker, which is paid for.
_HOSTED: Final = re.compile(r"[-:]cloud$")

# Bedrock's region for the United States' government, beyond what other regions cost.
GOVERNMENT: Final = Fraction(12, 11)

# Sellers whose lists state one price for all that goes in, and apart what costs another.
_ONE_INPUT_PRICE: Final = frozenset({"google", "x-ai", "anthropic"})

_CLAUDE_VERSION: Final = re.compile(
    r"claude-(?:opus|sonnet|haiku|fable|mythos)-(\d+)(?:[-.](\d{1,2}))?(?!\d)"
)


def search_fee(provider_id: str, model_id: str) -> int | None:
    """Femto-dollars per search where the list has no fee; None where no rule has one either."""
    stated = _CLAUDE_SEARCHES if is_claude(model_id) else _SEARCHES.get(provider_id)
    return None if stated is None else femto_per_request(stated)


def fast_factor(model_id: str) -> Fraction | None:
    """What fast mode multiplies the token rates with; None where no rule says."""
    return next((factor for pattern, factor in _FAST if pattern.search(model_id)), None)


def us_premium(provider_id: str, model_id: str) -> Fraction:
    """The factor of US-only inference; 1 for models and sellers without it."""
    version = _CLAUDE_VERSION.search(model_id)
    if provider_id != "anthropic" or version is None:
        return Fraction(1)
    number = (int(version[1]), int(version[2] or 0))
    return US_PREMIUM if number >= _US_PREMIUM_FROM else Fraction(1)


def is_local(provider: str | None, model: str | None) -> bool:
    """Whether the model ran on the user's own machine, as stated or as its name begins.

    A provider that is stated goes before the name.
    """
    name = (model or "").strip().lower()
    runner = (provider or "").strip().lower() or name.partition("/")[0] * ("/" in name)
    return _SIGNS.sub("", runner) in _LOCAL and not _HOSTED.search(name)


def one_input_price(provider_id: str | None) -> bool:
    """Whether audio and images in a prompt cost what text does, where no list says otherwise."""
    return provider_id in _ONE_INPUT_PRICE


def image_is_output(model_id: str | None) -> bool:
    """Whether the output price of the model is that of its images: it makes nothing else."""
    return (model_id or "").startswith(("gpt-image", "chatgpt-image"))


def is_claude(model_id: str) -> bool:
    """Whether the model is one of Anthropic's, whoever sells it."""
    return "claude" in model_id
