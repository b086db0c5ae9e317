"""The JSON document that every command writes, the same bytes for the same rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tallybook.render.text import visible_json

SCHEMA_VERSION: Final = 1
_ROWS: Final = '\n  "rows": ['
_LAST: Final = "\n  "  # before the end of a list that has entries


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
    return "".join(json_pieces(answer))


def json_pieces(answer: Mapping[str, Any]) -> Iterator[str]:
    """The same row by row, for there may be a great many of them."""
    # No value has a line end of its own, so this stands at the top of the document only.
    before, after = _indented({**answer, "rows": []}).split(f"{_ROWS}]")
    between = _ROWS
    for row in answer["rows"]:
        yield f"{before}{between}\n    " + _indented(row).replace("\n", "\n    ")
        before, between = "", ","
    yield f"{before}{between if before else _LAST}]{after}\n"


def _indented(value: object) -> str:
    return visible_json(json.dumps(value, ensure_ascii=False, indent=2))
