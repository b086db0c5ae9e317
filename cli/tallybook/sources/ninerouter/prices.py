"""Reads the prices that a user of 9router has set, as entries of a price file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from tallybook.values import decode, money, text

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
_DEAREST: Final = 1_000_000  # dollars per million tokens
_UNREADABLE: Final = '"a list or an object"'
Price = dict[str, Any]  # provider, model, and rates in dollars per million tokens


class _Settings(msgspec.Struct):
    """What of `db.json` is looked at; the rest of it is secret."""

    pricing: Any = None


_SETTINGS: Final = msgspec.json.Decoder(_Settings)


def prices_in_database(connection: sqlite3.Connection) -> list[Price]:
    """The user's prices in a database; none where it keeps none. Raises sqlite3.Error."""
    return _prices(_stored(connection))


def _stored(connection: sqlite3.Connection) -> list[tuple[str, Any]]:
    columns = connection.execute("SELECT name FROM pragma_table_info('kv')").fetchall()
    if not {"scope", "key", "value"} <= {name for (name,) in columns}:
        return []
    found = connection.execute("SELECT key, value FROM kv WHERE scope = 'pricing' ORDER BY key")
    return [
        (str(provider), decode(stored) if isinstance(stored, str | bytes) else None)
        for provider, stored in found.fetchall()
    ]


def overrides_in_database(
    connection: sqlite3.Connection,
) -> dict[tuple[str, str], dict[str, float]]:
    """Provider and model -> the user's rates, under 9router's own names. Raises sqlite3.Error."""
    found = {}
    for provider, models in _stored(connection):
        for model, stated in models.items() if isinstance(models, dict) else ():
            if isinstance(stated, dict):
                rates = {name: money(value, []) for name, value in stated.items()}
                known = {
                    name: float(rate)
                    for name, rate in rates.items()
                    if rate is not None and rate <= _DEAREST
                }
                found[_ALIASES.get(provider, provider), model] = known
    return found


def prices_in_document(content: bytes) -> list[Price] | None:
    """The user's prices in `db.json`; None where the document is something else."""
    settings = decode(content, _SETTINGS)
    if settings is None or not isinstance(settings.pricing, dict):
        return None
    return _prices(sorted(settings.pricing.items()))


def price_file(prices: list[Price]) -> str:
    """The prices as the text of a price file, in TOML."""
    return "\n".join(
        "\n".join(["[[price]]", *(f"{key} = {_toml(value)}" for key, value in price.items()), ""])
        for price in prices
    )


def _toml(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:.9f}"
    if isinstance(value, float):
        return repr(value)
    # But for one character a text in JSON is one in TOML; so are whole numbers, true and false.
    shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str | int) else _UNREADABLE
    return shown.replace("\x7f", "\\u007f")


def _prices(stored: Iterable[tuple[str, Any]]) -> list[Price]:
    """The prices by provider, then by model."""
    return [
        {"provider": _ALIASES.get(provider, provider), "model": model, **rates}
        for provider, models in stored
        if text(provider) and isinstance(models, dict)
        for model, stated in sorted(models.items())
        if text(model) and isinstance(stated, dict) and (rates := _rates(stated))
    ]


def _rates(stated: Mapping[str, Any]) -> dict[str, Any]:
    """The rates that count for something; what is none stays as it is, for its reader to refuse.

    9router takes a 0 for a cache as not stated, and prices reasoning by itself, which no provider
    does.
    """
    rates = {key: _rate(stated.get(name)) for name, key in _STATED.items()}
    rates |= {key: _rate(stated.get(name)) or None for name, key in _STATED_IF_ANY.items()}
    return {key: rate for key, rate in rates.items() if rate is not None}


def _rate(value: Any) -> Any:
    if isinstance(value, str) and not text(value):
        return None
    rate = money(value, [])
    return value if rate is None else rate
