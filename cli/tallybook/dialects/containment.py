"""Which count of a provider's usage object lies inside which other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Dialect:
    """A way of counting one request.

    `input_holds_cached` and `input_holds_cache_creation`: the stated input count contains the
    tokens read from and written to a cache. `output_holds_reasoning`: the stated output count
    contains the reasoning tokens. `total_is_sum`: a stated total is input plus output plus
    whatever lies outside of the two; else no total is stated, or it leaves those parts out.
    `total_holds_hidden`: what a total has beyond input and output is reasoning stated nowhere
    else. `uses_cache`: the model or its price knows a cache; else all input is uncached.
    `input_hides_cache_creation`: the cache writes in the input were added to it and never stated
    apart, so an input without them may be of either kind.
    """

    input_holds_cached: bool
    input_holds_cache_creation: bool
    total_is_sum: bool
    output_holds_reasoning: bool = True
    total_holds_hidden: bool = False
    uses_cache: bool = True
    input_hides_cache_creation: bool = False


_INSIDE: Final = Dialect(
    input_holds_cached=True, input_holds_cache_creation=True, total_is_sum=True
)
_THOUGHTS_OUTSIDE: Final = Dialect(
    input_holds_cached=True,
    input_holds_cache_creation=True,
    total_is_sum=True,
    output_holds_reasoning=False,
)

DIALECTS: Final[dict[str, Dialect]] = {
    "openai": _INSIDE,
    # Cache reads and writes outside of the input; a total, where a wrapper adds one, leaves them
    # out.
    "anthropic": Dialect(
        input_holds_cached=False, input_holds_cache_creation=False, total_is_sum=False
    ),
    # As Anthropic counts, with a total over all four.
    "bedrock": Dialect(
        input_holds_cached=False, input_holds_cache_creation=False, total_is_sum=True
    ),
    "gemini": _THOUGHTS_OUTSIDE,
    "xai": _THOUGHTS_OUTSIDE,
    # Gemini's endpoint in OpenAI's format: thoughts appear in the total only.
    "gemini-openai": Dialect(
        input_holds_cached=True,
        input_holds_cache_creation=True,
        total_is_sum=True,
        total_holds_hidden=True,
    ),
    # Reasoning outside of the output, and outside of the total too.
    "perplexity": Dialect(
        input_holds_cached=True,
        input_holds_cache_creation=True,
        total_is_sum=False,
        output_holds_reasoning=False,
    ),
    # Every count for itself.
    "disjoint": Dialect(
        input_holds_cached=False,
        input_holds_cache_creation=False,
        total_is_sum=True,
        output_holds_reasoning=False,
    ),
    # Embeddings, and units billed without regard to a cache.
    "cacheless": Dialect(
        input_holds_cached=True,
        input_holds_cache_creation=True,
        total_is_sum=True,
        uses_cache=False,
    ),
    # A program that takes cache reads out of the input before it writes, and leaves writes in.
    "reads-outside": Dialect(
        input_holds_cached=False, input_holds_cache_creation=True, total_is_sum=False
    ),
    # The same, where the provider stated cache writes outside of the input and they were added.
    "writes-hidden": Dialect(
        input_holds_cached=False,
        input_holds_cache_creation=True,
        total_is_sum=False,
        input_hides_cache_creation=True,
    ),
}
