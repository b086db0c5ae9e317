"""The JSON document that every command writes, the same bytes for the same rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tallybook.render.text import visible_json

SCHEMA_VERSION: Final = 1


def envelope(  # noqa: PLR0913 - its members, by name
    command: str,
    *,
    version: str,
    query: Mapping[str, Any],
    prices: Mapping[str, Any] | None,
    rows: Sequence[Mapping[str, Any]],
    totals: Mapping[str, Any],
    coverage: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """What every command answers with, in whatever form; `more` are a command's own members."""
    return {
        "schema": f"tallybook/{command}",
        "schema_version": SCHEMA_VERSION,
        "tool_version": version,
        "query": query,
        "prices": prices,
        "rows": rows,
        "totals": totals,
        "coverage": coverage,
        **more,
    }


def json_text(answer: Mapping[str, Any]) -> str:
    """The envelope as JSON, members in their order, a line end last."""
    return visible_json(json.dumps(answer, ensure_ascii=False, indent=2)) + "\n"
