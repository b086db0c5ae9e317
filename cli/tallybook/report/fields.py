"""The fields of a report's row; naming them loads no data frame library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Sums of a row in their order; each is null where no record of the group states it.
COUNTS: Final = (
    "calls",
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_1h_input_tokens",
    "unsplit_input_tokens",
    "input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "total_tokens",
)
# Field of a row -> column in femto-dollars.
COSTS: Final[Mapping[str, str]] = {
    "cost_usd": "cost",
    "cost_low_usd": "cost_low",
    "cost_high_usd": "cost_high",
    "uncached_input_cost_usd": "uncached_input_cost",
    "cached_input_cost_usd": "cached_input_cost",
    "cache_creation_cost_usd": "cache_creation_cost",
    "output_cost_usd": "output_cost",
    "web_search_cost_usd": "web_search_cost",
}
# Sums that may be lower bounds; the row names those that are.
AT_LEAST: Final = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "input_tokens",
    "output_tokens",
    "total_tokens",
)
# Buckets whose silence is counted; unsplit tokens are themselves a statement of not knowing.
UNKNOWN: Final = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
)
