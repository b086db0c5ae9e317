"""How each provider counts: which of its counts lies inside which other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Dialect:
    """A provider's way of counting one request.

    `input_holds_cached` and `input_holds_cache_creation`: the stated input count contains the
    tokens read from and written to a cache. `total_is_sum`: a stated total is input plus output.
    Reasoning lies inside the stated output in every dialect listed here.
    """

    input_holds_cached: bool
    input_holds_cache_creation: bool
    total_is_sum: bool


DIALECTS: Final[dict[str, Dialect]] = {
    "openai": Dialect(input_holds_cached=True, input_holds_cache_creation=True, total_is_sum=True),
    "anthropic": Dialect(
        input_holds_cached=False, input_holds_cache_creation=False, total_is_sum=False
    ),
}
