"""Reads the prices that a user of 9router has set, as entries of a price file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

# Until spring 2026 a price could be set under the short name of a provider.
_ALIASES: Final = {
    "cc": "claude",
    "cx": "codex",
    "gc": "gemini-cli",
    "qw": "qwen",
    "if": "iflow",
    "ag": "antigravity",
    "gh": "github",
    "kr": "kiro",
}
# Key of 9router -> key of a price file; a 0 is a price for the first two only.
_STATED: Final = {"input": "input", "output": "output"}
_STATED_IF_ANY: Final = {"cached": "cache_read", "cache_creation": "cache_write_5m"}
Price = dict[str, Any]  # provider, model, and rates in dollars per million tokens


class _Settings(msgspec.Struct):
    """What of `db.json` is looked at; the rest of it is secret."""

    pricing: Any = None


def prices_in_database(connection: sqlite3.Connection) -> list[Price]:
    """The user's prices in a database; none where it keeps none. Raises sqlite3.Error."""
    stored = _stored(connection)
    return [price for provider, models in stored for price in _prices(provider, models)]


def _stored(connection: sqlite3.Connection) -> list[tuple[str, Any]]:
    columns = connection.execute("SELECT name FROM pragma_table_info('kv')").fetchall()
    if not {"scope", "key", "value"} <= {name for (name,) in columns}:
        return []
    found = connection.execute("SELECT key, value FROM kv WHERE scope = 'pricing' ORDER BY key")
    return [(str(provider), _decoded(text)) for provider, text in found.fetchall()]


def overrides_in_database(
    connection: sqlite3.Connection,
) -> dict[tuple[str, str], dict[str, float]]:
    """Provider and model -> the user's rates, under 9router's own names. Raises sqlite3.Error."""
    found = {}
    for provider, models in _stored(connection):
        for model, stated in models.items() if isinstance(models, dict) else ():
            if isinstance(stated, dict):
                rates = {name: _rate(value) for name, value in stated.items()}
                known = {name: rate for name, rate in rates.items() if rate is not None}
                found[_ALIASES.get(provider, provider), model] = known
    return found


def prices_in_document(content: bytes) -> list[Price] | None:
    """The user's prices in `db.json`; None where the document is something else."""
    try:
        settings = msgspec.json.decode(content, type=_Settings)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(settings.pricing, dict):
        return None
    return [
        price
        for provider, models in sorted(settings.pricing.items())
        for price in _prices(provider, models)
    ]


def price_file(prices: list[Price]) -> str:
    """The prices as the text of a price file, in TOML."""
    return "\n".join(
        "\n".join(["[[price]]", *(f"{key} = {_toml(value)}" for key, value in price.items()), ""])
        for price in prices
    )


def _toml(value: Any) -> str:
    # But for one character a text in JSON is one in TOML.
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"{value:.9f}"


def _prices(provider: Any, models: Any) -> Iterator[Price]:
    if not isinstance(provider, str) or not isinstance(models, dict):
        return
    for model, stated in sorted(models.items()):
        rates = _rates(stated) if isinstance(stated, dict) else {}
        if rates and model and provider:
            yield {"provider": _ALIASES.get(provider, provider), "model": model, **rates}


def _rates(stated: Mapping[str, Any]) -> dict[str, float]:
    """The rates that count for something.

    9router takes a 0 for a cache as not stated, and prices reasoning by itself, which no provider
    does.
    """
    rates = {key: _rate(stated.get(name)) for name, key in _STATED.items()}
    rates |= {key: _rate(stated.get(name)) or None for name, key in _STATED_IF_ANY.items()}
    return {key: rate for key, rate in rates.items() if rate is not None}


def _rate(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1_000_000 else None


def _decoded(text: Any) -> Any:
    try:
        return msgspec.json.decode(text) if isinstance(text, str | bytes) else None
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
