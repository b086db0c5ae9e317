"""Builds the rows of `modelUsage`: running totals that the client keeps of each model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tallybook.schema import Reported
from tallybook.sources.claude_code.counts import DIALECT, codes, provider, total_counts
from tallybook.sources.claude_code.responses import within
from tallybook.sources.claude_code.shapes import inside
from tallybook.values import money, text


def totals(
    model_usage: dict[str, Any], part: str | None, problems: list[str], **columns: Any
) -> Iterator[tuple[str, Reported]]:
    """Each model with the row of its total; `problems` are those of the record as a whole."""
    for model, total in model_usage.items():
        found = list(problems)
        row = Reported(
            **columns,
            **total_counts(total, found),
            part=within(part, f"modelUsage.{model}"),
            dialect=DIALECT,
            calls=None,
            model=text(model),
            provider=provider(model),
            running=True,
            reported_cost_usd=money(inside(total, "costUSD"), found),
        )
        row.problems = codes(found)
        yield model, row
