"""Which count of a provider's usage object lies inside which other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Dialect:
    """A provider's way of counting one request.

    `input_holds_cached` and `input_holds_cache_creation`: the stated input count contains the
    tokens read from and written to a cache. `output_holds_reasoning`: the stated output count
    contains the reasoning tokens. `total_is_sum`: a stated total is input plus output (plus
    reasoning, where that lies outside the output).
    """

    input_holds_cached: bool
    input_holds_cache_creation: bool
    total_is_sum: bool
    output_holds_reasoning: bool = True


DIALECTS: Final[dict[str, Dialect]] = {
    "openai": Dialect(input_holds_cached=True, input_holds_cache_creation=True, total_is_sum=True),
    "anthropic": Dialect(
        input_holds_cached=False, input_holds_cache_creation=False, total_is_sum=False
    ),
    "gemini": Dialect(
        input_holds_cached=True,
        input_holds_cache_creation=True,
        total_is_sum=True,
        output_holds_reasoning=False,
    ),
}
