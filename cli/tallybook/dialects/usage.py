"""Reads a raw usage object, of whatever provider, as the counts of one request."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from tallybook.schema import Reported


class Usage(msgspec.Struct, kw_only=True):
    """The counts of one usage object; fields are named as in `Reported`, absent is None.

    `rule` names the declaration that read it. `assumed` names the directions where neither the
    keys nor the arithmetic prove the reading; `problems` says what is odd about the object.
    """

    dialect: str
    rule: str
    reported_input_tokens: int | None = None
    reported_cached_tokens: int | None = None
    reported_cache_creation_tokens: int | None = None
    reported_cache_creation_5m_tokens: int | None = None
    reported_cache_creation_1h_tokens: int | None = None
    reported_output_tokens: int | None = None
    reported_reasoning_tokens: int | None = None
    reported_total_tokens: int | None = None
    service_tier: str | None = None
    web_search_requests: int | None = None
    reported_cost_usd: Decimal | None = None
    assumed: list[str] | None = None
    problems: list[str] | None = None


def state(row: Reported, usage: Usage) -> Reported:
    """Put the counts of `usage` on `row`, adding to its problems; returns `row`."""
    for name in usage.__struct_fields__:
        value = getattr(usage, name)
        if value is None:
            continue
        if name == "problems":
            value = [*(row.problems or []), *value]
        setattr(row, name, value)
    return row


def read_usage(usage: Mapping[str, Any], provider: str | None = None) -> Usage | None:
    """The counts of a usage object, told by its keys and arithmetic, else by `provider`.

    None where the object has no key of any known usage shape.
    """
    raise NotImplementedError
